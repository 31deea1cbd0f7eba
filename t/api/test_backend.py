"""The life of what a worker process holds: database, Redis, threads; with
clients that go away, services that do, and NGINX's own changes of state."""

import concurrent.futures
import contextlib
import http.client
import os
import signal
import socket
import struct
import threading
import time
import uuid

import pytest

from rig import Stack, free_port, is_asan, wait_until

ROOM = 8          # descriptors that come and go with timers of the backends


def make_video(s, title="a clip"):
    """A row, without a file."""
    video = str(uuid.uuid4())
    row = s.pg.query(
        "SELECT * FROM video_create(%s,false,NULL,NULL,%s,%s,NULL,NULL,"
        "'a.mp4',1000,'file',%s,'mp4',0)",
        (s.user, video, title, f"originals/{video}/source.mp4"))
    assert row[0]["result"] == "ok", row
    return video


@contextlib.contextmanager
def stack(**kw):
    kw.setdefault("worker", False)
    kw.setdefault("fsync", True)      # what was committed survives restarts
    with Stack(**kw) as s:
        s.video = make_video(s)
        yield s


@contextlib.contextmanager
def locked(s):
    """Every statement that looks at videos waits until the end."""
    with s.pg.connect(autocommit=False) as c:
        c.execute("LOCK TABLE videos IN ACCESS EXCLUSIVE MODE")
        yield
        c.rollback()


def blocked(s):
    """How many of NGINX's statements wait for that."""
    return s.pg.one("SELECT count(*) FROM pg_stat_activity WHERE"
                    " application_name = 'avp-nginx' AND"
                    " wait_event_type = 'Lock'", name="postgres")


def ours(s):
    """NGINX's connections to the database."""
    return s.pg.one("SELECT count(*) FROM pg_stat_activity WHERE"
                    " application_name = 'avp-nginx'", name="postgres")


def raw(s, path=None, token=None):
    """A socket on which GET status has been sent."""
    c = s.nginx.socket()
    c.sendall((f"GET {path or '/api/v1/videos/' + s.video + '/status'}"
               f" HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer"
               f" {token or s.token()}\r\n\r\n").encode())
    return c


def once(s, path=None, token=None, timeout=15):
    """One request on a connection of its own: status and headers."""
    c = http.client.HTTPConnection("127.0.0.1", s.nginx.port, timeout=timeout)
    try:
        c.request("GET", path or f"/api/v1/videos/{s.video}/status",
                  headers={"Authorization": f"Bearer {token or s.token()}",
                           "Connection": "close"})
        r = c.getresponse()
        r.read()
        return r.status, dict((k.lower(), v) for k, v in r.getheaders())
    finally:
        c.close()


