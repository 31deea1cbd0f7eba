"""The pipeline on real and generated clips, through `workerd transcode`."""

import re
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from conftest import transcode
from rig.media import manifest, media, media_set
from verify import decode, packet_hashes, run as tool

COMPLETE = [r for r in manifest() if r["expect"] == "COMPLETE"]
REJECT = [r for r in manifest() if r["expect"] == "REJECT"]
FORMATS = ("mp4", "webm", "hls")

# What a rejected clip must be called; others need a code of the job list.
CODES = {
    "broken.mp4": "invalid_media",
    "rails-video_without_video_stream.mp4": "no_video",
}


def names_of(row):
    """The rungs that the manifest lists; 480p@source is named by its side."""
    rungs = row["rungs"].split(",")
    if not rungs[0].endswith("@source"):
        return rungs
    if "display_wxh" not in row:
        return [rungs[0].removesuffix("@source")]
    return [f"{min(int(x) for x in row['display_wxh'].split('x'))}p"]


def probe(path):
    """Width, height, rate and colours of the video of a file."""
    keys = "width,height,r_frame_rate,pix_fmt,color_range,color_space," \
        "color_transfer,color_primaries,sample_aspect_ratio,field_order"
    out = tool("ffprobe", "-v", "error", "-select_streams", "v:0",
               "-show_entries", f"stream={keys}:stream_side_data=rotation",
               "-of", "default=noprint_wrappers=1", path)
    return dict(x.split("=", 1) for x in out.splitlines() if "=" in x)


def check_plain(path):
    """What every output picture is: 4:2:0, BT.709, square, upright."""
    p = probe(path)
    assert p["pix_fmt"] == "yuv420p", p
    assert {p[k] for k in ("color_space", "color_transfer",
                           "color_primaries")} == {"bt709"}, p
    assert p["sample_aspect_ratio"] in ("1:1", "N/A"), p
    assert p["color_range"] == "tv" and "rotation" not in p, p
    assert p.get("field_order", "unknown") in ("progressive", "unknown"), p
    return p


@pytest.mark.parametrize("row", COMPLETE, ids=lambda r: r["file"])
def test_clip_completes(row, run):
    src = media(row["file"])
    job = transcode(src, run.path / "out")
    want = names_of(row)
    for fmt in FORMATS:
        assert job.rungs(fmt) == want, fmt

    source = job.doc["source"]
    if row.get("display_wxh"):
        w, h = (int(x) for x in row["display_wxh"].split("x"))
        if row["dar_width"] != "=":
            w = int(row["dar_width"])
        assert (source["width"], source["height"]) == (w, h)
        assert source["frames"] == int(row["frames"])
        top = job.result("mp4", want[-1])
        assert abs(top["width"] / top["height"] - w / h) < 0.02

    # every output decodes whole with the frames that the grid has, evenly
    frames = source["frames"]
    if row.get("vfr", "-") != "-":
        rate = float(eval(probe(job.output.folder / "mp4" /
                                f"{want[0]}.mp4")["r_frame_rate"]))
        assert rate in (15, 20, 24, 25, 30, 50, 60) or rate * 1001 % 1000 == 0
        frames = rate * source["duration"]
    job.output.check(frames=frames, fps=frames / source["duration"])
    if row.get("decodable_s"):
        assert abs(source["duration"] - float(row["decodable_s"])) < 0.15

    for path in job.output.files("mp4/*.mp4") + job.output.files(
            "webm/*.webm"):
        check_plain(path)
    has_sound = row.get("audio", "aac") != "none"
    if media_set() == "shared":
        assert (source["audioCodec"] is not None) == has_sound
    assert job.doc["master"] == "hls/master.m3u8"
    assert (job.output.folder / job.doc["poster"]).stat().st_size > 500


@pytest.mark.parametrize("row", REJECT, ids=lambda r: r["file"])
def test_clip_is_rejected(row, run):
    job = transcode(media(row["file"]), run.path / "out", check=False)
    assert job.error in ("invalid_media", "unsupported_format", "no_video")
    if row["file"] in CODES:
        assert job.error == CODES[row["file"]]
    assert not job.all("playable") and job.doc is None


