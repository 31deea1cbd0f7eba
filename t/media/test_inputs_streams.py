"""Which stream is the video, what is beside it, and files that are damaged.
docs/inputs.md has the map."""

import random

import pytest

from conftest import ffmpeg, transcode
from pixels import (LOSSLESS, corners, corners_of, numbered, numbers, raw,
                    raw_args)
from rig import boxes
from test_inputs_shape import out_of

SECOND = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2"]
SMALL = ["-f", "lavfi", "-i", "color=red:s=64x32:r=25:d=2"]


def with_first(run, name, first, *codec, maps=("1:v", "0:v"), extra=()):
    """Numbered pictures as the second stream, something else as the first."""
    good = numbered(run, "good.mkv", 50)
    src = run.path / name
    ffmpeg("-i", good, *first, *(x for m in maps for x in ("-map", m)),
           "-c", "copy", *codec, *extra, src)
    return src


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("codec", ["ffv1", "rawvideo", "huffyuv"])
def test_first_stream_has_a_codec_that_is_not_decoded(run, codec, default):
    src = with_first(run, "a.mkv", SECOND, "-c:v:0", codec, extra=[
        "-disposition:v:0", "default" if default else "0",
        "-disposition:v:1", "0" if default else "default"])
    assert numbers(out_of(src, run)[1]) == [*range(50)]


def test_first_stream_is_noise(run):
    """A codec that is decoded, of which nothing can be."""
    src = with_first(run, "a.mp4", SECOND, "-c:v:0", "mpeg4")
    data = bytearray(src.read_bytes())
    rnd = random.Random(1)
    starts = boxes.find(data, "moov", "trak", "mdia", "minf", "stbl", "stco")
    sizes = boxes.find(data, "moov", "trak", "mdia", "minf", "stbl", "stsz")
    chunks = boxes.find(data, "moov", "trak", "mdia", "minf", "stbl", "stsc")
    assert len(starts) == len(sizes) == len(chunks) == 2
    at, _ = starts[0]
    n = int.from_bytes(data[at + 4:at + 8], "big")
    mine = [int.from_bytes(data[at + 8 + 4 * i:at + 12 + 4 * i], "big")
            for i in range(n)]
    at, _ = starts[1]
    n = int.from_bytes(data[at + 4:at + 8], "big")
    other = [int.from_bytes(data[at + 8 + 4 * i:at + 12 + 4 * i], "big")
             for i in range(n)]
    (end,) = [e for k, _, _, e in boxes.boxes(data) if k == "mdat"]
    for start in mine:
        stop = min([x for x in other + mine if x > start] + [end])
        for i in range(start, stop):
            data[i] = rnd.randrange(1, 256)
    src.write_bytes(data)
    assert numbers(out_of(src, run)[1]) == [*range(50)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_first_stream_is_a_thumbnail(run, name):
    """A picture of a sixteenth of the size, marked as the default."""
    pics = raw(run, [corners(320, 160)] * 50)
    src = run.path / name
    small = SMALL
    ffmpeg(*raw_args(pics, "320x160"), *small, "-map", "1:v", "-map", "0:v",
           *LOSSLESS, *(["-disposition:v:0", "default", "-disposition:v:1",
                         "0"] if name != "a.ts" else []), src)
    job, path = out_of(src, run)
    assert (job.result("mp4")["width"], job.result("mp4")["height"]) == (
        320, 160)
    assert corners_of(path) == (0, 1, 2, 3)


def test_first_stream_is_a_still(run):
    """One picture, then a track that moves."""
    src = with_first(run, "a.mp4", ["-f", "lavfi", "-i",
                                    "color=red:s=64x32:r=25:d=0.04"],
                     "-c:v:0", "mjpeg", "-disposition:v:0", "default")
    assert numbers(out_of(src, run)[1]) == [*range(50)]


def test_first_stream_has_no_packets(run):
    src = with_first(run, "a.mkv", SMALL, "-c:v:0", "libx264", extra=[
        "-bsf:v:0", "noise=drop=1"])
    assert numbers(out_of(src, run)[1]) == [*range(50)]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_cover_art_beside_a_video(run, ending):
    cover = run.path / "c.png"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=640x480", "-frames:v", "1",
           cover)
    good = numbered(run, "good.mkv", 50)
    src = run.path / f"a.{ending}"
    if ending == "mkv":
        ffmpeg("-i", good, "-attach", cover, "-metadata:s:t",
               "mimetype=image/png", "-c", "copy", src)
    else:
        ffmpeg("-i", cover, "-i", good, "-map", "0", "-map", "1", "-c:v:0",
               "mjpeg", "-c:v:1", "copy", "-disposition:v:0", "attached_pic",
               src)
    job, path = out_of(src, run)
    assert numbers(path) == [*range(50)]
    assert job.result("mp4")["height"] == 32


