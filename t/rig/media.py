"""Clips for tests: real ones where they are, generated ones elsewhere.

AVP_MEDIA names a folder of real clips with a MANIFEST.tsv (default
../shared/media beside the repository).  Without it, clips of the same names
and kinds are made with the ffmpeg program, once, in build/media.
"""

import csv
import functools
import os
import pathlib

from .run import ROOT, log, run_command

SHARED = pathlib.Path(os.environ.get("AVP_MEDIA", ROOT / "../shared/media"))
MADE = ROOT / "build/media"


def _clip(size, rate, seconds, *, audio=True, channels=2, video=None,
          extra=()):
    args = ["-f", "lavfi", "-i",
            f"testsrc2=size={size}:rate={rate}:duration={seconds}"]
    if audio:
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
        args += ["-f", "lavfi", "-i",
                 f"sine=frequency=440:sample_rate=48000:duration={seconds},"
                 f"aformat=channel_layouts={layout}"]
        args += ["-c:a", "aac", "-b:a", "128k"]
    args += video or ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt",
                      "yuv420p", "-g", str(int(float(rate) * 4))]
    return [*args, *extra]


# name -> ffmpeg arguments, rungs that must come out (None: must be refused)
KINDS = {
    "bbb-1080p25-19s.mp4": (_clip("1920x1080", 25, 19.28),
                            "480p,720p,1080p"),
    "bbb-1080p25-62s.mp4": (_clip("1920x1080", 25, 62.28),
                            "480p,720p,1080p"),
    "bbb-720p25-5s-51.mp4": (_clip("1280x720", 25, 5.28, channels=6),
                             "480p,720p"),
    "bbb-480p24-30s-51.mp4": (_clip("854x480", 24, 30, channels=6), "480p"),
    "rails-video_without_audio_stream.mp4": (
        _clip("640x480", 25, 2, audio=False), "480p"),
    "rails-video_without_video_stream.mp4": (
        ["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"], None),
    "portrait.MOV": (_clip("480x854", 30, 2), "480p"),
    "testvideo-169.avi": (_clip("320x180", 25, 2, video=["-c:v", "mpeg4"]),
                          "180p@source"),
    "mdn-frog.webm": (_clip("640x360", 25, 2, audio=False, video=[
        "-c:v", "libvpx", "-deadline", "realtime"]), "360p@source"),
    "prores-422-lt-320x240.mov": (
        _clip("320x240", 25, 1, video=["-c:v", "prores_ks", "-profile:v",
                                       "1"]), "240p@source"),
    "xdcam-ex-1080i50.mov": (
        _clip("1920x1080", 25, 1, video=[
            "-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-top", "1",
            "-b:v", "20M"]), "480p,720p,1080p"),
    "sample_with_srt.mkv": (_clip("640x480", 25, 2), "480p"),
    "broken.mp4": (None, None),
}


@functools.lru_cache(None)
def media_set():
    """"shared" or "generated"; said once."""
    which = "shared" if (SHARED / "MANIFEST.tsv").is_file() else "generated"
    log(f"clips: {which} ({SHARED.resolve() if which == 'shared' else MADE})")
    return which


def media(name):
    """The path of a clip."""
    if media_set() == "shared":
        path = (SHARED / name).resolve()
        if not path.is_file():
            raise AssertionError(f"no clip {name!r} in {SHARED}")
        return path
    return _make(name)


def _make(name):
    if name not in KINDS:
        raise AssertionError(f"no recipe for the clip {name!r}")
    MADE.mkdir(parents=True, exist_ok=True)
    path = MADE / name
    if path.is_file():
        return path
    args, _ = KINDS[name]
    part = MADE / f".{os.getpid()}-{name}"
    if args is None:
        part.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" +
                         bytes(range(256)) * 16)
    else:
        run_command(["ffmpeg", "-v", "error", "-nostdin", "-y", *args,
                     "-fflags", "+bitexact", part], timeout=300)
    os.replace(part, path)
    return path


def manifest():
    """One dict per clip: the columns of MANIFEST.tsv, or for generated clips
    file, expect and rungs."""
    if media_set() == "shared":
        with open(SHARED / "MANIFEST.tsv", newline="") as f:
            return list(csv.DictReader(f, delimiter="\t"))
    return [{"file": name, "expect": "COMPLETE" if rungs else "REJECT",
             "rungs": rungs or ""} for name, (_, rungs) in KINDS.items()]
