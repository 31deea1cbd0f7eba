"""The API's answers: shapes, callers, ids, lists, conditions, changes."""

import json
import re
import uuid

import made
import pytest
import wire
from rig import Run, Stack, wait_until
from wire import problem

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
ID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


@pytest.fixture(scope="module")
def videos_of(system):
    """One completed, one failed and one pending video of the user."""
    done = made.upload(system, title="Done – “ready”")
    prefix = made.publish(system, done)
    failed = made.upload(system, title="failed")
    made.fail(system, failed)
    pending = made.upload(system, title="pending")
    return {"done": done, "failed": failed, "pending": pending,
            "prefix": prefix}


# -- shapes -----------------------------------------------------------------


def test_status_completed(stack, videos_of):
    v = videos_of["done"]
    with stack.client() as c:
        r = c.get(f"/api/v1/videos/{v['id']}/status")
    assert r.status_code == 200
    d = r.json()
    assert d["id"] == v["id"] and d["title"] == "Done – “ready”"
    assert d["status"] == "completed" and d["progress"] == 100
    assert d["duration"] == 2.0 and d["fileSize"] == 20000
    assert TIME.match(d["createdAt"]) and TIME.match(d["completedAt"])
    assert d["jobId"] == v["jobId"] and d["playable"] is True
    assert d["error"] is None
    base = f"{stack.nginx.url}/v/{v['id']}/{made.token(v['id'])}/" \
           f"{videos_of['prefix']}/"
    assert d["playbackUrl"] == base + "hls/master.m3u8"
    assert d["thumbnailUrl"] == base + "poster.jpg"
    assert d["storyboardUrl"] == base + "storyboard.vtt"
    formats = {f["format"]: f for f in d["processingDetails"]["formats"]}
    assert set(formats) == {"mp4", "webm", "hls"}
    assert formats["mp4"]["qualities"] == ["480p", "720p"]
    assert formats["mp4"]["status"] == "completed"
    assert formats["mp4"]["urls"]["720p"] == base + "mp4/720p.mp4"
    # every address works as it stands
    with stack.nginx.client() as c:
        for url in [d["playbackUrl"], d["thumbnailUrl"], d["storyboardUrl"],
                    *[u for f in formats.values() for u in
                      f["urls"].values()]]:
            assert c.get(url).status_code == 200, url


def test_status_failed_and_pending(stack, videos_of):
    with stack.client() as c:
        d = c.get(f"/api/v1/videos/{videos_of['failed']['id']}/status").json()
        assert d["status"] == "failed" and d["errorCode"] == "invalid_media"
        assert isinstance(d["error"], str)
        d = c.get(f"/api/v1/videos/{videos_of['pending']['id']}/status").json()
        assert d["status"] == "pending" and d["progress"] == 0
        assert d["playable"] is False and d["playbackUrl"] is None
        assert d["processingDetails"] == {"formats": [], "passthrough": None}


def test_metadata(stack, videos_of):
    with stack.client() as c:
        d = c.get(f"/api/v1/videos/{videos_of['done']['id']}/metadata").json()
        assert d == {"duration": 2.0, "format": "mp4",
                     "resolution": "1920x1080", "frameRate": 25.0,
                     "bitrate": "5000k", "audioCodec": "aac",
                     "videoCodec": "h264", "fileSize": 20000,
                     "audioTracks": [], "subtitles": []}
        problem(c.get(f"/api/v1/videos/{videos_of['pending']['id']}/metadata"),
                409, "not_ready")


def test_job_and_retry(stack, videos_of):
    f = videos_of["failed"]
    redis = stack.redis.connect()
    with stack.client() as c:
        d = c.get(f"/api/v1/jobs/{f['jobId']}").json()
        assert d["id"] == f["jobId"] and d["videoId"] == f["id"]
        assert d["status"] == "failed" and d["error"]
        assert {"progress", "currentTask", "startedAt", "completedAt"} <= set(d)
        redis.delete("avp:jobs")
        r = c.post(f"/api/v1/jobs/{f['jobId']}/retry")
        assert r.status_code == 200
        d = r.json()
        assert d["id"] == f["jobId"] and d["status"] == "pending"
        assert TIME.match(d["retriedAt"])
        wait_until(lambda: f["jobId"] in [
            x if isinstance(x, str) else x.decode()
            for x in redis.lrange("avp:jobs", 0, -1)], 5)
        problem(c.post(f"/api/v1/jobs/{f['jobId']}/retry"), 409,
                "not_retryable")
        problem(c.post(f"/api/v1/jobs/{videos_of['done']['jobId']}/retry"),
                409, "not_retryable")
    redis.delete("avp:jobs")
    made.fail(stack, f)


