-- Keeps `counters` exact whoever changes a video.  The shard is the session's,
-- so two sessions of one user seldom wait for the same row; each change of a
-- video is one upsert of one row.

CREATE OR REPLACE FUNCTION avp_counters() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_old  text;
    v_new  text;
    v_user uuid;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL THEN
        v_old := OLD.status;
        v_user := OLD.user_id;
    END IF;

    IF TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL THEN
        v_new := NEW.status;
        v_user := NEW.user_id;
    END IF;

    IF v_old IS NOT DISTINCT FROM v_new THEN
        RETURN NULL;
    END IF;

    INSERT INTO counters AS c (user_id, shard, uploading, pending, processing,
                               completed, failed)
    SELECT v_user, pg_backend_pid() % 8,
           (n = 'uploading')::int  - (o = 'uploading')::int,
           (n = 'pending')::int    - (o = 'pending')::int,
           (n = 'processing')::int - (o = 'processing')::int,
           (n = 'completed')::int  - (o = 'completed')::int,
           (n = 'failed')::int     - (o = 'failed')::int
      FROM (SELECT coalesce(v_old, '') AS o, coalesce(v_new, '') AS n) x
    ON CONFLICT (user_id, shard) DO UPDATE SET
        uploading  = c.uploading  + excluded.uploading,
        pending    = c.pending    + excluded.pending,
        processing = c.processing + excluded.processing,
        completed  = c.completed  + excluded.completed,
        failed     = c.failed     + excluded.failed;

    RETURN NULL;
END
$$;

-- Made once: replacing a trigger would lock the table at each migrate.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger
                   WHERE tgrelid = 'public.videos'::regclass
                     AND tgname = 'videos_counters') THEN
        CREATE TRIGGER videos_counters
            AFTER INSERT OR DELETE OR UPDATE OF status, deleted_at
            ON public.videos
            FOR EACH ROW EXECUTE FUNCTION public.avp_counters();
    END IF;
END
$$;

-- One user's figures, everybody's when p_user is NULL.
CREATE OR REPLACE FUNCTION avp_count(p_user uuid, p_status text)
RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_user IS NULL THEN
        RETURN (SELECT coalesce(sum(CASE p_status
                    WHEN 'uploading' THEN c.uploading
                    WHEN 'pending' THEN c.pending
                    WHEN 'processing' THEN c.processing
                    WHEN 'completed' THEN c.completed
                    WHEN 'failed' THEN c.failed
                    ELSE c.uploading + c.pending + c.processing + c.completed
                         + c.failed END), 0)
                  FROM counters c);
    END IF;

    RETURN (SELECT coalesce(sum(CASE p_status
                WHEN 'uploading' THEN c.uploading
                WHEN 'pending' THEN c.pending
                WHEN 'processing' THEN c.processing
                WHEN 'completed' THEN c.completed
                WHEN 'failed' THEN c.failed
                ELSE c.uploading + c.pending + c.processing + c.completed
                     + c.failed END), 0)
              FROM counters c WHERE c.user_id = p_user);
END
$$;
