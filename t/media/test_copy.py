"""Passthrough: what is copied is the source's own, the rest is told why."""

import struct

import pytest

from conftest import transcode
from rig.clips import damage_picture
from test_hostile import JOB, Child
from verify import (decode, key_times, packet_hashes, parse_media,
                    run as tool, sync)

AAC = ("-c:a", "aac", "-b:a", "96k", "-ac", "2")


def x264(gop=48, *more):
    return ("-c:v", "libx264", "-preset", "veryfast", "-crf", "30", "-g",
            str(gop), "-keyint_min", str(gop), "-sc_threshold", "0",
            "-pix_fmt", "yuv420p", *more)


def clip(made, *, name="in.mp4", size="320x240", rate="25", seconds=6,
         video=None, audio=AAC, filters="null", extra=(), source="testsrc"):
    """A clip that can be copied, unless told otherwise."""
    sound = ("-f", "lavfi", "-i",
             f"sine=frequency=440:sample_rate=48000:duration={seconds}")
    return made(name, "-f", "lavfi", "-i",
                f"{source}=size={size}:rate={rate}:duration={seconds}",
                *(sound if audio else ()), "-vf", filters,
                *(video or x264()), *(audio or ()), *extra)


def copy(src, folder, *options, **more):
    job = transcode(src, folder, "--passthrough", "auto", *options, **more)
    if said(job)["reason"] == "copied":
        job.output.copied_from(src)
    return job


def said(job, kind="video"):
    return job.doc["passthrough"][kind]


# --- what is copied ----------------------------------------------------------

@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.mov"])
def test_copied_bit_by_bit(name, made, run):
    src = clip(made, name=name)
    job = copy(src, run.path / "out", "--formats", "mp4")
    assert said(job) == {"copied": True, "code": "fits", "reason": "copied"}
    assert said(job, "audio")["copied"], said(job, "audio")
    out = run.path / "out/mp4/240p.mp4"
    job.output.check(frames=150)
    assert packet_hashes(out) == packet_hashes(src)
    assert packet_hashes(out, "a") == packet_hashes(src, "a")
    assert len(decode(out)["v"]) == 150


def test_off_encodes(made, run):
    src = clip(made, seconds=2)
    job = transcode(src, run.path / "out", "--formats", "mp4",
                    "--passthrough", "off")
    assert said(job)["code"] == said(job, "audio")["code"] == "off"
    assert packet_hashes(run.path / "out/mp4/240p.mp4") != packet_hashes(src)


def test_nothing_is_decoded_but_key_frames(made, run):
    """A job that encodes nothing; its pictures are there all the same."""
    src = clip(made, seconds=12)
    job = copy(src, run.path / "out", "--formats", "mp4,hls")
    job.output.check(frames=300)
    assert job.doc["stats"]["framesDecoded"] <= 7 + 3   # GOPs, the poster
    assert (run.path / "out/poster.jpg").is_file()
    cues = (run.path / "out/storyboard.vtt").read_text().split("\n\n")[1:]
    assert len(cues) >= 7
    assert "--> 00:00:12.000" in cues[-1]


def test_sound_and_picture_stay_together(beep, run):
    src = beep
    job = copy(src, run.path / "out", "--formats", "mp4,hls")
    assert said(job, "audio")["copied"], said(job, "audio")
    quality = job.rungs("mp4")[-1]
    before = dict(sync(src))
    for path in (f"mp4/{quality}.mp4", f"hls/{quality}.m3u8"):
        for at, late in sync(run.path / "out" / path):
            assert abs(late) < 40, f"{path}: {late} ms at {at}"
            near = min(before, key=lambda t: abs(t - at))
            assert abs(near - at) < 0.02 and abs(before[near] - late) < 25


def test_only_the_sound(made, run):
    src = clip(made, video=("-c:v", "mpeg4", "-q:v", "5"), seconds=3)
    job = copy(src, run.path / "out", "--formats", "mp4")
    assert said(job)["code"] == "codec" and said(job, "audio")["copied"]
    out = run.path / "out/mp4/240p.mp4"
    job.output.check(frames=75)
    assert packet_hashes(out, "a") == packet_hashes(src, "a")


