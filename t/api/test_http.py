"""HTTP itself: what NGINX's core refuses stays refused, in our words where it
has any, and the module does not weaken it."""

import socket

import pytest
import wire
from rig import Stack, wait_until
from wire import Wire, chunk, head, mp4

API = "/api/v1/videos"


def send(stack, data, timeout=15):
    return wire.request(stack.nginx, data.encode("latin-1")
                        if isinstance(data, str) else data, timeout=timeout)


def get(stack, line, *headers, auth=True):
    lines = [line, *headers]
    if auth:
        lines.append("Authorization: Bearer " + stack.token())
    return send(stack, "\r\n".join([*lines, "Connection: close", "", ""]))


def is_problem(a, status):
    assert a is not None and a.status == status, a
    assert a.get("content-type") == "application/problem+json", a
    doc = a.json()
    assert doc["status"] == status
    assert doc["requestId"] == a.get("x-request-id")
    assert "nginx" not in a.body.decode().lower()
    return doc


# -- request line and host ---------------------------------------------------


@pytest.mark.parametrize("line, headers, status", [
    (f"GET {API} HTTP/1.1", [], 400),                          # no Host
    (f"GET {API} HTTP/1.1", ["Host: a", "Host: b"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "Host: a"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a b"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a/b"], 400),
    (f"GET {API} HTTP/1.1", ["Host: "], 400),
    (f"GET {API} HTTP/2.0", ["Host: a"], 505),
    (f"GET {API} HTTP/9.9", ["Host: a"], 505),
    (f"GET {API} HTTP/1.x", ["Host: a"], 400),
    (f"GET {API} HTP/1.1", ["Host: a"], 400),
    (f"get {API} HTTP/1.1", ["Host: a"], 400),
    (f"G\x00T {API} HTTP/1.1", ["Host: a"], 400),
    (f"GET {API}\x00 HTTP/1.1", ["Host: a"], 400),
    (f"GET {API}/%00 HTTP/1.1", ["Host: a"], 400),
    (f"GET {API}/%zz HTTP/1.1", ["Host: a"], 400),
    (f"GET {API}/\x01 HTTP/1.1", ["Host: a"], 400),
    (f"GET {API}/a b HTTP/1.1", ["Host: a"], 400),
    ("GET /../.. HTTP/1.1", ["Host: a"], 400),
    ("GET /%2e%2e%2f HTTP/1.1", ["Host: a"], 400),
    ("GET /api/v1/../../../etc/passwd HTTP/1.1", ["Host: a"], 400),
    ("GET api/v1/videos HTTP/1.1", ["Host: a"], 400),
    ("CONNECT localhost:80 HTTP/1.1", ["Host: a"], 400),
    ("CONNECT /api/v1/videos HTTP/1.1", ["Host: a"], 405),
    (f"GET {API} HTTP/1.1", ["Host: a", "X-A: b\x00c"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "X A: b"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "X-A : b"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "X-A: b", " folded"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "Content-Length: -1"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "Content-Length: +4"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "Content-Length: 4, 4"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "Content-Length: 0x10"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a",
                             "Content-Length: 18446744073709551616"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "Content-Length: 4",
                             "Content-Length: 4"], 400),
    (f"GET {API} HTTP/1.1", ["Host: a", "Content-Length: 4",
                             "Content-Length: 5"], 400),
    (f"POST {API}/upload HTTP/1.1", ["Host: a", "Content-Length: 4",
                                     "Transfer-Encoding: chunked"], 400),
    (f"POST {API}/upload HTTP/1.1", ["Host: a", "Transfer-Encoding: chunked",
                                     "Transfer-Encoding: chunked"], 400),
    (f"POST {API}/upload HTTP/1.0", ["Host: a",
                                     "Transfer-Encoding: chunked"], 400),
    (f"POST {API}/upload HTTP/1.1", ["Host: a",
                                     "Transfer-Encoding: gzip, chunked"], 501),
    (f"POST {API}/upload HTTP/1.1", ["Host: a",
                                     "Transfer-Encoding: xchunked"], 501),
    (f"POST {API}/upload HTTP/1.1", ["Host: a",
                                     "Transfer-Encoding: identity"], 501),
], ids=lambda v: None)
def test_refused_by_the_core(stack, line, headers, status):
    is_problem(get(stack, line, *headers), status)


