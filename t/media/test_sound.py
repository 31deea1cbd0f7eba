"""Sounds: which are taken, how they are mixed, where they lie in time."""

import array
import cmath
import math
import subprocess

import pytest

from conftest import transcode
from rig.run import run_command
from verify import parse_master, sync

PICTURE = ["-f", "lavfi", "-i", "color=gray:s=64x48:r=10:d=3"]
VIDEO = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
FAST = ["--qualities", "480p", "--formats", "mp4,hls"]


def samples(path, channels):
    """One array of floats per channel, 48 kHz."""
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a:0", "-f",
         "f32le", "-ar", "48000", "-"], capture_output=True,
        check=True).stdout
    a = array.array("f", raw)
    return [a[c::channels] for c in range(channels)]


def level(x, hz, at=1.0, seconds=0.5):
    """Amplitude of a tone."""
    part = x[int(at * 48000):int((at + seconds) * 48000)]
    assert len(part) == int(seconds * 48000)
    return 2 * abs(sum(v * cmath.exp(-2j * math.pi * hz * i / 48000)
                       for i, v in enumerate(part))) / len(part)


def tones(*hz, loud=0.4, layout=None):
    """A source with a tone of its own for each channel; 0: silent."""
    expr = "|".join(f"{loud}*sin(2*PI*{f}*t)" if f else "0" for f in hz)
    return ["-f", "lavfi", "-i",
            f"aevalsrc={expr}:s=48000:d=3"
            + (f":c={layout}" if layout else "")]


def sounds(job):
    return parse_master(job.output.hls / "master.m3u8").audio


def test_many_mono_tracks(run, made):
    """As broadcasters ship them; the ninth is told of."""
    args = []
    for i in range(9):
        args += tones(400 + 200 * i)
    maps = [x for i in range(10) for x in ("-map", str(i))]
    src = made("many.mov", *PICTURE, *args, *maps, *VIDEO, "-c:a",
               "pcm_s16le", "-metadata:s:a:1", "language=ger",
               "-disposition:a", "0", "-disposition:a:2", "default")
    job = transcode(src, run.path / "out", *FAST)
    found = sounds(job)
    assert [a["URI"].split("/")[0] for a in found] == [
        "audio", *(f"audio-{i}" for i in range(2, 9))]
    assert len({a["NAME"] for a in found}) == 8
    assert found[2]["LANGUAGE"] == "de" and found[2]["NAME"] == "German"
    assert "1 sound track" in job.warnings
    # the third one is the default; the others follow in their order
    for a, hz in zip(found, (800, 400, 600, 1000, 1200, 1400, 1600, 1800)):
        both = samples(job.output.hls / a["URI"], 2)
        for x in both:
            assert abs(level(x, hz) - 0.4) < 0.02, (a["URI"], hz)
    assert [t["default"] for t in job.doc["audioTracks"]] == [True] + 7 * [
        False]
    mp4 = samples(job.output.folder / "mp4/48p.mp4", 2)
    assert abs(level(mp4[0], 800) - 0.4) < 0.02


def test_default_that_cannot_be_decoded_loses(run, made):
    src = made("d.mkv", *PICTURE, *tones(500), *tones(900), "-map", "0",
               "-map", "1", "-map", "2", *VIDEO, "-c:a:0", "adpcm_ima_wav",
               "-c:a:1", "pcm_s16le", "-disposition:a:0", "default",
               "-disposition:a:1", "0")
    job = transcode(src, run.path / "out", *FAST)
    assert len(sounds(job)) == 1 and "adpcm_ima_wav" in job.warnings
    x = samples(job.output.folder / "mp4/48p.mp4", 2)
    assert level(x[0], 900) > 0.35 and level(x[0], 500) < 0.01


