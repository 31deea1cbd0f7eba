"""Memory is what the plan says at most, and does not grow with the length."""

import json
import os
import subprocess

import pytest

from conftest import WORKERD
from rig.media import media


def peak(src, folder, *options):
    """Bytes that `workerd transcode` had in memory at most, and its plan."""
    args = [WORKERD, "transcode", "--quiet", "--messages", "--passthrough",
            "off", *options, src, folder]
    if WORKERD.parent.name != "build":
        args[2:2] = ["--sandbox", "off"]
    p = subprocess.Popen([str(a) for a in args], stderr=subprocess.PIPE,
                         text=True)
    said = p.stderr.read()
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = status
    assert status == 0, said
    plan = next(json.loads(x) for x in said.splitlines() if '"plan"' in x)
    return usage.ru_maxrss * 1024, plan


def test_length_costs_no_memory(run):
    """Three times as long: the same peak, within 5 %.  How full the queues are
    when it is reached is chance (3 % up and down between runs of one clip, and
    once 6 % up), so each clip has three runs, in turns, and its least counts:
    what a length really took would be in all of them."""
    peaks = {"19s": [], "62s": []}
    for n in range(3):
        for length, seen in peaks.items():
            seen.append(peak(media(f"bbb-1080p25-{length}.mp4"),
                             run.path / f"{length}-{n}", "--formats",
                             "mp4,hls", "--qualities", "480p", "--early",
                             "off")[0])
    assert min(peaks["62s"]) < 1.05 * min(peaks["19s"]), peaks


@pytest.fixture(scope="module")
def clips(module_run):
    """Pictures that are hard on decoders, filters and encoders."""
    noise = "noise=alls=20:allf=t"

    def make(name, size, seconds, *codec):
        path = module_run.path / name
        if not path.exists():
            subprocess.run(
                ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi",
                 "-i", f"testsrc2=s={size}:r=25:d={seconds},{noise}", *codec,
                 path], check=True, timeout=200)
        return path

    return {
        "refs": lambda: make("refs.mp4", "1280x720", 2, "-c:v", "libx264",
                             "-preset", "ultrafast", "-refs", "16", "-bf", "8",
                             "-pix_fmt", "yuv420p"),
        "hdr": lambda: make("hdr.mp4", "1280x720", 2, "-c:v", "libx265",
                            "-preset", "ultrafast", "-pix_fmt", "yuv420p10",
                            "-tag:v", "hvc1", "-x265-params",
                            "log-level=none:colorprim=bt2020:"
                            "transfer=smpte2084:colormatrix=bt2020nc"),
        "alpha": lambda: make("alpha.mov", "1280x720", 1, "-c:v", "prores_ks",
                              "-profile:v", "4444", "-pix_fmt",
                              "yuva444p10le"),
        "4k60": lambda: media("portrait_4k60.mp4"),
    }


PROFILE = {"base": "quality", "formats": ["mp4", "hls"],
           "h264": {"preset": "slow"}}
HEVC = {"base": "balanced", "formats": ["hls"], "rungs": [
    {"name": "480p"}, {"name": "720p", "hevc": True}]}


@pytest.mark.parametrize("clip, options", [
    ("4k60", ()),
    ("refs", ("--threads", "16")),
    ("refs", ("--threads", "1", "--formats", "webm", "--webm", "vp9")),
    ("refs", ("--profile", PROFILE)),
    ("refs", ("--profile", HEVC)),
    ("hdr", ()),
    ("alpha", ("--formats", "mp4")),
])
def test_the_plan_has_room(run, clips, clip, options):
    """What jobs are admitted by is enough, and not far too much: a worker
    that runs less than it could is slow."""
    if PROFILE in options or HEVC in options:
        path = run.path / "profile.json"
        path.write_text(json.dumps(options[1]))
        options = ("--profile", path)
    used, plan = peak(clips[clip](), run.path / "out", *options)
    room = plan["memoryBytes"]
    print(f"{used / 1e6:.0f} of {room / 1e6:.0f} MB")
    if WORKERD.parent.name == "build":  # sanitizers keep more than is used
        assert used <= room, plan["text"]
    assert room < 2.2 * used, plan["text"]
