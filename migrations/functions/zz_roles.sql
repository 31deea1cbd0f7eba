-- Who may call what.  Applied last, in the transaction that has just replaced
-- every function of this folder.
--
-- avp_api and avp_worker are roles to be granted to login roles; they see no
-- tables.  Where the migrating user may not create roles, there is only its
-- own access, and a notice says so.

DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['avp_api', 'avp_worker'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            CONTINUE;
        END IF;

        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'role % is not there and may not be created by %',
                             v_role, current_user;
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- a migration of another database of this server
        END;
    END LOOP;
END
$$;

DO $$
DECLARE
    f      record;
    v_role text;
BEGIN
    FOR f IN
        SELECT p.oid::regprocedure AS name, p.prorettype,
               -- not replaced just now: an overload that an earlier release
               -- left behind, which would make calls ambiguous
               p.xmin <> pg_current_xact_id()::xid AS stale,
               CASE WHEN p.proname = 'health_ping'
                    THEN ARRAY['avp_api', 'avp_worker']
                    WHEN p.proname IN (
                        'video_create', 'video_get', 'video_status',
                        'video_list', 'video_metadata', 'video_delete',
                        'video_file', 'job_status', 'job_retry',
                        'system_stats', 'worker_list', 'zone_pull')
                    THEN ARRAY['avp_api']
                    WHEN p.proname IN (
                        'job_claim_next', 'job_progress', 'job_playable',
                        'job_publish', 'job_fail', 'lease_take',
                        'reconcile_jobs', 'queue_due', 'worker_seen',
                        'worker_gone', 'gc_prefixes', 'gc_videos',
                        'gc_purge', 'gc_purged')
                    THEN ARRAY['avp_worker']
                    WHEN p.proname IN (
                        'user_by_email', 'user_add', 'user_list',
                        'user_disable', 'user_set_role')
                      OR p.proname LIKE 'avp\_%'
                    THEN ARRAY[]::text[]
               END AS roles
          FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace
    LOOP
        CONTINUE WHEN f.roles IS NULL;

        IF f.stale THEN
            EXECUTE format('DROP FUNCTION %s', f.name);
            CONTINUE;
        END IF;

        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.name);

        FOREACH v_role IN ARRAY f.roles LOOP
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I',
                               f.name, v_role);
            END IF;
        END LOOP;
    END LOOP;
END
$$;
