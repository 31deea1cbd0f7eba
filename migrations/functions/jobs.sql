-- Jobs: what the worker calls, and the two that the API calls.
--
-- Every function locks the video's row first, then the job's.  `attempt` only
-- grows; every write of a run names it and is refused when it is stale.  All
-- times are the database's.

-- The end of an attempt that published nothing: its history row, and what it
-- had made playable is withdrawn.
CREATE OR REPLACE FUNCTION avp_attempt_ended(
    p_job uuid, p_attempt integer, p_outcome text, p_code text, p_detail text
) RETURNS void
LANGUAGE sql VOLATILE AS $$
    UPDATE job_attempts a
       SET ended_at = clock_timestamp(), outcome = p_outcome, code = p_code,
           detail = avp_clean(p_detail, 2000)
     WHERE a.job_id = p_job AND a.attempt = p_attempt AND a.ended_at IS NULL
$$;

-- A deleted video's jobs end here; the worker hears of it by job_progress.
-- The caller has locked the video.
CREATE OR REPLACE FUNCTION avp_cancel_jobs(p_video uuid) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    j record;
BEGIN
    FOR j IN
        UPDATE processing_jobs x
           SET status = 'cancelled', completed_at = clock_timestamp(),
               updated_at = clock_timestamp(), error_class = 'cancelled',
               error_code = 'cancelled', error_message = 'The video was deleted.'
         WHERE x.video_id = p_video
           AND x.status IN ('pending', 'processing', 'retrying')
        RETURNING x.id, x.attempt
    LOOP
        PERFORM avp_attempt_ended(j.id, j.attempt, 'cancelled', 'cancelled', NULL);
    END LOOP;
END
$$;

