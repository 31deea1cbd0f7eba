"""Uploads that work and uploads that do not: on the wire, on the disk, in the
database."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest
import wire
from rig import Run, Stack, wait_until
from wire import Wire, chunk, form, head, mp4, part, pieces, post, problem, sha

from conftest import tidy

UPLOAD = "/api/v1/videos/upload"


def row_of(stack, video):
    return stack.pg.query("SELECT * FROM videos WHERE id = %s", (video,))[0]


# -- what an upload is ------------------------------------------------------


def test_shape(stack):
    """201 with the source's shape, Location, one row, one job, the bytes on
    the disk, an event, a wake-up."""
    data = mp4(300_000)
    watch = stack.redis.connect().pubsub()
    watch.psubscribe("avp:*")
    with stack.client() as c:
        r = c.post(UPLOAD, files={"file": ("My clip.mp4", data, "video/mp4")},
                   data={"title": "Ein Titel – 日本", "description": "one\ntwo",
                         "metadata": '{"a": [1, {"b": null}]}',
                         "priority": "-3", "unknown": "x" * 1000})
    assert r.status_code == 201, r.text
    doc = r.json()
    assert doc["status"] == "pending" and doc["uploadProgress"] == 100
    assert doc["filename"] == "My clip.mp4"
    assert doc["title"] == "Ein Titel – 日本"
    assert doc["url"] == f"{stack.nginx.url}/api/v1/videos/{doc['id']}"
    assert r.headers["location"] == f"/api/v1/videos/{doc['id']}"
    assert r.headers["cache-control"] == "no-store"

    row = row_of(stack, doc["id"])
    assert row["original_size"] == len(data)
    assert row["description"] == "one\ntwo"
    assert row["metadata"] == {"a": [1, {"b": None}]}
    assert row["container"] == "mp4" and row["s3_bucket"] == "file"
    assert row["s3_key"] == f"originals/{doc['id']}/source.mp4"
    assert row["filename"] == "My clip.mp4"
    jobs = stack.pg.query("SELECT * FROM processing_jobs WHERE video_id = %s",
                          (doc["id"],))
    assert [str(j["id"]) for j in jobs] == [doc["jobId"]]
    assert jobs[0]["priority"] == -3 and jobs[0]["status"] == "pending"

    path = stack.storage / row["s3_key"]
    assert sha(path.read_bytes()) == sha(data)
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750

    audit = stack.pg.query("SELECT * FROM audit_logs WHERE resource_id = %s",
                           (doc["id"],))
    assert [a["action"] for a in audit] == ["video.create"]

    redis = stack.redis.connect()
    wait_until(lambda: redis.lrange("avp:jobs", 0, -1), 5)
    assert doc["jobId"].encode() in [
        x if isinstance(x, bytes) else x.encode()
        for x in redis.lrange("avp:jobs", 0, -1)]
    seen = set()

    def heard():
        m = watch.get_message(timeout=0.1)
        if m and m["type"] == "pmessage":
            name = m["channel"]
            seen.add(name.decode() if isinstance(name, bytes) else name)
        return seen >= {f"avp:ev:v:{doc['id']}", f"avp:ev:u:{stack.user}",
                        "avp:inv"}

    wait_until(heard, 5, "the event on its channels")
    redis.delete("avp:jobs")


@pytest.mark.parametrize("size", [1, 100, 4095, 4096, 4097, 196_607, 196_608,
                                  196_609, 393_216, 393_217, 1_000_000])
def test_sizes(stack, size):
    """Around every edge of the buffers; a file of a few bytes is too short
    to be a video."""
    data = mp4(size)
    a = post(stack, wire.video_form(data))
    if size < 8:
        a.problem(415, "unsupported_media_type")
        return
    assert a.status == 201, a
    assert sha(wire.originals(stack)[a.json()["id"]].read_bytes()) == sha(data)


@pytest.mark.parametrize("how", ["length", "chunked", "h2", "h2-no-length",
                                 "expect"])
def test_framings(stack, how):
    data = mp4(1_500_000, seed=3)
    body = wire.video_form(data)
    token = stack.token()
    headers = {"Content-Type":
               f"multipart/form-data; boundary={wire.BOUNDARY}"}

    def stream():
        for at in range(0, len(body), 37_777):
            yield body[at:at + 37_777]

    if how == "length":
        a = post(stack, body)
        status, doc = a.status, a.json()
    elif how == "chunked":
        with Wire(stack.nginx) as w:
            w.send(head(token, chunked=True))
            for p in stream():
                w.send(chunk(p))
            w.send(b"0\r\n\r\n")
            a = w.answer()
        status, doc = a.status, a.json()
    elif how == "expect":
        with Wire(stack.nginx) as w:
            w.send(head(token, len(body), extra=["Expect: 100-continue"]))
            wait_until(lambda: w.buf or w._more(), 5)
            assert w.buf.startswith(b"HTTP/1.1 100 ")
            w.send(body)
            a = w.answer()
        assert a.interim == [100]
        status, doc = a.status, a.json()
    else:
        with stack.client(http2=True) as c:
            r = c.post(UPLOAD, content=body if how == "h2" else stream(),
                       headers=headers)
        assert r.http_version == "HTTP/2"
        status, doc = r.status_code, r.json()
    assert status == 201, doc
    assert sha(wire.originals(stack)[doc["id"]].read_bytes()) == sha(data)


def test_keepalive(stack):
    """A connection serves one upload after another, also after a refusal at
    the body's end."""
    body = wire.video_form()
    bad = form(part("file", mp4(), "x.mp4"))
    with Wire(stack.nginx) as w:
        for expect, b in ((201, body), (422, bad), (201, body)):
            w.send(head(stack.token(), len(b)) + b)
            assert w.answer().status == expect


