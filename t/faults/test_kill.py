"""Processes die: the supervisor, the machine, the media process."""

import os
import signal

import pytest

from rig import is_asan, wait_until

# the sanitizer reports a SIGSEGV, also one that was sent
CRASH = signal.SIGABRT if is_asan() else signal.SIGSEGV


@pytest.mark.world(LEASE="3")
@pytest.mark.parametrize("how", ["kill", "kill_all"])
def test_worker_killed_in_mid_job(world, clips, how):
    """kill -9: another attempt ends it; one publication, the rest swept."""
    first = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, first)
    kids = first.children()
    getattr(first, how)()
    # the media process does not outlive its supervisor
    wait_until(lambda: not any(map(world.alive, kids)), 5, "media process ends")
    assert world.results(video) == []

    world.worker("w2")
    world.wait(video)
    assert world.job(video)["attempt"] >= 2
    prefix = world.check_published(video)
    assert prefix.split("-")[0] == str(world.job(video)["attempt"])
    assert len(world.prefixes(video)) >= 2
    world.check_swept(video, prefix)


@pytest.mark.parametrize("sig", [signal.SIGKILL, CRASH])
def test_media_process_dies_until_poison(world, clips, sig):
    """The third death is the last; the supervisor lives and takes the next
    job."""
    worker = world.worker()
    worker.wait_log("worker starts")  # what it asks first is a child, too
    video, _ = world.add(clips["long"])
    for n in range(1, 4):
        def dead():
            world.hurry(video)
            for pid in worker.children():
                os.kill(pid, sig)
            return world.job(video)["retry_count"] >= n
        wait_until(dead, 30, f"death {n}")
        job = world.job(video)
        assert job["error_class"] == "crash" or job["status"] == "processing"

    job = world.wait(video, "failed")
    assert job["error_code"] == "poison"
    assert [a["code"] for a in world.attempts(video)] == ["crashed"] * 3
    assert world.results(video) == []

    again, _ = world.add(clips["short"])
    world.wait(again)
    world.check_published(again)
    world.gc()
    assert world.prefixes(video) == []


@pytest.mark.parametrize("sig,code", [(signal.SIGSYS, "sandbox_violation"),
                                      (signal.SIGXFSZ, "output_limit")])
def test_deaths_that_are_final(world, clips, sig, code):
    worker = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    os.kill(worker.children()[0], sig)
    job = world.wait(video, "failed")
    assert (job["error_class"], job["error_code"]) == ("permanent", code)
    assert job["attempt"] == 1


@pytest.mark.world(STALL_TIMEOUT="2")
def test_stall(world, clips):
    """A media process that stands still is killed and the job tried again."""
    worker = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    os.kill(worker.children()[0], signal.SIGSTOP)
    wait_until(lambda: world.job(video)["retry_count"] == 1, 15, "a stall")
    assert world.attempts(video)[0]["code"] == "stalled"
    world.hurry(video)
    world.wait(video)
    world.check_published(video)


def test_cpu_limit_is_time_limit(world, clips):
    worker = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    os.kill(worker.children()[0], signal.SIGXCPU)
    wait_until(lambda: world.job(video)["retry_count"] == 1, 15)
    assert world.attempts(video)[0]["code"] == "time_limit"
    assert world.attempts(video)[0]["outcome"] == "stall"


def test_limits_of_the_media_process(world, clips):
    """What it got: descriptors, environment, limits, session."""
    worker = world.worker()
    video, _ = world.add(clips["long"])
    world.wait_running(video, worker)
    pid = worker.children()[0]
    fds = sorted(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
    assert fds[:6] == [0, 1, 2, 3, 4, 5]
    kinds = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in fds}
    assert kinds[1] == "/dev/null"
    assert kinds[3].endswith(f"{video}/source.mp4")
    assert f"/outputs/{video}/1-" in kinds[4]
    assert not any("socket:" in k for k in kinds.values()), kinds
    with open(f"/proc/{pid}/fdinfo/3") as f:
        flags = int(next(line.split()[1] for line in f
                         if line.startswith("flags")), 8)
    assert flags & os.O_ACCMODE == os.O_RDONLY
    if "asan" not in str(worker.binary):
        with open(f"/proc/{pid}/environ", "rb") as f:
            assert f.read() == b""
    with open(f"/proc/{pid}/limits") as f:
        limits = {line[:26].strip(): line[26:].split()[:2] for line in f}
    assert limits["Max open files"] == ["64", "64"]
    assert limits["Max core file size"] == ["0", "0"]
    assert 60 <= int(limits["Max cpu time"][0]) < 1000
    assert int(limits["Max file size"][0]) > 64 << 20
    assert os.getpgid(pid) == pid and os.getsid(pid) == pid
    world.wait(video)
