"""That the linter of hls_lint.py sees what it is there to see: an output that
is right, and then each rule broken in it."""

import gzip
import pathlib
import re
import shutil
import struct

import pytest

import hls_lint
from conftest import WORKERD, transcode
from rig.run import run_command
from verify import boxes


@pytest.fixture(scope="module")
def good(module_run):
    """9 s of two rungs with sound."""
    base = pathlib.Path(module_run.path)
    run_command([WORKERD, "clip", base / "clip.mp4", "--seconds", "9",
                 "--size", "1280x720"])
    transcode(base / "clip.mp4", base / "out", "--formats", "hls")
    return base / "out"


@pytest.fixture
def out(good, tmp_path):
    shutil.copytree(good, tmp_path / "out")
    return tmp_path / "out"


def numbers(found):
    return {x.split()[0] for x in found}


def edit(pattern, to, name="master.m3u8", count=1):
    """A change of a playlist and of its .gz."""
    def change(out):
        path = out / "hls" / name
        text, n = re.subn(pattern, to, path.read_text(), count=count,
                          flags=re.M)
        assert n, f"{pattern} is not in {name}"
        path.write_text(text)
        (path.parent / (path.name + ".gz")).write_bytes(
            gzip.compress(text.encode()))
    return change


def patch(name, old, new):
    """A change of bytes in a file below hls/; `old` is a regex."""
    def change(out):
        path = out / "hls" / name
        data, n = re.subn(old, new, path.read_bytes(), count=1, flags=re.S)
        assert n, f"{old} is not in {name}"
        path.write_bytes(data)
    return change


def both(*changes):
    def change(out):
        for c in changes:
            c(out)
    return change


def hevc_level(level):
    """A record of HEVC's, of level / 30, where H.264 has its own."""
    hvcc = b"hvcC\1" + struct.pack(">BIHIB", 1, 0x60000000, 0x9000, 0, level)
    return patch("480p/init.mp4", rb"avcC\x01(.{12})",
                 hvcc.replace(b"\\", b"\\\\"))


def second_stream(out):
    path = out / "hls/480p/init.mp4"
    data = path.read_bytes()
    at, end = next((a, e) for k, a, e in boxes(data) if k == "moov")
    trak = next(data[a - 8:e] for k, a, e in boxes(data, at, end)
                if k == "trak")
    size = struct.pack(">I", end - at + 8 + len(trak))
    path.write_bytes(data[:at - 8] + size + data[at - 4:end] + trak
                     + data[end:])


def other_tfdt(name, add):
    def change(out):
        path = out / "hls" / name
        data = path.read_bytes()
        at = data.find(b"tfdt") + 8
        fmt = ">Q" if data[at - 4] else ">I"
        was = struct.unpack_from(fmt, data, at)[0]
        path.write_bytes(data[:at] + struct.pack(fmt, was + add)
                         + data[at + struct.calcsize(fmt):])
    return change


def no_idr(out):
    path = out / "hls/720p/s00001.m4s"
    data = bytearray(path.read_bytes())
    at = data.find(b"mdat") + 4
    while data[at + 4] & 31 != 5:
        at += 4 + struct.unpack_from(">I", data, at)[0]
    data[at + 4] = data[at + 4] & 0xe0 | 1
    path.write_bytes(data)


