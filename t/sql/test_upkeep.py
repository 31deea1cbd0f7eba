"""Garbage, purge, what NGINX pulls, leases, the queue's figures."""

import time
import uuid

from calls import done_doc


def garbage(db, video, *names):
    return {r.prefix for r in db.rows("gc_prefixes", video, names)}


def test_prefixes_of_a_run(db, inc):
    user = db.user()
    video, job = db.video(user)
    first = db.claim(inc)
    second = db.claim(inc)                  # the first answer was lost
    other = "7-0123456789abcdef"
    names = (first.prefix, second.prefix, other)
    assert garbage(db, video, *names) == {first.prefix, other}
    db.call("job_fail", inc, job, 2, "transient", "storage_error", "x")
    assert garbage(db, video, *names) == {first.prefix, other}
    db.make_due(job)
    third = db.claim(inc)
    names += (third.prefix,)
    assert garbage(db, video, *names) == {first.prefix, second.prefix, other}
    db.call("job_publish", inc, job, 3, done_doc())
    assert garbage(db, video, *names) == {first.prefix, second.prefix, other}
    # a row of an earlier attempt keeps its prefix
    db.sql("UPDATE processing_results SET prefix = %s WHERE format = 'mp4'",
           first.prefix)
    assert garbage(db, video, *names) == {second.prefix, other}
    db.call("video_delete", user, False, None, None, video)
    assert garbage(db, video, *names) == set(names)


def test_prefix_of_a_failed_job_is_garbage(db, inc):
    user = db.user()
    video, job = db.video(user)
    c = db.claim(inc)
    db.call("job_playable", inc, job, 1, {"master": "hls/live-master.m3u8",
                                          "poster": "poster.jpg"})
    assert garbage(db, video, c.prefix) == set()
    db.call("job_fail", inc, job, 1, "permanent", "invalid_media", "x")
    assert garbage(db, video, c.prefix) == {c.prefix}
    assert garbage(db, str(uuid.uuid4()), "1-a") == {"1-a"}


def test_purge(db, inc):
    user = db.user()
    live, _ = db.video(user)
    gone, job = db.video(user)
    db.call("video_delete", user, False, None, None, gone)
    unknown = str(uuid.uuid4())
    states = {str(r.video): r.state for r in
              db.rows("gc_videos", [live, gone, unknown])}
    assert states == {live: "live", gone: "deleted", unknown: "unknown"}
    assert db.rows("gc_purge", 3600, 10) == []
    assert [str(r.video) for r in db.rows("gc_purge", 0, 10)] == [gone]
    assert db.rows("gc_purge", 0, 0) == []
    assert db.call("gc_purged", live).result == "not_found"
    assert db.call("gc_purged", gone).result == "ok"
    assert db.call("gc_purged", gone).result == "not_found"
    assert db.one("SELECT count(*) FROM processing_jobs WHERE id = %s",
                  job) == 0
    assert db.one("SELECT count(*) FROM audit_logs WHERE resource_id = %s",
                  gone) == 2


def pulled(db, since):
    rows = db.rows("zone_pull", since)
    assert rows[-1].kind == "now" and abs(rows[-1].at - time.time()) < 60
    return {(r.kind, str(r.id)) for r in rows[:-1]}, rows[-1].at


def test_zone_pull(db):
    user, other = db.user("u@example.com"), db.user("o@example.com")
    video, _ = db.video(user)
    old, _ = db.video(user)
    assert pulled(db, 0)[0] == set()
    _, before = pulled(db, 0)
    db.call("video_delete", user, False, None, None, video)
    db.call("video_delete", user, False, None, None, old)
    db.sql("UPDATE videos SET deleted_at = now() - interval '2 days'"
           " WHERE id = %s", old)
    db.call("user_disable", "o@example.com", True)
    all_ = {("video", video), ("user", other)}
    assert pulled(db, 0)[0] == pulled(db, before)[0] == all_
    _, now = pulled(db, 0)
    assert pulled(db, now)[0] == set()
    db.call("user_disable", "o@example.com", False)
    assert pulled(db, now)[0] == {("user_ok", other)}
    assert pulled(db, 0)[0] == {("video", video)}
    # nothing changes, nothing is told twice
    _, now = pulled(db, 0)
    db.call("user_disable", "o@example.com", False)
    assert pulled(db, now)[0] == set()


