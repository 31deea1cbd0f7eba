-- Videos: what the API reads and changes.  See docs/architecture.md 2 for the
-- convention; documents have holes (lib/doc.h): chr(1) || 'A' is the base of
-- the API, chr(1) || 'V{uuid}' the delivery base of a video.

CREATE OR REPLACE FUNCTION video_create(
    p_user uuid, p_admin boolean, p_ip text, p_agent text,
    p_video uuid, p_title text, p_description text, p_metadata text,
    p_filename text, p_size bigint, p_bucket text, p_key text,
    p_container text, p_priority integer
) RETURNS TABLE (result text, doc text, event text, job uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_metadata jsonb;
    v_priority integer := coalesce(p_priority, 0);
    v_turn     bigint;
    v_seq      bigint := avp_seq(0);
    v_created  timestamptz := clock_timestamp();
BEGIN
    IF NOT avp_active(p_user) THEN
        result := 'forbidden';
        RETURN NEXT;
        RETURN;
    END IF;

    BEGIN
        v_metadata := nullif(p_metadata, '')::jsonb;
    EXCEPTION WHEN data_exception THEN
        -- not JSON, or U+0000, which PostgreSQL cannot keep
        result := 'invalid:invalid_field';
        RETURN NEXT;
        RETURN;
    END;

    -- the same rules as the table's checks, answered in words
    IF p_title IS NULL OR p_title = '' OR char_length(p_title) > 255
       OR p_title ~ '[\u0001-\u001f\u007f-\u009f]'
       OR p_description ~ '[\u0001-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]'
       OR p_filename ~ '[\u0001-\u001f\u007f-\u009f]'
       OR jsonb_typeof(v_metadata) <> 'object'
       OR strpos(replace(v_metadata::text, '\\', ''), '\u0001') > 0
       OR v_priority NOT BETWEEN -10 AND 10
       OR (v_priority > 0 AND NOT p_admin)
       OR p_size < 0
    THEN
        result := 'invalid:invalid_field';
        RETURN NEXT;
        RETURN;
    END IF;

    v_turn := avp_turn(p_user, v_priority);

    INSERT INTO videos (id, user_id, title, description, metadata, filename,
                        original_size, s3_bucket, s3_key, container, status,
                        seq, created_at, updated_at)
    VALUES (p_video, p_user, p_title, p_description, v_metadata,
            left(p_filename, 255), p_size, p_bucket, p_key, p_container,
            'pending', v_seq, v_created, v_created)
    ON CONFLICT (id) DO NOTHING;

    IF NOT FOUND THEN
        result := 'conflict:conflict';
        RETURN NEXT;
        RETURN;
    END IF;

    INSERT INTO processing_jobs (video_id, job_type, status, priority, turn,
                                 run_after, created_at, updated_at)
    VALUES (p_video, 'transcode', 'pending', v_priority, v_turn,
            v_created, v_created, v_created)
    RETURNING id INTO job;

    PERFORM avp_audit(p_user, 'video.create', 'video', p_video, NULL,
                      jsonb_build_object('title', p_title, 'filename', p_filename,
                                         'size', p_size, 'jobId', job),
                      p_ip, p_agent);

    event := avp_event('video.created', p_video, p_user, v_seq,
        json_build_object('status', 'pending', 'progress', 0, 'jobId', job,
                          'title', p_title));
    doc := json_build_object(
        'id', p_video, 'filename', left(p_filename, 255),
        'title', p_title, 'status', 'pending', 'uploadProgress', 100,
        'createdAt', avp_time(v_created),
        'url', chr(1) || 'A/videos/' || p_video, 'jobId', job)::text;
    result := 'ok';
    RETURN NEXT;
END
$$;

CREATE OR REPLACE FUNCTION video_get(p_user uuid, p_admin boolean, p_video uuid)
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
        'id', v.id, 'title', v.title,
        'description', v.description,
        'metadata', v.metadata, 'filename', v.filename,
        'status', v.status, 'visibility', v.visibility,
        'duration', v.duration, 'fileSize', v.original_size,
        'createdAt', avp_time(v.created_at), 'updatedAt', avp_time(v.updated_at),
        'completedAt', CASE WHEN v.status = 'completed'
                            THEN avp_time(v.finished_at) END,
        'jobId', (SELECT j.id FROM processing_jobs j WHERE j.video_id = v.id
                  ORDER BY j.created_at DESC LIMIT 1),
        'url', chr(1) || 'A/videos/' || v.id)::text
      FROM videos v
     WHERE v.id = p_video AND v.deleted_at IS NULL
       AND (v.user_id = p_user OR p_admin);

    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::text;
    END IF;
