"""Claims: each job once, the right one first, leases and lost answers."""

import threading
import uuid

from calls import done_doc


def test_claim_names_everything_a_run_needs(db, inc):
    user = db.user()
    video, job = db.video(user)
    c = db.claim(inc)
    assert (c.result, str(c.job), str(c.video), str(c.user)) == (
        "ok", job, video, user)
    assert c.attempt == 1 and c.alone is False
    assert c.prefix.startswith("1-") and len(c.prefix) == 18
    assert c.source_key == f"originals/{video}/source.mp4"
    assert (c.source_bucket, c.source_size, c.container) == ("file", 1000,
                                                             "mp4")
    assert c.event["type"] == "job.started"
    assert db.job(job).status == "processing"
    assert db.row(video).status == "processing"


def test_each_job_is_claimed_once(db, more):
    """Eight sessions, one queue."""
    user = db.user()
    jobs = {db.video(user)[1] for _ in range(120)}
    got, lock = [], threading.Lock()

    def work():
        d, inc, mine = more(), str(uuid.uuid4()), []
        while True:
            c = d.claim(inc, mine)
            if c.result == "none":
                break
            mine.append(str(c.job))
        with lock:
            got.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(got) == 120 and set(got) == jobs
    assert db.one("SELECT max(attempt) FROM processing_jobs") == 1


def test_a_locked_candidate_is_passed_over(db, more, inc):
    user = db.user()
    first, job1 = db.video(user)
    _, job2 = db.video(user)
    other = more()
    with other.conn.transaction():
        other.sql("SELECT 1 FROM videos WHERE id = %s FOR UPDATE", first)
        assert str(db.claim(inc).job) == job2
        with other.conn.transaction():
            assert db.claim(inc, [job2]).result == "none"
    assert str(db.claim(inc, [job2]).job) == job1


def test_none_says_when_to_come_back(db, inc):
    assert db.claim(inc).next_due is None
    user = db.user()
    _, job = db.video(user)
    db.sql("UPDATE processing_jobs SET status = 'retrying',"
           " run_after = now() + interval '40 seconds' WHERE id = %s", job)
    none = db.claim(inc)
    assert none.result == "none" and 38 < none.next_due <= 40
    db.make_due(job)
    assert db.claim(inc).result == "ok"
    # now it is the lease that will end first
    assert 58 < db.claim(inc, [job]).next_due <= 61


def test_a_lost_answer_is_given_again(db, inc):
    user = db.user()
    _, job = db.video(user)
    first = db.claim(inc)
    again = db.claim(inc)           # this worker does not say it runs it
    assert str(again.job) == job and again.attempt == 2
    assert again.prefix != first.prefix
    assert db.job(job).lost_count == 0
    assert db.claim(inc, [job]).result == "none"
    stale = db.call("job_publish", inc, job, first.attempt, done_doc())
    assert stale.result == "stale"


def test_an_expired_lease_is_taken_over(db, inc):
    user = db.user()
    video, job = db.video(user)
    old = db.claim(inc)
    other = str(uuid.uuid4())
    assert db.claim(other).result == "none"
    db.lapse(job)
    new = db.claim(other)
    assert str(new.job) == job and new.attempt == old.attempt + 1
    assert db.job(job).lost_count == 1
    # the zombie awakes
    v = db.rows("job_progress", inc, 60,
                [{"job": job, "attempt": old.attempt, "progress": 50}])
    assert [x.verdict for x in v] == ["lost"]
    assert db.call("job_publish", inc, job, old.attempt,
                   done_doc()).result == "stale"
    outcomes = db.sql("SELECT attempt, outcome FROM job_attempts ORDER BY 1")
    assert [(o.attempt, o.outcome) for o in outcomes] == [(1, "lost"),
                                                          (2, None)]


def test_a_deleted_videos_job_is_not_claimed(db, inc):
    user = db.user()
    video, job = db.video(user)
    db.sql("UPDATE videos SET deleted_at = now() WHERE id = %s", video)
    assert db.claim(inc).result == "none"
    assert db.job(job).status == "cancelled"


def test_a_job_that_loses_workers_runs_alone(db, inc):
    user = db.user()
    _, bad = db.video(user)
    _, good = db.video(user)
    db.sql("UPDATE processing_jobs SET lost_count = 3 WHERE id = %s", bad)
    c = db.claim(inc)
    assert str(c.job) == bad and c.alone is True
    db.call("job_fail", inc, bad, c.attempt, "drained", "drained", None)
    # a worker that runs something is not given it
    other = str(uuid.uuid4())
    assert str(db.claim(other, [str(uuid.uuid4())]).job) == good
    assert db.claim(other, [good]).result == "none"
    assert str(db.claim(str(uuid.uuid4())).job) == bad


def test_priority_then_fair_share(db, inc):
    heavy, light, vip = db.user(), db.user(), db.user()
    many = [db.video(heavy)[1] for _ in range(6)]
    one = db.video(light)[1]
    two = db.video(light)[1]
    urgent = db.video(vip, priority=5, admin=True)[1]
    order = []
    for _ in range(9):
        order.append(str(db.claim(inc, order).job))
    assert order[0] == urgent
    assert [j for j in order if j in many] == many
    # the light user waits for one of the heavy user's, not for six
    assert order.index(one) <= 2 and order.index(two) <= 4


def test_nobody_saves_up_turns(db, inc):
    """Who comes after a long time of quiet is not owed the past, and who
    worked alone for long does not pay for it."""
    busy, idle = db.user(), db.user()
    for _ in range(20):
        _, job = db.video(busy)
        c = db.claim(inc)
        db.call("job_publish", inc, job, c.attempt, done_doc())
    theirs = [db.video(idle)[1] for _ in range(5)]
    mine = db.video(busy)[1]
    order = []
    for _ in range(6):
        order.append(str(db.claim(inc, order).job))
    assert order.index(mine) <= 2 and set(theirs) < set(order)


def test_waiting_retries_do_not_hold_the_turn_back(db, inc):
    """A job that may not run yet keeps an old turn; newcomers must not be
    put beside it."""
    a, b = db.user(), db.user()
    _, old = db.video(a)
    db.sql("UPDATE processing_jobs SET status = 'retrying',"
           " run_after = now() + interval '1 hour' WHERE id = %s", old)
    for _ in range(10):
        _, job = db.video(a)
        c = db.claim(inc)
        db.call("job_publish", inc, job, c.attempt, done_doc())
    db.video(a)
    _, theirs = db.video(b)
    turns = {str(r.id): r.turn for r in
             db.sql("SELECT id, turn FROM processing_jobs")}
    assert turns[theirs] >= 10
