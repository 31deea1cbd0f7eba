"""`nginx -t`: every mistake that can be known is refused, with a sentence that
names the directive and where it stands."""

import itertools
import os
import pwd
import re
import shutil
import subprocess

import pytest

from rig import BUILD, Nginx, Run

SECRET = "a-secret-of-the-configuration-tests-0001"
numbers = itertools.count()
ENV = {
    "DATABASE_URL": "postgresql://avp@127.0.0.1:5432/avp",
    "REDIS_URL": "redis://127.0.0.1:6379",
    "JWT_SECRET": SECRET,
    "DELIVERY_SECRET": SECRET[::-1],
    "API_URL": "http://localhost:3000",
}


@pytest.fixture(scope="module")
def shared():
    with Run() as r:
        yield r


@pytest.fixture
def nginx(shared):
    name = next(numbers)      # not the test's: messages show the path

    def make(env=None, **kw):
        kw.setdefault("storage", shared.folder(f"storage-{name}"))
        return Nginx(shared, name=f"nginx-{name}",
                     env={**ENV, **(env or {})}, **kw)

    return make


def refused(ng, *words, text=None):
    """The one line that says what is wrong; it has all `words`."""
    status, said = ng.test(text)
    assert status != 0, said
    lines = [x for x in said.splitlines() if "[emerg]" in x]
    assert len(lines) == 1, said
    for w in words:
        assert w in lines[0], (w, lines[0])
    assert re.search(r" in \S+\.conf:\d+$", lines[0]), lines[0]
    assert SECRET not in said and SECRET[::-1] not in said
    return lines[0]


def accepted(ng, text=None):
    status, said = ng.test(text)
    assert status == 0, said
    assert "[warn]" not in said and "[alert]" not in said, said


def test_everything(nginx):
    ng = nginx(http={
        "avp_zone": "avp:512k",
        "avp_jwt": [f"hs256 {SECRET} kid=1 issuer=me audience=you leeway=10s",
                    f"hs256 {SECRET}x kid=2 leeway=0s"],
        "avp_delivery_key": [f"kid=1 {SECRET}", f"{SECRET}y kid=255"],
        "avp_public_url": "https://video.example.com/",
        "avp_cdn_url": "https://cdn.example.com/base",
        "avp_cors_origins": "https://a.example https://b.example:8443",
        "avp_max_video_size": "2GB",
        "avp_allowed_formats": "mp4 mkv webm",
    })
    accepted(ng)
    for f in ("incoming", "originals", "outputs", "trash"):
        assert (ng.storage / f).stat().st_mode & 0o7777 == 0o750


def test_shipped_configuration(nginx, shared):
    ng = nginx()
    text = (BUILD.parent / "conf/avp.conf").read_text()
    for d in re.findall(r"^#?(avp_\w+)", text, re.M):
        assert d in (BUILD.parent / "docs/directives.md").read_text()
    accepted(ng)


def test_without_the_module_used(nginx):
    accepted(nginx(http={k: None for k in (
        "avp_env_file", "avp_zone", "avp_database", "avp_redis",
        "avp_storage", "avp_jwt", "avp_delivery_key", "avp_public_url")},
        locations={"/api/v1/": "return 204;", "/v/": "return 204;"}))


# -- values ------------------------------------------------------------------

def test_env_missing(nginx):
    refused(nginx(http={"avp_database": "env:NO_SUCH_NAME"}),
            '"avp_database"', "NO_SUCH_NAME")


def test_env_file_wins_over_environment(nginx, shared):
    ng = nginx(env={"JWT_SECRET": "short"})
    env = {**ng._environment(), "JWT_SECRET": SECRET}
    ng._environment = lambda: env
    refused(ng, '"avp_jwt"', "5 bytes")


def test_environment_without_file(nginx):
    ng = nginx(http={"avp_env_file": None})
    env = {**ng._environment(), **ENV}
    ng._environment = lambda: env
    accepted(ng)


def test_env_file_absent(nginx):
    refused(nginx(http={"avp_env_file": "/no/such/file"}),
            '"avp_env_file"', "/no/such/file", "No such file")


def test_env_file_malformed(nginx, shared):
    f = shared.path / "bad.env"
    f.write_text("A=1\nthis is no pair\n")
    refused(nginx(http={"avp_env_file": str(f)}), '"avp_env_file"', "line 2")