def test_unknown_method(stack):
    for method in ("FOO", "BREW", "M-SEARCH", "PURGE"):
        a = get(stack, f"{method} {API} HTTP/1.1", "Host: a")
        if a.status == 400:             # no token of the core's parser
            is_problem(a, 400)
        else:
            is_problem(a, 405)
            assert a.get("allow") == "GET, HEAD, OPTIONS"
    a = get(stack, f"TRACE {API} HTTP/1.1", "Host: a")
    assert a.status == 405


def test_no_second_decoding(stack):
    for path in ("%252e%252e%252fetc%252fpasswd", "%252e%252e", "%2525"):
        a = get(stack, f"GET {API}/{path} HTTP/1.1", "Host: a")
        assert a.status in (400, 404), a
        assert a.json()["code"] in ("invalid_id", "not_found")


def test_http_09(stack):
    """The core serves it; the API closes."""
    with Wire(stack.nginx) as w:
        w.send(f"GET {API}\r\n")
        assert w.closed()


def test_http_10(stack):
    a = send(stack, f"GET {API} HTTP/1.0\r\nAuthorization: Bearer "
             f"{stack.token()}\r\n\r\n")
    assert a.status == 200 and a.get("connection") == "close"
    body = wire.video_form()
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), len(body)).replace(b"HTTP/1.1",
                                                      b"HTTP/1.0") + body)
        assert w.answer().status == 201


# -- sizes --------------------------------------------------------------------


def test_long_uri(stack):
    is_problem(get(stack, f"GET {API}?x={'y' * 9000} HTTP/1.1", "Host: a"),
               414)
    is_problem(get(stack, f"GET {API}/{'y' * 9000} HTTP/1.1", "Host: a"), 414)
    # below it
    a = get(stack, f"GET {API}?x={'y' * 7000} HTTP/1.1", "Host: a")
    assert a.status == 200


def test_long_headers(stack):
    doc = is_problem(get(stack, f"GET {API} HTTP/1.1", "Host: a",
                         "X-A: " + "b" * 9000), 400)
    assert doc["code"] == "headers_too_large"
    doc = is_problem(get(stack, f"GET {API} HTTP/1.1", "Host: a",
                         *[f"X-{i}: {'b' * 1000}" for i in range(100)]), 400)
    assert doc["code"] == "headers_too_large"


def test_line_without_colon(stack):
    """The core ignores it; so do we."""
    assert get(stack, f"GET {API} HTTP/1.1", "Host: a",
               "nonsense").status in (200, 400)


def test_bare_line_feeds(stack):
    a = send(stack, f"GET {API} HTTP/1.1\nHost: a\nConnection: close\n"
             f"Authorization: Bearer {stack.token()}\n\n")
    assert a.status == 200


# -- chunks -------------------------------------------------------------------


@pytest.mark.parametrize("bad", [
    b"x\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"0x5\r\nhello\r\n",
    b"5 \r\nhello\r\n;", b"5\r\nhelloX\r\n", b"\r\n", b"5;\x00\r\nhello",
    b"g\r\n", b"+5\r\nhello\r\n", b" 5\r\nhello\r\n"])
def test_bad_chunks(stack, bad):
    """400 at once, or the connection's end; never a video."""
    before = wire.videos(stack)
    body = wire.video_form(mp4(300_000))
    for lead in (b"", chunk(body[:250_000])):
        with Wire(stack.nginx) as w:
            w.send(head(stack.token(), chunked=True) + lead + bad)
            w.half_close()
            a = w.answer()
            assert a is None or a.status in (400, 408), (bad, a)
            if a is not None and a.status == 400:
                is_problem(a, 400)
    assert wire.videos(stack) == before


def test_chunk_extensions_and_trailers(stack):
    data = mp4(50_000)
    body = wire.video_form(data)
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), chunked=True))
        at = 0
        for n in (1, 10, 1000, len(body)):
            piece = body[at:at + n]
            w.send(b"%X;name=%s\r\n" % (len(piece), b"v" * 1024) + piece
                   + b"\r\n")
            at += n
        w.send(b"0;last\r\nX-Trailer: y\r\n\r\n")
        a = w.answer()
    assert a.status == 201, a
    assert wire.originals(stack)[a.json()["id"]].read_bytes() == data


