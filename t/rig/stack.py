"""The whole system in one run, and tokens for its users."""

import contextlib
import json
import os
import time
import uuid

from .nginx import Nginx
from .postgres import Postgres
from .redis_server import Redis
from .run import BUILD, Run, wait_until
from .workerd import Workerd

SECRET = "rig-secret-of-the-tests-0123456789abcdef"
DELIVERY = "rig-delivery-key-of-the-tests-0123456789"


def mint(sub, *, admin=False, lifetime=3600, secret=SECRET, kid="1",
         headers=None, algorithm="HS256", **claims):
    """A JWT; a claim given as None is left out."""
    import jwt
    now = int(time.time())
    body = {"sub": str(sub), "role": "admin" if admin else "user",
            "iat": now, "exp": now + lifetime, "jti": str(uuid.uuid4())}
    body.update(claims)
    body = {k: v for k, v in body.items() if v is not None}
    head = dict(headers or {})
    if kid is not None:
        head.setdefault("kid", kid)
    return jwt.encode(body, secret, algorithm=algorithm, headers=head)


class Stack:
    """PostgreSQL, Redis, storage, migrations, one user, NGINX, workerd.

    `worker=False`: no daemon.  `start=False`: services are made but neither
    NGINX nor workerd is started.  `env`: more settings for both.  All other
    keyword arguments go to Nginx.
    """

    def __init__(self, run=None, *, worker=True, start=True, env=None,
                 fsync=False, password=None, **nginx):
        self._own = run is None
        self.run = run or Run()
        try:
            self.pg = Postgres(self.run, fsync=fsync).start()
            self.redis = Redis(self.run, password=password).start()
            self.storage = self.run.folder("storage", 0o750)
            self.env = {
                "DATABASE_URL": self.pg.url, "REDIS_URL": self.redis.url,
                "STORAGE_DIR": str(self.storage), "JWT_SECRET": SECRET,
                "DELIVERY_SECRET": DELIVERY, "LOG_LEVEL": "debug",
                "LEASE": "5", "RECONCILE_INTERVAL": "1",
            }
            if BUILD.name != "build":
                # gcov's counters are files, and sanitizers look at files:
                # the sandbox forbids both.
                self.env["SANDBOX"] = "off"
            self.env.update(env or {})
            self.nginx = Nginx(self.run, env=self.env, storage=self.storage,
                               **nginx)
            self.env["API_URL"] = self.env.get("API_URL", self.nginx.url)
            self.workerd = Workerd(self.run, self.env)
            self.migrate()
            self.user = self.add_user("demo@example.com")
            if start:
                self.nginx.start()
                if worker:
                    self.workerd.start()
        except BaseException:
            with contextlib.suppress(Exception):
                if self._own:
                    self.run.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        try:
            if value is None:
                self.check_logs()
        finally:
            if self._own:
                self.run.__exit__(kind, value, tb)

    def check_logs(self, allow=()):
        self.nginx.check_log(allow)
        self.workerd.check_log()
        self.pg.check_log()

    def migrate(self):
        return self.workerd.command("migrate")

    # -- users ---------------------------------------------------------------

    def add_user(self, email, admin=False):
        """Its uuid."""
        row = self.pg.query(
            "SELECT * FROM user_add(%s, %s, %s, %s)",
            (email, email.split("@")[0], "!", "admin" if admin else "user"))
        assert row[0]["result"] == "ok", row
        return str(row[0]["id"])

    def token(self, user=None, **kw):
        return mint(user or self.user, **kw)

    def client(self, user=None, token=None, admin=False, **kw):
        """httpx.Client with the user's bearer token."""
        return self.nginx.client(
            token=token or self.token(user, admin=admin), **kw)

    # -- the main job, shortly -----------------------------------------------

    def upload(self, path, title="a clip", client=None, check=True, **fields):
        """POST the file; the 201 document."""
        with contextlib.ExitStack() as stack:
            c = client or stack.enter_context(self.client(timeout=120))
            f = stack.enter_context(open(path, "rb"))
            fields = {k: v if isinstance(v, str) else json.dumps(v)
                      for k, v in fields.items()}
            r = c.post("/api/v1/videos/upload",
                       data={"title": title, **fields},
                       files={"file": (os.path.basename(path), f,
                                       "video/mp4")})
        if check:
            assert r.status_code == 201, (r.status_code, r.text)
            return r.json()
        return r

    def status(self, video, client=None):
        with contextlib.ExitStack() as stack:
            c = client or stack.enter_context(self.client())
            r = c.get(f"/api/v1/videos/{video}/status")
        assert r.status_code == 200, (r.status_code, r.text)
        return r.json()

    def wait_status(self, video, *want, timeout=180):
        """The status document once its status is one of `want`; fails early
        when the video ends otherwise."""
        want = want or ("completed",)

        def there():
            doc = self.status(video)
            if doc["status"] in want:
                return doc
            assert doc["status"] not in ("completed", "failed"), doc
            return None

        return wait_until(there, timeout, f"video is {want}")
