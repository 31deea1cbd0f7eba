"""A run: one folder under /tmp, the processes in it, and their end.

A process belongs to a run when its command line, working folder or an open
file lies in the run's folder; so daemons, their children and orphans are
found without bookkeeping.  A guard process watches this one through a pipe
and cleans up when it dies without doing so (SIGKILL, a crash).
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("AVP_BUILD", "build")).resolve()


def log(text):
    print(f"rig: {text}", flush=True)


def is_asan():
    return BUILD.name.endswith("asan")


def wait_until(cond, timeout=10.0, what=None, step=0.02):
    """The first true value of cond(); AssertionError after `timeout` s."""
    end = time.monotonic() + timeout
    while True:
        value = cond()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(
                f"not within {timeout:g} s: {what or cond!r} (last: {value!r})")
        time.sleep(step)
        step = min(step * 1.3, 0.25)


_given = set()


def free_port():
    """A loopback TCP port that nobody has now, outside the range from which
    the kernel takes ports of outgoing connections, and never twice from here.
    """
    low = 32768
    try:
        low = int(pathlib.Path(
            "/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        pass
    start = 10240
    span = max(1000, min(low, 32768) - start)
    seed = int.from_bytes(os.urandom(4), "big")
    for i in range(span):
        port = start + (seed + i * 7) % span
        if port in _given:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise AssertionError("no free port")


def run_command(args, *, env=None, cwd=None, timeout=120, check=True,
                input=None, user=None):
    """subprocess.run with text output; a failure shows what was said."""
    kw = {}
    if user:
        import pwd
        u = pwd.getpwnam(user)
        kw = dict(user=u.pw_uid, group=u.pw_gid, extra_groups=[])
    p = subprocess.run([str(a) for a in args], env=env, cwd=cwd, text=True,
                       capture_output=True, timeout=timeout, input=input, **kw)
    if check and p.returncode != 0:
        raise AssertionError(
            f"{' '.join(map(str, args))}\nexit {p.returncode}\n"
            f"{p.stdout}\n{p.stderr}")
    return p


def nginx_version():
    out = run_command(["nginx", "-v"]).stderr
    return tuple(int(x) for x in re.search(r"nginx/(\d+)\.(\d+)\.(\d+)",
                                           out).groups())


def alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def processes_of(folder, but=()):
    """Pids of the processes that belong to `folder`."""
    folder = str(folder)
    found = []
    me = {os.getpid(), *but}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in me:
            continue
        base = f"/proc/{entry}"
        try:
            with open(f"{base}/stat", "rb") as f:
                state = f.read().rpartition(b")")[2].split()[0]
            if state == b"Z":
                continue
            with open(f"{base}/cmdline", "rb") as f:
                mine = folder.encode() in f.read()
            if not mine:
                cwd = os.readlink(f"{base}/cwd")
                mine = cwd == folder or cwd.startswith(folder + "/")
            if not mine:
                for fd in os.listdir(f"{base}/fd"):
                    try:
                        if os.readlink(f"{base}/fd/{fd}").startswith(
                                folder + "/"):
                            mine = True
                            break
                    except OSError:
                        pass
            if mine:
                found.append(int(entry))
        except OSError:
            continue
    return found


def end_processes(folder, but=(), grace=5.0):
    """SIGTERM, then SIGKILL, for all processes of `folder`."""
    end = time.monotonic() + grace
    told = set()
    while True:
        pids = processes_of(folder, but)
        if not pids:
            return
        late = time.monotonic() > end
        for pid in pids:
            if pid in told and not late:
                continue
            told.add(pid)
            for sig in ((signal.SIGKILL,) if late
                        else (signal.SIGCONT, signal.SIGTERM)):
                try:
                    os.kill(pid, sig)
                except OSError:
                    pass
        if time.monotonic() > end + 10:
            log(f"processes that do not die: {pids}")
            return
        time.sleep(0.05)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except OSError:
            pass


def guard(folder):
    """Body of the guard process: sleeps until the pipe closes."""
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    sys.stdin.buffer.read()
    if os.path.isdir(folder):
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


class Run:
    """The folder and everything that was started in it."""

    def __init__(self, name="avp-rig"):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-",
                                                  dir="/tmp"))
        os.chmod(self.path, 0o711)
        self._things = []
        self._guard = subprocess.Popen(
            [sys.executable, "-c",
             "import sys; sys.path.insert(0, sys.argv[1]);"
             "from rig.run import guard; guard(sys.argv[2])",
             str(ROOT / "t"), str(self.path)],
            stdin=subprocess.PIPE, start_new_session=True, cwd="/")

    def folder(self, name, mode=0o755):
        p = self.path / name
        p.mkdir(parents=True, exist_ok=True)
        os.chmod(p, mode)
        return p

    def add(self, thing):
        """`thing.stop()` will be called at the end, last added first."""
        self._things.append(thing)
        return thing

    def processes(self):
        return processes_of(self.path, {self._guard.pid})

    def close(self):
        problems = []
        try:
            for thing in reversed(self._things):
                try:
                    thing.stop()
                except Exception as e:          # the rest must stop as well
                    problems.append(f"{type(thing).__name__}: {e}")
            self._things = []
            end_processes(self.path, {self._guard.pid})
        finally:
            shutil.rmtree(self.path, ignore_errors=True)
            self._guard.stdin.close()
            self._guard.wait()
        if problems:
            raise AssertionError("while stopping: " + "; ".join(problems))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        try:
            if value is not None and os.environ.get("AVP_KEEP"):
                keep = f"{self.path}-kept"
                shutil.copytree(self.path, keep, dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("pg", "*.sock"))
                log(f"kept {keep}")
            self.close()
        except Exception:
            if value is None:
                raise
            import traceback
            traceback.print_exc()
