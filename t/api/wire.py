"""Requests as bytes, and what comes back: for what no HTTP client would send.
"""

import hashlib
import json
import os
import random
import socket
import struct
import time

BOUNDARY = "----avp-test-boundary"


class Answer:
    def __init__(self, status, headers, body, interim):
        self.status = status
        self.headers = headers        # list of (lower-case name, value)
        self.body = body
        self.interim = interim        # statuses of 1xx before it

    def __repr__(self):
        return f"<Answer {self.status} {self.headers} {self.body[:400]!r}>"

    def get(self, name, default=None):
        for k, v in self.headers:
            if k == name:
                return v
        return default

    def all(self, name):
        return [v for k, v in self.headers if k == name]

    def json(self):
        return json.loads(self.body)

    def problem(self, status, code):
        """It is that problem, well formed; returns the document."""
        assert self.status == status, self
        assert self.get("content-type") == "application/problem+json", self
        doc = self.json()
        assert doc["status"] == status and doc["code"] == code, doc
        assert set(doc) == {"type", "title", "status", "detail", "code",
                            "requestId"}, doc
        assert doc["requestId"] == self.get("x-request-id"), self
        return doc


def problem(r, status, code):
    """The same for an answer of httpx."""
    a = Answer(r.status_code, [(k.lower(), v) for k, v in r.headers.items()],
               r.content, [])
    return a.problem(status, code)


