"""The whole system once for the tests of the main job."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from rig import ROOT, Run, Stack, media

sys.path.insert(0, str(ROOT / "t/media"))       # verify.py

from browser import put_player  # noqa: E402


class MainJob:
    """One upload by curl, processed; the documents along the way."""

    def __init__(self, stack):
        self.stack = stack
        self.source = media("bbb-1080p25-19s.mp4")
        self.token = stack.token()
        self.created = self.curl(
            "-F", "title=Big Buck Bunny", "-F", "description=a rabbit",
            "-F", 'metadata={"origin": "blender.org"}',
            "-F", f"file=@{self.source};type=video/mp4",
            stack.nginx.url + "/api/v1/videos/upload")
        self.id = self.created["id"]
        self.status = stack.wait_status(self.id, timeout=540)

    def curl(self, *args):
        p = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "-H",
             f"Authorization: Bearer {self.token}", *map(str, args)],
            capture_output=True, text=True, timeout=120)
        assert p.returncode == 0, (p.stdout, p.stderr)
        return json.loads(p.stdout)

    def urls(self):
        """(format, quality) -> URL."""
        return {(f["format"], q): u
                for f in self.status["processingDetails"]["formats"]
                for q, u in f["urls"].items()}

    def folder(self):
        """The published prefix on disk."""
        prefix = self.status["playbackUrl"].split("/hls/")[0].split("/")[-1]
        return self.stack.storage / "outputs" / self.id / prefix


@pytest.fixture(scope="session")
def job():
    with Run() as run:
        www = put_player(run.folder("www"))
        # neither program of FFmpeg can be found by what is tested
        nowhere = run.folder("empty")
        with Stack(run, env={"PATH": str(nowhere), "LEASE": "60"},
                   locations={"/": f"root {www}; index index.html;"}) as s:
            assert shutil.which("ffmpeg", path=s.workerd.env["PATH"]) is None
            environ = open(f"/proc/{s.workerd.process.pid}/environ").read()
            assert f"PATH={nowhere}" in environ.split("\0")
            assert os.path.isdir(nowhere)
            yield MainJob(s)