def test_env_file_too_late(nginx):
    ng = nginx(http={"avp_env_file": None},
               http_extra="avp_env_file {prefix}/avp.env;")
    env = {**ng._environment(), **ENV}
    ng._environment = lambda: env
    refused(ng, '"avp_env_file" must come before')


def test_secret_from_file(nginx, shared):
    f = shared.path / "secret"
    f.write_text(SECRET + "\n")
    accepted(nginx(http={"avp_jwt": f"hs256 file:{f} kid=1"}))
    accepted(nginx(env={"JWT_SECRET": None, "JWT_SECRET_FILE": str(f)}))
    refused(nginx(http={"avp_jwt": "hs256 file:/no/such/secret"}),
            '"avp_jwt"', "/no/such/secret")


def test_addresses_in_parts(nginx):
    """The source's DB_* and REDIS_*, which workerd reads as well."""
    env = {"DATABASE_URL": None, "REDIS_URL": None}
    accepted(nginx(env={**env, "DB_HOST": "db", "DB_USER": "me",
                        "DB_PASSWORD": "it's", "REDIS_HOST": "::1"}))
    accepted(nginx(env={**env, "DB_HOST": "/run/pg",
                        "REDIS_HOST": "/run/redis.sock"}))
    refused(nginx(env={**env, "DB_PORT": "0", "REDIS_PORT": "1"}),
            '"avp_database"', "port")
    refused(nginx(env={**env, "DB_HOST": "db", "REDIS_PORT": "x"}),
            '"avp_redis"', "port")
    refused(nginx(env=env), '"avp_database"', "DATABASE_URL")
    refused(nginx(env={**env, "DB_PASSWORD": "your_password"}),
            '"avp_database"', "placeholder")


# -- services ----------------------------------------------------------------

@pytest.mark.parametrize("value, words", [
    ("mysql://h/db", ['"postgresql://']),
    ("localhost", ['"postgresql://']),
    ("postgresql://h:99999/db", ["port"]),
    ("postgresql://h:http/db", ["port"]),
    ('"host=h sslmod=require"', ["sslmod"]),
    ("postgresql://h/db?nonsense=1", ["nonsense"]),
    ("postgresql://u:p%zzword@h/db", ["percent-encoded"]),
    ("postgresql://u:your_password@h/db", ["placeholder"]),
    ('"service=mine"', ["service"]),
    ("postgresql://h/db connections=0", ["connections=0", "1 to 64"]),
    ("postgresql://h/db connections=many", ["connections=many"]),
    ("postgresql://h/db timeout=1ms", ["timeout=1ms", "100ms"]),
    ("postgresql://h/db timeout=soon", ["timeout=soon"]),
    ("postgresql://h/db speed=9", ["unknown parameter", "speed=9"]),
])
def test_bad_database(nginx, value, words):
    line = refused(nginx(http={"avp_database": value}), '"avp_database"',
                   *words)
    assert "p%zzword" not in line


@pytest.mark.parametrize("value", [
    "postgresql://u:p@127.0.0.1/db", "postgres://[::1]:5432/db",
    "postgresql://db.internal,db2.internal:5433/db?target_session_attrs=any",
    '"host=/run/postgresql dbname=avp"', "postgresql:///avp?host=/run/pg",
])
def test_good_database(nginx, value):
    if ",db2" in value:
        value = value.replace("db.internal,", "db.internal:5432,")
    accepted(nginx(http={"avp_database": value + " connections=64"
                                                 " timeout=60s"}))


@pytest.mark.parametrize("value, words", [
    ("localhost:6379", ["redis://"]),
    ("redis://", []),
    ("redis://h:0", ["port"]),
    ("redis://h:x", ["port"]),
    ("redis://h/notanumber", []),
    ("rediss://h", []),
    ("redis://h timeout=0s", ["timeout=0s"]),
    ("redis://h connections=3", ["connections=3"]),
])
def test_bad_redis(nginx, value, words):
    refused(nginx(http={"avp_redis": value}), '"avp_redis"', *words)


@pytest.mark.parametrize("value", [
    "redis://h", "redis://h:6380/2", "redis://:pw@h", "redis://u:pw@[::1]:1",
    "unix:/run/redis.sock",
])
def test_good_redis(nginx, value):
    accepted(nginx(http={"avp_redis": value}))


# -- storage -----------------------------------------------------------------

