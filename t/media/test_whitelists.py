"""What of libav a file's bytes can reach: seen by a library that stands
between workerd, libavformat and libavcodec (spy.c)."""

import re
import struct

import pytest

from conftest import WORKERD, ffmpeg
from pixels import numbered
from rig import boxes
from rig.run import ROOT, is_asan, run_command
from test_bombs import EBML, SEGMENT, STBL, cluster, element, track
from test_disguised import HIDDEN, avi, bitmap, gab2

DECODERS = """h264 hevc vp8 vp9 libdav1d mpeg4 mpeg2video mjpeg prores dnxhd
dvvideo aac mp3 mp3float opus vorbis ac3 eac3 flac alac subrip srt ass ssa
mov_text webvtt cc_dec""".split()
# by the names of codecs; each is that of a decoder above
PARSERS = """h264 hevc vp8 vp9 av1 mpeg4 mpeg2video mjpeg dnxhd dvvideo aac
mp3 opus vorbis ac3 eac3 flac""".split()
DEMUXERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"}


@pytest.fixture(scope="module")
def spy(module_run):
    lib = module_run.path / "spy.so"
    flags = run_command(["pkg-config", "--cflags", "libavformat",
                         "libavcodec"]).stdout.split()
    run_command(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                 "-Werror", "-shared", "-fPIC", *flags, "-o", lib,
                 ROOT / "t/media/spy.c", "-ldl"])

    def seen(src, folder, allow="mp4,mov,avi,mkv,webm"):
        env = {"PATH": "/nonexistent", "LC_ALL": "C.UTF-8",
               "LD_PRELOAD": str(lib)}
        if is_asan():
            env["ASAN_OPTIONS"] = "verify_asan_link_order=0"
        off = [] if WORKERD.parent.name == "build" else ["--sandbox", "off"]
        p = run_command([WORKERD, "transcode", "--quiet", "--formats", "mp4",
                         "--allow", allow, *off, src, folder], check=False,
                        env=env)
        assert p.returncode in (0, 1), p.stderr
        found = {"decoder": set(), "parser": set(), "demuxer": set()}
        for kind, name in re.findall(r"^spy (\w+) (\S+)$", p.stderr, re.M):
            found[kind].add(name)
        return found, p.returncode
    return seen


def check(found):
    wrong = {x for x in found["decoder"]
             if x not in DECODERS and not x.startswith("pcm_")}
    assert not wrong, wrong
    assert found["parser"] <= set(PARSERS), found["parser"] - set(PARSERS)
    assert found["demuxer"] <= DEMUXERS, found["demuxer"]


def test_the_spy_sees(run, spy):
    """What it is there for: a plain video opens just what it needs."""
    found, code = spy(numbered(run, "a.mp4", 10), run.path / "out")
    assert code == 0
    assert found == {"decoder": {"h264"}, "parser": {"h264"},
                     "demuxer": {"mov,mp4,m4a,3gp,3g2,mj2"}}


# a sample description's name -> what libav takes it for
TAGS = ["png ", "gif ", "tiff", "cvid", "SVQ3", "FFV1", "drac", "WMV3",
        "vc-1", "mjp2", "icod", "tmcd", "mebx", "c608"]


@pytest.mark.parametrize("beside", [False, True])
def test_tracks_of_mov(beside, run, spy):
    """A track of every such kind, alone and beside a good one."""
    for i, tag in enumerate(TAGS):
        src = numbered(run, f"{i}.mov", 3)
        if beside:
            both = run.path / f"b{i}.mov"
            ffmpeg("-i", src, "-map", "0", "-map", "0", "-c", "copy", both)
            src = both
        data = bytearray(src.read_bytes())
        (at, _), = boxes.find(data, *STBL, "stsd")[-1:]
        data[at + 12:at + 16] = tag.encode()
        src.write_bytes(data)
        found, code = spy(src, run.path / f"out{beside}{i}")
        check(found)
        assert code == (0 if beside else 1), tag
        if beside:
            assert "h264" in found["decoder"]


MKV = {1: """V_SNOW V_DIRAC V_THEORA V_FFV1 V_QUICKTIME V_REAL/RV40
V_UNCOMPRESSED V_JPEG2000 V_AVS2 V_CAVS V_MPEG1""".split(),
       2: """A_TRUEHD A_MLP A_DTS A_WAVPACK4 A_TTA1 A_REAL/COOK A_QUICKTIME/QDM2
A_MPEG/L2 A_ATRAC/AT1""".split(),
       17: "S_HDMV/PGS S_DVBSUB S_VOBSUB S_HDMV/TEXTST S_ARIBSUB".split()}


def test_tracks_of_matroska(run, spy):
    for kind, names in MKV.items():
        for i, name in enumerate(names):
            more = () if kind == 1 else (element(b"\xe1", element(
                b"\xb5", struct.pack(">d", 48000)) + element(
                    b"\x9f", b"\2")),)
            data = EBML + element(SEGMENT, track(
                name.encode(), *more, kind=kind) + cluster(
                    *[b"\x81\0\0\x80" + bytes(range(64))] * 20))
            src = run.path / f"{kind}-{i}.mkv"
            src.write_bytes(data)
            found, code = spy(src, run.path / f"out{kind}-{i}")
            check(found)
            assert code == 1


def test_pictures_of_avi(run, spy):
    for i, fourcc in enumerate((b"MAGY", b"PNG1", b"XBIN", b"CVID", b"FFVH",
                                b"drac", b"WMV3", b"SNOW", b"CAVS", b"TSCC")):
        src = run.path / f"{i}.avi"
        src.write_bytes(avi(
            (b"txts", b"\0\0\0\0", b"", [gab2(HIDDEN["m3u8"])]),
            (b"vids", fourcc, bitmap(fourcc), [bytes(range(64))] * 5)))
        found, code = spy(src, run.path / f"out{i}")
        check(found)
        assert code == 1
