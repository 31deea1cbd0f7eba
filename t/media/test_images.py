"""Poster, thumbnails, storyboard and preview, as the pipeline makes them."""

import re
import struct

import pytest

from conftest import transcode
from verify import run as tool

BITS = 16       # columns of a numbered frame, each 8 pixels wide
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]


def numbered(made, name, seconds, *args, rate=10, vf="null"):
    """A clip whose frames say in black and white columns which they are."""
    return made(name, "-f", "lavfi", "-i",
                f"color=black:s=128x48:r={rate}:d={seconds},format=gray,geq="
                "lum='if(mod(floor(N/pow(2,floor(X/8))),2),235,16)'," + vf,
                *X264, "-qp", "10", *args)


def raw(path, *filters, fmt="gray"):
    return tool("ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-vf",
                ",".join([*filters, f"format={fmt}"]), "-f", "rawvideo", "-",
                binary=True)


def number(pixels, width, height, at=0, stride=None):
    """Which frame a grey picture of a numbered clip is; `at` in pixels."""
    start = at + height // 2 * (stride or width)
    row = pixels[start:start + width]
    return sum(1 << i for i in range(BITS)
               if row[int((i + 0.5) * width / BITS)] > 128)


def size_of(path):
    out = tool("ffprobe", "-v", "error", "-show_entries",
               "stream=width,height", "-of", "csv=p=0", path)
    return tuple(map(int, out.strip().rstrip(",").split(",")))


def luma(path):
    """Mean and spread of a picture's grey."""
    p = raw(path, "scale=64:36:flags=area")
    mean = sum(p) / len(p)
    return mean, (sum((x - mean) ** 2 for x in p) / len(p)) ** 0.5


def edges(path):
    p = raw(path, "scale=320:180")
    return sum(abs(a - b) for a, b in zip(p, p[1:])) / len(p)


def rgb(path, x="iw/2", y="ih/2", matrix="auto"):
    return tuple(raw(path, f"crop=8:8:{x}-4:{y}-4", "scale=1:1:flags=area:"
                     f"in_color_matrix={matrix}", fmt="rgb24")[:3])


def images(src, run, *options, formats="mp4"):
    return transcode(src, run.path / "out", "--formats", formats,
                     "--qualities", "480p", *options)


def cues(folder, ending):
    name = "storyboard.vtt" if ending == "jpg" else "storyboard-webp.vtt"
    text = (folder / name).read_text()
    return [(int(h) * 3600 + int(m) * 60 + float(s), sheet,
             *map(int, xywh.split(",")))
            for h, m, s, sheet, xywh in re.findall(
                r"(\d\d):(\d\d):(\S+) --> \S+\n([^#]+)#xywh=(\S+)", text)]


# --- poster ------------------------------------------------------------------

PICTURE = "testsrc2=s=160x90:r=25:d="

# what comes first, how long, key frames
HARD = {
    # one key frame, and it is black: found by decoding on
    "black-start": (13, "drawbox=c=black:t=fill:enable='lt(t,2)'", 9999),
    "fade-in": (13, "fade=in:d=5", 9999),
    # key frames everywhere, the first that are looked at black
    "black-half": (13, "drawbox=c=black:t=fill:enable='lt(t,8)'", 25),
    "white-half": (13, "drawbox=c=white:t=fill:enable='lt(t,8)'", 25),
    "flat-half": (13, "drawbox=c=0x608060:t=fill:enable='lt(t,8)'", 25),
    # too short for seeking
    "short-black": (3, "drawbox=c=black:t=fill:enable='lt(t,2.2)'", 25),
    "short-flat": (3, "drawbox=c=gray:t=fill:enable='lt(t,2.2)'", 25),
}


@pytest.mark.parametrize("name", HARD)
def test_poster_shows_something(run, made, name):
    seconds, vf, gop = HARD[name]
    src = made("a.mp4", "-f", "lavfi", "-i", PICTURE + str(seconds), "-vf",
               vf, *X264, "-g", str(gop), "-sc_threshold", "0")
    job = images(src, run)
    for path in ("poster.jpg", "poster.webp"):
        mean, spread = luma(job.output.folder / path)
        assert 40 < mean < 220 and spread > 30, (path, mean, spread)
    # few frames more than the pass itself decodes
    assert job.doc["stats"]["framesDecoded"] <= job.doc["source"][
        "frames"] + 310


