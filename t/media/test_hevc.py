"""HEVC beside H.264 in HLS, for rungs whose profile asks for it."""

import json
import re

import pytest

from conftest import WORKERD, transcode
from hls_lint import advice
from rig.run import run_command
from test_hostile import JOB, Child
from verify import (Output, decode, key_times, parse_master, parse_media,
                    run as tool)

CLIP = ("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=6",
        "-f", "lavfi", "-i", "sine=frequency=440:duration=6",
        "-c:v", "libx264", "-preset", "ultrafast", "-crf", "8", "-pix_fmt",
        "yuv420p")


def profile(folder, *rungs, formats=("mp4", "hls"), **more):
    path = folder / "profile.json"
    path.write_text(json.dumps({"formats": formats, "rungs": rungs, **more}))
    return path


def hevc(folder, *options, rung=None, **more):
    """A source of 240 lines in two rungs, the upper one in HEVC too."""
    return ("--profile", profile(
        folder, {"name": "180p"}, {"name": "240p", "hevc": True,
                                   **(rung or {})}, **more), *options)


@pytest.fixture
def clip(made):
    return made("in.mp4", *CLIP)


def files(folder):
    return {p.relative_to(folder): p.read_bytes()
            for p in folder.rglob("*") if p.is_file()}


def psnr(one, other):
    """Of the luma of all pictures, in dB."""
    said = tool("ffmpeg", "-v", "error", "-i", one, "-i", other, "-lavfi",
                "[0:v:0][1:v:0]psnr=stats_file=-", "-f", "null", "-")
    mse = [float(x) for x in re.findall(r"mse_y:(\S+)", said)]
    assert mse
    return sum(mse) / len(mse)


def test_a_variant_beside_h264(clip, run):
    job = transcode(clip, run.path / "out", *hevc(run.path))
    job.output.check(frames=150, fps=25)        # and the linter has looked
    hls = run.path / "out/hls"
    assert sorted((r["format"], r["quality"]) for r in job.doc["results"]) \
        == [("hls", "180p"), ("hls", "240p"), ("mp4", "180p"),
            ("mp4", "240p")]
    told = json.loads(tool(
        "ffprobe", "-v", "error", "-show_streams", "-of", "json",
        hls / "240p-hevc/init.mp4"))["streams"][0]
    assert {k: told[k] for k in (
        "codec_name", "profile", "codec_tag_string", "pix_fmt", "width",
        "height", "color_range", "color_space", "color_transfer",
        "color_primaries")} == {
        "codec_name": "hevc", "profile": "Main", "codec_tag_string": "hvc1",
        "pix_fmt": "yuv420p", "width": 320, "height": 240,
        "color_range": "tv", "color_space": "bt709",
        "color_transfer": "bt709", "color_primaries": "bt709"}

    one, other = (parse_media(hls / n / "index.m3u8")
                  for n in ("240p", "240p-hevc"))
    assert [s for s, _ in one.segments] == [s for s, _ in other.segments]
    assert len(decode(hls / "240p-hevc/index.m3u8")["v"]) == 150
    # each segment alone, behind the init
    for seconds, path in other.segments:
        alone = run.path / "alone.mp4"
        alone.write_bytes(other.map.read_bytes() + path.read_bytes())
        assert len(decode(alone)["v"]) == round(seconds * 25)
        assert b"x265" not in path.read_bytes()
    # as good as H.264 is, and not larger
    errors = [psnr(hls / n / "index.m3u8", clip)
              for n in ("240p", "240p-hevc")]
    assert errors[1] < 2 * errors[0] + 1, errors
    sizes = [sum(p.stat().st_size for _, p in t.segments)
             for t in (one, other)]
    assert sizes[1] < sizes[0] * 1.2, sizes
    size = job.result("hls", "240p")["size"]
    assert size == sum(sizes)
    assert job.result("hls", "240p")["codec"].startswith("avc1.")


def test_h264_comes_first_and_remains(clip, run):
    transcode(clip, run.path / "out", *hevc(run.path, formats=["hls"]))
    hls = run.path / "out/hls"
    for name, want in (("master", {"180p", "240p", "240p-hevc"}),
                       ("240p", {"240p", "240p-hevc"}), ("180p", {"180p"})):
        master = parse_master(hls / f"{name}.m3u8")
        assert {v["URI"].split("/")[0] for v in master.variants} == want
        assert {v["URI"].split("/")[0] for v in master.iframes} == want
        assert master.variants[0]["CODECS"].startswith("avc1."), name
    assert "hevc" not in (hls / "live-master.m3u8").read_text()
    sets = re.findall(r"<AdaptationSet.*?</AdaptationSet>",
                      (run.path / "out/dash/manifest.mpd").read_text(), re.S)
    assert [("avc1" in s, "hvc1" in s) for s in sets if "video/mp4" in s] \
        == [(True, False), (False, True)]
    assert not [x for x in advice(run.path / "out")
                if x.startswith(("1.10", "1.13", "1.32", "8.22"))
                and "bit/s" not in x]


