"""The packagers, fed with packets of clips by build/packtool."""

import json
import re
import struct
import subprocess

import pytest

from rig import media
from rig.run import BUILD, run_command
from verify import (Output, boxes, decode, find_box, flashes, packet_hashes,
                    parse_master, parse_media, run as tool, start_times, sync)

PACKTOOL = BUILD / "packtool"
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p",
        "-x264-params", "scenecut=0:keyint=infinite", "-force_key_frames",
        "expr:gte(t,n_forced*2)"]


def ffmpeg(*args):
    run_command(["ffmpeg", "-v", "error", "-nostdin", "-y", *args],
                timeout=300)


def make(path, rate, seconds, size="320x180", audio=True, extra=()):
    """A clip as our encoders would make it: keys on the grid of 2 s."""
    sound = ["-f", "lavfi", "-i",
             f"sine=frequency=440:sample_rate=48000:duration={seconds}",
             "-c:a", "aac", "-ac", "2", "-b:a", "96k"] if audio else []
    ffmpeg("-f", "lavfi", "-i",
           f"testsrc2=size={size}:rate={rate}:duration={seconds}", *sound,
           *X264, *extra, path)
    return path


def package(src, folder, *options, check=True):
    """Runs packtool; (renditions, what was playable first, output)."""
    folder.mkdir()
    p = run_command([PACKTOOL, "package", src, folder, *options], check=check)
    if not check:
        return p
    said = [json.loads(x) for x in p.stdout.splitlines()]
    playable = [x["playable"] for x in said if "playable" in x]
    assert len(playable) <= 1
    written = [x["bytes"] for x in said if "bytes" in x][0]
    assert written == sum(f.stat().st_size for f in folder.rglob("*")
                          if f.is_file())
    return ([x for x in said if "format" in x],
            playable[0] if playable else None, Output(folder))


@pytest.fixture(scope="module")
def clip(module_run):
    """20 s of flash and beep, 25 fps."""
    path = module_run.path / "clip.mp4"
    run_command([PACKTOOL, "clip", path, "--seconds", "20", "--size",
                 "640x360"])
    return path


@pytest.fixture
def out(run):
    return run.path / "out"


def test_clip(clip):
    assert len(decode(clip)["v"]) == 500
    white = flashes(clip)
    assert len(white) == 20 and all(n == 1 for _, n in white)
    assert [t for t, _ in white] == pytest.approx(
        [k + 0.52 for k in range(20)])
    assert all(abs(late) < 3 for _, late in sync(clip))


def test_clip_of_an_odd_rate(run):
    path = run.path / "c.mp4"
    run_command([PACKTOOL, "clip", path, "--seconds", "4", "--fps",
                 "30000/1001", "--size", "320x180"])
    assert len(decode(path)["v"]) == 120
    assert all(abs(late) < 3 for _, late in sync(path))


@pytest.mark.parametrize("args", [
    [], ["a.mp4", "b.mp4"], ["a.mp4", "--seconds", "x"],
    ["a.mp4", "--seconds", "-1"], ["a.mp4", "--size", "641x360"],
    ["a.mp4", "--fps", "0"], ["a.mp4", "--what"]])
def test_clip_called_wrongly(run, args):
    p = run_command([PACKTOOL, "clip", *args], cwd=run.path, check=False)
    assert p.returncode == 2 and "usage" in p.stderr
    assert not list(run.path.iterdir())


def test_clip_to_nowhere(run):
    p = run_command([PACKTOOL, "clip", run.path / "no/where.mp4"],
                    check=False)
    assert p.returncode == 1 and "No such file" in p.stderr


