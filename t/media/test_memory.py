"""Memory must not grow with the length of a video."""

import os
import subprocess

from conftest import WORKERD
from rig.media import media


def peak(src, folder):
    """Bytes that `workerd transcode` had in memory at most."""
    args = [WORKERD, "transcode", "--quiet", "--formats", "mp4,hls",
            "--qualities", "480p", "--early", "off", src, folder]
    if WORKERD.parent.name != "build":
        args[2:2] = ["--sandbox", "off"]
    p = subprocess.Popen([str(a) for a in args])
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = status
    assert status == 0
    return usage.ru_maxrss * 1024


def test_length_costs_no_memory(run):
    """Three times as long: the same peak, within 5 %.  How full the queues are
    when it is reached is chance (3 % up and down between runs of one clip, and
    once 6 % up), so each clip has three runs, in turns, and its least counts:
    what a length really took would be in all of them."""
    peaks = {"19s": [], "62s": []}
    for n in range(3):
        for length, seen in peaks.items():
            seen.append(peak(media(f"bbb-1080p25-{length}.mp4"),
                             run.path / f"{length}-{n}"))
    assert min(peaks["62s"]) < 1.05 * min(peaks["19s"]), peaks