-- Moves a job that runs (or whose lease ran out) to what its failure means and
-- its video with it.  The caller holds both locks and has checked the fence.
CREATE OR REPLACE FUNCTION avp_job_end(
    v videos, j processing_jobs, p_class text, p_code text, p_detail text,
    OUT status text, OUT retry_in double precision, OUT event text
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now     timestamptz := clock_timestamp();
    v_seq     bigint := avp_seq(v.seq);
    v_code    text := avp_clean(p_code, 50);
    v_detail  text := coalesce(nullif(avp_clean(p_detail, 1000), ''), p_code);
    v_final   boolean;
    v_type    text;
BEGIN
    CASE p_class
    WHEN 'permanent' THEN
        status := 'failed';

    WHEN 'cancelled' THEN
        status := 'cancelled';

    WHEN 'drained' THEN
        status := 'pending';
        retry_in := 0;

    WHEN 'transient' THEN
        j.transient_count := j.transient_count + 1;
        j.first_transient_at := coalesce(j.first_transient_at, v_now);

        IF v_now > j.first_transient_at + interval '24 hours' THEN
            status := 'failed';
        ELSE
            status := 'retrying';
            retry_in := avp_backoff(j.transient_count);
        END IF;

    WHEN 'crash', 'stall' THEN
        j.retry_count := j.retry_count + 1;

        IF j.retry_count >= j.max_retries THEN
            status := 'failed';
            v_detail := 'The file stopped the media process too many times; '
                        'the last time: ' || v_detail;
            v_code := 'poison';
        ELSE
            status := 'retrying';
            retry_in := avp_backoff(j.retry_count);
        END IF;

    WHEN 'lost' THEN
        -- slower from the third time on: it may be the job that kills workers
        j.lost_count := j.lost_count + 1;

        IF j.lost_count >= 10 THEN
            status := 'failed';
            v_detail := 'Ten workers went away while they had this job.';
        ELSIF j.lost_count >= 3 THEN
            status := 'retrying';
            retry_in := avp_backoff(j.lost_count - 2);
        ELSE
            status := 'pending';
            retry_in := 0;
        END IF;
    END CASE;

    v_final := status IN ('failed', 'cancelled');

    PERFORM avp_attempt_ended(j.id, j.attempt, p_class, p_code, p_detail);

    UPDATE processing_jobs x SET
        status = avp_job_end.status, updated_at = v_now,
        run_after = v_now + make_interval(secs => coalesce(retry_in, 0)),
        completed_at = CASE WHEN v_final THEN v_now END,
        current_task = NULL, eta = NULL,
        lease_owner = NULL, lease_incarnation = NULL, lease_until = NULL,
        retry_count = j.retry_count, lost_count = j.lost_count,
        transient_count = j.transient_count,
        first_transient_at = j.first_transient_at,
        error_class = CASE WHEN p_class <> 'drained' THEN p_class END,
        error_code = CASE WHEN p_class <> 'drained' THEN v_code END,
        error_message = CASE WHEN p_class <> 'drained' THEN v_detail END
     WHERE x.id = j.id;

    UPDATE videos x SET
        status = CASE avp_job_end.status WHEN 'retrying' THEN 'processing'
                      WHEN 'pending' THEN 'pending' ELSE 'failed' END,
        seq = v_seq, updated_at = v_now,
        live_prefix = NULL, live_master = NULL, live_poster = NULL,
        finished_at = CASE WHEN v_final THEN v_now END,
        error_code = CASE WHEN v_final THEN v_code END,
        error_message = CASE WHEN v_final THEN v_detail END
     WHERE x.id = v.id;

    IF v_final THEN
        PERFORM avp_audit(NULL, 'job.' || status, 'job', j.id, NULL,
            jsonb_build_object('videoId', v.id, 'attempt', j.attempt,
                               'code', v_code, 'error', v_detail), NULL, NULL);
    END IF;

    v_type := CASE status WHEN 'failed' THEN 'video.failed'
                          WHEN 'cancelled' THEN 'job.cancelled'
                          WHEN 'retrying' THEN 'job.retrying'
                          ELSE 'job.queued' END;
    event := avp_event(v_type, v.id, v.user_id, v_seq, json_build_object(
        'jobId', j.id, 'jobStatus', status,
        'status', CASE status WHEN 'retrying' THEN 'processing'
                              WHEN 'pending' THEN 'pending' ELSE 'failed' END,
        'attempt', j.attempt, 'retryIn', round(retry_in::numeric, 1),
        'error', CASE WHEN p_class <> 'drained' THEN v_detail END,
        'errorCode', CASE WHEN p_class <> 'drained' THEN v_code END));
END
$$;

-- Hands out the due job that comes first.  A row that somebody else has locked
-- is skipped for the next one, never for "none".
--
-- The planner is told to walk along the index: with stale statistics a sort of
-- the whole queue looks cheap to it and is not.
CREATE OR REPLACE FUNCTION job_claim_next(
    p_worker text, p_incarnation uuid, p_lease integer, p_running uuid[]
) RETURNS TABLE (
    result text, job uuid, video uuid, "user" uuid, attempt integer,
    prefix text, source_bucket text, source_key text, source_size bigint,
    container text, alone boolean, event text, next_due double precision)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_running uuid[] := coalesce(p_running, '{}');
    v_idle    boolean := cardinality(v_running) = 0;
    v         videos%ROWTYPE;
    j         processing_jobs%ROWTYPE;
    v_now     timestamptz;
BEGIN
    LOOP
        -- leased to this worker, which does not run it: the answer was lost
        SELECT x.id INTO job
          FROM processing_jobs x JOIN videos y ON y.id = x.video_id
         WHERE x.status = 'processing' AND x.lease_incarnation = p_incarnation
           AND x.id <> ALL (v_running)
         LIMIT 1 FOR UPDATE OF y, x SKIP LOCKED;

        IF job IS NULL THEN
            SELECT x.id INTO job
              FROM processing_jobs x JOIN videos y ON y.id = x.video_id
             WHERE x.status IN ('pending', 'retrying')
               AND x.run_after <= clock_timestamp()
               AND (v_idle OR x.lost_count < 3)
             ORDER BY x.priority DESC, x.turn, x.run_after
             LIMIT 1 FOR UPDATE OF y, x SKIP LOCKED;
        END IF;

        -- lapsed; those that were lost before are the reconciler's
        IF job IS NULL THEN
            SELECT x.id INTO job
              FROM processing_jobs x JOIN videos y ON y.id = x.video_id
             WHERE x.status = 'processing' AND x.lost_count < 2
               AND x.lease_until < clock_timestamp()
             LIMIT 1 FOR UPDATE OF y, x SKIP LOCKED;
        END IF;

        EXIT WHEN job IS NULL;

        SELECT * INTO j FROM processing_jobs x WHERE x.id = job;
        SELECT * INTO v FROM videos x WHERE x.id = j.video_id;

        EXIT WHEN v.deleted_at IS NULL;
        PERFORM avp_cancel_jobs(v.id);
    END LOOP;

    IF job IS NULL THEN
        result := 'none';
        -- at least a little: what is lapsed may wait for the reconciler
        SELECT CASE WHEN count(*) > 0 THEN greatest(
                   extract(epoch FROM min(x.at) - clock_timestamp()), 0.5) END
          INTO next_due
          FROM (SELECT y.run_after AS at FROM processing_jobs y
                 WHERE y.status IN ('pending', 'retrying')
                   AND (v_idle OR y.lost_count < 3)
                   AND y.run_after > clock_timestamp()
                 UNION ALL
                SELECT y.lease_until + interval '1 second'
                  FROM processing_jobs y WHERE y.status = 'processing') x;
        RETURN NEXT;
        RETURN;
    END IF;

    IF j.status = 'processing' THEN
        IF j.lease_incarnation = p_incarnation THEN
            PERFORM avp_attempt_ended(j.id, j.attempt, 'unanswered', NULL, NULL);
        ELSE
            j.lost_count := j.lost_count + 1;
            PERFORM avp_attempt_ended(j.id, j.attempt, 'lost', 'lease_lost', NULL);
        END IF;
    END IF;

    v_now := clock_timestamp();
    v.seq := avp_seq(v.seq);
    attempt := j.attempt + 1;
    -- 64 random bits, from the parts of a version 4 UUID that are random
    prefix := gen_random_uuid()::text;
    prefix := attempt || '-' || right(prefix, 12) || left(prefix, 4);

    UPDATE processing_jobs x SET
        status = 'processing', attempt = job_claim_next.attempt,
        prefix = job_claim_next.prefix, lease_owner = left(p_worker, 255),
        lease_incarnation = p_incarnation,
        lease_until = v_now + make_interval(secs => p_lease),
        started_at = v_now, completed_at = NULL, updated_at = v_now,
        progress = 0, current_task = NULL, eta = NULL,
        error_class = NULL, error_code = NULL, error_message = NULL,
        lost_count = j.lost_count
     WHERE x.id = j.id;

    UPDATE videos x SET
        status = 'processing', seq = v.seq, updated_at = v_now,
        live_prefix = NULL, live_master = NULL, live_poster = NULL,
        error_code = NULL, error_message = NULL, finished_at = NULL
     WHERE x.id = v.id;

    INSERT INTO job_attempts (job_id, attempt, worker, prefix, started_at)
    VALUES (j.id, attempt, left(p_worker, 255), prefix, v_now);

    result := 'ok';
    video := v.id;
    "user" := v.user_id;
    source_bucket := v.s3_bucket;
    source_key := v.s3_key;
    source_size := v.original_size;
    container := v.container;
    alone := j.lost_count >= 3;
    event := avp_event('job.started', v.id, v.user_id, v.seq,
        json_build_object('jobId', j.id, 'jobStatus', 'processing',
                          'status', 'processing', 'progress', 0,
                          'attempt', attempt));
    RETURN NEXT;
END
$$;

-- A batch of a worker's jobs: extends their leases, keeps their progress (it
-- never goes back), and says which of them to give up.
CREATE OR REPLACE FUNCTION job_progress(
    p_incarnation uuid, p_lease integer, p_items jsonb
) RETURNS TABLE (job uuid, verdict text, event text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    i          record;
    r          record;
    v_progress integer;
    v_task     text;
    v_seq      bigint;
BEGIN
    FOR i IN
        SELECT x.job, x.attempt, least(greatest(x.progress, 0), 99)::int AS progress,
               avp_clean(x.task, 255) AS task, x.eta::int AS eta, j.video_id
          FROM jsonb_to_recordset(p_items)
               AS x(job uuid, attempt int, progress numeric, task text, eta numeric)
          LEFT JOIN processing_jobs j ON j.id = x.job
         ORDER BY j.video_id
    LOOP
        job := i.job;
        event := NULL;

        SELECT v.id AS video, v.user_id, v.seq, v.deleted_at, j.status,
               j.progress, j.current_task, j.attempt, j.lease_incarnation
          INTO r
          FROM processing_jobs j JOIN videos v ON v.id = j.video_id
         WHERE j.id = i.job
           FOR UPDATE OF v, j;

        IF NOT FOUND OR r.attempt <> i.attempt THEN
            verdict := 'lost';
        ELSIF r.deleted_at IS NOT NULL OR r.status = 'cancelled' THEN
            verdict := 'cancel';
        ELSIF r.status <> 'processing'
           OR r.lease_incarnation IS DISTINCT FROM p_incarnation
        THEN
            verdict := 'lost';
        ELSE
            verdict := 'ok';
            v_progress := greatest(r.progress, coalesce(i.progress, 0));
            v_task := coalesce(i.task, r.current_task);

            UPDATE processing_jobs x SET
                lease_until = clock_timestamp() + make_interval(secs => p_lease),
                progress = v_progress, current_task = v_task,
                eta = CASE WHEN i.eta >= 0 THEN i.eta END,
                updated_at = clock_timestamp()
             WHERE x.id = i.job;

            IF v_progress <> r.progress
               OR v_task IS DISTINCT FROM r.current_task
            THEN
                v_seq := avp_seq(r.seq);
                UPDATE videos x SET seq = v_seq, updated_at = clock_timestamp()
                 WHERE x.id = r.video;
                event := avp_event_text('job.progress', r.video, r.user_id,
                    v_seq, json_build_object(
                        'jobId', i.job, 'status', 'processing',
                        'progress', v_progress, 'currentTask', v_task,
                        'etaSeconds', CASE WHEN i.eta >= 0 THEN i.eta END,
                        'attempt', i.attempt));
            END IF;
        END IF;

        RETURN NEXT;
    END LOOP;
END
$$;

-- Locks a job for a write of its run, the video first.  NULL ids when the
-- fence refuses it.
CREATE OR REPLACE FUNCTION avp_fenced(
    p_incarnation uuid, p_job uuid, p_attempt integer,
    OUT v videos, OUT j processing_jobs
)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    SELECT x.* INTO v FROM videos x
     WHERE x.id = (SELECT y.video_id FROM processing_jobs y WHERE y.id = p_job)
       FOR UPDATE;
    SELECT x.* INTO j FROM processing_jobs x WHERE x.id = p_job FOR UPDATE;

    IF v.deleted_at IS NOT NULL
       OR j.status IS DISTINCT FROM 'processing'
       OR j.attempt <> p_attempt
       OR j.lease_incarnation IS DISTINCT FROM p_incarnation
    THEN
        v := NULL;
        j := NULL;
    END IF;
END
$$;

-- What the media process found out about the source.
CREATE OR REPLACE FUNCTION avp_store_source(p_video uuid, p_source jsonb)
RETURNS void
LANGUAGE sql VOLATILE AS $$
    UPDATE videos x SET
        duration = avp_number(p_source, 'duration'),
        resolution = avp_number(p_source, 'width')::int || 'x'
                     || avp_number(p_source, 'height')::int,
        fps = avp_number(p_source, 'fps'),
        format = coalesce(avp_clean(p_source ->> 'format', 16), x.container),
        video_codec = avp_clean(p_source ->> 'videoCodec', 50),
        audio_codec = avp_clean(p_source ->> 'audioCodec', 50),
        bitrate = avp_number(p_source, 'bitrate')::bigint,
        frames = avp_number(p_source, 'frames')::bigint
     WHERE x.id = p_video AND jsonb_typeof(p_source) = 'object'
$$;

-- Something can be played while the rest is still being made.
CREATE OR REPLACE FUNCTION job_playable(
    p_incarnation uuid, p_job uuid, p_attempt integer, p_doc jsonb
) RETURNS TABLE (result text, event text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v     videos%ROWTYPE;
    j     processing_jobs%ROWTYPE;
    v_seq bigint;
BEGIN
    SELECT (f.v).* INTO v
      FROM avp_fenced(p_incarnation, p_job, p_attempt) f;

    IF v.id IS NULL THEN
        RETURN QUERY SELECT 'stale', NULL::text;
        RETURN;
    END IF;

    -- locked above, by the same statement
    SELECT * INTO j FROM processing_jobs x WHERE x.id = p_job;
    v_seq := avp_seq(v.seq);

    PERFORM avp_store_source(v.id, p_doc -> 'source');

    UPDATE videos x SET
        live_prefix = j.prefix, live_master = p_doc ->> 'master',
        live_poster = p_doc ->> 'poster', seq = v_seq,
        thumbnail_url = coalesce('/v/' || v.id || '/' || j.prefix || '/'
                                 || (p_doc ->> 'poster'), x.thumbnail_url),
        updated_at = clock_timestamp()
     WHERE x.id = v.id;

    -- it got somewhere: a later storage failure has its own 24 hours
    UPDATE processing_jobs x
       SET transient_count = 0, first_transient_at = NULL
     WHERE x.id = p_job AND x.transient_count > 0;

    result := 'ok';
    event := avp_event('video.playable', v.id, v.user_id, v_seq,
        json_build_object('jobId', p_job, 'status', 'processing',
                          'playable', true, 'attempt', p_attempt));
    RETURN NEXT;
END
$$;

-- The one step that makes results visible.  A repeated call (the first answer
-- was lost) is `ok` again with the same event.
CREATE OR REPLACE FUNCTION job_publish(
    p_incarnation uuid, p_job uuid, p_attempt integer, p_doc jsonb
) RETURNS TABLE (result text, event text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v      videos%ROWTYPE;
    j      processing_jobs%ROWTYPE;
    v_now  timestamptz;
    v_rows integer;
BEGIN
    SELECT (f.v).* INTO v
      FROM avp_fenced(p_incarnation, p_job, p_attempt) f;
    SELECT * INTO j FROM processing_jobs x WHERE x.id = p_job;

    IF v.id IS NULL THEN
        IF j.status = 'completed' AND j.attempt = p_attempt
           AND j.lease_incarnation = p_incarnation
        THEN
            RETURN QUERY SELECT 'ok', (
                SELECT o.event FROM outbox o
                 WHERE o.video_id = j.video_id AND o.type = 'video.completed'
                 ORDER BY o.seq DESC LIMIT 1);
        ELSE
            RETURN QUERY SELECT 'stale', NULL::text;
        END IF;
        RETURN;
    END IF;

    v_now := clock_timestamp();
    v.seq := avp_seq(v.seq);

    INSERT INTO processing_results AS t (
        job_id, video_id, format, quality, file_size, duration, bitrate, codec,
        s3_key, s3_url, prefix, mime, width, height, created_at)
    SELECT p_job, v.id, r ->> 'format', r ->> 'quality',
           coalesce(avp_number(r, 'size')::bigint, 0), avp_number(r, 'duration'),
           round(avp_number(r, 'bitrate') / 1000) || 'k',
           avp_clean(r ->> 'codec', 50),
           'outputs/' || v.id || '/' || j.prefix || '/' || (r ->> 'path'),
           '/v/' || v.id || '/' || j.prefix || '/' || (r ->> 'path'),
           j.prefix, avp_clean(r ->> 'mime', 255),
           avp_number(r, 'width')::int, avp_number(r, 'height')::int, v_now
      FROM jsonb_array_elements(CASE jsonb_typeof(p_doc -> 'results')
               WHEN 'array' THEN p_doc -> 'results' ELSE '[]' END) r
    ON CONFLICT (video_id, format, quality) DO UPDATE SET
        job_id = excluded.job_id, file_size = excluded.file_size,
        duration = excluded.duration, bitrate = excluded.bitrate,
        codec = excluded.codec, s3_key = excluded.s3_key,
        s3_url = excluded.s3_url, prefix = excluded.prefix,
        mime = excluded.mime, width = excluded.width,
        height = excluded.height, created_at = excluded.created_at;
    GET DIAGNOSTICS v_rows = ROW_COUNT;

    PERFORM avp_store_source(v.id, p_doc -> 'source');

    UPDATE videos x SET
        status = 'completed', seq = v.seq, updated_at = v_now,
        finished_at = v_now,
        processing_seconds = extract(epoch FROM v_now - j.started_at),
        published_prefix = j.prefix, published_attempt = p_attempt,
        master = p_doc ->> 'master', poster = p_doc ->> 'poster',
        storyboard = p_doc ->> 'storyboard',
        thumbnail_url = '/v/' || v.id || '/' || j.prefix || '/'
                        || (p_doc ->> 'poster'),
        live_prefix = NULL, live_master = NULL, live_poster = NULL,
        error_code = NULL, error_message = NULL,
        media = jsonb_strip_nulls(jsonb_build_object(
            'dash', p_doc -> 'dash', 'preview', p_doc -> 'preview',
            'thumbnails', p_doc -> 'thumbnails',
            'audioTracks', p_doc -> 'audioTracks',
            'subtitles', p_doc -> 'subtitles',
            'passthrough', p_doc -> 'passthrough')),
        warnings = (SELECT coalesce(jsonb_agg(avp_clean(w, 500)), '[]')
                      FROM jsonb_array_elements_text(
                               CASE jsonb_typeof(p_doc -> 'warnings')
                               WHEN 'array' THEN p_doc -> 'warnings'
                               ELSE '[]' END) w)
     WHERE x.id = v.id;

    -- the lease's owner stays named: it may ask again
    UPDATE processing_jobs x SET
        status = 'completed', progress = 100, completed_at = v_now,
        updated_at = v_now, current_task = NULL, eta = NULL,
        error_class = NULL, error_code = NULL, error_message = NULL
     WHERE x.id = p_job;

    PERFORM avp_attempt_ended(p_job, p_attempt, 'completed', NULL, NULL);
    PERFORM avp_audit(NULL, 'job.completed', 'job', p_job, NULL,
        jsonb_build_object('videoId', v.id, 'attempt', p_attempt,
                           'results', v_rows), NULL, NULL);

    result := 'ok';
    event := avp_event('video.completed', v.id, v.user_id, v.seq,
        json_build_object('jobId', p_job, 'status', 'completed',
                          'jobStatus', 'completed', 'progress', 100,
                          'attempt', p_attempt, 'results', v_rows));
    RETURN NEXT;
END
$$;

CREATE OR REPLACE FUNCTION job_fail(
    p_incarnation uuid, p_job uuid, p_attempt integer,
    p_class text, p_code text, p_detail text
) RETURNS TABLE (result text, status text, retry_in double precision, event text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v videos%ROWTYPE;
    j processing_jobs%ROWTYPE;
BEGIN
    IF p_class IS NULL
       OR p_class NOT IN ('permanent', 'transient', 'crash', 'stall', 'lost',
                          'drained', 'cancelled')
    THEN
        result := 'invalid:invalid_field';
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT (f.v).* INTO v
      FROM avp_fenced(p_incarnation, p_job, p_attempt) f;

    IF v.id IS NULL THEN
        result := 'stale';
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT * INTO j FROM processing_jobs x WHERE x.id = p_job;

    RETURN QUERY
    SELECT 'ok', e.status, e.retry_in, e.event
      FROM avp_job_end(v, j, p_class, p_code, p_detail) e;
END
$$;

-- Puts back jobs whose lease has run out, and clears old events away.  Several
-- may run at once: each takes what the others have not locked.
CREATE OR REPLACE FUNCTION reconcile_jobs(p_limit integer)
RETURNS TABLE (result text, lapsed bigint, due bigint, events text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v        videos%ROWTYPE;
    j        processing_jobs%ROWTYPE;
    v_id     uuid;
    v_event  text;
    v_events json[] := '{}';
BEGIN
    lapsed := 0;

    -- one user after the other: two of these never wait crosswise for counters
    FOR v_id IN
        SELECT x.id
          FROM processing_jobs x JOIN videos y ON y.id = x.video_id
         WHERE x.status = 'processing' AND x.lease_until < clock_timestamp()
         ORDER BY y.user_id, y.id
         LIMIT least(greatest(p_limit, 0), 1000)
           FOR UPDATE OF y, x SKIP LOCKED
    LOOP
        SELECT * INTO j FROM processing_jobs x WHERE x.id = v_id;
        SELECT * INTO v FROM videos x WHERE x.id = j.video_id;

        IF v.deleted_at IS NOT NULL THEN
            PERFORM avp_cancel_jobs(v.id);
            CONTINUE;
        END IF;

        SELECT e.event INTO v_event
          FROM avp_job_end(v, j, 'lost', 'lease_lost',
                           'The worker went away; the job was given to another.') e;
        v_events := v_events || v_event::json;
        lapsed := lapsed + 1;
    END LOOP;

    SELECT count(*) INTO due
      FROM (SELECT FROM processing_jobs x
             WHERE x.status IN ('pending', 'retrying')
               AND x.run_after <= clock_timestamp() LIMIT 100) x;

    DELETE FROM outbox o WHERE o.id IN (
        SELECT x.id FROM outbox x
         WHERE x.created_at < clock_timestamp() - interval '24 hours'
         ORDER BY x.created_at LIMIT 1000);

    DELETE FROM workers x WHERE x.seen_at < clock_timestamp() - interval '24 hours';

    result := 'ok';
    events := array_to_json(v_events)::text;
    RETURN NEXT;
END
$$;

CREATE OR REPLACE FUNCTION queue_due()
RETURNS TABLE (result text, due bigint, running bigint, failed bigint,
               oldest double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT 'ok', d.n,
           (SELECT count(*) FROM processing_jobs j WHERE j.status = 'processing'),
           (SELECT count(*) FROM processing_jobs j WHERE j.status = 'failed'),
           extract(epoch FROM clock_timestamp() - d.first)::double precision
      FROM (SELECT count(*) AS n, min(j.run_after) AS first
              FROM processing_jobs j
             WHERE j.status IN ('pending', 'retrying')
               AND j.run_after <= clock_timestamp()) d;
END
$$;

CREATE OR REPLACE FUNCTION job_status(p_user uuid, p_admin boolean, p_job uuid)
RETURNS TABLE (result text, doc text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT avp_active(p_user) THEN
        RETURN QUERY SELECT 'forbidden', NULL::text;
        RETURN;
    END IF;

    RETURN QUERY
    SELECT 'ok', json_build_object(
        'id', j.id, 'videoId', j.video_id, 'status', j.status,
        'progress', j.progress, 'currentTask', j.current_task,
        'startedAt', avp_time(j.started_at),
        'completedAt', avp_time(j.completed_at),
        'error', j.error_message, 'errorCode', j.error_code,
        'attempt', j.attempt, 'retryCount', j.retry_count,
        'maxRetries', j.max_retries, 'priority', j.priority,
        'createdAt', avp_time(j.created_at))::text
      FROM processing_jobs j JOIN videos v ON v.id = j.video_id
     WHERE j.id = p_job AND v.deleted_at IS NULL
       AND (v.user_id = p_user OR p_admin);

    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::text;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION job_retry(
    p_user uuid, p_admin boolean, p_ip text, p_agent text, p_job uuid
) RETURNS TABLE (result text, doc text, event text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v      videos%ROWTYPE;
    j      processing_jobs%ROWTYPE;
    v_now  timestamptz;
    v_turn bigint;
BEGIN
    IF NOT avp_active(p_user) THEN
        RETURN QUERY SELECT 'forbidden', NULL::text, NULL::text;
        RETURN;
    END IF;

    SELECT * INTO v FROM videos x
     WHERE x.id = (SELECT y.video_id FROM processing_jobs y WHERE y.id = p_job)
       AND x.deleted_at IS NULL AND (x.user_id = p_user OR p_admin)
       FOR UPDATE;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::text, NULL::text;
        RETURN;
    END IF;

    SELECT * INTO j FROM processing_jobs x WHERE x.id = p_job FOR UPDATE;

    IF j.status NOT IN ('failed', 'cancelled') THEN
        RETURN QUERY SELECT 'conflict:not_retryable', NULL::text, NULL::text;
        RETURN;
    END IF;

    v_now := clock_timestamp();
    v_turn := avp_turn(v.user_id, j.priority);
    v.seq := avp_seq(v.seq);

    -- everything starts anew but attempt, which only grows
    UPDATE processing_jobs x SET
        status = 'pending', progress = 0, current_task = NULL, eta = NULL,
        error_class = NULL, error_code = NULL, error_message = NULL,
        started_at = NULL, completed_at = NULL, updated_at = v_now,
        retry_count = 0, lost_count = 0, transient_count = 0,
        first_transient_at = NULL, retried_at = v_now,
        run_after = v_now, turn = v_turn
     WHERE x.id = p_job;

    UPDATE videos x SET
        status = 'pending', seq = v.seq, updated_at = v_now, finished_at = NULL,
        error_code = NULL, error_message = NULL
     WHERE x.id = v.id;

    PERFORM avp_audit(p_user, 'job.retry', 'job', p_job,
        jsonb_build_object('status', j.status, 'code', j.error_code),
        jsonb_build_object('status', 'pending', 'videoId', v.id),
        p_ip, p_agent);

    result := 'ok';
    doc := json_build_object('id', p_job, 'status', 'pending',
                             'retriedAt', avp_time(v_now),
                             'videoId', v.id)::text;
    event := avp_event('job.queued', v.id, v.user_id, v.seq,
        json_build_object('jobId', p_job, 'jobStatus', 'pending',
                          'status', 'pending', 'progress', 0));
    RETURN NEXT;
END
$$;
