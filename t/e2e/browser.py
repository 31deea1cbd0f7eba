"""Chromium on the player page."""

import json
import shutil
import subprocess

from rig import ROOT

E2E = ROOT / "t/e2e"


def play(url, rate=1.0, timeout=200):
    """What Chromium saw of the player page; see play.mjs."""
    return run_script("play.mjs", url, str(rate), timeout=timeout)


def run_script(name, *args, timeout=200):
    """The JSON that is the last line of a script of this folder."""
    p = subprocess.run(["node", str(E2E / name), *args], cwd=E2E,
                       capture_output=True, text=True, timeout=timeout,
                       stdin=subprocess.DEVNULL)
    assert p.returncode == 0, p.stdout + p.stderr
    return json.loads(p.stdout.splitlines()[-1])


def put_player(folder):
    """The player page and hls.js, as ./avp up lays them out."""
    for f in ("index.html", "player.css", "player.js"):
        shutil.copy(ROOT / "conf/player" / f, folder)
    shutil.copy(ROOT / "build/player/hls.min.js", folder)
    return folder
