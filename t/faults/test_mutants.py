"""A thousand damaged files through a worker: each ends by itself or is ended,
with a code; the worker neither dies nor hangs nor keeps anything of them.

AVP_MUTANTS=N tries another number, AVP_SEED=N others; a failure names both.
"""

import collections
import contextlib
import os
import time

import pytest

from rig import wait_until
from rig.media import SHARED, media_set
from rig.mutate import mutant
from rig.run import run_command

COUNT = int(os.environ.get("AVP_MUTANTS", "1000"))
SEED = int(os.environ.get("AVP_SEED", "20"))

# what may be said of a file; never that the sandbox had to stop it
VERDICTS = {
    "invalid_media", "unsupported_format", "unsupported_codec", "no_video",
    "encrypted", "resolution_too_large", "too_many_streams",
    "duration_too_long", "frame_limit", "output_limit", "poison",
}

VIDEO = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1"]
SOUND = ["-f", "lavfi", "-i", "sine=d=1"]
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
KINDS = {
    "a.mp4": [*VIDEO, *SOUND, *H264, "-c:a", "aac", "-movflags",
              "+faststart"],
    "b.mp4": [*VIDEO, *SOUND, *H264, "-bf", "2", "-g", "5", "-c:a", "aac",
              "-movflags", "+frag_keyframe+empty_moov"],
    "c.mov": [*VIDEO, *SOUND, "-c:v", "prores_ks", "-c:a", "pcm_s16le"],
    "d.mov": [*VIDEO, *SOUND, "-c:v", "mjpeg", "-c:a", "alac"],
    "e.mkv": [*VIDEO, *SOUND, "-c:v", "libx265", "-preset", "ultrafast",
              "-x265-params", "log-level=0", "-c:a", "libopus"],
    "f.mkv": [*VIDEO, *SOUND, *H264, "-c:a", "flac"],
    "g.webm": [*VIDEO, *SOUND, "-c:v", "libvpx-vp9", "-deadline", "realtime",
               "-c:a", "libvorbis"],
    "h.webm": [*VIDEO, *SOUND, "-c:v", "libvpx", "-c:a", "libopus"],
    "i.webm": [*VIDEO, "-c:v", "libaom-av1", "-cpu-used", "8", "-t", "0.4"],
    "j.avi": [*VIDEO, *SOUND, "-c:v", "mpeg4", "-c:a", "libmp3lame"],
    "k.ts": [*VIDEO, *SOUND, "-c:v", "mpeg2video", "-c:a", "mp2"],
    "l.ts": [*VIDEO, *SOUND, *H264, "-c:a", "ac3"],
    "m.mpg": [*VIDEO, *SOUND, "-c:v", "mpeg1video", "-c:a", "mp2"],
    "n.flv": [*VIDEO, *SOUND, *H264, "-c:a", "aac"],
    "o.ogg": [*VIDEO, *SOUND, "-c:v", "libtheora", "-c:a", "libvorbis"],
    "p.wmv": [*VIDEO, *SOUND, "-c:v", "wmv2", "-c:a", "wmav2"],
    "q.mxf": [*VIDEO, "-c:v", "mpeg2video"],
}


@pytest.fixture
def sources(world):
    folder = world.run.folder("kinds")
    for name, args in KINDS.items():
        run_command(["ffmpeg", "-v", "error", "-nostdin", "-y", *args,
                     folder / name])
    files = sorted(folder.iterdir())
    if media_set() == "shared":
        files += sorted(p for p in SHARED.iterdir()
                        if p.is_file() and p.suffix not in (".tsv", ".md")
                        and p.stat().st_size < 200000)
    return [f.read_bytes() for f in files]


def descriptors(pid):
    """What is open, numbers left out: a count of each kind."""
    folder = f"/proc/{pid}/fd"
    kinds = collections.Counter()
    for fd in os.listdir(folder):
        with contextlib.suppress(OSError):
            kinds[os.readlink(f"{folder}/{fd}").split(":")[0]] += 1
    return kinds


