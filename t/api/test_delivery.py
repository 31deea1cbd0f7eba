"""Delivery and downloads: paths, tokens, ranges, conditions, headers."""

import gzip
import hashlib
import os
import threading
import time
import urllib.parse
import uuid

import made
import pytest
import wire
from made import FILES, TYPES
from rig import Stack, wait_until
from wire import Wire, problem, sha

IMMUTABLE = "public, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def video(system):
    doc = made.upload(system, title="A film")
    doc["prefix"] = made.publish(system, doc)
    doc["base"] = f"/v/{doc['id']}/{made.token(doc['id'])}/{doc['prefix']}/"
    return doc


def get(stack, path, method="GET", **headers):
    """As bytes: no client tidies the path."""
    lines = [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
    return wire.request(stack.nginx, "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: localhost", *lines,
         "Connection: close", "", ""]), head=method == "HEAD")


# -- files --------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_files(stack, video, name):
    """Bytes, type, cache and CORS headers; HEAD has the same."""
    a = get(stack, video["base"] + name)
    assert a.status == 200 and a.body == FILES[name], a
    assert a.get("content-type") == TYPES[name.rsplit(".")[-1]]
    live = "live" in name
    assert a.all("cache-control") == ["public, max-age=1" if live
                                      else IMMUTABLE]
    assert a.all("access-control-allow-origin") == ["*"]
    assert a.all("x-content-type-options") == ["nosniff"]
    assert a.all("cross-origin-resource-policy") == ["cross-origin"]
    assert a.get("accept-ranges") == "bytes"
    assert a.get("etag") and a.get("last-modified")
    assert a.get("vary") in (None, "Accept-Encoding")
    assert a.get("set-cookie") is None
    h = get(stack, video["base"] + name, "HEAD")
    skip = ("date", "x-request-id")
    assert ([x for x in h.headers if x[0] not in skip] ==
            [x for x in a.headers if x[0] not in skip])
    assert h.status == 200


def test_without_the_operators_types(run):
    """The types are the gate's: an NGINX that knows none serves the same."""
    stack = Stack(run, worker=False, locations={
        "/v/": "root {storage}; avp_delivery; types { } "
               "default_type text/html;"})
    doc = made.upload(stack)
    prefix = made.publish(stack, doc)
    for name in FILES:
        a = get(stack, f"/v/{doc['id']}/{made.token(doc['id'])}/{prefix}/"
                + name)
        assert a.status == 200
        assert a.get("content-type") == TYPES[name.rsplit(".")[-1]]
    stack.check_logs()


def test_gzip(stack, video):
    """Finished playlists come compressed to who asks, with their type."""
    plain = get(stack, video["base"] + "hls/master.m3u8")
    a = get(stack, video["base"] + "hls/master.m3u8", Accept_Encoding="gzip")
    assert a.get("content-encoding") == "gzip"
    assert a.get("content-type") == TYPES["m3u8"]
    assert gzip.decompress(a.body) == plain.body == FILES["hls/master.m3u8"]
    assert a.all("cache-control") == [IMMUTABLE]


def test_preflight(stack, video):
    a = get(stack, video["base"] + "hls/480p/s00000.m4s", "OPTIONS",
            Origin="https://player.example",
            Access_Control_Request_Method="GET",
            Access_Control_Request_Headers="range")
    assert a.status == 204
    assert a.all("access-control-allow-origin") == ["*"]
    assert "GET" in a.get("access-control-allow-methods")
    assert "Range" in a.get("access-control-allow-headers")
    assert a.get("access-control-max-age")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "MKCOL",
                                    "PROPFIND", "FOO"])
def test_methods(stack, video, method):
    a = get(stack, video["base"] + "poster.jpg", method, Content_Length=0)
    a.problem(405, "method_not_allowed")
    assert a.get("allow") == "GET, HEAD, OPTIONS"
    assert (stack.storage / "outputs" / video["id"] / video["prefix"]
            / "poster.jpg").exists()


# -- paths --------------------------------------------------------------------


@pytest.mark.parametrize("rest", [
    "", "hls", "hls/", "hls/480p/", "x.jpg", "../poster.jpg",
    "hls/../../../../originals/x.mp4", "hls//master.m3u8", "./poster.jpg",
    "hls/%2e%2e/poster.jpg", "hls%2fmaster.m3u8", "poster.jpg/", "Poster.jpg",
    "poster.JPG", "poster.jpg%00", "poster.jpg.gz", "hls/master.m3u8.gz",
    "poster", ".jpg", "poster.html", "poster.js", "poster.svg", "poster.php",
    "poster.jpg.html", "a/b/c/d.jpg", "a/b/c/d/e.jpg", "x" * 65 + ".jpg",
    "po ster.jpg", "poster.jpg;x", "poster%2ejpg%2f", "%252e%252e/poster.jpg",
    "hls/480p/s00001.m4s", "~/poster.jpg", "poster.jpg~", "p\\oster.jpg",
    "p%5coster.jpg", "p%c3%a4.jpg", "-.jpg", "..jpg"])
