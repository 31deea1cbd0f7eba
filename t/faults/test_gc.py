"""workerd gc: only what nobody names, only after the grace, only inside."""

import os
import time
import uuid

from rig import wait_until


def age(path, seconds):
    then = time.time() - seconds
    for root, dirs, files in os.walk(path):
        for name in dirs + files:
            os.utime(os.path.join(root, name), (then, then),
                     follow_symlinks=False)
    os.utime(path, (then, then), follow_symlinks=False)


def test_grace_and_what_is_swept(world, clips):
    worker = world.worker()
    video, _ = world.add(clips["short"])
    world.wait(video)
    keep = world.check_published(video)
    assert worker.term() == 0

    out = world.storage / "outputs"
    outside = world.run.path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")

    stray = out / video / "7-0123456789abcdef"
    stray.mkdir()
    (stray / "a.mp4").write_text("x" * 10000)
    (stray / "link").symlink_to(outside)
    young = out / video / "8-0123456789abcdef"
    young.mkdir()
    odd = out / video / "not-a-prefix"
    odd.mkdir()
    unknown = str(uuid.uuid4())
    for folder in ("outputs", "originals"):
        (world.storage / folder / unknown).mkdir()
        (world.storage / folder / unknown / "f").write_text("x")
        age(world.storage / folder / unknown, 7200)
    trap = world.storage / "originals" / str(uuid.uuid4())
    trap.symlink_to(outside)
    upload = world.storage / "incoming" / "abcdef"
    upload.write_text("x")
    fresh = world.storage / "incoming" / "fedcba"
    fresh.write_text("x")
    for path in (stray, upload):
        age(path, 7200)

    text = world.gc(3600)
    assert "prefixes 1, outputs 1, originals 1, incoming 1" in text, text
    assert not stray.exists() and young.exists() and odd.exists()
    assert not upload.exists() and fresh.exists()
    assert not (out / unknown).exists()
    assert not (world.storage / "originals" / unknown).exists()
    assert (outside / "precious").read_text() == "x"
    assert (world.storage / "originals" / video / "source.mp4").exists()

    world.gc(0)
    assert not young.exists() and not fresh.exists()
    assert (outside / "precious").read_text() == "x"
    assert sorted(world.prefixes(video)) == sorted([keep, "not-a-prefix"])
    assert world.check_published(video) == keep


def test_running_job_is_left_alone(world, clips):
    worker = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    assert "prefixes 0" in world.gc(0)
    world.wait(video)
    world.check_swept(video, world.check_published(video))


def test_the_daemon_sweeps_by_itself(world, clips):
    """Leader only, at the interval of the grace."""
    worker = world.worker(GC_GRACE="1")
    video, _ = world.add(clips["short"])
    world.wait(video)
    keep = world.check_published(video)
    stray = world.storage / "outputs" / video / "7-0123456789abcdef"
    stray.mkdir()
    wait_until(lambda: not stray.exists(), 15, "gc in the daemon")
    assert world.prefixes(video) == [keep]
    world.delete(video)
    wait_until(lambda: world.pg.one("SELECT count(*) FROM videos") == 0, 15,
               "the row is purged")
    wait_until(lambda: not any((world.storage / "originals").iterdir()), 5)
    assert worker.alive()


def test_usage(world):
    for args in (["--grace"], ["--grace", "x"], ["--grace", "-1"], ["now"]):
        assert world.tool.command("gc", *args, check=False).returncode == 2
    world.pg.stop("immediate")
    assert world.tool.command("gc", check=False).returncode == 1
    assert world.tool.command("reconcile", check=False).returncode == 1
