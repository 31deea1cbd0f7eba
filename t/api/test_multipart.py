"""Hostile forms: each gets the answer that docs/errors.md has for it, and
leaves nothing behind."""

import time

import pytest
import wire
from rig import wait_until
from wire import Wire, chunk, form, head, mp4, part, post, sha

FILE = part("file", mp4(5000), "clip.mp4", ["Content-Type: video/mp4"])
TITLE = part("title", "a title")


def kept(stack, a):
    assert a.status == 201, a
    return wire.originals(stack)[a.json()["id"]]


def name_of(stack, a):
    assert a.status == 201, a
    return stack.pg.query("SELECT filename FROM videos WHERE id = %s",
                          (a.json()["id"],))[0]["filename"]


# -- boundaries --------------------------------------------------------------


@pytest.mark.parametrize("value", [
    "multipart/form-data",
    "multipart/form-data;",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary=""',
    "multipart/form-data; boundary=" + "x" * 71,
    'multipart/form-data; boundary="a\\\x01b"',
    "multipart/form-data; boundary=a;b boundary",
    "multipart/form-data; boundary=ümlaut",
    'multipart/form-data; boundary="ends with blank "',
    "multipart/form-data; boundary=a; boundary=b",
])
def test_bad_boundary(stack, value):
    body = form(TITLE, FILE)
    with Wire(stack.nginx) as w:
        w.send(head(stack.token(), len(body),
                    content_type=value).replace("ü".encode(), b"\xfc"))
        w.send(body)
        w.answer().problem(400, "invalid_multipart")


@pytest.mark.parametrize("boundary", [
    "x", "0" * 70, "a'()+_,-./:=?b", "----WebKitFormBoundaryAAAA", "--", "-"])
def test_good_boundary(stack, boundary):
    body = form(TITLE, FILE, boundary=boundary)
    for value in (f'multipart/form-data; boundary="{boundary}"',
                  f'Multipart/Form-Data; charset=utf-8; '
                  f'BOUNDARY="{boundary}"'):
        a = post(stack, body, content_type=value)
        assert kept(stack, a).read_bytes() == mp4(5000)


def test_preamble_and_epilogue(stack):
    a = post(stack, form(TITLE, FILE, preamble=b"p" * 1000 + b"\r\n",
                         epilogue=b"\r\n" + b"e" * 1000))
    assert kept(stack, a).read_bytes() == mp4(5000)
    a = post(stack, form(TITLE, FILE, preamble=b"p" * 1100 + b"\r\n"))
    a.problem(400, "invalid_multipart")
    a = post(stack, form(TITLE, FILE, epilogue=b"\r\n" + b"e" * 1100))
    a.problem(400, "invalid_multipart")


@pytest.mark.parametrize("cut", [1, 3, 5, 20, 40, 2000])
@pytest.mark.parametrize("chunked", [False, True])
def test_truncated(stack, cut, chunked):
    """The body ends, properly framed, before its last boundary does."""
    body = form(TITLE, FILE, epilogue=b"")[:-cut]
    before = wire.videos(stack)
    with Wire(stack.nginx) as w:
        if chunked:
            w.send(head(stack.token(), chunked=True) + chunk(body)
                   + b"0\r\n\r\n")
        else:
            w.send(head(stack.token(), len(body)) + body)
        w.answer().problem(400, "invalid_multipart")
    assert wire.videos(stack) == before


@pytest.mark.parametrize("size", [0, 1])
def test_empty_body(stack, size):
    post(stack, b"x" * size).problem(400, "invalid_multipart")


# -- parts -------------------------------------------------------------------


def test_two_files(stack):
    post(stack, form(TITLE, FILE, FILE)).problem(400, "duplicate_file")


def test_no_file(stack):
    post(stack, form(TITLE)).problem(400, "missing_file")
    post(stack, form()).problem(400, "missing_file")
    # of another name
    post(stack, form(TITLE, part("video", mp4(5000), "x.mp4"))).problem(
        400, "missing_file")


