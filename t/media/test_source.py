"""What is wrong with a source's end: cut off frames, storage that fails."""

import os

import pytest

from conftest import WORKERD, ffmpeg, transcode
from rig.run import BUILD, run_command
from verify import decode, run as tool

# pread() of what is open for reading only fails from an offset on
FAILING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>

static ssize_t get(int fd, void *p, size_t n, off_t at)
{
    static ssize_t (*real)(int, void *, size_t, off_t);

    if (real == NULL) {
        real = (ssize_t (*)(int, void *, size_t, off_t))
            dlsym(RTLD_NEXT, "pread");
    }
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY
        && at + (off_t)n > atoll(getenv("FAIL_FROM"))) {
        errno = EIO;
        return -1;
    }
    return real(fd, p, n, at);
}

ssize_t pread(int fd, void *p, size_t n, off_t at) { return get(fd, p, n, at); }
ssize_t pread64(int fd, void *p, size_t n, off_t at) { return get(fd, p, n, at); }
ssize_t __pread_chk(int fd, void *p, size_t n, off_t at, size_t room)
{ (void) room; return get(fd, p, n, at); }
ssize_t __pread64_chk(int fd, void *p, size_t n, off_t at, size_t room)
{ (void) room; return get(fd, p, n, at); }
"""


@pytest.fixture(scope="module")
def failing(module_run):
    source, lib = module_run.path / "fail.c", module_run.path / "fail.so"
    source.write_text(FAILING)
    run_command(["cc", "-shared", "-fPIC", "-O1", "-o", lib, source, "-ldl"])
    return lib


@pytest.mark.parametrize("ending,sound", [("mkv", 12), ("mp4", 12),
                                          ("avi", 12), ("mp4", 40)])
def test_storage_that_fails_is_no_end(run, made, failing, ending, sound):
    """A read error in mid-file: the job is tried again, and what came before
    is not taken for all of the video, nor of its sound."""
    src = made(f"a.{ending}", "-f", "lavfi", "-i",
               "testsrc2=size=640x360:rate=25:duration=12", "-f", "lavfi",
               "-i", f"sine=sample_rate=48000:duration={sound}", "-c:v",
               "mpeg4", "-q:v", "3", "-c:a", "aac",
               *(["-movflags", "faststart"] if ending == "mp4" else []))
    size = src.stat().st_size
    env = {"PATH": "/nonexistent", "LC_ALL": "C.UTF-8",
           "LD_PRELOAD": str(failing), "FAIL_FROM": str(size * 97 // 100)}
    env.update({k: v for k, v in os.environ.items()
                if k.endswith("_OPTIONS")})
    if BUILD.name != "build":
        env["ASAN_OPTIONS"] = ":".join(filter(None, [
            env.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    p = run_command([WORKERD, "transcode", "--sandbox", "off", "--formats",
                     "mp4,hls", "--quiet", src, run.path / "out"],
                    check=False, timeout=120, env=env)
    assert p.returncode == 1 and ": storage_error: " in p.stderr, p.stderr


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_frames_cut_off_before_the_last(run, made, ending):
    """Cut without encoding, the last frame in the file is shown after three
    that were cut off: no pause, and as many frames come out as are there."""
    whole = made("a.mp4", "-f", "lavfi", "-i",
                 "testsrc2=size=320x180:rate=25:duration=5", "-c:v", "libx264",
                 "-preset", "veryfast", "-pix_fmt", "yuv420p", "-x264-params",
                 "bframes=3:b-adapt=0:b-pyramid=none:scenecut=0:keyint=250")
    src = run.path / f"b.{ending}"
    ffmpeg("-i", whole, "-c", "copy", "-frames:v", "98", src)
    times = sorted(float(x.rstrip(",")) for x in tool(
        "ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of",
        "csv=p=0", src).split())
    assert len(times) == 98 and times[-1] - times[-2] > 0.15

    job = transcode(src, run.path / "out", "--formats", "mp4,hls")
    assert job.doc["source"]["frames"] == 98
    assert len(decode(run.path / "out/mp4/180p.mp4")["v"]) == 98


def test_a_gap_before_the_end_stays(run, made):
    """A gap with more than a frame after it is a pause."""
    src = made("a.mp4", "-f", "lavfi", "-i",
               "testsrc2=size=320x180:rate=25:duration=8,"
               "select='not(between(n,190,196))'", "-fps_mode", "vfr", "-c:v",
               "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    transcode(src, run.path / "out", "--formats", "mp4")
    assert len(decode(run.path / "out/mp4/180p.mp4")["v"]) == 200


@pytest.mark.parametrize("rate", [90, 120, 180, 240])
def test_divided_rates_have_no_frame_more(run, made, rate):
    src = made("a.mp4", "-f", "lavfi", "-i",
               f"testsrc2=size=160x90:rate={rate}:duration=2", "-c:v",
               "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    transcode(src, run.path / "out", "--formats", "mp4")
    want = 90 if rate == 90 else 120
    assert len(decode(run.path / "out/mp4/90p.mp4")["v"]) == want


def test_facts_are_such_as_the_supervisor_takes(run, made):
    """Frames a microsecond apart: what is told stays within the bounds of
    lib/media_message.c, or the job would count as crashed."""
    src = made("a.mp4", "-f", "lavfi", "-i",
               "testsrc2=size=160x90:rate=25:duration=0.8", "-c:v", "libx264",
               "-preset", "ultrafast", "-bf", "0", "-pix_fmt", "yuv420p",
               "-video_track_timescale", "1000000", "-bsf:v", "setts=ts=N")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    assert 1000 < job.doc["source"]["fps"] <= 100000
    assert 0 < job.doc["source"]["bitrate"] <= 10**11
