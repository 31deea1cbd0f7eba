-- The source's five tables in PostgreSQL's syntax, and what the design needs
-- beside them.
--
-- No index and no predicate mentions lease_until, progress, seq or updated_at:
-- those change every second while a job runs, and an update that touches no
-- index stays on its page (HOT).  fillfactor 70 leaves room for it.

CREATE TABLE users (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email         varchar(255) NOT NULL,
    username      varchar(255) NOT NULL,
    password_hash varchar(255) NOT NULL,
    first_name    varchar(100),
    last_name     varchar(100),
    role          varchar(50) NOT NULL DEFAULT 'user',
    is_active     boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at    timestamptz,

    -- when is_active last changed: what NGINX pulls into its zone
    active_changed_at timestamptz,

    -- the indexes of these two are the source's idx_email and idx_username
    CONSTRAINT idx_users_email UNIQUE (email),
    CONSTRAINT idx_users_username UNIQUE (username),
    CONSTRAINT users_valid_role CHECK (role IN ('user', 'admin')),
    CONSTRAINT users_email_lower CHECK (email = lower(email))
);

CREATE INDEX idx_users_active_changed_at ON users (active_changed_at)
    WHERE active_changed_at IS NOT NULL;

CREATE TABLE videos (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id       uuid NOT NULL REFERENCES users (id),
    title         varchar(255) NOT NULL,
    description   text,
    filename      varchar(255) NOT NULL,
    original_size bigint NOT NULL,
    duration      double precision,
    resolution    varchar(50),
    fps           double precision,
    status        varchar(50) NOT NULL DEFAULT 'pending',
    s3_key        varchar(255) NOT NULL,
    s3_bucket     varchar(255) NOT NULL,
    metadata      jsonb,
    thumbnail_url varchar(255),
    created_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at    timestamptz,

    -- orders this video's events; never goes back
    seq           bigint NOT NULL DEFAULT 0,
    visibility    varchar(16) NOT NULL DEFAULT 'private',

    -- the source: `container` is what the upload's first bytes said, `format`
    -- what the media process found
    container     varchar(16),
    format        varchar(16),
    video_codec   varchar(50),
    audio_codec   varchar(50),
    bitrate       bigint,
    frames        bigint,

    -- published while it is still being encoded (job_playable); withdrawn
    -- when that attempt ends without a publication
    live_prefix   varchar(64),
    live_master   varchar(255),
    live_poster   varchar(255),

    -- published (job_publish); paths are relative to the prefix
    published_prefix  varchar(64),
    published_attempt integer,
    master        varchar(255),
    poster        varchar(255),
    storyboard    varchar(255),
    warnings      jsonb NOT NULL DEFAULT '[]',

    -- when it became completed or failed, and how long the last run took
    finished_at   timestamptz,
    processing_seconds double precision,
    error_code    varchar(50),
    error_message text,

    CONSTRAINT videos_valid_status CHECK
        (status IN ('pending', 'uploading', 'processing', 'completed', 'failed')),
    CONSTRAINT videos_valid_visibility CHECK (visibility IN ('private', 'public')),
    CONSTRAINT videos_size CHECK (original_size >= 0),

    -- U+0001 begins a hole in a document (lib/doc.h): no text of a client may
    -- carry one.  Titles and names have no control characters at all.
    CONSTRAINT videos_title CHECK
        (title <> '' AND title !~ '[\u0001-\u001f\u007f-\u009f]'),
    CONSTRAINT videos_filename CHECK (filename !~ '[\u0001-\u001f\u007f-\u009f]'),
    CONSTRAINT videos_description CHECK
        (description !~ '[\u0001-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]'),
    CONSTRAINT videos_metadata CHECK
        (jsonb_typeof(metadata) = 'object'
         AND strpos(replace(metadata::text, '\\', ''), '\u0001') = 0)
) WITH (fillfactor = 70);

CREATE INDEX idx_videos_user_id ON videos (user_id);
CREATE INDEX idx_videos_status ON videos (status);
-- read backwards by lists: newest first, then by id
CREATE INDEX idx_videos_created_at ON videos (created_at, id);
CREATE INDEX idx_videos_user_created ON videos (user_id, created_at, id)
    WHERE deleted_at IS NULL;
CREATE INDEX idx_videos_user_status ON videos (user_id, status, created_at, id)
    WHERE deleted_at IS NULL;
CREATE INDEX idx_videos_deleted_at ON videos (deleted_at)
    WHERE deleted_at IS NOT NULL;
CREATE INDEX idx_videos_finished_at ON videos (finished_at, user_id)
    WHERE finished_at IS NOT NULL;