@pytest.mark.parametrize("value, words", [
    ("s3 bucket=b", ["unknown driver", "s3"]),
    ("file relative/path", ["absolute"]),
    ("file /", ["absolute"]),
    ("file /no/such/parent/dir", ["cannot make", "No such file"]),
])
def test_bad_storage(nginx, value, words):
    refused(nginx(http={"avp_storage": value}), '"avp_storage"', *words)


def test_storage_is_a_file(nginx, shared):
    f = shared.path / "plain"
    f.write_text("")
    refused(nginx(http={"avp_storage": f"file {f}"}), '"avp_storage"')


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_storage_of_the_worker(nginx, shared):
    """Made folders belong to the worker's user; one it cannot write to is
    found, also when root could."""
    shared.path.chmod(0o711)
    ng = nginx(user="nobody nogroup")
    ng.storage.chmod(0o755)
    accepted(ng)
    nobody = pwd.getpwnam("nobody").pw_uid
    assert (ng.storage / "incoming").stat().st_uid == nobody
    os.chown(ng.storage / "outputs", 0, 0)
    refused(ng, '"avp_storage"', "outputs", "Permission denied")
    os.chown(ng.storage / "outputs", nobody, -1)
    (ng.storage / "incoming").chmod(0o550)
    refused(ng, '"avp_storage"', "incoming", "Permission denied")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_storage_by_group(nginx, shared):
    """The worker's groups count, as they do when it runs."""
    name = "avp-cfg-test"
    subprocess.run(["groupadd", "-f", name], check=True)
    try:
        import grp
        gid = grp.getgrnam(name).gr_gid
        ng = nginx(user=f"nobody {name}")
        for f in ("incoming", "originals", "outputs", "trash"):
            (ng.storage / f).mkdir()
            os.chown(ng.storage / f, 0, gid)
            (ng.storage / f).chmod(0o770)
        ng.storage.chmod(0o755)
        accepted(ng)
    finally:
        subprocess.run(["groupdel", name], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("folder, other", [("incoming", "originals"),
                                           ("trash", "outputs")])
def test_storage_on_two_devices(nginx, folder, other):
    ng = nginx()
    where = ng.storage / folder
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs",
                       where]).returncode != 0:
        pytest.skip("this machine does not let root mount")
    try:
        refused(ng, '"avp_storage"', folder, other, "another device")
    finally:
        subprocess.run(["umount", where], check=True)


# -- keys --------------------------------------------------------------------

@pytest.mark.parametrize("value, words", [
    (f"rs256 {SECRET}", ["unknown algorithm", "rs256"]),
    (f"HS256 {SECRET}", ["unknown algorithm", "HS256"]),
    ("hs256 tooshort", ["8 bytes", "32"]),
    (f"hs256 {'x' * 31}", ["31 bytes", "32"]),
    ("hs256 your_jwt_secret_key_of_32_bytes_or_more_here", ["placeholder"]),
    (f"hs256 {SECRET} leeway=61s", ["leeway=61s"]),
    (f"hs256 {SECRET} leeway=x", ["leeway=x"]),
    (f"hs256 {SECRET} keyid=1", ["unknown parameter", "keyid=1"]),
    (f"hs256 {SECRET} issuer=", ["issuer="]),
])
def test_bad_jwt(nginx, value, words):
    line = refused(nginx(http={"avp_jwt": value}), '"avp_jwt"', *words)
    assert "tooshort" not in line


def test_jwt_same_kid(nginx):
    refused(nginx(http={"avp_jwt": [f"hs256 {SECRET} kid=1",
                                    f"hs256 {SECRET}x kid=1"]}),
            '"avp_jwt"', '"kid"')


@pytest.mark.parametrize("value, words", [
    (f"{SECRET} {SECRET}", ["kid="]),
    (f"kid=0 {SECRET}", ["kid=0", "255"]),
    (f"kid=256 {SECRET}", ["kid=256"]),
    (f"kid=x {SECRET}", ["kid=x"]),
    ("kid=1 tooshort", ["8 bytes"]),
])
def test_bad_delivery_key(nginx, value, words):
    refused(nginx(http={"avp_delivery_key": value}), '"avp_delivery_key"',
            *words)


def test_delivery_key_same_kid(nginx):
    refused(nginx(http={"avp_delivery_key": [f"kid=7 {SECRET}",
                                             f"kid=7 {SECRET}x"]}),
            '"avp_delivery_key"', '"kid"')


# -- the rest ----------------------------------------------------------------

