-- Health, figures, what NGINX pulls into its zone, leases, and what gc asks.

CREATE OR REPLACE FUNCTION health_ping() RETURNS TABLE (result text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT 'ok'
$$;

CREATE OR REPLACE FUNCTION system_stats(p_user uuid, p_admin boolean)
RETURNS TABLE (result text, doc text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_who   uuid := CASE WHEN p_admin THEN NULL ELSE p_user END;
    v_day   timestamptz := date_trunc('day', now() AT TIME ZONE 'UTC')
                           AT TIME ZONE 'UTC';
    v_done  bigint;
    v_fail  bigint;
    v_mean  double precision;
    v_queue bigint;
BEGIN
    IF NOT avp_active(p_user) THEN
        RETURN QUERY SELECT 'forbidden', NULL::text;
        RETURN;
    END IF;

    SELECT count(*) FILTER (WHERE v.status = 'completed' AND v.finished_at >= v_day),
           count(*) FILTER (WHERE v.status = 'failed' AND v.finished_at >= v_day
                              AND v.error_code IS DISTINCT FROM 'cancelled'),
           avg(v.processing_seconds) FILTER (WHERE v.status = 'completed')
      INTO v_done, v_fail, v_mean
      FROM videos v
     WHERE v.finished_at >= now() - interval '24 hours'
       AND (v_who IS NULL OR v.user_id = v_who);

    -- waiting is pending (the video's too: counted already) or retrying
    SELECT count(*) INTO v_queue
      FROM processing_jobs j JOIN videos v ON v.id = j.video_id
     WHERE j.status = 'retrying' AND v.deleted_at IS NULL
       AND (v_who IS NULL OR v.user_id = v_who);
    v_queue := v_queue + avp_count(v_who, 'pending');

    RETURN QUERY SELECT 'ok', json_build_object(
        'totalVideos', avp_count(v_who, NULL),
        'processingVideos', avp_count(v_who, 'processing'),
        'completedToday', v_done, 'failedToday', v_fail,
        'averageProcessingTime', round(coalesce(v_mean, 0)::numeric, 1),
        'queueLength', v_queue)::text;
END
$$;

-- What delivery and authentication must refuse.  Deleted videos matter for as
-- long as a token for them may live (lib/delivery_token.h: two windows).
CREATE OR REPLACE FUNCTION zone_pull(p_since double precision)
RETURNS TABLE (kind text, id uuid, at double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_since timestamptz := to_timestamp(coalesce(p_since, 0));
BEGIN
    RETURN QUERY
    SELECT 'video', v.id, extract(epoch FROM v.deleted_at)::double precision
      FROM videos v
     WHERE v.deleted_at >= greatest(v_since, now() - interval '24 hours')
     ORDER BY v.deleted_at;

    RETURN QUERY
    SELECT CASE WHEN u.is_active AND u.deleted_at IS NULL THEN 'user_ok'
                ELSE 'user' END,
           u.id, extract(epoch FROM u.active_changed_at)::double precision
      FROM users u
     WHERE u.active_changed_at >= v_since
       AND (coalesce(p_since, 0) > 0 OR NOT u.is_active
            OR u.deleted_at IS NOT NULL);

    RETURN QUERY
    SELECT 'now', NULL::uuid,
           extract(epoch FROM clock_timestamp())::double precision;
END
$$;

-- Leadership by compare-and-set on the database's time.  A holder that asks
-- again keeps it.
CREATE OR REPLACE FUNCTION lease_take(p_name text, p_holder uuid, p_seconds integer)
RETURNS TABLE (result text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO leases AS l (name, holder, held_until)
    VALUES (p_name, p_holder,
            clock_timestamp() + make_interval(secs => p_seconds))
    ON CONFLICT (name) DO UPDATE
       SET holder = excluded.holder, held_until = excluded.held_until
     WHERE l.holder = excluded.holder OR l.held_until < clock_timestamp();

    RETURN QUERY SELECT CASE WHEN FOUND THEN 'ok' ELSE 'none' END;
END
$$;

-- A prefix is garbage when no published document names it and no unfinished
-- job's current attempt owns it.
CREATE OR REPLACE FUNCTION gc_prefixes(p_video uuid, p_prefixes text[])
RETURNS TABLE (prefix text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.name
      FROM unnest(p_prefixes) AS p(name)
     WHERE NOT EXISTS (
               SELECT FROM videos v
                WHERE v.id = p_video AND v.deleted_at IS NULL
                  AND p.name IN (v.published_prefix, v.live_prefix))
       AND NOT EXISTS (
               SELECT FROM processing_results r JOIN videos v ON v.id = r.video_id
                WHERE r.video_id = p_video AND r.prefix = p.name
                  AND v.deleted_at IS NULL)
       AND NOT EXISTS (
               SELECT FROM processing_jobs j
                WHERE j.video_id = p_video AND j.prefix = p.name
                  AND j.status IN ('pending', 'processing', 'retrying'));
END
$$;

CREATE OR REPLACE FUNCTION gc_videos(p_videos uuid[])
RETURNS TABLE (video uuid, state text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT p.id, CASE WHEN v.id IS NULL THEN 'unknown'
                      WHEN v.deleted_at IS NOT NULL THEN 'deleted'
                      ELSE 'live' END
      FROM unnest(p_videos) AS p(id) LEFT JOIN videos v ON v.id = p.id;
END
$$;

CREATE OR REPLACE FUNCTION gc_purge(p_grace integer, p_limit integer)
RETURNS TABLE (video uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT v.id FROM videos v
     WHERE v.deleted_at < now() - make_interval(secs => p_grace)
     ORDER BY v.deleted_at LIMIT greatest(p_limit, 0);
END
$$;

-- Called when the files are gone.
CREATE OR REPLACE FUNCTION gc_purged(p_video uuid) RETURNS TABLE (result text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM videos v WHERE v.id = p_video AND v.deleted_at IS NOT NULL;
    RETURN QUERY SELECT CASE WHEN FOUND THEN 'ok' ELSE 'not_found' END;
END
$$;