SPLITS = 200


@pytest.mark.parametrize("quarter", range(4))
def test_splits(stack, quarter):
    """The same bytes whatever the pieces: a body that teases the parser, cut
    at random places, sent with length and chunked."""
    rng = random.Random(quarter)
    tease = (b"\r\n--" + wire.BOUNDARY.encode()[:-1] + b"x"
             + b"\r\n\r\n--" + wire.BOUNDARY.encode() + b"x\r"
             + b"\r\n-" * 50)
    token = stack.token()
    for i in range(SPLITS // 4):
        data = mp4(rng.choice([50, 5000, 60_000, 250_000]), seed=i) + tease
        data += b"\r\n--"[:rng.randrange(5)]
        order = [part("title", f"split {i}"), part("file", data, "s.mp4"),
                 part("description", "after")]
        rng.shuffle(order)
        body = form(*order)
        cuts = {rng.randrange(len(body)) for _ in range(rng.randrange(1, 40))}
        at = body.find(b"\r\n--" + wire.BOUNDARY.encode() + b"--")
        cuts |= {at + rng.randrange(-3, len(wire.BOUNDARY) + 8)
                 for _ in range(4)}
        cuts = {c for c in cuts if 0 < c < len(body)}
        with Wire(stack.nginx) as w:
            if i % 2:
                w.send(head(token, chunked=True))
                ok = wire.trickle(w, map(chunk, pieces(body, cuts)))
                w.send(b"0\r\n\r\n")
            else:
                w.send(head(token, len(body)))
                ok = wire.trickle(w, pieces(body, cuts))
            a = w.answer()
        assert ok and a.status == 201, (i, a)
        kept = wire.originals(stack)[a.json()["id"]].read_bytes()
        assert sha(kept) == sha(data), (i, len(kept), len(data))


def test_every_split_of_a_small_body(stack):
    """Two pieces, cut at every byte of everything that is not the file."""
    data = mp4(40)
    body = wire.video_form(data, title="t")
    token = stack.token()
    for at in range(1, len(body), 3):
        with Wire(stack.nginx) as w:
            w.send(head(token, len(body)))
            wire.trickle(w, [body[:at], body[at:]])
            a = w.answer()
        assert a.status == 201, (at, a)
        assert wire.originals(stack)[a.json()["id"]].read_bytes() == data


def test_parallel(stack):
    """Many at once share the threads and each gets its own bytes."""
    failures = []

    def one(i):
        data = mp4(700_000 + i, seed=i)
        a = post(stack, wire.video_form(data), timeout=60)
        if (a.status != 201 or
                sha(wire.originals(stack)[a.json()["id"]].read_bytes())
                != sha(data)):
            failures.append((i, a))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures


# -- decided early ----------------------------------------------------------


def refused_early(stack, data, status, code, keep_sending=True):
    """The answer comes although the rest of the body never does."""
    with Wire(stack.nginx) as w:
        w.send(data)
        a = w.answer()
        a.problem(status, code)
        assert a.get("connection") == "close", a
        assert 100 not in a.interim, a
        return a


HUGE = 4 * 1024 * 1024 + 512 * 1024 + 1        # avp_max_video_size + framing


def test_no_token_before_the_body(stack):
    a = refused_early(stack, head(None, 1000, extra=["Expect: 100-continue"]),
                      401, "invalid_token")
    assert a.get("www-authenticate").startswith("Bearer ")
    # over the limit: 401 all the same
    refused_early(stack, head(None, 2**62), 401, "invalid_token")


@pytest.mark.parametrize("length", [HUGE, 2**40, 2**63 - 1])
def test_too_large_by_length(stack, length):
    refused_early(stack, head(stack.token(), length,
                              extra=["Expect: 100-continue"]),
                  413, "too_large")


def test_largest_file(stack):
    """The file may be as large as the limit says, and not a byte larger."""
    limit = 4 * 1024 * 1024
    a = post(stack, wire.video_form(mp4(limit)))
    assert a.status == 201, a
    a = post(stack, wire.video_form(mp4(limit + 1)))
    a.problem(413, "too_large")


def test_too_large_by_counting(stack):
    """Chunked: nobody says the length.  The answer arrives although the
    client goes on sending."""
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), chunked=True))
        piece = chunk(os.urandom(65_536))
        begin = wire.video_form(mp4(1000), close=False)
        w.send(chunk(begin))
        sent = 0
        while sent < 12_000_000 and w.send(piece):
            sent += 65_536
        a = w.answer()
        if a is not None:              # else reset after the answer was sent
            a.problem(413, "too_large")
    # the answer goes out first, the file goes with the request
    wait_until(lambda: wire.incoming(stack) == [], 10)


