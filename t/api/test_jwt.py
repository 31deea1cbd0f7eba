"""Bearer tokens that must not be accepted, and those that must: each cold and
warm (the worker keeps what it has accepted)."""

import base64
import hashlib
import hmac
import json
import time
import uuid

import pytest
import wire
from rig import Stack, mint, wait_until
from rig.stack import SECRET
from wire import problem

ISSUED = "https://issuer.example"
AUDIENCE = "avp-tests"


def b64(data):
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(text, secret=SECRET, digest=hashlib.sha256):
    return b64(hmac.new(secret.encode() if isinstance(secret, str) else secret,
                        text.encode(), digest).digest())


def token(header, payload, secret=SECRET, digest=hashlib.sha256):
    """Any header over any payload with a good HMAC; bytes go in as they are.
    """
    text = f"{b64(header)}.{b64(payload)}"
    return f"{text}.{sign(text, secret, digest)}"


HEAD = {"alg": "HS256", "typ": "JWT", "kid": "1"}


def claims(user, **kw):
    now = int(time.time())
    c = {"sub": str(user), "role": "user", "iat": now, "exp": now + 600}
    c.update(kw)
    return {k: v for k, v in c.items() if v is not None}


def ask(stack, header, n=2):
    """The same request twice, as cold and warm; the statuses are one."""
    answers = []
    for _ in range(n):
        answers.append(wire.request(
            stack.nginx, b"GET /api/v1/videos?limit=1 HTTP/1.1\r\nHost: a\r\n"
            + header + b"Connection: close\r\n\r\n"))
    assert len({a.status for a in answers}) == 1, answers
    return answers[0]


def bearer(text):
    if isinstance(text, str):
        text = text.encode("utf-8")
    return b"Authorization: Bearer " + text + b"\r\n"


def refused(stack, text, why=""):
    a = ask(stack, bearer(text))
    doc = a.problem(401, "invalid_token")
    # constant wording: a caller learns nothing of the reason
    assert doc["detail"] == ("The bearer token is missing, expired or not "
                             "valid."), why
    challenge = a.get("www-authenticate")
    assert challenge.startswith("Bearer ")
    assert 'error="invalid_token"' in challenge
    return a


def accepted(stack, text):
    a = ask(stack, bearer(text))
    assert a.status == 200, a


def raw_payload(user, exp_text):
    return (f'{{"sub":"{user}","role":"user","exp":{exp_text}}}').encode()


def test_good(stack):
    accepted(stack, mint(stack.user))
    accepted(stack, token(HEAD, claims(stack.user)))
    accepted(stack, token(HEAD, claims(stack.user, aud="whatever",
                                       iss="whoever")))
    accepted(stack, token({"alg": "HS256", "kid": "1"}, claims(stack.user)))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "hs256",
                                 "HS384", "HS512", "RS256", "ES256", "PS256",
                                 "EdDSA", "HS256 ", None, 1, ["HS256"]])
def test_algorithm(stack, alg):
    head = {**HEAD, "alg": alg}
    if alg is None:
        del head["alg"]
    text = f"{b64(head)}.{b64(claims(stack.user))}"
    for signature in (sign(text), "", sign(text, "")):
        refused(stack, f"{text}.{signature}")
    for digest in (hashlib.sha384, hashlib.sha512):
        refused(stack, token(head, claims(stack.user), digest=digest))