def test_stats(stack, videos_of):
    with stack.client() as c:
        d = c.get("/api/v1/stats").json()
    assert set(d) >= {"totalVideos", "processingVideos", "completedToday",
                      "failedToday", "averageProcessingTime", "queueLength"}
    assert d["totalVideos"] >= 3 and d["completedToday"] >= 1


def test_resource(stack, videos_of):
    with stack.client() as c:
        d = c.get(f"/api/v1/videos/{videos_of['done']['id']}").json()
    assert d["id"] == videos_of["done"]["id"] and d["status"] == "completed"
    assert d["url"].endswith(f"/api/v1/videos/{d['id']}")


# -- who asks ---------------------------------------------------------------

VIDEO_ROUTES = [("GET", "/videos/{v}"), ("GET", "/videos/{v}/status"),
                ("GET", "/videos/{v}/metadata"),
                ("GET", "/videos/{v}/download"),
                ("GET", "/videos/{v}/download?format=original"),
                ("GET", "/videos/{v}/download?format=nonsense"),
                ("DELETE", "/videos/{v}"), ("GET", "/jobs/{j}"),
                ("POST", "/jobs/{j}/retry")]
OTHER_ROUTES = [("GET", "/videos"), ("GET", "/stats"),
                ("POST", "/videos/upload")]


def ask(c, method, path, videos_of=None):
    if videos_of:
        path = path.format(v=videos_of["done"]["id"],
                           j=videos_of["done"]["jobId"])
    return c.request(method, "/api/v1" + path)


@pytest.mark.parametrize("route", VIDEO_ROUTES, ids=" ".join)
def test_somebody_elses_is_not_there(stack, videos_of, other, route):
    """404 on each route, word for word as for what does not exist."""
    with stack.client(other) as c:
        r = ask(c, *route, videos_of)
        problem(r, 404, "not_found")
        nothing = {"done": {"id": str(uuid.uuid4()),
                            "jobId": str(uuid.uuid4())}}
        n = ask(c, *route, nothing)
        strip = lambda x: {k: v for k, v in x.json().items()
                           if k != "requestId"}
        assert strip(r) == strip(n)
    with stack.client() as c:
        assert c.get(f"/api/v1/videos/{videos_of['done']['id']}"
                     ).status_code == 200


@pytest.mark.parametrize("route", VIDEO_ROUTES + OTHER_ROUTES, ids=" ".join)
@pytest.mark.parametrize("caller", ["none", "expired", "foreign", "disabled",
                                    "unknown", "deleted"])
def test_callers_without_rights(stack, videos_of, route, caller):
    headers = {}
    if caller == "expired":
        headers["Authorization"] = "Bearer " + stack.token(lifetime=-120)
    elif caller == "foreign":
        headers["Authorization"] = "Bearer " + stack.token(
            secret="x" * 40)
    elif caller == "unknown":
        headers["Authorization"] = "Bearer " + stack.token(uuid.uuid4())
    elif caller in ("disabled", "deleted"):
        email = f"{caller}@example.com"
        row = stack.pg.query("SELECT id FROM users WHERE email = %s",
                             (email,))
        user = str(row[0]["id"]) if row else stack.add_user(email)
        stack.pg.query(
            "UPDATE users SET is_active = false WHERE id = %s"
            if caller == "disabled" else
            "UPDATE users SET deleted_at = now() WHERE id = %s", (user,))
        headers["Authorization"] = "Bearer " + stack.token(user)
    with stack.nginx.client() as c:
        path = route[1].format(v=videos_of["done"]["id"],
                               j=videos_of["done"]["jobId"])
        if path == "/videos/upload":
            r = c.post("/api/v1" + path, headers=headers,
                       data={"title": "x"},
                       files={"file": ("x.mp4", wire.mp4(5000))})
        else:
            r = c.request(route[0], "/api/v1" + path, headers=headers)
    problem(r, 401, "invalid_token")
    assert 'error="invalid_token"' in r.headers["www-authenticate"]


