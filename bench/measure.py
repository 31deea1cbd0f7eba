"""What a command costs: CPU seconds and peak memory of its process tree."""

import dataclasses
import os
import statistics
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A command that did not do what is measured."""


@dataclasses.dataclass
class Usage:
    cpu: float          # user + system, s
    wall: float         # s
    rss: int            # bytes, of the largest process
    foreign: float      # cores that others used meanwhile

    def __add__(self, other):
        """One after the other."""
        wall = self.wall + other.wall
        return Usage(self.cpu + other.cpu, wall, max(self.rss, other.rss),
                     (self.foreign * self.wall + other.foreign * other.wall)
                     / max(wall, 1e-9))


def busy():
    """CPU seconds that the machine has spent so far; idle and waiting for
    disks are not among them."""
    with open("/proc/stat") as f:
        t = [int(x) for x in f.readline().split()[1:9]]
    return (sum(t) - t[3] - t[4]) / TICKS


def usage_of(argv, *, env=None, cwd=None, on_line=None):
    """Runs it to its end; -> Usage.  wait4 counts the process and all those
    that it has waited for.  What it says on stderr is given line by line to
    on_line(seconds since the start, line) and is part of Failed."""
    was = busy()
    start = time.monotonic()
    p = subprocess.Popen([str(a) for a in argv], env=env, cwd=cwd, text=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE)
    said = []

    def listen():
        for line in p.stderr:
            if on_line:
                on_line(time.monotonic() - start, line)
            said.append(line)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        _, status, r = os.wait4(p.pid, 0)
    except BaseException:
        p.kill()
        raise
    wall = time.monotonic() - start
    p.returncode = os.waitstatus_to_exitcode(status)
    thread.join()
    p.stderr.close()
    if p.returncode:
        raise Failed(f"{' '.join(map(str, argv))}\nexit {p.returncode}\n"
                     + "".join(said[-20:]))
    cpu = r.ru_utime + r.ru_stime
    return Usage(cpu, wall, r.ru_maxrss * 1024,
                 max(0.0, (busy() - was - cpu) / max(wall, 1e-9)))


def median(runs):
    """The Usage in the middle, each number for itself."""
    return Usage(*(statistics.median(getattr(u, f.name) for u in runs)
                   for f in dataclasses.fields(Usage)))


def pin(cores):
    """This process and its children on so many cores; -> how many it got."""
    mine = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, mine)
    return len(mine)


def machine():
    """For the record beside the numbers."""
    model = "?"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": os.uname().release,
            "load": os.getloadavg()[0]}
