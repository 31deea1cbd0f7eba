-- What the other functions share.  Not callable by the API's and the worker's
-- roles.  Without SECURITY DEFINER and SET, so that PostgreSQL can inline the
-- SQL ones; their callers have fixed the search path.

CREATE OR REPLACE FUNCTION avp_time(p_at timestamptz) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

CREATE OR REPLACE FUNCTION avp_seq(p_seq bigint) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT greatest(p_seq + 1,
                    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
$$;

-- Text from outside made fit to be shown: no control characters, bounded.
CREATE OR REPLACE FUNCTION avp_clean(p_text text, p_max integer) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT left(regexp_replace(p_text, '[\u0001-\u001f\u007f-\u009f]+', ' ', 'g'),
                p_max)
$$;

-- A number of a JSON object; NULL for anything else, and when it is beyond
-- what a bigint holds.
CREATE OR REPLACE FUNCTION avp_number(p_doc jsonb, p_key text)
RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(p_doc -> p_key) = 'number'
                 AND abs((p_doc ->> p_key)::numeric) < 9e18
                THEN (p_doc ->> p_key)::numeric::double precision END
$$;

CREATE OR REPLACE FUNCTION avp_active(p_user uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM users u
                   WHERE u.id = p_user AND u.is_active AND u.deleted_at IS NULL)
$$;

CREATE OR REPLACE FUNCTION avp_audit(
    p_user uuid, p_action text, p_type text, p_id uuid,
    p_old jsonb, p_new jsonb, p_ip text, p_agent text
) RETURNS void
LANGUAGE sql VOLATILE AS $$
    INSERT INTO audit_logs (user_id, action, resource_type, resource_id,
                            old_values, new_values, ip_address, user_agent)
    VALUES (p_user, p_action, p_type, p_id, p_old, p_new,
            avp_clean(p_ip, 45), avp_clean(p_agent, 1024))
$$;

-- The event of a change of state: composed, kept in the outbox, returned.
CREATE OR REPLACE FUNCTION avp_event(
    p_type text, p_video uuid, p_user uuid, p_seq bigint, p_data json
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_event text := avp_event_text(p_type, p_video, p_user, p_seq, p_data);
BEGIN
    INSERT INTO outbox (video_id, user_id, seq, type, event)
    VALUES (p_video, p_user, p_seq, p_type, v_event);
    RETURN v_event;
END
$$;

-- The same without the outbox: progress is not kept.
CREATE OR REPLACE FUNCTION avp_event_text(
    p_type text, p_video uuid, p_user uuid, p_seq bigint, p_data json
) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT json_build_object(
        'id', 'evt_' || replace(gen_random_uuid()::text, '-', ''),
        'type', p_type, 'seq', p_seq, 'videoId', p_video, 'userId', p_user,
        'timestamp', avp_time(clock_timestamp()), 'data', p_data)::text
$$;

-- A place in the queue, fixed when a job becomes due: one more than the user's
-- last, but not before what is due now, so that nobody saves up turns.  With
-- nothing due everybody has been served: the newest turn is the present.  Two
-- looks at the end of an index, whatever the statistics say.
CREATE OR REPLACE FUNCTION avp_turn(p_user uuid, p_priority integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off AS $$
DECLARE
    v_low  bigint;
    v_turn bigint;
BEGIN
    SELECT j.turn INTO v_low
      FROM processing_jobs j
     WHERE j.status IN ('pending', 'retrying') AND j.priority = p_priority
       AND j.run_after <= clock_timestamp()
     ORDER BY j.turn LIMIT 1;

    IF v_low IS NULL THEN
        SELECT t.turn INTO v_low FROM user_turns t
         WHERE t.priority = p_priority ORDER BY t.turn DESC LIMIT 1;
    END IF;

    INSERT INTO user_turns AS t (user_id, priority, turn)
    VALUES (p_user, p_priority, coalesce(v_low, 0))
    ON CONFLICT (user_id, priority)
        DO UPDATE SET turn = greatest(t.turn + 1, excluded.turn)
    RETURNING t.turn INTO v_turn;

    RETURN v_turn;
END
$$;

-- Full jitter: random() * min(15 min, 10 s * 2^(n-1)).
CREATE OR REPLACE FUNCTION avp_backoff(p_n integer) RETURNS double precision
LANGUAGE sql VOLATILE AS $$
    SELECT random() * least(900.0, 10.0 * 2 ^ least(greatest(p_n, 1) - 1, 10))
$$;

-- The order in which documents list formats.
CREATE OR REPLACE FUNCTION avp_format_rank(p_format text) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_format WHEN 'mp4' THEN 1 WHEN 'webm' THEN 2
                         WHEN 'hls' THEN 3 ELSE 4 END
$$;

-- "4k" and "720p" as lines of the picture.
CREATE OR REPLACE FUNCTION avp_quality_rank(p_quality text) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_quality = '4k' THEN 2160
                WHEN p_quality ~ '^[0-9]{1,5}p$'
                THEN rtrim(p_quality, 'p')::integer ELSE 0 END
$$;
