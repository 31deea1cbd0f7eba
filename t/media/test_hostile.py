"""Inputs that must fail well, or come out in spite of it (HOSTILE 141-159),
and the media process's own manners."""

import json
import os
import signal
import struct
import subprocess
import time

import pytest

from conftest import ALL_CONTAINERS, WORKERD, ffmpeg, transcode
from rig.run import BUILD, wait_until
from verify import decode

SMALL = ["-f", "lavfi", "-i", "testsrc2=s=192x108:r=25:d=6"]
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]


def refuse(src, run, **kw):
    """The code by which a source is refused; it must be quick and clean."""
    begin = time.monotonic()
    job = transcode(src, run.path / "out", check=False, timeout=60, **kw)
    assert time.monotonic() - begin < 45
    assert job.doc is None and not job.output.files("**/*.mp4")
    return job.error


def put(run, name, data):
    path = run.path / name
    path.write_bytes(data)
    return path


def test_what_is_no_video_container(run, made):
    m3u8 = b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n/etc/passwd\n"
    for data, code in (
            (b"", "invalid_media"),
            (b"\0", "invalid_media"),
            (bytes(65536), "invalid_media"),
            (m3u8, "unsupported_format"),
            (b"ffconcat version 1.0\nfile /etc/passwd\n",
             "unsupported_format"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
            (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=video 1 RTP/AVP 96",
             "unsupported_format"),
            (b"PK\3\4" + bytes(200), "unsupported_format"),
            (b"\x89PNG\r\n\x1a\n" + bytes(200), "unsupported_format")):
        assert refuse(put(run, "x.mp4", data), run) == code, data[:40]


def test_only_allowed_containers(run, made):
    src = made("a.mkv", *SMALL, "-t", "1", *H264)
    assert refuse(src, run, allow="mp4,mov,avi") == "unsupported_format"
    assert transcode(src, run.path / "out", "--formats", "mp4", allow="mkv")


def test_a_playlist_cannot_reach_other_files(run, made):
    """The bytes after an ftyp box are a playlist; nothing is opened."""
    secret = made("secret.ts", *SMALL, "-t", "1", *H264)
    data = struct.pack(">I", 16) + b"ftypisom\0\0\0\0" + (
        f"#EXTM3U\n#EXTINF:6,\n{secret}\n").encode()
    assert refuse(put(run, "x.mp4", data), run) == "invalid_media"


def test_external_references_are_not_followed(run, made):
    """dref of a MOV naming another file (HOSTILE 155)."""
    src = made("a.mov", *SMALL, "-t", "1", *H264)
    data = src.read_bytes().replace(
        b"url \0\0\0\1", b"url \0\0\0\0")      # not self-contained
    job = transcode(put(run, "b.mov", data), run.path / "out", "--formats",
                    "mp4", check=False)
    assert job.code in (0, 1)


@pytest.mark.parametrize("codec, args", [
    ("magicyuv", ["-c:v", "magicyuv", "-pix_fmt", "yuv420p"]),
    ("ffv1", ["-c:v", "ffv1"]),
    ("rawvideo", ["-c:v", "rawvideo"]),
])
def test_codecs_that_are_not_decoded(run, made, codec, args):
    src = made("a.avi", *SMALL, "-t", "1", *args)
    assert refuse(src, run) == "unsupported_codec"


def test_sound_that_is_not_decoded_is_left_out(run, made):
    src = made("a.mkv", *SMALL, "-f", "lavfi", "-i", "sine=d=2", "-t", "2",
               *H264, "-c:a", "wavpack")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    assert job.doc["source"]["audioCodec"] is None
    assert "wavpack" in job.warnings


def test_cover_art_is_no_video(run, made):
    cover = made("c.jpg", "-f", "lavfi", "-i", "color=red:s=100x100",
                 "-frames:v", "1")
    src = made("a.mp4", "-f", "lavfi", "-i", "sine=d=2", "-i", cover, "-map",
               "0", "-map", "1", "-c:a", "aac", "-c:v", "mjpeg",
               "-disposition:v", "attached_pic")
    assert refuse(src, run) == "no_video"


def test_encrypted(run, made):
    src = made("a.mp4", *SMALL, "-t", "1", *H264, "-encryption_scheme",
               "cenc-aes-ctr", "-encryption_key", "0" * 32,
               "-encryption_kid", "1" * 32)
    assert refuse(src, run) == "encrypted"


def test_too_many_streams(run, made):
    args = []
    for i in range(40):
        args += ["-map", "0:v"] if i == 0 else ["-map", "1:a"]
    src = made("a.mkv", *SMALL, "-f", "lavfi", "-i", "sine=d=1", "-t", "1",
               *args, *H264, "-c:a", "pcm_s16le")
    assert refuse(src, run) == "too_many_streams"


def test_resolution_too_large(run, made):
    src = made("a.mkv", "-f", "lavfi", "-i", "color=s=8192x8192:r=1:d=1",
               "-c:v", "mjpeg", "-frames:v", "1")
    assert refuse(src, run) == "resolution_too_large"


# --- time bombs --------------------------------------------------------------

def test_gap_bomb(run, made):
    """Two frames an hour apart are not 90,000 frames."""
    src = made("a.mkv", "-f", "lavfi", "-i", "testsrc2=s=64x64:r=25:d=0.2",
               "-vf", "setpts='if(lt(N,4),N/25,3600)/TB'", "-fps_mode",
               "passthrough", *H264)
    assert refuse(src, run) in ("frame_limit", "duration_too_long")


def test_frame_flood(run, made):
    src = made("a.mp4", "-f", "lavfi", "-i", "testsrc2=s=32x32:r=10000",
               "-frames:v", "4000", *H264, "-video_track_timescale", "10000")
    assert refuse(src, run) == "frame_limit"


def test_duration_claimed_too_long(run, made):
    src = made("a.mkv", *SMALL, *H264)
    job = transcode(src, run.path / "out", "--max-duration", "3",
                    check=False)
    assert job.error == "duration_too_long"


def test_wrong_claims_of_duration(run, made):
    """mvhd, tkhd and mdhd say a day: what is there is what comes out."""
    src = made("a.mkv", *SMALL, *H264)
    data = bytearray(src.read_bytes())
    at = data.find(b"\x44\x89\x88")          # Duration, a double
    assert at > 0
    data[at + 3:at + 11] = struct.pack(">d", 20000e3)
    job = transcode(put(run, "b.mkv", data), run.path / "out", "--formats",
                    "mp4")
    assert abs(job.doc["source"]["duration"] - 6) < 0.1
    assert "claims" in job.warnings


def test_no_claim_of_duration(run, made):
    """As browsers record: no duration, no index, sizes not known."""
    src = made("a.webm", *SMALL, "-f", "lavfi", "-i", "sine=d=6", "-c:v",
               "libvpx", "-deadline", "realtime", "-c:a", "libopus", "-live",
               "1", "-f", "webm")
    job = transcode(src, run.path / "out", "--formats", "mp4,hls")
    assert abs(job.doc["source"]["duration"] - 6) < 0.1
    job.output.check(frames=150, fps=25)


# --- damaged files -----------------------------------------------------------

@pytest.mark.parametrize("ending, args", [
    ("mp4", ["-movflags", "+faststart"]), ("mkv", []), ("avi", []),
])
def test_truncated(run, made, ending, args):
    src = made(f"a.{ending}", "-f", "lavfi", "-i",
               "testsrc2=s=320x180:r=25:d=20", "-f", "lavfi", "-i",
               "sine=d=20", *H264, "-c:a", "mp2" if ending == "avi" else "aac",
               *args)
    data = src.read_bytes()

    half = put(run, f"half.{ending}", data[:len(data) // 2])
    assert refuse(half, run) == "invalid_media"

    most = put(run, f"most.{ending}", data[:len(data) * 96 // 100])
    job = transcode(most, run.path / "out2", "--formats", "mp4")
    assert "missing" in job.warnings
    assert 18 <= job.doc["source"]["duration"] < 20


def test_truncated_without_index(run, made):
    src = made("a.mp4", *SMALL, *H264)       # moov behind mdat
    data = src.read_bytes()
    assert refuse(put(run, "b.mp4", data[:-200]), run) == "invalid_media"


def test_damaged_in_the_middle(run, made):
    src = made("a.ts", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=8",
               *H264, "-g", "25")
    data = bytearray(src.read_bytes())
    for at in range(len(data) // 3, len(data) // 3 + 20000):
        data[at] = at * 7 & 255
    job = transcode(put(run, "b.ts", data), run.path / "out", "--formats",
                    "mp4")
    got = decode(job.output.folder / "mp4" /
                 f"{job.rungs('mp4')[0]}.mp4")
    assert 6 <= got["v"][-1] <= 8.2


def test_noise_in_a_good_container(run, made):
    src = made("a.mkv", *SMALL, *H264)
    data = bytearray(src.read_bytes())
    for at in range(2000, len(data) - 500):
        data[at] ^= at * 31 & 255
    job = transcode(put(run, "b.mkv", data), run.path / "out", check=False)
    assert job.error == "invalid_media"


@pytest.mark.parametrize("box, at", [("stts", 4), ("stsz", 8), ("stsc", 4),
                                     ("ctts", 4)])
def test_box_bombs(run, made, box, at):
    """Entry counts of 2^32-1 (HOSTILE 146)."""
    src = made("a.mp4", *SMALL, *H264, "-bf", "2", "-movflags", "+faststart")
    data = bytearray(src.read_bytes())
    where = data.find(box.encode())
    data[where + 4 + at:where + 8 + at] = b"\xff\xff\xff\xff"
    begin = time.monotonic()
    job = transcode(put(run, "b.mp4", data), run.path / "out", "--formats",
                    "mp4", check=False, timeout=60)
    assert time.monotonic() - begin < 30
    assert job.code == 0 or job.error in ("invalid_media", "frame_limit",
                                          "duration_too_long")


# --- the media process -------------------------------------------------------

JOB = {"formats": ["mp4", "hls"], "qualities": ["480p"], "webmCodec": "av1",
       "early": True, "order": "auto", "allowed": ALL_CONTAINERS.split(","),
       "maxDuration": 21600, "threads": 2, "sandbox": BUILD.name == "build"}


class Child:
    """`workerd media` as the supervisor starts it."""

    def __init__(self, src, folder, job=JOB):
        folder.mkdir(exist_ok=True)
        source = os.open(src, os.O_RDONLY)
        out = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.messages, write = os.pipe()
        moved = []
        # above the numbers that they will have in the child
        for fd in (source, out, write):
            new = os.dup(fd)
            while new < 20:
                moved.append(new)
                new = os.dup(fd)
            os.close(fd)
            moved.append(new)
        a, b, c = [fd for fd in moved if fd >= 20]

        def arrange():
            os.setsid()
            for number, fd in ((3, a), (4, b), (5, c)):
                os.dup2(fd, number)

        self.process = subprocess.Popen(
            [WORKERD, "media"], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={},
            pass_fds=(3, 4, 5), preexec_fn=arrange)
        for fd in moved:
            os.close(fd)
        self.process.stdin.write(
            job if isinstance(job, bytes) else json.dumps(job).encode())
        self.process.stdin.close()
        self.stdin_closed = True

    def end(self, timeout=120):
        """(exit code, messages, stderr)."""
        with os.fdopen(self.messages) as f:
            lines = [json.loads(x) for x in f]
        err = self.process.stderr.read().decode(errors="replace")
        code = self.process.wait(timeout)
        self.process.stderr.close()
        return code, lines, err


def test_child_tells_and_ends(run, made):
    src = made("a.mp4", *SMALL, *H264)
    code, messages, err = Child(src, run.path / "out").end()
    assert code == 0, (messages, err)
    kinds = [m["t"] for m in messages]
    assert kinds[0] == "plan" and kinds[-1] == "done"
    assert "playable" in kinds
    if JOB["sandbox"]:
        assert "seccomp" in err
    doc = messages[-1]["doc"]
    assert {r["path"] for r in doc["results"]} == {"mp4/108p.mp4",
                                                   "hls/108p.m3u8"}


def test_child_tells_errors(run):
    src = put(run, "x.mp4", b"\0" * 5000)
    code, messages, _ = Child(src, run.path / "out").end()
    assert code == 1
    assert messages[-1]["t"] == "error"
    assert messages[-1]["code"] == "invalid_media"


@pytest.mark.parametrize("job", [
    b"", b"[]", b"{", b'{"formats":["exe"]}', b'{"threads":0}',
    b'{"unknown":1}', b'{"early":1}', b'{"formats":[]}',
    b'{"early":true,"early":false}', b'{"passthrough":"on"}',
    b'{"passthrough":true}'])
def test_child_refuses_a_job_it_does_not_understand(run, job):
    src = put(run, "x.mp4", b"\0" * 5000)
    code, messages, _ = Child(src, run.path / "out", job).end()
    assert code == 1 and messages[-1]["t"] == "error"


def slow(made):
    return made("long.mp4", "-f", "lavfi", "-i",
                "testsrc2=s=1280x720:r=30:d=60", *H264)


def test_child_ends_at_sigterm(run, made):
    child = Child(slow(made), run.path / "out")
    wait_until(lambda: list((run.path / "out").rglob("*.m4s")), 60,
               "the first segment")
    os.kill(child.process.pid, signal.SIGTERM)
    assert child.process.wait(5) == -signal.SIGTERM
    child.end()


def test_child_ends_when_nobody_listens(run, made):
    child = Child(slow(made), run.path / "out")
    wait_until(lambda: list((run.path / "out").rglob("*.m4s")), 60,
               "the first segment")
    os.close(child.messages)
    assert child.process.wait(20) == 1
    child.process.stderr.close()
