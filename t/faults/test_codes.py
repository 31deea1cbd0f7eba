"""The codes by which jobs end: what each tells, and that each can happen."""

import re

from rig.clips import damage_picture
from rig.run import ROOT, run_command

# code -> the test that brings it about
TESTS = {
    "invalid_media": "media/test_hostile.py::test_truncated",
    "unsupported_format": "media/test_hostile.py::test_only_allowed_containers",
    "unsupported_codec": "media/test_hostile.py::test_codecs_that_are_not_decoded",
    "no_video": "media/test_hostile.py::test_cover_art_is_no_video",
    "encrypted": "media/test_hostile.py::test_encrypted",
    "resolution_too_large": "media/test_hostile.py::test_resolution_too_large",
    "too_many_streams": "media/test_hostile.py::test_too_many_streams",
    "duration_too_long":
        "media/test_hostile.py::test_duration_claimed_too_long",
    "frame_limit": "media/test_hostile.py::test_frame_flood",
    "output_limit": "faults/test_kill.py::test_deaths_that_are_final",
    "source_missing": "faults/test_codes.py::test_source_gone",
    "sandbox_violation": "faults/test_kill.py::test_deaths_that_are_final",
    "poison": "faults/test_kill.py::test_media_process_dies_until_poison",
    "storage_error": "sql/test_runs.py",
    "disk_full": "faults/test_drain.py",
    "passthrough_failed":
        "faults/test_codes.py::test_a_copy_that_fails_is_encoded",
    "database_lost": "faults/test_postgres.py",
    "sandbox_unavailable": "faults/test_sandbox.py::test_no_job_without",
    "crashed": "faults/test_kill.py::test_media_process_dies_until_poison",
    "stalled": "faults/test_kill.py::test_stall",
    "time_limit": "faults/test_kill.py::test_cpu_limit_is_time_limit",
    "lease_lost": "sql/test_runs.py",
    "drained": "faults/test_drain.py",
    "cancelled": "faults/test_drain.py",
}

# a machine that is out of memory is nothing to bring about in a test
NOT_TRIED = {"out_of_memory", "memory_limit"}


def test_every_code_is_tried():
    text = (ROOT / "lib/errors.h").read_text()
    jobs = set(re.findall(r"X\(\w+, \"(\w+)\", (?!REQUEST)[A-Z]+, 0,", text))
    assert len(jobs) > 20
    assert jobs == set(TESTS) | NOT_TRIED
    for code, where in TESTS.items():
        name, _, test = where.partition("::")
        body = (ROOT / "t" / name).read_text()
        if test:
            body = body[body.index(f"def {test}("):]
            # its decorator above, its parameters, or its own lines
            before = (ROOT / "t" / name).read_text()
            body = before[:before.index(body)][-400:] + \
                body.split("\n\n\n")[0]
        assert f'"{code}"' in body, (code, where)


def test_error_is_a_sentence(world, clips):
    """What to do for the uploader, then what was found."""
    path = world.run.folder("bad") / "x.mp4"
    path.write_bytes(clips["short"].read_bytes()[:200])
    world.worker()
    video, _ = world.add(path)
    assert world.wait(video, "failed")["error_code"] == "invalid_media"
    text = world.video(video)["error_message"]
    assert text.startswith("The file could not be read as a video")
    assert "upload it again. (" in text and text.endswith(")")


def test_a_copy_that_fails_is_encoded(world):
    """It could be played already when the damage was found: its files are
    left as they are, and the next attempt makes others."""
    clip = world.run.folder("clip") / "whole.mp4"
    run_command(["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
                 "testsrc=s=1280x720:r=25:d=13", "-c:v", "libx264", "-preset",
                 "veryfast", "-crf", "30", "-g", "48", "-pix_fmt", "yuv420p",
                 clip])
    src = damage_picture(clip, clip.parent / "damaged.mp4")
    world.worker(QUALITY_LEVELS="480p,720p", OUTPUT_FORMATS="hls")
    video, _ = world.add(src)
    world.wait(video, "retrying")
    assert world.job(video)["error_code"] == "passthrough_failed"
    world.hurry(video)
    world.wait(video)
    ends = [a["code"] for a in world.attempts(video)]
    assert ends == ["passthrough_failed", None]
    media = world.video(video)["media"]
    assert media["passthrough"]["video"]["code"] == "off"


def test_source_gone(world, clips):
    video, _ = world.add(clips["short"], wake=False)
    (world.storage / f"originals/{video}/source.mp4").unlink()
    world.worker()
    job = world.wait(video, "failed")
    assert (job["error_class"], job["error_code"]) == (
        "permanent", "source_missing")