def test_no_length(stack):
    a = refused_early(stack, head(stack.token()), 411, "length_required")
    assert a.get("content-length")


@pytest.mark.parametrize("value", [
    "application/json", "video/mp4", "multipart/mixed; boundary=x",
    "application/x-www-form-urlencoded", "", "multipart/form-dat; boundary=x"])
def test_wrong_content_type(stack, value):
    refused_early(stack, head(stack.token(), 1000, content_type=value),
                  415, "unsupported_media_type")


FOREIGN = {
    "html": b"<!DOCTYPE html><html><script>alert(1)</script>",
    "m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\nfile:///etc/passwd\n",
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "gif": b"GIF89a",
    "zip": b"PK\x03\x04",
    "pdf": b"%PDF-1.7",
    "mp3": b"ID3\x04\0\0",
    "elf": b"\x7fELF\x02\x01\x01",
    "zeros": b"",
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0",
    "flv": b"FLV\x01\x05\0\0\0\x09",          # a video, but not allowed here
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_not_a_video(stack, kind):
    """415 after the first kilobytes, before the rest is sent."""
    data = FOREIGN[kind].ljust(8192, b"\0")
    body = wire.video_form(data, close=False)
    refused_early(stack, head(stack.token(), 3_000_000) + body,
                  415, "unsupported_media_type")


@pytest.mark.parametrize("kind", FOREIGN)
def test_not_a_video_and_short(stack, kind):
    a = post(stack, wire.video_form(FOREIGN[kind] or b"\0"))
    a.problem(415, "unsupported_media_type")


ALLOWED = {
    "mp4": mp4(5000),
    "mov": b"\0\0\0\x14ftypqt  \0\0\0\0qt  ".ljust(5000, b"\0"),
    "avi": b"RIFF\x00\x10\0\0AVI LIST".ljust(5000, b"\0"),
    "mkv": (b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska"
            b"\x42\x87\x81\x04\x42\x85\x81\x02").ljust(5000, b"\0"),
    "webm": (b"\x1a\x45\xdf\xa3\x8f\x42\x82\x84webm"
             b"\x42\x87\x81\x04\x42\x85\x81\x02").ljust(5000, b"\0"),
}


@pytest.mark.parametrize("kind", ALLOWED)
def test_containers(stack, kind):
    """The content decides; name and Content-Type do not."""
    a = post(stack, form(part("title", kind),
                         part("file", ALLOWED[kind], "x.html",
                              ["Content-Type: text/html"])))
    assert a.status == 201, a
    row = row_of(stack, a.json()["id"])
    assert row["container"] == kind
    assert row["s3_key"].endswith(f"/source.{kind}")


def test_field_refused_before_the_file(stack):
    """A bad title ends it although megabytes are announced."""
    body = form(part("title", "x" * 256), part("file", mp4(100), "x"),
                close=False)
    refused_early(stack, head(stack.token(), 3_000_000) + body,
                  422, "invalid_field")


def test_answer_reaches_a_client_that_sends(stack):
    """Lingering close: who sends 3 MB into a refusal still reads it."""
    body = wire.video_form(b"no video at all " * 190_000)
    for _ in range(10):
        a = post(stack, body)
        a.problem(415, "unsupported_media_type")


def test_refusal_over_http2(stack):
    """The answer ends the stream (RFC 9113 8.1: RST_STREAM NO_ERROR), not the
    connection."""
    with wire.H2(stack.nginx) as h:
        stream = h.begin(stack.token())
        h.send(stream, wire.video_form(b"text" * 400_000))
        status, body = h.answer(stream)
        assert status == 415, body
        assert json.loads(body)["code"] == "unsupported_media_type"
        assert h.resets.get(stream, 0) == 0
        stream = h.begin(stack.token(), "GET", "/api/v1/videos", end=True)
        assert h.answer(stream)[0] == 200
        data = mp4(600_000)
        stream = h.begin(stack.token())
        h.send(stream, wire.video_form(data), end=True)
        status, body = h.answer(stream)
        assert status == 201, body
        path = wire.originals(stack)[json.loads(body)["id"]]
        assert path.read_bytes() == data


# -- given up by the client -------------------------------------------------


def stages():
    body = wire.video_form(mp4(900_000))
    return {
        "headers": b"",
        "preamble": body[:20],
        "title": body[:110],
        "part header": body[:190],
        "sniffing": body[:2000],
        "first half": body[:100_000],
        "first write": body[:250_000],
        "both halves": body[:600_000],
        "after the file": body[:-10],
    }


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stage", stages())
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_abort(stack, stage, how, framing):
    before = wire.videos(stack)
    sent = stages()[stage]
    with Wire(stack.nginx) as w:
        if framing == "length":
            w.send(head(stack.token(), 901_000) + sent)
        else:
            w.send(head(stack.token(), chunked=True)
                   + (chunk(sent) if sent else b""))
        if len(sent) > 200_000:
            wait_until(lambda: wire.incoming(stack), 5, "a file is begun")
        else:
            time.sleep(0.02)
        if how == "rst":
            w.reset()
    assert wire.videos(stack) == before


def test_abort_in_many_ways_leaves_nothing(stack):
    """Random moments, many at once; descriptors and memory come back."""
    rng = random.Random(5)
    body = wire.video_form(mp4(2_000_000))
    post(stack, wire.video_form())
    wait_until(lambda: stack.nginx.active() == 0, 10)
    fds = stack.nginx.fd_count()
    before = wire.videos(stack)

    def one():
        with Wire(stack.nginx) as w:
            w.send(head(stack.token(), len(body) + 5))
            wire.trickle(w, pieces(body[:rng.randrange(len(body))],
                                   [50_000, 300_000]))
            if rng.random() < 0.5:
                w.reset()

    for _ in range(6):
        threads = [threading.Thread(target=one) for _ in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    stack.nginx.settled(fds + 8)
    assert wire.videos(stack) == before


@pytest.mark.parametrize("how", ["reset", "close", "goaway", "rst"])
def test_abort_http2(stack, how):
    """RST_STREAM and connections that end in mid-upload."""
    before = wire.videos(stack)
    with wire.H2(stack.nginx) as h:
        stream = h.begin(stack.token())
        h.send(stream, wire.video_form(mp4(900_000))[:600_000])
        wait_until(lambda: wire.incoming(stack), 5, "a file is begun")
        if how == "reset":
            h.c.reset_stream(stream)
            h.flush()
            wait_until(lambda: not wire.incoming(stack), 10)
            stream = h.begin(stack.token(), "GET", "/api/v1/videos", end=True)
            assert h.answer(stream)[0] == 200
        elif how == "goaway":
            h.c.close_connection()
            h.flush()
        elif how == "rst":
            wire.reset(h.s)
    wait_until(lambda: not wire.incoming(stack), 10)
    assert wire.videos(stack) == before


def test_client_gone_at_the_end(stack):
    """All bytes sent, then nobody waits for the answer: the video may be
    there or not, but whole."""
    data = mp4(200_000)
    body = wire.video_form(data)
    for how in ("fin", "rst") * 5:
        with Wire(stack.nginx) as w:
            w.send(head(stack.token(), len(body)) + body)
            if how == "rst":
                w.reset()
    tidy(stack)
    for path in wire.originals(stack).values():
        assert path.stat().st_size > 0


# -- services that fail -----------------------------------------------------


def test_redis_down(stack):
    """A Redis failure never fails an upload."""
    stack.redis.kill()
    try:
        a = post(stack, wire.video_form())
        assert a.status == 201, a
    finally:
        stack.redis.start()


@pytest.fixture
def lonely(run):
    """A system of its own, to be broken."""
    made = []

    def make(**kw):
        kw.setdefault("worker", False)
        kw.setdefault("http", {})
        stack = Stack(run, **kw)
        made.append(stack)
        return stack

    yield make


def test_database_down(lonely):
    """503, and nothing is kept: the statement was never sent."""
    stack = lonely(http={"avp_database":
                         "env:DATABASE_URL connections=2 timeout=1s"})
    stack.pg.stop()
    try:
        a = post(stack, wire.video_form(mp4(500_000)))
        a.problem(503, "unavailable")
        assert int(a.get("retry-after")) > 0
        wait_until(lambda: not list(stack.storage.glob("originals/*")), 5)
        assert wire.incoming(stack) == []
    finally:
        stack.pg.start()
    stack.nginx.check_log()


def test_commit_in_doubt(lonely):
    """The database stops while it has the statement: 503, and the file stays,
    for the row may be there.  It is, once the database goes on."""
    stack = lonely(http={"avp_database":
                         "env:DATABASE_URL connections=1 timeout=2s"})
    post(stack, wire.video_form())           # the connection stands
    body = wire.video_form(mp4(400_000))
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), len(body)) + body[:-30])
        wait_until(lambda: wire.incoming(stack), 5)
        stack.pg.freeze()
        try:
            w.send(body[-30:])
            w.answer().problem(503, "unavailable")
            assert len(wire.originals(stack)) == 2
        finally:
            stack.pg.thaw()
    wait_until(lambda: stack.nginx.active() == 0, 10)
    assert len(wire.originals(stack)) == 2
    assert wire.incoming(stack) == []
    assert wire.videos(stack) <= set(wire.originals(stack))
    assert "left to gc" in stack.nginx.log_text()
    stack.nginx.check_log()