def slower(out):
    """Half the time scale: all of it lasts twice as long."""
    path = out / "hls/720p/init.mp4"
    data = path.read_bytes()
    at = data.find(b"mdhd") + 4 + 12
    scale = struct.unpack_from(">I", data, at)[0]
    path.write_bytes(data[:at] + struct.pack(">I", scale // 2)
                     + data[at + 4:])


def swap_variants(out):
    path = out / "hls/master.m3u8"
    text = path.read_text()
    pairs = re.findall(r"#EXT-X-STREAM-INF:.*\n.*\n", text)
    rest = text
    for p in pairs:
        rest = rest.replace(p, "")
    path.write_text(rest + "".join(reversed(pairs)))


INF = r"(#EXT-X-STREAM-INF:.*)"
BROKEN = {
    "1.2": edit(r'CODECS="avc1', 'CODECS="avc3'),
    "1.3b": patch("720p/init.mp4", rb"avcC\x01\x64", b"avcC\x01\x6e"),
    "1.6": hevc_level(153),
    "1.19": edit("FRAME-RATE=25", "FRAME-RATE=75"),
    "1.24": edit("FRAME-RATE=", "VIDEO-RANGE=PQ,FRAME-RATE=", count=0),
    "1.26": edit(r"AVERAGE-BANDWIDTH=(\d)", r"AVERAGE-BANDWIDTH=9\1"),
    "1.27": edit(r":BANDWIDTH=(\d)", r":BANDWIDTH=9\1"),
    "2.3": edit('CHANNELS="2"', 'CHANNELS="1"'),
    "2.17": second_stream,
    "6.1": edit(r"#EXT-X-I-FRAME-STREAM-INF:.*\n", ""),
    "6.8": edit(r"#EXT-X-I-FRAMES-ONLY\n", "", "480p/iframes.m3u8"),
    "6.10": edit(r"(#EXT-X-BYTERANGE:\d+@)(\d+)", r"\g<1>1\2",
                 "480p/iframes.m3u8"),
    "7.1": other_tfdt("480p/s00001.m4s", 1),
    "7.3": edit(r"#EXTINF:2\.000000", "#EXTINF:2.900000", "480p/index.m3u8"),
    "7.4": no_idr,
    "7.7": edit("TARGETDURATION:6", "TARGETDURATION:1", "480p/index.m3u8"),
    "8.1": edit(r"#EXTINF:2\.000000", "#EXTINF:2.900000", "480p/index.m3u8"),
    "8.2": edit("TARGETDURATION:6", "TARGETDURATION:7", "audio/index.m3u8"),
    "8.3": edit(r"#EXTINF:.*\ns00003.m4s\n", "", "audio/index.m3u8"),
    "8.6": edit("VOD", "EVENT", "480p/index.m3u8"),
    "8.7": other_tfdt("480p/s00000.m4s", 1000),
    "8.9": edit(INF[:-1] + 'AUDIO=")audio', r"\1other"),
    "8.10": edit(r'LANGUAGE="[^"]*",', ""),
    "8.20": edit(r"#EXT-X-MAP.*\n", "", "480p/index.m3u8"),
    "9.1": edit(r"avc1\.64", "avc1.4d"),
    "9.2": edit("RESOLUTION=1280x720", "RESOLUTION=1280x718"),
    "9.3": edit(r'(#EXT-X-I-FRAME-STREAM-INF:.*CODECS=")avc1\.64',
                r"\1avc1.4d"),
    "9.13": edit(r":BANDWIDTH=\d+(\d{5})", r":BANDWIDTH=1\1"),
    "9.15": edit(r"FRAME-RATE=25\.000", "FRAME-RATE=24.000"),
    "9.16": edit("FRAME-RATE=", "VIDEO-RANGE=PQ,FRAME-RATE="),
    "10.1": lambda out: (out / "hls/480p/index.m3u8.gz").unlink(),
}

UNWISE = {
    "1.3a": both(*(patch(f"{q}/init.mp4", rb"(avcC\x01..).", rb"\g<1>3")
                   for q in ("480p", "720p"))),
    "1.4": patch("480p/init.mp4", rb"avcC\x01\x64", b"avcC\x01\x4d"),
    "1.10": patch("480p/init.mp4", b"avc1", b"avc3"),
    "1.13": slower,
    "1.32": swap_variants,
    "1.33": patch("480p/init.mp4", rb"(tkhd.{80})..", b"\\g<1>\x01\x00"),
    "2.4": patch("audio/init.mp4", rb"(\x05\x80\x80\x80.).", rb"\g<1>*"),
    "7.5": both(*(edit("TARGETDURATION:6", "TARGETDURATION:8",
                       f"{t}/index.m3u8") for t in ("480p", "audio"))),
    "8.22": edit(r"#EXTINF:2\.000000", "#EXTINF:2.900000", "480p/index.m3u8"),
    "9.11": edit(r"#EXT-X-INDEPENDENT-SEGMENTS\n", ""),
}

MEASURED = {"1.30": (9000000, 1000000), "2.9": (200000, 200000)}


def test_right_as_it_is(good):
    assert hls_lint.lint(good) == [] and hls_lint.advice(good) == []


def test_every_rule_is_broken_below():
    assert set(BROKEN) == set(hls_lint.MUSTS)
    assert set(UNWISE) | set(MEASURED) == set(hls_lint.SHOULDS)
    told = set(hls_lint.MUSTS) | set(hls_lint.SHOULDS)
    assert not told & set(hls_lint.ELSEWHERE)


@pytest.mark.parametrize("number", sorted(BROKEN))
def test_must(out, number):
    BROKEN[number](out)
    assert number in numbers(hls_lint.lint(out))


@pytest.mark.parametrize("number", sorted(UNWISE))
def test_should(out, number):
    UNWISE[number](out)
    assert number in numbers(hls_lint.advice(out))


@pytest.mark.parametrize("number", sorted(MEASURED))
def test_measured(out, number, monkeypatch):
    monkeypatch.setattr(hls_lint, "measured", lambda media: MEASURED[number])
    assert number in numbers(hls_lint.advice(out))