class Wire:
    """A connection; `send` what you like, `answer` reads one response."""

    def __init__(self, nginx, timeout=15):
        self.s = nginx.socket(timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.s.close()

    def send(self, data):
        """All of it; the other side may close meanwhile."""
        try:
            self.s.sendall(data if isinstance(data, bytes) else data.encode())
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def _more(self):
        try:
            data = self.s.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buf += data
        return bool(data)

    def _until(self, mark):
        while mark not in self.buf:
            if not self._more():
                return None
        head, self.buf = self.buf.split(mark, 1)
        return head

    def _take(self, n):
        while len(self.buf) < n and self._more():
            pass
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def answer(self, head=False):
        """One response, or None when the connection ends before it."""
        interim = []
        while True:
            raw = self._until(b"\r\n\r\n")
            if raw is None:
                return None
            lines = raw.decode("latin-1").split("\r\n")
            status = int(lines[0].split()[1])
            if status // 100 != 1:
                break
            interim.append(status)
        headers = []
        for line in lines[1:]:
            k, _, v = line.partition(":")
            headers.append((k.strip().lower(), v.strip()))
        a = Answer(status, headers, b"", interim)
        if head or status in (204, 304):
            return a
        if a.get("transfer-encoding") == "chunked":
            while True:
                n = int(self._until(b"\r\n").split(b";")[0], 16)
                a.body += self._take(n)
                self._take(2)
                if n == 0:
                    break
        elif a.get("content-length") is not None:
            a.body = self._take(int(a.get("content-length")))
        else:
            while self._more():
                pass
            a.body, self.buf = self.buf, b""
        return a

    def closed(self):
        """The server ends the connection and says nothing more."""
        while self._more():
            pass
        return self.buf == b""

    def half_close(self):
        self.s.shutdown(socket.SHUT_WR)

    def reset(self):
        reset(self.s)


def reset(s):
    """Ends the connection by RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def request(nginx, data, head=False, timeout=15):
    """One request as bytes on a connection of its own."""
    with Wire(nginx, timeout) as w:
        w.send(data)
        return w.answer(head)


def mp4(size=20000, seed=1):
    """Bytes that begin as an MP4 does; no player would take them."""
    ftyp = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"
    data = random.Random(seed).randbytes(max(0, size - len(ftyp) - 8))
    return (ftyp + struct.pack(">I", 8 + len(data)) + b"mdat" + data)[:size]


def part(name, content, filename=None, headers=()):
    """One part without its boundary; text is UTF-8."""
    if isinstance(content, str):
        content = content.encode()
    disposition = f'form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    lines = [f"Content-Disposition: {disposition}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def form(*parts, boundary=BOUNDARY, preamble=b"", epilogue=b"\r\n",
         close=True):
    b = boundary.encode()
    out = preamble
    for i, p in enumerate(parts):
        out += (b"\r\n" if i else b"") + b"--" + b + b"\r\n" + p
    if close:
        out += b"\r\n--" + b + b"--" + epilogue
    return out


def video_form(data=None, title="a title", **kw):
    """The usual form: title, then file."""
    return form(part("title", title),
                part("file", mp4() if data is None else data, "clip.mp4",
                     ["Content-Type: video/mp4"]), **kw)


def head(token, length=None, boundary=BOUNDARY, extra=(), chunked=False,
         path="/api/v1/videos/upload", method="POST",
         content_type=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if content_type is None:
        content_type = f"multipart/form-data; boundary={boundary}"
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    lines += extra
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(data):
    return b"%x\r\n" % len(data) + data + b"\r\n"


def post(stack, body, token=None, timeout=15, **kw):
    """The body as an upload; the answer."""
    token = token or stack.token()
    with Wire(stack.nginx, timeout) as w:
        w.send(head(token, len(body), **kw) + body)
        return w.answer()


def originals(stack):
    return {p.parent.name: p
            for p in stack.storage.glob("originals/*/source.*")}


def incoming(stack):
    return sorted(p.name for p in (stack.storage / "incoming").iterdir()
                  if not p.name.startswith(".probe-"))


def videos(stack):
    return {str(row["id"]) for row in stack.pg.query(
        "SELECT id FROM videos WHERE deleted_at IS NULL")}


def sha(data):
    return hashlib.sha256(data).hexdigest()


def pieces(data, cuts):
    """`data` cut at the given offsets."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:])]


def trickle(w, parts, pause=0.0005):
    """Each piece in a segment of its own, so that the server reads it alone
    (mostly: what it reads together is a split as well)."""
    for p in parts:
        if p and not w.send(p):
            return False
        time.sleep(pause)
    return True


def big():
    """Whether tests should use the sizes of the requirement."""
    return os.environ.get("AVP_BIG") == "1"


class H2:
    """A cleartext HTTP/2 connection that does what it is told: httpx and curl
    do not cope with an answer that comes before the body's end."""

    def __init__(self, nginx, timeout=15):
        import h2.config
        import h2.connection
        self.s = socket.create_connection(("127.0.0.1", nginx.h2c_port),
                                          timeout)
        self.c = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True))
        self.c.initiate_connection()
        self.status, self.body = {}, {}
        self.ended, self.resets = set(), {}
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.s.close()

    def flush(self):
        data = self.c.data_to_send()
        if data:
            self.s.sendall(data)

    def begin(self, token, method="POST", path="/api/v1/videos/upload",
              end=False, extra=()):
        stream = self.c.get_next_available_stream_id()
        self.c.send_headers(stream, [
            (":method", method), (":path", path), (":scheme", "http"),
            (":authority", "localhost"), ("authorization", "Bearer " + token),
            *([] if end else [("content-type", "multipart/form-data; "
                               f"boundary={BOUNDARY}")]), *extra],
            end_stream=end)
        self.flush()
        return stream

    def receive(self):
        """One read; False at the connection's end."""
        import h2.events as ev
        data = self.s.recv(65536)
        if not data:
            return False
        for e in self.c.receive_data(data):
            if isinstance(e, ev.ResponseReceived):
                self.status[e.stream_id] = int(dict(e.headers)[b":status"])
            elif isinstance(e, ev.DataReceived):
                self.body[e.stream_id] = (self.body.get(e.stream_id, b"")
                                          + e.data)
                self.c.acknowledge_received_data(e.flow_controlled_length,
                                                 e.stream_id)
            elif isinstance(e, ev.StreamEnded):
                self.ended.add(e.stream_id)
            elif isinstance(e, ev.StreamReset):
                self.resets[e.stream_id] = e.error_code
                self.ended.add(e.stream_id)
        self.flush()
        return True

    def send(self, stream, data, end=False):
        """As much as the server takes before it answers; how much it was."""
        at = 0
        while at < len(data) and stream not in self.ended:
            n = min(self.c.local_flow_control_window(stream), 16384,
                    len(data) - at)
            if n <= 0:
                if not self.receive():
                    break
                continue
            self.c.send_data(stream, data[at:at + n],
                             end_stream=end and at + n == len(data))
            self.flush()
            at += n
        return at

    def answer(self, stream):
        while stream not in self.ended and self.receive():
            pass
        return self.status.get(stream), self.body.get(stream, b"")
