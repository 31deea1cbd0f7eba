"""What calls itself a video and is something else, and videos with something
else in or around them: nothing but the container is looked at, nothing of it
is opened, nothing of it comes out."""

import random
import struct
from xml.etree import ElementTree

import pytest

from conftest import ffmpeg, transcode
from pixels import LOSSLESS, numbered, numbers
from rig import boxes
from test_hostile import put, refuse
from test_inputs_shape import out_of
from verify import parse_master, run as tool

# a playlist that shows this very machine's files to whoever follows it
M3U8 = (b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:10\n"
        b"#EXTINF:10.0,\nconcat:file:///etc/passwd|file:///etc/hostname\n"
        b"#EXT-X-ENDLIST\n")
MPD = (b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
       b'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
       b"<Period><BaseURL>file:///etc/passwd</BaseURL></Period></MPD>\n")

DISGUISED = {
    "m3u8": M3U8,
    "m3u8 behind a mark": b"\xef\xbb\xbf" + M3U8,
    "ffconcat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "dash": MPD,
    "smooth streaming": b'<SmoothStreamingMedia MajorVersion="2"/>' * 3,
    "imf": b'<?xml version="1.0"?><CompositionPlaylist/>\n',
    "sdp": (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\n"
            b"c=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg">'
            b'<image href="file:///etc/passwd"/></svg>'),
    "html": b"<!DOCTYPE html><script>alert(1)</script>\n",
    "php": b"<?php system($_GET['c']); ?>\n",
    "zip": b"PK\3\4\x14\0\0\0\x08\0" + bytes(range(256)),
    "exe": b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0" + bytes(200),
    "elf": b"\177ELF\2\1\1" + bytes(200),
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(100),
    "y4m": b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(4608),
    "wav": b"RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\xbb\0\0\0w\1\0"
           b"\2\0\x10\0data\0\x10\0\0" + bytes(4096),
}


@pytest.mark.parametrize("kind", DISGUISED)
def test_no_container(kind, run):
    assert refuse(put(run, "x.mp4", DISGUISED[kind]), run) \
        == "unsupported_format"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp",
                                  "a.bmp", "a.tiff"])
def test_stills(name, made, run):
    src = made(name, "-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=1",
               *(() if name == "a.gif" else ("-frames:v", "1")))
    assert refuse(src.rename(run.path / "x.mp4"), run) \
        == "unsupported_format"


@pytest.mark.parametrize("size", [0, 1, 2, 11, 65536])
def test_nothing_and_zeros(size, run):
    assert refuse(put(run, "x.mp4", bytes(size)), run) == "invalid_media"


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes(seed, run):
    data = random.Random(seed).randbytes(65536)
    assert refuse(put(run, "x.mp4", data), run) == "invalid_media"


# --- AVI that carries a playlist ---------------------------------------------

def chunk(kind, *parts):
    body = b"".join(parts)
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (
        len(body) & 1)


def avi_list(kind, *parts):
    return chunk(b"LIST", kind, *parts)


def gab2(text):
    """Subtitles as AVI has them: a whole file within the stream, which libav
    hands to whatever demuxer takes it for its own."""
    name = "x.srt\0".encode("utf-16-le")
    return (b"GAB2\0\2\0" + struct.pack("<I", len(name)) + name + b"\4\0"
            + struct.pack("<I", len(text)) + text)


def avi(*streams):
    """An AVI of (fourcc of the type, handler, format, [packets])."""
    heads, movi = [], []
    for i, (kind, handler, form, packets) in enumerate(streams):
        heads.append(avi_list(b"strl", chunk(b"strh", struct.pack(
            "<4s4sIHHIIIIIIII4H", kind, handler, 0, 0, 0, 0, 1, 25, 0,
            max(1, len(packets)), 1 << 16, 0xffffffff, 0, 0, 0, 64, 32)),
            chunk(b"strf", form)))
        two = b"dc" if kind == b"vids" else b"tx"
        movi += [chunk(b"%02d" % i + two, p) for p in packets]
    main = chunk(b"avih", struct.pack("<14I", 40000, 1 << 20, 0, 0, 25, 0,
                                      len(streams), 1 << 16, 64, 32, 0, 0,
                                      0, 0))
    return chunk(b"RIFF", b"AVI ", avi_list(b"hdrl", main, *heads),
                 avi_list(b"movi", *movi))


def bitmap(fourcc, width=64, height=32):
    return struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, fourcc,
                       width * height * 3, 0, 0, 0, 0)


HIDDEN = {"m3u8": M3U8, "ffconcat": DISGUISED["ffconcat"], "dash": MPD,
          "sdp": DISGUISED["sdp"], "xbin": b"XBIN\x1a" + M3U8}


@pytest.mark.parametrize("kind", HIDDEN)
def test_playlist_in_an_avi(kind, run):
    """Alone there is no video; beside a picture it is not opened."""
    trick = (b"txts", b"\0\0\0\0", b"", [gab2(HIDDEN[kind])])
    assert refuse(put(run, "x.mp4", avi(trick)), run) == "no_video"

    xbin = (b"vids", b"XBIN", bitmap(b"XBIN"), [HIDDEN[kind]])
    assert refuse(put(run, "y.mp4", avi(xbin, trick)), run) \
        == "unsupported_codec"

    jpegs = run.path / "pictures"
    if not jpegs.exists():
        jpegs.mkdir()
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x32:r=25:d=0.4", "-pix_fmt",
           "yuvj420p", jpegs / "%d.jpg")
    picture = (b"vids", b"MJPG", bitmap(b"MJPG"), [
        p.read_bytes() for p in sorted(jpegs.iterdir(),
                                       key=lambda p: int(p.stem))])
    job = transcode(put(run, "z.mp4", avi(trick, picture)), run.path / "out",
                    "--formats", "hls")
    assert job.doc["source"]["frames"] == 10
    assert not job.doc.get("subtitles")
    assert not job.output.files("hls/text-*")


