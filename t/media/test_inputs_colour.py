"""Colour: whatever the numbers of a source mean, the picture shows the same.
Patches of known colours, encoded here by the book, are compared with what a
player of BT.709 would show.  docs/inputs.md has the map."""

import struct

import pytest

from conftest import ffmpeg, transcode
from pixels import frames, mean, near, raw, raw_args
from rig.run import run_command
from test_inputs_shape import out_of
from test_inputs_streams import dolby
from test_pipeline import check_plain

PATCHES = [(0, 0, 0), (1, 1, 1), (.5, .5, .5), (.8, .15, .1), (.1, .7, .2),
           (.15, .2, .8)]
PATCH = 16                      # pixels wide
SIZE = (PATCH * len(PATCHES), 32)

# Kr, Kb
MATRICES = {"bt709": (.2126, .0722), "bt470bg": (.299, .114),
            "smpte170m": (.299, .114), "smpte240m": (.212, .087),
            "fcc": (.30, .11), "bt2020nc": (.2627, .0593)}


def to_yuv(colour, matrix, depth, full):
    """One colour (R'G'B' of 0..1) as three code values."""
    r, g, b = colour
    if matrix == "gbr":
        yuv, ranges = (g, b, r), ((0, 1),) * 3
        top = (1 << depth) - 1
        return [round(v * top) for v in yuv]
    if matrix == "ycgco":
        y, u, v = (r + 2 * g + b) / 4, (2 * g - r - b) / 4, (r - b) / 2
    else:
        kr, kb = MATRICES[matrix]
        y = kr * r + (1 - kr - kb) * g + kb * b
        u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    one, top = 1 << (depth - 8), (1 << depth) - 1
    if full:
        luma, chroma = y * top, [c * top + 128 * one for c in (u, v)]
    else:
        luma, chroma = ((16 + 219 * y) * one,
                        [(128 + 224 * c) * one for c in (u, v)])
    return [min(top, max(0, round(x))) for x in (luma, *chroma)]


def planes(colours, matrix, depth, full, size):
    """A picture of vertical patches as planar 4:4:4."""
    w, h = size
    codes = [to_yuv(c, matrix, depth, full) for c in colours]
    code = "B" if depth == 8 else "<H"
    out = b""
    for plane in range(3):
        row = b"".join(struct.pack(code, codes[min(x // PATCH,
                                                   len(codes) - 1)][plane])
                       for x in range(w))
        out += row * h
    return out


def encode(run, name, colours, *, matrix="bt709", depth=8, full=False,
           fmt=None, codec=None, tags=(), size=None, count=2, meta=()):
    """A clip of those colours; `fmt` is what the codec gets, after FFmpeg's
    own subsampling (which keeps matrix and range)."""
    size = size or (PATCH * len(colours), 32)
    base = "gbrp" if matrix == "gbr" else "yuv444p"
    if depth > 8:
        base += f"{depth}le"
    src = raw(run, [planes(colours, matrix, depth, full, size)] * count,
              name + ".raw")
    path = run.path / name
    rng = "pc" if full else "tv"
    convert = [] if matrix == "gbr" else [
        f"scale=in_range={rng}:out_range={rng}:flags=area"]
    given = dict(tags)
    set_ = ":".join([f"range={rng}", *(f"{k}={v}" for k, v in given.items())])
    names = {"color_primaries": "-color_primaries", "color_trc": "-color_trc",
             "colorspace": "-colorspace"}
    opts = [x for k, v in given.items() for x in (names[k], v)]
    ffmpeg(*raw_args(src, "%dx%d" % size, 25, base), "-vf",
           ",".join([*convert, f"format={fmt or base}", f"setparams={set_}"]),
           *(codec or ["-c:v", "libx264", "-preset", "ultrafast", "-crf",
                       "4"]), "-color_range", rng, *opts, *meta, path)
    src.unlink()
    return path


def x265(*params, preset="ultrafast"):
    return ["-c:v", "libx265", "-preset", preset, "-x265-params", ":".join(
        ["log-level=none", "crf=4", *params])]