def test_mp4_and_hls(clip, out):
    """One encode in both, cut on the grid, sound in time, all described."""
    renditions, playable, o = package(clip, out)
    assert o.check(frames=500, fps=25) == ["mp4/480p.mp4", "hls/480p"]
    assert playable["variants"] == 1
    assert playable["video"] >= 1 and playable["audio"] >= 1
    hls = parse_media(out / "hls/480p/index.m3u8")
    assert hls.cuts == [0, 2, 4, 6, 12, 18, 20]
    assert hls.target == 6
    for first, last in o.check_sync(limit_ms=5).values():
        assert abs(first - last) < 2
    mp4, rung = renditions
    assert (mp4["format"], mp4["path"]) == ("mp4", "mp4/480p.mp4")
    assert mp4["size"] == (out / "mp4/480p.mp4").stat().st_size
    assert mp4["duration"] == pytest.approx(20)
    assert mp4["bitrate"] == pytest.approx(mp4["size"] * 8 / 20, rel=0.01)
    assert re.fullmatch(r"avc1\.6400[0-9a-f]{2},mp4a\.40\.2", mp4["codec"])
    assert mp4["mime"] == f'video/mp4; codecs="{mp4["codec"]}"'
    assert (mp4["width"], mp4["height"]) == (640, 360)
    assert (rung["format"], rung["path"]) == ("hls", "hls/480p.m3u8")
    assert rung["size"] == sum(p.stat().st_size for _, p in hls.segments)
    assert rung["mime"] == "application/vnd.apple.mpegurl"


def test_many_sounds(clip, out):
    """Each its own rendition, in one group; a group more for surround."""
    _, playable, o = package(
        clip, out, "--sound", "audio-2:Audio:deu:", "--sound",
        "audio-3:Comments \"live\":eng:a", "--sound", "audio-4:Audio:deu:",
        "--sound", "surround:Audio:eng:s")
    assert playable["audio"] >= 1
    o.check(frames=500, fps=25)
    for name in ("master", "480p"):
        m = parse_master(out / f"hls/{name}.m3u8")
        rows = [(a["GROUP-ID"], a["NAME"], a["LANGUAGE"], a["URI"][:-11],
                 a["DEFAULT"], a["AUTOSELECT"]) for a in m.audio]
        assert rows == [
            ("audio", "Audio", "en", "audio", "YES", "YES"),
            ("audio", "Audio 2", "de", "audio-2", "NO", "YES"),
            ("audio", "Comments 'live'", "en", "audio-3", "NO", "YES"),
            ("audio", "Audio 3", "de", "audio-4", "NO", "NO"),
            ("surround", "Audio", "en", "surround", "YES", "YES"),
            ("surround", "Audio 2", "de", "audio-2", "NO", "YES"),
            ("surround", "Comments 'live'", "en", "audio-3", "NO", "YES"),
            ("surround", "Audio 3", "de", "audio-4", "NO", "NO")]
        assert [a.get("CHARACTERISTICS") for a in m.audio[:4]] == [
            None, None, "public.accessibility.describes-video", None]
        assert [(v["URI"], v["AUDIO"]) for v in m.variants] == [
            ("480p/index.m3u8", "audio"), ("480p/index.m3u8", "surround")]
    live = parse_master(out / "hls/live-master.m3u8")
    assert [a["URI"] for a in live.audio] == ["audio/live.m3u8"]
    assert decode(out / "hls/audio-3/index.m3u8")["a"] == decode(
        out / "hls/audio/index.m3u8")["a"]


@pytest.mark.parametrize("sound", [
    "audio:Again:eng:", "audio-2:Same:eng:|audio-2:Same:eng:",
    "surround:A:eng:s|surround-2:A:eng:s", "a-name-too-long-for-it:A:eng:"])
def test_sounds_refused(clip, out, sound):
    options = [x for s in sound.split("|") for x in ("--sound", s)]
    p = package(clip, out, *options, check=False)
    assert p.returncode == 1 and "Invalid argument" in p.stderr
    assert not (out / "hls/master.m3u8").exists()


def parse_vtt(path):
    """[(start, end, payload)] of a WebVTT file, and its header's lines."""
    head, *blocks = path.read_text().rstrip("\n").split("\n\n")
    clock = r"(\d\d):(\d\d):(\d\d\.\d{3})"
    cues = []
    for block in blocks:
        times, payload = block.split("\n", 1)
        g = re.fullmatch(f"{clock} --> {clock}", times).groups()
        at = [int(h) * 3600 + int(m) * 60 + float(s)
              for h, m, s in (g[:3], g[3:])]
        cues.append((*at, payload))
    return head.splitlines(), cues