def test_empty_file(stack):
    post(stack, form(TITLE, part("file", b"", "x.mp4"))).problem(
        400, "empty_file")


def test_many_parts(stack):
    many = [part(f"f{i}", "x") for i in range(30)]
    assert post(stack, form(TITLE, FILE, *many)).status == 201
    post(stack, form(TITLE, FILE, *many, part("g", "x"))).problem(
        400, "invalid_multipart")
    post(stack, form(*[part("x", "") for _ in range(10_000)])).problem(
        400, "invalid_multipart")


def test_long_part_header(stack):
    fits = part("file", mp4(5000), "x.mp4", ["X-Long: " + "x" * 8000])
    assert post(stack, form(TITLE, fits)).status == 201
    over = part("file", mp4(5000), "x.mp4", ["X-Long: " + "x" * 9000])
    post(stack, form(TITLE, over)).problem(400, "invalid_multipart")
    # endless
    body = (b"--" + wire.BOUNDARY.encode() + b"\r\nX: "
            + b"y" * 1_000_000)
    post(stack, body).problem(400, "invalid_multipart")


@pytest.mark.parametrize("raw", [
    b"\r\nno disposition at all",
    b"Content-Disposition: attachment; name=\"file\"\r\n\r\nx",
    b"Content-Disposition: form-data\r\n\r\nno name",
    b"Content-Disposition: form-data; name=\"a\0b\"\r\n\r\nx",
    b"Content-Disposition: form-data; name=\"a\r\n b\"\r\n\r\nx",
    b"Content-Disposition: form-data; name=\"title\nX: y\"\r\n\r\nx",
    b"Content-Disposition: form-data; name=\"title\r\n\r\nx",
    b"Content-Disposition form-data; name=title\r\n\r\nx",
    b"Content-Disposition: form-data; name=\"title\"\n\nx",
    b"Content-Disposition: form-data; name=\"title\"\n\r\nx",
    b"Content-Disposition: form-data; name=\"a\"\r\n"
    b"Content-Disposition: form-data; name=\"b\"\r\n\r\nx",
    b"Content-Disposition: form-data; name=\"file\"\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAAA",
    b"Content-Disposition: form-data; name=\"file\"\r\n"
    b"Content-Type: multipart/mixed; boundary=inner\r\n\r\n--inner--",
    b"Content-Disposition: form-data; name=\"title\"\r\n"
    b"Content-Type: Multipart/Mixed\r\n\r\nx",
])
def test_bad_part(stack, raw):
    post(stack, form(raw, TITLE, FILE)).problem(400, "invalid_multipart")


@pytest.mark.parametrize("where", ["all", "separators", "headers", "last"])
def test_bare_line_feeds(stack, where):
    body = form(TITLE, part("file", mp4(5000).replace(b"\r", b"x"), "x.mp4"))
    boundary = wire.BOUNDARY.encode()
    if where == "all":
        body = body.replace(b"\r\n", b"\n")
    elif where == "separators":
        body = body.replace(b"\r\n--" + boundary, b"\n--" + boundary)
    elif where == "headers":
        body = body.replace(b"\r\nContent-", b"\nContent-")
    else:
        body = body.replace(b"\r\n--" + boundary + b"--",
                            b"\n--" + boundary + b"--")
    post(stack, body).problem(400, "invalid_multipart")


