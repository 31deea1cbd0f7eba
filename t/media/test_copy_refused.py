"""Passthrough: clips that are wrong in one respect, which the survey has to
see; what comes out instead is whole."""

from conftest import ffmpeg
from pixels import numbered, numbers
from rig import boxes
from test_copy import copy, said, x264
from test_inputs_time import moov_first
from test_text import captioned, check_captions


def refused(src, run, code, want):
    job = copy(src, run.path / "out", "--formats", "mp4")
    found = said(job)
    assert (found["copied"], found["code"]) == (False, code), found
    assert found["reason"].startswith("not copied: ")
    got = numbers(run.path / "out/mp4/32p.mp4")
    assert got == list(want), got
    return found["reason"]


def fitting(run, name="a.mp4", count=100, *more):
    """Numbered frames that are copied as they are."""
    return numbered(run, name, count, *x264(25, "-bf", "0", *more))


def test_it_would_fit(run):
    job = copy(fitting(run), run.path / "out", "--formats", "mp4")
    assert said(job)["code"] == "fits"


def test_level(run):
    """6.0, where 5.2 is the most that is copied."""
    src = fitting(run)
    data = bytearray(src.read_bytes())
    (at, end), = boxes.find(data, "moov", "trak", "mdia", "minf", "stbl",
                            "stsd")
    avcc = data.index(b"avcC", at, end) + 4
    sps = avcc + 8
    assert data[sps] & 31 == 7 and data[avcc + 1] == data[sps + 1]
    data[avcc + 3] = data[sps + 3] = 60
    src.write_bytes(data)
    assert "level 6.0 is above 5.2" in refused(src, run, "level", range(100))


def test_captions(made, run):
    """They become WebVTT; copied, they would stay in the picture as well."""
    src = captioned(run, made)
    assert b"GA94" in src.read_bytes()
    job = copy(src, run.path / "out", "--formats", "mp4,hls")
    assert said(job)["code"] == "captions", said(job)
    assert b"GA94" not in job.output.files("mp4/*.mp4")[0].read_bytes()
    check_captions(job)
    job.output.check(frames=150)


def test_truncated(run):
    """96 % of it: what is there comes out, with a warning."""
    src = fitting(run)
    data = moov_first(src)
    src.write_bytes(data[:len(data) * 96 // 100])
    job = copy(src, run.path / "out", "--formats", "mp4")
    assert said(job)["code"] == "truncated", said(job)
    assert "missing" in job.warnings
    got = numbers(run.path / "out/mp4/32p.mp4")
    assert got[:90] == [*range(90)], got


def test_start(run):
    """Its first packets are no key frame: they cannot be shown."""
    src = fitting(run, "a.mkv", 75)
    cut = run.path / "cut.mkv"
    ffmpeg("-i", src, "-c", "copy", "-copyts", "-bsf:v",
           "noise=amount=0:drop='lt(n\\,22)'", cut)
    job = copy(cut, run.path / "out", "--formats", "mp4")
    assert said(job)["code"] == "start", said(job)
    got = numbers(run.path / "out/mp4/32p.mp4")
    assert got == [*range(25, 75)], got


def test_frames_that_could_be_fields(run):
    """Coded as PAFF allows it, frame by frame: a copy's fields could change
    anywhere.  The pictures are whole ones, and stay so."""
    src = fitting(run, "a.mp4", 50, "-x264-params", "fake-interlaced=1")
    refused(src, run, "interlaced", range(50))