CUES = """\
0 1500000 First
1500000 1500100 A blink
1900000 2100000 Over <i>a</i> cut\\nin two lines
2000000 4000000 A segment\\n\\n\\n
5000000 13000000 Over three\r\\nof them
5500000 5600000 \\n\\n
19999999 25000000 Late
20000000 21000000 Too late
"""


def test_texts(clip, run, out):
    """Cut where video is; a cue is in each segment that it is shown in."""
    cues = run.path / "cues"
    cues.write_text(CUES)
    _, _, o = package(
        clip, out, "--rungs", "480p,720p",
        "--text", f"text-1:Says:eng:dc:{cues}",
        "--text", f"text-2:Says:fra:f:{cues}",
        "--text", f"text-3:Empty:fra::/dev/null")
    o.check(frames=500, fps=25)
    video = parse_media(out / "hls/480p/index.m3u8")
    for text in ("text-1", "text-2"):
        lines = (out / f"hls/{text}/index.m3u8").read_text()
        assert lines == (out / "hls/480p/index.m3u8").read_text().replace(
            '#EXT-X-MAP:URI="init.mp4"\n', "").replace(".m4s", ".vtt")
        head, whole = parse_vtt(out / f"hls/{text}/all.vtt")
        assert head == ["WEBVTT"]
        assert whole == [
            (0, 1.5, "First"), (1.5, 1.501, "A blink"),
            (1.9, 2.1, "Over <i>a</i> cut\nin two lines"),
            (2, 4, "A segment"), (5, 13, "Over three\nof them"),
            (20, 25, "Late")]
        for i, (a, b) in enumerate(zip(video.cuts, video.cuts[1:])):
            head, found = parse_vtt(out / f"hls/{text}/s{i:05d}.vtt")
            assert head == ["WEBVTT", "X-TIMESTAMP-MAP="
                            "LOCAL:00:00:00.000,MPEGTS:0"]
            # the last begins a microsecond before the end
            assert found == [c for c in whole if c[1] > a and (
                c[0] < b or c[0] == 20 == b)]
    assert not (out / "hls/text-3").exists()
    for name in ("master", "480p", "720p"):
        m = parse_master(out / f"hls/{name}.m3u8")
        assert [(t["NAME"], t["LANGUAGE"], t["DEFAULT"], t["FORCED"],
                 t["URI"], t.get("CHARACTERISTICS")) for t in m.texts] == [
            ("Says", "en", "YES", "NO", "text-1/index.m3u8",
             "public.accessibility.transcribes-spoken-dialog,"
             "public.accessibility.describes-music-and-sound"),
            ("Says 2", "fr", "NO", "YES", "text-2/index.m3u8", None)]
        assert all(v["SUBTITLES"] == t["GROUP-ID"] and
                   v["CLOSED-CAPTIONS"] == "NONE"
                   for v in m.variants for t in m.texts)


def test_texts_have_bounds(clip, run, out):
    """65536 cues; and cues without an end are not repeated for ever."""
    cues = run.path / "cues"
    cues.write_text("".join(f"{i} 30000000 {i:060d}\n"
                            for i in range(66000)))
    out.mkdir()
    p = run_command([PACKTOOL, "package", clip, out, "--text",
                     f"text-1:Many:eng::{cues}"])
    assert '{"dropped": 464}' in p.stdout
    sizes = [f.stat().st_size for f in sorted(out.glob("hls/text-1/s*.vtt"))]
    assert len(parse_vtt(out / "hls/text-1/s00000.vtt")[1]) == 65536
    assert sum(sizes[1:]) < 24 << 20


@pytest.mark.parametrize("line", [
    "-1 5 x", "5 5 x", "7 5 x", "9 10 later\n8 9 earlier"])
def test_texts_out_of_order(clip, run, out, line):
    cues = run.path / "cues"
    cues.write_text(f"{line}\n")
    p = package(clip, out, "--text", f"text-1:A:eng::{cues}", check=False)
    assert p.returncode == 1 and "Invalid argument" in p.stderr


