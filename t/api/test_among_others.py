"""The module among NGINX's own directives and headers: subrequests, proxied
errors, conditions, hosts; and what a configuration makes of it."""

import hmac
import threading
import time

import pytest
import wire
from rig import Run, Stack, free_port, wait_until
from rig.stack import DELIVERY
from test_backend import make_video


@pytest.fixture(scope="module")
def system():
    """Where an operator has put avp_api beside other things."""
    with Run() as run:
        s = Stack(run, worker=False, http={"avp_public_url": None}, locations={
            "/mirrored/": "mirror /api/v1/videos/upload;"
                          " mirror_request_body off; root {storage};",
            "/guarded/": "limit_req zone=users burst=9; avp_api;"
                         " auth_request /api/v1/stats;",
        }, http_extra="limit_req_zone $avp_user zone=users:1m rate=99r/s;")
        s.video = make_video(s)
        yield s


@pytest.fixture
def stack(system):
    yield system
    wait_until(lambda: system.nginx.active() == 0, 15, "nobody is left")
    system.check_logs()


def ask(stack, method, path, *headers, host="a", body=b""):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}",
             f"Authorization: Bearer {stack.token()}", "Connection: close",
             *headers]
    return wire.request(stack.nginx,
                        ("\r\n".join(lines) + "\r\n\r\n").encode() + body)


def test_upload_as_a_subrequest(stack):
    """A mirror without the body has nothing to read: refused, no crash."""
    pid = stack.nginx.workers()
    body = wire.video_form()
    with wire.Wire(stack.nginx) as w:
        w.send(wire.head(stack.token(), len(body), path="/mirrored/x") + body)
        assert w.answer().status in (404, 405)
    assert stack.nginx.workers() == pid
    assert wire.originals(stack) == {}


def test_subrequest_has_a_context_of_its_own(stack):
    """auth_request to the API, from a location that looked at $avp_user."""
    a = ask(stack, "GET", f"/guarded/videos/{stack.video}/status")
    assert a.status == 200 and a.json()["id"] == stack.video
    assert len(a.all("x-request-id")) == 1
    a = wire.request(stack.nginx,
                     b"GET /guarded/videos HTTP/1.0\r\nHost: a\r\n\r\n")
    a.problem(401, "invalid_token")


@pytest.mark.parametrize("host", ["a", "a:80", "[::1]:80", "a_b.example."])
def test_host_in_documents(stack, host):
    """Without avp_public_url addresses begin with the request's Host."""
    a = ask(stack, "GET", f"/api/v1/videos/{stack.video}", host=host)
    assert a.status == 200 and a.json()["id"] == stack.video
    assert f"http://{host}/api/v1/" in a.body.decode()


@pytest.mark.parametrize("host", ['a","id":"b', "a\\u0022", 'a:80"', "a<b>"])
def test_host_that_is_none(stack, host):
    ask(stack, "GET", f"/api/v1/videos/{stack.video}", host=host).problem(
        400, "bad_request")


@pytest.mark.parametrize("condition", [
    "If-None-Match: *", 'If-Match: "x"',
    "If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT"])
def test_conditions_do_not_hide_a_change(stack, condition):
    """What was done is not answered with 304 or 412."""
    video = make_video(stack)
    job = stack.pg.one("SELECT id FROM processing_jobs WHERE video_id = %s",
                       (video,))
    stack.pg.query("UPDATE processing_jobs SET status = 'failed' WHERE id = %s",
                   (job,))
    stack.pg.query("UPDATE videos SET status = 'failed' WHERE id = %s",
                   (video,))
    a = ask(stack, "POST", f"/api/v1/jobs/{job}/retry", condition,
            "Content-Length: 0")
    assert a.status == 200 and a.json()["id"] == str(job)


def test_unmodified_since_without_a_date(stack):
    """RFC 9110, 13.1.4: ignored where there is no modification date."""
    for path in ("", f"/{stack.video}", f"/{stack.video}/status"):
        a = ask(stack, "GET", "/api/v1/videos" + path,
                "If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT")
        assert a.status == 200, a


def test_health_with_a_late_body(stack):
    """The body is read away, so the connection ends without a timeout."""
    with wire.Wire(stack.nginx, timeout=4) as w:
        stack.pg.freeze()
        try:
            w.send("GET /api/v1/health HTTP/1.1\r\nHost: a\r\n"
                   "Content-Length: 5\r\nConnection: close\r\n\r\n")
            threading.Event().wait(0.3)       # it asks the services
            w.send("hello")
            threading.Event().wait(0.3)       # the body is there, no answer
        finally:
            stack.pg.thaw()
        assert w.answer().status in (200, 503)
        assert w.closed()


def test_error_of_a_proxied_origin():
    """A problem stands in its place whole: length, coding and body are its
    own."""
    port = free_port()
    with Stack(worker=False, port=port, locations={
            "/v/": "avp_delivery; proxy_http_version 1.1;"
                   f" proxy_pass http://127.0.0.1:{port}/gone?;",
            "/gone": "gzip on; gzip_types *; gzip_min_length 1;"
                     " default_type text/plain;"
                     f" return 404 '{'nothing here ' * 300}';"}) as s:
        video = make_video(s)
        head = f"01{int(time.time()) + 3600:08x}"
        mac = hmac.new(DELIVERY.encode(), f"avp1:{video}:{head[2:]}".encode(),
                       "sha256").hexdigest()[:32]
        for coding in ("gzip", "identity"):
            a = ask(s, "GET", f"/v/{video}/{head}{mac}/1-0123456789abcdef/"
                    "master.m3u8", f"Accept-Encoding: {coding}")
            a.problem(404, "not_found")
            assert a.get("content-encoding") is None
            assert a.all("content-length") == [str(len(a.body))]
