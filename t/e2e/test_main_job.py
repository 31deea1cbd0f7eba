"""The main job: a clip in, MP4, WebM and HLS out, played in a browser."""

import re

import httpx
import pytest

from browser import play
from verify import Output, packet_hashes

RUNGS = ["480p", "720p", "1080p"]
FORMATS = ["mp4", "webm", "hls"]


def test_upload_document(job):
    d = job.created
    assert set(d) >= {"id", "filename", "title", "status", "uploadProgress",
                      "createdAt", "url", "jobId"}
    assert d["filename"] == job.source.name
    assert d["title"] == "Big Buck Bunny"
    assert d["status"] == "pending"
    assert d["uploadProgress"] == 100
    assert d["url"] == f"{job.stack.nginx.url}/api/v1/videos/{d['id']}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
                        d["createdAt"])


def test_completed_with_every_rendition(job):
    s = job.status
    assert (s["status"], s["progress"], s["error"]) == ("completed", 100, None)
    assert s["jobId"] == job.created["jobId"]
    assert s["playable"] is True
    assert s["fileSize"] == job.source.stat().st_size
    assert s["duration"] == pytest.approx(19.28, abs=0.2)
    formats = {f["format"]: f for f in s["processingDetails"]["formats"]}
    assert sorted(formats) == sorted(FORMATS)
    for f in formats.values():
        assert f["status"] == "completed"
        assert sorted(f["qualities"]) == sorted(RUNGS)
        assert sorted(f["urls"]) == sorted(RUNGS)
    rows = job.stack.pg.query(
        "SELECT format, quality FROM processing_results WHERE video_id = %s",
        (job.id,))
    assert len(rows) == 9
    assert {(r["format"], r["quality"]) for r in rows} == {
        (f, q) for f in FORMATS for q in RUNGS}


def test_what_is_on_disk_holds(job):
    """Every frame of every rendition decodes, playlists and packets agree."""
    out = Output(job.folder())
    if job.status["processingDetails"]["passthrough"]["video"]["copied"]:
        out.copied_from(job.source)
        assert packet_hashes(out.folder / "mp4/1080p.mp4") \
            == packet_hashes(job.source)
    out.check(frames=482)


def test_documents(job):
    with job.stack.client() as c:
        m = c.get(f"/api/v1/videos/{job.id}/metadata").json()
        assert m["resolution"] == "1920x1080"
        assert m["format"] == "mp4"
        assert (m["videoCodec"], m["audioCodec"]) == ("h264", "aac")
        assert m["frameRate"] == pytest.approx(25)
        assert re.fullmatch(r"\d+k", m["bitrate"])
        assert m["fileSize"] == job.source.stat().st_size

        page = c.get("/api/v1/videos",
                     params={"status": "completed", "limit": 5}).json()
        assert page["pagination"] == {"page": 1, "limit": 5, "total": 1}
        assert page["data"][0]["id"] == job.id

        j = c.get(f"/api/v1/jobs/{job.created['jobId']}").json()
        assert (j["status"], j["progress"], j["error"]) == ("completed", 100,
                                                            None)
        assert j["videoId"] == job.id
        assert j["completedAt"] >= j["startedAt"]
        assert c.post(f"/api/v1/jobs/{j['id']}/retry").status_code == 409


def test_administrators_see_the_worker(job):
    """Through the API: the level of its sandbox, as it says itself."""
    own = httpx.get(f"{job.stack.workerd.health_url}/health").json()
    admin = job.stack.add_user("admin@example.com", admin=True)
    with job.stack.client(admin, admin=True) as c:
        (w,) = c.get("/api/v1/health").json()["details"]["workers"]
    assert (w["sandbox"], w["version"], w["slots"]) == (
        own["sandbox"], own["version"], own["slots"])
    assert w["libraries"]["libavcodec"]
    with job.stack.client() as c:
        assert "details" not in c.get("/api/v1/health").json()


@pytest.mark.parametrize("quality", RUNGS)
@pytest.mark.parametrize("fmt", ["mp4", "webm"])
def test_ranges_and_head(job, fmt, quality):
    url = job.urls()[fmt, quality]
    whole = httpx.get(url)
    assert whole.status_code == 200
    assert whole.headers["content-type"].startswith(f"video/{fmt}")
    assert whole.headers["accept-ranges"] == "bytes"
    head = httpx.head(url)
    assert head.status_code == 200 and not head.content
    assert int(head.headers["content-length"]) == len(whole.content)
    part = httpx.get(url, headers={"Range": "bytes=1000-1999"})
    assert part.status_code == 206
    assert part.content == whole.content[1000:2000]
    assert part.headers["content-range"] == (
        f"bytes 1000-1999/{len(whole.content)}")
    tail = httpx.get(url, headers={"Range": "bytes=-100"})
    assert tail.content == whole.content[-100:]
    out = httpx.get(url, headers={"Range": "bytes=999999999-"})
    assert out.status_code == 416