def test_client_gone_during_commit(lonely):
    """The operation runs to its end without its request."""
    stack = lonely(http={"avp_database":
                         "env:DATABASE_URL connections=1 timeout=10s"})
    post(stack, wire.video_form())
    before = wire.videos(stack)
    body = wire.video_form(mp4(400_000))
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), len(body)) + body[:-30])
        wait_until(lambda: wire.incoming(stack), 5)
        stack.pg.freeze()
        w.send(body[-30:])
        wait_until(lambda: not wire.incoming(stack), 5, "it is committed")
    try:
        wait_until(lambda: stack.nginx.active() == 0, 10)
    finally:
        stack.pg.thaw()
    wait_until(lambda: len(wire.videos(stack)) == len(before) + 1, 10)
    assert wire.videos(stack) == set(wire.originals(stack))
    stack.nginx.check_log()


def test_user_disabled_meanwhile(lonely):
    """The token was good when the upload began; the database knows better."""
    stack = lonely()
    user = stack.add_user("gone@example.com")
    body = wire.video_form(mp4(400_000))
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(user), len(body)) + body[:-30])
        wait_until(lambda: wire.incoming(stack), 5)
        stack.pg.query("UPDATE users SET is_active = false WHERE id = %s",
                       (user,))
        w.send(body[-30:])
        w.answer().problem(401, "invalid_token")
    tidy(stack)
    assert not wire.originals(stack)
    assert list(stack.storage.glob("originals/*")) == []


