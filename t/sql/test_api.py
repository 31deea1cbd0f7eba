"""What the API calls: documents, ownership, lists, files, figures."""

import threading
import uuid

import pytest

from calls import done_doc

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"


def publish(db, inc, job, doc=None):
    c = db.claim(inc)
    assert str(c.job) == job
    r = db.call("job_publish", inc, job, c.attempt, doc or done_doc())
    assert r.result == "ok"
    return c


def like(text, pattern):
    import re
    return re.search(pattern, text) is not None


# -- shapes ------------------------------------------------------------------

def test_create_shape(db):
    user = db.user()
    r = db.create(user, title='Ünïcode "quoted" \\u0001A \\ end',
                  description="two\nlines", metadata={"a": [1, {"b": None}]},
                  filename="my clip.mp4")
    assert r.result == "ok"
    d = r.doc
    assert list(d) == ["id", "filename", "title", "status", "uploadProgress",
                       "createdAt", "url", "jobId"]
    assert d["title"] == 'Ünïcode "quoted" \\u0001A \\ end'
    assert d["filename"] == "my clip.mp4"
    assert (d["status"], d["uploadProgress"]) == ("pending", 100)
    assert d["url"] == f"\u0001A/videos/{d['id']}"
    assert d["jobId"] == str(r.job) and like(d["createdAt"], TIME)
    e = r.event
    assert e["type"] == "video.created" and e["videoId"] == d["id"]
    assert e["userId"] == user and like(e["timestamp"], TIME)
    assert e["data"]["jobId"] == str(r.job)
    kept = db.sql("SELECT * FROM outbox")
    assert len(kept) == 1 and kept[0].seq == e["seq"]
    audit = db.sql("SELECT * FROM audit_logs WHERE action = 'video.create'")
    assert len(audit) == 1 and audit[0].ip_address == "192.0.2.7"
    g = db.call("video_get", user, False, d["id"]).doc
    assert g["metadata"] == {"a": [1, {"b": None}]}
    assert g["description"] == "two\nlines" and g["visibility"] == "private"


@pytest.mark.parametrize("bad", [
    dict(title=""), dict(title=None), dict(title="x" * 256),
    dict(title="a\u0001V"), dict(title="tab\there"), dict(title="a\u0085b"),
    dict(description="a\u0001b"), dict(metadata="[1]"), dict(metadata="1"),
    dict(metadata="{"), dict(metadata='{"a":"\\u0000"}'),
    dict(metadata='{"a":"\\u0001Vx"}'), dict(metadata='{"\\u0001A":1}'),
    dict(priority=1),
    dict(priority=11, admin=True), dict(priority=-11), dict(filename="a\u0001"),
], ids=str)
def test_create_refuses(db, bad):
    user = db.user()
    assert db.create(user, **bad).result == "invalid:invalid_field"
    assert db.one("SELECT count(*) FROM videos") == 0


def test_create_bears(db):
    """What is odd but right."""
    user = db.user()
    for title in ("x" * 255, "😀" * 255, "'; DROP TABLE videos; --", "\\",
                  "\u200b\u202e", "null", "${jndi:x}"):
        assert db.create(user, title=title).doc["title"] == title
    r = db.create(user, metadata='{"a":"\\\\u0001 is text","b":"\\n"}')
    g = db.call("video_get", user, False, r.doc["id"]).doc
    assert g["metadata"]["a"] == "\\u0001 is text"


def test_the_same_id_twice(db):
    user = db.user()
    video, _ = db.video(user)
    assert db.create(user, video=video).result == "conflict:conflict"
    assert db.one("SELECT count(*) FROM processing_jobs") == 1