def test_poster_is_sharp(run, made):
    """All is a blur but one second."""
    src = made("a.mp4", "-f", "lavfi", "-i", PICTURE + "13", "-vf",
               "gblur=sigma=6:enable='lt(t,3)+gte(t,4)'", *X264, "-g", "25")
    job = images(src, run)
    assert edges(job.output.folder / "poster.jpg") > 0.8 * edges_at(src, 3.2)
    assert edges_at(src, 6) < 0.6 * edges_at(src, 3.2)
    # and the thumbnail of that fifth is of that second
    assert 3 <= job.doc["thumbnails"][1]["time"] < 4


def edges_at(src, t):
    p = tool("ffmpeg", "-v", "error", "-ss", str(t), "-i", src, "-frames:v",
             "1", "-vf", "scale=320:180,format=gray", "-f", "rawvideo", "-",
             binary=True)
    return sum(abs(a - b) for a, b in zip(p, p[1:])) / len(p)


@pytest.mark.parametrize("seconds", [1, 13])
def test_nothing_but_black(run, made, seconds):
    """There are pictures all the same."""
    src = made("a.mp4", "-f", "lavfi", "-i",
               f"color=black:s=64x48:r=25:d={seconds}", *X264, "-g", "25")
    job = images(src, run, "--preview", "on")
    for path in ("poster.jpg", "poster.webp", "thumbnails/5.jpg"):
        assert luma(job.output.folder / path)[0] < 20
    assert len(job.doc["thumbnails"]) == 5
    assert job.doc["preview"] == "preview.webp"


def test_dark_film(run, made):
    """Dark is not black: the picture is chosen over nothing at all."""
    src = made("a.mp4", "-f", "lavfi", "-i", PICTURE + "13", "-vf",
               "drawbox=c=black:t=fill:enable='lt(t,7)',"
               "lutyuv=y='16+(val-16)*0.12'", *X264, "-g", "25")
    mean, spread = luma(images(src, run).output.folder / "poster.jpg")
    assert 5 < mean < 60 and spread > 4


def test_one_frame(run, made):
    src = made("a.mp4", "-f", "lavfi", "-i", PICTURE + "0.04", *X264)
    job = images(src, run, "--preview", "on")
    assert [t["time"] for t in job.doc["thumbnails"]] == [0]
    assert job.doc["preview"] is None
    assert not (job.output.folder / "preview.webp").exists()
    assert len(cues(job.output.folder, "jpg")) == 1


@pytest.mark.parametrize("size, poster, small", [
    ("2560x1440", (1920, 1080), (640, 360)),
    ("720x1280", (720, 1280), (360, 640)),
    ("160x90", (160, 90), (160, 90)),
])
def test_sizes(run, made, size, poster, small):
    src = made("a.mp4", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.2",
               *X264)
    job = images(src, run)
    folder = job.output.folder
    for ending in ("jpg", "webp"):
        assert size_of(folder / f"poster.{ending}") == poster
        assert size_of(folder / f"thumbnails/1.{ending}") == small
    assert {(t["width"], t["height"]) for t in job.doc["thumbnails"]} == {
        small}


COLOURS = {
    "709": ("1280x720", "bt709", "bt709", X264),
    "601": ("320x180", "bt601", "smpte170m", X264),
}


@pytest.mark.parametrize("name", COLOURS)
def test_colours(run, made, name):
    """JPEG and WebP are BT.601 whatever the video is."""
    size, scale, tag, codec = COLOURS[name]
    want = (0xC8, 0x3C, 0x28)
    src = made("a.mp4", "-f", "lavfi", "-i",
               f"color=c=0xC83C28:s={size}:r=25:d=0.4,format=rgb24,"
               f"scale=out_color_matrix={scale}:out_range=tv,format=yuv420p,"
               f"setparams=colorspace={tag}", *codec, "-colorspace", tag,
               "-crf", "5")
    job = images(src, run)
    for path in ("poster.jpg", "poster.webp", "thumbnails/1.jpg",
                 "thumbnails/1.webp", "storyboard/sheet-0000.jpg",
                 "storyboard/sheet-0000.webp"):
        got = rgb(job.output.folder / path)
        assert got == pytest.approx(want, abs=6), path


