"""workerd user, token and sample: what an operator sees."""

import json
import os
import pathlib
import re

import pytest

from calls import WORKERD
from rig.run import run_command

SECRET = "a-secret-of-the-tests-0123456789abcdef"


@pytest.fixture
def workerd(server, db, tmp_path):
    def call(*args, check=True, input=None, **env):
        return run_command(
            [WORKERD, *args], check=check, input=input,
            env={"DATABASE_URL": server.url, "JWT_SECRET": SECRET,
                 "STORAGE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin",
                 **env})
    return call


def claims(token):
    import jwt
    return jwt.decode(token, SECRET, algorithms=["HS256"])


def test_usage(workerd):
    for args in ((), ("nonsense",), ("user",), ("user", "add"),
                 ("user", "drop", "x@y.z"), ("token",), ("migrate", "-x"),
                 ("token", "--user", "a@b.c", "--expires", "soon"),
                 ("sample", "a", "b"), ("--nonsense",)):
        p = workerd(*args, check=False)
        assert p.returncode == 2 and p.stderr, args
    assert workerd("--help").stdout.startswith("usage:")
    assert "libpq" in workerd("--version").stdout


def test_user(workerd, db):
    out = workerd("user", "add", "A@example.com", "--username", "anna",
                  "--password-stdin", input="correct horse battery\n").stdout
    assert re.match(r"[0-9a-f-]{36} ", out)
    assert db.one("SELECT password_hash FROM users").startswith("$argon2id$")
    p = workerd("user", "add", "a@example.com", check=False)
    assert p.returncode == 1 and "taken" in p.stderr
    p = workerd("user", "add", "b@example.com", "--password-stdin",
                input="short\n", check=False)
    assert p.returncode == 1 and "12" in p.stderr
    assert "active" in workerd("user", "list").stdout
    workerd("user", "disable", "a@example.com")
    assert "disabled" in workerd("user", "list").stdout
    p = workerd("token", "--user", "a@example.com", check=False)
    assert p.returncode == 1 and "disabled" in p.stderr
    workerd("user", "enable", "a@example.com")
    p = workerd("user", "enable", "nobody@example.com", check=False)
    assert p.returncode == 1 and "no user" in p.stderr


def test_token(workerd, db):
    p = workerd("token", "--user", "t@example.com", check=False)
    assert p.returncode == 1 and "--create" in p.stderr and not p.stdout
    out = workerd("token", "--user", "t@example.com", "--create",
                  "--expires", "2h").stdout
    c = claims(out.splitlines()[-1])
    assert c["role"] == "user" and c["exp"] - c["iat"] == 7200
    assert c["sub"] == str(db.one("SELECT id FROM users"))
    # a user's token never becomes an administrator's by asking
    p = workerd("token", "--user", "t@example.com", "--admin", check=False)
    assert p.returncode == 1 and not p.stdout
    c = claims(workerd("token", "--user", "t@example.com", "--create",
                       "--admin").stdout.splitlines()[-1])
    assert c["role"] == "admin"
    assert db.one("SELECT count(*) FROM audit_logs WHERE action ="
                  " 'user.role'") == 1
    # the role is the row's, also when nobody asks for it
    c = claims(workerd("token", "--user", "T@example.com").stdout.strip())
    assert c["role"] == "admin"


def test_token_needs_a_secret(workerd):
    p = workerd("token", "--user", "t@example.com", "--create", check=False,
                JWT_SECRET="")
    assert p.returncode == 1 and "JWT_SECRET" in p.stderr
    p = workerd("token", "--user", "t@example.com", "--create", check=False,
                JWT_SECRET="short")
    assert p.returncode == 1 and "JWT_SECRET" in p.stderr


def test_env_file(server, db, tmp_path):
    f = tmp_path / "avp.env"
    f.write_text(f"# settings\nDATABASE_URL={server.url}\n")
    for args, env in ((["--env-file", f], {}), ([f"--env-file={f}"], {}),
                      ([], {"AVP_ENV_FILE": str(f)})):
        run_command([WORKERD, *args, "user", "list"], env=env)
    p = run_command([WORKERD, "--env-file", tmp_path / "none", "user",
                     "list"], env={}, check=False)
    assert p.returncode == 1 and "none" in p.stderr


