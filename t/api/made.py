"""Videos in any state without media: rows by the database's own functions,
files by hand."""

import gzip
import hashlib
import hmac
import json
import os
import random
import time
import uuid

import wire
from rig.stack import DELIVERY

WINDOW = 21600


def upload(stack, user=None, title="a title", data=None):
    """The 201's document."""
    a = wire.post(stack, wire.video_form(data, title=title),
                  stack.token(user) if user else None)
    assert a.status == 201, a
    return a.json()


def claim(stack, job, incarnation):
    """Takes jobs until it is this one; the others stay leased."""
    running = []
    while True:
        row = stack.pg.query("SELECT * FROM job_claim_next('t', %s, 600, %s)",
                             (incarnation, running))[0]
        assert row["result"] == "ok", row
        if str(row["job"]) == str(job):
            return row
        running.append(row["job"])


FILES = {
    "hls/master.m3u8": b"#EXTM3U\n#EXT-X-VERSION:7\n480p/index.m3u8\n" * 40,
    "hls/480p.m3u8": b"#EXTM3U\n480p/index.m3u8\n",
    "hls/live-master.m3u8": b"#EXTM3U\n480p/live.m3u8\n",
    "hls/480p/live.m3u8": b"#EXTM3U\n#EXTINF:2,\ns00000.m4s\n",
    "hls/480p/index.m3u8": b"#EXTM3U\n#EXTINF:2,\ns00000.m4s\n#EXT-X-ENDLIST\n",
    "hls/480p/init.mp4": random.Random(1).randbytes(800),
    "hls/480p/s00000.m4s": random.Random(2).randbytes(300_000),
    "mp4/480p.mp4": random.Random(3).randbytes(500_000),
    "mp4/720p.mp4": random.Random(4).randbytes(700_000),
    "webm/480p.webm": random.Random(5).randbytes(400_000),
    "poster.jpg": b"\xff\xd8\xff" + bytes(5000),
    "poster.webp": b"RIFF" + bytes(3000),
    "storyboard.vtt": b"WEBVTT\n",
    "storyboard/sheet-0000.jpg": b"\xff\xd8\xff" + bytes(9000),
}

TYPES = {"m3u8": "application/vnd.apple.mpegurl", "m4s": "video/iso.segment",
         "mp4": "video/mp4", "webm": "video/webm", "vtt": "text/vtt",
         "jpg": "image/jpeg", "webp": "image/webp",
         "mpd": "application/dash+xml"}


def publish(stack, doc):
    """Completes an uploaded video with FILES; returns its prefix."""
    inc = str(uuid.uuid4())
    job = claim(stack, doc["jobId"], inc)
    base = stack.storage / "outputs" / doc["id"] / job["prefix"]
    for name, data in FILES.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    path = base / "hls/master.m3u8"
    (base / "hls/master.m3u8.gz").write_bytes(
        gzip.compress(FILES["hls/master.m3u8"]))
    os.utime(base / "hls/master.m3u8.gz", ns=(path.stat().st_mtime_ns,) * 2)
    results = [
        {"format": f, "quality": q, "path": p, "size": len(FILES[p]),
         "duration": 2.0, "bitrate": 995000, "codec": "avc1.64001f",
         "mime": TYPES[p.rsplit(".")[-1]], "width": 854, "height": 480}
        for f, q, p in [("mp4", "480p", "mp4/480p.mp4"),
                        ("mp4", "720p", "mp4/720p.mp4"),
                        ("webm", "480p", "webm/480p.webm"),
                        ("hls", "480p", "hls/480p.m3u8")]]
    row = stack.pg.query(
        "SELECT * FROM job_publish(%s, %s, %s, %s)",
        (inc, doc["jobId"], job["attempt"], json.dumps({
            "source": {"duration": 2.0, "width": 1920, "height": 1080,
                       "fps": 25.0, "format": "mp4", "videoCodec": "h264",
                       "audioCodec": "aac", "bitrate": 5_000_000,
                       "frames": 50},
            "poster": "poster.jpg", "storyboard": "storyboard.vtt",
            "master": "hls/master.m3u8", "warnings": [],
            "results": results})))[0]
    assert row["result"] == "ok", row
    return job["prefix"]


def fail(stack, doc, code="invalid_media"):
    inc = str(uuid.uuid4())
    job = claim(stack, doc["jobId"], inc)
    row = stack.pg.query("SELECT * FROM job_fail(%s, %s, %s, 'permanent', %s,"
                         " 'text')", (inc, doc["jobId"], job["attempt"],
                                      code))[0]
    assert row["result"] == "ok", row


def token(video, *, expiry=None, kid=1, key=DELIVERY):
    """A delivery token, by the words of lib/delivery_token.h."""
    if expiry is None:
        expiry = (int(time.time()) // WINDOW + 2) * WINDOW
    text = f"{expiry:08x}"
    mac = hmac.new(key.encode(), f"avp1:{video}:{text}".encode(),
                   hashlib.sha256).hexdigest()[:32]
    return f"{kid:02x}{text}{mac}"
