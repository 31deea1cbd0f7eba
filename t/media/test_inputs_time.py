"""Time: edit lists, rates, claims and stamps of every kind.  Frames carry
their number; so what came out, what was held and what was dropped is counted
exactly.  docs/inputs.md has the map."""

import struct

import pytest

from conftest import ffmpeg, transcode
from pixels import (BLACK, LOSSLESS, WHITE, combing, frames, number, numbered,
                    numbers, raw, raw_args, rgb)
from rig import boxes
from test_inputs_shape import out_of
from verify import decode

BFRAMES = [*LOSSLESS, "-x264-params", "bframes=3:b-adapt=0:b-pyramid=normal:"
           "keyint=24:min-keyint=24:scenecut=0"]


def check_numbers(src, run, want, *options, name="out"):
    job, path = out_of(src, run, *options, name=name)
    got = numbers(path)
    assert got == list(want), got
    times = decode(path)["v"]
    steps = {round(b - a, 3) for a, b in zip(times, times[1:])}
    assert times[0] == 0 and len(steps) <= 1, times
    return job


def moov_first(path):
    """The same file with its moov in front, to be changed."""
    new = path.with_name("first-" + path.name)
    ffmpeg("-i", path, "-c", "copy", "-movflags", "+faststart", new)
    return bytearray(new.read_bytes())


# --- edit lists --------------------------------------------------------------

# edits as (frames, first frame; None: nothing is shown) and what is seen
EDITS = {
    "start": ([(40, 10)], [*range(10, 50)]),
    "start-between-keys": ([(37, 13)], [*range(13, 50)]),
    "end": ([(30, 0)], [*range(30)]),
    "both": ([(20, 7)], [*range(7, 27)]),
    "middle": ([(20, 0), (20, 30)], [*range(20), *range(30, 50)]),
    "three": ([(10, 0), (10, 15), (10, 30)],
              [*range(10), *range(15, 25), *range(30, 40)]),
    "late": ([(25, None), (50, 0)], [*range(50)]),
    "late-trimmed": ([(25, None), (30, 5)], [*range(5, 35)]),
    "order": ([(20, 24), (20, 0)], [*range(24, 44), *range(20)]),
    "twice": ([(20, 0), (20, 0)], [*range(20), *range(20)]),
}


