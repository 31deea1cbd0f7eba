"""Several slots: jobs begin when the memory that they plan is there."""

import pytest

from rig import wait_until


def said(worker, msg):
    return [x for x in worker.lines() if x.get("msg") == msg]


def admitted(worker):
    """Job ids, in their order."""
    return [x["jobId"] for x in said(worker, "job admitted")]


@pytest.mark.world(WORKER_SLOTS="2", MEMORY_LIMIT="1MB", OUTPUT_FORMATS="mp4")
def test_one_after_the_other(world, clips):
    """Nothing fits: each has the worker to itself, and the one that waits
    says so, is not taken for a dead one, and is not overtaken."""
    first, one = world.add(clips["long"])
    worker = world.worker()
    wait_until(lambda: admitted(worker) == [one], 20, "it begins")
    second, two = world.add(clips["short"])
    wait_until(lambda: world.job(second)["current_task"]
               == "waiting for memory", 20, "the other one waits")
    third, _ = world.add(clips["short"])

    waits = said(worker, "job waits for memory")
    assert [x["jobId"] for x in waits] == [two]
    assert waits[0]["memory"] > waits[0]["limit"] == 1 << 20
    assert world.job(third)["status"] == "pending"    # for another worker
    assert admitted(worker) == [one]

    for video in (first, second, third):
        world.wait(video)
        world.check_published(video, formats=("mp4",))
        assert len(world.attempts(video)) == 1
    assert admitted(worker)[:2] == [one, two]
    assert {x["beside"] for x in said(worker, "job admitted")} == {0}


@pytest.mark.world(WORKER_SLOTS="2", MEMORY_LIMIT="1MB", OUTPUT_FORMATS="mp4")
def test_drain_and_kill_while_one_waits(world, clips):
    """What waits is done in a drain; killed, it is another worker's."""
    first, one = world.add(clips["long"])
    worker = world.worker()
    wait_until(lambda: admitted(worker) == [one], 20, "it begins")
    second, _ = world.add(clips["short"])
    wait_until(lambda: said(worker, "job waits for memory"), 20, "it waits")
    assert worker.term(60) == 0
    for video in (first, second):
        world.check_published(video, formats=("mp4",))

    first, one = world.add(clips["long"])
    worker = world.worker("w2")
    wait_until(lambda: admitted(worker) == [one], 20, "it begins")
    second, _ = world.add(clips["short"])
    wait_until(lambda: said(worker, "job waits for memory"), 20, "it waits")
    children = worker.children()
    worker.kill()
    wait_until(lambda: not any(map(world.alive, children)), 10, "they die")
    world.worker("w3")
    for video in (first, second):
        world.wait(video)
        world.check_published(video, formats=("mp4",))


@pytest.mark.world(WORKER_SLOTS="2", OUTPUT_FORMATS="mp4")
def test_together(world, clips):
    """There is room for both of them."""
    first, one = world.add(clips["long"])
    second, two = world.add(clips["long"])
    worker = world.worker()
    wait_until(lambda: len(admitted(worker)) == 2, 20, "both begin")
    assert not said(worker, "job completed")
    for video in (first, second):
        world.wait(video)
    assert not said(worker, "job waits for memory")
    assert sorted(admitted(worker)) == sorted([one, two])
    assert [x["beside"] for x in said(worker, "job admitted")] == [0, 1]
