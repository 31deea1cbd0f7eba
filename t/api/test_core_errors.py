"""What NGINX's core refuses (HOSTILE.md's framing cases), in the API's words:
problem documents under avp_api and, for what is refused before a location is
known, for the whole server; and who is asked for a token before what."""

import json
import socket

import pytest

from rig import Stack

API = "/api/v1"
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def system():
    with Stack(worker=False, h2c=True, tls=True,
               http={"avp_cors_origins": "https://app.example:8443"},
               http_extra="limit_req_zone $binary_remote_addr"
                          " zone=one:1m rate=1r/m; limit_req_status 429;"
                          " large_client_header_buffers 4 8k;"
                          " client_header_timeout 1s;",
               server="error_page 404 413 429 503 /page.html;",
               locations={
                   "/limited/": "avp_api; client_max_body_size 10;"
                                " limit_req zone=one;",
                   "/some/": "avp_api; limit_except GET { deny all; }",
                   "/old/": "avp_api; return 503;",
                   "= /page.html": "return 200 'a page for people';"}) as s:
        yield s


@pytest.fixture
def s(system):
    yield system
    system.check_logs()


class Answer:
    def __init__(self, data):
        head, self.rest = data.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {}
        for x in lines[1:]:
            k, v = x.split(":", 1)
            self.headers.setdefault(k.lower(), []).append(v.strip())
        n = int(self.headers.get("content-length", ["0"])[0])
        self.body, self.rest = self.rest[:n], self.rest[n:]

    def problem(self, status, code=None):
        assert self.status == status, (self.status, self.body)
        assert self.headers["content-type"] == [PROBLEM], self.headers
        doc = json.loads(self.body)
        assert doc["status"] == status
        assert code is None or doc["code"] == code, doc
        assert [doc["requestId"]] == self.headers["x-request-id"]
        assert self.headers["x-content-type-options"] == ["nosniff"]
        return self


def talk(s, data, timeout=10):
    """Sends bytes, reads to the end of the connection."""
    with s.nginx.socket(timeout) as c:
        c.sendall(data if isinstance(data, bytes) else data.encode())
        got = b""
        try:
            while True:
                x = c.recv(65536)
                if not x:
                    break
                got += x
        except ConnectionResetError:
            pass
        return got


def ask(s, line, headers="", body=b"", token=True, host="Host: a\r\n"):
    auth = f"Authorization: Bearer {s.token()}\r\n" if token else ""
    return Answer(talk(s, f"{line}\r\n{host}{auth}Connection: close\r\n"
                          f"{headers}\r\n".encode("latin-1") + body))


def get(s, path, headers="", **kw):
    return ask(s, f"GET {API}{path} HTTP/1.1", headers, **kw)


# -- before a location is known ------------------------------------------------

def test_no_host(s):                                                    # 1
    ask(s, f"GET {API}/videos HTTP/1.1", host="").problem(400)


def test_two_hosts(s):                                                  # 2
    get(s, "/videos", "Host: b\r\n").problem(400)


def test_http_09(s):                                                    # 3
    assert talk(s, f"GET {API}/videos\r\n") == b""
    assert talk(s, f"GET {API}/health\r\n") == b""


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/9.9"])           # 4
def test_version(s, version):
    ask(s, f"GET {API}/videos {version}").problem(
        505, "http_version_not_supported")


def test_lower_case_method(s):                                          # 5
    ask(s, f"get {API}/videos HTTP/1.1").problem(400)


@pytest.mark.parametrize("method", ["FOO", "PROPFIND", "PUT"])          # 6
@pytest.mark.parametrize("path, allow", [
    ("/videos", "GET, HEAD, OPTIONS"),
    ("/videos/upload", "POST, OPTIONS"),
    ("/videos/0a0a0a0a-0000-4000-8000-000000000000",
     "GET, HEAD, DELETE, OPTIONS")])
def test_unknown_method(s, method, path, allow):
    a = ask(s, f"{method} {API}{path} HTTP/1.1").problem(
        405, "method_not_allowed")
    assert a.headers["allow"] == [allow]


def test_trace(s):                                                      # 7
    a = ask(s, f"TRACE {API}/videos HTTP/1.1").problem(405)
    assert a.headers["allow"] == ["GET, HEAD, OPTIONS"]


def test_connect(s):                                                    # 8
    assert ask(s, "CONNECT a:80 HTTP/1.1").status in (400, 405)


@pytest.mark.parametrize("path", ["/%00", "/a%zz", "/a\x01b", "/a\0b",  # 9
                                  "/../../..", "/%2e%2e/%2e%2e/%2e%2e",  # 10
                                  "/a b"])                              # 11
def test_bad_uri(s, path):
    get(s, path).problem(400)


def test_no_second_decode(s):                                           # 10
    get(s, "/%252e%252e%252f").problem(404, "not_found")