class Load:
    """Requests without pause from some threads, each on a new connection."""

    def __init__(self, s, threads=4):
        self.s, self.answers, self.errors = s, [], []
        self.token = s.token()
        self.end = threading.Event()
        self.threads = [threading.Thread(target=self._run)
                        for _ in range(threads)]

    def _run(self):
        while not self.end.is_set():
            try:
                self.answers.append((time.monotonic(),
                                     *once(self.s, token=self.token)))
            except Exception as e:
                self.errors.append(repr(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        wait_until(lambda: len(self.answers) > 20, 15, "load has begun")
        return self

    def __exit__(self, *_):
        self.end.set()
        for t in self.threads:
            t.join()

    def more(self, n=50, status=200, timeout=20):
        """Waits for n more answers of a status."""
        have = self.count(status)
        wait_until(lambda: self.count(status) >= have + n, timeout,
                   f"{n} more answers of {status}")

    def count(self, status):
        return sum(a[1] == status for a in self.answers)

    def statuses(self):
        return {a[1] for a in self.answers}


# -- plain ---------------------------------------------------------------------

def test_status_and_not_modified():
    with stack() as s, s.client() as c:
        url = f"/api/v1/videos/{s.video}/status"
        r = c.get(url)
        assert r.status_code == 200 and r.json()["id"] == s.video
        again = c.get(url, headers={"If-None-Match": r.headers["ETag"]})
        assert again.status_code == 304 and again.content == b""
        assert again.headers["X-Request-Id"] != r.headers["X-Request-Id"]


def test_parallel():
    """40 at once through 4 connections."""
    with stack() as s:
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            got = list(pool.map(lambda _: once(s)[0], range(400)))
        assert got == [200] * 400
        assert 1 <= ours(s) <= 4
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            with locked(s):
                jobs = [pool.submit(once, s) for _ in range(40)]
                wait_until(lambda: blocked(s) == 4, 10, "all work")
                wait_until(lambda: s.nginx.active() == 40, 10, "all are here")
                assert ours(s) == 4
            assert [j.result()[0] for j in jobs] == [200] * 40


def test_prepares_again_after_a_change():
    """A function that was replaced under a prepared statement."""
    with stack(workers=1, http={"avp_database":
                                "env:DATABASE_URL connections=1"}) as s:
        assert once(s)[0] == 200
        sql = s.pg.one("SELECT pg_get_functiondef('video_status'::regproc)")
        args = s.pg.one("SELECT pg_get_function_identity_arguments("
                        "'video_status'::regproc)")
        s.pg.query(f"DROP FUNCTION video_status({args})")
        assert once(s)[0] == 500
        s.pg.query(sql)
        s.pg.query("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC")
        assert once(s)[0] == 200
        assert ours(s) == 1


def test_request_id():
    with stack() as s, s.client() as c:
        for given, kept in (("abcdefgh", True), ("A-b_" * 16, True),
                            ("short", False), ("x" * 65, False),
                            ("has space", False), ("inj\tect99", False)):
            r = c.get("/api/v1/health", headers={"X-Request-Id": given})
            assert (r.headers["X-Request-Id"] == given) is kept, given
            assert len(r.headers.get_list("X-Request-Id")) == 1


# -- clients that go away --------------------------------------------------------

@pytest.mark.parametrize("how", ["fin", "rst", "h2"])
def test_abort_during_query(how):
    with stack(h2c=True) as s:
        once(s)
        fds = s.nginx.fd_count() + ROOM
        for _ in range(5):
            with locked(s):
                if how == "h2":
                    clients = [h2_requests(s, 8)]
                else:
                    clients = [raw(s) for _ in range(8)]
                wait_until(lambda: blocked(s) == 4, 10, "queries are blocked")
                for c in clients:
                    if how == "rst":
                        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                     struct.pack("ii", 1, 0))
                    if how == "h2":
                        c.reset_all()
                    c.close()
                wait_until(lambda: s.nginx.active() == 0, 10,
                           "NGINX noticed that they are gone")
            wait_until(lambda: blocked(s) == 0, 10)
            assert once(s)[0] == 200
        s.nginx.settled(fds)
        assert ours(s) <= 4


class h2_requests:
    """Requests on one HTTP/2 connection, to be reset."""

    def __init__(self, s, n):
        import h2.config
        import h2.connection
        self.sock = socket.create_connection(("127.0.0.1", s.nginx.h2c_port))
        self.conn = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True))
        self.conn.initiate_connection()
        self.ids = []
        for _ in range(n):
            sid = self.conn.get_next_available_stream_id()
            self.conn.send_headers(sid, [
                (":method", "GET"), (":scheme", "http"), (":authority", "a"),
                (":path", f"/api/v1/videos/{s.video}/status"),
                ("authorization", f"Bearer {s.token()}")], end_stream=True)
            self.ids.append(sid)
        self.sock.sendall(self.conn.data_to_send())

    def reset_all(self):
        for sid in self.ids:
            self.conn.reset_stream(sid, error_code=8)
        self.sock.sendall(self.conn.data_to_send())

    def close(self):
        self.sock.close()