def test_status_shape(db, inc):
    user = db.user()
    video, job = db.video(user)
    r = db.call("video_status", user, False, video)
    d = r.doc
    assert {"id", "title", "status", "progress", "processingDetails",
            "duration", "fileSize", "createdAt", "completedAt", "jobId",
            "playable", "playbackUrl", "thumbnailUrl", "storyboardUrl",
            "error", "errorCode", "warnings"} <= set(d)
    assert d["processingDetails"] == {"formats": [], "passthrough": None}
    assert d["progress"] == 0 and d["thumbnails"] == []
    assert d["duration"] is None and d["playbackUrl"] is None
    assert r.seq == db.row(video).seq

    c = publish(db, inc, job)
    r = db.call("video_status", user, False, video)
    d = r.doc
    base = f"\u0001V{video}/{c.prefix}/"
    assert (d["status"], d["progress"], d["duration"]) == ("completed", 100,
                                                           19.28)
    assert like(d["completedAt"], TIME) and d["fileSize"] == 1000
    assert d["playable"] is True
    assert d["playbackUrl"] == base + "hls/master.m3u8"
    assert d["thumbnailUrl"] == base + "poster.jpg"
    assert d["storyboardUrl"] == base + "storyboard.vtt"
    formats = d["processingDetails"]["formats"]
    assert [f["format"] for f in formats] == ["mp4", "webm", "hls"]
    for f in formats:
        assert list(f)[:4] == ["format", "qualities", "status", "urls"]
        assert f["qualities"] == list(f["urls"]) == ["480p", "720p"]
        assert f["status"] == "completed"
    assert formats[0]["urls"]["720p"] == base + "mp4/720p.mp4"
    assert formats[0]["sizes"] == {"480p": 2400000, "720p": 2400001}
    assert formats[1]["types"]["480p"].startswith("video/webm; codecs=\"av01")
    row = db.sql("SELECT * FROM processing_results WHERE format = 'mp4'"
                 " AND quality = '720p'")[0]
    assert row.s3_key == f"outputs/{video}/{c.prefix}/mp4/720p.mp4"
    assert row.s3_url == f"/v/{video}/{c.prefix}/mp4/720p.mp4"
    assert row.bitrate == "995k"


EXTRAS = {
    "dash": "dash/manifest.mpd", "preview": "preview.webp",
    "thumbnails": [
        {"path": "thumbnails/t1.jpg", "webp": "thumbnails/t1.webp",
         "time": 1.5, "width": 640, "height": 360},
        {"path": "thumbnails/t2.jpg", "time": 9, "width": 640, "height": 360}],
    "audioTracks": [{"language": "de", "label": "Deutsch", "channels": 2,
                     "default": True}],
    "subtitles": [{"language": "en", "label": "English", "kind": "captions",
                   "forced": False}],
    "passthrough": {"video": {"copied": False, "code": "rotated",
                              "reason": "turned by 90 degrees"}}}


def test_what_is_told_beside_the_results(db, inc):
    user = db.user()
    video, job = db.video(user)
    before = db.call("video_status", user, False, video).doc
    assert before["dashUrl"] is before["previewUrl"] is None
    c = publish(db, inc, job, {**done_doc(), **EXTRAS, "other": 1})
    base = f"\u0001V{video}/{c.prefix}/"

    d = db.call("video_status", user, False, video).doc
    assert d["dashUrl"] == base + "dash/manifest.mpd"
    assert d["previewUrl"] == base + "preview.webp"
    assert d["thumbnails"] == [
        {"url": base + "thumbnails/t1.jpg",
         "webpUrl": base + "thumbnails/t1.webp", "time": 1.5, "width": 640,
         "height": 360},
        {"url": base + "thumbnails/t2.jpg", "webpUrl": None, "time": 9,
         "width": 640, "height": 360}]
    assert d["processingDetails"]["passthrough"] == EXTRAS["passthrough"]
    m = db.call("video_metadata", user, False, video).doc
    assert m["audioTracks"] == EXTRAS["audioTracks"]
    assert m["subtitles"] == EXTRAS["subtitles"]
    assert "other" not in db.row(video).media


def test_rungs_are_in_order(db, inc):
    user = db.user()
    video, job = db.video(user)
    publish(db, inc, job, done_doc(("4k", "480p", "1080p", "720p")))
    d = db.call("video_status", user, False, video).doc
    assert d["processingDetails"]["formats"][0]["qualities"] == [
        "480p", "720p", "1080p", "4k"]