def test_long_uri(s):                                                   # 12
    get(s, "/" + "a" * 9000).problem(414, "uri_too_long")


@pytest.mark.parametrize("headers", [                                   # 13
    "X: " + "y" * 9000 + "\r\n", "".join(f"X{i}: {'y' * 1000}\r\n"
                                         for i in range(100))])
def test_long_headers(s, headers):
    get(s, "/videos", headers).problem(400, "headers_too_large")


@pytest.mark.parametrize("headers", ["X: a\0b\r\n", "X y: a\r\n",       # 14
                                     "X : a\r\n", "X: a\r\n folded\r\n"])
def test_bad_header(s, headers):
    get(s, "/videos", headers).problem(400, "bad_request")


@pytest.mark.parametrize("headers", [                                   # 17
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 3\r\nContent-Length: 3\r\n",                       # 18
    "Content-Length: 3\r\nContent-Length: 4\r\n",
    "Content-Length: -1\r\n", "Content-Length: +4\r\n",
    "Content-Length: 4, 4\r\n", "Content-Length: 18446744073709551616\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"])    # 21
def test_bad_framing(s, headers):
    ask(s, f"POST {API}/videos/upload HTTP/1.1", headers).problem(400)


def test_chunked_in_http_10(s):                                         # 21
    ask(s, f"POST {API}/videos/upload HTTP/1.0",
        "Transfer-Encoding: chunked\r\n").problem(400)


@pytest.mark.parametrize("coding", ["gzip, chunked", "xchunked"])       # 20
def test_unknown_coding(s, coding):
    ask(s, f"POST {API}/videos/upload HTTP/1.1",
        f"Transfer-Encoding: {coding}\r\n").problem(501, "not_implemented")


def test_two_authorizations(s):                                         # 99
    get(s, "/videos", "Authorization: Bearer x\r\n").problem(400)


def test_tls_bytes(s):                                                  # 27
    got = talk(s, bytes.fromhex("160301006c010000680303") + b"\0" * 90)
    assert b"200" not in got.split(b"\r\n")[0]


def test_header_timeout(s):                                             # 26
    assert talk(s, f"GET {API}/videos HTTP/1.1\r\nHost: a\r\nX: ") == b""


# -- within the API --------------------------------------------------------------

def test_not_found(s):
    get(s, "/nothing").problem(404, "not_found")
    get(s, "/videos/").problem(404)
    get(s, "/videos/a/b/c").problem(404)


@pytest.mark.parametrize("path", [
    "/videos", "/videos/0a0a0a0a-0000-4000-8000-000000000000", "/stats",
    "/videos/x/status", "/jobs/x"])
def test_no_token(s, path):
    a = get(s, path, token=False).problem(401, "invalid_token")
    assert a.headers["www-authenticate"] == [
        'Bearer realm="avp", error="invalid_token"']


def test_id_after_token(s):                                             # 113
    get(s, "/videos/x/status").problem(400, "invalid_id")
    get(s, "/videos/0A0A0A0A-0000-4000-8000-000000000000").problem(404)


def test_no_continue_without_a_token(s):                                # 25
    with s.nginx.socket() as c:
        c.sendall((f"POST {API}/videos/upload HTTP/1.1\r\nHost: a\r\n"
                   "Content-Type: multipart/form-data; boundary=x\r\n"
                   "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
                   ).encode())
        got = c.recv(65536)
        assert got.startswith(b"HTTP/1.1 401 "), got
        a = Answer(got).problem(401)
        assert a.headers["connection"] == ["close"]


def test_unknown_expectation(s):                                        # 25
    get(s, "/videos", "Expect: tea\r\n").problem(417, "expectation_failed")


def test_pipelined(s):                                                  # 28
    one = (f"GET {API}/videos/{{}} HTTP/1.1\r\nHost: a\r\nAuthorization:"
           f" Bearer {s.token()}\r\n")
    ids = [f"0a0a0a0a-0000-4000-8000-00000000000{i}" for i in range(3)]
    got = talk(s, "".join(
        one.format(i) + f"X-Request-Id: request-{i}\r\n"
        + ("Connection: close\r\n" if i == ids[-1] else "") + "\r\n"
        for i in ids))
    for i in ids:
        a = Answer(got).problem(404)
        assert a.headers["x-request-id"] == [f"request-{i}"]
        got = a.rest
    assert got == b""


@pytest.mark.parametrize("framing", ["length", "chunked"])              # 29
@pytest.mark.parametrize("method, status", [("GET", 200), ("POST", 405)])
def test_body_that_nobody_wants(s, framing, method, status):
    body = b"x" * 5000
    if framing == "chunked":
        body = b"1388;" + b"e" * 1000 + b"\r\n" + body + b"\r\n0\r\n\r\n"  # 23
        head = "Transfer-Encoding: chunked\r\n"
    else:
        head = "Content-Length: 5000\r\n"
    first = (f"{method} {API}/videos HTTP/1.1\r\nHost: a\r\nAuthorization:"
             f" Bearer {s.token()}\r\n{head}\r\n").encode() + body
    second = (f"GET {API}/videos HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
              "\r\n").encode()
    got = talk(s, first + second)
    a = Answer(got)
    assert a.status == status
    if a.headers["connection"] == ["keep-alive"]:
        Answer(a.rest).problem(401)
    else:
        assert a.rest == b""