@pytest.mark.parametrize("codec", ["plain", "bframes"])
@pytest.mark.parametrize("name", EDITS)
def test_edit_list(run, name, codec):
    edits, want = EDITS[name]
    src = numbered(run, "a.mp4", 50, *(BFRAMES if codec == "bframes" else
                                       [*LOSSLESS, "-bf", "0", "-g", "24"]))
    data = moov_first(src)
    (at, _), = boxes.find(data, "moov", "mvhd")
    movie = struct.unpack_from(">I", data, at + 12)[0]
    (at, _), = boxes.find(data, "moov", "trak", "mdia", "mdhd")
    media = struct.unpack_from(">I", data, at + 12)[0]
    shift = 2 * media // 25 if codec == "bframes" else 0  # first ctts
    data = boxes.set_edits(data, [
        (n * movie // 25, -1 if first is None else
         first * media // 25 + shift) for n, first in edits])
    src.write_bytes(data)
    if codec == "bframes" and name in ("middle", "three"):
        # libav puts a part with such frames a frame late
        got = numbers(out_of(src, run)[1])
        seen = [n for i, n in enumerate(got) if i == 0 or got[i - 1] != n]
        lost = set(want) - set(seen)
        assert seen == [n for n in want if n not in lost], got
        assert len(lost) < len(edits) - 1 or not lost, lost
        assert abs(len(got) - len(want)) <= 1, got
        return
    check_numbers(src, run, want)


@pytest.mark.parametrize("edits", [
    [(0x7fffffff, 0)], [(1000, 0x7ffffffe)], [(0, 0)], [(0x7fffffff, -1)],
    [(1000, 0)] * 500, [(0, 0)] * 3])
def test_absurd_edit_list(run, edits):
    """Ends well or is refused; never long, never more than there is."""
    src = numbered(run, "a.mp4", 25)
    data = boxes.set_edits(moov_first(src), edits)
    src.write_bytes(data)
    job = transcode(src, run.path / "out", "--formats", "mp4", check=False,
                    timeout=60)
    if job.code == 0:
        assert job.doc["source"]["frames"] <= 25 * max(1, len(edits))
    else:
        assert job.error in ("invalid_media", "frame_limit",
                             "duration_too_long")


# --- delays and stamps -------------------------------------------------------

@pytest.mark.parametrize("name, args", [
    ("a.mp4", BFRAMES), ("a.mov", BFRAMES), ("a.mkv", BFRAMES),
    ("a.ts", BFRAMES), ("a.flv", BFRAMES), ("a.avi", BFRAMES),
    ("a.avi", ["-c:v", "mpeg4", "-q:v", "2", "-bf", "2"]),
    ("a.mpg", ["-c:v", "mpeg2video", "-q:v", "2", "-bf", "2", "-g", "12"]),
    ("a.webm", ["-c:v", "libvpx-vp9", "-deadline", "good", "-cpu-used", "8",
                "-crf", "10", "-b:v", "0", "-auto-alt-ref", "1",
                "-lag-in-frames", "16"]),
    ("a.mkv", ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
               "log-level=none:bframes=4:b-pyramid=1:crf=8"]),
])
def test_frames_in_their_order(run, name, args):
    """Frames that refer forwards, hidden frames, packed ones: each once."""
    src = numbered(run, name, 50, *args)
    check_numbers(src, run, range(50))


@pytest.mark.parametrize("offset", ["95442.717", "95443.2", "26.5", "95000"])
def test_stamps_that_wrap(run, offset):
    """MPEG-TS' clock begins anew after 2^33 ticks, 26.5 hours."""
    src = numbered(run, "a.ts", 60, *BFRAMES, "-output_ts_offset", offset,
                   "-muxdelay", "0")
    check_numbers(src, run, range(60))


@pytest.mark.parametrize("name, args", [
    ("a.mkv", ["-output_ts_offset", "100000"]),
    ("a.mp4", ["-output_ts_offset", "3000", "-use_editlist", "0"]),
    ("a.mp4", ["-output_ts_offset", "-0.4", "-avoid_negative_ts",
               "disabled"]),
    ("a.mov", ["-output_ts_offset", "-1", "-avoid_negative_ts", "disabled",
               "-movflags", "+negative_cts_offsets"]),
    ("a.mkv", ["-output_ts_offset", "-0.4", "-avoid_negative_ts",
               "disabled"]),
    ("a.flv", ["-output_ts_offset", "4000"]),
])
def test_huge_and_negative_stamps(run, name, args):
    src = numbered(run, name, 50, *LOSSLESS, "-bf", "0", *args)
    got = numbers(out_of(src, run)[1])
    # what an edit list hides stays hidden: frames from before 0
    first = {"-0.4": 10, "-1": 25}.get(args[1], 0) if name in (
        "a.mp4", "a.mov") else 0
    assert got in ([*range(50)], [*range(first, 50)]), got


def test_clock_set_back(run):
    """A spliced stream whose second part begins at 0 again."""
    parts = [numbered(run, f"{i}.ts", 60, first=60 * i) for i in range(2)]
    src = run.path / "all.ts"
    src.write_bytes(b"".join(p.read_bytes() for p in parts))
    got = numbers(out_of(src, run)[1])
    assert [n for i, n in enumerate(got) if i == 0 or got[i - 1] != n] == [
        *range(120)], got
    assert len(got) <= 122


@pytest.mark.parametrize("seconds, error", [
    (30, None), (3600, "frame_limit"), (36000, "duration_too_long")])
def test_clock_set_forward(run, seconds, error):
    """A stream whose second part is half a minute on has a pause; one that is
    hours on is no recording of hours, and is refused as soon as that is seen.
    """
    parts = [numbered(run, f"{i}.ts", 60, *LOSSLESS, "-bf", "0", *more,
                      first=60 * i)
             for i, more in enumerate(([], ["-output_ts_offset",
                                            str(seconds)]))]
    src = run.path / "all.ts"
    src.write_bytes(b"".join(p.read_bytes() for p in parts))
    job = transcode(src, run.path / "out", "--formats", "mp4",
                    check=error is None)
    if error:
        assert job.error == error
        return
    got = numbers(run.path / "out/mp4/32p.mp4")
    assert [n for i, n in enumerate(got) if i == 0 or got[i - 1] != n] == [
        *range(120)], got
    assert abs(got.index(60) - 25 * seconds) <= 1, got.index(60)


# --- rates and gaps ----------------------------------------------------------

@pytest.mark.parametrize("ending", ["mkv", "mp4", "webm"])
@pytest.mark.parametrize("keep", ["not(eq(mod(n,5),3))+lt(n,10)",
                                  "not(between(n,20,60))",
                                  "not(mod(n,2))+between(n,30,70)"])
def test_what_is_missing_is_held(run, ending, keep):
    """Of 100 places some have no frame: the one before is shown there."""
    codec = (["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8",
              "-crf", "6", "-b:v", "2M"] if ending == "webm"
             else [*LOSSLESS, "-bf", "2"])
    src = numbered(run, f"a.{ending}", 100, "-vf", f"select='{keep}'",
                   "-fps_mode", "passthrough", *codec)
    expr = keep.replace("not(", "int(0==").replace("eq(mod(n,5),3)",
                                                   "(n%5==3)")
    expr = expr.replace("mod(n,2)", "n%2").replace("lt(n,10)", "(n<10)")
    for a, b in ((20, 60), (30, 70)):
        expr = expr.replace(f"between(n,{a},{b})", f"({a}<=n<={b})")
    held, want = 0, []
    for n in range(100):
        if eval(expr, {"n": n, "int": int}):
            held = n
        want.append(held)
    got = numbers(out_of(src, run)[1])
    assert got == want[:len(got)] and len(got) >= max(want), got


def test_a_hole_in_the_picture_keeps_sync(run, beep):
    """Two seconds without a frame: what follows is where its sound is."""
    src = run.path / "a.mkv"
    ffmpeg("-i", beep, "-vf", "select='not(between(t,5.2,7.3))'",
           "-fps_mode", "passthrough", *LOSSLESS, "-c:a", "copy", src)
    job = transcode(src, run.path / "out", "--formats", "mp4")
    job.output.check_sync(45)


def test_rate_claims_are_not_believed(run):
    """mdhd in ticks of 1/600 and a mean rate that says nothing."""
    src = numbered(run, "a.mov", 60, "-vf", "settb=1/1000,setpts='N*40+"
                   "mod(N,3)'", "-fps_mode", "passthrough", "-enc_time_base",
                   "1/1000", "-video_track_timescale", "600", *LOSSLESS)
    job, path = out_of(src, run)
    got = numbers(path)
    assert got == [*range(60)], got


# --- lengths that are wrong or not there -------------------------------------

@pytest.mark.parametrize("claim", [86400, 0.04, 0])
def test_length_claimed_by_mp4(run, claim):
    src = numbered(run, "a.mp4", 50)
    src.write_bytes(boxes.set_length(moov_first(src), claim))
    job = check_numbers(src, run, range(50))
    assert abs(job.doc["source"]["duration"] - 2) < 0.05


@pytest.mark.parametrize("claim", [20000e3, 40, 0])
def test_length_claimed_by_mkv(run, claim):
    src = numbered(run, "a.mkv", 250)
    data = bytearray(src.read_bytes())
    at = data.find(b"\x44\x89\x88")
    data[at + 3:at + 11] = struct.pack(">d", claim)
    src.write_bytes(data)
    job = check_numbers(src, run, [*range(250)], "--max-duration", "100")
    assert abs(job.doc["source"]["duration"] - 10) < 0.05


FRAGMENTS = ["-movflags", "+frag_keyframe+empty_moov+default_base_moof"]


@pytest.mark.parametrize("name, args", [
    ("a.mp4", [*LOSSLESS, "-bf", "0", "-g", "24", *FRAGMENTS]),
    ("a.mp4", [*BFRAMES, *FRAGMENTS]),
    ("a.mov", [*BFRAMES, *FRAGMENTS]),
    ("a.webm", ["-c:v", "libvpx", "-deadline", "realtime", "-crf", "6",
                "-b:v", "2M", "-live", "1"]),
    ("a.mkv", [*LOSSLESS, "-live", "1"]),
    ("a.mkv", [*LOSSLESS, "-f", "matroska", "-flush_packets", "1"]),
])
def test_no_length_at_all(run, name, args):
    """As browsers record: fragments, or clusters of unknown size; no
    duration, no index."""
    src = numbered(run, name, 100, *args)
    job = check_numbers(src, run, range(100))
    assert abs(job.doc["source"]["duration"] - 4) < 0.05


@pytest.mark.parametrize("name, args", [
    ("a.mp4", [*LOSSLESS, "-bf", "0", "-g", "10", *FRAGMENTS]),
    ("a.ts", [*LOSSLESS, "-bf", "0", "-g", "10"]),
    ("a.flv", [*LOSSLESS, "-bf", "0", "-g", "10"]),
    ("a.webm", ["-c:v", "libvpx", "-deadline", "realtime", "-crf", "6",
                "-b:v", "2M", "-live", "1"]),
])
def test_cut_off_at_the_end(run, name, args):
    """What is there of the last fragment, packet or cluster is kept."""
    src = numbered(run, name, 100, *args)
    data = src.read_bytes()
    src.write_bytes(data[:len(data) * 97 // 100])
    got = numbers(out_of(src, run)[1])
    assert got == [*range(len(got))] and len(got) >= 85, got


# --- interlaced --------------------------------------------------------------

def woven(run, size, top_first, count=20, mixed=False):
    """Raw pictures of two moments each: a bar that moves on by 4 pixels from
    field to field.  Mixed: the second half is progressive."""
    w, h = size
    row = {}

    def line(moment):
        if moment not in row:
            at = 8 + 4 * moment
            row[moment] = bytes(235 if at <= x < at + 16 else 16
                                for x in range(w))
        return row[moment]

    pics = []
    for i in range(count):
        first, second = 2 * i, 2 * i + 1
        if mixed and i >= count // 2:
            second = first
        pics.append(b"".join(line(first if (y % 2 == 0) == top_first else
                                  second) for y in range(h)))
    return raw(run, pics)


INTERLACED = {
    "mpeg2": ("ts", ["-c:v", "mpeg2video", "-q:v", "2", "-bf", "2", "-flags",
                     "+ilme+ildct"]),
    "mpeg2-mov": ("mov", ["-c:v", "mpeg2video", "-q:v", "2", "-flags",
                          "+ilme+ildct"]),
    "mbaff": ("mkv", [*LOSSLESS, "-flags", "+ilme+ildct", "-bf", "2"]),
    "mbaff-ts": ("ts", [*LOSSLESS, "-flags", "+ilme+ildct"]),
    "prores": ("mov", ["-c:v", "prores_ks", "-flags", "+ilme+ildct",
                       "-pix_fmt", "yuv422p10le"]),
    "mpeg4": ("avi", ["-c:v", "mpeg4", "-q:v", "2", "-flags",
                      "+ilme+ildct"]),
}


def check_deinterlaced(path, size, count, steady):
    """No comb, and the bar moves evenly."""
    w, h, all_ = frames(path, "gray")
    assert (w, h) == size and len(all_) == count, len(all_)
    middles = []
    for f in all_:
        assert combing(f, w, h) < 0.2, combing(f, w, h)
        line = f[(h // 2) * w:(h // 2 + 1) * w]
        lit = [x for x, v in enumerate(line) if v > 125]
        assert 12 <= len(lit) <= 22, lit
        middles.append(sum(lit) / len(lit))
    steps = [b - a for a, b in zip(middles, middles[1:])]
    inner = steps[1:-1]
    assert all(abs(s - 8) <= 4.1 if not steady else abs(s - 8) <= 2.6
               for s in inner), steps
    return middles


@pytest.mark.parametrize("top_first", [True, False], ids=["tff", "bff"])
@pytest.mark.parametrize("kind", INTERLACED)
def test_interlaced(run, kind, top_first):
    ending, codec = INTERLACED[kind]
    size = (192, 64)
    src = run.path / f"a.{ending}"
    ffmpeg(*raw_args(woven(run, size, top_first), "%dx%d" % size, 25,
                     "gray"), "-vf", "format=yuv420p,setfield=" + (
                         "tff" if top_first else "bff"), "-top",
           str(int(top_first)), *codec, *(["-x264-params", (
               "tff=1" if top_first else "bff=1")] if "libx264" in codec
               else []), src)
    whole = frames(src, "gray")[2]
    assert combing(whole[5], *size) > 0.5         # the source has it
    _, path = out_of(src, run)
    check_deinterlaced(path, size, 20, True)


def test_interlaced_for_a_while(run):
    """Interlaced, then progressive, in one stream: as HDV and broadcasts mix
    them.  What is progressive stays as it is."""
    size = (192, 64)
    parts = []
    for i, codec in enumerate((INTERLACED["mpeg2"][1], [
            "-c:v", "mpeg2video", "-q:v", "2", "-bf", "2"])):
        part = run.path / f"{i}.ts"
        ffmpeg(*raw_args(woven(run, size, True, mixed=i == 1),
                         "%dx%d" % size, 25, "gray"), "-vf",
               "format=yuv420p,setfield=" + ("prog" if i else "tff") + (
                   ",trim=start_frame=10,setpts=PTS-STARTPTS" if i else
                   ",trim=end_frame=10"), "-top", str(1 - i), *codec,
               "-output_ts_offset", str(i * 10 / 25), "-muxdelay", "0", part)
        parts.append(part)
    src = run.path / "all.ts"
    src.write_bytes(b"".join(p.read_bytes() for p in parts))
    _, path = out_of(src, run)
    w, h, all_ = frames(path, "gray")
    assert 19 <= len(all_) <= 20
    for f in all_:
        assert combing(f, w, h) < 0.2
