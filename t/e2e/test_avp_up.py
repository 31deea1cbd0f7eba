"""./avp in a fresh copy of what is committed (or would be)."""

import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess

import httpx
import pytest

from browser import play
from rig import ROOT, Run, free_port, wait_until
from rig.run import processes_of


def copy_of_the_tree(to):
    """What git knows of the tree, as it is on disk."""
    if (ROOT / ".git").exists():
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"], cwd=ROOT, check=True,
            capture_output=True).stdout.decode().split("\0")
    else:
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")
                 if p.is_file() and not re.match(
                     r"(build|build-\w+|var)/|.*node_modules/",
                     str(p.relative_to(ROOT)))]
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    return to


class Avp:
    def __init__(self, tree, data, user=None):
        self.tree, self.data, self.user = tree, data, user

    def __call__(self, *args, check=True, timeout=560, data=True):
        kw = {}
        if self.user:
            u = pwd.getpwnam(self.user)
            kw = dict(user=u.pw_uid, group=u.pw_gid, extra_groups=[])
        if data and args and args[0] != "test":
            args = (*args, "--data", str(self.data))
        p = subprocess.run(
            [str(self.tree / "avp"), *args], text=True, capture_output=True,
            timeout=timeout, stdin=subprocess.DEVNULL, cwd="/",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"}, **kw)
        if check:
            assert p.returncode == 0, (args, p.stdout, p.stderr)
        return p


@pytest.fixture(scope="module")
def avp():
    with Run() as run:
        tree = copy_of_the_tree(run.folder("tree"))
        a = Avp(tree, run.path / "data")
        a.run = run
        a.port = free_port()
        yield a
        a("down")


def test_says_what_is_wrong(avp):
    for args, text in ((("up", "--port", "99999"), "1 to 65535"),
                       (("up", "--workers", "x"), "number"),
                       (("up", "--nothing"), "--nothing"),
                       (("fly",), "no command fly"),
                       (("logs", "mysql"), "mysql")):
        p = avp(*args, check=False)
        assert p.returncode == 2 and text in p.stderr, p
    p = avp("token", check=False)
    assert p.returncode == 1 and "avp up" in p.stderr
    p = avp("status", check=False)
    assert p.returncode == 1 and p.stdout.count("not running") == 4
    assert "Nothing is running" in avp("down").stdout
    usage = avp("--help", data=False).stdout
    assert "bench" in usage and "up" in usage


def test_up_from_nothing(avp):
    p = avp("up", "--port", str(avp.port), timeout=590)
    avp.out = p.stdout
    assert re.search(r"\d+ playlists, \d+ segments", p.stdout), p.stdout
    st = json.loads(avp("status", "--json").stdout)
    assert [s["name"] for s in st["services"]] == ["postgres", "redis",
                                                   "nginx", "workerd"]
    assert all(s["pid"] and s["address"] for s in st["services"])
    assert st["url"] == f"http://localhost:{avp.port}"
    assert st["data"] == str(avp.data)
    avp.pids = {s["name"]: s["pid"] for s in st["services"]}
    mode = (avp.data / "avp.env").stat().st_mode
    assert mode & 0o077 == 0


def test_what_it_prints_works(avp):
    url = re.search(r"Open +(\S+)", avp.out).group(1)
    seen = play(url, rate=4)
    assert seen["ended"] and seen["audioBytes"] > 0
    token = avp("token").stdout.splitlines()[-1]
    r = httpx.get(f"http://localhost:{avp.port}/api/v1/videos",
                  headers={"Authorization": f"Bearer {token}"})
    assert r.status_code == 200
    assert r.json()["data"][0]["title"] == "Sample"
    printed = re.search(r"Token +(\S+)", avp.out).group(1)
    assert printed.count(".") == 2
    admin = avp("token", "--user", "root@example.com",
                "--admin").stdout.splitlines()[-1]
    r = httpx.get(f"http://localhost:{avp.port}/api/v1/stats",
                  headers={"Authorization": f"Bearer {admin}"})
    assert r.json()["totalVideos"] == 1


def test_services_do_not_run_as_root(avp):
    if os.geteuid() != 0:
        return
    for name in ("postgres", "redis", "workerd"):
        status = pathlib.Path(f"/proc/{avp.pids[name]}/status").read_text()
        assert re.search(r"^Uid:\s+(\d+)", status, re.M).group(1) != "0", name
    kids = subprocess.run(["ps", "-o", "uid=", "--ppid",
                           str(avp.pids["nginx"])], capture_output=True,
                          text=True).stdout.split()
    assert kids and "0" not in kids


def test_up_again_changes_nothing(avp):
    p = avp("up", "--port", str(avp.port))
    assert "Starting" not in p.stdout
    st = json.loads(avp("status", "--json").stdout)
    assert {s["name"]: s["pid"] for s in st["services"]} == avp.pids


def test_up_mends_what_died(avp):
    os.kill(avp.pids["workerd"], signal.SIGKILL)
    wait_until(lambda: avp("status", check=False).returncode == 1)
    avp("up", "--no-sample", "--port", str(avp.port))
    st = json.loads(avp("status", "--json").stdout)
    assert {s["name"] for s in st["services"]
            if s["pid"] != avp.pids[s["name"]]} == {"workerd"}


def test_port_that_is_taken(avp):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        taken = s.getsockname()[1]
        p = avp("up", "--no-sample", "--port", str(taken), check=False)
        assert p.returncode == 1
        assert str(taken) in p.stderr and "--port" in p.stderr
    avp("up", "--no-sample", "--port", str(avp.port))


def test_down_leaves_nothing(avp):
    assert "workerd" in avp("down").stdout
    wait_until(lambda: not processes_of(avp.data), 15,
               "no process of the data folder is left")
    for f in (avp.data / "run").glob("*.pid"):
        raise AssertionError(f)
    # and comes back with everything
    avp("up", "--no-sample", "--port", str(avp.port))
    token = avp("token").stdout.splitlines()[-1]
    r = httpx.get(f"http://localhost:{avp.port}/api/v1/videos",
                  headers={"Authorization": f"Bearer {token}"})
    assert r.json()["pagination"]["total"] == 1
    avp("down")
    assert processes_of(avp.data) == []


def test_without_root(avp):
    """Everything that is installed suffices for a plain user."""
    if os.geteuid() != 0:
        return                      # then all tests above were this one
    user = "nobody"
    u = pwd.getpwnam(user)
    data = avp.run.folder("data-of-nobody", 0o700)
    os.chown(data, u.pw_uid, u.pw_gid)
    subprocess.run(["chown", "-R", f"{u.pw_uid}:{u.pw_gid}", str(avp.tree)],
                   check=True)
    a = Avp(avp.tree, data, user)
    try:
        a("up", "--no-sample", "--port", str(free_port()))
        assert a("token").stdout.count(".") == 2
    finally:
        a("down")
    assert processes_of(data) == []