@pytest.mark.parametrize("layout", ["5.1", "5.1(side)"])
def test_surround(run, made, layout):
    hz = (400, 600, 800, 60, 1000, 1200)  # FL FR FC LFE, left, right behind
    src = made("s.mov", *PICTURE, *tones(*hz, loud=0.2, layout=layout),
               *VIDEO, "-c:a", "pcm_s16le")
    job = transcode(src, run.path / "out", *FAST)
    stereo, around = sounds(job)
    assert (stereo["CHANNELS"], around["CHANNELS"]) == ("2", "6")
    assert stereo["GROUP-ID"] != around["GROUP-ID"]
    variants = parse_master(job.output.hls / "master.m3u8").variants
    assert {v["AUDIO"] for v in variants} == {stereo["GROUP-ID"],
                                              around["GROUP-ID"]}

    left, right = samples(job.output.hls / stereo["URI"], 2)
    third = 0.2 / math.sqrt(2)
    for x, own, behind, other in ((left, 400, 1000, 600),
                                  (right, 600, 1200, 400)):
        assert abs(level(x, own) - 0.2) < 0.01
        assert abs(level(x, 800) - third) < 0.01     # the dialogue
        assert abs(level(x, behind) - third) < 0.01
        assert level(x, 60) < 0.005                  # no LFE
        assert level(x, other) < 0.005

    six = samples(job.output.hls / around["URI"], 6)
    for c, x in enumerate(six):
        for k, f in enumerate(hz):
            want = 0.2 if c == k else 0
            assert abs(level(x, f) - want) < 0.02, (c, f)


def test_downmix_does_not_clip(run, made):
    """All channels at full scale and in phase."""
    src = made("loud.mov", *PICTURE,
               *tones(500, 500, 500, 0, 500, 500, loud=0.95, layout="5.1"),
               *VIDEO, "-c:a", "pcm_s16le")
    job = transcode(src, run.path / "out", *FAST)
    for x in samples(job.output.folder / "mp4/48p.mp4", 2):
        assert max(map(abs, x[4800:-4800])) < 1.03
        assert level(x, 500) > 0.9
        assert level(x, 1500) < 0.02  # what clipping adds


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 96000, 192000])
def test_rates_keep_time(run, made, rate):
    """A beep at 2 s is at 2 s."""
    src = made("r.mov", *PICTURE, "-f", "lavfi", "-i",
               "aevalsrc='if(gte(t,2),0.5*sin(2*PI*1000*t),0)'"
               f":s={rate}:d=3", *VIDEO, "-c:a", "pcm_s16le")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    x, y = samples(job.output.folder / "mp4/48p.mp4", 2)
    begin = next(i for i, v in enumerate(x) if abs(v) > 0.1) / 48000
    assert abs(begin - 2) < 0.01
    assert abs(level(x, 1000, at=2.2) - 0.5) < 0.03
    assert abs(level(y, 1000, at=2.2) - 0.5) < 0.03


def black_but(lit, rate, seconds):
    return ["-f", "lavfi", "-i",
            f"color=black:s=64x48:r={rate}:d={seconds},"
            f"geq=lum='if(lt(mod(T,20),{lit}),235,16)':cb=128:cr=128",
            "-f", "lavfi", "-i",
            "aevalsrc='if(lt(mod(t,20),0.3),0.5*sin(2*PI*1000*t),0)'"
            f":s=8000:d={seconds}"]


@pytest.mark.parametrize("rate, lit, seconds", [
    ("5", 0.15, 3600), ("24000/1001", 0.04, 180)])
def test_sound_stays_with_the_picture(run, made, rate, lit, seconds):
    """Flash and beep every 20 s, for an hour; and at a film's rate, whose
    frames are not on the second."""
    src = made("long.mov", *black_but(lit, rate, seconds), *VIDEO, "-c:a",
               "pcm_s16le")
    job = transcode(src, run.path / "out", "--formats", "mp4,hls")
    for path in ("mp4/48p.mp4", "hls/48p.m3u8"):
        pairs = sync(job.output.folder / path)
        assert len(pairs) == seconds / 20
        assert max(abs(late) for _, late in pairs) < 42
    if rate == "5":
        assert max(abs(late) for _, late in pairs) < 2
    ends = run_command(
        ["ffprobe", "-v", "error", "-show_entries", "stream=duration", "-of",
         "csv=p=0", job.output.folder / "mp4/48p.mp4"]).stdout.split()
    ends = [float(x.rstrip(",")) for x in ends]
    assert abs(ends[0] - ends[1]) < 1 / 24, ends
    assert abs(ends[0] - seconds) < 0.05, ends