CREATE TABLE processing_jobs (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    video_id      uuid NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    job_type      varchar(100) NOT NULL,
    status        varchar(50) NOT NULL DEFAULT 'pending',
    progress      integer NOT NULL DEFAULT 0,
    current_task  varchar(255),
    error_message text,
    started_at    timestamptz,
    completed_at  timestamptz,
    created_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    retry_count   integer NOT NULL DEFAULT 0,
    max_retries   integer NOT NULL DEFAULT 3,

    -- the queue: highest priority, then the lowest turn, then the oldest
    priority      integer NOT NULL DEFAULT 0,
    turn          bigint NOT NULL DEFAULT 0,
    run_after     timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,

    -- the lease; attempt only grows and is the fencing token
    attempt       integer NOT NULL DEFAULT 0,
    prefix        varchar(64),
    lease_owner   varchar(255),
    lease_incarnation uuid,
    lease_until   timestamptz,
    eta           integer,

    -- what went wrong; retry_count counts crashes and stalls
    error_class   varchar(20),
    error_code    varchar(50),
    lost_count    integer NOT NULL DEFAULT 0,
    transient_count integer NOT NULL DEFAULT 0,
    first_transient_at timestamptz,
    retried_at    timestamptz,

    CONSTRAINT processing_jobs_valid_status CHECK
        (status IN ('pending', 'processing', 'completed', 'failed', 'retrying',
                    'cancelled')),
    CONSTRAINT processing_jobs_progress CHECK (progress BETWEEN 0 AND 100)
) WITH (fillfactor = 70);

CREATE INDEX idx_processing_jobs_video_id ON processing_jobs (video_id);
CREATE INDEX idx_processing_jobs_status ON processing_jobs (status);
CREATE INDEX idx_processing_jobs_created_at ON processing_jobs (created_at);
-- what job_claim_next walks along
CREATE INDEX idx_processing_jobs_due
    ON processing_jobs (priority DESC, turn, run_after)
    WHERE status IN ('pending', 'retrying');
CREATE INDEX idx_processing_jobs_running ON processing_jobs (lease_incarnation)
    WHERE status = 'processing';

CREATE TABLE processing_results (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id     uuid NOT NULL REFERENCES processing_jobs (id) ON DELETE CASCADE,
    video_id   uuid NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    format     varchar(50) NOT NULL,
    quality    varchar(50) NOT NULL,
    file_size  bigint NOT NULL,
    duration   double precision,
    bitrate    varchar(50),
    codec      varchar(50),
    s3_key     varchar(255) NOT NULL,
    s3_url     varchar(255) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,

    prefix     varchar(64) NOT NULL,
    mime       varchar(255),
    width      integer,
    height     integer,

    CONSTRAINT unique_processing_results_format_quality
        UNIQUE (video_id, format, quality),
    CONSTRAINT processing_results_words CHECK
        (format ~ '^[a-z0-9]{2,16}$' AND quality ~ '^[a-z0-9]{2,16}$'),
    CONSTRAINT processing_results_key CHECK (s3_key ~ '^[a-zA-Z0-9/._-]+$')
);

CREATE INDEX idx_processing_results_video_id ON processing_results (video_id);
CREATE INDEX idx_processing_results_job_id ON processing_results (job_id);

CREATE TABLE audit_logs (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id       uuid REFERENCES users (id),
    action        varchar(100) NOT NULL,
    resource_type varchar(100) NOT NULL,
    resource_id   uuid,
    old_values    jsonb,
    new_values    jsonb,
    ip_address    varchar(45),
    user_agent    text,
    created_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_audit_logs_user_id ON audit_logs (user_id);
CREATE INDEX idx_audit_logs_resource ON audit_logs (resource_type, resource_id);
CREATE INDEX idx_audit_logs_created_at ON audit_logs (created_at);

-- Every run of a job and how it ended.
CREATE TABLE job_attempts (
    job_id     uuid NOT NULL REFERENCES processing_jobs (id) ON DELETE CASCADE,
    attempt    integer NOT NULL,
    worker     varchar(255),
    prefix     varchar(64) NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    outcome    varchar(20),
    code       varchar(50),
    detail     text,
    PRIMARY KEY (job_id, attempt)
);

-- The event log: state changes, kept for a day.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    video_id   uuid NOT NULL,
    user_id    uuid NOT NULL,
    seq        bigint NOT NULL,
    type       varchar(50) NOT NULL,
    event      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_outbox_video ON outbox (video_id, seq);
CREATE INDEX idx_outbox_created_at ON outbox (created_at);

CREATE TABLE leases (
    name       varchar(100) PRIMARY KEY,
    holder     uuid NOT NULL,
    held_until timestamptz NOT NULL
);

-- Videos per user and status that are not deleted.  Several rows a user, so
-- that sessions seldom wait for each other: the figure is their sum.
CREATE TABLE counters (
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    shard      smallint NOT NULL,
    uploading  bigint NOT NULL DEFAULT 0,
    pending    bigint NOT NULL DEFAULT 0,
    processing bigint NOT NULL DEFAULT 0,
    completed  bigint NOT NULL DEFAULT 0,
    failed     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, shard)
) WITH (fillfactor = 50);

-- The last turn each user has taken in the queue, per priority.
CREATE TABLE user_turns (
    user_id  uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    priority integer NOT NULL,
    turn     bigint NOT NULL,
    PRIMARY KEY (user_id, priority)
) WITH (fillfactor = 50);

CREATE INDEX idx_user_turns_turn ON user_turns (priority, turn);
