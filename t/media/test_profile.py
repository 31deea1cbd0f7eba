"""Profiles: what they say is what comes out."""

import json

import pytest

from conftest import WORKERD, transcode
from rig.run import run_command
from verify import parse_media


def profile(folder, **members):
    path = folder / "profile.json"
    path.write_text(json.dumps(members))
    return path


def workerd(*args):
    return run_command([WORKERD, *args], check=False)


def test_profile_command_prints_what_it_takes(run):
    for name in ("fast", "balanced", "quality"):
        p = workerd("profile", name)
        assert p.returncode == 0, p.stderr
        whole = json.loads(p.stdout)
        assert whole["name"] == name
        assert [r["name"] for r in whole["rungs"]] == [
            "480p", "720p", "1080p", "4k"]
        path = run.path / f"{name}.json"
        path.write_text(p.stdout)
        again = workerd("profile", path)
        assert again.stdout == p.stdout
    assert json.loads(workerd("profile").stdout)["name"] == "balanced"


def test_refusals_name_the_member(run):
    path = profile(run.path, rungs=[{"name": "480p", "h264": {"crf": 99}}])
    for args in (["profile", path],
                 ["transcode", "--profile", path, "/dev/null", run.path]):
        p = workerd(*args)
        assert p.returncode != 0
        assert "/rungs/0/h264/crf must be a whole number from 0 to 51" \
            in p.stderr
    p = workerd("transcode", "--profile", "best", "/dev/null", run.path)
    assert p.returncode == 2 and "fast, balanced, quality" in p.stderr
    p = workerd("transcode", "--qualities", "360p", "/dev/null", run.path)
    assert p.returncode == 2 and 'no rung "360p"' in p.stderr


# --- what comes out ----------------------------------------------------------

def packets(path):
    """(time, size, key frame) of the video's packets in order of decoding."""
    out = run_command(["ffprobe", "-v", "error", "-select_streams", "v:0",
                       "-show_entries", "packet=pts_time,size,flags", "-of",
                       "csv=p=0", path]).stdout
    rows = [x.split(",") for x in out.split()]
    return [(float(t), int(size), "K" in flags) for t, size, flags, *_ in rows]


def stream(path, *entries):
    out = run_command(["ffprobe", "-v", "error", "-select_streams", "v:0",
                       "-show_entries", "stream=" + ",".join(entries), "-of",
                       "json", path]).stdout
    return json.loads(out)["streams"][0]


def x264_says(path):
    """The settings that x264 writes into its first frame."""
    data = path.read_bytes()
    at = data.index(b"x264 - core")
    words = data[at:data.index(b"\0", at)].decode().split()
    return dict(w.split("=", 1) for w in words if "=" in w)


def test_own_rungs_and_formats(made, run):
    src = made("in.mp4", "-f", "lavfi", "-i",
               "testsrc2=size=640x360:rate=50:duration=5", "-preset",
               "ultrafast", "-pix_fmt", "yuv420p")
    path = profile(
        run.path, formats=["mp4", "hls"], webmCodec="vp9",
        h264={"preset": "faster", "lookahead": 7},
        rungs=[{"name": "144p", "maxFps": 13, "formats": ["hls"],
                "h264": {"crf": 31, "maxrate": 120000}},
               {"name": "240p", "maxFps": 30,
                "h264": {"crf": 27, "maxrate": 300000}},
               {"name": "360p", "longSide": 560, "formats": ["webm", "mp4"]}])
    job = transcode(src, run.path / "out", "--profile", path)
    assert sorted((r["format"], r["quality"], r["width"], r["height"])
                  for r in job.doc["results"]) == [
        ("hls", "144p", 256, 144), ("hls", "240p", 426, 240),
        ("mp4", "240p", 426, 240), ("mp4", "360p", 560, 316),
        ("webm", "360p", 560, 316)]

    said = x264_says(run.path / "out/mp4/240p.mp4")
    assert said["rc_lookahead"] == "7" and said["subme"] == "4"
    assert said["crf"] == "27.0" and said["vbv_maxrate"] == "300"

    # 50 divided by 4, 2, 1
    for name, rate in (("mp4/240p.mp4", "25/1"), ("mp4/360p.mp4", "50/1"),
                       ("webm/360p.webm", "50/1")):
        assert stream(run.path / "out" / name, "avg_frame_rate")[
            "avg_frame_rate"] == rate, name
    assert len(packets(run.path / "out/mp4/240p.mp4")) == 125
    assert len(packets(run.path / "out/mp4/360p.mp4")) == 250
    low = run.path / "out/hls/144p/index.m3u8"
    assert len(packets(low)) == 63
    assert stream(run.path / "out/webm/360p.webm",
                  "codec_name")["codec_name"] == "vp9"

    # every rung has its key frames where the slowest has them
    keys = {n: [round(t, 3) for t, _, key in packets(run.path / "out" / n)
                if key]
            for n in ("mp4/240p.mp4", "mp4/360p.mp4")}
    assert keys["mp4/240p.mp4"] == [0, 2, 4]
    assert keys["mp4/360p.mp4"] == [0, 2, 4]
    cuts = [parse_media(run.path / f"out/hls/{q}/index.m3u8").cuts
            for q in ("144p", "240p")]
    assert cuts[0][:-1] == cuts[1][:-1] == [0, 2, 4]