def resident(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def add_all(world, sources, seeds):
    """{video: seed}"""
    videos = {}
    path = world.run.folder("mutants") / "x"
    for seed in seeds:
        path.write_bytes(mutant(sources, seed))
        video, _ = world.add(path, wake=False)
        videos[video] = seed
    return videos


def run_all(world, videos, within):
    """Until every job has ended; backoff is cut short."""
    end = time.monotonic() + within
    while True:
        left = world.pg.query(
            "SELECT count(*) AS n FROM processing_jobs WHERE status IN"
            " ('pending', 'processing', 'retrying')")[0]["n"]
        if left == 0:
            return
        if time.monotonic() > end:
            stuck = world.pg.query(
                "SELECT video_id, status, stage, error_code FROM"
                " processing_jobs WHERE status IN ('pending', 'processing',"
                " 'retrying') LIMIT 5")
            raise AssertionError(
                f"{left} jobs left, such as "
                f"{[(videos.get(str(s['video_id'])), s) for s in stuck]}")
        world.pg.query("UPDATE processing_jobs SET run_after = now()"
                       " WHERE status = 'retrying'")
        time.sleep(0.5)


@pytest.mark.world(
    WORKER_SLOTS="3", OUTPUT_FORMATS="mp4", EARLY="off", MAX_DURATION="60",
    STALL_TIMEOUT="15", LOG_LEVEL="info", LEASE="30",
    ALLOWED_FORMATS="mp4,mov,avi,mkv,webm,ts,mpg,flv,ogg,wmv,3gp,mxf")
@pytest.mark.timeout(900)
def test_mutants(world, sources):
    print(f"AVP_MUTANTS={COUNT} AVP_SEED={SEED}")
    first = add_all(world, sources, range(SEED * 10**6, SEED * 10**6 + 30))
    worker = world.worker()
    run_all(world, first, 60)               # it is warm now
    pid = worker.process.pid
    wait_until(lambda: not worker.children(), 10, "media processes have ended")
    before = descriptors(pid), resident(pid)

    videos = add_all(world, sources,
                     range(SEED * 10**6 + 30, SEED * 10**6 + COUNT))
    begin = time.monotonic()
    run_all(world, videos, 60 + COUNT * 0.4)
    videos.update(first)

    # an end for each, with a reason
    rows = world.pg.query("SELECT video_id, status, error_code, error_class"
                          " FROM processing_jobs")
    assert len(rows) == COUNT
    ends = collections.Counter(r["error_code"] or r["status"] for r in rows)
    print(f"{time.monotonic() - begin:.0f} s: {dict(ends)}")
    bad = [(videos[str(r["video_id"])], r["status"], r["error_code"])
           for r in rows if r["status"] != "completed"
           and (r["status"] != "failed" or r["error_code"] not in VERDICTS
                or r["error_class"] in ("transient", "lost"))]
    assert not bad, bad
    assert ends["completed"] and ends["invalid_media"]

    # the worker is the same, and has kept nothing
    assert worker.alive() and worker.process.pid == pid
    wait_until(lambda: not worker.children(), 10, "media processes have ended")
    more = descriptors(pid) - before[0]
    print(f"more open: {dict(more)}")
    # gc's thread and the leader's round may have connected meanwhile; what a
    # job leaves would be there a hundred times
    assert sum(more.values()) <= 3 and set(more) <= {"socket"}, more
    assert resident(pid) < before[1] + (8 << 20)

    # no media process lied; none of what failed lies about
    said = [x for x in worker.lines()
            if "sent what" in x.get("msg", "") or "sandbox" in x.get("msg", "")
            and x.get("msg") != "worker starts"]
    assert not said, said[:5]
    failed = [str(r["video_id"]) for r in rows if r["status"] == "failed"]
    left = [(videos[v], world.prefixes(v)) for v in failed
            if world.prefixes(v)]
    assert not left, left[:5]
    trash = world.storage / "trash"
    wait_until(lambda: not list(trash.iterdir()), 20, "trash is unlinked")
