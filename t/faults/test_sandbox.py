"""What a worker makes of the machine's means to shut media processes in."""

import fcntl
import json
import os
import re
import stat
import subprocess
import sys

import httpx
import pytest

from rig import BUILD, Workerd, wait_until

# a machine that lacks system calls: they answer with an error, and what is
# started under it inherits that
LAUNCHER = """#!{python}
import ctypes, os, sys
lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
lib.seccomp_init.restype = ctypes.c_void_p
lib.seccomp_init.argtypes = [ctypes.c_uint32]
lib.seccomp_load.argtypes = [ctypes.c_void_p]
lib.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint,
    ctypes.c_void_p]
class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int),
                ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
ctx = lib.seccomp_init(0x7fff0000)
for name, error, first in {calls!r}:
    nr = lib.seccomp_syscall_resolve_name(name.encode())
    assert nr > 0, name
    args = (0, None) if first is None else (
        1, ctypes.byref(Compare(0, 4, first, 0)))
    assert lib.seccomp_rule_add_array(ctx, 0x00050000 | error, nr, *args) == 0
assert lib.seccomp_load(ctx) == 0
os.execv({workerd!r}, [{workerd!r}, *sys.argv[1:]])
"""

NO_LANDLOCK = [("landlock_create_ruleset", 38, None)]
NO_SECCOMP = [("seccomp", 38, None), ("prctl", 22, 22)]
NO_NAMESPACES = [("unshare", 1, None)]


def launcher(world, calls, name):
    path = world.run.folder("launch") / name
    path.write_text(LAUNCHER.format(python=sys.executable, calls=calls,
                                    workerd=str(BUILD / "workerd")))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def worker_without(world, calls, name, **env):
    path = launcher(world, calls, name)
    w = Workerd(world.run, {**world.env, "WORKER_NAME": name, **env}, name,
                binary=path)
    world.workers.append(w)
    return w.start()


def level_of(world, worker):
    def up():
        try:
            return httpx.get(f"{worker.health_url}/health")
        except httpx.HTTPError:
            return None
    level = wait_until(up, 10, "health").json()["sandbox"]
    text = httpx.get(f"{worker.health_url}/metrics").text
    found = re.findall(r"^avp_sandbox_level\{(.*)\} 1$", text, re.M)
    assert found == [f'ns="{level["ns"]}",landlock_abi="{level["landlock"]}",'
                     f'seccomp="{int(level["seccomp"])}"']
    started = [x for x in worker.lines() if x.get("msg") == "worker starts"]
    assert started[-1]["sandboxLandlock"] == level["landlock"]
    assert told(world, worker)["sandbox"] == level
    return level


def told(world, worker):
    """What administrators see of it."""
    admin = world.pg.one("SELECT id FROM users WHERE role = 'admin'") or \
        world.pg.one("SELECT id FROM user_add('b@example.com', 'b', '!',"
                     " 'admin')")
    name = worker.env["WORKER_NAME"]
    return wait_until(lambda: next((w for w in json.loads(world.pg.one(
        "SELECT doc FROM worker_list(%s, true)", (admin,)))
        if w["name"] == name), None), 10, "the worker is told of")


def test_level_is_told(world):
    level = level_of(world, world.worker())
    assert level["landlock"] >= 1 and level["seccomp"] is True
    assert level["ns"] in ("user,net", "net", "none")


def test_worker_is_told_and_says_goodbye(world):
    w = world.worker(WORKER_SLOTS="3")
    doc = told(world, w)
    version = w.command("--version").stdout
    own = wait_until(lambda: w.logfile.exists() and httpx.get(
        f"{w.health_url}/health"), 10, "health").json()
    assert doc["version"] == own["version"]
    assert len(doc["libraries"]) == 6
    for name, number in doc["libraries"].items():
        assert f"{name} {number}" in version
    assert (doc["slots"], doc["running"]) == (3, 0)
    started = next(x for x in w.lines() if x.get("msg") == "worker starts")
    assert doc["id"] == started["incarnation"]

    again = world.worker("w2")
    told(world, again)
    again.kill()                    # says nothing: it ages
    assert w.term() == 0
    assert [r["name"] for r in world.pg.query("SELECT name FROM workers")] \
        == ["w2"]


def test_a_worker_before_its_table(world, clips):
    """The database is an older one: jobs are done, the log says it once."""
    world.pg.query("DROP FUNCTION worker_seen")
    w = world.worker()
    video, _ = world.add(clips["short"])
    world.wait(video)
    assert w.term() == 0
    assert w.logfile.read_text().count("does not know this worker") == 1


@pytest.mark.parametrize("calls, word", [(NO_LANDLOCK, "Landlock"),
                                         (NO_SECCOMP, "seccomp")])
def test_no_start_without(world, clips, calls, word):
    w = worker_without(world, calls, "bare")
    assert w.process.wait(20) == 1
    text = w.logfile.read_text()
    assert word in text and "SANDBOX=off" in text

    # somebody's decision: it works, and says what it has
    w = worker_without(world, calls, "trusting", SANDBOX="off")
    assert level_of(world, w) == {"ns": "none", "landlock": 0, "seccomp": False}
    video, _ = world.add(clips["short"])
    world.wait(video)


def test_namespaces_are_not_needed(world, clips):
    """As in most containers."""
    w = worker_without(world, NO_NAMESPACES, "contained")
    level = level_of(world, w)
    assert level["ns"] == "none" and level["landlock"] >= 1
    video, _ = world.add(clips["short"])
    world.wait(video)
    world.check_published(video)


JOB = {"formats": ["mp4"], "qualities": ["480p"], "webmCodec": "av1",
       "early": False, "order": "auto", "allowed": ["mp4"],
       "maxDuration": 60, "threads": 1, "sandbox": True}


def test_no_job_without(world, clips):
    """A media process that cannot enter the sandbox reads nothing."""
    path = launcher(world, NO_LANDLOCK, "media")
    out = world.run.folder("out")
    fds = [os.open(clips["short"], os.O_RDONLY),
           os.open(out, os.O_RDONLY | os.O_DIRECTORY)]
    read, write = os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 30) for fd in (*fds, write)]

    def arrange():
        for number, fd in enumerate(high, 3):
            os.dup2(fd, number)

    p = subprocess.Popen([path, "media"], stdin=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, pass_fds=(3, 4, 5),
                         preexec_fn=arrange)
    for fd in (*fds, write, *high):
        os.close(fd)
    p.communicate(json.dumps(JOB).encode(), timeout=30)
    with os.fdopen(read) as f:
        said = [json.loads(x) for x in f]
    assert p.returncode == 1
    assert [(m["t"], m.get("code")) for m in said] == [
        ("error", "sandbox_unavailable")]
    assert not list(out.iterdir())
