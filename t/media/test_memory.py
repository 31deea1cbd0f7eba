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
    """Three times as long: the same peak, within 5 %."""
    short = peak(media("bbb-1080p25-19s.mp4"), run.path / "short")
    long = peak(media("bbb-1080p25-62s.mp4"), run.path / "long")
    assert long < 1.05 * short, (short, long)
