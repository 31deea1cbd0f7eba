"""SIGTERM, cancels, many at once, a full disk, and what /health says."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from rig import wait_until


def given_back(world, video):
    job = world.job(video)
    assert job["status"] == "pending"
    assert (job["retry_count"], job["lost_count"]) == (0, 0)
    assert world.attempts(video)[-1]["outcome"] == "drained"


def test_drain_lets_the_job_end(world, clips):
    worker = world.worker()
    video, _ = world.add(clips["long"])
    waiting, _ = world.add(clips["short"])
    world.wait_running(video, worker)
    assert worker.term(60) == 0
    world.check_published(video)
    assert world.job(waiting)["status"] == "pending"
    assert world.job(waiting)["attempt"] == 0


def test_second_term_gives_back_at_once(world, clips):
    worker = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    worker.signal(signal.SIGTERM)
    worker.wait_log("draining")
    assert worker.alive()
    assert worker.term(10) == 0
    given_back(world, video)
    # another one finds it at once: there is a wake-up
    assert world.redis.connect().llen("avp:jobs") >= 1
    world.worker("w2")
    world.wait(video)
    assert world.job(video)["attempt"] == 2
    world.check_swept(video, world.check_published(video))


@pytest.mark.world(DRAIN_TIMEOUT="1", QUALITY_LEVELS="480p")
def test_drain_timeout_gives_back(world, clips):
    worker = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    os.kill(worker.children()[0], signal.SIGSTOP)   # it will not be done
    assert worker.term(15) == 0
    given_back(world, video)


def test_once(world, clips):
    assert world.tool.command("run", "--once").returncode == 0
    video, _ = world.add(clips["short"])
    other, _ = world.add(clips["short"])
    world.tool.command("run", "--once")
    world.check_published(video)
    assert world.job(other)["status"] == "pending"
    world.tool.command("run", "--once")
    world.check_published(other)


def test_deleted_while_processing(world, clips):
    worker = world.worker(LEASE="3")
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    world.delete(video)
    wait_until(lambda: not worker.children(), 10, "the media process ends")
    job = world.job(video)
    assert job["status"] == "cancelled"
    assert world.results(video) == []
    other, _ = world.add(clips["short"])
    world.wait(other)
    out = world.gc()
    assert "videos 1" in out and "originals 1" in out, out
    assert world.prefixes(video) == []
    assert not (world.storage / "originals" / video).exists()
    assert world.pg.one("SELECT count(*) FROM videos WHERE id = %s",
                        (video,)) == 0
    world.check_published(other)


@pytest.mark.world(WORKER_SLOTS="2", OUTPUT_FORMATS="mp4,hls")
def test_many_jobs_two_workers(world, clips):
    """Each job once, nothing twice, nothing left behind."""
    videos = [world.add(clips["short"], wake=i % 3 > 0)[0]
              for i in range(12)]
    workers = [world.worker("w1"), world.worker("w2")]
    for v in videos:
        world.wait(v, timeout=120)
    for v in videos:
        prefix = world.check_published(v, formats=("hls", "mp4"))
        assert prefix.startswith("1-")
        assert len(world.attempts(v)) == 1
    assert {world.job(v)["lease_owner"] for v in videos} == {"w1", "w2"}
    assert "prefixes 0" in world.gc()

    # no descriptors, no processes, no memory of them
    for w in workers:
        wait_until(lambda: not w.children(), 5)
        before = len(os.listdir(f"/proc/{w.process.pid}/fd"))
        for _ in range(2):
            world.wait(world.add(clips["short"])[0])
        wait_until(lambda: len(os.listdir(f"/proc/{w.process.pid}/fd"))
                   <= before, 10, "descriptors are back")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs")
def test_full_disk(world, clips):
    """No room: not the file's fault; the worker pauses, then it is done."""
    outputs = world.storage / "outputs"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none",
                    str(outputs)], check=True)
    try:
        worker = world.worker()
        video, _ = world.add(clips["short"])
        wait_until(lambda: world.job(video)["transient_count"] >= 1, 30)
        assert world.attempts(video)[0]["code"] == "disk_full"
        worker.wait_log("no new jobs for a while")
        assert world.job(video)["retry_count"] == 0
        assert worker.term() == 0
        subprocess.run(["mount", "-o", "remount,size=64m", str(outputs)],
                       check=True)
        world.hurry(video)
        other = world.worker("w2")
        world.wait(video)
        world.check_swept(video, world.check_published(video))
        assert other.term() == 0
    finally:
        for w in world.workers:
            w.stop()
        subprocess.run(["umount", str(outputs)], check=True)


def get(worker, path):
    try:
        with urllib.request.urlopen(worker.health_url + path,
                                    timeout=10) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_health_and_metrics(world, clips):
    worker = world.worker(WORKER_SLOTS="2")
    video, _ = world.add(clips["short"])
    world.wait(video)
    status, text = get(worker, "/health")
    doc = json.loads(text)
    assert status == 200 and doc["status"] == "healthy"
    assert (doc["database"], doc["redis"], doc["storage"]) == \
        ("ok", "ok", "ok")
    assert doc["slots"] == 2

    status, text = get(worker, "/metrics")
    assert status == 200
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in values
            values[name] = float(value)
    assert values['avp_jobs_total{result="completed"}'] == 1
    assert values["avp_queue_depth"] == 0
    assert values["avp_worker_slots"] == 2
    assert any(k.startswith("avp_build_info{") for k in values)

    assert get(worker, "/else")[0] == 404
    world.redis.stop()
    wait_until(lambda: json.loads(get(worker, "/health")[1])["status"]
               == "degraded", 20, "redis is seen to be down")
    world.pg.stop("immediate")
    wait_until(lambda: get(worker, "/health")[0] == 503, 20,
               "the database is seen to be down")
    world.pg.start()
    wait_until(lambda: get(worker, "/health")[0] == 200, 20, "and back")
