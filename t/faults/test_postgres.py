"""PostgreSQL restarted, hung, gone: leases end the work, nothing doubles."""

import os
import signal

import pytest

from rig import wait_until


def test_restarted_in_mid_job(world, clips):
    worker = world.worker(LEASE="20")
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    world.pg.restart("immediate")
    world.wait(video)
    world.check_swept(video, world.check_published(video))
    assert world.job(video)["attempt"] == 1, "the lease outlived the restart"


def test_down_at_start(world, clips):
    video, _ = world.add(clips["short"])
    world.pg.stop("immediate")
    worker = world.worker()
    worker.wait_log("the database does not answer")
    assert worker.alive()
    world.pg.start()
    world.wait(video)
    world.check_published(video)


def test_down_when_it_is_done(world, clips):
    """The result waits in its slot until the database is back."""
    worker = world.worker(LEASE="60")
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    world.pg.stop("immediate")
    wait_until(lambda: not worker.children(), 60, "the media process ends")
    worker.wait_log("no verdict of the database")
    world.pg.start()
    world.wait(video)
    world.check_published(video)
    assert world.job(video)["attempt"] == 1


@pytest.mark.world(LEASE="4")
def test_self_fence(world, clips):
    """Hung past three quarters of the lease: the media process is killed
    before the lease ends, and the job is done by another attempt."""
    worker = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    pid = worker.children()[0]
    os.kill(pid, signal.SIGSTOP)    # so that it does not end by itself
    world.pg.freeze()
    try:
        # the lease was confirmed just before or a moment earlier
        wait_until(lambda: not world.alive(pid), 3.9, "self-fence")
    finally:
        world.pg.thaw()
    worker.wait_log("database_lost")
    wait_until(lambda: world.hurry(video) or
               world.job(video)["status"] == "completed", 60, step=0.2)
    assert world.job(video)["attempt"] >= 2
    assert world.job(video)["retry_count"] == 0, "no penalty"
    world.check_swept(video, world.check_published(video))


@pytest.mark.world(LEASE="3")
def test_zombie_publishes_nothing(world, clips):
    """A worker stopped past its lease wakes up: what it has is refused."""
    first = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, first)
    first.signal(signal.SIGSTOP)
    world.worker("w2")
    world.wait(video)
    prefix = world.check_published(video)
    first.signal(signal.SIGCONT)
    first.wait_log("job lost to another attempt")
    assert world.check_published(video) == prefix
    assert world.job(video)["lease_owner"] == "w2"
    assert world.job(video)["lost_count"] >= 1
    # the zombie is a good worker again
    assert world.workers[1].term() == 0
    again, _ = world.add(clips["short"])
    world.wait(again)
    assert world.job(again)["lease_owner"] == "w1"
    world.check_swept(video, prefix)


@pytest.mark.world(LEASE="3")
def test_zombie_of_a_machine(world, clips):
    """Supervisor and media process stopped together, as a machine is."""
    first = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, first)
    kids = first.children()
    first.signal(signal.SIGSTOP)
    for pid in kids:
        os.kill(pid, signal.SIGSTOP)
    world.worker("w2")
    world.wait(video)
    prefix = world.check_published(video)
    for pid in kids:
        os.kill(pid, signal.SIGCONT)
    first.signal(signal.SIGCONT)
    first.wait_log("job lost to another attempt")
    assert world.check_published(video) == prefix
    world.check_swept(video, prefix)