def test_confused_key(stack):
    """HS256 with the text of an RSA public key as its secret."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    pem = rsa.generate_private_key(65537, 2048).public_key().public_bytes(
        serialization.Encoding.PEM,
        serialization.PublicFormat.SubjectPublicKeyInfo)
    refused(stack, token(HEAD, claims(stack.user), pem))
    refused(stack, token(HEAD, claims(stack.user), ""))


@pytest.mark.parametrize("name, change", [
    ("expired", {"exp": -3600}), ("expired over the leeway", {"exp": -45}),
    ("not yet", {"nbf": 3600}), ("not yet over the leeway", {"nbf": 90}),
    ("issued in the future", {"iat": 3600}),
])
def test_times(stack, name, change):
    now = int(time.time())
    refused(stack, token(HEAD, claims(stack.user, **{
        k: now + v for k, v in change.items()})))


def test_leeway(stack):
    now = int(time.time())
    accepted(stack, token(HEAD, claims(stack.user, exp=now - 10)))
    accepted(stack, token(HEAD, claims(stack.user, nbf=now + 10)))
    accepted(stack, token(HEAD, claims(stack.user, iat=now + 10)))


def test_cached_token_expires(stack):
    """What was accepted is refused once its time is over."""
    now = int(time.time())
    text = token(HEAD, claims(stack.user, exp=now - 27))
    accepted(stack, text)
    wait_until(lambda: time.time() > now + 5, 20)
    refused(stack, text)


@pytest.mark.parametrize("exp", [
    None, '"{now}"', "1e18", "1e400", "-1", "0", "9223372036854775808",
    "18446744073709551616", "{now}.5", "[{now}]", "{{}}", "true", "null",
    '"never"', "-9223372036854775809"])
def test_expiry_must_be_a_number(stack, exp):
    if exp is None:
        refused(stack, token(HEAD, {"sub": stack.user, "role": "user"}))
        return
    text = exp.format(now=int(time.time()) + 600)
    refused(stack, token(HEAD, raw_payload(stack.user, text)))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("value", ["x", [], {}, True, 1e300, 2**63])
def test_other_times_must_be_numbers(stack, claim, value):
    refused(stack, token(HEAD, claims(stack.user, **{claim: value})))


@pytest.mark.parametrize("kid", [
    "../../dev/null", "' OR 1=1 --", "x" * 4096, "2", "unknown", "1\u0000",
    1, ["1"], {}, True])
def test_kid(stack, kid):
    refused(stack, token({**HEAD, "kid": kid}, claims(stack.user)))


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_keys_in_the_token_are_not_looked_at(stack, name):
    """Signed with our key it is good whatever they say; they change nothing
    for one that is not."""
    value = ({"kty": "oct", "k": b64(b"x" * 40)} if name == "jwk"
             else "http://127.0.0.1:1/keys")
    refused(stack, token({**HEAD, name: value}, claims(stack.user), "x" * 40))


@pytest.mark.parametrize("extra", [
    {"crit": ["b64"], "b64": False}, {"crit": []}, {"crit": ["exp"]},
    {"b64": False}, {"zip": "DEF"}])
def test_critical_headers(stack, extra):
    refused(stack, token({**HEAD, **extra}, claims(stack.user)))


@pytest.mark.parametrize("header, payload", [
    (b'{"alg":"HS256","alg":"HS256","kid":"1"}', None),
    (b'{"alg":"none","alg":"HS256"}', None),
    (None, '{"sub":"%(u)s","sub":"%(u)s","exp":%(e)d}'),
    (None, '{"sub":"%(u)s","exp":1,"exp":%(e)d}'),
    (None, '{"sub":"%(u)s","role":"user","role":"admin","exp":%(e)d}'),
    (None, '[]'), (None, '1'), (None, '"x"'), (None, 'null'), (None, ''),
    (None, '{'), (None, '{"sub":"%(u)s","exp":%(e)d} x'),
    (None, '{"sub":"%(u)s\\u0000","exp":%(e)d}'),
    (None, '\ufeff{"sub":"%(u)s","exp":%(e)d}'),
    (b"[]", None), (b"", None), (b"{", None), (b"null", None),
    (b'\xff{"alg":"HS256"}', None)])
def test_json(stack, header, payload):
    if payload is None:
        payload = claims(stack.user)
    else:
        payload = (payload % {"u": stack.user, "e": int(time.time()) + 600}
                   if "%" in payload else payload).encode()
    refused(stack, token(HEAD if header is None else header, payload))


def test_invalid_utf8(stack):
    good = json.dumps(claims(stack.user)).encode()
    refused(stack, token(HEAD, good[:-1] + b',"x":"\xff"}'))
    refused(stack, token(HEAD, good.decode().encode("utf-16")))
    refused(stack, token(HEAD, good + b"\0"))
    refused(stack, token(HEAD, b"[" * 100_0 + b"]" * 1000))


@pytest.mark.parametrize("sub", [
    None, 1, [], {}, "", "x", "demo@example.com", True,
    "00000000-0000-0000-0000-00000000000g", "' OR 1=1"])
def test_subject(stack, sub):
    refused(stack, token(HEAD, {**claims(stack.user, sub=None),
                                **({} if sub is None else {"sub": sub})}))


@pytest.mark.parametrize("role", ["root", "", 1, [], {"admin": True}, "Admin",
                                  "ADMIN", True])
def test_role(stack, role):
    """Only the word itself makes an administrator; others are users or
    refused, never more."""
    a = ask(stack, bearer(token(HEAD, claims(stack.user, role=role))))
    assert a.status in (200, 401)
    if a.status == 200:
        for video in a.json()["data"]:
            assert stack.pg.query("SELECT user_id FROM videos WHERE id = %s",
                                  (video["id"],))[0]["user_id"].hex == \
                uuid.UUID(stack.user).hex


def shapes(good):
    h, p, s = good.split(".")
    return {
        "1 part": h, "2 parts": f"{h}.{p}", "4 parts": f"{good}.{s}",
        "5 parts": f"{good}.{s}.{s}", "no signature": f"{h}.{p}.",
        "no payload": f"{h}..{s}", "no header": f".{p}.{s}", "dots": "..",
        "dot": ".", "many dots": "." * 100, "dot in front": "." + good,
        "dot behind": good + ".", "padded": good + "=",
        "padded inside": f"{h}=.{p}.{s}", "plus": f"{h}.{p}.+{s[1:]}",
        "slash": f"{h}.{p}./{s[1:]}", "space": f"{h}. {p}.{s}",
        "tab": f"{h}.{p}.\t{s}", "two": f"{good} {good}",
        "comma": f"{good},{good}", "quoted": f'"{good}"',
        "cut": good[:-1], "longer": good + "A",
        "signature moved": f"{h}.{p}.{s[1:]}{s[0]}",
        "signature empty bytes": f"{h}.{p}.{b64(b'')}",
        "zeros": f"{h}.{p}.{b64(bytes(32))}",
        "truncated mac": f"{h}.{p}.{s[:22]}",
        "payload changed": f"{h}.{b64({'sub': 'x'})}.{s}",
    }


def test_shapes(stack):
    good = mint(stack.user)
    accepted(stack, good)
    for name, text in shapes(good).items():
        refused(stack, text, name)
    accepted(stack, good)


def test_trailing_bits(stack):
    """The same bytes by another spelling are another token: refused, or a
    revocation by hash could be walked around."""
    good = mint(stack.user)
    accepted(stack, good)
    alphabet = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                "0123456789-_")
    i = alphabet.index(good[-1])
    refused(stack, good[:-1] + alphabet[i ^ 1])
    refused(stack, good[:-1] + alphabet[i ^ 2])


def test_every_character_counts(stack):
    good = mint(stack.user)
    accepted(stack, good)
    for i in range(0, len(good), 7):
        c = "A" if good[i] != "A" else "B"
        if good[i] != ".":
            refused(stack, good[:i] + c + good[i + 1:], i)


def test_long_tokens(stack):
    """9 KB: the core's limit; 7 KB: refused in no time."""
    long = token(HEAD, claims(stack.user, pad="x" * 9000))
    a = ask(stack, bearer(long))
    assert a.status in (400, 401), a
    junk = "A" * 3500 + "." + "B" * 3000 + "." + "C" * 43
    for text in (junk, "." * 7000, "A" * 7000):
        start = time.monotonic()
        for _ in range(20):
            refused(stack, text)
        assert (time.monotonic() - start) / 40 < 0.05