def iframes(path):
    """[(seconds, segment, offset, length)] of an I-frame playlist."""
    text = path.read_text()
    assert "#EXT-X-I-FRAMES-ONLY\n" in text and text.endswith(
        "#EXT-X-ENDLIST\n")
    return [(float(s), path.parent / name, int(o), int(n))
            for s, n, o, name in re.findall(
                r"#EXTINF:(\S+),\n#EXT-X-BYTERANGE:(\d+)@(\d+)\n(\S+)\n",
                text)]


def test_iframes(clip, run, out):
    """Each range of the I-frame playlist, behind the init, is a picture."""
    package(clip, out, "--rungs", "480p,720p")
    for name in ("master", "480p", "720p"):
        m = parse_master(out / f"hls/{name}.m3u8")
        assert {(i["URI"].split("/")[0], i["CODECS"], i["RESOLUTION"])
                for i in m.iframes} == {
            (v["URI"].split("/")[0], v["CODECS"].split(",")[0],
             v["RESOLUTION"]) for v in m.variants}
        assert len(m.iframes) == len({v["URI"] for v in m.variants})
    found = iframes(out / "hls/480p/iframes.m3u8")
    assert [s for s, *_ in found] == [2.0] * 10
    assert m.iframes[0]["AVERAGE-BANDWIDTH"] == str(
        -(-sum(n for *_, n in found) * 8 // 20))
    assert int(m.iframes[0]["BANDWIDTH"]) >= max(n for *_, n in found) * 4
    for _, segment, offset, length in found:
        part = segment.read_bytes()[offset:offset + length]
        assert part[4:8] == b"moof" and len(part) == length
        one = run.path / "one.mp4"
        one.write_bytes((out / "hls/480p/init.mp4").read_bytes() + part)
        shown = tool("ffmpeg", "-v", "error", "-i", one, "-frames:v", "1",
                     "-f", "rawvideo", "-pix_fmt", "gray", "-", binary=True,
                     quiet=False)
        assert len(shown) == 640 * 360


def test_hevc(run, out):
    """Tagged hvc1, its codec string that of its hvcC; one result a rung."""
    src = run.path / "s.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=128x96:rate=25:duration=5",
           "-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
           "log-level=none:open-gop=0:scenecut=0:keyint=50:min-keyint=50",
           src)
    renditions, _, _ = package(src, out, "--rungs", "4k-hevc")
    rung = renditions[-1]
    assert (rung["quality"], rung["path"]) == ("4k", "hls/4k.m3u8")
    init = (out / "hls/4k-hevc/init.mp4").read_bytes()
    at = init.index(b"hvcC") + 4
    assert b"hvc1" in init and b"hev1" not in init
    head, compat = init[at + 1], int.from_bytes(init[at + 2:at + 6], "big")
    compat = int(f"{compat:032b}"[::-1], 2)
    tail = init[at + 6:at + 12].rstrip(b"\0")
    want = ".".join(["hvc1", str(head & 31), f"{compat:X}",
                     f"{'LH'[head >> 5 & 1]}{init[at + 12]}",
                     *(f"{b:X}" for b in tail)])
    master = parse_master(out / "hls/master.m3u8")
    assert master.variants[0]["CODECS"] == rung["codec"] == want
    assert master.iframes[0]["CODECS"] == want
    assert len(decode(out / "hls/4k.m3u8")["v"]) == 125


def test_dash(clip, run, out):
    """Described as the masters do it, and played by another demuxer: every
    frame, from 0 on, with its sound in time."""
    cues = run.path / "cues"
    cues.write_text(CUES)
    package(clip, out, "--rungs", "480p,720p",
            "--sound", "audio-2:<b> & \"c\":deu:a",
            "--sound", "surround:Audio:eng:ds",
            "--text", f"text-1:Says:fra:c:{cues}",
            "--text", f"text-2:Signs:eng:f:{cues}",
            "--text", "text-3:Empty:fra::/dev/null")
    o = Output(out)
    o.check_hls(frames=500, fps=25)
    found, seconds = o.dash()
    assert seconds == 20
    assert {n: (a["contentType"], a.get("lang"), a["roles"])
            for n, (a, *_) in found.items()} == {
        "480p": ("video", None, ["main"]), "720p": ("video", None, ["main"]),
        "audio": ("audio", "en", ["main"]),
        "audio-2": ("audio", "de", ["description"]),
        "surround": ("audio", "en", ["alternate"]),
        "text-1": ("text", "fr", ["caption"]),
        "text-2": ("text", "en", ["forced-subtitle"])}
    video = found["480p"][0]
    assert (video["codecs"], video["width"], video["height"],
            video["frameRate"]) == (parse_master(
                out / "hls/480p.m3u8").iframes[0]["CODECS"], "640", "360",
                "25")
    manifest = out / "dash/manifest.mpd"
    text = manifest.read_text()
    assert "<Label>&lt;b&gt; &amp; 'c'</Label>" in text
    assert 'ChannelConfiguration" value="2"' in text
    got = decode(manifest)
    want = decode(out / "hls/480p.m3u8")
    assert got["v"] == pytest.approx(want["v"], abs=0.001)
    assert len(got["v"]) == 500 and got["v"][0] == pytest.approx(0, abs=0.001)
    assert all(abs(late) < 5 for _, late in sync(manifest))


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001"])
def test_dash_of_rates(run, out, rate):
    src = make(run.path / "s.mp4", rate, 13, size="64x48", audio=False)
    package(src, out)
    found, _ = Output(out).dash()
    about, cuts, _ = found["480p"]
    assert about["frameRate"] == rate
    num, den = map(int, rate.split("/"))
    assert all(abs(c * num / den - round(c * num / den)) < 1e-3 for c in cuts)
    assert decode(out / "dash/manifest.mpd")["v"] == pytest.approx(
        decode(src)["v"], abs=0.001)


def test_two_rungs(clip, out):
    renditions, _, o = package(clip, out, "--rungs", "480p,720p")
    o.check(frames=500, fps=25)
    assert [r["path"] for r in renditions] == [
        "mp4/480p.mp4", "mp4/720p.mp4", "hls/480p.m3u8", "hls/720p.m3u8"]
    assert len(parse_master(out / "hls/master.m3u8").variants) == 2


def test_sound_far_ahead_of_picture(clip, out):
    """All packets of one track before the first of the other."""
    _, _, o = package(clip, out, "--audio-first")
    o.check(frames=500, fps=25)
    interleaved = tool("ffprobe", "-v", "error", "-show_entries",
                       "packet=stream_index", "-of", "csv=p=0",
                       out / "mp4/480p.mp4").split()
    half = interleaved[:len(interleaved) // 2]
    assert 0.3 < half.count("1,") / len(half) + half.count("1") / len(
        half) < 0.9


@pytest.mark.parametrize("rate, cuts", [
    ("30000/1001", [0, 2.002, 4.004, 6.006, 12.012, 13]),
    ("24000/1001", [0, 2.002, 4.004, 6.006, 12.012, 13]),
    ("60", [0, 2, 4, 6, 12, 13]),
    ("25/3", [0, 2.04, 4.08, 6, 12, 13]),
])
def test_grid_of_rates(run, out, rate, cuts):
    src = make(run.path / "s.mp4", rate, 13)
    _, _, o = package(src, out)
    num, den = map(int, f"{rate}/1".split("/")[:2])
    frames = len(decode(src)["v"])
    o.check(frames=frames, fps=num / den)
    hls = parse_media(out / "hls/480p/index.m3u8")
    assert hls.target == 6
    assert hls.cuts[:-1] == pytest.approx(cuts[:-1], abs=0.001)
    assert hls.cuts[-1] == pytest.approx(frames * den / num, abs=0.001)


@pytest.mark.parametrize("keys, cuts, target", [
    ("expr:gte(t,n_forced*5)", [0, 5, 10, 15, 20, 26], 6),
    ("expr:gte(t,n_forced*3.5)", [0, 3.52, 7, 10.52, 17.52, 24.52, 26], 7),
    ("expr:gte(t,n_forced*0.52)", [0, 2.08, 4.16, 6.24, 12.48, 18.72, 24.96,
                                    26], 6),
    ("0,1.04,1.72,4,11.04,11.52,20.48", [0, 1.72, 4, 11.04, 20.48, 26], 9),
])
def test_cut_where_a_copied_stream_has_keys(run, out, keys, cuts, target):
    src = run.path / "s.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=26",
           "-f", "lavfi", "-i", "sine=sample_rate=48000:duration=26", "-c:a",
           "aac", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2",
           "-x264-params", "scenecut=0:keyint=infinite", "-force_key_frames",
           keys, src)
    _, playable, o = package(src, out, "--copied", "--rungs", "480p,720p")
    assert playable["video"] >= 1 and playable["audio"] >= 1
    tracks = [o.check_track(name) for name in ("480p", "720p", "audio")]
    assert len({len(t.cuts) for t in tracks}) == 1
    for t in tracks:
        assert t.target == target
        assert t.cuts[:-1] == pytest.approx(cuts[:-1], abs=0.022)
    assert tracks[0].cuts == pytest.approx(cuts)
    assert len(decode(out / "hls/480p.m3u8")["v"]) == 650


def test_slide_show(run, out):
    """A frame every 1.6 s: segments outgrow 6 s, and the target says so from
    the start."""
    src = make(run.path / "s.mp4", "5/8", 40)
    _, _, o = package(src, out)
    o.check(frames=25, fps=5 / 8)
    assert parse_media(out / "hls/480p/live.m3u8").target == 8
    assert parse_media(out / "hls/audio/live.m3u8").target == 8


def test_without_sound(run, out):
    src = make(run.path / "s.mp4", 25, 7, audio=False)
    renditions, playable, o = package(src, out)
    o.check(frames=175, fps=25)
    assert playable == {"variants": 1, "video": 1, "audio": -1}
    for name in ("master", "live-master", "480p"):
        assert "AUDIO" not in (out / f"hls/{name}.m3u8").read_text()
    assert all("mp4a" not in r["codec"] for r in renditions)


@pytest.mark.parametrize("seconds", ["0.04", "1.2"])
def test_shorter_than_a_segment(run, out, seconds):
    src = make(run.path / "s.mp4", 25, seconds)
    _, playable, o = package(src, out)
    o.check(frames=round(float(seconds) * 25))
    assert playable == {"variants": 1, "video": 1, "audio": 1}
    hls = parse_media(out / "hls/480p/index.m3u8")
    assert len(hls.segments) == 1 and hls.target == 6


def test_real_packets(out):
    """A real clip's H.264 and 5.1 AAC, copied: keys where they happen to be."""
    src = media("bbb-720p25-5s-51.mp4")
    _, _, o = package(src, out, "--rungs", "720p")
    o.check_tidy()
    o.check_file("mp4/720p.mp4", frames=132)
    track = o.check_track("720p")
    audio = o.check_track("audio")
    assert abs(track.cuts[-1] - 5.28) < 0.01
    assert abs(audio.cuts[-1] - track.cuts[-1]) < 0.05
    assert packet_hashes(src) == packet_hashes(out / "mp4/720p.mp4")
    assert packet_hashes(src) == packet_hashes(out / "hls/720p/index.m3u8")
    assert parse_master(out / "hls/master.m3u8").audio[0]["CHANNELS"] == "6"


def test_nothing_of_the_input_but_colour(run, out):
    src = make(run.path / "s.mp4", 25, 1, extra=[
        "-metadata", "title=secret", "-metadata", "location=+52.5+013.4/",
        "-metadata:s:v", "handler_name=secret", "-color_primaries", "bt709",
        "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"])
    package(src, out)
    for p in out.rglob("*"):
        if p.is_file():
            data = p.read_bytes()
            assert b"secret" not in data and b"+52.5" not in data, p
    for p in (out / "mp4/480p.mp4", out / "hls/480p/init.mp4"):
        said = tool("ffprobe", "-v", "error", "-select_streams", "v",
                    "-show_entries",
                    "stream=color_space,color_primaries,color_transfer",
                    "-of", "csv=p=0", p)
        assert said.strip().rstrip(",") == "bt709,bt709,bt709"
    entry = find_box((out / "hls/480p/init.mp4").read_bytes(), "moov", "trak",
                     "mdia", "minf", "stbl", "stsd")
    assert b"colrnclx" in entry


def test_same_packets_same_bytes(clip, run):
    for name in "ab":
        package(clip, run.path / name)
    a, b = run.path / "a", run.path / "b"
    names = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(b) for p in b.rglob("*")
                           if p.is_file())
    for n in names:
        assert (a / n).read_bytes() == (b / n).read_bytes(), n