def test_ladder_of_a_real_clip(run):
    """The 19 s clip as it ships: three rungs, three formats, two passes."""
    job = transcode(media("bbb-1080p25-19s.mp4"), run.path / "out")
    for fmt in FORMATS:
        assert job.rungs(fmt) == ["480p", "720p", "1080p"]
    frames = job.doc["source"]["frames"]
    assert frames == 482
    job.output.check(frames=frames, fps=25)

    stats = job.doc["stats"]
    assert stats["passes"] == 2
    assert stats["framesDecoded"] <= 2.04 * frames

    # playable long before the end, progress that only grows
    kinds = [m["t"] for m in job.messages]
    assert kinds.count("playable") == 1 and kinds[0] == "plan"
    told = [m["progress"] for m in job.all("progress")]
    assert told == sorted(told) and told[-1] <= 99 and len(told) > 5
    before = [m["progress"] for m in job.messages[:kinds.index("playable")]
              if m["t"] == "progress"]
    assert max(before, default=0) < 20
    assert job.all("playable")[0]["doc"] == {
        "master": "hls/live-master.m3u8", "poster": "poster.jpg"}

    plan = job.all("plan")[0]
    size = sum(f.stat().st_size for f in job.output.folder.rglob("*")
               if f.is_file())
    assert size < plan["outputBytes"]
    assert stats["cpuSeconds"] < 4 * plan["cpuSeconds"] + 60


@pytest.mark.parametrize("seconds,passes", [(2, 1), (4, 2)])
def test_short_clips(seconds, passes, made, run):
    """Whoever waits for a few seconds of video waits for its first pass
    alone; below that a second one is not worth its start."""
    src = made("in.mp4", "-f", "lavfi", "-i",
               f"testsrc2=size=320x240:rate=25:duration={seconds}",
               "-pix_fmt", "yuv420p")
    job = transcode(src, run.path / "out")
    assert job.doc["stats"]["passes"] == passes
    kinds = [m["t"] for m in job.messages]
    assert ("progress" in kinds[kinds.index("playable"):]) == (passes == 2)
    job.output.check(frames=25 * seconds)


def test_one_pass_decodes_once(run):
    job = transcode(media("bbb-1080p25-19s.mp4"), run.path / "out", "--early",
                    "off", "--qualities", "480p", "--formats", "mp4,hls")
    stats = job.doc["stats"]
    assert stats["passes"] == 1
    assert stats["framesDecoded"] <= 1.02 * job.doc["source"]["frames"]


def test_files_appear_whole(beep, run):
    """Under their own names only when they will not change any more: players
    of a live encode know the prefix, and caches keep what they get."""
    out = run.path / "out"
    seen = {}
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(transcode, beep, out, "--qualities", "480p",
                          "--early", "on")
        while not job.done():
            for path in [*out.glob("mp4/*.mp4"), *out.glob("webm/*.webm"),
                         *out.glob("hls/*/*.m4s")]:
                s = path.stat()
                seen.setdefault(path, (s.st_ino, s.st_size))
            wait([job], timeout=0.01)
        job.result()
    assert seen and not [*out.rglob("*.tmp")]
    for path, first in seen.items():
        s = path.stat()
        assert (s.st_ino, s.st_size) == first, path


def test_webm_by_setting(run):
    src = media("rails-video_without_audio_stream.mp4")
    job = transcode(src, run.path / "out", "--formats", "webm", "--webm",
                    "vp9")
    assert {r["codec"][:4] for r in job.doc["results"]} == {"vp09"}
    assert job.doc["master"] is None and not job.all("playable")
    job.output.check(frames=job.doc["source"]["frames"])


def test_key_frames_are_the_same_everywhere(run, made):
    src = made("a.mp4", "-f", "lavfi", "-i",
               "testsrc2=s=1280x720:r=30000/1001:d=9", "-pix_fmt", "yuv420p")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    keys = {}
    for path in job.output.files("mp4/*.mp4"):
        out = tool("ffprobe", "-v", "error", "-select_streams", "v",
                   "-skip_frame", "nokey", "-show_entries", "frame=pts_time",
                   "-of", "csv=p=0", path)
        keys[path.name] = [round(float(x.rstrip(",")), 3)
                           for x in out.split()]
    first, second = keys.values()
    assert first == second
    assert [int(t + 0.001) for t in first] == [0, 2, 4, 6, 8]