# --- videos with something else around them ----------------------------------

PAYLOADS = {
    "zip": b"PK\3\4" + bytes(60) + b"PK\1\2" + bytes(60) + b"PK\5\6"
           + bytes(18),
    "exe": b"MZ\x90\0" + bytes(60) + b"PE\0\0" + bytes(100),
    "php": b"<?php system($_GET['c']); ?>",
    "html": b"<html><script>alert(1)</script></html>",
}


@pytest.mark.parametrize("where", ["free", "end"])
@pytest.mark.parametrize("kind", PAYLOADS)
def test_polyglot(kind, where, run):
    """A video that is a program, an archive or a page besides: the video
    comes out, the rest does not."""
    src = numbered(run, "a.mp4", 25)
    data = src.read_bytes()
    head = struct.unpack_from(">I", data)[0]
    assert data[4:8] == b"ftyp"
    payload = PAYLOADS[kind]
    if where == "end":
        data += payload
    else:
        filler = boxes.box("free", payload)
        new = bytearray(data)
        for at, _ in boxes.find(new, "moov", "trak", "mdia", "minf", "stbl",
                                "stco"):
            for i in range(struct.unpack_from(">I", new, at + 4)[0]):
                old = struct.unpack_from(">I", new, at + 8 + 4 * i)[0]
                struct.pack_into(">I", new, at + 8 + 4 * i,
                                 old + len(filler))
        data = bytes(new[:head]) + filler + bytes(new[head:])
    src.write_bytes(data)
    job, path = out_of(src, run)
    assert numbers(path) == [*range(25)]
    for p in job.output.files("**/*"):
        if p.is_file():
            assert payload[:28].rstrip(b"\0") not in p.read_bytes() \
                or len(payload[:28].rstrip(b"\0")) < 8, p


# --- words -------------------------------------------------------------------

EVIL = ('"><script>alert(1)</script>\n#EXT-X-MEDIA:TYPE=VIDEO,URI="//evil"'
        "\r\n\x1b]0;x\x07")


def strings(doc):
    if isinstance(doc, dict):
        for k, v in doc.items():
            yield from strings(k)
            yield from strings(v)
    elif isinstance(doc, list):
        for v in doc:
            yield from strings(v)
    elif isinstance(doc, str):
        yield doc


def test_words_of_a_file_do_no_harm(run):
    """Titles with markup and line ends: of the file nothing is taken, of a
    track one line that no playlist, page or terminal reads as its own."""
    srt = run.path / "s.srt"
    srt.write_text("1\n00:00:00,000 --> 00:00:01,000\n"
                   "<script>alert(1)</script>--> x\n")
    good = numbered(run, "good.mkv", 50)
    src = run.path / "a.mkv"
    ffmpeg("-i", good, "-f", "lavfi", "-i", "sine=d=2", "-f", "lavfi", "-i",
           "sine=f=880:d=2", "-i", srt, "-map", "0", "-map", "1", "-map", "2",
           "-map", "3", "-c:v", "copy", "-c:a", "aac", "-c:s", "subrip",
           *[x for key in ("title", "artist", "comment", "encoder")
             for x in ("-metadata", f"{key}={EVIL}")],
           *[x for s in ("a:0", "a:1", "s:0", "v:0")
             for x in (f"-metadata:s:{s}", f"title={EVIL}")],
           "-metadata:s:a:0", 'language="><', src)
    job = transcode(src, run.path / "out", "--formats", "mp4,hls")
    said = [*strings(job.doc), *strings(job.messages)]
    assert any("script" in word for word in said)     # as a label
    for word in said:
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in word), (
            repr(word))
    master = parse_master(job.output.hls / "master.m3u8")
    assert len(master.audio) == 2 and len(master.texts) == 1
    assert len({a["NAME"] for a in master.audio}) == 2
    mpd = ElementTree.parse(job.output.folder / "dash/manifest.mpd")
    assert not [x for x in mpd.iter() if "script" in x.tag]
    for path in job.output.files("**/*.vtt"):
        assert "<script" not in path.read_text(), path
    for ending in ("mp4", "m4s"):
        for path in job.output.files(f"**/*.{ending}"):
            assert b"<script" not in path.read_bytes(), path
    said = tool("ffprobe", "-v", "error", "-show_entries",
                "format_tags:stream_tags", job.output.files("mp4/*.mp4")[0])
    assert "script" not in said and "evil" not in said


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_title_of_ten_megabytes(ending, run):
    src = numbered(run, f"a.{ending}", 25)
    size = 10 << 20
    if ending == "mp4":
        data = bytearray(src.read_bytes())
        text = boxes.box("data", struct.pack(">II", 1, 0), b"A" * size)
        meta = boxes.box(
            "meta", bytes(4),
            boxes.box("hdlr", bytes(8), b"mdirappl", bytes(9)),
            boxes.box("ilst", boxes.box("\xa9nam", text)))
        boxes.insert(data, boxes.box("udta", meta), "moov")
        src.write_bytes(data)
    else:
        title = run.path / "title.txt"
        title.write_text(";FFMETADATA1\ntitle=" + "A" * size + "\n")
        plain = src.rename(run.path / "plain.mkv")
        ffmpeg("-i", plain, "-i", title, "-map_metadata", "1", "-c", "copy",
               src)
    assert src.stat().st_size > size
    job, path = out_of(src, run)
    assert numbers(path) == [*range(25)]
    assert path.stat().st_size < 1 << 20
    assert len(job.stderr) < 100000