@pytest.mark.parametrize("codec, expect", [
    (["-c:v", "libsvtav1", "-preset", "12", "-g", "125"],
     r"av01\.0\.0[0-9]M\.08,opus"),
    (["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"],
     r"vp09\.00\.\d\d\.08,opus"),
], ids=["av1", "vp9"])
def test_webm(clip, run, out, codec, expect):
    src = run.path / "s.webm"
    run_command(["ffmpeg", "-v", "error", "-nostdin", "-i", clip, "-t", "6",
                 *codec, "-c:a", "libopus", "-b:a", "96k", src], timeout=300)
    renditions, _, o = package(src, out, "--webm")
    assert o.check(frames=150) == ["webm/480p.webm"]
    assert re.fullmatch(expect, renditions[0]["codec"])
    assert renditions[0]["mime"] == (
        f'video/webm; codecs="{renditions[0]["codec"]}"')
    o.check_sync(limit_ms=10)
    begin = start_times(out / "webm/480p.webm")
    assert begin["video"] == 0
    assert begin["audio"] == pytest.approx(-0.0065, abs=0.001)


def test_codec_strings_match_the_bitstream(clip, out):
    renditions, _, _ = package(clip, out)
    avcc = re.search(rb"avcC\x01(...)", (out / "mp4/480p.mp4").read_bytes(),
                     re.S).group(1)
    assert renditions[0]["codec"].startswith(f"avc1.{avcc.hex()}")