@pytest.mark.parametrize("known", [True, False])
def test_disk_full(run, known):
    """507: at once when the length says so, else when the disk does."""
    place = run.folder("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=755",
                    "tmpfs", str(place)], check=True)
    try:
        stack = Stack(run, worker=False, start=False)
        stack.nginx.storage = stack.storage = place
        stack.nginx.start()
        body = wire.video_form(mp4(8_000_000))
        with Wire(stack.nginx, 30) as w:
            if known:
                w.send(head(stack.token(), len(body)) + body[:400_000])
            else:
                w.send(head(stack.token(), chunked=True))
                for at in range(0, len(body), 100_000):
                    if not w.send(chunk(body[at:at + 100_000])):
                        break
            a = w.answer()
            if a is not None:
                a.problem(507, "storage_full")
            else:
                assert not known
        wait_until(lambda: wire.incoming(stack) == [], 10)
        # there is room again
        a = post(stack, wire.video_form(mp4(1_000_000)))
        assert a.status == 201, a
        tidy(stack)
        stack.nginx.stop()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_threads_busy(run):
    """A full thread queue is 503, not a wait: one thread, no queue, and
    commits that come all at once."""
    stack = Stack(run, worker=False, start=False)
    stack.nginx.write()
    text = stack.nginx.render().replace("thread_pool avp_io threads=8 "
                                        "max_queue=4096;",
                                        "thread_pool avp_io threads=1 "
                                        "max_queue=0;")
    stack.nginx.start(text)
    body = wire.video_form(mp4(100_000))
    busy = good = 0
    for _ in range(20):
        with contextlib.ExitStack() as many:
            ws = [many.enter_context(Wire(stack.nginx)) for _ in range(16)]
            for w in ws:
                w.send(head(stack.token(), len(body)) + body[:-5])
            for w in ws:
                w.send(body[-5:])
            for w in ws:
                a = w.answer()
                if a.status == 201:
                    good += 1
                else:
                    a.problem(503, "unavailable")
                    busy += 1
        if busy and good:
            break
    assert busy and good, (busy, good)
    tidy(stack)
    assert len(wire.videos(stack)) == good