def test_abort_of_a_change_runs_to_its_end():
    """A DELETE whose client leaves is carried out, and published."""
    with stack() as s:
        events = s.redis.connect().pubsub()
        events.subscribe(f"avp:ev:v:{s.video}")
        wait_until(lambda: events.get_message(timeout=0.2), 5)
        with locked(s):
            c = s.nginx.socket()
            c.sendall((f"DELETE /api/v1/videos/{s.video} HTTP/1.1\r\nHost: a"
                       f"\r\nAuthorization: Bearer {s.token()}\r\n\r\n"
                       ).encode())
            wait_until(lambda: blocked(s) == 1, 10)
            c.close()
            wait_until(lambda: s.nginx.active() == 0, 10)
        wait_until(lambda: s.pg.one(
            "SELECT deleted_at FROM videos WHERE id = %s", (s.video,)), 10)
        message = wait_until(lambda: events.get_message(timeout=0.2), 10,
                             "the event of the delete")
        assert s.video in message["data"]
        assert once(s)[0] == 404


# -- the database ----------------------------------------------------------------

def test_deadline():
    """Queue, connect and run together take no longer than `timeout`."""
    with stack(http={"avp_database": "env:DATABASE_URL connections=2"
                                     " timeout=1s"}) as s:
        once(s)
        with locked(s), concurrent.futures.ThreadPoolExecutor(10) as pool:
            begin = time.monotonic()
            for status, headers in pool.map(lambda _: once(s), range(10)):
                assert status == 503
                assert int(headers["retry-after"]) >= 1
                assert headers["content-type"] == "application/problem+json"
            assert 0.9 < time.monotonic() - begin < 3
        wait_until(lambda: once(s)[0] == 200, 5, "it recovers")
        # the server finds out by itself that a connection was cut
        wait_until(lambda: ours(s) <= 2, 10, "the cut connections end")


def test_queue_is_bounded():
    with stack(http={"avp_database": "env:DATABASE_URL connections=1"
                                     " timeout=4s"}) as s:
        once(s)
        path = f"/api/v1/videos/{s.video}/status"
        with locked(s):
            clients = [raw(s, path) for _ in range(1100)]
            late = raw(s, path)
            late.settimeout(2)
            assert b" 503 " in late.recv(4096).split(b"\r\n")[0]
            for c in clients:
                c.close()
        late.close()
        wait_until(lambda: once(s)[0] == 200, 10)


@pytest.mark.parametrize("mode", ["immediate", "fast", "kill"])
def test_database_restart_under_load(mode):
    """Nothing but 200 and 503 with Retry-After; then 200 again."""
    with stack(workers=2) as s, Load(s) as load:
        for _ in range(2):
            s.pg.restart(mode)
            load.more(100)
        load.end.set()
        assert not load.errors, load.errors[:3]
        assert load.statuses() <= {200, 503}, load.statuses()
        assert all("retry-after" in a[2] for a in load.answers if a[1] == 503)
    assert load.count(200) > 200


def test_connections_terminated_under_load():
    """An administrator's pg_terminate_backend is not even noticed: reads are
    repeated."""
    with stack(workers=2) as s, Load(s) as load:
        for _ in range(20):
            s.pg.query("SELECT pg_terminate_backend(pid) FROM"
                       " pg_stat_activity WHERE application_name ="
                       " 'avp-nginx'", name="postgres")
            load.more(5)
        load.end.set()
        assert not load.errors and load.statuses() == {200}, load.statuses()


def test_database_down_at_start():
    with stack(start=False) as s:
        s.pg.stop()
        s.nginx.start()
        status, headers = once(s)
        assert status == 503 and "retry-after" in headers
        with s.client() as c:
            r = c.get("/api/v1/health")
            assert r.status_code == 503
            assert r.json()["services"]["database"] == "down"
        s.pg.start()
        wait_until(lambda: once(s)[0] == 200, 10, "it serves")