@pytest.mark.parametrize("budget", [0, 5000, 100000, 400000])
def test_over_budget(clip, out, budget):
    p = package(clip, out, "--budget", str(budget), check=False)
    assert p.returncode == 1
    assert "File too large" in p.stderr
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    assert size <= budget
    assert not list(out.rglob("*.mp4.tmp"))
    assert not (out / "hls/master.m3u8").exists()


def test_disk_errors_come_through(clip, out):
    """A file size limit stands in for a full disk: the write fails."""
    out.mkdir()
    p = subprocess.run(
        ["bash", "-c", 'trap "" XFSZ; ulimit -f 64; exec "$@"', "-", PACKTOOL,
         "package", clip, out], capture_output=True, text=True, timeout=60)
    assert p.returncode == 1 and "File too large" in p.stderr


def test_unwritable_folder(clip, out):
    out.mkdir()
    (out / "hls").write_text("in the way")
    p = subprocess.run([PACKTOOL, "package", clip, out], capture_output=True,
                       text=True, timeout=60)
    assert p.returncode == 1 and "Not a directory" in p.stderr


def rgb(path):
    """(r, g, b) in the middle of a picture."""
    data = tool("ffmpeg", "-v", "error", "-i", path, "-vf",
                "crop=2:2,format=rgb24", "-f", "rawvideo", "-", binary=True)
    return tuple(data[:3])