def test_bare_lf(s):                                                    # 16
    got = talk(s, f"GET {API}/videos HTTP/1.1\nHost: a\nConnection: close\n\n")
    Answer(got).problem(401)


def test_header_without_colon(s):                                       # 15
    assert get(s, "/videos", "nonsense\r\n").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_head_is_get_without_body(s, method):                           # 140
    for path, status in (("/videos", 200), ("/nothing", 404)):
        a = ask(s, f"{method} {API}{path} HTTP/1.1")
        assert a.status == status
        assert int(a.headers["content-length"][0]) > 0
        assert bool(a.body) is (method == "GET")


# -- what other modules answer ----------------------------------------------------

def test_core_too_large(s):                                             # 24
    """client_max_body_size of the location, not ours; error_page of the
    server does not apply."""
    ask(s, "POST /limited/videos/upload HTTP/1.1",
        "Content-Length: 100\r\n").problem(413, "too_large")


def test_limit_req(s):
    got = [ask(s, "GET /limited/videos HTTP/1.1") for _ in range(3)]
    a = got[-1].problem(429, "rate_limited")
    assert int(a.headers["retry-after"][0]) >= 1


def test_limit_except(s):
    assert ask(s, "GET /some/videos HTTP/1.1").status == 200
    ask(s, "DELETE /some/videos/0a0a0a0a-0000-4000-8000-000000000000"
           " HTTP/1.1").problem(403, "forbidden")


def test_return(s):
    a = ask(s, "GET /old/videos HTTP/1.1").problem(503, "unavailable")
    assert "retry-after" in a.headers


def test_other_locations_keep_their_pages(s):
    a = ask(s, "GET /no/such/file HTTP/1.1")
    assert a.status == 404 and a.body == b"a page for people"
    assert "x-request-id" not in a.headers


def test_http2(s):
    with s.nginx.client(http2=True, token=s.token()) as c:
        for path, status in (("/videos", 200), ("/nothing", 404),
                             ("/videos/x/status", 400)):
            r = c.get(API + path)
            assert r.http_version == "HTTP/2" and r.status_code == status
            assert (r.headers["content-type"] == PROBLEM) is (status != 200)
        r = c.request("TRACE", API + "/videos")
        assert r.status_code == 405
        assert r.headers["content-type"] == PROBLEM


# -- CORS ---------------------------------------------------------------------------

def test_preflight(s):
    ask_it = ("Origin: https://app.example:8443\r\n"
              "Access-Control-Request-Method: DELETE\r\n")
    path = f"{API}/videos/0a0a0a0a-0000-4000-8000-000000000000"
    a = ask(s, f"OPTIONS {path} HTTP/1.1", ask_it, token=False)
    assert a.status == 204 and a.body == b""
    assert a.headers["access-control-allow-origin"] == [
        "https://app.example:8443"]
    assert "DELETE" in a.headers["access-control-allow-methods"][0]
    assert "Authorization" in a.headers["access-control-allow-headers"][0]
    assert a.headers["vary"] == ["Origin"]
    assert "access-control-allow-credentials" not in a.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null",
                                    "https://app.example:8443.evil.example",
                                    "http://app.example:8443"])
def test_foreign_origin(s, origin):
    for line in (f"OPTIONS {API}/videos HTTP/1.1",
                 f"GET {API}/videos HTTP/1.1"):
        a = ask(s, line, f"Origin: {origin}\r\n")
        assert not [h for h in a.headers if h.startswith("access-control")]


def test_origin_of_answers_and_errors(s):
    for path, status in (("/videos", 200), ("/nothing", 404)):
        a = get(s, path, "Origin: https://app.example:8443\r\n")
        assert a.status == status
        assert a.headers["access-control-allow-origin"] == [
            "https://app.example:8443"]
        assert "X-Request-Id" in a.headers["access-control-expose-headers"][0]
    a = ask(s, f"TRACE {API}/videos HTTP/1.1",
            "Origin: https://app.example:8443\r\n")
    assert a.headers["access-control-allow-origin"] == [
        "https://app.example:8443"]


def test_options_of_nothing(s):
    ask(s, f"OPTIONS {API}/nothing HTTP/1.1").problem(404)


def test_many_connections(s):                                           # 31
    """Idle connections are only connections."""
    idle = [s.nginx.socket() for _ in range(300)]
    assert get(s, "/videos").status == 200
    for c in idle:
        c.shutdown(socket.SHUT_RDWR)
        c.close()
