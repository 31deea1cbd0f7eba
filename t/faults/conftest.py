"""A worker's world without NGINX: PostgreSQL, Redis, storage, and one or more
`workerd run`; videos are put in as an upload would have put them."""

import contextlib
import pathlib
import shutil
import subprocess
import uuid

import pytest

from rig import BUILD, Postgres, Redis, Run, Workerd, wait_until

# Sanitizers and counters of coverage do not live in the sandbox.
collect_ignore = [] if BUILD.name == "build" else ["test_sandbox.py"]


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "world(NAME=value): settings of the test's workers")


class World:
    def __init__(self, run, **env):
        self.run = run
        self.pg = Postgres(run, fsync=True).start()
        self.redis = Redis(run).start()
        self.storage = run.folder("storage", 0o750)
        for name in ("incoming", "originals", "outputs", "trash"):
            (self.storage / name).mkdir(mode=0o750)
        self.env = {
            "DATABASE_URL": self.pg.url, "REDIS_URL": self.redis.url,
            "STORAGE_DIR": str(self.storage), "LOG_LEVEL": "debug",
            "LEASE": "6", "RECONCILE_INTERVAL": "1", "QUALITY_LEVELS": "480p",
            "WORKER_SLOTS": "1", "GC_GRACE": "3600", "DRAIN_TIMEOUT": "60",
            "JWT_SECRET": "faults-secret-0123456789abcdef-0123456789",
        }
        if BUILD.name != "build":
            # gcov's counters are files, sanitizers look at files
            self.env["SANDBOX"] = "off"
        self.env.update(env)
        self.workers = []
        Workerd(run, self.env, "tool").command("migrate")
        self.tool = Workerd(run, self.env, "tool")
        self.user = str(self.pg.query(
            "SELECT * FROM user_add('a@example.com', 'a', '!', 'user')"
        )[0]["id"])
        self.acked = []

    # -- workers -------------------------------------------------------------

    def worker(self, name="w1", **env):
        w = Workerd(self.run, {**self.env, "WORKER_NAME": name, **env}, name)
        self.workers.append(w)
        return w.start()

    # -- videos --------------------------------------------------------------

    def add(self, clip, wake=True, container="mp4"):
        """What upload_finish() does; (video, job)."""
        video = str(uuid.uuid4())
        key = f"originals/{video}/source.{container}"
        path = self.storage / key
        path.parent.mkdir(mode=0o750)
        shutil.copyfile(clip, path)
        row = self.pg.query(
            "SELECT * FROM video_create(%s, false, '127.0.0.1', 'test', %s,"
            " 'a clip', NULL, NULL, 'clip.mp4', %s, 'file', %s, %s, 0)",
            (self.user, video, path.stat().st_size, key, container))[0]
        assert row["result"] == "ok", row
        job = str(row["job"])
        if wake:
            with contextlib.suppress(AssertionError):
                self.redis.cli("RPUSH", "avp:jobs", job)
        self.acked.append(video)
        return video, job

    def video(self, video):
        return self.pg.query("SELECT * FROM videos WHERE id = %s", (video,))[0]

    def job(self, video):
        return self.pg.query(
            "SELECT * FROM processing_jobs WHERE video_id = %s", (video,))[0]

    def results(self, video):
        return self.pg.query(
            "SELECT * FROM processing_results WHERE video_id = %s"
            " ORDER BY format, quality", (video,))

    def attempts(self, video):
        return self.pg.query(
            "SELECT a.* FROM job_attempts a JOIN processing_jobs j"
            " ON j.id = a.job_id WHERE j.video_id = %s ORDER BY a.attempt",
            (video,))

    def wait(self, video, *want, timeout=90):
        want = want or ("completed",)

        def there():
            row = self.job(video)
            if row["status"] in want:
                return row
            assert row["status"] not in ("completed", "failed", "cancelled"), \
                {k: str(v) for k, v in row.items()}
            return None

        return wait_until(there, timeout, f"job is {want}")

    def wait_running(self, video, worker, timeout=30):
        """Until the media process of this video is at work."""
        def there():
            row = self.job(video)
            assert row["status"] not in ("completed", "failed"), row
            return (row["status"] == "processing" and row["progress"] > 0
                    and worker.children())
        return wait_until(there, timeout, "a media process is at work")

    def hurry(self, video):
        """Backoff is for people; tests do not wait for it."""
        self.pg.query("UPDATE processing_jobs SET run_after = now()"
                      " WHERE video_id = %s AND status IN"
                      " ('pending', 'retrying')", (video,))

    def delete(self, video):
        row = self.pg.query("SELECT * FROM video_delete(%s, false,"
                            " '127.0.0.1', 'test', %s)",
                            (self.user, video))[0]
        assert row["result"] == "ok", row

    def gc(self, grace=0):
        return self.tool.command("gc", "--grace", str(grace)).stdout

    @staticmethod
    def alive(pid):
        """Running; a corpse that nobody has reaped yet is not."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as f:
                return f.read().rpartition(b")")[2].split()[0] != b"Z"
        except OSError:
            return False

    # -- what must hold ------------------------------------------------------

    def prefixes(self, video):
        folder = self.storage / "outputs" / video
        return sorted(p.name for p in folder.iterdir()) \
            if folder.is_dir() else []

    def check_published(self, video, rungs=1, formats=("hls", "mp4", "webm")):
        """Exactly one publication: rungs x formats rows, all of one prefix,
        whose files are there; after gc no other prefix is."""
        rows = self.results(video)
        assert len(rows) == rungs * len(formats), rows
        assert sorted({r["format"] for r in rows}) == sorted(formats)
        assert len({r["prefix"] for r in rows}) == 1
        prefix = rows[0]["prefix"]
        v = self.video(video)
        assert v["status"] == "completed"
        assert v["published_prefix"] == prefix
        for r in rows:
            path = self.storage / r["s3_key"]
            assert path.is_file(), path
            if r["format"] != "hls":
                assert path.stat().st_size == r["file_size"]
        done = [a for a in self.attempts(video)
                if a["outcome"] == "completed"]
        assert len(done) == 1, done
        events = self.pg.query(
            "SELECT count(*) AS n FROM outbox WHERE video_id = %s"
            " AND type = 'video.completed'", (video,))
        assert events[0]["n"] == 1
        return prefix

    def check_swept(self, video, prefix):
        self.gc()
        assert self.prefixes(video) == [prefix]
        assert list((self.storage / "trash").iterdir()) == []

    def close(self):
        """Every worker ends well, leaves no process, and a clean log."""
        for w in self.workers:
            if w.alive():
                assert w.term(90) == 0
            w.check_log()
        assert not [p for p in self.run.processes()
                    if "media" in _args(p)], "media processes are left"
        self.pg.check_log()


def _args(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(
            errors="replace").split("\0")
    except OSError:
        return []


@pytest.fixture
def world(request):
    """`@pytest.mark.world(LEASE="3")` gives settings."""
    mark = request.node.get_closest_marker("world")
    with Run("avp-faults") as run:
        w = World(run, **(mark.kwargs if mark else {}))
        yield w
        w.close()


def make_clip(path, seconds, size="320x180"):
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i",
         f"testsrc2=size={size}:rate=25:duration={seconds}", "-f", "lavfi",
         "-i", f"sine=frequency=440:duration={seconds}", "-c:v", "libx264",
         "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac",
         "-shortest", str(path)], check=True)
    return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """`short` is done in a moment, `long` leaves time to do harm."""
    folder = tmp_path_factory.mktemp("clips")
    return {"short": make_clip(folder / "short.mp4", 2),
            "long": make_clip(folder / "long.mp4", 20, "640x360")}
