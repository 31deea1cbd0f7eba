"""Redis flushed, absent, killed, hung: no job is lost."""

import json
import time

import pytest

from rig import wait_until


def test_flushed_in_mid_job(world, clips):
    worker = world.worker()
    video, _ = world.add(clips["long"])
    waiting, _ = world.add(clips["short"])
    world.wait_running(video, worker)
    world.redis.flush()
    world.wait(video)
    world.wait(waiting)
    for v in (video, waiting):
        world.check_swept(v, world.check_published(v))
        assert world.job(v)["attempt"] == 1


def test_no_wake_up_at_all(world, clips):
    """The push never happened: timer and reconciler find the job."""
    world.worker()
    wait_until(lambda: world.redis.connect().exists("avp:worker:w1"), 10)
    video, _ = world.add(clips["short"], wake=False)
    world.wait(video, timeout=20)
    world.check_published(video)


def test_down_at_start(world, clips):
    world.redis.stop()
    worker = world.worker()
    video, _ = world.add(clips["short"])
    world.wait(video, timeout=20)
    world.check_published(video)

    world.redis.start()
    r = world.redis.connect()
    wait_until(lambda: r.exists("avp:worker:w1"), 20, "it is back")
    assert r.ttl("avp:worker:w1") <= 30
    assert r.hget("avp:worker:w1", "slots") == "1"
    assert "redis is gone" in worker.logfile.read_text()
    # and wake-ups work again: claimed at once, not by the timer
    # (a pop that is just out waits for 4 s at least)
    wait_until(lambda: any(c["cmd"] == "blpop" and c["idle"] == "0"
                           for c in r.client_list()), 30, "a new pop is out")
    start = time.monotonic()
    video, _ = world.add(clips["short"])
    wait_until(lambda: world.job(video)["status"] != "pending", 5, step=0.01)
    assert time.monotonic() - start < 2.5
    world.wait(video)


def test_killed_in_mid_job(world, clips):
    worker = world.worker()
    video, _ = world.add(clips["long"])
    waiting, _ = world.add(clips["short"])
    world.wait_running(video, worker)
    world.redis.kill()
    for v in (video, waiting):
        world.wait(v)
        world.check_published(v)


def test_hung(world, clips):
    """A Redis that accepts and never answers costs moments, not the lease."""
    worker = world.worker(LEASE="3")
    video, _ = world.add(clips["long"])
    waiting, _ = world.add(clips["short"], wake=False)
    world.wait_running(video, worker)
    world.redis.freeze()
    try:
        for v in (video, waiting):
            world.wait(v)
            world.check_published(v)
            assert world.job(v)["attempt"] == 1
    finally:
        world.redis.thaw()


def test_events(world, clips):
    """Published once committed, on the three channels, in order of seq."""
    ps = world.redis.connect().pubsub()
    ps.psubscribe("avp:*")
    seen = []

    def last():
        m = ps.get_message(timeout=0.2)
        if m and m["type"] == "pmessage":
            seen.append((m["channel"], m["data"]))
        return any(c == "avp:inv" for c, d in seen[-1:]) and any(
            c == mine and "video.completed" in d for c, d in seen)

    world.worker()
    video, _ = world.add(clips["short"])
    mine = f"avp:ev:v:{video}"
    world.wait(video)
    wait_until(last, 10, "the last event", step=0.001)
    ps.close()
    events = [json.loads(d) for c, d in seen if c == mine]
    kinds = [e["type"] for e in events]
    assert kinds[0] == "job.started" and kinds[-1] == "video.completed"
    assert "video.playable" in kinds
    seqs = [e["seq"] for e in events]
    assert seqs == sorted(set(seqs))
    user = [d for c, d in seen if c == f"avp:ev:u:{world.user}"]
    assert [json.loads(d)["seq"] for d in user] == seqs
    inv = [json.loads(d) for c, d in seen if c == "avp:inv"]
    assert [i["seq"] for i in inv] == seqs
    assert all(i == {"videoId": video, "seq": i["seq"]} for i in inv)


@pytest.mark.world(RECONCILE_INTERVAL="1")
def test_reconciler_pushes_what_is_missing(world, clips):
    """max(0, min(due, 100) - LLEN), by one leader; WORKER_SLOTS=0 claims
    nothing."""
    for _ in range(3):
        world.add(clips["short"], wake=False)
    world.worker("w0", WORKER_SLOTS="0")
    world.worker("w00", WORKER_SLOTS="0")
    r = world.redis.connect()
    wait_until(lambda: r.llen("avp:jobs") == 3, 10, "three wake-ups")
    rounds = world.workers[0].logfile.read_text().count("reconciled")
    wait_until(lambda: sum(w.logfile.read_text().count("reconciled")
                           for w in world.workers) >= rounds + 3, 15)
    assert r.llen("avp:jobs") == 3
    assert world.pg.one("SELECT count(*) FROM processing_jobs"
                        " WHERE status = 'pending'") == 3
    assert world.pg.one("SELECT count(*) FROM leases"
                        " WHERE name = 'reconciler'") == 1
    world.redis.flush()
    assert "pushed 3" in world.tool.command("reconcile").stdout
    assert "pushed 0" in world.tool.command("reconcile").stdout