def test_jwe(stack):
    head = {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM",
            "p2c": 2_147_483_647, "p2s": "AAAA"}
    start = time.monotonic()
    refused(stack, ".".join([b64(head), "AAAA", "AAAA", "AAAA", "AAAA"]))
    refused(stack, token({**head, "kid": "1"}, claims(stack.user)))
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("claim", [{"typ": "refresh"}, {"token_use": "refresh"},
                                   {"typ": "Refresh"}])
def test_refresh_token_is_no_access_token(stack, claim):
    refused(stack, token(HEAD, claims(stack.user, **claim)))


@pytest.mark.parametrize("header", [
    b"", b"Authorization:\r\n", b"Authorization: Bearer\r\n",
    b"Authorization: Bearer \r\n", b"Authorization: Basic dXNlcjpwYXNz\r\n",
    b"Authorization: Token %(t)s\r\n", b"Authorization: %(t)s\r\n",
    b"Authorization: Bearer%(t)s\r\n", b"Authorization: Bearer=%(t)s\r\n",
    b"X-Authorization: Bearer %(t)s\r\n", b"Cookie: token=%(t)s\r\n",
    b"Proxy-Authorization: Bearer %(t)s\r\n"])
def test_other_headers(stack, header):
    t = mint(stack.user).encode()
    ask(stack, header.replace(b"%(t)s", t)).problem(401, "invalid_token")


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"bEaReR"])
def test_scheme_in_any_case(stack, scheme):
    a = ask(stack, b"Authorization: " + scheme + b" "
            + mint(stack.user).encode() + b"\r\n")
    assert a.status == 200