def test_database_frozen():
    """Stopped with all its sockets open: deadlines hold, and it recovers."""
    with stack(http={"avp_database": "env:DATABASE_URL connections=2"
                                     " timeout=500ms"}) as s:
        once(s)
        s.pg.freeze()
        try:
            for _ in range(5):
                begin = time.monotonic()
                status, _ = once(s)
                assert status == 503 and time.monotonic() - begin < 2
        finally:
            s.pg.thaw()
        wait_until(lambda: once(s)[0] == 200, 10, "it recovers")


def test_too_many_connections():
    with stack(workers=2, http={"avp_database": "env:DATABASE_URL"
                                " connections=4 timeout=1s"}) as s:
        once(s)
        s.pg.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE application_name = 'avp-nginx'", name="postgres")
        with contextlib.ExitStack() as all_of_them:
            import psycopg
            with pytest.raises(psycopg.OperationalError):
                while True:
                    all_of_them.enter_context(s.pg.connect())
            wait_until(lambda: once(s)[0] == 503, 10, "refused")
            status, headers = once(s)
            assert status in (200, 503)
        wait_until(lambda: once(s)[0] == 200, 10, "it recovers")


def test_host_name_is_resolved():
    with stack(start=False) as s:
        url = s.pg.url.replace("127.0.0.1", "localhost")
        s.nginx.http["avp_database"] = f"{url} connections=2"
        s.nginx.start()
        assert once(s)[0] == 200


def test_host_name_that_does_not_resolve_is_down():
    with stack(start=False) as s:
        s.nginx.http["avp_database"] = (
            "postgresql://postgres@no-such-host.invalid/avp timeout=300ms")
        s.nginx.start()
        assert once(s)[0] == 503
        assert once(s, "/stub")[0] == 200
        s.nginx.quit()


def test_second_host_of_a_list():
    """The first host refuses: libpq goes on with the second, on a socket that
    may have the same number."""
    with stack(start=False) as s:
        s.nginx.http["avp_database"] = (
            f"postgresql://postgres@127.0.0.1:{free_port()},"
            f"127.0.0.1:{s.pg.port}/avp connections=2")
        s.nginx.start()
        assert once(s)[0] == 200
        s.pg.restart()
        wait_until(lambda: once(s)[0] == 200, 10)


def test_unix_socket():
    with stack(start=False) as s:
        s.nginx.http["avp_database"] = f'"{s.pg.socket_url}" connections=2'
        s.nginx.start()
        assert once(s)[0] == 200


# -- Redis ---------------------------------------------------------------------

def test_redis_frozen():
    """The API is no slower for it; changes are made all the same."""
    with stack() as s, s.client() as c:
        videos = [make_video(s) for _ in range(5)]
        once(s)
        s.redis.freeze()
        try:
            for v in videos:
                begin = time.monotonic()
                assert c.get(f"/api/v1/videos/{v}/status").status_code == 200
                assert c.delete(f"/api/v1/videos/{v}").status_code == 204
                assert time.monotonic() - begin < 1
            r = c.get("/api/v1/health")
            assert r.status_code == 200 and r.json()["status"] == "degraded"
        finally:
            s.redis.thaw()
        wait_until(lambda: c.get("/api/v1/health").json()["status"]
                   == "healthy", 15, "Redis is back")


def test_redis_down_and_back():
    with stack() as s, s.client() as c:
        s.redis.stop()
        assert c.delete(f"/api/v1/videos/{make_video(s)}").status_code == 204
        assert c.get("/api/v1/health").json()["services"]["redis"] == "down"
        s.redis.start()
        wait_until(lambda: c.get("/api/v1/health").json()["status"]
                   == "healthy", 15, "Redis is back")


# -- NGINX ----------------------------------------------------------------------

def old_workers_gone(s, pids, timeout=20):
    wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids),
               timeout, "old workers are gone")