@pytest.mark.parametrize("name, value", [
    ("avp_public_url", "video.example.com"),
    ("avp_public_url", "ftp://video.example.com"),
    ("avp_public_url", "http://"),
    ("avp_public_url", "http://a.example/?q"),
    ("avp_cdn_url", "cdn.example.com"),
    ("avp_cors_origins", "*"),
    ("avp_cors_origins", "https://a.example/path"),
    ("avp_cors_origins", "a.example"),
    ("avp_max_video_size", "0"),
    ("avp_max_video_size", "5 gigs"),
    ("avp_max_video_size", "-1"),
    ("avp_max_video_size", "99999999999999999999"),
    ("avp_allowed_formats", "mp4 exe"),
    ("avp_zone", "avp"),
    ("avp_zone", "avp:4k"),
    ("avp_zone", "avp:big"),
    ("avp_zone", ":16m"),
])
def test_bad_value(nginx, name, value):
    if " gigs" in value:
        value = '"5 gigs"'
    refused(nginx(http={name: value}), name)


@pytest.mark.parametrize("name, value", [
    ("avp_env_file", "{prefix}/avp.env"),
    ("avp_zone", "other:1m"),
    ("avp_database", "postgresql://h/db"),
    ("avp_redis", "redis://h"),
    ("avp_storage", "file /tmp"),
    ("avp_public_url", "http://h"),
    ("avp_cdn_url", "http://h"),
    ("avp_max_video_size", "1g"),
    ("avp_allowed_formats", "mp4"),
])
def test_duplicate(nginx, name, value):
    first = {"avp_cdn_url": "http://h", "avp_max_video_size": "1g",
             "avp_allowed_formats": "mp4"}
    ng = nginx(http={k: v for k, v in first.items() if k == name},
               http_extra=f"{name} {value};")
    refused(ng, f'"{name}" directive is duplicate')


@pytest.mark.parametrize("name", [
    "avp_zone", "avp_database", "avp_redis", "avp_storage", "avp_jwt",
    "avp_delivery_key",
])
def test_api_without(nginx, name):
    refused(nginx(http={name: None}), '"avp_api" needs', f'"{name}"')


def test_delivery_with_alias(nginx):
    refused(nginx(locations={"/v/": "avp_delivery; alias {storage}/;"}),
            '"avp_delivery"', '"alias"', '"/v/"')


@pytest.mark.parametrize("name", ["avp_zone", "avp_storage",
                                  "avp_delivery_key", "avp_database"])
def test_delivery_without(nginx, name):
    refused(nginx(http={name: None}, locations={"/api/v1/": None}),
            '"avp_delivery" needs', f'"{name}"')


@pytest.mark.parametrize("who, locations", [
    ("avp_api", {}), ("avp_delivery", {"/api/v1/": None})])
def test_without_thread_pool(nginx, who, locations):
    ng = nginx(locations=locations)
    text = ng.render().replace("thread_pool avp_io threads=8"
                               " max_queue=4096;", "")
    refused(ng, f'"{who}" needs', "thread_pool avp_io", text=text)


@pytest.mark.parametrize("where", ["= /api", r"~ ^/api/", "@api"])
def test_api_location_kind(nginx, where):
    refused(nginx(locations={"/api/v1/": None, where: "avp_api;"}),
            '"avp_api" directive works in a prefix location only')


def test_api_twice(nginx):
    refused(nginx(locations={"/api/v1/": "avp_api; avp_api;"}),
            '"avp_api" directive is duplicate')


def test_place_is_the_directives(nginx):
    """The line is that of the mistake, also for what is found at the end."""
    ng = nginx(http={"avp_redis": None})
    line = refused(ng)
    number = int(line.rsplit(":", 1)[1])
    assert "avp_api;" in ng.conf.read_text().splitlines()[number - 1]


def test_running_nginx_survives(run):
    """A refused configuration leaves a running NGINX as it is."""
    ng = Nginx(run, env=ENV)
    ng.start()
    worker = ng.workers()
    good = ng.conf.read_text()
    shutil.move(ng.storage / "trash", ng.storage / "trash.kept")
    (ng.storage / "trash").write_text("not a folder")
    ng.reload(wait=False)
    from rig import wait_until
    wait_until(lambda: '"avp_storage": not a folder' in ng.log_text(), 10)
    assert ng.workers() == worker
    with ng.client() as c:
        assert c.get("/stub").status_code == 200
    assert good == ng.conf.read_text()
    ng.check_log(allow=[r"\[emerg\].*avp_storage"])