def test_metadata_shape(db, inc):
    user = db.user()
    video, job = db.video(user)
    assert db.call("video_metadata", user, False,
                   video).result == "conflict:not_ready"
    publish(db, inc, job)
    assert db.call("video_metadata", user, False, video).doc == {
        "duration": 19.28, "format": "mp4", "resolution": "1920x1080",
        "frameRate": 25, "bitrate": "3718k", "audioCodec": "aac",
        "videoCodec": "h264", "fileSize": 1000,
        "audioTracks": [], "subtitles": []}


def test_job_shape(db, inc):
    user = db.user()
    video, job = db.video(user)
    d = db.call("job_status", user, False, job).doc
    assert list(d)[:8] == ["id", "videoId", "status", "progress",
                           "currentTask", "startedAt", "completedAt", "error"]
    assert (d["status"], d["progress"], d["startedAt"]) == ("pending", 0, None)
    c = db.claim(inc)
    db.rows("job_progress", inc, 60, [{"job": job, "attempt": c.attempt,
                                       "progress": 5, "task": "encode"}])
    d = db.call("job_status", user, False, job).doc
    assert (d["status"], d["progress"], d["currentTask"]) == (
        "processing", 5, "encode")
    assert like(d["startedAt"], TIME) and d["completedAt"] is None
    db.call("job_publish", inc, job, c.attempt, done_doc())
    d = db.call("job_status", user, False, job).doc
    assert (d["status"], d["progress"], d["error"]) == ("completed", 100, None)
    assert like(d["completedAt"], TIME)


# -- ownership ---------------------------------------------------------------

def calls_of(db, user, admin, video, job):
    """Every function that takes a user, the changing ones last."""
    return {
        "video_get": lambda: db.call("video_get", user, admin, video),
        "video_status": lambda: db.call("video_status", user, admin, video),
        "video_metadata": lambda: db.call("video_metadata", user, admin,
                                          video),
        "video_file": lambda: db.call("video_file", user, admin, video,
                                      "original", None),
        "job_status": lambda: db.call("job_status", user, admin, job),
        "job_retry": lambda: db.call("job_retry", user, admin, None, None,
                                     job),
        "video_delete": lambda: db.call("video_delete", user, admin, None,
                                        None, video),
    }


def test_other_peoples_objects_are_not_found(db, inc):
    owner, other = db.user(), db.user()
    video, job = db.video(owner)
    publish(db, inc, job)
    for name, call in calls_of(db, other, False, video, job).items():
        assert call().result == "not_found", name
    nothing = str(uuid.uuid4())
    for name, call in calls_of(db, owner, False, nothing, nothing).items():
        assert call().result == "not_found", name


def test_admin_sees_all(db, inc):
    owner, admin = db.user(), db.user(role="admin")
    video, job = db.video(owner)
    publish(db, inc, job)
    for name, call in calls_of(db, admin, True, video, job).items():
        expected = "conflict:not_retryable" if name == "job_retry" else "ok"
        assert call().result == expected, name
    audit = db.sql("SELECT user_id FROM audit_logs WHERE action ="
                   " 'video.delete'")[0]
    assert str(audit.user_id) == admin


@pytest.mark.parametrize("state", ["unknown", "disabled", "deleted"])
@pytest.mark.parametrize("admin", [False, True])
def test_who_may_not_come_in(db, inc, state, admin):
    owner = db.user("a@example.com")
    video, job = db.video(owner)
    publish(db, inc, job)
    user = owner
    if state == "unknown":
        user = str(uuid.uuid4())
    elif state == "disabled":
        db.call("user_disable", "A@example.com", True)
    else:
        db.sql("UPDATE users SET deleted_at = now()")
    calls = calls_of(db, user, admin, video, job)
    calls["video_list"] = lambda: db.call("video_list", user, admin, 1, 20,
                                          None)
    calls["system_stats"] = lambda: db.call("system_stats", user, admin)
    calls["video_create"] = lambda: db.create(user)
    for name, call in calls.items():
        assert call().result == "forbidden", name
    assert db.row(video).deleted_at is None