END
$$;

-- A published file as a URL with a hole for its token; NULL for none.
CREATE OR REPLACE FUNCTION avp_media_url(p_video uuid, p_prefix text, p_path text)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT chr(1) || 'V' || p_video || '/' || p_prefix || '/' || p_path
$$;

CREATE OR REPLACE FUNCTION avp_thumbnails(p_video uuid, p_prefix text, p_media jsonb)
RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT coalesce(json_agg(json_build_object(
               'url', avp_media_url(p_video, p_prefix, t.doc ->> 'path'),
               'webpUrl', avp_media_url(p_video, p_prefix, t.doc ->> 'webp'),
               'time', t.doc -> 'time', 'width', t.doc -> 'width',
               'height', t.doc -> 'height') ORDER BY t.n), '[]')
      FROM jsonb_array_elements(CASE jsonb_typeof(p_media -> 'thumbnails')
               WHEN 'array' THEN p_media -> 'thumbnails' ELSE '[]' END)
           WITH ORDINALITY t(doc, n)
$$;

-- The published renditions of a video, as status shows them.
CREATE OR REPLACE FUNCTION avp_formats(p_video uuid) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT coalesce(json_agg(f.doc ORDER BY avp_format_rank(f.format), f.format), '[]')
      FROM (SELECT r.format, json_build_object(
                'format', r.format,
                'qualities', json_agg(r.quality ORDER BY r.rank),
                'status', 'completed',
                'urls', json_object_agg(r.quality, chr(1) || 'V' || p_video || '/'
                            || substr(r.s3_key, 46) ORDER BY r.rank),
                'types', json_object_agg(r.quality, r.mime
                            ORDER BY r.rank),
                'sizes', json_object_agg(r.quality, r.file_size
                            ORDER BY r.rank)) AS doc
              FROM (SELECT x.format, x.quality, x.s3_key, x.mime::text AS mime,
                           x.file_size, avp_quality_rank(x.quality) AS rank
                      FROM processing_results x WHERE x.video_id = p_video) r
             GROUP BY r.format) f
$$;