def test_hdr_is_tone_mapped(run, made):
    """The pictures show what the renditions show."""
    src = made("a.mkv", "-f", "lavfi", "-i",
               "color=c=0x803C28:s=320x180:r=25:d=0.4,format=yuv420p10le,"
               "setparams=color_primaries=bt2020:color_trc=smpte2084:"
               "colorspace=bt2020nc", "-c:v", "libx265", "-x265-params",
               "log-level=none:colorprim=bt2020:transfer=smpte2084:"
               "colormatrix=bt2020nc")
    job = images(src, run)
    want = rgb(job.output.files("mp4/*.mp4")[0], matrix="bt709")
    for path in ("poster.jpg", "poster.webp", "thumbnails/1.jpg",
                 "storyboard/sheet-0000.jpg", "storyboard/sheet-0000.webp"):
        assert rgb(job.output.folder / path) == pytest.approx(want, abs=8)
    # which is not what the bits would be without
    assert want != pytest.approx(rgb(src), abs=8)


def test_rotation(run, made):
    flat = made("flat.mp4", "-f", "lavfi", "-i",
                "color=c=gray:s=320x180:r=25:d=0.4,drawbox=c=red:t=fill:w=80"
                ":h=60", *X264)
    if "display_rotation" in tool("ffmpeg", "-v", "error", "-h", "full"):
        src = made("turned.mp4", "-display_rotation", "90", "-i", flat, "-c",
                   "copy")
    else:
        src = made("turned.mp4", "-i", flat, "-c", "copy", "-metadata:s:v",
                   "rotate=90")
    job = images(src, run, "--preview", "on")
    corners = [("10", "10"), ("iw-10", "10"), ("iw-10", "ih-10"),
               ("10", "ih-10")]

    def red(path):
        return [rgb(path, x, y)[0] > 180 for x, y in corners]

    want = red(job.output.files("mp4/*.mp4")[0])
    assert sum(want) == 1 and not want[0]
    for path in ("poster.jpg", "poster.webp", "thumbnails/1.jpg"):
        assert size_of(job.output.folder / path) == (180, 320)
        assert red(job.output.folder / path) == want, path
    assert size_of(job.output.folder / "storyboard/sheet-0000.jpg") == (
        160, 284)


# --- thumbnails --------------------------------------------------------------

def unknown(made, name, seconds):
    """A numbered clip that does not say how long it is."""
    return numbered(made, name, seconds, "-f", "matroska", "-live", "1")


