-- What a publication tells of a video beside its results, as the media process
-- had it (docs/architecture.md 5): dash, preview, thumbnails, audioTracks,
-- subtitles, passthrough.  Paths are relative to published_prefix.

ALTER TABLE videos ADD COLUMN media jsonb NOT NULL DEFAULT '{}'
    -- no text of it begins a hole in a document (lib/doc.h)
    CONSTRAINT videos_media CHECK
        (jsonb_typeof(media) = 'object'
         AND strpos(replace(media::text, '\\', ''), '\u0001') = 0);
