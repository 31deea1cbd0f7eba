"""A video is played while it is encoded, and goes on when it is whole."""

import collections
import os
import re
import signal
import subprocess
import threading
import time

import httpx
import pytest

from browser import put_player, run_script
from rig import Run, Stack, media, wait_until

FPS = 25
SIZE = 32 * 18


@pytest.fixture(scope="module")
def stack():
    with Run() as run:
        www = put_player(run.folder("www"))
        # WebM plays no part in this, and would make it thrice as long
        with Stack(run, env={"OUTPUT_FORMATS": "mp4,hls",
                             "PASSTHROUGH": "off", "LEASE": "60"},
                   locations={"/": f"root {www}; index index.html;"}) as s:
            yield s


class Watch(threading.Thread):
    """Reads the live playlists of a video again and again."""

    def __init__(self, master):
        super().__init__(daemon=True)
        self.master = httpx.URL(master)
        self.over = threading.Event()
        self.bodies = {}            # name -> [(wall, body)], changes only
        self.bad = []

    def run(self):
        with httpx.Client(timeout=20) as c:
            names = ["live-master.m3u8"]
            while not self.over.is_set():
                for name in names:
                    r = c.get(self.master.join(name))
                    if r.status_code != 200:
                        self.bad.append((name, r.status_code))
                        continue
                    seen = self.bodies.setdefault(name, [])
                    if not seen or seen[-1][1] != r.text:
                        seen.append((time.time(), r.text))
                if len(names) == 1 and "live-master.m3u8" in self.bodies:
                    names += re.findall(r"\S+/live\.m3u8",
                                        self.bodies[names[0]][0][1].replace(
                                            '"', " "))
                self.over.wait(0.25)

    def end(self):
        self.over.set()
        self.join(30)
        assert self.bad == []
        return self.bodies


@pytest.fixture(scope="module")
def watched(stack):
    """The clip, uploaded and watched in the browser from the first moment."""
    source = media("bbb-1080p25-62s.mp4")
    video = stack.upload(source)["id"]
    accepted = time.monotonic()
    playable = wait_until(
        lambda: (d := stack.status(video))["playable"] and d, 60, "playable",
        step=0.01)
    took = time.monotonic() - accepted
    assert httpx.get(playable["playbackUrl"]).status_code == 200
    print(f"201 to playable: {took:.2f} s")
    watch = Watch(playable["playbackUrl"])
    watch.start()
    seen = {}

    def browse():
        try:
            seen.update(run_script(
                "live.mjs", f"{stack.nginx.url}/#video={video}"
                f"&token={stack.token()}", timeout=400))
        except BaseException as e:
            seen["exception"] = e

    browser = threading.Thread(target=browse)
    browser.start()
    done = stack.wait_status(video, timeout=300)
    completed = time.time()
    time.sleep(1)
    bodies = watch.end()
    browser.join(400)
    if "exception" in seen:
        raise seen["exception"]
    return {"seen": seen, "bodies": bodies, "completed": completed,
            "playable": playable, "done": done, "source": source}


@pytest.fixture(scope="module")
def frames(watched):
    """Each frame of the source as 32x18 grey pixels."""
    p = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-i", watched["source"], "-vf",
         "scale=32:18:flags=area:out_range=pc,format=gray", "-fps_mode",
         "passthrough", "-f", "rawvideo", "-"], capture_output=True,
        check=True, timeout=200)
    return [p.stdout[i:i + SIZE] for i in range(0, len(p.stdout), SIZE)]


def apart(a, b):
    return sum(abs(x - y) for x, y in zip(a, b)) / SIZE


def check_picture(frames, picture):
    """It is the source's frame of that time: near to it, and no frame of
    another second is much nearer."""
    shown = bytes.fromhex(picture["hex"])
    n = min(round(picture["time"] * FPS), len(frames) - 1)
    own = min(apart(shown, f) for f in frames[max(n - 1, 0):n + 2])
    assert own < 8, (n, own)
    others = frames[:max(n - FPS, 0):5] + frames[n + FPS::5]
    assert own < min(apart(shown, f) for f in others) + 1, n


def test_it_starts_while_it_is_encoded(watched, frames):
    s = watched["seen"]
    assert s["masters"][0]["name"] == "live-master.m3u8"
    assert watched["playable"]["status"] == "processing"
    assert "/live-master.m3u8" in watched["playable"]["playbackUrl"]
    started = next(e for e in s["live"] if e["name"] == "playing")
    assert started["at"] < 0.5          # at the start, not at the live edge
    assert started["wall"] / 1000 < watched["completed"] - 2
    ended = [wall for wall, body in watched["bodies"]["480p/live.m3u8"]
             if "#EXT-X-ENDLIST" in body]
    assert len(ended) == 1 and started["wall"] / 1000 < ended[0]
    assert s["first"]["height"] == 480
    check_picture(frames, s["first"])