def test_leases(db):
    a, b = str(uuid.uuid4()), str(uuid.uuid4())
    take = lambda who, s=60: db.call("lease_take", "reconcile", who, s).result
    assert take(a) == "ok" and take(b) == "none" and take(a) == "ok"
    db.sql("UPDATE leases SET held_until = now() - interval '1 second'")
    assert take(b) == "ok" and take(a) == "none"
    assert db.call("lease_take", "other", a, 60).result == "ok"


def test_queue_figures(db, inc):
    user = db.user()
    r = db.call("queue_due")
    assert (r.due, r.running, r.failed, r.oldest) == (0, 0, 0, None)
    for _ in range(3):
        db.video(user)
    c = db.claim(inc)
    db.call("job_fail", inc, c.job, c.attempt, "permanent", "no_video", "x")
    db.claim(inc)
    r = db.call("queue_due")
    assert (r.due, r.running, r.failed) == (1, 1, 1) and 0 <= r.oldest < 60


def test_reconcile_counts_and_clears(db, inc):
    user = db.user()
    jobs = [db.video(user)[1] for _ in range(4)]
    mine = []
    for _ in range(3):
        mine.append(str(db.claim(inc, mine).job))
    for job in mine[:2]:
        db.lapse(job)
    db.sql("UPDATE outbox SET created_at = now() - interval '25 hours'"
           " WHERE type = 'video.created'")
    r = db.rows("reconcile_jobs", 100)[0]
    assert (r.result, r.lapsed, r.due) == ("ok", 2, 3)
    assert db.one("SELECT count(*) FROM outbox WHERE type ="
                  " 'video.created'") == 0
    r = db.rows("reconcile_jobs", 100)[0]
    assert (r.lapsed, r.events) == (0, "[]")
    assert {db.job(j).status for j in jobs} == {"pending", "processing"}


def test_reconcile_passes_over_what_is_locked(db, more, inc):
    user = db.user()
    video, job = db.video(user)
    db.claim(inc)
    db.lapse(job)
    other = more()
    with other.conn.transaction():
        other.sql("SELECT 1 FROM videos WHERE id = %s FOR UPDATE", video)
        assert db.rows("reconcile_jobs", 100)[0].lapsed == 0
    assert db.rows("reconcile_jobs", 100)[0].lapsed == 1


def test_users(db):
    r = db.call("user_add", " Jo@Example.COM ", None, None, "user")
    assert r.result == "ok"
    assert db.call("user_by_email", "JO@example.com") == {
        "result": "ok", "id": r.id, "role": "user"}
    assert db.call("user_add", "jo@example.com", "jo2", None,
                   "user").result == "conflict:conflict"
    for bad in ("", "x", "a b@c", "@", None, "a@b\n"):
        assert db.call("user_add", bad, None, None,
                       "user").result == "invalid:invalid_field", bad
        assert db.call("user_by_email", bad).result == "not_found"
    assert db.call("user_add", "k@example.com", None, None,
                   "root").result == "invalid:invalid_field"
    assert db.call("user_set_role", "jo@example.com", "admin").result == "ok"
    assert db.call("user_by_email", "jo@example.com").role == "admin"
    assert db.call("user_set_role", "no@example.com",
                   "admin").result == "not_found"
    db.call("user_disable", "jo@example.com", True)
    assert db.call("user_by_email", "jo@example.com").result == "forbidden"
    (row,) = db.rows("user_list")
    assert row.email == "jo@example.com" and row.is_active is False
    actions = [r.action for r in
               db.sql("SELECT action FROM audit_logs ORDER BY created_at")]
    assert actions == ["user.add", "user.role", "user.disable"]