def test_administrators_see_all(stack, videos_of):
    row = stack.pg.query("SELECT id FROM users WHERE role = 'admin'")
    admin = str(row[0]["id"]) if row else stack.add_user("root@example.com",
                                                         admin=True)
    with stack.client(admin, admin=True) as c:
        for method, path in VIDEO_ROUTES:
            if method == "GET" and "nonsense" not in path:
                assert ask(c, method, path, videos_of).status_code == 200, path
        ids = [v["id"] for v in
               c.get("/api/v1/videos?limit=100").json()["data"]]
        assert videos_of["done"]["id"] in ids
    # a token that says admin does not make one
    with stack.client(admin) as c:
        problem(ask(c, "GET", "/videos/{v}", videos_of), 404, "not_found")


def test_methods(stack, videos_of):
    want = {"/videos": "GET, HEAD, OPTIONS", "/videos/upload":
            "POST, OPTIONS", "/videos/{v}": "GET, HEAD, DELETE, OPTIONS",
            "/videos/{v}/status": "GET, HEAD, OPTIONS",
            "/jobs/{j}/retry": "POST, OPTIONS", "/health":
            "GET, HEAD, OPTIONS"}
    with stack.client() as c:
        for path, allow in want.items():
            for method in ("PUT", "TRACE", "PATCH", "OPTIONS", "PROPFIND"):
                r = ask(c, method, path, videos_of)
                if method == "OPTIONS":
                    assert r.status_code == 204
                elif method == "TRACE":
                    assert r.status_code == 405      # the core's own
                    continue
                else:
                    problem(r, 405, "method_not_allowed")
                assert r.headers["allow"] == allow, (path, method)


# -- ids --------------------------------------------------------------------


@pytest.mark.parametrize("bad", [
    "1", "x" * 36, "00000000-0000-0000-0000-00000000000",
    "00000000-0000-0000-0000-0000000000000", "{0}", "'--", "%00", "%27OR%271",
    "00000000_0000_0000_0000_000000000000", "g0000000-0000-0000-0000-000000000000",
    "%C3%BC", "undefined", "null", "*", "%2525"])
@pytest.mark.parametrize("path", ["/videos/{}", "/videos/{}/status",
                                  "/jobs/{}"])
def test_bad_id(stack, bad, path):
    a = wire.request(stack.nginx, wire.head(stack.token(), method="GET",
                                            content_type="",
                                            path="/api/v1" + path.format(bad)))
    assert a.status in (400, 404), a
    assert a.get("content-type") == "application/problem+json"
    assert a.json()["code"] in ("invalid_id", "not_found", "bad_request")


def test_upper_case_id(stack, videos_of):
    v = videos_of["done"]["id"]
    with stack.client() as c:
        r = c.get(f"/api/v1/videos/{v.upper()}/status")
        assert r.status_code == 200 and r.json()["id"] == v


@pytest.mark.parametrize("path", ["/", "/x", "/videos/", "/videos//status",
                                  "/videos/x/y/z", "/videos/upload/",
                                  "/Videos", "/health/", "/health/x"])
def test_unknown_path(stack, path):
    with stack.client() as c:
        r = c.get("/api/v1" + path)
        assert r.json()["code"] in ("not_found", "invalid_id")
        assert r.status_code in (404, 400)


# -- lists ------------------------------------------------------------------


@pytest.mark.parametrize("query", [
    "page=0", "page=-1", "page=1000000000", "page=abc", "page=", "page=1.5",
    "page=+1", "page=%31%00", "page=9223372036854775808", "limit=0",
    "limit=101", "limit=1001", "limit=-5", "limit=abc", "limit=1e2",
    "limit=99999999999999999999999", "page=101&limit=100", "page=10001&limit=1",
    "status=foo", "status=", "status=Completed", "status=completed%00",
    "status=completed,failed", "status=%27%20OR%201=1", "page=" + "1" * 500,
    "status=" + "x" * 5000, "page[]=1&page=x"])