def images(src, folder, *options):
    folder.mkdir()
    run_command([PACKTOOL, "images", src, folder, *options])
    return Output(folder)


def size_of(path):
    return tool("ffprobe", "-v", "error", "-show_entries",
                "stream=width,height", "-of", "csv=p=0",
                path).strip().rstrip(",")


@pytest.mark.parametrize("matrix, size", [("bt709", "1280x720"),
                                          ("smpte170m", "640x480")])
def test_colours(run, out, matrix, size):
    """The poster has the video's colours, whatever its matrix."""
    src = run.path / "s.mp4"
    scale = {"bt709": "bt709", "smpte170m": "bt601"}[matrix]
    ffmpeg("-f", "lavfi", "-i",
           f"color=0xE04020:size={size}:duration=2:rate=5,format=gbrp,"
           f"scale=out_color_matrix={scale}:out_range=tv,format=yuv420p",
           *X264, "-colorspace", matrix, "-color_range", "tv", src)
    images(src, out)
    for name in ("poster.jpg", "poster.webp", "storyboard/sheet-0000.jpg"):
        got = rgb(out / name)
        assert got == pytest.approx((0xE0, 0x40, 0x20), abs=6), name


def test_poster_is_the_best_candidate(run, out):
    """Black, then a blur, then the picture, then white; one each second."""
    src = run.path / "s.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=4",
           "-vf", "gblur=sigma=20:enable='between(t,1,1.99)',"
           "drawbox=c=black:t=fill:enable='lt(t,1)',"
           "drawbox=c=white:t=fill:enable='gte(t,3)'", *X264, src)
    images(src, out)
    wanted = tool("ffmpeg", "-v", "error", "-ss", "2", "-i", src, "-frames:v",
                  "1", "-vf", "scale=32:18,format=gray", "-f", "rawvideo",
                  "-", binary=True)
    got = tool("ffmpeg", "-v", "error", "-i", out / "poster.jpg", "-vf",
               "scale=32:18,format=gray", "-f", "rawvideo", "-", binary=True)
    assert max(abs(a - b) for a, b in zip(wanted, got)) < 24