def test_key_frames_meet_when_rates_do_not_fit(made, run):
    """23.976 by 1, 2 and 3: the grid of all is that of their sixth."""
    src = made("in.mp4", "-f", "lavfi", "-i",
               "testsrc2=size=320x240:rate=24000/1001:duration=9", "-preset",
               "ultrafast", "-pix_fmt", "yuv420p")
    path = profile(run.path, formats=["mp4"], rungs=[
        {"name": "120p", "maxFps": 8}, {"name": "180p", "maxFps": 12},
        {"name": "240p"}])
    transcode(src, run.path / "out", "--profile", path)
    keys = [[round(t, 3) for t, _, key in
             packets(run.path / f"out/mp4/{q}.mp4") if key]
            for q in ("120p", "180p", "240p")]
    assert keys[0] == keys[1] == keys[2]
    assert len(keys[0]) == 5 and max(
        b - a for a, b in zip(keys[0], keys[0][1:])) < 2.26


def test_cellular_rung_of_the_document(made, run):
    """Apple 9.21: a variant whose peak, with sound, is 192 kbit/s at most."""
    src = made("in.mp4", "-f", "lavfi", "-i",
               "testsrc2=size=426x240:rate=30:duration=14,noise=alls=20",
               "-f", "lavfi", "-i", "anoisesrc=duration=14:amplitude=0.3",
               "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-ac", "2")
    path = profile(run.path, formats=["hls"], audio={"aac": 64000}, rungs=[
        {"name": "240p", "maxFps": 15,
         "h264": {"crf": 28, "maxrate": 80000}}])
    transcode(src, run.path / "out", "--profile", path)
    text = (run.path / "out/hls/master.m3u8").read_text()
    peak = int(text.split("STREAM-INF:")[1].split("BANDWIDTH=")[1]
               .split(",")[0])
    assert peak <= 192000, peak


# --- level and caps ----------------------------------------------------------

# Table A-1: level -> macroblocks a second, a frame; DPB; kbit/s (High: 1.25)
LEVELS = {10: (1485, 99, 396, 64), 11: (3000, 396, 900, 192),
          12: (6000, 396, 2376, 384), 13: (11880, 396, 2376, 768),
          20: (11880, 396, 2376, 2000), 21: (19800, 792, 4752, 4000),
          22: (20250, 1620, 8100, 4000), 30: (40500, 1620, 8100, 10000),
          31: (108000, 3600, 18000, 14000), 32: (216000, 5120, 20480, 20000),
          40: (245760, 8192, 32768, 20000), 41: (245760, 8192, 32768, 50000),
          42: (522240, 8704, 34816, 50000), 50: (589824, 22080, 110400, 135000),
          51: (983040, 36864, 184320, 240000),
          52: (2073600, 36864, 184320, 240000)}