def test_a_late_last_picture(made, run):
    """Cut without encoding anew: the last picture's forerunners are gone.
    It is shown right after the one before, as where it is decoded."""
    whole = clip(made, name="whole.mp4", seconds=8, video=x264(48, "-bf", "3"))
    src = made("cut.mp4", "-i", whole, "-t", "5.82", "-c", "copy")
    times = sorted(float(x.rstrip(",")) for x in tool(
        "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
        "packet=pts_time", "-of", "csv=p=0", src).splitlines())
    job = copy(src, run.path / "out", "--formats", "mp4")
    if said(job)["copied"]:
        job.output.check(frames=len(times))
        assert packet_hashes(run.path / "out/mp4/240p.mp4") \
            == packet_hashes(src)
    else:
        assert said(job)["code"] in ("edit_list", "timing"), said(job)
        job.output.check()


# --- HLS ---------------------------------------------------------------------

def test_hls_is_cut_at_the_copied_key_frames(made, run):
    src = clip(made, size="1280x720", seconds=13)
    job = copy(src, run.path / "out", "--formats", "mp4,hls")
    assert said(job)["copied"] and said(job)["reason"] == "copied"
    job.output.check(frames=325)
    top, low = (parse_media(run.path / f"out/hls/{q}/index.m3u8")
                for q in ("720p", "480p"))
    assert top.cuts == low.cuts and top.target == low.target == 6
    assert top.cuts[:4] == [0, 1.92, 3.84, 5.76]
    assert packet_hashes(run.path / "out/mp4/720p.mp4") == packet_hashes(src)
    assert key_times(run.path / "out/mp4/480p.mp4") \
        == key_times(run.path / "out/mp4/720p.mp4") == key_times(src)
    times = [decode(run.path / f"out/mp4/{q}.mp4")["v"]
             for q in ("480p", "720p")]
    assert len(times[0]) == len(times[1]) == 325
    assert all(abs(a - b) < 0.001 for a, b in zip(*times))


def test_the_copied_rung_plays_first(made, run):
    src = clip(made, size="1280x720", seconds=13)
    job = copy(src, run.path / "out", "--formats", "hls")
    assert job.doc["stats"]["passes"] == 2
    kinds = [m["t"] for m in job.messages if m["t"] != "warning"]
    assert kinds.index("playable") < len(kinds) - 1
    live = (run.path / "out/hls/live-master.m3u8").read_text()
    assert "720p/live.m3u8" in live and "480p" not in live
    # one decode, and the poster's key frames
    assert job.doc["stats"]["framesDecoded"] <= 325 + 3
    off = copy(src, run.path / "one", "--formats", "hls", "--early", "off")
    assert off.doc["stats"]["passes"] == 1 and said(off)["copied"]
    off.output.check(frames=325)


def test_key_frames_too_far_apart_for_hls(made, run):
    src = clip(made, seconds=18, video=x264(200))
    job = copy(src, run.path / "out", "--formats", "mp4,hls")
    job.output.apart = {"240p"}
    assert said(job)["copied"]
    assert said(job)["reason"] \
        == "copied into MP4 only: key frames up to 8.0 s apart"
    job.output.check(frames=450)
    assert packet_hashes(run.path / "out/mp4/240p.mp4") == packet_hashes(src)
    cuts = parse_media(run.path / "out/hls/240p/index.m3u8").cuts
    assert cuts == [0, 2, 4, 6, 12, 18]


# --- what is not -------------------------------------------------------------