def test_bad_query(stack, query):
    with stack.client() as c:
        problem(c.get("/api/v1/videos?" + query), 422, "invalid_field")


@pytest.mark.parametrize("query", [
    "", "page=1", "limit=100", "limit=1", "page=100&limit=100",
    "status=completed", "status=%63ompleted", "x=y", "page=1&page=abc",
    "&&&", "=", "page=01", "q=%FF", "status=uploading", "limit=20&x=%00"])
def test_good_query(stack, videos_of, query):
    with stack.client() as c:
        r = c.get("/api/v1/videos?" + query)
        assert r.status_code == 200, r.text
        assert set(r.json()) == {"data", "pagination"}


def test_paging(stack, other):
    """Newest first, each once, total right; other people's are not counted."""
    user = stack.add_user(f"{uuid.uuid4().hex}@example.com")
    mine = [made.upload(stack, user, f"n {i}")["id"] for i in range(7)]
    with stack.client(user) as c:
        got = []
        for page in range(1, 5):
            d = c.get(f"/api/v1/videos?page={page}&limit=3").json()
            assert d["pagination"] == {"page": page, "limit": 3, "total": 7}
            got += [v["id"] for v in d["data"]]
        assert got == mine[::-1]
        d = c.get("/api/v1/videos?status=failed").json()
        assert d == {"data": [], "pagination": {"page": 1, "limit": 20,
                                                "total": 0}}
        item = c.get("/api/v1/videos?limit=1").json()["data"][0]
        assert set(item) == {"id", "title", "status", "duration", "fileSize",
                             "createdAt"}
        assert c.delete(f"/api/v1/videos/{mine[3]}").status_code == 204
        d = c.get("/api/v1/videos").json()
        assert d["pagination"]["total"] == 6
        assert mine[3] not in [v["id"] for v in d["data"]]


# -- conditions, HEAD ---------------------------------------------------------


def test_etag(stack, videos_of):
    path = f"/api/v1/videos/{videos_of['pending']['id']}/status"
    with stack.client() as c:
        r = c.get(path)
        tag = r.headers["etag"]
        assert tag.startswith('W/"')
        assert r.headers["cache-control"] == "private, no-cache"
        for value in (tag, tag[2:], "*", f'"x", {tag}, "y"'):
            n = c.get(path, headers={"If-None-Match": value})
            assert n.status_code == 304, value
            assert n.headers["etag"] == tag and n.content == b""
            assert n.headers["cache-control"] == "private, no-cache"
        for value in ('"x"', 'W/"x"', "x"):
            assert c.get(path, headers={"If-None-Match": value}
                         ).status_code == 200
        # every change changes it
        stack.pg.query("UPDATE videos SET seq = avp_seq(seq) WHERE id = %s",
                       (videos_of["pending"]["id"],))
        assert c.get(path, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/videos", "/stats",
                                  "/videos/{v}", "/videos/{v}/status",
                                  "/jobs/{j}", "/videos/{v}/download",
                                  "/videos/00000000-0000-0000-0000-000000000000",
                                  "/nothing", "/videos?page=0"])
def test_head_is_get_without_body(stack, videos_of, path):
    with stack.client() as c:
        g = ask(c, "GET", path, videos_of)
        h = ask(c, "HEAD", path, videos_of)
    assert h.status_code == g.status_code and h.content == b""
    skip = {"date", "x-request-id"}
    same = lambda r: {k: v for k, v in r.headers.items() if k not in skip}
    assert same(h) == same(g)


# -- answers to all -----------------------------------------------------------


def test_headers_of_every_answer(stack, videos_of):
    with stack.client() as c:
        for path in ("/health", "/videos", "/nothing", "/videos?page=x"):
            r = c.get("/api/v1" + path)
            assert r.headers["x-content-type-options"] == "nosniff"
            assert re.fullmatch(r"[0-9a-f]{32}", r.headers["x-request-id"])
            assert r.headers["cache-control"] == "no-store"
            for k, v in r.headers.items():
                assert len(r.headers.get_list(k)) == 1, k
        r = c.get("/api/v1/videos", headers={"X-Request-Id": "abc-DEF_123"})
        assert r.headers["x-request-id"] == "abc-DEF_123"
        for bad in ("short", "x" * 65, "a b c d e", 'a"b<c>d{e}', "ü" * 10):
            r = c.get("/api/v1/videos", headers=[(b"X-Request-Id",
                                                  bad.encode())])
            assert re.fullmatch(r"[0-9a-f]{32}", r.headers["x-request-id"])


