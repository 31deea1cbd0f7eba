-- The workers, as each says of itself every few seconds (worker_seen): what
-- may work here, and how well it shuts its media processes in.  By incarnation,
-- as leases are: two that share a name by mistake are two rows.
--
-- Nothing but seen_at changes, and no index has it (HOT).

CREATE TABLE workers (
    incarnation uuid PRIMARY KEY,
    name        varchar(255) NOT NULL,
    host        varchar(255) NOT NULL,
    version     varchar(50) NOT NULL,
    slots       integer NOT NULL,

    -- what its sandbox is made of (workerd/supervisor/cage.h)
    sandbox_ns       varchar(15) NOT NULL,
    sandbox_landlock integer NOT NULL,
    sandbox_seccomp  boolean NOT NULL,

    -- {"libavcodec": "59.37.100"}: what touches media, as it is loaded
    libraries   jsonb NOT NULL,

    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT workers_words CHECK
        (name || host || version !~ '[\u0001-\u001f\u007f-\u009f]'
         AND name <> ''),
    CONSTRAINT workers_slots CHECK (slots BETWEEN 0 AND 64),
    CONSTRAINT workers_sandbox CHECK
        (sandbox_ns ~ '^[a-z,]+$' AND sandbox_landlock BETWEEN 0 AND 9999),
    CONSTRAINT workers_libraries CHECK
        (libraries::text ~
         '^\{("[a-z0-9]{1,32}": "[0-9]{1,5}(\.[0-9]{1,5}){0,3}"(, )?){0,16}\}$')
) WITH (fillfactor = 50);