# --- sound in sync -----------------------------------------------------------

def check_sync(job):
    found = job.output.check_sync(45)
    assert len(found) == 3, found
    return found


def test_sync(beep, run):
    job = transcode(beep, run.path / "out")
    check_sync(job)
    assert job.doc["stats"]["passes"] == 2
    hls = packet_hashes(job.output.folder / "hls/480p/index.m3u8")
    assert hls == packet_hashes(job.output.folder / "mp4/480p.mp4")


@pytest.mark.parametrize("name, args", [
    # an edit list that begins between key frames; stamps before 0
    ("cut.mp4", ["-ss", "1.3", "-i", "BEEP", "-c", "copy"]),
    # a start that is not 0
    ("late.ts", ["-i", "BEEP", "-c", "copy", "-output_ts_offset", "100"]),
    ("late.mkv", ["-i", "BEEP", "-c", "copy", "-output_ts_offset", "3"]),
    # sound that begins later, or earlier, than the picture
    ("sound-late.mkv", ["-i", "BEEP", "-ss", "0.7", "-i", "BEEP", "-map",
                        "0:v", "-map", "1:a", "-c", "copy", "-copyts",
                        "-avoid_negative_ts", "disabled"]),
    ("picture-late.mkv", ["-ss", "1.1", "-i", "BEEP", "-i", "BEEP", "-map",
                          "0:v", "-map", "1:a", "-c:v", "mpeg4", "-q:v", "4",
                          "-c:a", "copy", "-copyts"]),
    # another clock for sound, and as AVI has it
    ("pcm.avi", ["-i", "BEEP", "-c:v", "mpeg4", "-q:v", "4", "-c:a",
                 "pcm_s16le", "-ar", "44100", "-ac", "1"]),
    # sound with a hole of half a second
    ("hole.mkv", ["-i", "BEEP", "-c:v", "copy", "-af",
                  "aselect='not(between(t,5.2,5.7))'", "-c:a", "pcm_s16le"]),
])
def test_sync_of_odd_starts(beep, run, made, name, args):
    src = made(name, *[str(beep) if a == "BEEP" else a for a in args])
    job = transcode(src, run.path / "out", "--webm", "vp9")
    check_sync(job)


def test_sound_that_ends_early_is_filled(beep, run, made):
    src = made("short.mp4", "-i", beep, "-t", "4", "-i", beep, "-map", "0:v",
               "-map", "1:a", "-c", "copy")
    job = transcode(src, run.path / "out", "--formats", "mp4,hls")
    for path in ("mp4/480p.mp4", "hls/480p.m3u8"):
        got = decode(job.output.folder / path)
        end = got["a"][-1][0] + got["a"][-1][1]
        assert abs(end - job.doc["source"]["duration"]) < 0.06


def test_sound_after_the_picture_is_kept(beep, run, made):
    src = made("long.mp4", "-t", "3", "-i", beep, "-i", beep, "-map", "0:v",
               "-map", "1:a", "-c", "copy")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    got = decode(job.output.folder / "mp4/480p.mp4")
    assert got["a"][-1][0] > 11


# --- time --------------------------------------------------------------------

def frames_and_rate(job, fmt="mp4"):
    path = job.output.files(f"{fmt}/*")[0]
    return len(decode(path)["v"]), probe(path)["r_frame_rate"]


@pytest.mark.parametrize("rate, out, frames", [
    ("24000/1001", "24000/1001", 72), ("25", "25/1", 75),
    ("120", "60/1", 180), ("100", "50/1", 150), ("7", "7/1", 21),
    ("60000/1001", "60000/1001", 180),
])
def test_regular_rates(run, made, rate, out, frames):
    src = made("a.mp4", "-f", "lavfi", "-i", f"testsrc2=s=192x108:r={rate}",
               "-t", "3", "-pix_fmt", "yuv420p", "-preset", "ultrafast")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    n, got = frames_and_rate(job)
    assert got == out and abs(n - frames) <= 1