def test_data_and_timecode_tracks(run):
    """tmcd, subtitles and chapters beside the picture change nothing of
    it."""
    text = run.path / "s.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    good = numbered(run, "good.mkv", 50)
    src = run.path / "a.mov"
    ffmpeg("-i", good, "-i", text, "-map", "0:v", "-map", "1", "-c:v", "copy",
           "-c:s", "mov_text", "-timecode", "01:00:00:00", src)
    assert len(boxes.find(src.read_bytes(), "moov", "trak")) == 3
    assert numbers(out_of(src, run)[1]) == [*range(50)]


# --- refused -----------------------------------------------------------------

def dolby(src, dst, profile):
    """An MP4 of HEVC with a dvcC: level 6, with RPU and base layer; that of
    profile 8 is compatible with HDR10."""
    ffmpeg("-i", src, "-c", "copy", "-tag:v", "hvc1", "-movflags",
           "+faststart", dst)
    data = bytearray(dst.read_bytes())
    dvcc = boxes.box("dvcC", bytes([1, 0, profile << 1, 6 << 3 | 0b101,
                                    (profile == 8) << 4]) + bytes(19))
    path = ("moov", "trak", "mdia", "minf", "stbl", "stsd")
    (at, _), = boxes.find(data, *path)
    entry = at + 8
    size = int.from_bytes(data[entry:entry + 4], "big")
    boxes.grow(data, entry + size, dvcc, *path)
    data[entry:entry + 4] = (size + len(dvcc)).to_bytes(4, "big")
    dst.write_bytes(data)
    return dst


def test_dolby_vision_5_is_refused_by_name(run):
    """Its colours are nobody else's."""
    src = numbered(run, "a.mp4", 10, "-c:v", "libx265", "-preset",
                   "ultrafast", "-x265-params", "log-level=none", "-pix_fmt",
                   "yuv420p10le")
    job = transcode(dolby(src, run.path / "5.mp4", 5), run.path / "out",
                    "--formats", "mp4", check=False)
    assert job.error == "unsupported_codec" and "Dolby Vision" in job.stderr


def test_external_reference_shows_nothing_of_it(run):
    """A MOV whose samples are in another file: what lies there does not
    come out."""
    src = numbered(run, "a.mov", 25)
    data = bytearray(src.read_bytes())
    secret = run.path / "secret.bin"
    secret.write_bytes(bytes(data))
    (at, end), = boxes.find(data, "moov", "trak", "mdia", "minf", "dinf",
                            "dref")
    alias = boxes.box("url ", b"\0\0\0\0", f"file://{secret}".encode(), b"\0")
    new = boxes.box("dref", bytes(data[at:at + 8]), alias)
    boxes.replace(data, new, "moov", "trak", "mdia", "minf", "dinf", "dref")
    # and nothing of it in this one
    (body, stop), = [(b, e) for k, _, b, e in boxes.boxes(data)
                     if k == "mdat"]
    data[body:stop] = bytes(stop - body)
    src.write_bytes(data)
    job = transcode(src, run.path / "out", "--formats", "mp4", check=False)
    assert job.error == "invalid_media"
