"""Subtitles and captions, as WebVTT."""

import re

from conftest import transcode
from verify import parse_media, parse_master

PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=6"]
VIDEO = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
FAST = ["--formats", "hls"]

SRT = """1
00:00:00,500 --> 00:00:01,500
<i>Tom</i> & <b>Jerry</b>
and more

2
00:00:01,800 --> 00:00:04,500
{\\an8}over the cut

3
00:00:20,000 --> 00:00:21,000
after the end
"""


def texts(job):
    return parse_master(job.output.hls / "master.m3u8").texts


def cues(path):
    head, *blocks = path.read_text().strip().split("\n\n")
    assert head.startswith("WEBVTT")
    found = []
    for block in blocks:
        times, *lines = block.split("\n")
        a, b = (sum(float(x) * m for x, m in zip(t.split(":"), (3600, 60, 1)))
                for t in times.split(" --> "))
        found.append((round(a, 3), round(b, 3), "\n".join(lines)))
    return found


def subtitled(run, made, name, codec, *extra):
    srt = run.path / "in.srt"
    srt.write_text(SRT)
    return made(name, *PICTURE, "-i", srt, *VIDEO, "-c:s", codec, *extra)


WANT = [(0.5, 1.5, "<i>Tom</i> &amp; <b>Jerry</b>\nand more"),
        (1.8, 4.5, "over the cut")]


def test_kinds_of_text(run, made):
    for name, codec in (("a.mkv", "subrip"), ("b.mkv", "ass"),
                        ("c.mp4", "mov_text"), ("d.mkv", "webvtt")):
        src = subtitled(run, made, name, codec, "-metadata:s:s:0",
                        "language=fre", "-disposition:s:0", "forced")
        job = transcode(src, run.path / f"out-{name}", *FAST)
        found = cues(job.output.hls / "text-1/all.vtt")
        assert [(round(a, 1), round(b, 1), t) for a, b, t in found] == WANT, (
            name)
        track, = texts(job)
        assert track["LANGUAGE"] == "fr" and track["FORCED"] == "YES"
        assert job.doc["subtitles"] == [{
            "language": "fr", "label": "French", "kind": "subtitles",
            "forced": True}]
        # a cue that lies across a cut is in both segments
        _, *segments = parse_media(job.output.hls / track["URI"]).segments
        assert any("over the cut" in p.read_text() for _, p in segments)


def test_text_keeps_to_the_picture(run, made):
    """A video that begins at 3 s takes its subtitles along."""
    src = subtitled(run, made, "late.mkv", "subrip", "-output_ts_offset", "3")
    job = transcode(src, run.path / "out", *FAST)
    for (a, b, text), (c, d, want) in zip(
            cues(job.output.hls / "text-1/all.vtt"), WANT):
        assert abs(a - c) < 0.05 and abs(b - d) < 0.05 and text == want


def test_pictures_of_text_are_left_out(run, made):
    srt = run.path / "in.srt"
    srt.write_text(SRT)
    src = made("v.mkv", *PICTURE, "-f", "lavfi", "-i",
               "color=s=64x48:r=25:d=1", "-i", srt, "-map", "0", "-map", "2",
               *VIDEO, "-c:s", "subrip")
    data = src.read_bytes()
    assert data.count(b"S_TEXT/UTF8") == 1
    src.write_bytes(data.replace(b"S_TEXT/UTF8", b"S_HDMV/PGS\0"))
    job = transcode(src, run.path / "out", *FAST)
    assert texts(job) == [] and "pictures, not text" in job.warnings


# --- captions ----------------------------------------------------------------

def parity(x):
    return x if bin(x).count("1") & 1 else x | 0x80


def sei(pairs, kind=0, odd=True):
    """A NAL unit with one picture's caption triplets (ATSC A/53)."""
    data = b""
    for a, b in pairs:
        a, b = (parity(a), parity(b)) if odd else (a, b)
        data += bytes([0xFC | kind, a, b])
    body = (b"\xb5\x00\x31GA94\x03" + bytes([0xC0 | len(pairs), 0xFF]) + data
            + b"\xff")
    raw = b"\x06\x04" + bytes([len(body)]) + body + b"\x80"
    raw = re.sub(rb"\x00\x00([\x00-\x03])",
                 lambda m: b"\0\0\3" + m.group(1), raw)
    return b"\x00\x00\x00\x01" + raw


def captioned(run, made, kind=0, odd=True):
    """HELLO THERE, on from frame 30 and off at frame 80 (25 fps)."""
    words = b"HELLO THERE "
    load = [(0x14, 0x20), (0x14, 0x20), (0x14, 0x70), (0x14, 0x70)]
    load += list(zip(words[::2], words[1::2]))
    at = {i + 5: p for i, p in enumerate(load)}
    at.update({30: (0x14, 0x2F), 31: (0x14, 0x2F), 80: (0x14, 0x2C),
               81: (0x14, 0x2C)})
    raw = made("raw.h264", *PICTURE, *VIDEO, "-bf", "0", "-x264-params",
               "aud=1:slices=1").read_bytes()
    access = re.split(rb"(?=\x00\x00\x00\x01\x09)", raw)[1:]
    assert len(access) == 150
    out = b""
    for i, unit in enumerate(access):
        aud = 6  # start code, type and one byte of payload
        out += (unit[:aud] + sei([at.get(i, (0, 0))], kind, odd)
                + unit[aud:])
    path = run.path / "cc.h264"
    path.write_bytes(out)
    return made("cc.mp4", "-r", "25", "-i", path, "-c", "copy")


def check_captions(job):
    (a, b, text), = cues(job.output.hls / "captions/all.vtt")
    assert text == "HELLO THERE"
    assert abs(a - 1.2) < 0.09 and abs(b - 3.2) < 0.09, (a, b)
    track, = texts(job)
    assert "transcribes-spoken-dialog" in track["CHARACTERISTICS"]
    assert job.doc["subtitles"][0]["kind"] == "captions"


def test_captions_in_the_pictures(run, made):
    src = captioned(run, made)
    assert b"GA94" in src.read_bytes()
    job = transcode(src, run.path / "out", "--formats", "mp4,hls,webm")
    check_captions(job)
    for path in job.output.folder.rglob("*.*"):
        if path.suffix in (".mp4", ".m4s", ".webm"):
            assert b"GA94" not in path.read_bytes(), path


def test_captions_without_parity(run, made):
    check_captions(transcode(captioned(run, made, odd=False),
                             run.path / "out", *FAST))


def test_captions_of_708_alone_are_told_of(run, made):
    job = transcode(captioned(run, made, kind=2), run.path / "out", *FAST)
    assert texts(job) == [] and "CEA-708" in job.warnings
