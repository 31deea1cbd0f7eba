"""Calls of the SQL functions the way C makes them: text in, text out."""

import json
import uuid

from rig.run import BUILD, run_command

WORKERD = BUILD / "workerd"


def migrate(url, *args, check=True):
    return run_command([WORKERD, "migrate", *args], check=check,
                       env={"DATABASE_URL": url, "PATH": "/usr/bin:/bin"})


def as_text(value):
    """An argument the way C passes it: text, or SQL's null."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], dict):
            return json.dumps(value)
        return "{" + ",".join(str(v) for v in value) + "}"
    return str(value)


class Row(dict):
    __getattr__ = dict.__getitem__


class Database:
    """One session that calls functions as workerd and the module do."""

    def __init__(self, url):
        import psycopg
        from psycopg.rows import dict_row
        self.url = url
        self.conn = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def rows(self, fn, *args):
        holes = ", ".join(["%s"] * len(args))
        cur = self.conn.execute(f"SELECT * FROM {fn}({holes})",
                                [as_text(a) for a in args])
        return [Row(r) for r in cur.fetchall()]

    def call(self, fn, *args):
        rows = self.rows(fn, *args)
        assert len(rows) == 1, rows
        row = rows[0]
        for key in ("doc", "event"):
            if row.get(key):
                row[key] = json.loads(row[key])
        return row

    def sql(self, text, *args):
        cur = self.conn.execute(text, args)
        return [Row(r) for r in cur.fetchall()] if cur.description else []

    def one(self, text, *args):
        return next(iter(self.sql(text, *args)[0].values()))

    def close(self):
        self.conn.close()

    # -- what most tests begin with

    def user(self, email=None, role="user"):
        email = email or f"{uuid.uuid4().hex}@example.com"
        r = self.call("user_add", email, None, None, role)
        assert r.result == "ok"
        return str(r.id)

    def create(self, user, video=None, title="A title", priority=None,
               **more):
        video = video or str(uuid.uuid4())
        return self.call(
            "video_create", user, more.get("admin", False), "192.0.2.7", "pytest", video, title,
            more.get("description"), more.get("metadata"),
            more.get("filename", "clip.mp4"), more.get("size", 1000), "file",
            f"originals/{video}/source.mp4", "mp4", priority)

    def video(self, user, **kw):
        """A new video's id and its job's."""
        r = self.create(user, **kw)
        assert r.result == "ok", r
        return r.doc["id"], str(r.job)

    def claim(self, inc, running=(), lease=60):
        return self.call("job_claim_next", "tester", inc, lease,
                         list(running))

    def lapse(self, job):
        """As if the worker had been silent for longer than its lease."""
        self.sql("UPDATE processing_jobs SET lease_until = now() - interval"
                 " '1 second' WHERE id = %s", job)

    def make_due(self, job):
        self.sql("UPDATE processing_jobs SET run_after = now() - interval"
                 " '1 second' WHERE id = %s", job)

    def job(self, job):
        return self.sql("SELECT * FROM processing_jobs WHERE id = %s", job)[0]

    def row(self, video):
        return self.sql("SELECT * FROM videos WHERE id = %s", video)[0]


def done_doc(rungs=("480p", "720p"), formats=("mp4", "webm", "hls")):
    """What a media process says at the end."""
    paths = {"mp4": "mp4/{}.mp4", "webm": "webm/{}.webm",
             "hls": "hls/{}.m3u8"}
    mimes = {"mp4": 'video/mp4; codecs="avc1.64001f,mp4a.40.2"',
             "webm": 'video/webm; codecs="av01.0.04M.08,opus"',
             "hls": "application/vnd.apple.mpegurl"}
    return {
        "source": {"duration": 19.28, "width": 1920, "height": 1080,
                   "fps": 25.0, "format": "mp4", "videoCodec": "h264",
                   "audioCodec": "aac", "bitrate": 3718000, "frames": 482},
        "poster": "poster.jpg", "storyboard": "storyboard.vtt",
        "master": "hls/master.m3u8" if "hls" in formats else None,
        "stats": {"framesDecoded": 964}, "warnings": [],
        "results": [
            {"format": f, "quality": q, "path": paths[f].format(q),
             "size": 2400000 + i, "duration": 19.28, "bitrate": 995000,
             "codec": "avc1.64001f,mp4a.40.2", "mime": mimes[f],
             "width": 854, "height": 480}
            for f in formats for i, q in enumerate(rungs)]}