def test_storage_not_writable(run):
    """500 with a sentence in the log, and no path in the answer."""
    stack = Stack(run, worker=False)
    (stack.storage / "incoming").rename(stack.storage / "elsewhere")
    a = post(stack, wire.video_form(mp4(500_000)))
    doc = a.problem(500, "internal_error")
    assert str(stack.storage) not in json.dumps(doc)
    assert "incoming" in stack.nginx.log_text()
    (stack.storage / "elsewhere").rename(stack.storage / "incoming")
    tidy(stack)


# -- life of the server -----------------------------------------------------


def slow_upload(stack, size=3_000_000):
    """Begins an upload and returns what ends it."""
    body = wire.video_form(mp4(size))
    w = Wire(stack.nginx, 30)
    w.send(head(stack.token(), len(body)) + body[:size // 2])
    wait_until(lambda: wire.incoming(stack), 10, "a file is begun")

    def finish():
        wire.trickle(w, pieces(body[size // 2:], range(100_000, size // 2,
                                                       100_000)), 0.01)
        with w:
            return w.answer()

    return finish


def test_reload_during_upload(lonely):
    stack = lonely()
    finish = slow_upload(stack)
    old = stack.nginx.workers()
    stack.nginx.reload()
    a = finish()
    assert a.status == 201, a
    wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in old), 20,
               "the old worker ends")
    tidy(stack)