@pytest.mark.parametrize("size, poster, tile", [
    ("1920x1080", "1920,1080", (284, 160)),
    ("2160x3840", "1080,1920", (160, 284)),
    ("320x180", "320,180", (284, 160)),
    ("1920x400", "1920,400", (408, 84)),
    ("64x64", "64,64", (160, 160)),
])
def test_picture_sizes(run, out, size, poster, tile):
    src = run.path / "s.mp4"
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=2:duration=2",
           "-c:v", "libx264", "-preset", "ultrafast", src)
    o = images(src, out)
    assert size_of(out / "poster.jpg") == poster
    assert size_of(out / "poster.webp") == poster
    o.check_storyboard()
    cue = re.search(r"#xywh=0,0,(\d+),(\d+)",
                    (out / "storyboard.vtt").read_text())
    assert tuple(map(int, cue.groups())) == tile


def test_storyboard_of_many_sheets(run, out):
    src = run.path / "s.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x36:rate=2:duration=215",
           "-c:v", "libx264", "-preset", "ultrafast", src)
    o = images(src, out, "--duration", "215")
    assert o.check_storyboard() == pytest.approx(214.5, abs=1)
    assert len(list(out.glob("storyboard/*.jpg"))) == 3
    assert size_of(out / "storyboard/sheet-0002.jpg") == "2840,320"


def test_storyboard_of_a_long_claim(run, out):
    """4,000 s claimed: a tile every 10 s."""
    src = run.path / "s.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x36:rate=1:duration=45",
           "-c:v", "libx264", "-preset", "ultrafast", src)
    images(src, out, "--duration", "4000").check_storyboard()
    assert (out / "storyboard.vtt").read_text().count("-->") == 5


def test_mp4_edit_lists(clip, out):
    """Priming and B-frame delay are told, not left in."""
    package(clip, out)
    data = (out / "mp4/480p.mp4").read_bytes()
    moov = find_box(data, "moov")
    skipped = []
    for kind, a, e in boxes(moov):
        if kind == "trak":
            elst = find_box(moov[a:e], "edts", "elst")
            scale = struct.unpack_from(
                ">I", find_box(moov[a:e], "mdia", "mdhd"), 12)[0]
            skipped.append(struct.unpack_from(">i", elst, 12)[0] / scale)
    assert skipped[0] == pytest.approx(0.08)          # two frames
    assert skipped[1] == pytest.approx(1024 / 48000, abs=1e-6)
    assert start_times(out / "mp4/480p.mp4") == {"video": 0, "audio": 0}