def test_delete_is_final(db, inc):
    user = db.user()
    video, job = db.video(user)
    publish(db, inc, job)
    assert calls_of(db, user, False, video, job)["video_delete"]().result == \
        "ok"
    for name, call in calls_of(db, user, False, video, job).items():
        assert call().result == "not_found", name
    assert db.call("video_list", user, False, 1, 20, None).doc["pagination"][
        "total"] == 0


# -- lists -------------------------------------------------------------------

def test_list_pages(db):
    user, other = db.user(), db.user()
    mine = [db.video(user, title=f"v{i}")[0] for i in range(25)]
    db.video(other)
    seen = []
    for page in (1, 2, 3, 4):
        d = db.call("video_list", user, False, page, 10, None).doc
        assert d["pagination"] == {"page": page, "limit": 10, "total": 25}
        seen += [v["id"] for v in d["data"]]
    assert seen == list(reversed(mine))
    d = db.call("video_list", user, False, None, None, None).doc
    assert (d["pagination"]["page"], d["pagination"]["limit"]) == (1, 20)
    assert set(d["data"][0]) == {"id", "title", "status", "duration",
                                 "fileSize", "createdAt"}
    assert db.call("video_list", other, True, 1, 100, None).doc["pagination"][
        "total"] == 26
    empty = db.call("video_list", db.user(), False, 1, 20, None).doc
    assert empty["data"] == [] and empty["pagination"]["total"] == 0


def test_list_by_status(db, inc):
    user = db.user()
    _, job = db.video(user)
    publish(db, inc, job)
    db.video(user)
    for status, n in (("completed", 1), ("pending", 1), ("failed", 0)):
        d = db.call("video_list", user, False, 1, 20, status).doc
        assert d["pagination"]["total"] == len(d["data"]) == n
        assert all(v["status"] == status for v in d["data"])


@pytest.mark.parametrize("page, limit, status", [
    (0, 20, None), (-1, 20, None), (1, 0, None), (1, 101, None),
    (1, -5, None), (101, 100, None), (2147483647, 100, None),
    (1, 20, "foo"), (1, 20, ""), (1, 20, "Completed")])
def test_list_refuses(db, page, limit, status):
    r = db.call("video_list", db.user(), False, page, limit, status)
    assert r.result == "invalid:invalid_field"


def counted(db):
    return {str(r.u): dict(r) for r in db.sql(
        "SELECT user_id AS u, sum(pending) p, sum(processing) r,"
        " sum(completed) c, sum(failed) f, sum(uploading) up FROM counters"
        " GROUP BY 1")}


def real(db):
    return {str(r.u): dict(r) for r in db.sql(
        "SELECT user_id AS u,"
        " count(*) FILTER (WHERE status = 'pending') p,"
        " count(*) FILTER (WHERE status = 'processing') r,"
        " count(*) FILTER (WHERE status = 'completed') c,"
        " count(*) FILTER (WHERE status = 'failed') f,"
        " count(*) FILTER (WHERE status = 'uploading') up"
        " FROM videos WHERE deleted_at IS NULL GROUP BY 1")}


def test_counters_are_exact_under_load(db, more):
    """Sessions that create, claim, publish, fail, retry and delete."""
    import random
    users = [db.user() for _ in range(3)]
    errors = []

    def work(seed):
        rnd, d, inc = random.Random(seed), more(), str(uuid.uuid4())
        try:
            for _ in range(60):
                user = rnd.choice(users)
                video, job = d.video(user)
                c = d.claim(inc)
                if c.result == "ok":
                    what = rnd.randrange(4)
                    if what < 2:
                        d.call("job_publish", inc, c.job, c.attempt,
                               done_doc(("480p",), ("mp4",)))
                    else:
                        d.call("job_fail", inc, c.job, c.attempt,
                               ["permanent", "crash"][what - 2], "x", "y")
                    if what == 2 and rnd.random() < 0.5:
                        d.call("job_retry", users[0], True, None, None, c.job)
                if rnd.random() < 0.3:
                    d.call("video_delete", user, False, None, None, video)
                if rnd.random() < 0.1:
                    d.rows("reconcile_jobs", 100)
        except Exception as e:                      # deadlocks end up here
            errors.append(e)

    ts = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in ts:
        t.start()
    for t in ts:
        t.join(120)
    assert errors == []
    assert {u: c for u, c in counted(db).items() if u in real(db)} == real(db)
    stats = db.call("system_stats", users[0], True).doc
    assert stats["totalVideos"] == db.one(
        "SELECT count(*) FROM videos WHERE deleted_at IS NULL")