@pytest.mark.parametrize("ending", ["mkv", "flv", "avi", "ts", "mov"])
@pytest.mark.parametrize("rate", ["30000/1001", "60"])
def test_rates_survive_containers(run, made, ending, rate):
    """Stamps in milliseconds or ticks of 90 kHz mean the same rate."""
    src = made(f"a.{ending}", "-f", "lavfi", "-i",
               f"testsrc2=s=192x108:r={rate}", "-t", "6", "-pix_fmt",
               "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf",
               "2")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    n, got = frames_and_rate(job)
    num, den = (int(x) for x in got.split("/"))
    assert abs(num / den - eval(rate)) < 0.001 * eval(rate)
    assert abs(n - job.doc["source"]["frames"]) <= 3
    assert abs(n - 6 * eval(rate)) <= 3


def test_variable_rate(run, made):
    """Frames at 40 and 80 ms, mixed: the nearest standard rate, all time."""
    src = made("a.mkv", "-f", "lavfi", "-i", "testsrc2=s=192x108:r=25:d=8",
               "-vf", "select='not(eq(mod(n,5),3))+lt(n,10)'", "-fps_mode",
               "passthrough", "-pix_fmt", "yuv420p")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    n, got = frames_and_rate(job)
    assert got == "25/1" and abs(n - 200) <= 1


def test_a_gap_is_held(run, made):
    src = made("a.mkv", "-f", "lavfi", "-i", "testsrc2=s=192x108:r=25:d=10",
               "-vf", "select='not(between(n,100,175))'", "-fps_mode",
               "passthrough", "-pix_fmt", "yuv420p")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    n, _ = frames_and_rate(job)
    assert abs(n - 250) <= 1


# --- pictures ----------------------------------------------------------------

@pytest.mark.parametrize("name, args, size", [
    ("odd.mkv", ["testsrc2=s=201x151:r=25:d=1", "-pix_fmt", "yuv444p"],
     (200, 150)),
    ("tiny.mkv", ["testsrc2=s=16x16:r=25:d=1", "-pix_fmt", "yuv420p"],
     (16, 16)),
    ("one.mkv", ["color=s=2x2:r=25:d=1", "-c:v", "ffv1"], None),
    ("deep.mkv", ["testsrc2=s=320x180:r=25:d=1", "-pix_fmt", "yuv422p10le"],
     (320, 180)),
    ("wide.mp4", ["testsrc2=s=360x288:r=25:d=1", "-pix_fmt", "yuv420p",
                  "-vf", "setsar=16/11"], (524, 288)),
    ("narrow.mp4", ["testsrc2=s=720x480:r=25:d=1", "-pix_fmt", "yuv420p",
                    "-vf", "setsar=8/9"], (640, 480)),
    ("cinema.mp4", ["testsrc2=s=1920x800:r=25:d=0.4", "-pix_fmt", "yuv420p"],
     (1920, 800)),
    ("alpha.mov", ["testsrc2=s=320x180:r=25:d=1", "-pix_fmt", "yuva444p10le",
                   "-c:v", "prores_ks", "-profile:v", "4444"], (320, 180)),
    ("full.mov", ["testsrc2=s=320x180:r=25:d=1", "-pix_fmt", "yuvj420p",
                  "-c:v", "mjpeg"], (320, 180)),
    ("rgb.mkv", ["testsrc2=s=320x180:r=25:d=1", "-pix_fmt", "gbrp", "-c:v",
                 "libx264rgb"], (320, 180)),
    ("ntsc.avi", ["testsrc2=s=720x480:r=30000/1001:d=1", "-c:v", "dvvideo",
                  "-pix_fmt", "yuv411p"], None),
    ("hdr.mkv", ["testsrc2=s=640x360:r=25:d=1,format=yuv420p10le,setparams="
                 "color_primaries=bt2020:color_trc=smpte2084:"
                 "colorspace=bt2020nc", "-c:v", "libx265", "-x265-params",
                 "log-level=none:colorprim=bt2020:transfer=smpte2084:"
                 "colormatrix=bt2020nc"], (640, 360)),
])
def test_pictures(run, made, name, args, size):
    src = made(name, "-f", "lavfi", "-i", *args)
    # (a second of noise is more than the caps of a live master allow for)
    job = transcode(src, run.path / "out", "--formats", "mp4,webm",
                    check=name != "one.mkv")
    if name == "one.mkv":
        assert job.error == "unsupported_codec"
        return
    job.output.check(frames=job.doc["source"]["frames"])
    for path in job.output.files("mp4/*.mp4") + job.output.files(
            "webm/*.webm"):
        check_plain(path)
    if size:
        top = job.doc["results"][-1]
        assert (top["width"], top["height"]) == size