def lowest_level(width, height, fps, maxrate, refs):
    mbs = ((width + 15) // 16) * ((height + 15) // 16)
    for level, (rate, frame, dpb, kbits) in sorted(LEVELS.items()):
        if (mbs * fps <= rate and mbs <= frame and mbs * refs <= dpb
                and maxrate <= kbits * 1250 and 2 * maxrate <= kbits * 1250):
            return level
    raise AssertionError("no level")


@pytest.mark.parametrize("size,fps,name", [
    ("854x480", 25, "480p"), ("1280x720", 50, "720p"),
    ("1920x1080", 30, "1080p"), ("3840x2160", 60, "4k")])
def test_level_is_the_lowest_that_holds(made, run, size, fps, name):
    """Apple 1.11, 1.3b: High, the lowest sufficient level, 5.2 at most."""
    src = made("in.mp4", "-f", "lavfi", "-i",
               f"testsrc=size={size}:rate={fps}:duration=0.2", "-preset",
               "ultrafast", "-pix_fmt", "yuv420p", "-crf", "5")
    transcode(src, run.path / "out", "--formats", "mp4", "--qualities", name)
    path = run.path / f"out/mp4/{name}.mp4"
    said = stream(path, "profile", "level", "refs", "width", "height")
    rate = int(x264_says(path)["vbv_maxrate"]) * 1000
    assert said["profile"] == "High"
    # x264 may keep two pictures where one is referred to: B frames
    may = {lowest_level(said["width"], said["height"], fps, rate, refs)
           for refs in (1, 2, 3)}
    assert said["level"] in may and said["level"] <= 52, (said, may)


@pytest.mark.parametrize("codec", ["h264", "vp9", "av1"])
def test_caps_hold_on_noise(made, run, codec):
    """Noise that wants seven times the cap and more.  x264 keeps to its
    buffer; one-pass libvpx and SVT-AV1 come near, not under."""
    src = made("in.mp4", "-f", "lavfi", "-i",
               "testsrc2=size=320x240:rate=15:duration=10,"
               "noise=alls=25:allf=t", "-preset", "ultrafast", "-crf",
               "10", "-pix_fmt", "yuv420p")
    fmt = "mp4" if codec == "h264" else "webm"
    cap = 300000
    rate = {"crf": 30, "maxrate": cap}
    path = profile(run.path, formats=[fmt], rungs=[
        {"name": "240p", "h264": rate, "vp9": rate, "av1": rate}],
        webmCodec=codec if fmt == "webm" else "av1")
    transcode(src, run.path / "out", "--profile", path)
    found = packets(run.path / f"out/{fmt}/240p.{fmt}")
    total = sum(size for _, size, _ in found) * 8 / 10
    by_time = sorted((t, size * 8) for t, size, _ in found)
    peak = max(sum(b for u, b in by_time if t <= u < t + 6) / 6
               for t, _ in by_time if t <= 4)
    over = {"h264": 1.2, "vp9": 1.6, "av1": 1.5}[codec]
    assert total <= cap * over
    assert peak <= cap * 4 / 3 * over   # the cap and 2 s of it in 6 s


@pytest.mark.parametrize("name, threads", [("mp4/240p.mp4", 1),
                                           ("webm/240p.webm", 4)])
def test_same_bytes_twice(made, run, name, threads):
    """Of x264 with one thread: with more it does not promise that, whoever
    calls it.  SVT-AV1 never has more than one (plan.c)."""
    src = made("in.mp4", "-f", "lavfi", "-i",
               "testsrc2=size=320x240:rate=25:duration=2", "-preset",
               "ultrafast", "-pix_fmt", "yuv420p")
    path = profile(run.path, base="quality", rungs=[{"name": "240p"}])
    for n in "ab":
        transcode(src, run.path / n, "--profile", path, "--threads", threads,
                  "--formats", name.split("/")[0])
    assert (run.path / "a" / name).read_bytes() == \
        (run.path / "b" / name).read_bytes()