def test_it_never_waits(watched):
    """From the first picture to the finished master: no empty buffer."""
    live = watched["seen"]["live"]
    first = next(i for i, e in enumerate(live) if e["name"] == "playing")
    names = [e["name"] for e in live]
    stalls = [e for e in live[first + 1:] if e["name"] in ("waiting", "stalled")
              and e["at"] < watched["done"]["duration"] - 0.5]
    assert stalls == []
    # it was long enough to prove something
    assert watched["seen"]["resumed"]["at"] > 10 or "ended" in names


def test_live_playlists_are_only_appended_to(watched):
    b = watched["bodies"]
    assert set(b) == {"live-master.m3u8", "480p/live.m3u8", "audio/live.m3u8"}
    assert len(b["live-master.m3u8"]) == 1      # never written again
    for name in ("480p/live.m3u8", "audio/live.m3u8"):
        texts = [body for _, body in b[name]]
        assert len(texts) > 3, name             # it was seen growing
        for before, then in zip(texts, texts[1:]):
            assert then.startswith(before), name
        assert texts[-1].rstrip().endswith("#EXT-X-ENDLIST")
        assert all("#EXT-X-ENDLIST" not in t for t in texts[:-1])


def test_live_master_keeps_its_promise(watched):
    """No segment of the rung and its sound is above BANDWIDTH."""
    text = watched["bodies"]["live-master.m3u8"][0][1]
    promised = int(re.search(r"[:,]BANDWIDTH=(\d+)", text).group(1))
    base = httpx.URL(watched["playable"]["playbackUrl"])
    sizes = {}
    with httpx.Client() as c:
        for name in ("480p", "audio"):
            body = watched["bodies"][f"{name}/live.m3u8"][-1][1]
            found = re.findall(r"#EXTINF:([\d.]+),[^\n]*\n(\S+)", body)
            sizes[name] = [
                (float(d), int(c.head(base.join(f"{name}/{u}")).headers[
                    "content-length"])) for d, u in found]
    assert len(sizes["480p"]) >= 10
    sound = max(8 * n / d for d, n in sizes["audio"] if d > 0.5)
    worst = max(8 * n / d for d, n in sizes["480p"] if d > 0.5)
    assert worst + sound <= promised


def test_the_finished_master_goes_on_from_there(watched, frames):
    s = watched["seen"]
    assert [m["name"] for m in s["masters"]] == ["live-master.m3u8",
                                                 "master.m3u8"]
    started = next(e for e in s["live"] if e["name"] == "playing")
    played = (s["switched"] - started["wall"]) / 1000
    at = s["resumed"]["at"]
    # where the clock had come to, unless it had all been seen by then
    if any(e["name"] == "ended" for e in s["live"]):
        assert at < 1
    else:
        assert at == pytest.approx(played, abs=3)
    check_picture(frames, s["after"])
    # segments are cut alike: the finished playlist names what was live
    base = httpx.URL(watched["playable"]["playbackUrl"])
    whole = httpx.get(base.join("480p/index.m3u8")).text
    live = watched["bodies"]["480p/live.m3u8"][-1][1]
    cut = r"#EXTINF:[^\n]*\n\S+"
    assert re.findall(cut, whole) == re.findall(cut, live)


def test_every_rendition_and_seeking(watched, frames):
    s = watched["seen"]
    # each rung once for each group of sounds: stereo, and 5.1 if there is it
    times = collections.Counter(x["height"] for x in s["levels"])
    assert set(times) == {480, 720, 1080}
    assert len(set(times.values())) == 1 and times[480] <= 2, times
    for x in s["levels"]:
        check_picture(frames, x)
    for x in s["seeks"]:
        assert x["time"] == pytest.approx(x["to"], abs=1.5 / FPS), x["to"]
        check_picture(frames, x)
    assert s["currentTime"] == pytest.approx(s["duration"], abs=0.3)
    assert s["audioBytes"] > 50000
    assert s["failed"] == [] and s["errors"] == []


def test_what_a_dead_attempt_made_playable_is_withdrawn(stack):
    video = stack.upload(media("bbb-1080p25-19s.mp4"))["id"]
    first = wait_until(
        lambda: (d := stack.status(video))["playable"] and d, 60, "playable")
    assert first["status"] == "processing"
    for pid in stack.workerd.children():
        os.kill(pid, signal.SIGKILL)
    gone = wait_until(
        lambda: not (d := stack.status(video))["playable"] and d, 20,
        "withdrawn")
    assert gone["playbackUrl"] is None and gone["thumbnailUrl"] is None
    # who plays it keeps its files for the grace time
    assert httpx.get(first["playbackUrl"]).status_code == 200
    stack.pg.query("UPDATE processing_jobs SET run_after = now()"
                   " WHERE video_id = %s AND status = 'retrying'", (video,))
    again = wait_until(
        lambda: (d := stack.status(video))["playable"] and d, 60, "again")
    prefixes = [d["playbackUrl"].split("/hls/")[0].rsplit("/", 1)[1]
                for d in (first, again)]
    assert prefixes[0].startswith("1-") and prefixes[1].startswith("2-")
    with stack.client() as c:
        assert c.delete(f"/api/v1/videos/{video}").status_code == 204