REFUSED = {
    "codec": {"video": ("-c:v", "mpeg4")},
    "profile": {"video": x264(48, "-pix_fmt",
                               "yuv420p10le")},
    "pixels": {"video": ("-c:v", "libx264", "-pix_fmt", "yuv422p"),
               "code": "profile"},
    "interlaced": {"video": x264(48, "-flags", "+ilme+ildct", "-x264-params",
                                 "interlaced=1")},
    "aspect": {"filters": "setsar=4/3"},
    "colours": {"video": x264(48, "-color_range", "pc")},
    "size": {"size": "321x240", "video": (
        "-c:v", "libx264", "-pix_fmt", "yuv444p"), "code": "profile"},
    "key_frames": {"seconds": 13, "video": x264(400)},
    "open_gop": {"video": x264(48, "-x264-params",
                               "open-gop=1:bframes=3:b-adapt=0")},
    "bitrate": {"video": ("-c:v", "libx264", "-preset", "ultrafast", "-qp",
                          "1", "-pix_fmt", "yuv420p"), "seconds": 2,
                "source": "testsrc2"},
    "container": {"name": "in.avi", "audio": ("-c:a", "mp3")},
    "rate": {"filters": "select='not(eq(mod(n,7),3))'",
             "extra": ("-fps_mode", "vfr")},
    "all intra": {"seconds": 2, "video": x264(1), "code": "key_frames"},
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused_for_its_reason(why, made, run):
    recipe = dict(REFUSED[why])
    code = recipe.pop("code", why)
    src = clip(made, **{"seconds": 3, **recipe})
    job = copy(src, run.path / "out", "--formats", "mp4")
    assert not said(job)["copied"]
    assert said(job)["code"] == code, said(job)
    assert said(job)["reason"].startswith("not copied: ")
    job.output.check()


def test_a_turned_picture_is_not_copied(made, run):
    plain = clip(made, name="plain.mp4", seconds=2)
    src = made("turned.mp4", "-display_rotation", "90", "-i", plain, "-c",
               "copy") if rotates() else made(
        "turned.mp4", "-i", plain, "-c", "copy", "-metadata:s:v:0",
        "rotate=90")
    job = copy(src, run.path / "out", "--formats", "mp4")
    assert said(job)["code"] == "rotated"
    assert (job.result("mp4")["width"], job.result("mp4")["height"]) \
        == (240, 320)


def rotates():
    """Whether this ffmpeg program has -display_rotation (6.0 on)."""
    return int(tool("ffmpeg", "-version").split()[2].split(".")[0]
               .lstrip("n")) >= 6


@pytest.mark.parametrize("code,audio", [
    ("codec", ("-c:a", "mp3")),
    ("channels", ("-c:a", "aac", "-ac", "6")),
    ("sample_rate", ("-c:a", "aac", "-ar", "22050")),
    ("bitrate", ("-c:a", "aac", "-b:a", "320k", "-ac", "2", "-af",
                 "aeval=random(0)|random(1):c=stereo")),
])
def test_sound_that_is_not_copied(code, audio, made, run):
    src = clip(made, seconds=3, audio=audio)
    job = copy(src, run.path / "out", "--formats", "mp4")
    found = said(job, "audio")
    assert not found["copied"], found
    assert found["code"] in (code, "profile"), found
    assert said(job)["copied"]
    job.output.check(frames=75)


def test_mono(made, run):
    """HLS has to have stereo; MP4 takes one channel as it is."""
    src = clip(made, seconds=3, audio=(*AAC, "-ac", "1"))
    job = copy(src, run.path / "out", "--formats", "mp4,hls")
    found = said(job, "audio")
    assert (found["copied"], found["code"]) == (False, "channels"), found
    assert said(job)["copied"]
    job.output.check(frames=75)         # the linter too
    job = copy(src, run.path / "mp4", "--formats", "mp4")
    assert said(job, "audio")["copied"]
    job.output.check(frames=75)


def test_sound_that_ends_early_is_encoded(made, run):
    """A player that runs out of sound stops: silence is put behind it."""
    src = clip(made, seconds=6, audio=(*AAC, "-af", "atrim=end=4"))
    job = copy(src, run.path / "out", "--formats", "mp4")
    assert said(job, "audio")["code"] == "end"
    assert said(job)["copied"]


# --- when it turns out badly -------------------------------------------------

def test_damage_is_encoded_after_all(made, run):
    whole = clip(made, size="1280x720", seconds=4)
    src = damage_picture(whole, run.path / "damaged.mp4")
    job = copy(src, run.path / "out", "--formats", "mp4,hls")
    assert said(job)["code"] == "damaged", said(job)
    assert not said(job)["copied"]
    job.output.check()
    assert packet_hashes(run.path / "out/mp4/720p.mp4") != packet_hashes(src)
    cuts = parse_media(run.path / "out/hls/720p/index.m3u8").cuts
    assert cuts[:3] == [0, 2, 4]


def test_names_that_players_know_do_not_change(made, run):
    """Damage that is found when the copy can be played already: the attempt
    fails (the next does not copy), and its files stay as they were."""
    whole = clip(made, size="1280x720", seconds=13)
    src = damage_picture(whole, run.path / "damaged.mp4")
    out = run.path / "out"
    job = {**JOB, "formats": ["hls"], "qualities": ["480p", "720p"]}
    code, messages, err = Child(src, out, job).end()
    kinds = [m["t"] for m in messages]
    assert code == 1 and "playable" in kinds, (messages[0], messages[-1])
    assert messages[-1]["code"] == "passthrough_failed", messages[-1]
    live = parse_media(out / "hls/720p/live.m3u8")
    assert live.segments and all(p.is_file() for _, p in live.segments)

    code, messages, err = Child(src, run.path / "again",
                                {**job, "passthrough": "off"}).end()
    assert code == 0 and messages[-1]["t"] == "done", err


@pytest.mark.parametrize("bad", [False, True])
def test_a_large_file_is_copied_by_its_index(bad, made, run):
    """Over 64 MiB not every packet is read before it begins; what the index
    does not tell is found on the way."""
    small = clip(made, seconds=6, name="small.mp4")
    if bad:
        small = late_sets(small, run.path / "sets.mp4")
    noise = ("-f", "lavfi", "-i", "anoisesrc=r=96000:d=6", "-map", "0:v",
             "-map", "0:a")
    tracks = [x for _ in range(4) for x in ("-map", "1:a")]
    src = made("large.mov", "-i", small, *noise, *tracks, "-c:v", "copy",
               "-c:a:0", "copy", *[x for i in range(1, 5) for x in (
                   f"-c:a:{i}", "pcm_f64le", f"-ac:a:{i}", "4")])
    assert src.stat().st_size > 64 << 20
    job = copy(src, run.path / "out", "--formats", "mp4")
    job.output.check(frames=150)
    if bad:
        assert said(job)["code"] == "damaged", said(job)
        assert "parameter sets" in said(job)["reason"]
    else:
        assert said(job)["copied"], said(job)
        assert packet_hashes(run.path / "out/mp4/240p.mp4") \
            == packet_hashes(src)


def late_sets(src, dst):
    """A unit that calls itself a sequence parameter set, late in the file."""
    rows = [x.rstrip(",").split(",") for x in tool(
        "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
        "packet=pos,size", "-of", "csv=p=0", src).splitlines()]
    data = bytearray(src.read_bytes())
    late = [int(p) for s, p in rows if int(s) > 100][-1]
    pos, size = late, struct.unpack_from(">I", data, late)[0]
    assert data[pos + 4] & 31 in (1, 5) and size > 12
    # the picture's unit split in two: a bogus set, and the rest as a slice
    data[pos:pos + 5] = struct.pack(">IB", 4, 0x67)
    data[pos + 8:pos + 13] = struct.pack(">IB", size - 8, 0x41)
    dst.write_bytes(data)
    return dst


def test_two_runs_write_the_same(made, run):
    """Whatever is in memory that is not yet written to: x264's AVX-512 code
    takes it for numbers where rows are not whole vectors of macroblocks, as
    those of 854 pixels."""
    src = clip(made, size="1280x720", seconds=4)
    for name, fill in (("a", "1"), ("b", "165")):
        copy(src, run.path / name, "--formats", "mp4,hls",
             "--threads", "1", env={"MALLOC_PERTURB_": fill})
    files = [{p.relative_to(run.path / name): p.read_bytes()
              for p in (run.path / name).rglob("*") if p.is_file()}
             for name in ("a", "b")]
    assert files[0].keys() == files[1].keys()
    assert [k for k in files[0] if files[0][k] != files[1][k]] == []