def too_long(made, name, seconds):
    """... that says it is a hundred times longer."""
    path = unknown(made, "live-" + name, seconds)
    out = path.with_name(name)
    tool("ffmpeg", "-v", "error", "-i", path, "-c", "copy", "-f", "matroska",
         out)
    data = bytearray(out.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3    # Duration, a double, in ms
    struct.pack_into(">d", data, at, seconds * 1e5)
    # and no index that says otherwise
    cues_at = data.index(b"\x1c\x53\xbb\x6b")
    data[cues_at:cues_at + 4] = b"\x1c\x53\xbb\x6a"
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("make, name", [(numbered, "a.mp4"),
                                        (unknown, "a.mkv"),
                                        (too_long, "a.mkv")],
                         ids=["known", "unknown", "too-long"])
@pytest.mark.parametrize("seconds", [2, 41])
def test_thumbnails(run, made, make, name, seconds):
    """One of each fifth, each at the time that it says, as JPEG and WebP."""
    job = images(make(made, name, seconds), run)
    times = [t["time"] for t in job.doc["thumbnails"]]
    assert [int(t / seconds * 5) for t in times] == [0, 1, 2, 3, 4], times
    for i, t in enumerate(job.doc["thumbnails"]):
        assert t["path"] == f"thumbnails/{i + 1}.jpg"
        assert t["webp"] == f"thumbnails/{i + 1}.webp"
        assert (t["width"], t["height"]) == (128, 48)
        for ending in ("jpg", "webp"):
            path = job.output.folder / f"thumbnails/{i + 1}.{ending}"
            assert number(raw(path), 128, 48) == round(t["time"] * 10), path
    assert len(list((job.output.folder / "thumbnails").iterdir())) == 10


# --- storyboard --------------------------------------------------------------

@pytest.mark.parametrize("seconds, rate, step", [(123, 4, 1), (1000, 1, 2.5)])
def test_storyboard_tiles_are_of_their_time(run, made, seconds, rate, step):
    """... in sheets of a hundred, the last one cropped, a tile for each step
    of at least a second."""
    job = images(numbered(made, "a.mp4", seconds, rate=rate), run)
    folder = job.output.folder
    job.output.check_storyboard()
    for ending in ("jpg", "webp"):
        found = cues(folder, ending)
        assert len(found) == round(seconds / step)
        sheets = sorted({c[1] for c in found})
        assert sheets == [f"storyboard/sheet-{i:04d}.{ending}"
                          for i in range(len(sheets))]
        assert len(sheets) == -(-len(found) // 100)
        for sheet in sheets:
            w, h = size_of(folder / sheet)
            assert w <= 4096 and h <= 4096
            pixels = raw(folder / sheet)
            for t, name, x, y, tw, th in found:
                if name != sheet:
                    continue
                shown = number(pixels, tw, th, y * w + x, w)
                assert shown == -(-t * rate // 1), (t, name)
        assert all(abs(c[0] - i * step) < 1 / rate
                   for i, c in enumerate(found))


# --- preview -----------------------------------------------------------------

def animation(path):
    """[(ms, grey picture)] of an animated WebP, and its size and loops."""
    data = path.read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    frames, canvas, size, loops, at = [], None, None, None, 12
    while at < len(data):
        kind, n = data[at:at + 4], struct.unpack_from("<I", data, at + 4)[0]
        body = data[at + 8:at + 8 + n]
        at += 8 + n + n % 2

        def u24(i):
            return int.from_bytes(body[i:i + 3], "little")

        if kind == b"VP8X":
            assert body[0] & 2                          # animated
            size = (u24(4) + 1, u24(7) + 1)
            canvas = bytearray(size[0] * size[1])
        elif kind == b"ANIM":
            loops = struct.unpack_from("<H", body, 4)[0]
        elif kind == b"ANMF":
            x, y, w, h = 2 * u24(0), 2 * u24(3), u24(6) + 1, u24(9) + 1
            still = path.with_suffix(".still.webp")
            parts = body[16:]
            if parts[:4] == b"ALPH":
                parts = b"VP8X" + struct.pack("<I", 10) + bytes(
                    [16, 0, 0, 0]) + (w - 1).to_bytes(3, "little") + (
                    h - 1).to_bytes(3, "little") + parts
            still.write_bytes(b"RIFF" + struct.pack("<I", len(parts) + 4) +
                              b"WEBP" + parts)
            pixels = raw(still, fmt="rgba")
            still.unlink()
            blend = not body[15] & 2
            for j in range(h):
                for i in range(w):
                    p = pixels[4 * (j * w + i):][:4]
                    if p[3] > 127 or not blend:
                        canvas[(y + j) * size[0] + x + i] = p[1]
            frames.append((u24(12), bytes(canvas)))
    return frames, size, loops


def test_preview(run, made):
    """Eight frames of each of four places, a tenth of a second apart."""
    job = images(numbered(made, "a.mp4", 40), run, "--preview", "on")
    path = job.output.folder / job.doc["preview"]
    frames, size, loops = animation(path)
    assert size == (128, 48) and loops == 0
    assert [ms for ms, _ in frames] == [100] * 32
    assert [number(p, *size) for _, p in frames] == [
        50 + 100 * i + j for i in range(4) for j in range(-4, 4)]
    assert job.output.folder.joinpath("preview.webp").stat().st_size < 100_000


@pytest.mark.parametrize("make, name", [(numbered, "a.mp4"),
                                        (unknown, "a.mkv"),
                                        (too_long, "a.mkv")],
                         ids=["known", "unknown", "too-long"])
def test_preview_of_a_short_video(run, made, make, name):
    """All of it where its length is known, else what was seen of it."""
    job = images(make(made, name, 2), run, "--preview", "on")
    frames, size, _ = animation(job.output.folder / job.doc["preview"])
    shown = [number(p, *size) for _, p in frames]
    assert shown == sorted(shown)
    if make is numbered:
        assert shown == list(range(20))
    else:
        assert len(shown) >= 2 and shown[-1] < 20


def test_no_preview_unless_wanted(run, made):
    job = images(numbered(made, "a.mp4", 2), run)
    assert job.doc["preview"] is None
    assert not list(job.output.folder.glob("preview*"))


def test_same_bytes_again(run, made):
    """Two workers of one version make the same pictures."""
    src = made("a.mp4", "-f", "lavfi", "-i", PICTURE + "13", *X264)
    kinds = ("*.jpg", "*.webp", "*.vtt", "*/*.jpg", "*/*.webp")
    found = []
    for name in ("one", "two"):
        out = run.path / name
        transcode(src, out, "--formats", "mp4", "--preview", "on")
        found.append({p.relative_to(out): p.read_bytes()
                      for k in kinds for p in out.glob(k)})
    assert len(found[0]) == 2 + 1 + 2 + 10 + 2
    assert found[0] == found[1]