def shown(path, count, frame=-1):
    """The colours of the patches, R'G'B' of 0..255."""
    check_plain(path)
    w, h, all_ = frames(path)
    return [mean(all_[frame], w, int((i + .5) * w / count), h // 2, 6)
            for i in range(count)]


def check_patches(path, colours, within=7, frame=-1):
    got = shown(path, len(colours), frame)
    for g, c in zip(got, colours):
        assert near(g, [255 * v for v in c], within), (
            [round(x) for x in g], c, [tuple(map(round, x)) for x in got])


# --- matrices and ranges -----------------------------------------------------

@pytest.mark.parametrize("matrix", [*MATRICES, "ycgco"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_matrix_and_range(run, matrix, full):
    """Every matrix, of limited and full range; of an even size, and of one
    that zimg does not take as it is."""
    for size in (SIZE, (SIZE[0] + 1, 31)):
        src = encode(run, f"{size[0]}.mp4", PATCHES, matrix=matrix, full=full,
                     fmt="yuv444p" if size[0] % 2 else "yuv420p", size=size,
                     tags={"colorspace": matrix, "color_primaries": "bt709",
                           "color_trc": "bt709"})
        _, path = out_of(src, run, name=f"out{size[0]}")
        check_patches(path, PATCHES)


@pytest.mark.parametrize("size, primaries, matrix", [
    ((96, 32), None, "smpte170m"), ((96, 576), None, "smpte170m"),
    ((544, 960), None, "smpte170m"), ((1280, 32), None, "bt709"),
    ((32, 1280), None, "bt709"), ((960, 592), None, "bt709"),
    ((96, 32), "bt709", "bt709"), ((1280, 32), "smpte170m", "smpte170m"),
])
def test_matrix_that_is_not_said(run, size, primaries, matrix):
    """By the primaries, or BT.601 up to 576 lines, whichever way up."""
    green = (.3, .6, .3)
    src = encode(run, "a.mp4", [green], matrix=matrix, size=size,
                 fmt="yuv420p", count=1, tags={
                     "color_primaries": primaries} if primaries else {})
    _, path = out_of(src, run, "--qualities", "480p")
    w, h, all_ = frames(path)
    want = green if primaries != "smpte170m" else [v ** (1 / 2.4) for v in (
        convert([v ** 2.4 for v in green], primaries, "bt709"))]
    got = mean(all_[0], w, w // 2, h // 2, 8)
    assert near(got, [255 * v for v in want], 4), got


# --- formats -----------------------------------------------------------------

FORMATS = [
    ("yuv420p10le", 10, x265()), ("yuv422p10le", 10, x265()),
    ("yuv444p10le", 10, x265()), ("yuv420p12le", 12, x265()),
    ("yuv422p12le", 12, x265()), ("yuv444p12le", 12, x265()),
    ("yuv422p", 8, None), ("yuv444p", 8, None),
    ("yuv422p10le", 10, None), ("yuv444p10le", 10, None),
    ("yuv440p", 8, ["-c:v", "libvpx-vp9", "-crf", "4", "-b:v", "0",
                    "-deadline", "realtime", "-cpu-used", "8"]),
    ("yuv440p12le", 12, ["-c:v", "libvpx-vp9", "-crf", "4", "-b:v", "0",
                         "-deadline", "realtime", "-cpu-used", "8"]),
    ("yuv422p10le", 10, ["-c:v", "prores_ks", "-profile:v", "3"]),
    ("yuv444p10le", 10, ["-c:v", "prores_ks", "-profile:v", "4"]),
]


@pytest.mark.parametrize("fmt, depth, codec", FORMATS, ids=lambda v:
                         v if isinstance(v, str) else v[1] if v and
                         isinstance(v, list) else None)
def test_depth_and_sampling(run, fmt, depth, codec):
    src = encode(run, "a.mov" if codec and "prores_ks" in codec else "a.mkv",
                 PATCHES, depth=depth, fmt=fmt, codec=codec, tags={
                     "colorspace": "bt709", "color_primaries": "bt709",
                     "color_trc": "bt709"})
    _, path = out_of(src, run)
    check_patches(path, PATCHES)


@pytest.mark.parametrize("fmt, depth, codec", [
    ("gbrp", 8, ["-c:v", "libx264rgb", "-preset", "ultrafast", "-crf", "4"]),
    ("gbrp", 8, x265()), ("gbrp10le", 10, x265()),
    ("gbrp12le", 12, x265()),
    ("gbrp", 8, ["-c:v", "libvpx-vp9", "-crf", "4", "-b:v", "0",
                 "-deadline", "realtime", "-cpu-used", "8"]),
])
def test_rgb(run, fmt, depth, codec):
    if codec[1] == "libx264rgb":
        fmt = "rgb24"
    for size in (SIZE, (SIZE[0] + 1, 31)):
        src = encode(run, f"{size[0]}.mkv", PATCHES, matrix="gbr",
                     depth=depth, full=True, fmt=fmt, codec=codec, size=size)
        _, path = out_of(src, run, name=f"out{size[0]}")
        check_patches(path, PATCHES)


@pytest.mark.parametrize("fmt, depth, codec", [
    ("gray", 8, None), ("gray", 8, x265()), ("gray10le", 10, x265()),
    ("gray12le", 12, x265()), ("gray", 8, ["-c:v", "libaom-av1", "-cpu-used",
                                           "8", "-crf", "10"])])
def test_grey(run, fmt, depth, codec):
    """No chroma: black is black and white is white, of limited range."""
    steps = [(v / 5,) * 3 for v in range(6)]
    codes = [to_yuv(c, "bt709", depth, False)[0] for c in steps]
    row = b"".join(struct.pack("B" if depth == 8 else "<H", codes[x // PATCH])
                   for x in range(SIZE[0]))
    src = run.path / "a.mkv"
    # said to be full on both sides, FFmpeg leaves the numbers alone
    ffmpeg(*raw_args(raw(run, [row * 32] * 2), "%dx%d" % SIZE, 25, fmt),
           "-vf", f"setrange=tv,format={fmt}", *(codec or [
               "-c:v", "libx264", "-preset", "ultrafast", "-crf", "4"]),
           "-pix_fmt", fmt, "-color_range", "tv", src)
    _, path = out_of(src, run)
    check_patches(path, steps)


@pytest.mark.parametrize("fmt", ["yuvj420p", "yuvj422p", "yuvj444p"])
def test_motion_jpeg(run, fmt):
    """Full range and BT.601, whatever the size, as JPEG has it."""
    src = encode(run, "a.mov", PATCHES, matrix="bt470bg", full=True,
                 fmt=fmt, codec=["-c:v", "mjpeg", "-q:v", "2"],
                 size=(SIZE[0], 48))
    _, path = out_of(src, run)
    check_patches(path, PATCHES, 9)


def test_dv(run):
    """4:1:1 of NTSC and 4:2:0 of PAL DV, pixels not square."""
    for size, fmt, rate, want in (("720x480", "yuv411p", "30000/1001", 640),
                                  ("720x576", "yuv420p", "25", 640)):
        src = run.path / f"{fmt}.avi"
        w, h = (int(x) for x in size.split("x"))
        pic = b"".join(bytes([to_yuv(c, "smpte170m", 8, False)[p]]) * 120
                       for p in range(3) for _ in range(h) for c in PATCHES)
        ffmpeg(*raw_args(raw(run, [pic] * 2), size, rate, "yuv444p"), "-vf",
               "setsar=" + ("8/9" if h == 480 else "16/15"), "-c:v",
               "dvvideo", "-pix_fmt", fmt, src)
        job, path = out_of(src, run, name=f"out{h}")
        assert abs(job.result("mp4")["width"] - want) <= 2
        check_patches(path, PATCHES, 9)


# --- primaries ---------------------------------------------------------------

XY = {"bt709": (.640, .330, .300, .600, .150, .060),
      "smpte170m": (.630, .340, .310, .595, .155, .070),
      "bt470bg": (.640, .330, .290, .600, .150, .060),
      "smpte432": (.680, .320, .265, .690, .150, .060),
      "bt2020": (.708, .292, .170, .797, .131, .046)}


def inverse(m):
    (a, b, c), (d, e, f), (g, h, i) = m
    det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return [[(e * i - f * h) / det, (c * h - b * i) / det,
             (b * f - c * e) / det],
            [(f * g - d * i) / det, (a * i - c * g) / det,
             (c * d - a * f) / det],
            [(d * h - e * g) / det, (b * g - a * h) / det,
             (a * e - b * d) / det]]


def times(m, v):
    return [sum(a * b for a, b in zip(row, v)) for row in m]


def to_xyz(name):
    """The matrix from linear RGB of primaries (white D65) to XYZ."""
    p = XY[name]
    columns = [(p[i] / p[i + 1], 1, (1 - p[i] - p[i + 1]) / p[i + 1])
               for i in (0, 2, 4)]
    m = [[c[r] for c in columns] for r in range(3)]
    white = (.3127 / .3290, 1, (1 - .3127 - .3290) / .3290)
    scale = times(inverse(m), white)
    return [[v * s for v, s in zip(row, scale)] for row in m]


def convert(colour, a, b):
    """Linear RGB of primaries a as linear RGB of primaries b."""
    return times(inverse(to_xyz(b)), times(to_xyz(a), colour))


@pytest.mark.parametrize("primaries, matrix", [
    ("smpte170m", "smpte170m"), ("bt470bg", "bt470bg"),
    ("smpte432", "bt709"), ("bt2020", "bt2020nc")])
def test_primaries(run, primaries, matrix):
    """Colours of other primaries are the same colours in BT.709 (shown by a
    gamma of 2.4, BT.1886)."""
    colours = [(.5, .5, .5), (.6, .4, .3), (.3, .55, .35), (.3, .35, .6)]
    depth = 10 if primaries == "bt2020" else 8
    src = encode(run, "a.mkv", colours, matrix=matrix, depth=depth,
                 fmt="yuv420p10le" if depth == 10 else "yuv420p", tags={
                     "color_primaries": primaries, "colorspace": matrix,
                     "color_trc": "bt709"})
    _, path = out_of(src, run)
    want = [[max(0, v) ** (1 / 2.4) for v in convert(
        [v ** 2.4 for v in c], primaries, "bt709")] for c in colours]
    assert any(abs(a - b) > .004 for w, c in zip(want, colours)
               for a, b in zip(w, c))
    check_patches(path, want, 5)


# --- HDR ---------------------------------------------------------------------

def pq(nits):
    y = (nits / 10000) ** .1593017578125
    return ((.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(nits):
    """Of what a display of 1000 cd/m2 shows as grey of so many."""
    e = (nits / 1000) ** (1 / 1.2)
    return (3 * e) ** .5 if e <= 1 / 12 else (
        .17883277 * __import__("math").log(12 * e - .28466892) + .55991073)


# cd/m2: black, grey of 18 % and white (BT.2408), highlights
LEVELS = [0, 36.5, 100, 203, 500, 1000]


def hdr_clip(run, name, colours, trc, *params, size=None, tags=None):
    return encode(run, name, colours, matrix="bt2020nc", depth=10,
                  fmt="yuv444p10le" if size else "yuv420p10le", size=size,
                  codec=x265(*params), tags=tags or {
                      "color_primaries": "bt2020", "color_trc": trc,
                      "colorspace": "bt2020nc"})


@pytest.mark.parametrize("trc, curve", [("smpte2084", pq),
                                        ("arib-std-b67", hlg)])
@pytest.mark.parametrize("size", [(96, 32), (97, 31)], ids=["even", "odd"])
def test_hdr_levels(run, trc, curve, size):
    """A ramp of grey: neutral, rising, white bright but below the highlights
    and middle grey in the middle."""
    src = hdr_clip(run, "a.mkv", [(curve(v),) * 3 for v in LEVELS], trc,
                   size=size)
    _, path = out_of(src, run)
    got = shown(path, len(LEVELS))
    assert all(max(c) - min(c) < 5 for c in got), got
    ramp = [sum(c) / 765 for c in got]
    assert ramp == sorted(ramp)
    assert ramp[0] < .02 and .42 < ramp[1] < .54 and .66 < ramp[2] < .78
    assert .80 < ramp[3] < .90 and ramp[4] > .91 and ramp[5] > .97, ramp


@pytest.mark.parametrize("trc, curve", [("smpte2084", pq),
                                        ("arib-std-b67", hlg)])
def test_hdr_colours(run, trc, curve):
    """Red, green and blue of BT.709 within HDR stay such; those of BT.2020
    are as near as BT.709 comes."""
    small = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    inside = [[max(0, v) for v in convert(c, "bt709", "bt2020")]
              for c in small]
    if trc == "arib-std-b67":   # its curve is of luminance, not of each
        inside = small
    colours = [tuple(curve(100 * v) for v in c) for c in inside + small]
    src = hdr_clip(run, "a.mkv", colours, trc)
    _, path = out_of(src, run)
    for i, c in enumerate(shown(path, 6)):
        main = c[i % 3]
        assert main > 130, (i, c)
        assert all(v < 75 for k, v in enumerate(c) if k != i % 3), (i, c)


@pytest.mark.parametrize("params", [
    "max-cll=0,0", "max-cll=1,1", "max-cll=65535,65535",
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)"
    "WP(15635,16450)L(1,1)",
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)"
    "WP(15635,16450)L(4000000000,1)"], ids=[
        "nothing", "dark", "bright", "dark-display", "bright-display"])
def test_hdr_absurd_peaks(run, params):
    """Mastering data that no display has changes nothing."""
    colours = [(pq(v),) * 3 for v in LEVELS]
    plain = hdr_clip(run, "a.mkv", colours, "smpte2084")
    odd = hdr_clip(run, "b.mkv", colours, "smpte2084", params)
    got = [shown(out_of(src, run, name=src.stem)[1], len(LEVELS))
           for src in (plain, odd)]
    for a, b in zip(*got):
        assert near(a, b, 3), got


def test_hdr_by_its_transfer_alone(run):
    """PQ that names neither matrix nor primaries is of BT.2020."""
    src = hdr_clip(run, "a.mkv", [(pq(v),) * 3 for v in LEVELS], "smpte2084",
                   tags={"color_trc": "smpte2084"})
    _, path = out_of(src, run)
    ramp = [sum(c) / 765 for c in shown(path, len(LEVELS))]
    assert .80 < ramp[3] < .90 and .42 < ramp[1] < .54, ramp


def test_dolby_vision_8(run):
    """Its base layer is HDR10, and comes out as that does."""
    plain = hdr_clip(run, "a.mkv", [(pq(v),) * 3 for v in LEVELS],
                     "smpte2084")
    src = dolby(plain, run.path / "b.mp4", 8)
    told = run_command(["ffprobe", "-v", "error", "-show_streams", src]).stdout
    assert "dv_profile=8" in told
    got = [shown(out_of(s, run, name=s.stem)[1], len(LEVELS))
           for s in (plain, src)]
    assert all(near(a, b, 1) for a, b in zip(*got)), got
    ramp = [sum(c) / 765 for c in got[1]]
    assert .80 < ramp[3] < .90 and .42 < ramp[1] < .54, ramp


# --- alpha -------------------------------------------------------------------

def test_alpha_is_on_black(run):
    """ProRes 4444: full, half and no cover of white and of red."""
    cover = [(1, 1, 1, 1), (1, 1, 1, .5), (1, 1, 1, 0), (.8, .1, .1, 1),
             (.8, .1, .1, .5), (.8, .1, .1, 0)]
    pic = b"".join(b"".join(
        struct.pack("<H", round(a * 1023) if p == 3 else
                    to_yuv(c, "bt709", 10, False)[p]) * PATCH
        for *c, a in cover) * 32 for p in range(4))
    src = run.path / "a.mov"
    ffmpeg(*raw_args(raw(run, [pic] * 2), "%dx%d" % SIZE, 25,
                     "yuva444p10le"), "-vf", "setparams=range=tv:colorspace="
           "bt709:color_primaries=bt709:color_trc=bt709", "-c:v",
           "prores_ks", "-profile:v", "4444", src)
    _, path = out_of(src, run)
    check_patches(path, [[v * a for v in c] for *c, a in cover], 5)


# --- changes on the way ------------------------------------------------------

@pytest.mark.parametrize("change", ["range", "matrix", "format", "hdr"])
def test_colours_change_on_the_way(run, change):
    """Each part of a spliced stream by its own tags."""
    def part(i, **kw):
        given = dict(matrix="bt709", full=False, fmt="yuv420p")
        given.update(kw)
        return encode(run, f"{i}.ts", given.pop("colours", PATCHES),
                      tags=given.pop("tags", None) or {
                          "colorspace": given["matrix"],
                          "color_primaries": "bt709", "color_trc": "bt709"},
                      count=5, meta=["-output_ts_offset", str(i / 5),
                                     "-muxdelay", "0"], **given)

    if change == "hdr":
        other = dict(colours=[(pq(v),) * 3 for v in LEVELS], depth=10,
                     matrix="bt2020nc", fmt="yuv420p10le", codec=x265("bframes=0"), tags={
                         "color_primaries": "bt2020", "color_trc":
                         "smpte2084", "colorspace": "bt2020nc"})
        first = dict(codec=x265("bframes=0"), depth=10, fmt="yuv420p10le")
    else:
        first = {}
        other = {"range": dict(full=True), "matrix": dict(
            matrix="smpte170m"), "format": dict(
                fmt="yuv422p10le", depth=10)}[change]
    parts = [part(0, **first), part(1, **other)]
    src = run.path / "all.ts"
    src.write_bytes(b"".join(p.read_bytes() for p in parts))
    job, path = out_of(src, run)
    assert len(frames(path)[2]) == 10
    check_patches(path, PATCHES, frame=2)
    if change == "hdr":
        ramp = [sum(c) / 765 for c in shown(path, len(LEVELS), 7)]
        assert .80 < ramp[3] < .90 and ramp[0] < .02, ramp
    else:
        check_patches(path, PATCHES, frame=7)