def test_database_down_is_said_without_the_password(workerd):
    p = workerd("user", "list", check=False,
                DATABASE_URL="postgresql://me:s3cret@127.0.0.1:1/x")
    assert p.returncode == 1 and "DATABASE_URL" in p.stderr
    assert "s3cret" not in p.stderr


@pytest.mark.parametrize("command", [
    ("migrate",), ("user", "list"), ("user", "add", "a@b.c"), ("sample",),
    ("token", "--user", "a@b.c"), ("run", "--once"), ("reconcile",), ("gc",)],
    ids=" ".join)
def test_no_database_named_is_said(command, tmp_path):
    p = run_command([WORKERD, *command], check=False, env={
        "PATH": "/usr/bin:/bin", "JWT_SECRET": SECRET,
        "STORAGE_DIR": str(tmp_path)})
    assert p.returncode == 1, (p.returncode, p.stderr)
    assert "DATABASE_URL is not set" in p.stderr


def test_functions_missing_is_said(server, workerd):
    url = server.createdb("empty")
    p = workerd("user", "list", check=False, DATABASE_URL=url)
    assert p.returncode == 1 and "workerd migrate" in p.stderr


def test_log_lines_are_json(workerd):
    p = workerd("user", "list", FFMPEG_PATH="/usr/bin/ffmpeg",
                LOG_LEVEL="debug")
    lines = [json.loads(line) for line in p.stderr.splitlines()]
    assert any("FFMPEG_PATH" in line.get("names", "") for line in lines)
    for line in lines:
        assert re.match(r"^\d{4}-.*\.\d{3}Z$", line["time"])
        assert line["level"] in ("debug", "info", "warn", "error")


def mp4(path):
    """The first bytes of an MP4 are all that the command looks at."""
    path.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0" * 5000)
    return path


def test_sample(workerd, db, tmp_path):
    source = mp4(tmp_path / "my holiday.mp4")
    before = source.read_bytes()
    out = workerd("sample", source).stdout
    video = re.search(r"^video (\S+)$", out, re.M).group(1)
    v = db.row(video)
    assert (v.status, v.filename, v.original_size) == (
        "pending", "my holiday.mp4", len(before))
    assert v.s3_key == f"originals/{video}/source.mp4"
    kept = tmp_path / v.s3_key
    assert kept.read_bytes() == before
    assert kept.stat().st_mode & 0o777 == 0o640
    assert kept.parent.stat().st_mode & 0o777 == 0o750
    assert list((tmp_path / "incoming").iterdir()) == []
    assert db.one("SELECT email FROM users") == "demo@example.com"
    assert str(db.claim("6f6f6f6f-0000-4000-8000-000000000000").video) == video


def test_sample_makes_a_clip(workerd, db, tmp_path):
    out = workerd("sample", "--user", "s@example.com").stdout
    v = db.row(re.search(r"^video (\S+)$", out, re.M).group(1))
    assert (v.title, v.container) == ("Sample clip", "mp4")
    assert (tmp_path / v.s3_key).stat().st_size == v.original_size > 10000
    assert list((tmp_path / "incoming").iterdir()) == []
    assert db.one("SELECT email FROM users") == "s@example.com"


def test_sample_belongs_to_the_storages_owner(workerd, db, tmp_path):
    owner = (os.geteuid(), os.getegid())
    if owner[0] == 0:
        owner = (65534, 65534)
        os.chown(tmp_path, *owner)
    workerd("sample", mp4(tmp_path / "a.mp4"))
    (kept,) = (tmp_path / "originals").glob("*/source.mp4")
    for p in (kept, kept.parent, kept.parent.parent):
        assert (p.stat().st_uid, p.stat().st_gid) == owner


def test_sample_refuses_and_leaves_nothing(workerd, db, tmp_path):
    bad = tmp_path / "a.mp4"
    bad.write_text("#EXTM3U\n")
    p = workerd("sample", bad, check=False)
    assert p.returncode == 1 and "not a video" in p.stderr
    p = workerd("sample", tmp_path / "none", check=False)
    assert p.returncode == 1
    p = workerd("sample", mp4(bad), check=False,
                STORAGE_DIR=str(tmp_path / "nowhere"))
    assert p.returncode == 1 and "STORAGE_DIR" in p.stderr
    assert db.one("SELECT count(*) FROM videos") == 0
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p != bad]
    assert left == [], left
    assert not list(pathlib.Path(tmp_path).glob("originals/*"))
