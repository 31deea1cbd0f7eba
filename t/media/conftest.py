"""What the pipeline's tests share: running transcode, and making clips."""

import dataclasses
import json
import os
import pathlib

import pytest

from rig.media import media_set
from hls_lint import lint
from rig.run import BUILD, run_command
from verify import Output

WORKERD = BUILD / "workerd"
ALL_CONTAINERS = "mp4,mov,avi,mkv,webm,ts,mpg,flv,ogg,wmv,3gp,mxf"


def pytest_report_header(config):
    return f"clips: {media_set()}"


@dataclasses.dataclass
class Job:
    code: int
    doc: dict           # None when it failed
    messages: list
    output: Output
    stderr: str

    def all(self, kind):
        return [m for m in self.messages if m["t"] == kind]

    @property
    def error(self):
        """The code by which it failed."""
        said = [x for x in self.stderr.splitlines()
                if x.startswith("workerd transcode: ")]
        assert self.code == 1 and said, (self.code, self.stderr)
        return said[-1].split(": ")[1]

    def rungs(self, fmt):
        return [r["quality"] for r in self.doc["results"]
                if r["format"] == fmt]

    def result(self, fmt, quality=None):
        found = [r for r in self.doc["results"] if r["format"] == fmt
                 and quality in (None, r["quality"])]
        assert found, f"no {fmt} {quality or ''}"
        return found[0]

    @property
    def warnings(self):
        return " ".join(self.doc["warnings"])


def transcode(src, folder, *options, allow=ALL_CONTAINERS, check=True,
              timeout=280, env=None):
    """Runs `workerd transcode`; AssertionError when it fails and `check`.
    Everything is encoded, unless the options say otherwise: what the tests
    here have to do with are filters and encoders (test_copy.py is of
    copies)."""
    if "--passthrough" not in options:
        options = ("--passthrough", "off", *options)
    # the sandbox and the sanitizers' own threads do not go together
    box = ["--sandbox", "off"] if BUILD.name != "build" else []
    env = {"PATH": "/nonexistent", "LC_ALL": "C.UTF-8", **(env or {})}
    env.update({k: v for k, v in os.environ.items() if k.endswith("_OPTIONS")})
    p = run_command([WORKERD, "transcode", "--json", "--messages", "--allow",
                     allow, *box, *options, src, folder],
                    check=False, timeout=timeout, env=env)
    messages = [json.loads(x) for x in p.stderr.splitlines()
                if x.startswith("{")]
    job = Job(p.returncode, json.loads(p.stdout) if p.stdout else None,
              messages, Output(folder), p.stderr)
    assert "Sanitizer" not in p.stderr, p.stderr
    if check:
        assert p.returncode == 0, p.stderr[-3000:]
    if p.returncode == 0 and (job.output.hls / "master.m3u8").is_file():
        wrong = lint(folder)
        assert not wrong, "\n".join(wrong)
    return job


def ffmpeg(*args):
    run_command(["ffmpeg", "-v", "error", "-nostdin", "-y", *args],
                timeout=280)


@pytest.fixture
def made(run):
    """made(name, *ffmpeg arguments): a clip in the test's folder."""
    def make(name, *args):
        path = run.path / name
        ffmpeg(*args, path)
        return path
    return make


@pytest.fixture(scope="module")
def beep(module_run):
    """12 s of flash and beep, 25 fps, stereo: `workerd clip`."""
    path = pathlib.Path(module_run.path) / "beep.mp4"
    run_command([WORKERD, "clip", path, "--seconds", "12", "--size",
                 "640x480"])
    return path
