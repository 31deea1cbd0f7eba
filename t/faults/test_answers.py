"""Answers that never come: the database has committed, the worker does not
know.  A proxy between them cuts the connection after chosen calls."""

import re
import socket
import threading

import pytest

from rig import free_port, wait_until


class Proxy:
    """Forwards to PostgreSQL; `cut(NAME)` makes it carry out the next call of
    that function and swallow the answer."""

    def __init__(self, port):
        self.target = port
        self.port = free_port()
        self.cuts = []
        self.done = []
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *names):
        self.cuts += [n.encode() for n in names]

    def stop(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            swallow = threading.Event()
            for a, b, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, daemon=True,
                                 args=(a, b, up, swallow)).start()

    def _pump(self, a, b, up, swallow):
        try:
            while data := a.recv(65536):
                if up:
                    # a Bind message: portal "", statement's name
                    for name in list(self.cuts):
                        if re.search(b"B....\0" + name + b"\0", data, re.S):
                            self.cuts.remove(name)
                            swallow.set()
                            self.done.append(name.decode())
                    b.sendall(data)
                elif swallow.is_set():
                    # it has been carried out: ReadyForQuery is here
                    if b"Z\0\0\0\5" in data:
                        break
                else:
                    b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@pytest.fixture
def proxied(world):
    """A world and the proxy its workers go through."""
    proxy = Proxy(world.pg.port)
    world.run.add(proxy)
    world.env["DATABASE_URL"] = world.pg.url.replace(
        f":{world.pg.port}/", f":{proxy.port}/")
    return world, proxy


@pytest.mark.world(LEASE="30")
@pytest.mark.parametrize("function", ["job_publish", "job_playable",
                                      "job_progress"])
def test_while_it_runs(proxied, clips, function):
    world, proxy = proxied
    proxy.cut(function)
    world.worker()
    video, _ = world.add(clips["long"])
    world.wait(video)
    assert proxy.done == [function]
    assert world.job(video)["attempt"] == 1
    world.check_swept(video, world.check_published(video))


@pytest.mark.world(LEASE="30")
def test_claim(proxied, clips):
    """The job is handed out again to the same worker, long before its lease
    ends, as another attempt."""
    world, proxy = proxied
    proxy.cut("job_claim_next")
    video, _ = world.add(clips["short"])
    world.worker()
    world.wait(video, timeout=15)
    assert proxy.done == ["job_claim_next"]
    assert [a["outcome"] for a in world.attempts(video)] == \
        ["unanswered", "completed"]
    assert world.job(video)["lost_count"] == 0
    world.check_swept(video, world.check_published(video))


@pytest.mark.world(LEASE="30")
def test_failure(proxied, clips):
    """A failure told twice counts once."""
    world, proxy = proxied
    broken = world.run.path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 5000)
    proxy.cut("job_fail")
    worker = world.worker()
    video, _ = world.add(broken)
    job = world.wait(video, "failed")
    assert job["error_class"] == "permanent"
    assert proxy.done == ["job_fail"]
    assert len(world.attempts(video)) == 1
    again, _ = world.add(clips["short"])
    world.wait(again)
    wait_until(lambda: world.prefixes(video) == [], 5, "it was dropped")
    assert "lost to another" not in worker.logfile.read_text()
