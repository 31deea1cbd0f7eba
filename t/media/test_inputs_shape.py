"""Shape: rotation, mirroring, pixels that are not square, odd sizes, sizes
that change on the way.  docs/inputs.md has the map."""

import random

import pytest

import pixels
from conftest import ffmpeg, transcode
from pixels import (LOSSLESS, corners, corners_of, frames, mean, number,
                    numbers, raw, raw_args)
from rig import boxes
from test_pipeline import check_plain


def out_of(src, run, *options, name="out", **kw):
    """(job, its only MP4)."""
    job = transcode(src, run.path / name, "--formats", "mp4", *options, **kw)
    return job, job.output.folder / job.doc["results"][-1]["path"]


def cornered(run, size, name="a.mp4", *args, count=3, sar=None):
    w, h = (int(x) for x in size.split("x"))
    src = raw(run, [corners(w, h)] * count, name + ".raw")
    path = run.path / name
    ffmpeg(*raw_args(src, size), *(args or [
        "-c:v", "libx264", "-preset", "ultrafast", "-crf", "4", "-pix_fmt",
        "yuv444p" if w % 2 or h % 2 else "yuv420p"]),
        *(["-vf", f"setsar={sar}"] if sar else []), path)
    src.unlink()
    return path


# --- turning and mirroring ---------------------------------------------------

# display matrix (a b c d of boxes.matrix) -> where the corners come to lie,
# from the top left clockwise; QuickTime File Format, "Matrices"
TURNS = {
    "upright": ((1, 0, 0, 1), (0, 1, 2, 3)),
    "90": ((0, 1, -1, 0), (3, 0, 1, 2)),
    "180": ((-1, 0, 0, -1), (2, 3, 0, 1)),
    "270": ((0, -1, 1, 0), (1, 2, 3, 0)),
    "hflip": ((-1, 0, 0, 1), (1, 0, 3, 2)),
    "vflip": ((1, 0, 0, -1), (3, 2, 1, 0)),
    "transpose": ((0, 1, 1, 0), (0, 3, 2, 1)),
    "antitranspose": ((0, -1, -1, 0), (2, 1, 0, 3)),
}


@pytest.mark.parametrize("name", TURNS)
def test_turned_and_mirrored(run, name):
    """All eight display matrices that keep a picture upright or turn it."""
    nine, want = TURNS[name]
    src = cornered(run, "96x64")
    data = boxes.set_matrix(bytearray(src.read_bytes()), boxes.matrix(*nine))
    src.write_bytes(data)
    _, path = out_of(src, run)
    p = check_plain(path)
    assert corners_of(path) == want
    size = (int(p["width"]), int(p["height"]))
    assert size == ((64, 96) if nine[0] == 0 else (96, 64))


def test_turned_by_other_angles_is_left_alone(run):
    """A matrix of 45 degrees or of rubbish: shown as it is coded."""
    src = cornered(run, "96x64")
    plain = src.read_bytes()
    for nine in (boxes.matrix(1, 1, -1, 1), b"\xff" * 36, b"\0" * 36):
        src.write_bytes(boxes.set_matrix(bytearray(plain), nine))
        job, path = out_of(src, run, name=f"out{nine[0:4].hex()}")
        assert corners_of(path) == (0, 1, 2, 3)
        assert job.doc["source"]["width"] == 96


# --- pixels that are not square ----------------------------------------------