# -- files -------------------------------------------------------------------

def test_files(db, inc):
    user = db.user()
    video, job = db.video(user, title="My title")

    def get(fmt=None, quality=None):
        return db.call("video_file", user, False, video, fmt, quality)

    r = get("original")
    assert (r.result, r.key, r.title, r.ending, r.mime, r.size) == (
        "ok", f"originals/{video}/source.mp4", "My title", "mp4",
        "video/mp4", 1000)
    for args in ((), ("mp4",), ("webm", "720p"), (None, "480p")):
        assert get(*args).result == "conflict:not_ready"
    c = publish(db, inc, job)
    base = f"outputs/{video}/{c.prefix}/"
    assert get().key == base + "mp4/720p.mp4"
    assert get(None, "480p").key == base + "mp4/480p.mp4"
    r = get("webm")
    assert (r.key, r.ending, r.mime) == (base + "webm/720p.webm", "webm",
                                         "video/webm")
    assert get("mp4", "1080p").result == "not_found"
    assert get("mp4", "240p").result == "not_found"
    for args in (("hls",), ("avi",), ("mp4", "best"), ("", ""), ("mp4", ""),
                 ("original", "480p"), ("MP4",), ("mp4", "480p; --")):
        assert get(*args).result == "invalid:invalid_field", args


def test_file_of_a_failed_video(db, inc):
    user = db.user()
    video, job = db.video(user)
    c = db.claim(inc)
    db.call("job_fail", inc, job, c.attempt, "permanent", "no_video", "x")
    assert db.call("video_file", user, False, video, None,
                   None).result == "conflict:not_ready"
    assert db.call("video_file", user, False, video, "original",
                   None).result == "ok"


# -- figures and health ------------------------------------------------------

def test_stats(db, inc):
    a, b, admin = db.user(), db.user(), db.user(role="admin")
    none = db.call("system_stats", a, False).doc
    assert none == {"totalVideos": 0, "processingVideos": 0,
                    "completedToday": 0, "failedToday": 0,
                    "averageProcessingTime": 0, "queueLength": 0}
    _, job = db.video(a)
    c = db.claim(inc)
    db.sql("UPDATE processing_jobs SET started_at = now() - interval '30 s'")
    db.call("job_publish", inc, job, c.attempt, done_doc())
    _, bad = db.video(a)
    c = db.claim(inc)
    db.call("job_fail", inc, bad, c.attempt, "permanent", "no_video", "x")
    _, running = db.video(b)
    db.claim(inc)
    db.video(b)
    old, _ = db.video(a)
    db.sql("UPDATE videos SET status = 'completed', processing_seconds = 1000,"
           " finished_at = now() - interval '49 hours' WHERE id = %s", old)
    mine = db.call("system_stats", a, False).doc
    assert 30 <= mine.pop("averageProcessingTime") < 40
    assert mine == {"totalVideos": 3, "processingVideos": 0,
                    "completedToday": 1, "failedToday": 1, "queueLength": 0}
    theirs = db.call("system_stats", b, False).doc
    assert (theirs["processingVideos"], theirs["queueLength"]) == (1, 1)
    whole = db.call("system_stats", admin, True).doc
    assert (whole["totalVideos"], whole["processingVideos"]) == (5, 1)
    assert whole["completedToday"] == whole["failedToday"] == 1


def test_health(db):
    assert db.call("health_ping") == {"result": "ok"}