def test_reload_under_load():
    with stack(workers=2) as s, Load(s) as load:
        for _ in range(4):
            pids = s.nginx.workers()
            s.nginx.reload()
            load.more(50)
            old_workers_gone(s, pids)
        load.end.set()
        assert not load.errors, load.errors[:3]
        assert load.statuses() == {200}, load.statuses()


def test_reload_during_queries():
    """Requests in flight are finished by the worker that has them."""
    with stack() as s:
        once(s)
        pids = s.nginx.workers()
        with locked(s):
            clients = [raw(s) for _ in range(10)]
            wait_until(lambda: blocked(s) == 4, 10)
            s.nginx.reload()
            assert all(os.path.exists(f"/proc/{p}") for p in pids)
        for c in clients:
            c.settimeout(10)
            assert c.recv(4096).startswith(b"HTTP/1.1 200 ")
            c.close()
        old_workers_gone(s, pids)


def test_shutdown_timeout():
    """What does not end in time is cut off, without a leak."""
    with stack(http={"avp_database": "env:DATABASE_URL timeout=30s"}) as s:
        text = s.nginx.render().replace("worker_shutdown_timeout 60s",
                                        "worker_shutdown_timeout 1s")
        s.nginx.write(text)
        s.nginx.reload()
        once(s)
        pids = s.nginx.workers()
        with locked(s):
            clients = [raw(s) for _ in range(6)]
            wait_until(lambda: blocked(s) == 4, 10)
            s.nginx.reload()
            old_workers_gone(s, pids)
            for c in clients:
                c.close()


def test_binary_upgrade_under_load():
    with stack(workers=2) as s, Load(s) as load:
        old = s.nginx.workers()
        master = s.nginx.upgrade()
        load.more(50)
        os.kill(master, signal.SIGQUIT)
        wait_until(lambda: not os.path.exists(f"/proc/{master}"), 20)
        old_workers_gone(s, old)
        load.more(50)
        load.end.set()
        assert not load.errors, load.errors[:3]
        assert load.statuses() == {200}, load.statuses()


def test_quit_leaves_no_connection():
    with stack(workers=2) as s:
        with Load(s):
            pass
        assert ours(s) > 0
        s.nginx.quit()
        wait_until(lambda: ours(s) == 0, 5)
        clients = s.redis.cli("CLIENT", "LIST").stdout.splitlines()
        assert len(clients) == 1, clients          # this question's own


def test_worker_killed():
    with stack() as s:
        once(s)
        for _ in range(3):
            s.nginx.kill_worker()
            assert once(s)[0] == 200
        s.nginx.check_log(allow=[r"exited on signal 9"])


def test_without_master():
    with stack(master=False) as s:
        assert once(s)[0] == 200
        with locked(s):
            clients = [raw(s) for _ in range(8)]
            wait_until(lambda: blocked(s) == 4, 10)
            for c in clients[:4]:
                c.close()
        for c in clients[4:]:
            assert c.recv(4096).startswith(b"HTTP/1.1 200 ")
            c.close()
        s.nginx.quit()
        wait_until(lambda: ours(s) == 0, 5)


def test_memory_is_flat():
    with stack() as s:
        token = s.token()

        def some(n):
            c = http.client.HTTPConnection("127.0.0.1", s.nginx.port)
            for _ in range(n):
                c.request("GET", f"/api/v1/videos/{s.video}/status",
                          headers={"Authorization": f"Bearer {token}"})
                r = c.getresponse()
                assert r.status == 200 and len(r.read()) > 100
            c.close()

        def all_of(n):
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(some, [n // 4] * 4))

        all_of(3000)
        before, _ = s.nginx.rss()
        all_of(12000)
        after, _ = s.nginx.rss()
        grown = after - before
        # ASan keeps what is freed, up to a quarter of a gigabyte
        limit = 400 * 1024 * 1024 if is_asan() else 512 * 1024
        assert grown < limit, f"{grown} bytes in 12,000 requests"