def colour(path, at="iw/2:ih/2"):
    """R, G, B in the middle of the first frame."""
    x, y = at.split(":")
    raw = tool("ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-vf",
               f"crop=8:8:{x}-4:{y}-4,scale=1:1:flags=area:"
               "in_color_matrix=bt709,format=rgb24", "-f", "rawvideo", "-",
               binary=True)
    return tuple(raw[:3])


@pytest.mark.parametrize("size", ["320x180", "1280x720"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", None])
def test_colours_stay(run, made, size, matrix):
    """Whatever matrix the source has, the picture shows the same colours."""
    guess = matrix or ("bt709" if size == "1280x720" else "bt601")
    tag = {"bt601": "smpte170m", "bt709": "bt709", None: "unknown"}[matrix]
    src = made("a.mp4", "-f", "lavfi", "-i",
               f"color=c=0xC83C28:s={size}:r=25:d=0.4,format=rgb24,"
               f"scale=out_color_matrix={guess}:out_range=tv,format=yuv420p,"
               f"setparams=colorspace={tag}", "-colorspace", tag, "-crf", "5")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    got = colour(job.output.files("mp4/*.mp4")[-1])
    assert all(abs(a - b) <= 8 for a, b in zip(got, (0xC8, 0x3C, 0x28))), got


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_rotation(run, made, angle):
    """A red corner ends up where FFmpeg's own autorotation puts it."""
    flat = made("flat.mp4", "-f", "lavfi", "-i",
                "color=c=black:s=320x180:r=25:d=0.4,drawbox=c=red:t=fill:w=80"
                ":h=60", "-pix_fmt", "yuv420p")
    if "display_rotation" in tool("ffmpeg", "-v", "error", "-h", "full"):
        src = made("turned.mp4", "-display_rotation", angle, "-i", flat,
                   "-c", "copy")
    else:
        src = made("turned.mp4", "-i", flat, "-c", "copy", "-metadata:s:v",
                   f"rotate={angle}")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    out = job.output.files("mp4/*.mp4")[0]
    check_plain(out)

    corners = ["10:10", "iw-10:10", "iw-10:ih-10", "10:ih-10"]
    red = [[colour(path, c)[0] > 120 for c in corners] for path in (src, out)]
    assert red[0] == red[1] and sum(red[1]) == 1 and not red[1][0]


def test_interlaced_is_deinterlaced(run, made):
    src = made("a.ts", "-f", "lavfi", "-i", "testsrc2=s=720x576:r=50:d=2",
               "-vf", "interlace=lowpass=0,setsar=1", "-c:v", "mpeg2video",
               "-flags", "+ilme+ildct", "-b:v", "8M", "-pix_fmt", "yuv420p")
    job = transcode(src, run.path / "out", "--formats", "mp4")
    n, rate = frames_and_rate(job)
    assert rate == "25/1" and abs(n - 50) <= 2
    counts = tool("ffmpeg", "-v", "info", "-nostdin", "-hide_banner", "-i",
                  job.output.files("mp4/*.mp4")[0], "-vf",
                  "idet,metadata=print:key=lavfi.idet.multiple."
                  "current_frame:file=-", "-f", "null", "-", quiet=False)
    kinds = re.findall(r"current_frame=(\w+)", counts)
    assert kinds.count("progressive") >= 0.8 * len(kinds), kinds


def test_size_change_in_the_stream(run, made):
    parts = [made(f"{i}.ts", "-f", "lavfi", "-i",
                  f"testsrc2=s={s}:r=25:d=2", "-pix_fmt", "yuv420p", "-c:v",
                  "mpeg2video") for i, s in enumerate(("640x480", "320x240"))]
    src = run.path / "both.ts"
    src.write_bytes(b"".join(p.read_bytes() for p in parts))
    job = transcode(src, run.path / "out", "--formats", "mp4")
    n, _ = frames_and_rate(job)
    assert abs(n - 100) <= 3
