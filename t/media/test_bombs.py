"""Small files that ask for much: memory, time, streams, pixels, frames.  Each
ends by itself, soon and small, or is refused for what it claims."""

import os
import struct
import subprocess
import time

import pytest

from conftest import ALL_CONTAINERS, WORKERD, ffmpeg, transcode
from pixels import LOSSLESS, numbered, numbers
from rig import boxes
from test_hostile import H264, SMALL, put, refuse
from test_inputs_shape import out_of
from test_inputs_time import moov_first
from verify import decode

MEMORY = 1 << 30        # bytes, at most
SECONDS = 10            # of processor time


def measured(src, folder, *options):
    """(exit code, what was said) of a job that stays small and short."""
    args = [WORKERD, "transcode", "--quiet", "--passthrough", "off",
            "--formats", "mp4", "--allow", ALL_CONTAINERS, *options, src,
            folder]
    slow = WORKERD.parent.name != "build"
    if slow:
        args[2:2] = ["--sandbox", "off"]
    with open(folder.parent / "said", "w+") as said:
        begin = time.monotonic()
        p = subprocess.Popen([str(a) for a in args], stderr=said,
                             stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - begin
        said.seek(0)
        text = said.read()
    assert p.returncode in (0, 1), (p.returncode, text)
    assert "Sanitizer" not in text, text
    if not slow:
        assert usage.ru_maxrss * 1024 < MEMORY, usage.ru_maxrss
        assert usage.ru_utime + usage.ru_stime < SECONDS, usage
    assert took < 60
    return p.returncode, text


def code_of(said):
    return said.rsplit("workerd transcode: ", 1)[1].split(": ")[0]


# --- boxes -------------------------------------------------------------------

STBL = ("moov", "trak", "mdia", "minf", "stbl")
TABLES = {"stts": 4, "stsz": 8, "stsc": 4, "ctts": 4, "stco": 4, "stss": 4}


@pytest.mark.parametrize("count", [0xffffffff, 0x7fffffff, 0x0fffffff])
@pytest.mark.parametrize("table", TABLES)
def test_tables_that_claim_billions(table, count, run):
    src = numbered(run, "a.mp4", 25, *LOSSLESS, "-bf", "2", "-g", "10")
    data = moov_first(src)
    (at, _), = boxes.find(data, *STBL, table)
    struct.pack_into(">I", data, at + TABLES[table], count)
    code, said = measured(put(run, "b.mp4", data), run.path / "out")
    assert code == 0 or code_of(said) in ("invalid_media", "frame_limit",
                                          "duration_too_long"), said


def test_one_sample_of_a_length_for_all(run):
    """A size for all samples and 2^32-1 of them takes no table at all."""
    src = numbered(run, "a.mp4", 25)
    data = moov_first(src)
    boxes.replace(data, boxes.box("stsz", struct.pack(">III", 0, 1,
                                                      0xffffffff)), *STBL,
                  "stsz")
    code, said = measured(put(run, "b.mp4", data), run.path / "out")
    assert code == 1 and code_of(said) == "invalid_media", said


def nested(kinds, depth):
    """`depth` boxes in each other."""
    size = 8 * depth
    return b"".join(struct.pack(">I4s", size - 8 * i,
                                kinds[i % len(kinds)]) for i in range(depth))


@pytest.mark.parametrize("kinds", [[b"moov"], [b"trak", b"mdia"],
                                   [b"udta", b"meta"], [b"moof", b"traf"],
                                   [b"wide"]])
@pytest.mark.parametrize("depth", [100, 100000])
def test_boxes_in_boxes(kinds, depth, run):
    data = boxes.box("ftyp", b"isom\0\0\2\0isomiso2") + nested(
        [b"moov", *kinds], depth)
    code, said = measured(put(run, "b.mp4", data), run.path / "out")
    assert code == 1 and code_of(said) in ("invalid_media", "no_video"), said


@pytest.mark.parametrize("size", [0, 1, 2, 7, 0x7fffffff, 0xffffffff])
@pytest.mark.parametrize("kind", ["moov", "trak", "stbl", "stsd", "mdat"])
def test_sizes_of_boxes(kind, size, run):
    """0: to the end; 1: 64 bits follow; below 8: nothing can be so small."""
    src = numbered(run, "a.mp4", 25)
    data = moov_first(src)
    at = data.index(kind.encode()) - 4
    struct.pack_into(">I", data, at, size)
    code, said = measured(put(run, "b.mp4", data), run.path / "out")
    assert code == 0 or code_of(said) in ("invalid_media", "no_video"), said
    if code == 0:
        assert numbers(run.path / "out/mp4/32p.mp4") == [*range(25)]


# --- EBML --------------------------------------------------------------------

def vint(value, length=8):
    return (1 << 7 * length | value).to_bytes(length, "big")


def element(ident, body, size=None):
    return ident + vint(len(body) if size is None else size) + body


EBML = element(b"\x1a\x45\xdf\xa3", element(b"\x42\x82", b"matroska"))
SEGMENT, CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
VIDEO = element(b"\xe0", element(b"\xb0", b"\0\x40") + element(
    b"\xba", b"\0\x20"))


def track(codec, *more, number=1, kind=1, video=VIDEO):
    return element(b"\x16\x54\xae\x6b", element(
        b"\xae", element(b"\xd7", bytes([number]))
        + element(b"\x73\xc5", bytes([number])) + element(b"\x83",
                                                          bytes([kind]))
        + element(b"\x86", codec) + video + b"".join(more)))


def cluster(*blocks, at=0):
    return element(CLUSTER, element(b"\xe7", at.to_bytes(4, "big"))
                   + b"".join(element(b"\xa3", b) for b in blocks))


def lace(kind, frames, data):
    """A block with `frames` frames: 1 Xiph, 2 fixed, 3 EBML."""
    return b"\x81\0\0" + bytes([kind << 1 | 0x80, frames - 1]) + data


LACES = {
    # 256 frames each, of nothing
    "fixed": lace(2, 256, b""), "xiph": lace(1, 256, bytes(255)),
    # sizes that say more than there is, and differences below nothing
    "xiph sizes": lace(1, 256, b"\xff" * 4000),
    "ebml sizes": lace(3, 256, vint(0xffffffffffff) * 255),
    "ebml differences": lace(3, 256, b"\x80" + b"\x80" * 254),
}


@pytest.mark.parametrize("name", LACES)
def test_laces(name, run):
    data = EBML + element(SEGMENT, track(b"V_MPEG4/ISO/ASP") + b"".join(
        cluster(*[LACES[name]] * 100, at=i) for i in range(40)))
    code, said = measured(put(run, "a.mkv", data), run.path / "out")
    assert code == 1 and code_of(said) == "invalid_media", said


@pytest.mark.parametrize("ident", [b"\x1c\x53\xbb\x6b", b"\x12\x54\xc3\x67",
                                   b"\x10\x43\xa7\x70", b"\x19\x41\xa4\x69"])
@pytest.mark.parametrize("depth", [50, 100000])
def test_elements_in_elements(ident, depth, run):
    """Cues, tags (which may hold tags), chapters, attachments; and sizes that
    go on after the file's end."""
    inner = {b"\x12\x54\xc3\x67": b"\x67\xc8", b"\x10\x43\xa7\x70": b"\xb6"}
    nest = b"".join((inner.get(ident, ident)) + vint((1 << 40) - i)
                    for i in range(depth))
    data = EBML + SEGMENT + b"\x01" + b"\xff" * 7 + track(
        b"V_MPEG4/ISO/ASP") + ident + vint(1 << 41) + nest
    code, said = measured(put(run, "a.mkv", data), run.path / "out")
    assert code == 1 and code_of(said) == "invalid_media", said


def test_attachments_and_fonts(run):
    """Whatever is attached is neither used nor counted as a stream of its
    own kind; a font of some MiB is passed over."""
    good = numbered(run, "good.mkv", 25)
    attach = []
    for i, (name, mime) in enumerate((
            ("a.ttf", "application/x-truetype-font"), ("b.otf", "font/otf"),
            ("c.exe", "application/octet-stream"),
            ("../../d.html", "text/html"))):
        path = run.path / f"att{i}"
        path.write_bytes(b"\0\1\0\0" + bytes(3 << 20))
        attach += ["-attach", path, f"-metadata:s:t:{i}", f"mimetype={mime}",
                   f"-metadata:s:t:{i}", f"filename={name}"]
    src = run.path / "a.mkv"
    ffmpeg("-i", good, *attach, "-c", "copy", src)
    job, path = out_of(src, run)
    assert numbers(path) == [*range(25)]
    assert not [p for p in job.output.files("**/*")
                if p.suffix in (".ttf", ".otf", ".exe", ".html")]


# --- streams, pixels, frames -------------------------------------------------

@pytest.mark.parametrize("name, codec", [("a.mkv", "pcm_s16le"),
                                         ("a.mov", "pcm_s16le"),
                                         ("a.mp4", "aac"), ("a.ts", "mp2")])
def test_a_hundred_streams(name, codec, made, run):
    maps = [x for _ in range(99) for x in ("-map", "1:a")]
    src = made(name, *SMALL, "-f", "lavfi", "-i", "sine=r=44100:d=0.2", "-t",
               "0.2", "-map", "0:v", *maps, *H264, "-c:a", codec)
    assert refuse(src, run) == "too_many_streams"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.avi", "a.ts"])
def test_sound_alone(name, made, run):
    src = made(name, "-f", "lavfi", "-i", "sine=d=1", "-c:a",
               "mp2" if name in ("a.avi", "a.ts") else "aac")
    assert refuse(src, run) == "no_video"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.flv"])
def test_pixels_that_only_the_codec_tells(name, made, run):
    """72 million of them in some KB: refused before anything of that size is made."""
    src = made(name, "-f", "lavfi", "-i", "color=s=12000x6000:r=1:d=1",
               "-frames:v", "1", *H264, "-threads", "1")
    if name == "a.mp4":          # the container says something small
        data = bytearray(src.read_bytes())
        (at, _), = boxes.find(data, *STBL, "stsd")
        struct.pack_into(">HH", data, at + 8 + 32, 64, 32)
        src.write_bytes(data)
    code, said = measured(src, run.path / "out")
    assert code == 1 and code_of(said) in ("resolution_too_large",
                                           "invalid_media"), said


def test_a_day(made, run):
    """A picture every ten seconds for a day, whole and consistent."""
    for name in ("a.mp4", "a.mkv"):
        src = made(name, "-f", "lavfi", "-i", "color=s=32x32:r=1/10:d=86400",
                   *H264)
        code, said = measured(src, run.path / "out")
        assert code == 1 and code_of(said) == "duration_too_long", said


# --- samples and stamps ------------------------------------------------------

def with_sizes(run, zero):
    """25 frames, all key frames, of which those in `zero` have no bytes."""
    src = numbered(run, "a.mp4", 25, *LOSSLESS, "-g", "1", "-bf", "0")
    data = moov_first(src)
    (at, _), = boxes.find(data, *STBL, "stsz")
    sizes = list(struct.unpack_from(">25I", data, at + 12))
    (co, _), = boxes.find(data, *STBL, "stco")
    first, = struct.unpack_from(">I", data, co + 8)
    assert struct.unpack_from(">I", data, co + 4)[0] == 1
    # each sample a chunk of its own, so that the others keep their places
    places = [first + sum(sizes[:i]) for i in range(25)]
    by = 4 * 24
    for i in zero:
        sizes[i] = 0
    struct.pack_into(">25I", data, at + 12, *sizes)
    boxes.replace(data, boxes.box("stsc", struct.pack(">IIIII", 0, 1, 1, 1,
                                                      1)), *STBL, "stsc")
    (co, _), = boxes.find(data, *STBL, "stco")
    moved = struct.unpack_from(">I", data, co + 8)[0] - first
    assert moved == 0 or moved < 0
    boxes.replace(data, boxes.box("stco", struct.pack(
        ">II25I", 0, 25, *[p + moved + by for p in places])), *STBL, "stco")
    src.write_bytes(data)
    return src


@pytest.mark.parametrize("zero", [[5], [0], [24], [3, 4, 5]])
def test_samples_of_no_bytes(zero, run):
    """A picture that is not there: the one before stands for it."""
    got = numbers(out_of(with_sizes(run, zero), run)[1])
    assert set(got) == set(range(25)) - set(zero), got
    assert got == sorted(got) and 25 - len(zero) <= len(got) <= 26


STAMPS = {
    "duplicate": "floor(N/2)*2",
    "all the same": "0*N",
    "all but the last the same": "if(lt(N,24),0,24)",
    "backwards": "24-N",
    "up and down": "N+if(mod(N,2),-3,3)",
    "one far back": "N-if(eq(N,12),500,0)",
    "negative": "N-300",
}


@pytest.mark.parametrize("name", STAMPS)
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_stamps_in_disorder(name, ending, run):
    """It ends; what comes out is a video whose times go up."""
    src = run.path / f"a.{ending}"
    good = numbered(run, "good.mkv", 25, *LOSSLESS, "-g", "1", "-bf", "0")
    ffmpeg("-i", good, "-c", "copy", "-bsf:v",
           f"setts=pts='({STAMPS[name]})/25/TB':dts=N", src)
    code, said = measured(src, run.path / "out")
    if code:
        assert code_of(said) in ("invalid_media", "frame_limit"), said
        return
    times = decode(run.path / "out/mp4/32p.mp4")["v"]
    assert times[0] == 0 and all(b > a for a, b in zip(times, times[1:]))
    assert 1 <= len(times) <= 600, times
