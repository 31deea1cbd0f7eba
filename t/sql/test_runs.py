"""A run's writes: progress, playable, publish, fail; and the fence."""

import json
import threading
import uuid

import pytest

from calls import done_doc


@pytest.fixture
def claimed(db, inc):
    user = db.user()
    video, job = db.video(user)
    c = db.claim(inc)
    c.update(user=user, inc=inc, job=job, video=video)
    return c


def item(c, **more):
    return {"job": c.job, "attempt": c.attempt, **more}


def beat(db, c, **more):
    (r,) = db.rows("job_progress", c.inc, 60, [item(c, **more)])
    return r.verdict, r.event and json.loads(r.event)


def test_progress_never_goes_back(db, claimed):
    c = claimed
    verdict, e = beat(db, c, progress=40, task="encode 480p", eta=9)
    assert verdict == "ok" and e["type"] == "job.progress"
    assert e["data"]["progress"] == 40 and e["data"]["etaSeconds"] == 9
    seq = e["seq"]
    verdict, e = beat(db, c, progress=30, task="encode 480p", eta=8)
    assert verdict == "ok" and e is None        # nothing a client would see
    assert db.job(c.job).progress == 40
    verdict, e = beat(db, c, progress=250, task="encode 720p")
    assert e["data"]["progress"] == 99 and e["seq"] > seq
    assert db.row(c.video).seq == e["seq"]


def test_progress_extends_the_lease_without_news(db, claimed):
    db.lapse(claimed.job)
    assert beat(db, claimed) == ("ok", None)
    assert db.one("SELECT lease_until > now() + interval '50 seconds'"
                  " FROM processing_jobs")


def test_progress_is_a_batch(db, inc):
    user = db.user()
    jobs = []
    for _ in range(5):
        db.video(user)
        c = db.claim(inc, [j["job"] for j in jobs])
        jobs.append({"job": str(c.job), "attempt": c.attempt, "progress": 10,
                     "task": "x"})
    gone = {"job": str(uuid.uuid4()), "attempt": 1, "progress": 1}
    stale = {**jobs[0], "attempt": 9}
    verdicts = {}
    for r in db.rows("job_progress", inc, 60, [*jobs[1:], gone, stale]):
        verdicts[str(r.job)] = r.verdict
    assert verdicts.pop(gone["job"]) == "lost"
    assert verdicts.pop(jobs[0]["job"]) == "lost"
    assert list(verdicts.values()) == ["ok"] * 4


def test_progress_is_hot(db, claimed):
    """No index is touched: the counters of this very transaction say so."""
    with db.conn.transaction():
        for i in range(40):
            beat(db, claimed, progress=i, task=f"t{i}", eta=i)
        for table in ("processing_jobs", "videos"):
            r = db.sql("SELECT n_tup_upd AS upd, n_tup_hot_upd AS hot"
                       " FROM pg_stat_xact_user_tables"
                       " WHERE relname = %s", table)[0]
            assert r.upd >= 39 and r.hot >= 0.5 * r.upd, (table, r)


def test_task_text_is_cleaned(db, claimed):
    _, e = beat(db, claimed, progress=1, task="a\u0001Vb\nc" + "x" * 400)
    assert e["data"]["currentTask"].startswith("a Vb c")
    assert len(e["data"]["currentTask"]) == 255


def test_delete_cancels_the_run(db, claimed):
    c = claimed
    r = db.call("video_delete", c.user, False, None, None, c.video)
    assert r.result == "ok" and r.event["type"] == "video.deleted"
    assert beat(db, c, progress=1)[0] == "cancel"
    assert db.call("job_publish", c.inc, c.job, c.attempt,
                   done_doc()).result == "stale"
    assert db.call("job_fail", c.inc, c.job, c.attempt, "crash", "crashed",
                   "x").result == "stale"
    assert db.one("SELECT count(*) FROM processing_results") == 0


def test_playable_and_its_withdrawal(db, claimed):
    c = claimed
    r = db.call("job_playable", c.inc, c.job, c.attempt,
                {"master": "hls/live-master.m3u8", "poster": "poster.jpg"})
    assert r.result == "ok" and r.event["type"] == "video.playable"
    d = db.call("video_status", c.user, False, c.video).doc
    assert d["playable"] is True
    assert d["playbackUrl"] == (f"\u0001V{c.video}/{c.prefix}"
                                "/hls/live-master.m3u8")
    assert d["thumbnailUrl"] == f"\u0001V{c.video}/{c.prefix}/poster.jpg"
    assert db.call("job_fail", c.inc, c.job, c.attempt, "transient",
                   "storage_error", "disk").status == "retrying"
    d = db.call("video_status", c.user, False, c.video).doc
    assert d["playable"] is False and d["playbackUrl"] is None