def test_bad_paths(stack, video, rest):
    """404 (or 400 where the core knows better), never a byte of a file."""
    a = get(stack, video["base"] + rest)
    if rest in ("hls%2fmaster.m3u8", "hls//master.m3u8", "./poster.jpg"):
        assert a.status == 200        # the core has decoded and merged those
        return
    if "poster.jpg" in rest and a.status == 200:
        # `..` and `//` are resolved before anybody looks
        assert urllib.parse.unquote(rest).replace("hls/../", "") == "poster.jpg"
        return
    assert a.status in (400, 404), a
    assert a.get("content-type") in ("application/problem+json",
                                     "text/html"), a
    assert "immutable" not in a.get("cache-control", "")


def test_not_found_is_a_problem_that_is_not_kept(stack, video):
    for rest in ("hls/480p/s00009.m4s", "nothing", "poster.html"):
        a = get(stack, video["base"] + rest)
        a.problem(404, "not_found")
        assert a.all("cache-control") == ["no-store"]
        assert a.all("access-control-allow-origin") == ["*"]
        assert a.all("x-content-type-options") == ["nosniff"]
        assert str(stack.storage) not in a.body.decode()


@pytest.mark.parametrize("prefix", ["1-0000000000000000", "0-" + "a" * 16,
                                    "x", "1-" + "A" * 16, "1", "..", "-"])
def test_prefix_that_nobody_published(stack, video, prefix):
    a = get(stack, f"/v/{video['id']}/{made.token(video['id'])}/{prefix}/"
            "poster.jpg")
    assert a.status in (400, 404)


@pytest.mark.parametrize("path", ["/v/", "/v", "/v/x", "/v//", "/v/{v}",
                                  "/v/{v}/", "/v/{v}/{t}", "/v/{v}/{t}/",
                                  "/v/{v}/{t}/{p}", "/v/{v}/{t}/{p}/",
                                  "/v/{V}/{t}/{p}/poster.jpg",
                                  "/v/{v}{t}/{p}/poster.jpg",
                                  "/v/{v}//{t}/{p}",
                                  "/v/" + "x" * 36 + "/{t}/{p}/poster.jpg",
                                  "/v/{v}/{t}/outputs/{v}/{p}/poster.jpg",
                                  "/outputs/{v}/{p}/poster.jpg"])
def test_incomplete_paths(stack, video, path):
    a = get(stack, path.format(v=video["id"], V=video["id"].upper(),
                               t=made.token(video["id"]), p=video["prefix"]))
    assert a.status in (301, 404), a


# -- tokens -------------------------------------------------------------------


def tampered(video):
    v = video["id"]
    good = made.token(v)
    now = int(time.time())
    out = {
        "empty": "", "short": good[:-1], "long": good + "0",
        "upper case": good.upper(), "other video": made.token(str(uuid.uuid4())),
        "other key": made.token(v, key="x" * 40),
        "unknown kid": made.token(v, kid=2), "kid 0": made.token(v, kid=0),
        "expired": made.token(v, expiry=now - 1),
        "long expired": made.token(v, expiry=1),
        "expiry moved": good[:2] + f"{now + 10**6:08x}" + good[10:],
        "not hex": "zz" + good[2:], "zeros": "01" + "0" * 40,
    }
    for i in range(len(good)):
        c = good[i]
        out[f"digit {i}"] = good[:i] + ("0" if c != "0" else "1") + good[i + 1:]
    return out


def test_tampered_tokens(stack, video):
    for name, token in tampered(video).items():
        a = get(stack, f"/v/{video['id']}/{token}/{video['prefix']}/poster.jpg")
        if name in ("empty", "short", "long"):
            a.problem(404, "not_found")
        else:
            a.problem(403, "invalid_delivery_token")
        assert a.all("cache-control") == ["no-store"], name


def test_token_lives_until_it_ends(stack, video):
    """The last second counts, the next one does not."""
    ends = int(time.time()) + 3
    path = (f"/v/{video['id']}/{made.token(video['id'], expiry=ends)}/"
            f"{video['prefix']}/poster.jpg")
    assert get(stack, path).status == 200
    wait_until(lambda: time.time() > ends + 1.1, 10)
    get(stack, path).problem(403, "invalid_delivery_token")