def square_of(path):
    """Width and height of the white square in a picture."""
    w, h, all_ = frames(path, "gray")
    f = all_[0]
    row = f[(h // 2) * w:(h // 2 + 1) * w]
    column = f[w // 2::w]
    return sum(v > 128 for v in row), sum(v > 128 for v in column)


@pytest.mark.parametrize("size, sar, want", [
    ("180x144", "16/11", (262, 144)),    # PAL 16:9
    ("176x120", "10/11", (160, 120)),    # NTSC 4:3
    ("96x108", "2/1", (192, 108)),
    ("192x54", "1/2", (96, 54)),
    ("128x96", "3/2", (192, 96)),
])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_pixels_that_are_not_square(run, size, sar, want, ending):
    """A square of the scene is a square of what comes out."""
    w, h = (int(x) for x in size.split("x"))
    num, den = (int(x) for x in sar.split("/"))
    half = h // 4
    across = half * den / num
    pic = pixels.rgb(w, h, lambda x, y: pixels.WHITE if (
        abs(x + .5 - w / 2) < across and abs(y + .5 - h / 2) < half)
        else pixels.BLACK)
    src = run.path / f"a.{ending}"
    ffmpeg(*raw_args(raw(run, [pic] * 3), size), *LOSSLESS, "-vf",
           f"setsar={sar}", src)
    job, path = out_of(src, run)
    check_plain(path)
    got = job.result("mp4")
    assert abs(got["width"] - want[0]) <= 1 and got["height"] == want[1]
    across, down = square_of(path)
    assert abs(across - down) <= 3, (across, down)
    assert abs(down - 2 * half) <= 2


@pytest.mark.parametrize("sar", ["1/100", "100/1"])
def test_pixels_of_no_camera(run, sar):
    """Nobody's pixels are a hundred times as wide as high."""
    src = cornered(run, "96x64", sar=sar)
    job, _ = out_of(src, run)
    assert (job.result("mp4")["width"], job.result("mp4")["height"]) == (96,
                                                                         64)


# --- odd and tiny ------------------------------------------------------------

@pytest.mark.parametrize("size, fmt", [
    ("1x1", "yuv444p"), ("3x5", "yuv444p"), ("17x9", "yuv444p"),
    ("17x9", "yuv420p"), ("33x31", "yuv422p"), ("101x67", "yuv420p10le"),
    ("2x200", "yuv444p"), ("8191x16", "yuv420p")])
def test_odd_and_tiny(run, size, fmt):
    w, h = (int(x) for x in size.split("x"))
    src = run.path / "a.mkv"
    pic = corners(w, h) if w < 1000 else (
        b"".join(
            bytes(pixels.CORNERS[(2 if 2 * x >= w else 3) if 2 * y >= h
                                 else 2 * x >= w])
            for y in range(h) for x in range(w)))
    # VP9 codes any size; ffmpeg's own 4:2:0 of odd sizes as decoders make it
    ffmpeg(*raw_args(raw(run, [pic] * 2), size), "-c:v", "libvpx-vp9",
           "-lossless", "1", "-deadline", "realtime", "-cpu-used", "8",
           "-pix_fmt", fmt, src)
    job, path = out_of(src, run)
    p = check_plain(path)
    even = [max(2, v & ~1) for v in (w, h)]
    if w < 1000:
        assert [int(p["width"]), int(p["height"])] == even
    assert int(p["width"]) % 2 == 0 and int(p["height"]) % 2 == 0
    assert len(frames(path)[2]) == 2
    if min(w, h) >= 9:
        assert corners_of(path) == (0, 1, 2, 3)
    elif w == 1:
        assert pixels.near(mean(frames(path)[2][0], 2, 1, 1, 2),
                           pic[:3], 16)


@pytest.mark.parametrize("seed", range(5))
def test_any_shape(run, seed):
    """Sizes, pixel shapes and turns as they come: even, of the right aspect,
    and the right way up."""
    rnd = random.Random(seed)
    for i in range(5):
        w, h = rnd.randint(32, 200), rnd.randint(32, 200)
        num, den = rnd.choice([(1, 1), (1, 1), (4, 3), (16, 11), (12, 11),
                               (10, 11), (2, 3)])
        nine, want = TURNS[rnd.choice(list(TURNS))]
        src = cornered(run, f"{w}x{h}", f"{i}.mp4", sar=f"{num}/{den}")
        src.write_bytes(boxes.set_matrix(bytearray(src.read_bytes()),
                                         boxes.matrix(*nine)))
        job, path = out_of(src, run, name=f"out{i}")
        case = (w, h, num, den, nine)
        p = check_plain(path)
        got = int(p["width"]), int(p["height"])
        shown = (w * num / den, h)
        if nine[0] == 0:
            shown = shown[::-1]
        assert all(a % 2 == 0 and -0.51 <= b - a <= 2.01
                   for a, b in zip(got, shown)), (case, got, shown)
        assert corners_of(path) == want, case
        assert len(frames(path)[2]) == 3, case


# --- changes on the way ------------------------------------------------------

def spliced(run, sizes, ending, codec, sars=None):
    """Numbered pictures in one stream, of a new size every five frames: each
    white with a black bar on the left, so that its edges can be seen."""
    parts = []
    for i, size in enumerate(sizes):
        w, h = (int(x) for x in size.split("x"))
        pics = [pixels.rgb(w, h, lambda x, y: pixels.WHITE)] * 5
        part = run.path / f"{i}.{ending}"
        ffmpeg(*raw_args(raw(run, pics), size), *codec,
               *(["-vf", f"setsar={sars[i]}"] if sars else []),
               "-output_ts_offset", str(i / 5), "-muxdelay", "0", part)
        parts.append(part)
    return parts


def white_box(frame, w, h):
    """(left, right, top, bottom) of what is white in a grey frame."""
    row = frame[(h // 2) * w:(h // 2 + 1) * w]
    column = frame[w // 2::w]
    xs = [i for i, v in enumerate(row) if v > 128]
    ys = [i for i, v in enumerate(column) if v > 128]
    return xs[0], xs[-1] + 1, ys[0], ys[-1] + 1


@pytest.mark.parametrize("codec", [LOSSLESS, ["-c:v", "mpeg2video", "-q:v",
                                              "2"]],
                         ids=["h264", "mpeg2"])
@pytest.mark.parametrize("second, sars, want", [
    ("64x48", None, (0, 128, 0, 96)),       # the same shape: all of it
    ("128x32", None, (0, 128, 32, 64)),     # wider: bars above and below
    ("32x96", None, (48, 80, 0, 96)),       # narrower: bars beside
    ("128x96", ("1/1", "1/2"), (32, 96, 0, 96)),
])
def test_size_and_shape_change(run, codec, second, sars, want):
    """Each picture keeps its shape within the first one's frame."""
    if "mpeg2video" in codec and sars:
        sars, want = ("1/1", "4/3"), None   # MPEG-2 knows few shapes
    parts = spliced(run, ["128x96", second, "128x96"], "ts", codec,
                    sars and (*sars, sars[0]))
    src = run.path / "all.ts"
    src.write_bytes(b"".join(p.read_bytes() for p in parts))
    _, path = out_of(src, run)
    w, h, all_ = frames(path, "gray")
    # libav's MPEG-2 decoder keeps a picture to itself where sizes change
    assert (w, h) == (128, 96) and len(all_) in (
        (15,) if "libx264" in codec else (14, 15))
    assert white_box(all_[2], w, h) == (0, 128, 0, 96)
    assert white_box(all_[12], w, h) == (0, 128, 0, 96)
    got = white_box(all_[7], w, h)
    if want:
        assert all(abs(a - b) <= 2 for a, b in zip(got, want)), got
    else:
        assert got[3] - got[2] <= 76, got


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_size_change_in_webm(run, codec):
    """As a video call records it: a smaller picture from a key frame on,
    within one stream of a container that names one size."""
    parts = spliced(run, ["128x96", "64x48", "48x96"], "ivf",
                    ["-c:v", codec, "-deadline", "realtime", "-cpu-used", "8",
                     "-crf", "10", "-b:v", "1M"])
    joined = run.path / "all.ivf"
    data = bytearray(parts[0].read_bytes())
    for i, part in enumerate(parts[1:], 1):
        more = bytearray(part.read_bytes())[32:]
        data += more
    # frames: 12 bytes of header, size and time stamp
    at, n = 32, 0
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], "little")
        data[at + 4:at + 12] = n.to_bytes(8, "little")
        n += 1
        at += 12 + size
    joined.write_bytes(data)
    src = run.path / "all.webm"
    ffmpeg("-r", "25", "-i", joined, "-c", "copy", src)
    _, path = out_of(src, run)
    w, h, all_ = frames(path, "gray")
    assert (w, h) == (128, 96) and len(all_) == 15
    assert white_box(all_[2], w, h) == (0, 128, 0, 96)
    assert white_box(all_[7], w, h) == (0, 128, 0, 96)
    got = white_box(all_[12], w, h)
    assert all(abs(a - b) <= 2 for a, b in zip(got, (40, 88, 0, 96))), got
