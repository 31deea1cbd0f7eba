"""What a job tells on its way: the plan, and progress as messages."""

import json
import struct
import subprocess
import time

import pytest

from conftest import ALL_CONTAINERS, WORKERD, transcode
from rig.run import BUILD

PLAIN = BUILD.name == "build"   # not slowed down by sanitizers or counters
CLIP = ["-f", "lavfi", "-i", "testsrc2=s=480x360:r=25:d=14"]
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]


def watch(src, folder, *options):
    """[(seconds since the start, message)], and how long it all took."""
    box = [] if PLAIN else ["--sandbox", "off"]
    begin = time.monotonic()
    p = subprocess.Popen(
        [WORKERD, "transcode", "--messages", "--allow", ALL_CONTAINERS, *box,
         *options, src, folder], stderr=subprocess.PIPE, text=True,
        env={"PATH": "/nonexistent", "LC_ALL": "C.UTF-8"})
    said = [(time.monotonic() - begin, json.loads(line)) for line in p.stderr
            if line.startswith("{")]
    p.stderr.close()
    assert p.wait() == 0
    return said, time.monotonic() - begin


def plain(made):
    return made("a.mp4", *CLIP, *X264)


def no_duration(made):
    return made("a.mkv", *CLIP, *X264, "-f", "matroska", "-live", "1")


def variable(made):
    return made("a.mp4", *CLIP, "-vf", "select='lt(n,150)+not(mod(n,3))'",
                "-fps_mode", "vfr", *X264)


def claims(seconds):
    def make(made):
        path = made("a.mkv", *CLIP, *X264)
        data = bytearray(path.read_bytes())
        at = data.index(b"\x44\x89\x88") + 3            # Duration, in ms
        struct.pack_into(">d", data, at, seconds * 1000)
        at = data.index(b"\x1c\x53\xbb\x6b")            # and no index
        data[at + 3] ^= 1
        path.write_bytes(data)
        return path
    return make


@pytest.mark.parametrize("make", [plain, no_duration, variable, claims(1000),
                                  claims(2)],
                         ids=["plain", "no-duration", "variable", "too-long",
                              "too-short"])
def test_progress(run, made, make):
    said, took = watch(make(made), run.path / "out", "--formats", "mp4,webm",
                       "--threads", "2")
    assert said[0][1]["t"] == "plan"
    told = [(t, m) for t, m in said if m["t"] == "progress"]
    shown = [m["progress"] for _, m in told]
    assert shown == sorted(shown) and shown[0] < 10 and shown[-1] <= 99
    assert len(told) <= 2 * took + 2
    assert {m["task"] for _, m in told} <= {
        "encoding 360p and WebM 360p", "finishing the files"}

    # it goes through the middle, neither stuck nor at the end at once
    if took > 3:
        assert [x for x in shown if 25 <= x <= 75], shown
        jumps = [b - a for a, b in zip(shown, shown[1:])]
        assert max(jumps) <= 50, shown

    # the time left is known from half way on at the latest, and is sane
    for t, m in told:
        assert -1 <= m["eta"] <= 20 * took + 20, (t, m)
        if 40 <= m["progress"] <= 70:
            assert 0 <= m["eta"] <= 4 * (took - t) + 3, (t, m, took)


PLANS = {
    "240p": (["testsrc2=s=320x240:r=25:d=6"], "mp4,webm,hls", []),
    "480p": (["testsrc2=s=640x480:r=25:d=5"], "mp4", []),
    "vp9": (["testsrc2=s=320x240:r=25:d=4"], "webm", ["--webm", "vp9"]),
}


@pytest.mark.parametrize("name", PLANS)
def test_plan_is_about_right(run, made, name):
    """Cost within a factor of two, stated before the start and in words."""
    source, formats, options = PLANS[name]
    src = made("a.mp4", "-f", "lavfi", "-i", *source, *X264)
    job = transcode(src, run.path / "out", "--formats", formats, *options)
    plan = job.messages[0]
    assert plan["t"] == "plan"
    took, most = job.doc["stats"]["cpuSeconds"], 2 if PLAIN else 20
    assert took / most < plan["cpuSeconds"] < took * 2, (took, plan)
    assert plan["passes"] == job.doc["stats"]["passes"]
    assert 50e6 < plan["memoryBytes"] < 1e9
    for word in ("mp4 h264", "fps", "pass 1:", "poster", "storyboard",
                 "CPU s", "MB"):
        assert word in plan["text"], plan["text"]