def test_two_authorizations(stack):
    good = bearer(mint(stack.user))
    for second in (good, b"Authorization: Basic x\r\n", bearer("x")):
        a = ask(stack, good + second)
        assert a.status == 400, a


@pytest.mark.parametrize("name", ["token", "access_token", "jwt", "bearer",
                                  "authorization", "ticket"])
def test_no_token_in_the_query(stack, name):
    a = wire.request(stack.nginx, (
        f"GET /api/v1/videos?{name}={mint(stack.user)} HTTP/1.1\r\n"
        "Host: a\r\nConnection: close\r\n\r\n").encode())
    a.problem(401, "invalid_token")


def test_disabled_user(run):
    """Refused within moments, also with a token that the cache knows; and
    again allowed once enabled."""
    stack = Stack(run, worker=False)
    user = stack.add_user("x@example.com")
    text = mint(user)
    accepted(stack, text)
    disable = "UPDATE users SET is_active = %s, updated_at = now() WHERE id = %s"
    stack.pg.query("SELECT * FROM user_disable('x@example.com', true)")
    wait_until(lambda: ask(stack, bearer(text), 1).status == 401, 15)
    stack.pg.query("SELECT * FROM user_disable('x@example.com', false)")
    wait_until(lambda: ask(stack, bearer(text), 1).status == 200, 15)
    stack.check_logs()


def test_issuer_and_audience(run):
    stack = Stack(run, worker=False, http={"avp_jwt":
                  f"hs256 env:JWT_SECRET kid=1 issuer={ISSUED} "
                  f"audience={AUDIENCE} leeway=0s"})
    good = {"iss": ISSUED, "aud": AUDIENCE}
    accepted(stack, mint(stack.user, **good))
    accepted(stack, mint(stack.user, iss=ISSUED, aud=["x", AUDIENCE]))
    for bad in ({"iss": None}, {"iss": ISSUED + "/"}, {"iss": [ISSUED]},
                {"aud": None}, {"aud": "x"}, {"aud": []}, {"aud": ["x"]},
                {"aud": [1, None]}, {"aud": {AUDIENCE: 1}}, {"iss": ""}):
        refused(stack, token(HEAD, claims(stack.user, **{**good, **bad})), bad)
    now = int(time.time())
    refused(stack, mint(stack.user, exp=now - 2, **good))
    stack.check_logs()


def test_rotation(run):
    """Two keys at once; a key that leaves takes its cached tokens along."""
    a, b = "a" * 40, "b" * 40
    stack = Stack(run, worker=False, env={"A": a, "B": b}, http={
        "avp_jwt": ["hs256 env:B kid=new", "hs256 env:A kid=old"]})
    old = mint(stack.user, secret=a, kid="old")
    new = mint(stack.user, secret=b, kid="new")
    accepted(stack, old)
    accepted(stack, new)
    for kid, secret in (("old", b), ("new", a), ("1", a)):
        refused(stack, mint(stack.user, secret=secret, kid=kid))
    stack.nginx.http["avp_jwt"] = "hs256 env:B kid=new"
    stack.nginx.write()
    stack.nginx.reload()
    refused(stack, old)
    accepted(stack, new)
    stack.check_logs()


def test_no_secret_in_a_log(stack):
    text = mint(stack.user)
    accepted(stack, text)
    refused(stack, text[:-2])
    for log in (stack.nginx.log_text(), stack.nginx.access_log.read_text()):
        assert text not in log and text[:-2] not in log and SECRET not in log