def test_no_internals_in_answers(stack, videos_of):
    with stack.client() as c:
        for path in ("/nothing", "/videos?page=x", "/videos/x",
                     f"/videos/{uuid.uuid4()}"):
            text = c.get("/api/v1" + path).text.lower()
            for word in ("nginx", "postgres", "sql", "/tmp", "pg_", "libpq"):
                assert word not in text


SQL = ["'; DROP TABLE videos; --", "1); DELETE FROM users; --", "$1", "\\'",
       "%s", "NULL", "' || pg_sleep(5) || '"]


@pytest.mark.parametrize("text", SQL)
def test_sql_is_text(stack, text):
    count = stack.pg.query("SELECT count(*) AS n FROM users")[0]["n"]
    a = wire.post(stack, wire.form(
        wire.part("title", text), wire.part("description", text),
        wire.part("metadata", json.dumps({text: text})),
        wire.part("file", wire.mp4(5000), text.replace("\\", ""))))
    assert a.status == 201, a
    with stack.client() as c:
        d = c.get(f"/api/v1/videos/{a.json()['id']}",
                  headers={"User-Agent": text}).json()
        assert d["title"] == d["description"] == text
        assert d["metadata"] == {text: text}
        for where in ("status", "page", "limit"):
            problem(c.get("/api/v1/videos", params={where: text}), 422,
                    "invalid_field")
        for where in ("format", "quality"):
            problem(c.get(f"/api/v1/videos/{d['id']}/download",
                          params={where: text}), 422, "invalid_field")
    assert stack.pg.query("SELECT count(*) AS n FROM users")[0]["n"] == count


# -- delete -------------------------------------------------------------------


def test_delete(stack):
    """204, the files out of the way, the second time 404, an event."""
    doc = made.upload(stack)
    prefix = made.publish(stack, doc)
    watch = stack.redis.connect().pubsub()
    watch.psubscribe("avp:*")
    url = f"/v/{doc['id']}/{made.token(doc['id'])}/{prefix}/poster.jpg"
    with stack.client() as c:
        assert c.get(url).status_code == 200
        r = c.delete(f"/api/v1/videos/{doc['id']}")
        assert r.status_code == 204 and r.content == b""
        assert not (stack.storage / "outputs" / doc["id"]).exists()
        trash = list((stack.storage / "trash").glob(f"{doc['id']}-*"))
        assert len(trash) == 1 and (trash[0] / prefix / "poster.jpg").exists()
        problem(c.get(url), 404, "not_found")
        for method, path in [("DELETE", ""), ("GET", ""), ("GET", "/status"),
                             ("GET", "/metadata"), ("GET", "/download"),
                             ("GET", "/download?format=original")]:
            problem(c.request(method, f"/api/v1/videos/{doc['id']}{path}"),
                    404, "not_found")

    def heard():
        m = watch.get_message(timeout=0.1)
        return (m and m["type"] == "pmessage"
                and json.loads(m["data"]).get("type") == "video.deleted")

    wait_until(heard, 5, "the event")


def test_delete_before_any_output(stack):
    doc = made.upload(stack)
    with stack.client() as c:
        assert c.delete(f"/api/v1/videos/{doc['id']}").status_code == 204
        d = c.get(f"/api/v1/jobs/{doc['jobId']}")
        assert d.status_code in (200, 404)
    row = stack.pg.query("SELECT status FROM processing_jobs WHERE id = %s",
                         (doc["jobId"],))
    assert row[0]["status"] == "cancelled"