def test_quit_during_upload(lonely):
    stack = lonely()
    finish = slow_upload(stack)
    done = []
    t = threading.Thread(target=lambda: done.append(finish()))
    stack.nginx.signal(signal.SIGQUIT)
    t.start()
    t.join(60)
    assert done and done[0].status == 201, done
    wait_until(lambda: stack.nginx.pid() is None, 20)
    assert wire.incoming(stack) == []
    assert wire.videos(stack) == set(wire.originals(stack))
    stack.nginx.check_log()


def test_shutdown_timeout_during_upload(lonely):
    """worker_shutdown_timeout cuts the upload off: nothing stays."""
    stack = lonely(start=False)
    stack.nginx.write()
    text = stack.nginx.render().replace("worker_shutdown_timeout 60s",
                                        "worker_shutdown_timeout 1s")
    stack.nginx.start(text)
    slow_upload(stack)
    stack.nginx.signal(signal.SIGQUIT)
    wait_until(lambda: stack.nginx.pid() is None, 20)
    wait_until(lambda: wire.incoming(stack) == [], 10)
    assert not wire.videos(stack)
    stack.nginx.check_log()


def test_terminate_during_upload(lonely):
    """SIGTERM does not wait for clients; gc has the rest, no row has it."""
    stack = lonely()
    slow_upload(stack)
    stack.nginx.signal(signal.SIGTERM)
    wait_until(lambda: stack.nginx.pid() is None, 20)
    assert not wire.videos(stack)
    stack.nginx.check_log()


def test_without_master(lonely):
    stack = lonely(master=False)
    for size in (100, 300_000, 1_000_000):
        data = mp4(size)
        a = post(stack, wire.video_form(data))
        assert a.status == 201, a
        assert sha(wire.originals(stack)[a.json()["id"]].read_bytes()) == \
            sha(data)
    tidy(stack)


def test_body_timeout(lonely):
    """Between two reads: closed without an answer, logged as 408."""
    stack = lonely(http={"client_body_timeout": "1s"})
    for http2 in (False, True):
        if http2:
            continue
        body = wire.video_form(mp4(900_000))
        with Wire(stack.nginx) as w:
            w.send(head(stack.token(), len(body)) + body[:500_000])
            wait_until(lambda: wire.incoming(stack), 5)
            assert w.closed()
    wait_until(lambda: " 408 " in stack.nginx.access_log.read_text(), 10)
    # slow, but not that slow
    body = wire.video_form(mp4(5000))
    with Wire(stack.nginx, 30) as w:
        w.send(head(stack.token(), len(body)))
        wire.trickle(w, pieces(body, range(0, len(body), 2000)), 0.5)
        assert w.answer().status == 201
    tidy(stack)


# -- memory -----------------------------------------------------------------


def feed(w, size, block):
    """`size` bytes of a file; returns their SHA-256."""
    import hashlib
    h = hashlib.sha256()
    left = size
    while left:
        piece = block[:left]
        h.update(piece)
        w.s.sendall(piece)
        left -= len(piece)
    return h.hexdigest()