def test_one_byte_chunks(stack):
    data = mp4(3000)
    body = wire.video_form(data)
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), chunked=True)
               + b"".join(chunk(body[i:i + 1]) for i in range(len(body)))
               + b"0\r\n\r\n")
        a = w.answer()
    assert wire.originals(stack)[a.json()["id"]].read_bytes() == data


# -- expectations --------------------------------------------------------------


def test_continue_only_after_the_checks(stack):
    """100 for who may send; the final status at once for who may not."""
    body = wire.video_form()
    cases = [(None, len(body), {}, 401), (stack.token(), 2**40, {}, 413),
             (stack.token(), 100, {"content_type": "text/plain"}, 415),
             (stack.token(), 100, {"content_type": "multipart/form-data"}, 400),
             (stack.token(), 100, {"path": API}, 405),
             (stack.token(), 100, {"path": "/api/v1/nothing"}, 404)]
    for token, length, kw, status in cases:
        with Wire(stack.nginx) as w:
            w.send(head(token, length, extra=["Expect: 100-continue"], **kw))
            a = w.answer()
            is_problem(a, status)
            assert a.interim == []
            assert w.closed()
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), chunked=True,
                    extra=["Expect: 100-continue"]))
        wait_until(lambda: w.buf or w._more(), 5)
        assert w.buf.startswith(b"HTTP/1.1 100")
        w.send(chunk(body) + b"0\r\n\r\n")
        assert w.answer().status == 201


def test_unknown_expectation(stack):
    for value in ("200-ok", "x=y", "100-continue, x"):
        a = get(stack, f"GET {API} HTTP/1.1", "Host: a", f"Expect: {value}")
        is_problem(a, 417)


# -- connections ---------------------------------------------------------------


def test_pipelining(stack):
    token = stack.token()
    one = f"GET {API}?limit=%d HTTP/1.1\r\nHost: a\r\n" \
          f"Authorization: Bearer {token}\r\n\r\n"
    with Wire(stack.nginx) as w:
        w.send("".join(one % n for n in (1, 2, 3)))
        for n in (1, 2, 3):
            a = w.answer()
            assert a.status == 200
            assert a.json()["pagination"]["limit"] == n


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_where_none_belongs(stack, method, chunked):
    """Discarded; the connection stays in step or is closed."""
    token = stack.token()
    body = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    path = "/api/v1/videos/00000000-0000-0000-0000-000000000000"
    with Wire(stack.nginx) as w:
        h = head(token, None if chunked else len(body), method=method,
                 path=path, content_type="text/plain", chunked=chunked)
        w.send(h + (chunk(body) + b"0\r\n\r\n" if chunked else body))
        w.send(head(token, method="GET", path=API, content_type=""))
        a = w.answer(head=method == "HEAD")
        assert a.status == 404, a
        b = w.answer()
        assert b is None or b.status == 200, b


def test_large_body_where_none_belongs(stack):
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), 10**9, method="GET", path=API,
                    content_type="text/plain"))
        a = w.answer()
        assert a.status in (200, 413), a


def test_requests_after_an_upload(stack):
    """The body ends where its length says; what follows is a request."""
    body = wire.video_form()
    token = stack.token()
    with Wire(stack.nginx) as w:
        w.send(head(token, len(body)) + body
               + head(token, method="GET", path=API, content_type=""))
        assert w.answer().status == 201
        assert w.answer().status == 200
    with Wire(stack.nginx) as w:
        w.send(head(token, chunked=True) + chunk(body) + b"0\r\n\r\n"
               + head(token, method="GET", path=API, content_type=""))
        assert w.answer().status == 201
        assert w.answer().status == 200


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), bytes(64), b"\r\n" * 50,
    b"\xff" * 100, b"SSH-2.0-x\r\n", b"GET", b"{}"])