def test_download(job):
    with job.stack.client(follow_redirects=False) as c:
        base = f"/api/v1/videos/{job.id}/download"
        best = c.get(base)
        assert best.status_code == 200
        assert best.content == httpx.get(job.urls()["mp4", "1080p"]).content
        name = best.headers["content-disposition"]
        assert name.startswith("attachment") and "Big Buck Bunny" in name
        r = c.get(base, params={"format": "webm", "quality": "480p"},
                  headers={"Range": "bytes=0-99"})
        assert r.status_code == 206 and len(r.content) == 100
        assert c.head(base).headers["content-length"] == str(
            len(best.content))
        original = c.get(base, params={"format": "original"})
        assert original.content == job.source.read_bytes()
        assert c.get(base, params={"format": "hls"}).status_code == 422
        assert c.get(base, params={"format": "mp4",
                                   "quality": "4k"}).status_code == 404


def test_every_playlist_and_segment(job):
    """As a player without hls.js would: every URI under the master."""
    def uris(text):
        return (re.findall(r'URI="([^"]+)"', text) +
                [x for x in text.splitlines() if x and x[0] != "#"])

    master = httpx.URL(job.status["playbackUrl"])
    assert master.path.endswith("/hls/master.m3u8")
    with httpx.Client() as c:
        r = c.get(master)
        assert r.headers["content-type"] == "application/vnd.apple.mpegurl"
        playlists = {master.join(u) for u in uris(r.text)}
        assert len(playlists) >= 4          # three rungs and the audio
        segments = 0
        for p in playlists:
            r = c.get(p)
            assert r.status_code == 200
            assert r.text.rstrip().endswith("#EXT-X-ENDLIST")
            for s in {p.join(u) for u in uris(r.text)}:
                got = c.get(s)
                assert got.status_code == 200 and got.content
                assert "immutable" in got.headers["cache-control"]
                segments += 1
        assert segments > 20
        plain = c.get(master, headers={"Accept-Encoding": "identity"})
        packed = c.get(master, headers={"Accept-Encoding": "gzip"})
        assert packed.headers.get("content-encoding") == "gzip"
        assert packed.text == plain.text


def test_images(job):
    poster = httpx.get(job.status["thumbnailUrl"])
    assert poster.status_code == 200
    assert poster.headers["content-type"] == "image/jpeg"
    story = httpx.get(job.status["storyboardUrl"])
    assert story.headers["content-type"].startswith("text/vtt")
    assert story.text.startswith("WEBVTT")
    sheet = re.search(r"^(\S+\.jpg)#xywh=", story.text, re.M).group(1)
    url = httpx.URL(job.status["storyboardUrl"]).join(sheet)
    assert httpx.get(url).headers["content-type"] == "image/jpeg"


def test_another_users_token(job):
    other = job.stack.add_user("other@example.com")
    with job.stack.client(other) as c:
        for path in (f"/videos/{job.id}/status", f"/videos/{job.id}/metadata",
                     f"/videos/{job.id}/download",
                     f"/jobs/{job.created['jobId']}"):
            r = c.get("/api/v1" + path)
            assert r.status_code == 404, path
            assert r.headers["content-type"] == "application/problem+json"
        assert c.delete(f"/api/v1/videos/{job.id}").status_code == 404
        assert c.get("/api/v1/videos").json()["pagination"]["total"] == 0


def test_delivery_wants_its_token(job):
    url = job.status["playbackUrl"]
    token = url.split("/v/")[1].split("/")[1]
    assert httpx.get(url).status_code == 200
    wrong = ("0" if token[-1] != "0" else "1")
    assert httpx.get(url.replace(token, token[:-1] + wrong)).status_code == 403
    assert httpx.get(url.replace("master", "nothing")).status_code == 404
    cross = httpx.get(url, headers={"Origin": "https://app.example.com"})
    assert cross.headers["access-control-allow-origin"]


def test_chromium_plays_to_the_end(job):
    path = httpx.URL(job.status["playbackUrl"]).path
    seen = play(f"{job.stack.nginx.url}/#src={path}", rate=2)
    assert seen["player"] == "hls.js"
    assert seen["ended"] is True
    assert seen["duration"] == pytest.approx(19.28, abs=0.3)
    assert seen["currentTime"] == pytest.approx(seen["duration"], abs=0.3)
    assert seen["audioBytes"] > 10000
    assert seen["frames"] > 200
    assert seen["failed"] == [] and seen["errors"] == []


def test_chromium_follows_a_video_by_id(job):
    seen = play(f"{job.stack.nginx.url}/#video={job.id}&token={job.token}",
                rate=4)
    assert seen["ended"] is True
    assert seen["state"] == "Big Buck Bunny"
    assert job.token not in seen["address"]
    assert seen["failed"] == [] and seen["errors"] == []


def test_delete_ends_it(job):
    """Last: the video goes, and with it all that was served."""
    urls = [job.status["playbackUrl"], *job.urls().values()]
    with job.stack.client() as c:
        assert c.delete(f"/api/v1/videos/{job.id}").status_code == 204
        assert c.delete(f"/api/v1/videos/{job.id}").status_code == 404
        assert c.get(f"/api/v1/videos/{job.id}/status").status_code == 404
    for url in urls:
        assert httpx.get(url).status_code == 404
