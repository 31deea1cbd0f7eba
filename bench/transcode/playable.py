"""How soon a video can be played, and how fast its playable pass runs."""

import json
import shutil
import statistics

import recipe
from measure import usage_of


def first_segment(binary, src, out, *options):
    """Seconds from the start of the media process to `playable`, by which
    time the live master, a segment of the lowest rung and of the sound, and
    the poster are there to be served; -> (seconds, files there)."""
    seen = {}

    def line(at, text):
        if text.startswith("{") and json.loads(text)["t"] == "playable":
            seen["at"] = at
            seen["files"] = sorted(
                str(p.relative_to(out)) for p in (out / "hls").rglob("*")
                if p.is_file())

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    usage_of(recipe.workerd(binary, src, out, *options),
             env=recipe.environment(), on_line=line)
    if "at" not in seen:
        raise AssertionError("it was never playable")
    for name in ("hls/live-master.m3u8", "hls/480p/s00000.m4s"):
        if name not in seen["files"]:
            raise AssertionError(f"playable without {name}: {seen['files']}")
    return seen["at"]


def pass_speed(binary, source, out):
    """Seconds of video a second, of what the playable pass does: the lowest
    rung, the sound and the poster, alone."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    u = usage_of(recipe.workerd(binary, source.path, out, "--formats",
                                "mp4,hls", "--qualities", "480p"),
                 env=recipe.environment())
    return source.duration / u.wall, u


def measure(binary, source, out, runs, *options):
    """(median seconds to playable, all of them, median speed)."""
    times = [first_segment(binary, source.path, out, *options)
             for _ in range(runs)]
    speeds = [pass_speed(binary, source, out)[0] for _ in range(runs)]
    return statistics.median(times), times, statistics.median(speeds)