def test_other_protocols(stack, data):
    with Wire(stack.nginx) as w:
        w.send(data)
        w.half_close()
        a = w.answer()
        assert a is None or a.status in (400, 505), a


def test_slow_headers_and_body(run):
    """Closed at the timeout, without an answer, and noted as 408."""
    stack = Stack(run, worker=False, h2c=True,
                  http={"client_header_timeout": "1s",
                        "client_body_timeout": "1s"})
    with Wire(stack.nginx) as w:
        w.send(f"GET {API} HTTP/1.1\r\nHost: a\r\nX-")
        assert w.closed()
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), 1000) + wire.video_form()[:50])
        assert w.closed()
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), chunked=True) + b"5\r\nhel")
        assert w.closed()
    with wire.H2(stack.nginx) as h:
        stream = h.begin(stack.token())
        h.send(stream, wire.video_form()[:50])
        h.answer(stream)
        assert stream not in h.status
    wait_until(lambda: stack.nginx.access_log.read_text().count(" 408 ") >= 3,
               10)
    stack.check_logs()


def test_tls(stack):
    """The same over TLS, HTTP/1.1 and HTTP/2."""
    for http2 in (False, True):
        import httpx
        with httpx.Client(base_url=stack.nginx.tls_url, http2=http2,
                          http1=not http2, verify=False, timeout=30,
                          headers={"Authorization":
                                   "Bearer " + stack.token()}) as c:
            data = mp4(700_000, seed=int(http2))
            r = c.post(API + "/upload", data={"title": "tls"},
                       files={"file": ("x.mp4", data)})
            assert r.status_code == 201, r.text
            assert r.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            kept = wire.originals(stack)[r.json()["id"]]
            assert kept.read_bytes() == data
            r = c.get(f"{API}/{r.json()['id']}/download?format=original")
            assert r.content == data


def test_http_request_on_the_tls_port(stack):
    s = socket.create_connection(("127.0.0.1", stack.nginx.tls_port), 10)
    with s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 400 " in s.recv(65536)


# -- limits of NGINX's own modules -----------------------------------------------


def test_rate_limit(run):
    """limit_req by $avp_user: 429 as a problem; other users are not slowed
    down, and a bad token has no share of anybody's."""
    stack = Stack(run, worker=False,
                  http_extra="limit_req_zone $avp_user zone=u:1m rate=1r/s;"
                             "limit_req_status 429; limit_conn_zone "
                             "$binary_remote_addr zone=c:1m;"
                             "limit_conn_status 429;",
                  locations={"/api/v1/": "avp_api; client_max_body_size 0; "
                             "limit_req zone=u burst=2 nodelay;",
                             "/v/": "root {storage}; avp_delivery; "
                             "limit_conn c 2;"})
    other = stack.add_user("calm@example.com")
    with stack.client() as c, stack.client(other) as d:
        answers = [c.get(API) for _ in range(8)]
        assert [r.status_code for r in answers].count(429) >= 4
        late = answers[-1]
        wire.problem(late, 429, "rate_limited")
        assert int(late.headers["retry-after"]) >= 1
        assert d.get(API).status_code == 200
    for _ in range(6):
        a = send(stack, f"GET {API} HTTP/1.1\r\nHost: a\r\n"
                 f"Authorization: Bearer {stack.token()}x\r\n"
                 "Connection: close\r\n\r\n")
        is_problem(a, 401)
    stack.check_logs()


def test_access_rules_still_hold(run):
    """deny and satisfy are the operator's: the module stands behind them."""
    stack = Stack(run, worker=False, locations={
        "/api/v1/": "avp_api; deny all;",
        "/v/": "root {storage}; avp_delivery; satisfy any; deny all;"})
    with stack.client() as c:
        wire.problem(c.get(API), 403, "forbidden")
        wire.problem(c.get("/v/x"), 403, "forbidden")
    stack.check_logs()


def test_many_idle_connections(stack):
    import contextlib
    with contextlib.ExitStack() as many:
        ws = [many.enter_context(Wire(stack.nginx)) for _ in range(300)]
        for w in ws[::3]:
            w.send("GET ")
        a = wire.request(stack.nginx, head(stack.token(), method="GET",
                                           path=API, content_type=""))
        assert a.status == 200