CREATE OR REPLACE FUNCTION video_status(p_user uuid, p_admin boolean, p_video uuid)
RETURNS TABLE (result text, doc text, seq bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v videos%ROWTYPE;
    j processing_jobs%ROWTYPE;
    v_done boolean;
    v_base text;
BEGIN
    IF NOT avp_active(p_user) THEN
        RETURN QUERY SELECT 'forbidden', NULL::text, NULL::bigint;
        RETURN;
    END IF;

    SELECT * INTO v FROM videos x
     WHERE x.id = p_video AND x.deleted_at IS NULL
       AND (x.user_id = p_user OR p_admin);

    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::text, NULL::bigint;
        RETURN;
    END IF;

    SELECT * INTO j FROM processing_jobs x WHERE x.video_id = p_video
     ORDER BY x.created_at DESC LIMIT 1;

    v_done := v.status = 'completed';
    v_base := chr(1) || 'V' || v.id || '/';

    result := 'ok';
    seq := v.seq;
    doc := json_build_object(
        'id', v.id, 'title', v.title, 'status', v.status,
        'progress', CASE WHEN v_done THEN 100
                         ELSE least(coalesce(j.progress, 0), 99) END,
        'processingDetails', json_build_object(
            'formats', CASE WHEN v_done THEN avp_formats(v.id) ELSE '[]' END,
            'passthrough', CASE WHEN v_done THEN v.media -> 'passthrough' END),
        'duration', v.duration, 'fileSize', v.original_size,
        'createdAt', avp_time(v.created_at),
        'completedAt', CASE WHEN v_done THEN avp_time(v.finished_at) END,
        'jobId', j.id,
        'currentTask', CASE WHEN j.status = 'processing'
                            THEN j.current_task END,
        'etaSeconds', CASE WHEN j.status = 'processing' THEN j.eta END,
        'playable', CASE WHEN v_done THEN v.master IS NOT NULL
                         ELSE v.live_master IS NOT NULL END,
        'playbackUrl', CASE WHEN v_done
                            THEN v_base || v.published_prefix || '/' || v.master
                            ELSE v_base || v.live_prefix || '/' || v.live_master
                            END,
        'thumbnailUrl', CASE WHEN v_done
                             THEN v_base || v.published_prefix || '/' || v.poster
                             ELSE v_base || v.live_prefix || '/' || v.live_poster
                             END,
        'storyboardUrl', CASE WHEN v_done THEN v_base || v.published_prefix
                                               || '/' || v.storyboard END,
        'dashUrl', CASE WHEN v_done THEN avp_media_url(
            v.id, v.published_prefix, v.media ->> 'dash') END,
        'previewUrl', CASE WHEN v_done THEN avp_media_url(
            v.id, v.published_prefix, v.media ->> 'preview') END,
        'thumbnails', CASE WHEN v_done THEN avp_thumbnails(
            v.id, v.published_prefix, v.media) ELSE '[]' END,
        'error', CASE WHEN v.status = 'failed' THEN v.error_message END,
        'errorCode', CASE WHEN v.status = 'failed' THEN v.error_code END,
        'warnings', v.warnings)::text;
    RETURN NEXT;
END
$$;

CREATE OR REPLACE FUNCTION video_list(
    p_user uuid, p_admin boolean, p_page integer, p_limit integer, p_status text
) RETURNS TABLE (result text, doc text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    v_page  integer := coalesce(p_page, 1);
    v_limit integer := coalesce(p_limit, 20);
    v_data  json;
BEGIN
    IF NOT avp_active(p_user) THEN
        RETURN QUERY SELECT 'forbidden', NULL::text;
        RETURN;
    END IF;

    IF v_page < 1 OR v_limit NOT BETWEEN 1 AND 100
       OR v_page::bigint * v_limit > 10000
       OR p_status NOT IN ('uploading', 'pending', 'processing', 'completed',
                           'failed')
    THEN
        RETURN QUERY SELECT 'invalid:invalid_field', NULL::text;
        RETURN;
    END IF;

    -- two statements, so that each plan sees which index fits
    IF p_admin THEN
        SELECT json_agg(x.item) INTO v_data FROM (
            SELECT avp_list_item(v) AS item
              FROM videos v
             WHERE v.deleted_at IS NULL
               AND (p_status IS NULL OR v.status = p_status)
             ORDER BY v.created_at DESC, v.id DESC
             LIMIT v_limit OFFSET (v_page - 1) * v_limit) x;
    ELSE
        SELECT json_agg(x.item) INTO v_data FROM (
            SELECT avp_list_item(v) AS item
              FROM videos v
             WHERE v.user_id = p_user AND v.deleted_at IS NULL
               AND (p_status IS NULL OR v.status = p_status)
             ORDER BY v.created_at DESC, v.id DESC
             LIMIT v_limit OFFSET (v_page - 1) * v_limit) x;
    END IF;

    result := 'ok';
    doc := json_build_object(
        'data', coalesce(v_data, '[]'),
        'pagination', json_build_object(
            'page', v_page, 'limit', v_limit,
            'total', avp_count(CASE WHEN p_admin THEN NULL ELSE p_user END,
                               p_status)))::text;
    RETURN NEXT;
END
$$;

CREATE OR REPLACE FUNCTION avp_list_item(v videos) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'id', v.id, 'title', v.title, 'status', v.status,
        'duration', v.duration, 'fileSize', v.original_size,
        'createdAt', avp_time(v.created_at))
$$;

CREATE OR REPLACE FUNCTION video_metadata(p_user uuid, p_admin boolean, p_video uuid)
RETURNS TABLE (result text, doc text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v videos%ROWTYPE;
BEGIN
    IF NOT avp_active(p_user) THEN
        RETURN QUERY SELECT 'forbidden', NULL::text;
        RETURN;
    END IF;

    SELECT * INTO v FROM videos x
     WHERE x.id = p_video AND x.deleted_at IS NULL
       AND (x.user_id = p_user OR p_admin);

    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::text;

    ELSIF v.format IS NULL THEN
        -- nobody has looked into the file yet
        RETURN QUERY SELECT 'conflict:not_ready', NULL::text;

    ELSE
        RETURN QUERY SELECT 'ok', json_build_object(
            'duration', v.duration, 'format', v.format,
            'resolution', v.resolution, 'frameRate', v.fps,
            'bitrate', round(v.bitrate / 1000.0) || 'k',
            'audioCodec', v.audio_codec, 'videoCodec', v.video_codec,
            'fileSize', v.original_size,
            'audioTracks', coalesce(v.media -> 'audioTracks', '[]'),
            'subtitles', coalesce(v.media -> 'subtitles', '[]'))::text;
    END IF;
END
$$;

-- Delivery stops when NGINX hears of it; the files go later.  The job's row
-- stays as long as its video's.
CREATE OR REPLACE FUNCTION video_delete(
    p_user uuid, p_admin boolean, p_ip text, p_agent text, p_video uuid
) RETURNS TABLE (result text, event text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v     videos%ROWTYPE;
    v_now timestamptz;
    v_seq bigint;
BEGIN
    IF NOT avp_active(p_user) THEN
        RETURN QUERY SELECT 'forbidden', NULL::text;
        RETURN;
    END IF;

    SELECT * INTO v FROM videos x
     WHERE x.id = p_video AND x.deleted_at IS NULL
       AND (x.user_id = p_user OR p_admin)
       FOR UPDATE;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::text;
        RETURN;
    END IF;

    v_now := clock_timestamp();
    v_seq := avp_seq(v.seq);

    UPDATE videos SET deleted_at = v_now, updated_at = v_now, seq = v_seq
     WHERE id = p_video;
    PERFORM avp_cancel_jobs(p_video);
    PERFORM avp_audit(p_user, 'video.delete', 'video', p_video,
                      jsonb_build_object('title', v.title, 'status', v.status,
                                         'userId', v.user_id),
                      NULL, p_ip, p_agent);

    result := 'ok';
    event := avp_event('video.deleted', p_video, v.user_id, v_seq, '{}');
    RETURN NEXT;
END
$$;

-- What to send for a download.  The original is there as soon as the video
-- is; renditions once it is completed.
CREATE OR REPLACE FUNCTION video_file(
    p_user uuid, p_admin boolean, p_video uuid, p_format text, p_quality text
) RETURNS TABLE (result text, key text, title text, ending text, mime text,
                 size bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v videos%ROWTYPE;
    r processing_results%ROWTYPE;
BEGIN
    result := 'ok';

    IF NOT avp_active(p_user) THEN
        result := 'forbidden';
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT * INTO v FROM videos x
     WHERE x.id = p_video AND x.deleted_at IS NULL
       AND (x.user_id = p_user OR p_admin);

    IF NOT FOUND THEN
        result := 'not_found';

    ELSIF p_format NOT IN ('mp4', 'webm', 'original')
       OR p_quality !~ '^(4k|[0-9]{2,4}p)$'
       OR (p_format = 'original' AND p_quality IS NOT NULL)
    THEN
        -- HLS is many files: it is played, not downloaded
        result := 'invalid:invalid_field';

    ELSIF p_format = 'original' THEN
        key := v.s3_key;
        title := v.title;
        ending := coalesce(v.container, 'bin');
        size := v.original_size;
        mime := CASE v.container
            WHEN 'mp4' THEN 'video/mp4' WHEN 'mov' THEN 'video/quicktime'
            WHEN 'webm' THEN 'video/webm' WHEN 'mkv' THEN 'video/x-matroska'
            WHEN 'avi' THEN 'video/x-msvideo'
            ELSE 'application/octet-stream' END;

    ELSIF v.status <> 'completed' THEN
        result := 'conflict:not_ready';

    ELSE
        SELECT * INTO r FROM processing_results x
         WHERE x.video_id = p_video
           AND x.format IN ('mp4', 'webm')
           AND (p_format IS NULL OR x.format = p_format)
           AND (p_quality IS NULL OR x.quality = p_quality)
         ORDER BY avp_format_rank(x.format), avp_quality_rank(x.quality) DESC
         LIMIT 1;

        IF FOUND THEN
            key := r.s3_key;
            title := v.title;
            ending := r.format;
            mime := 'video/' || r.format;
            size := r.file_size;
        ELSE
            result := 'not_found';
        END IF;
    END IF;

    RETURN NEXT;
END
$$;