def test_delete_by_a_client_that_left(stack):
    """Committed is committed: the files move although nobody waits."""
    doc = made.upload(stack)
    made.publish(stack, doc)
    with stack.pg.connect(autocommit=False) as holder:
        holder.execute("SELECT 1 FROM videos WHERE id = %s FOR UPDATE",
                       (doc["id"],))
        with wire.Wire(stack.nginx) as w:
            w.send(wire.head(stack.token(), method="DELETE", content_type="",
                             path=f"/api/v1/videos/{doc['id']}"))
            wait_until(lambda: stack.pg.query(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND query LIKE '%%video_delete%%'"), 10, "it waits")
        wait_until(lambda: stack.nginx.active() == 0, 10)
        holder.rollback()
    wait_until(lambda: not (stack.storage / "outputs" / doc["id"]).exists(),
               10, "the files have moved")
    assert doc["id"] not in wire.videos(stack)


# -- health -------------------------------------------------------------------


def test_health(stack):
    with stack.nginx.client() as c:
        r = c.get("/api/v1/health")
    assert r.status_code == 200
    d = r.json()
    assert d["status"] == "healthy" and TIME.match(d["timestamp"])
    assert d["services"] == {"database": "ok", "redis": "ok", "storage": "ok"}


WORKER = {"id": "6b0f0a7e-2f0c-4b8e-9d4f-6a1f0e6d5c3b", "name": "w\"1",
          "host": "h1", "version": "1.2.3",
          "libraries": {"libavcodec": "59.37.100"}, "slots": 2, "running": 0,
          "sandbox": {"ns": "user,net", "landlock": 4, "seccomp": True}}


def seen(stack, **more):
    """A worker says who it is."""
    w = {**WORKER, **more}
    assert stack.pg.one(
        "SELECT result FROM worker_seen(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (w["id"], w["name"], w["host"], w["version"], w["slots"],
         w["sandbox"]["ns"], w["sandbox"]["landlock"],
         w["sandbox"]["seccomp"], json.dumps(w["libraries"]))) == "ok"


@pytest.fixture
def admin(stack):
    """An administrator's id, whom NGINX may believe: its sets are fresh."""
    rows = stack.pg.query("SELECT id FROM users WHERE email ="
                          " 'health@example.com'")
    user = str(rows[0]["id"]) if rows else stack.add_user(
        "health@example.com", admin=True)
    with stack.client(user, admin=True) as c:
        assert c.get("/api/v1/stats").status_code == 200
    return user


def test_health_for_an_administrator(stack, admin):
    with stack.client(admin, admin=True) as c:
        r = c.get("/api/v1/health")
        assert r.status_code == 200
        assert r.headers["cache-control"] == "no-store"
        assert set(r.json()) == {"status", "timestamp", "services", "details"}
        assert r.json()["details"] == {"workers": []}
        seen(stack)
        try:
            d = c.get("/api/v1/health").json()
            (w,) = d["details"]["workers"]
            assert TIME.match(w.pop("startedAt"))
            assert TIME.match(w.pop("lastSeen"))
            assert w == WORKER
            assert d["status"] == "healthy"
            head = c.head("/api/v1/health")
            assert head.status_code == 200 and not head.content
            # more than a few
            for i in range(200):
                seen(stack, id=f"6b0f0a7e-2f0c-4b8e-9d4f-{i:012x}", name=f"{i:03}")
            many = c.get("/api/v1/health").json()["details"]["workers"]
            assert [x["name"] for x in many] == [
                *(f"{i:03}" for i in range(200)), WORKER["name"]]
            stack.pg.query("UPDATE workers SET seen_at = now()"
                           " - interval '1 minute'")
            d = c.get("/api/v1/health").json()
            assert d["details"] == {"workers": []}
        finally:
            stack.pg.query("DELETE FROM workers")


def test_health_for_everybody_else(stack, admin):
    """The open answer whatever they send: a probe gets no 401."""
    gone = stack.add_user(f"{uuid.uuid4().hex}@example.com", admin=True)
    stack.pg.query("UPDATE users SET is_active = false,"
                   " active_changed_at = NULL WHERE id = %s", (gone,))
    tokens = {
        "none": None,
        "user": "Bearer " + stack.token(),
        "expired": "Bearer " + stack.token(admin, admin=True, lifetime=-3600),
        "another key": "Bearer " + stack.token(admin, admin=True,
                                               secret="x" * 40),
        "no token": "Bearer x.y.z", "empty": "Bearer",
        "another scheme": "Basic YTpi",
        "disabled": "Bearer " + stack.token(gone, admin=True),
        "unknown": "Bearer " + stack.token(uuid.uuid4(), admin=True),
    }
    seen(stack)
    try:
        with stack.nginx.client() as c:
            for who, value in tokens.items():
                r = c.get("/api/v1/health", headers={
                    "Authorization": value} if value else {})
                assert r.status_code == 200, who
                d = r.json()
                assert list(d) == ["status", "timestamp", "services"], who
                assert "www-authenticate" not in r.headers, who
            # and the same connection, by one who may
            r = c.get("/api/v1/health", headers={
                "Authorization": "Bearer " + stack.token(admin, admin=True)})
            assert len(r.json()["details"]["workers"]) == 1
    finally:
        stack.pg.query("DELETE FROM workers")


def test_health_does_not_wait_for_the_workers(stack, admin):
    """The status is of the services; the list comes if it comes in time."""
    import time
    with stack.client(admin, admin=True) as c, stack.pg.connect() as holder:
        holder.execute("BEGIN; LOCK TABLE workers IN ACCESS EXCLUSIVE MODE")
        with wire.Wire(stack.nginx) as w:        # one that does not wait
            w.send("GET /api/v1/health HTTP/1.1\r\nHost: a\r\n"
                   f"Authorization: Bearer {stack.token(admin, admin=True)}"
                   "\r\n\r\n")
        start = time.monotonic()
        r = c.get("/api/v1/health")
        assert 1.5 < time.monotonic() - start < 3.5
        assert r.status_code == 200
        assert r.json()["status"] == "healthy"
        assert r.json()["services"]["database"] == "ok"
        assert r.json()["details"] == {"workers": None}
        holder.rollback()
        assert c.get("/api/v1/health").json()["details"] == {"workers": []}


@pytest.mark.parametrize("what", ["redis", "redis frozen", "database",
                                  "database frozen", "storage"])
def test_health_of_what_is_down(run, what):
    """Each service is asked, each within its deadline."""
    import time
    stack = Stack(run, worker=False, fsync=True)
    user = stack.add_user("a@example.com", admin=True)
    admin = {"Authorization": "Bearer " + stack.token(user, admin=True)}
    with stack.nginx.client() as c:
        assert c.get("/api/v1/health").json()["status"] == "healthy"
        assert c.get("/api/v1/stats", headers=admin).status_code == 200
        service = what.split()[0]
        if what == "redis":
            stack.redis.kill()
        elif what == "redis frozen":
            stack.redis.freeze()
        elif what == "database":
            stack.pg.stop()
        elif what == "database frozen":
            stack.pg.freeze()
        else:
            (stack.storage / "incoming").rename(stack.storage / "x")
        try:
            start = time.monotonic()
            r = c.get("/api/v1/health")
            assert time.monotonic() - start < 3.5
            want = {"database": "ok", "redis": "ok", "storage": "ok",
                    service: "down"}
            assert r.json()["services"] == want
            if service == "redis":
                assert r.status_code == 200
                assert r.json()["status"] == "degraded"
            else:
                assert r.status_code == 503
                assert r.json()["status"] == "unhealthy"
            # an administrator learns no less, and the same
            start = time.monotonic()
            a = c.get("/api/v1/health", headers=admin)
            assert time.monotonic() - start < 3.5
            assert (a.status_code, a.json()["services"]) == \
                (r.status_code, want)
            assert a.json()["details"] == {
                "workers": None if service == "database" else []}
            # a client that leaves while it waits
            with wire.Wire(stack.nginx) as w:
                w.send(b"GET /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        finally:
            if what == "redis frozen":
                stack.redis.thaw()
            elif what == "database frozen":
                stack.pg.thaw()
            elif what == "database":
                stack.pg.start()
            elif what == "redis":
                stack.redis.start()
            else:
                (stack.storage / "x").rename(stack.storage / "incoming")
        wait_until(lambda: c.get("/api/v1/health").json()["status"]
                   == "healthy", 15)
    wait_until(lambda: stack.nginx.active() == 0, 10)
    stack.nginx.check_log()