def test_publish_is_once_and_repeats_its_answer(db, claimed):
    c = claimed
    first = db.call("job_publish", c.inc, c.job, c.attempt, done_doc())
    again = db.call("job_publish", c.inc, c.job, c.attempt, done_doc())
    assert first.result == again.result == "ok"
    assert first.event == again.event
    assert first.event["type"] == "video.completed"
    assert db.one("SELECT count(*) FROM processing_results") == 6
    assert db.one("SELECT count(*) FROM outbox WHERE type ="
                  " 'video.completed'") == 1
    j = db.job(c.job)
    assert (j.status, j.progress) == ("completed", 100)
    other = db.call("job_publish", str(uuid.uuid4()), c.job, c.attempt,
                    done_doc())
    assert other.result == "stale"


def test_publish_bears_nulls(db, claimed):
    """Nothing in a checked document may turn into a database error."""
    c = claimed
    doc = {"source": {"duration": None, "width": None, "height": None,
                      "fps": None, "format": None, "videoCodec": None,
                      "audioCodec": None, "bitrate": None, "frames": None},
           "poster": None, "storyboard": None, "master": None,
           "warnings": ["cut \u0001Voff"],
           "results": [{"format": "mp4", "quality": "480p",
                        "path": "mp4/480p.mp4", "size": None,
                        "duration": None, "bitrate": None, "codec": None,
                        "mime": None, "width": None, "height": None}]}
    assert db.call("job_publish", c.inc, c.job, c.attempt,
                   doc).result == "ok"
    d = db.call("video_status", c.user, False, c.video).doc
    assert d["status"] == "completed" and d["playable"] is False
    assert d["warnings"] == ["cut  Voff"] or d["warnings"] == ["cut Voff"]
    assert db.call("video_metadata", c.user, False, c.video).doc[
        "format"] == "mp4"


def test_a_second_publication_replaces_the_rows(db, claimed):
    """Rows are keyed by video, format and quality: never two of one."""
    c = claimed
    db.call("job_publish", c.inc, c.job, c.attempt, done_doc())
    db.sql("UPDATE processing_jobs SET status = 'failed'")
    db.sql("UPDATE videos SET status = 'failed'")
    assert db.call("job_retry", c.user, False, None, None,
                   c.job).result == "ok"
    again = db.claim(c.inc)
    assert again.attempt == 2
    assert db.call("job_publish", c.inc, c.job, 2, done_doc()).result == "ok"
    rows = db.sql("SELECT DISTINCT prefix FROM processing_results")
    assert [r.prefix for r in rows] == [again.prefix]
    assert db.one("SELECT count(*) FROM processing_results") == 6


@pytest.mark.parametrize("cls, status", [("permanent", "failed"),
                                         ("cancelled", "cancelled")])
def test_ends_at_once(db, claimed, cls, status):
    c = claimed
    r = db.call("job_fail", c.inc, c.job, c.attempt, cls, "no_video",
                "No video.")
    assert (r.status, r.retry_in) == (status, None)
    assert db.row(c.video).status == "failed"
    d = db.call("video_status", c.user, False, c.video).doc
    assert d["error"] == "No video." and d["errorCode"] == "no_video"
    assert db.claim(c.inc).result == "none"


@pytest.mark.parametrize("cls", ["crash", "stall"])
def test_crashes_are_counted(db, claimed, cls):
    c = claimed
    for n in range(1, 3):
        r = db.call("job_fail", c.inc, c.job, n, cls, "crashed", "boom")
        assert r.status == "retrying" and r.event["type"] == "job.retrying"
        assert 0 <= r.retry_in <= 10 * 2 ** (n - 1)
        assert db.job(c.job).retry_count == n
        db.make_due(c.job)
        assert db.claim(c.inc).attempt == n + 1
    r = db.call("job_fail", c.inc, c.job, 3, cls, "crashed", "boom")
    assert r.status == "failed" and r.event["type"] == "video.failed"
    assert r.event["data"]["errorCode"] == "poison"
    assert db.job(c.job).error_code == "poison"


def test_transient_is_not_counted_but_ends_after_a_day(db, claimed):
    c = claimed
    for n in range(1, 13):
        r = db.call("job_fail", c.inc, c.job, n, "transient",
                    "storage_error", "EIO")
        assert r.status == "retrying" and 0 <= r.retry_in <= 900
        assert db.job(c.job).retry_count == 0
        db.make_due(c.job)
        assert db.claim(c.inc).attempt == n + 1
    db.sql("UPDATE processing_jobs SET first_transient_at ="
           " now() - interval '25 hours'")
    r = db.call("job_fail", c.inc, c.job, 13, "transient", "storage_error",
                "EIO")
    assert r.status == "failed"
    assert db.job(c.job).error_code == "storage_error"