def test_rotation(run):
    """Both keys are good, the first one signs."""
    old, new = "old-delivery-key-0123456789-0123456789", \
        "new-delivery-key-0123456789-0123456789"
    stack = Stack(run, worker=False, env={"OLD": old, "NEW": new}, http={
        "avp_delivery_key": ["kid=7 env:NEW", "kid=1 env:OLD"]})
    doc = made.upload(stack)
    prefix = made.publish(stack, doc)
    for kid, key, want in ((7, new, 200), (1, old, 200), (7, old, 403),
                           (1, new, 403)):
        t = made.token(doc["id"], kid=kid, key=key)
        assert get(stack, f"/v/{doc['id']}/{t}/{prefix}/poster.jpg"
                   ).status == want
    with stack.client() as c:
        url = c.get(f"/api/v1/videos/{doc['id']}/status").json()["playbackUrl"]
    assert f"/{made.token(doc['id'], kid=7, key=new)}/" in url
    stack.check_logs()


def test_no_database_on_this_path(run):
    stack = Stack(run, worker=False, fsync=True)
    doc = made.upload(stack)
    path = (f"/v/{doc['id']}/{made.token(doc['id'])}/"
            f"{made.publish(stack, doc)}/poster.jpg")
    stack.pg.stop()
    stack.redis.kill()
    for _ in range(20):
        assert get(stack, path).status == 200
    stack.nginx.check_log()


# -- what is on the disk -------------------------------------------------------


def test_links_are_not_followed(stack, video):
    base = stack.storage / "outputs" / video["id"] / video["prefix"]
    secret = stack.run.path / "secret.jpg"
    secret.write_bytes(b"secret")
    (base / "link.jpg").symlink_to(secret)
    (base / "way").symlink_to(stack.run.path)
    (base / "inside.jpg").symlink_to("poster.jpg")
    try:
        for name in ("link.jpg", "way/secret.jpg", "inside.jpg"):
            a = get(stack, video["base"] + name)
            assert a.status in (403, 404) and b"secret" not in a.body, a
            assert a.get("content-type") == "application/problem+json"
    finally:
        for name in ("link.jpg", "way", "inside.jpg"):
            (base / name).unlink()


def test_directory_that_looks_like_a_file(stack, video):
    base = stack.storage / "outputs" / video["id"] / video["prefix"]
    (base / "dir.mp4").mkdir()
    try:
        a = get(stack, video["base"] + "dir.mp4")
        assert a.status in (301, 404)
    finally:
        (base / "dir.mp4").rmdir()


