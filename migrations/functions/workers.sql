-- Who works here.  A worker that has not been seen for 30 s is taken for dead,
-- as the key of it in Redis is: that is three times the pause between two of
-- its messages.  reconcile_jobs forgets the dead after a day.

-- What a worker says of itself does not change while it lives: only when.
CREATE OR REPLACE FUNCTION worker_seen(
    p_incarnation uuid, p_name text, p_host text, p_version text,
    p_slots integer, p_ns text, p_landlock integer, p_seccomp boolean,
    p_libraries jsonb
) RETURNS TABLE (result text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO workers (incarnation, name, host, version, slots, sandbox_ns,
                         sandbox_landlock, sandbox_seccomp, libraries)
    VALUES (p_incarnation, avp_clean(p_name, 255), avp_clean(p_host, 255),
            avp_clean(p_version, 50), p_slots, p_ns, p_landlock, p_seccomp,
            p_libraries)
    ON CONFLICT (incarnation) DO UPDATE SET seen_at = excluded.seen_at;

    RETURN QUERY SELECT 'ok';
END
$$;

-- It ends, and says so.
CREATE OR REPLACE FUNCTION worker_gone(p_incarnation uuid)
RETURNS TABLE (result text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM workers w WHERE w.incarnation = p_incarnation;

    RETURN QUERY SELECT CASE WHEN FOUND THEN 'ok' ELSE 'not_found' END;
END
$$;

-- Those alive, for administrators: an array.  `running` counts leases, not
-- what the worker says.
CREATE OR REPLACE FUNCTION worker_list(p_user uuid, p_admin boolean)
RETURNS TABLE (result text, doc text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF p_admin IS NOT TRUE OR NOT avp_active(p_user) THEN
        RETURN QUERY SELECT 'forbidden', NULL::text;
        RETURN;
    END IF;

    RETURN QUERY
    SELECT 'ok', coalesce(json_agg(json_build_object(
               'id', w.incarnation, 'name', w.name, 'host', w.host,
               'version', w.version, 'libraries', w.libraries,
               'slots', w.slots,
               'running', (SELECT count(*) FROM processing_jobs j
                            WHERE j.status = 'processing'
                              AND j.lease_incarnation = w.incarnation),
               'sandbox', json_build_object(
                   'ns', w.sandbox_ns, 'landlock', w.sandbox_landlock,
                   'seccomp', w.sandbox_seccomp),
               'startedAt', avp_time(w.started_at),
               'lastSeen', avp_time(w.seen_at))
               ORDER BY w.name, w.started_at, w.incarnation), '[]')::text
      FROM workers w
     WHERE w.seen_at > clock_timestamp() - interval '30 seconds';
END
$$;