def test_almost_boundaries(stack):
    """A flood of beginnings of the boundary takes linear time and is data."""
    tease = b"\r\n--" + wire.BOUNDARY.encode()[:-1]
    times = []
    for size in (500_000, 4_000_000):
        data = mp4(4096) + tease * ((size - 4096) // len(tease))
        start = time.monotonic()
        a = post(stack, form(TITLE, part("file", data, "x.mp4")), timeout=60)
        times.append(time.monotonic() - start)
        assert sha(kept(stack, a).read_bytes()) == sha(data)
    assert times[1] < 8 * 8 * max(times[0], 0.02), times
    # and one byte each
    data = mp4(4096) + b"\r" * 100_000 + b"\r\n" * 50_000 + b"\r\n-" * 50_000
    a = post(stack, form(TITLE, part("file", data, "x.mp4")))
    assert sha(kept(stack, a).read_bytes()) == sha(data)


def test_other_boundaries_in_the_file(stack):
    """A whole form inside of the file is the file's."""
    inner = form(TITLE, FILE, boundary=wire.BOUNDARY + "2")
    data = mp4(4096) + inner
    a = post(stack, form(TITLE, part("file", data, "x.mp4")))
    assert kept(stack, a).read_bytes() == data


# -- fields ------------------------------------------------------------------


ORDERS = [[TITLE, FILE], [FILE, TITLE],
          [part("description", "d"), FILE, part("metadata", "{}"), TITLE,
           part("priority", "0")]]


@pytest.mark.parametrize("order", range(len(ORDERS)))
def test_any_order(stack, order):
    a = post(stack, form(*ORDERS[order]))
    assert kept(stack, a).read_bytes() == mp4(5000)
    assert a.json()["title"] == "a title"


BAD_TITLES = {
    "empty": b"", "blanks": b"   ", "256": b"x" * 256,
    "256 wide": "語".encode() * 256, "megabyte": b"x" * 1_000_000,
    "not utf-8": b"a\xff", "overlong": b"a\xc0\xaf", "cut": b"a\xe8\xaa",
    "surrogate": b"\xed\xa0\x80", "nul": b"a\0b", "newline": b"a\nb",
    "tab": b"a\tb", "escape": b"\x1b[31m", "del": b"a\x7f",
    "c1": "a\u0085".encode(), "hole": b"\x01A",
}


@pytest.mark.parametrize("kind", BAD_TITLES)
@pytest.mark.parametrize("first", [True, False])
def test_bad_title(stack, kind, first):
    t = part("title", BAD_TITLES[kind])
    doc = post(stack, form(t, FILE) if first else form(FILE, t)).problem(
        422, "invalid_field")
    assert "title" in doc["detail"]


def test_no_title(stack):
    doc = post(stack, form(FILE)).problem(422, "invalid_field")
    assert "title" in doc["detail"]


@pytest.mark.parametrize("title", [
    "x", "x" * 255, "語" * 255, "😀" * 255, " a ", "' OR 1=1; --",
    "<script>alert(1)</script>", "\\u0001A", "$1 %s {0} ${x}",
    "\u202eevil", "a\u0301", '"quoted"', "\\", "\ufeffbom", "\ufffd",
    "NULL", "null", "undefined", "0", "-1", "1e999", "\u200b\u200b",
    "../../etc/passwd", "ÅÍÎÏ˝ÓÔ\uf8ffÒÚÆ☃", "Ṱ̺̺̕o͞ ̷", "ﷺ", "사회과학원",
])
def test_title_round_trip(stack, title):
    """Kept to the letter: a title is data, whatever it says."""
    a = post(stack, form(part("title", title), FILE))
    assert a.status == 201, a
    assert a.json()["title"] == title
    with stack.client() as c:
        doc = c.get(f"/api/v1/videos/{a.json()['id']}/status").json()
        assert doc["title"] == title
        assert title in [v["title"] for v in
                         c.get("/api/v1/videos?limit=5").json()["data"]]


BAD_METADATA = {
    "text": "x", "array": "[]", "string": '"x"', "number": "1", "null": "null",
    "cut": '{"a":', "two": "{}{}", "dup": '{"a":1,"a":2}',
    "dup inside": '{"b":{"a":1,"a":2}}', "17 KiB": '{"a":"' + "x" * 17000 + '"}',
    "depth 9": '{"a":' * 9 + "1" + "}" * 9,
    "depth 100000": "[" * 100_000, "mixed 9": '{"a":' + "[" * 8 + "]" * 8 + "}",
    "1e999": '{"a":1e999}', "lone surrogate": r'{"a":"\ud800"}',
    "nul": r'{"a":"\u0000"}', "hole": r'{"a":"\u0001V"}',
    "hole in a name": r'{"\u0001A":1}', "bom": "\ufeff{}",
    "not utf-8": b'{"a":"\xff"}', "comment": "{/**/}", "comma": '{"a":1,}',
    "nan": '{"a":NaN}', "single quotes": "{'a':1}", "huge number":
    '{"a":' + "9" * 400 + "}",
}


@pytest.mark.parametrize("kind", BAD_METADATA)
def test_bad_metadata(stack, kind):
    doc = post(stack, form(TITLE, part("metadata", BAD_METADATA[kind]),
                           FILE)).problem(422, "invalid_field")
    assert "metadata" in doc["detail"]


@pytest.mark.parametrize("text", [
    "{}", '{"a":' * 8 + "1" + "}" * 8, '{"a":"' + "x" * 16000 + '"}',
    r'{"a":"\ud83d\ude00", "b":-0.5e3, "c":[true,false,null]}',
    '{"role":"admin","user_id":"x","status":"completed"}',
])
def test_good_metadata(stack, text):
    import json
    a = post(stack, form(TITLE, part("metadata", text), FILE))
    assert a.status == 201, a
    with stack.client() as c:
        doc = c.get(f"/api/v1/videos/{a.json()['id']}").json()
    assert doc["metadata"] == json.loads(text)


@pytest.mark.parametrize("text", ["x", "1.5", "11", "-11", "1e1", "+1",
                                  "0x1", "99999999999999999999", "--1", "-",
                                  " 1", "1"])
def test_bad_priority(stack, text):
    doc = post(stack, form(TITLE, part("priority", text), FILE)).problem(
        422, "invalid_field")
    assert "priority" in doc["detail"]


def test_priority_of_administrators(stack):
    body = form(TITLE, part("priority", "10"), FILE)
    admin = stack.pg.query("SELECT id FROM users WHERE role = 'admin'")
    admin = (str(admin[0]["id"]) if admin
             else stack.add_user("admin@example.com", admin=True))
    assert post(stack, body, stack.token(admin, admin=True)).status == 201
    for text in ("-10", "0", "-0", ""):
        assert post(stack, form(TITLE, part("priority", text),
                                FILE)).status == 201


def test_long_description(stack):
    assert post(stack, form(TITLE, part("description", "x" * 16384),
                            FILE)).status == 201
    post(stack, form(TITLE, part("description", "x" * 16385), FILE)).problem(
        422, "invalid_field")
    post(stack, form(TITLE, part("description", b"a\x01"), FILE)).problem(
        422, "invalid_field")


@pytest.mark.parametrize("name", ["title", "description", "metadata",
                                  "priority"])
def test_field_twice(stack, name):
    value = {"metadata": "{}", "priority": "0"}.get(name, "x")
    post(stack, form(TITLE, part(name, value), part(name, value),
                     FILE)).problem(400, "invalid_multipart")


def test_mass_assignment(stack, other):
    """Fields that nobody asked for change nothing."""
    a = post(stack, form(TITLE, part("user_id", other), part("userId", other),
                         part("status", "completed"), part("id", other),
                         part("role", "admin"), part("s3_key", "/etc/passwd"),
                         FILE))
    assert a.status == 201
    row = stack.pg.query("SELECT * FROM videos WHERE id = %s",
                         (a.json()["id"],))[0]
    assert str(row["user_id"]) == stack.user and row["status"] == "pending"
    assert row["s3_key"].startswith("originals/") and a.json()["id"] != other


# -- file names ---------------------------------------------------------------


@pytest.mark.parametrize("header, want", [
    (b'filename="../../etc/passwd"', "passwd"),
    (b'filename="C:\\\\dir\\\\x.mp4"', "x.mp4"),
    (b'filename="/x/y.mp4"', "y.mp4"),
    (b'filename="a\\"b.mp4"', 'a"b.mp4'),
    (b'filename="..."', None),
    (b'filename=""', "upload"),
    (b'filename="/"', "upload"),
    (b'filename="%2e%2e%2fx"', None),
    (b'filename=token.mp4', "token.mp4"),
    (b'filename="f.mp4"; filename*=UTF-8\'\'%E6%97%A5.mp4', "日.mp4"),
    (b'filename*=UTF-8\'\'..%2F..%2Fetc%2Fpasswd', "passwd"),
    ("filename=\"日本.mp4\"".encode(), "日本.mp4"),
    (b'filename="\xff\xfe.mp4"', "\ufffd\ufffd.mp4"),
    (b'filename="a\x01b.mp4"', "a\ufffdb.mp4"),
    (b'filename="<script>.mp4"', "<script>.mp4"),
    (b'filename="a.mp4" ; x=y', "a.mp4"),
])
def test_file_name_is_only_text(stack, header, want):
    raw = (b'Content-Disposition: form-data; name="file"; ' + header
           + b"\r\n\r\n" + mp4(5000))
    a = post(stack, form(TITLE, raw))
    got = name_of(stack, a)
    if want is not None:
        assert got == want
    assert "/" not in got and "\0" not in got and len(got.encode()) <= 255
    # the path has nothing of it
    assert kept(stack, a).name == "source.mp4"


def test_long_file_name(stack):
    a = post(stack, form(TITLE, part("file", mp4(5000), "é" * 2000)))
    assert name_of(stack, a) == "é" * 127
    raw = (b'Content-Disposition: form-data; name="file"; filename="a\0b"'
           b"\r\n\r\n" + mp4(5000))
    post(stack, form(TITLE, raw)).problem(400, "invalid_multipart")


def test_name_inside_of_filename(stack):
    """`name=` is looked for among the parameters, not in the text."""
    raw = (b'Content-Disposition: form-data; filename="x; name=title"; '
           b'name="file"\r\n\r\n' + mp4(5000))
    a = post(stack, form(TITLE, raw))
    assert name_of(stack, a) == "x; name=title"


def test_html_that_claims_to_be_a_video(stack):
    """Refused here; and a polyglot that passes is an attachment of the type
    that its container has, never HTML."""
    html = b"<html><script>alert(1)</script></html>"
    post(stack, form(TITLE, part("file", html * 200, "x.mp4",
                                 ["Content-Type: video/mp4"]))).problem(
        415, "unsupported_media_type")
    a = post(stack, form(TITLE, part("file", mp4(100) + html, "x.html",
                                     ["Content-Type: text/html"])))
    assert a.status == 201
    with stack.client() as c:
        r = c.get(f"/api/v1/videos/{a.json()['id']}/download"
                  "?format=original")
    assert r.headers["content-type"] == "video/mp4"
    assert r.headers["content-disposition"].startswith("attachment;")
    assert r.headers["x-content-type-options"] == "nosniff"


def test_memory_of_many_hostile_forms(stack):
    """Refusals give back what they took."""
    def round_():
        for kind in ("cut", "depth 100000", "hole"):
            post(stack, form(TITLE, part("metadata", BAD_METADATA[kind]),
                             FILE))
        post(stack, form(*[part("x", "") for _ in range(100)]))
        post(stack, form(TITLE, FILE)[:-10])

    for _ in range(5):
        round_()
    wait_until(lambda: stack.nginx.active() == 0, 10)
    before, _ = stack.nginx.rss()
    for _ in range(60):
        round_()
    wait_until(lambda: stack.nginx.active() == 0, 10)
    after, _ = stack.nginx.rss()
    from rig import is_asan
    assert is_asan() or after - before < 2 * 1024 * 1024, (before, after)