def test_drained_costs_nothing(db, claimed):
    c = claimed
    r = db.call("job_fail", c.inc, c.job, 1, "drained", "drained", None)
    assert (r.status, r.retry_in) == ("pending", 0)
    j = db.job(c.job)
    assert j.retry_count == j.lost_count == j.transient_count == 0
    assert j.error_message is None and db.row(c.video).status == "pending"
    assert db.claim(c.inc).attempt == 2


def test_lost_runs_end_at_ten(db, claimed):
    c = claimed
    for n in range(1, 11):
        db.lapse(c.job)
        (r,) = db.rows("reconcile_jobs", 100)
        assert r.lapsed == 1 and len(json.loads(r.events)) == 1
        j = db.job(c.job)
        assert j.lost_count == n and j.retry_count == 0
        assert j.status == ("pending" if n < 3 else
                            "retrying" if n < 10 else "failed")
        if n < 10:
            db.make_due(c.job)
            claim = db.claim(str(uuid.uuid4()))
            assert claim.attempt == n + 1 and claim.alone is (n >= 3)
    assert j.error_code == "lease_lost"
    assert db.row(c.video).status == "failed"


def test_unknown_class_is_refused(db, claimed):
    c = claimed
    assert db.call("job_fail", c.inc, c.job, 1, "bored", "x",
                   "y").result == "invalid:invalid_field"


def test_every_write_is_fenced(db, claimed):
    """Wrong incarnation, wrong attempt, no such job, ended job."""
    c = claimed
    other = str(uuid.uuid4())
    doc = done_doc()
    for inc, job, attempt in ((other, c.job, c.attempt),
                              (c.inc, c.job, c.attempt - 1),
                              (c.inc, c.job, c.attempt + 1),
                              (c.inc, other, c.attempt)):
        assert db.call("job_playable", inc, job, attempt,
                       doc).result == "stale"
        assert db.call("job_publish", inc, job, attempt, doc).result == "stale"
        assert db.call("job_fail", inc, job, attempt, "crash", "crashed",
                       "x").result == "stale"
        (v,) = db.rows("job_progress", inc, 60,
                       [{"job": job, "attempt": attempt, "progress": 5}])
        assert v.verdict == "lost" and v.event is None
    assert db.job(c.job).progress == 0
    assert db.one("SELECT count(*) FROM processing_results") == 0


def test_retry(db, claimed):
    c = claimed
    r = db.call("job_retry", c.user, False, None, None, c.job)
    assert r.result == "conflict:not_retryable"
    db.call("job_fail", c.inc, c.job, 1, "permanent", "no_video", "x")
    r = db.call("job_retry", c.user, False, "192.0.2.1", "agent", c.job)
    assert r.result == "ok" and r.event["type"] == "job.queued"
    assert r.doc["id"] == c.job and r.doc["status"] == "pending"
    assert r.doc["retriedAt"].endswith("Z")
    assert db.row(c.video).status == "pending"
    assert db.claim(c.inc).attempt == 2
    audit = db.sql("SELECT * FROM audit_logs WHERE action = 'job.retry'")[0]
    assert audit.ip_address == "192.0.2.1" and audit.user_agent == "agent"
    assert audit.old_values == {"status": "failed", "code": "no_video"}


def test_seq_only_grows(db, claimed):
    """Also when the clock has gone back, as after a restore."""
    c = claimed
    ahead = db.one("SELECT (extract(epoch FROM now() + interval '1 day')"
                   " * 1000000)::bigint")
    db.sql("UPDATE videos SET seq = %s", ahead)
    _, e = beat(db, c, progress=7, task="x")
    assert e["seq"] == ahead + 1
    r = db.call("job_publish", c.inc, c.job, c.attempt, done_doc())
    assert r.event["seq"] == ahead + 2


def test_delete_and_publish_race(db, more, inc):
    """Whichever comes first, a deleted video has no visible result and
    nothing deadlocks."""
    for _ in range(30):
        user = db.user()
        video, job = db.video(user)
        c = db.claim(inc)
        a, b, out = more(), more(), {}
        ts = [threading.Thread(target=lambda: out.update(p=a.call(
                  "job_publish", inc, job, c.attempt, done_doc()).result)),
              threading.Thread(target=lambda: out.update(d=b.call(
                  "video_delete", user, False, None, None, video).result))]
        for t in ts:
            t.start()
        for t in ts:
            t.join(30)
        a.close()
        b.close()
        assert out["d"] == "ok" and out["p"] in ("ok", "stale")
        assert db.call("video_status", user, False,
                       video).result == "not_found"
        assert db.one("SELECT count(*) FROM processing_results WHERE"
                      " video_id = %s", video) == (
                          6 if out["p"] == "ok" else 0)