def test_deleted_while_it_plays(stack):
    """The file that is open finishes, the next request finds nothing."""
    doc = made.upload(stack)
    prefix = made.publish(stack, doc)
    path = stack.storage / "outputs" / doc["id"] / prefix / "mp4/720p.mp4"
    data = os.urandom(30_000_000)
    path.write_bytes(data)
    url = f"/v/{doc['id']}/{made.token(doc['id'])}/{prefix}/mp4/720p.mp4"
    with Wire(stack.nginx, 30) as w:
        w.send(f"GET {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        w._until(b"\r\n\r\n")
        got = hashlib.sha256(w._take(1_000_000))
        with stack.client() as c:
            assert c.delete(f"/api/v1/videos/{doc['id']}").status_code == 204
            problem(c.get(url), 404, "not_found")
        while w._more():
            pass
        got.update(w.buf)
    assert got.hexdigest() == sha(data)


def test_deleted_in_all_worker_processes(run):
    """The zone is shared: no worker serves what another has deleted."""
    stack = Stack(run, worker=False, workers=4)
    doc = made.upload(stack)
    prefix = made.publish(stack, doc)
    url = f"/v/{doc['id']}/{made.token(doc['id'])}/{prefix}/poster.jpg"
    assert get(stack, url).status == 200
    with stack.client() as c:
        assert c.delete(f"/api/v1/videos/{doc['id']}").status_code == 204
    # the files are put back: only the zone can know
    trash = next((stack.storage / "trash").glob(f"{doc['id']}-*"))
    trash.rename(stack.storage / "outputs" / doc["id"])
    for _ in range(40):
        get(stack, url).problem(404, "not_found")
    # and it is known again after a reload and a restart
    stack.nginx.reload()
    get(stack, url).problem(404, "not_found")
    stack.check_logs()


# -- ranges and conditions -----------------------------------------------------

SIZE = len(FILES["mp4/720p.mp4"])
RANGES = [
    ("bytes=0-3", 206, (0, 3)), ("bytes=0-0", 206, (0, 0)),
    ("bytes=-5", 206, (SIZE - 5, SIZE - 1)),
    ("bytes=-99999999", 206, (0, SIZE - 1)),
    (f"bytes={SIZE - 1}-", 206, (SIZE - 1, SIZE - 1)),
    ("bytes=100-", 206, (100, SIZE - 1)),
    ("bytes=0-9223372036854775807", 206, (0, SIZE - 1)),
    ("bytes= 10 - 20 ", 206, (10, 20)),
    (f"bytes={SIZE}-", 416, None), ("bytes=5-2", 416, None),
    ("bytes=-0", 416, None), ("bytes=a-b", 416, None),
    ("bytes=18446744073709551616-", 416, None), ("bytes=", 200, None),
    ("bytes=-", 416, None), ("bytes=1", 416, None),
    ("items=0-3", 200, None), ("bytes:0-3", 200, None), ("", 200, None),
    ("bytes=0-0,2-2,4-4,6-6,8-8", 200, None),         # over max_ranges
    ("bytes=0-,0-,0-,0-", 200, None), ("0-3", 200, None)]


@pytest.fixture(params=["delivery", "download"])
def large(request, system, video):
    """A way to the same large file: path and headers."""
    if request.param == "delivery":
        return video["base"] + "mp4/720p.mp4", {}
    return (f"/api/v1/videos/{video['id']}/download?format=mp4&quality=720p",
            {"Authorization": "Bearer " + system.token()})


@pytest.mark.parametrize("value, status, span", RANGES)
def test_ranges(stack, large, value, status, span):
    path, headers = large
    data = FILES["mp4/720p.mp4"]
    a = get(stack, path, Range=value, **headers)
    assert a.status == status, a
    if status == 206:
        assert a.get("content-range") == f"bytes {span[0]}-{span[1]}/{SIZE}"
        assert a.body == data[span[0]:span[1] + 1]
        assert a.get("content-type") == "video/mp4"
    elif status == 416:
        assert a.get("content-range") == f"bytes */{SIZE}"
        a.problem(416, "range_not_satisfiable")
        assert "immutable" not in a.get("cache-control")
        assert len(a.all("cache-control")) == 1
    else:
        assert a.body == data


def test_several_ranges(stack, large):
    path, headers = large
    data = FILES["mp4/720p.mp4"]
    a = get(stack, path, Range="bytes=0-9,100-109", **headers)
    assert a.status == 206
    assert a.get("content-type").startswith("multipart/byteranges")
    assert data[:10] in a.body and data[100:110] in a.body


def test_conditions(stack, large):
    path, headers = large
    data = FILES["mp4/720p.mp4"]
    a = get(stack, path, **headers)
    tag, modified = a.get("etag"), a.get("last-modified")
    assert not tag.startswith("W/")
    b = get(stack, path, If_None_Match=tag, **headers)
    assert b.status == 304 and b.get("etag") == tag
    assert b.all("cache-control") == a.all("cache-control")
    assert get(stack, path, If_None_Match='"x"', **headers).status == 200
    assert get(stack, path, If_Modified_Since=modified,
               **headers).status == 304
    assert get(stack, path, If_Match='"x"', **headers).status == 412
    assert get(stack, path, If_Match=tag, **headers).status == 200
    old = "Mon, 01 Jan 2001 00:00:00 GMT"
    for value, status in ((tag, 206), (modified, 206), ('"x"', 200),
                          (old, 200), ("W/" + tag, 200)):
        b = get(stack, path, Range="bytes=0-9", If_Range=value, **headers)
        assert b.status == status, value
        assert b.body == (data[:10] if status == 206 else data)
    h = get(stack, path, "HEAD", Range="bytes=0-9", **headers)
    assert h.status == 206 and h.get("content-length") == "10"


def test_generations_are_never_mixed(stack, video):
    """A playlist that is replaced (rename) while it is read: old or new."""
    base = stack.storage / "outputs" / video["id"] / video["prefix"]
    name = base / "hls/480p/index.m3u8"
    keep = name.read_bytes()
    old, new = b"A" * 200_000, b"B" * 200_000
    name.write_bytes(old)
    stop = threading.Event()

    def replace():
        i = 0
        while not stop.is_set():
            tmp = name.with_suffix(".tmp")
            tmp.write_bytes(new if i % 2 else old)
            os.replace(tmp, name)
            i += 1

    t = threading.Thread(target=replace)
    t.start()
    try:
        for _ in range(200):
            a = get(stack, video["base"] + "hls/480p/index.m3u8",
                    Range="bytes=1000-150999")
            assert a.body in (old[1000:151000], new[1000:151000])
    finally:
        stop.set()
        t.join()
        name.write_bytes(keep)


# -- downloads ----------------------------------------------------------------


def test_download_choices(stack, video):
    path = f"/api/v1/videos/{video['id']}/download"
    original = wire.originals(stack)[video["id"]].read_bytes()
    want = {"": ("mp4/720p.mp4", "mp4"), "?format=mp4": ("mp4/720p.mp4", "mp4"),
            "?quality=480p": ("mp4/480p.mp4", "mp4"),
            "?format=webm": ("webm/480p.webm", "webm"),
            "?format=webm&quality=480p": ("webm/480p.webm", "webm"),
            "?format=original": (None, "mp4")}
    with stack.client() as c:
        for query, (name, ending) in want.items():
            r = c.get(path + query)
            assert r.status_code == 200, query
            assert r.content == (FILES[name] if name else original)
            assert r.headers["content-type"] == f"video/{ending}"
            assert r.headers["content-disposition"] == (
                f'attachment; filename="A film.{ending}"; '
                f"filename*=UTF-8''A%20film.{ending}")
            assert r.headers["x-content-type-options"] == "nosniff"
            assert r.headers["cache-control"] == "private, no-cache"
            assert r.headers["accept-ranges"] == "bytes"
        for query in ("?format=webm&quality=720p", "?quality=1080p",
                      "?quality=4k"):
            problem(c.get(path + query), 404, "not_found")
        for query in ("?format=hls", "?format=../", "?quality=720p/../../",
                      "?quality=..%2f..%2fx", "?format=MP4", "?format=",
                      "?quality=", "?quality=720", "?format=mp4%00",
                      "?format=original&quality=480p", "?format=mp4/..",
                      "?format=" + "x" * 3000, "?quality=%20"):
            problem(c.get(path + query), 422, "invalid_field")


def test_download_not_ready(stack):
    doc = made.upload(stack)
    with stack.client() as c:
        path = f"/api/v1/videos/{doc['id']}/download"
        problem(c.get(path), 409, "not_ready")
        problem(c.get(path + "?format=webm"), 409, "not_ready")
        assert c.get(path + "?format=original").status_code == 200


@pytest.mark.parametrize("title", [
    'quo"te', "back\\slash", "semi;colon", "per%cent", "日本語", "a/b\\c",
    "..", "x" * 255, "語" * 255, "😀" * 255, "new'quote", "a  b", "ü.mp4"])
def test_names_of_downloads(stack, title):
    """RFC 6266: the header is one line of ASCII and names the title."""
    doc = made.upload(stack, title=title)
    a = wire.request(stack.nginx, wire.head(
        stack.token(), method="GET", content_type="",
        path=f"/api/v1/videos/{doc['id']}/download?format=original"))
    assert a.status == 200
    value = a.get("content-disposition")
    assert value.isascii() and value.startswith("attachment; filename=\"")
    star = urllib.parse.unquote(value.split("filename*=UTF-8''")[1])
    assert star.endswith(".mp4") and "/" not in star
    want = title.replace("/", "_").replace("\\", "_")
    assert len(star) > 4 and (star[:-4] == want or not want.strip(". "))


def test_download_of_what_is_lost(stack):
    """A row without its file: 404 and a line in the log, no path outside."""
    doc = made.upload(stack)
    path = wire.originals(stack)[doc["id"]]
    hidden = path.with_name("hidden")
    path.rename(hidden)
    try:
        with stack.client() as c:
            r = c.get(f"/api/v1/videos/{doc['id']}/download?format=original")
        problem(r, 404, "not_found")
        path.symlink_to("/etc/passwd")
        with stack.client() as c:
            r = c.get(f"/api/v1/videos/{doc['id']}/download?format=original")
        problem(r, 500, "internal_error")
        path.unlink()
        assert "download: " in stack.nginx.log_text()
    finally:
        hidden.rename(path)


def test_download_over_http2(stack, video):
    with stack.client(http2=True) as c:
        r = c.get(f"/api/v1/videos/{video['id']}/download",
                  headers={"Range": "bytes=5-104"})
        assert r.http_version == "HTTP/2" and r.status_code == 206
        assert r.content == FILES["mp4/720p.mp4"][5:105]
        r = c.get(video["base"] + "hls/480p/s00000.m4s",
                  headers={"Authorization": ""})
        assert r.content == FILES["hls/480p/s00000.m4s"]