def test_later_than_the_playable_pass(made, run):
    src = made("in.mp4", *(x.replace("duration=6", "duration=11")
                           for x in CLIP))
    path = profile(run.path, {"name": "240p", "hevc": True}, formats=["hls"])
    job = transcode(src, run.path / "out", "--profile", path)
    assert job.doc["stats"]["passes"] == 2
    tasks = [m["task"] for m in job.all("progress")]
    assert "encoding HEVC 240p" in tasks, tasks
    job.output.check(frames=275)


def test_two_runs_write_the_same(clip, run):
    for name, threads in (("a", 1), ("b", 1), ("c", 4), ("d", 4)):
        transcode(clip, run.path / name, *hevc(
            run.path, "--threads", threads, formats=["hls"],
            hevc={"preset": "medium"}))
    a, b, c, d = (files(run.path / n / "hls/240p-hevc") for n in "abcd")
    assert a == b
    assert c == d


def test_cap_and_quality_of_its_own(made, run):
    src = made("in.mp4", "-f", "lavfi", "-i",
               "testsrc2=size=320x240:rate=15:duration=8,"
               "noise=alls=25:allf=t", "-preset", "ultrafast", "-crf", "10",
               "-pix_fmt", "yuv420p")
    rung = {"hevc": {"crf": 20, "maxrate": 200000}}
    transcode(src, run.path / "out", *hevc(run.path, rung=rung,
                                           formats=["hls"]))
    media = parse_media(run.path / "out/hls/240p-hevc/index.m3u8")
    bits = sum(p.stat().st_size for _, p in media.segments) * 8
    # what it may: the cap, and once what its buffer holds
    assert 200000 * 4 < bits < 200000 * 8 + 400000, bits


def test_key_frames_of_a_copied_rung(made, run):
    src = made("in.mp4", *CLIP[:8], "-c:v", "libx264", "-crf", "30", "-g",
               "45", "-keyint_min", "45", "-sc_threshold", "0", "-pix_fmt",
               "yuv420p", "-ac", "2")
    job = transcode(src, run.path / "out", *hevc(run.path, formats=["hls"]),
                    "--passthrough", "auto")
    assert job.doc["passthrough"]["video"]["copied"], job.doc["passthrough"]
    job.output.copied_from(src)
    job.output.check(frames=150)
    hls = run.path / "out/hls"
    keys = [key_times(hls / n / "index.m3u8") for n in (
        "240p", "180p", "240p-hevc")]
    assert keys[0] == keys[1] == keys[2] == [0, 1.8, 3.6, 5.4]


@pytest.mark.parametrize("size,rate,there", [
    ("128x96", 25, False),      # below what the encoder takes
    ("170x128", 25, True),
    ("3840x2160", 60, False),   # above level 5.0 (Apple 1.6)
    ("3840x2160", 30, True),
])
def test_where_there_is_none(size, rate, there, made, run):
    lines = size.split("x")[1]
    name = "4k" if lines == "2160" else "480p"
    src = made("in.mp4", "-f", "lavfi", "-i",
               f"color=gray:size={size}:rate={rate}:duration=0.1",
               "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    path = profile(run.path, {"name": name, "hevc": True}, formats=["hls"])
    job = transcode(src, run.path / "out", "--profile", path)
    folders = {p.name for p in (run.path / "out/hls").iterdir()
               if p.is_dir()}
    quality = name if name == "4k" else f"{lines}p"
    assert folders == {quality} | ({f"{quality}-hevc"} if there else set())
    assert any(f"no HEVC for {quality}:" in w
               for w in job.doc["warnings"]) == (not there)
    if there and name == "4k":
        init = (run.path / "out/hls/4k-hevc/init.mp4").read_bytes()
        assert init[init.index(b"hvcC") + 4 + 12] == 150


def test_the_profile_says_it(run):
    path = profile(run.path, {"name": "480p", "hevc": True})
    said = run_command([WORKERD, "profile", path], check=False)
    assert json.loads(said.stdout)["rungs"][0]["hevc"] == {
        "crf": 25, "maxrate": 1000000, "maxrateHigh": 1500000}


@pytest.mark.parametrize("threads", [1, 4])
def test_in_the_process_of_the_worker(threads, clip, run):
    """`workerd media`, in its sandbox, with the whole profile in its job."""
    path = profile(run.path, {"name": "240p", "hevc": True}, formats=["hls"],
                   hevc={"preset": "slow"})
    whole = json.loads(run_command([WORKERD, "profile", path]).stdout)
    job = {k: v for k, v in JOB.items() if k not in ("formats", "qualities",
                                                      "webmCodec")}
    code, messages, err = Child(clip, run.path / "out", {
        **job, "profile": whole, "threads": threads,
        "passthrough": "off"}).end()
    assert code == 0 and messages[-1]["t"] == "done", (messages[-1], err)
    assert len(messages[-1]["doc"]["results"]) == 1
    assert (run.path / "out/hls/240p-hevc/index.m3u8").is_file()
    Output(run.path / "out").check(frames=150)