@pytest.mark.parametrize("framing", ["length", "h2"])
def test_memory(run, framing):
    """The worker grows by less than 8 MiB during a 2 GiB upload (AVP_BIG=1;
    else 512 MiB, or 64 MiB under a sanitizer and over HTTP/2)."""
    from rig import is_asan
    mib = 1024 * 1024
    size = 2048 * mib if wire.big() else 512 * mib
    if is_asan() or framing == "h2":
        size = 64 * mib
    stack = Stack(run, worker=False, h2c=True,
                  http={"avp_max_video_size": "5g"})
    for _ in range(3):
        assert post(stack, wire.video_form(mp4(1_000_000))).status == 201
    base, _ = stack.nginx.rss()
    worker = stack.nginx.workers()[0]
    before = cpu(worker)
    start = time.monotonic()
    if framing == "length":
        first = mp4(1_000_000, seed=9)
        block = random.Random(4).randbytes(4 * mib)
        begin = wire.video_form(first, close=False)
        end = f"\r\n--{wire.BOUNDARY}--\r\n".encode()
        with Wire(stack.nginx, 120) as w:
            w.send(head(stack.token(), len(begin) + size + len(end)) + begin)
            expect = feed(w, size, block)
            w.send(end)
            a = w.answer()
        assert a.status == 201, a
        doc = a.json()
        path = wire.originals(stack)[doc["id"]]
        assert path.stat().st_size == len(first) + size
        got = subprocess.run(
            ["sh", "-c", f"tail -c {size} '{path}' | sha256sum"],
            capture_output=True, text=True, check=True).stdout.split()[0]
        assert got == expect
    else:
        import httpx
        first = mp4(size)
        with httpx.Client(http1=False, http2=True, timeout=120,
                          base_url=f"http://127.0.0.1:{stack.nginx.h2c_port}",
                          headers={"Authorization":
                                   "Bearer " + stack.token()}) as c:
            r = c.post(UPLOAD, content=wire.video_form(first), headers={
                "Content-Type":
                f"multipart/form-data; boundary={wire.BOUNDARY}"})
        assert r.status_code == 201, r.text
        path = wire.originals(stack)[r.json()["id"]]
        assert sha(path.read_bytes()) == sha(first)
    seconds = time.monotonic() - start
    _, peak = stack.nginx.rss()
    grown = (peak - base) / mib
    print(f"{framing}: {size / mib:.0f} MiB in {seconds:.1f} s, worker CPU "
          f"{cpu(worker) - before:.2f} s, grew {grown:.2f} MiB")
    path.unlink()
    assert grown < 8 or is_asan()
    stack.check_logs()


def test_memory_of_each(run):
    """At most 512 KiB for each upload that runs, with the shipped
    client_body_buffer_size."""
    from rig import ROOT, is_asan
    shipped = (ROOT / "conf/avp.conf").read_text()
    size = re.search(r"client_body_buffer_size (\w+);", shipped).group(1)
    stack = Stack(run, worker=False, locations={
        "/api/v1/": "avp_api; client_max_body_size 0; "
                    f"client_body_buffer_size {size};"})
    assert post(stack, wire.video_form(mp4(1_000_000))).status == 201
    count = 60
    body = wire.video_form(mp4(900_000))
    before, _ = stack.nginx.rss()
    with contextlib.ExitStack() as many:
        ws = [many.enter_context(Wire(stack.nginx)) for _ in range(count)]
        for w in ws:
            w.send(head(stack.token(), len(body)) + body[:380_000])
        wait_until(lambda: len(wire.incoming(stack)) == count, 20)
        now, _ = stack.nginx.rss()
        for w in ws:
            w.send(body[380_000:])
        for w in ws:
            assert w.answer().status == 201
    _, peak = stack.nginx.rss()
    print(f"{(now - before) / count / 1024:.0f} KiB an upload, "
          f"{(peak - before) / count / 1024:.0f} at the peak")
    assert is_asan() or (peak - before) / count < 512 * 1024
    tidy(stack)


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
