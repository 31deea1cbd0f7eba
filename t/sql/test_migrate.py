"""workerd migrate: order, repetition, two at once, and what it refuses."""

import shutil
import subprocess
import uuid

import pytest

from calls import WORKERD, Database, migrate
from rig.run import ROOT


SHIPPED = sorted(int(f.name[:4]) for f in (ROOT / "migrations").glob("*.sql"))


@pytest.fixture
def fresh(server):
    """An empty database's name and address."""
    name = "m" + uuid.uuid4().hex
    yield server.createdb(name)


@pytest.fixture
def folder(tmp_path):
    d = tmp_path / "migrations"
    shutil.copytree(ROOT / "migrations", d)
    return d


def versions(url):
    d = Database(url)
    try:
        return [r.version for r in
                d.sql("SELECT version FROM schema_migrations ORDER BY 1")]
    finally:
        d.close()


def test_twice(fresh):
    assert "applied 0001_tables.sql" in migrate(fresh).stdout
    again = migrate(fresh).stdout
    assert "applied" not in again and "up to date" in again
    assert versions(fresh) == SHIPPED


def test_two_at_once(fresh):
    both = [subprocess.Popen([WORKERD, "migrate"], text=True,
                             env={"DATABASE_URL": fresh},
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(4)]
    outs = [p.communicate(timeout=60) for p in both]
    assert [p.returncode for p in both] == [0] * 4, outs
    assert sum("applied 0001" in o for o, _ in outs) == 1
    assert versions(fresh) == SHIPPED


def test_failing_file_leaves_nothing(fresh, folder):
    migrate(fresh)
    (folder / "0900_bad.sql").write_text(
        "CREATE TABLE half (a int);\nSELECT no_such_thing;\n")
    p = migrate(fresh, "--dir", folder, check=False)
    assert p.returncode == 1 and "0900_bad.sql" in p.stderr
    assert versions(fresh) == SHIPPED
    d = Database(fresh)
    assert d.one("SELECT to_regclass('half') IS NULL")
    d.close()


def test_outside_of_a_transaction(fresh, folder):
    (folder / "0900_index.sql").write_text(
        "-- avp: no-transaction\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_x ON videos (title);\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_y ON videos (filename);\n")
    migrate(fresh, "--dir", folder)
    assert versions(fresh) == SHIPPED + [900]
    d = Database(fresh)
    assert d.one("SELECT count(*) FROM pg_indexes WHERE indexname IN"
                 " ('idx_x', 'idx_y')") == 2
    d.close()


def test_refuses_a_newer_database(fresh, folder):
    (folder / "0009_later.sql").write_text("SELECT 1;\n")
    migrate(fresh, "--dir", folder)
    p = migrate(fresh, check=False)
    assert p.returncode == 1
    assert "newer than this workerd" in p.stderr and "0009" in p.stderr


def test_refuses_a_changed_file(fresh, folder):
    migrate(fresh)
    with open(folder / "0001_tables.sql", "a") as f:
        f.write("-- one more thought\n")
    p = migrate(fresh, "--dir", folder, check=False)
    assert p.returncode == 1 and "changed after it was applied" in p.stderr


def test_refuses_odd_names_and_twins(fresh, folder):
    (folder / "0001_twin.sql").write_text("SELECT 1;\n")
    p = migrate(fresh, "--dir", folder, check=False)
    assert p.returncode == 1 and "same number" in p.stderr
    (folder / "0001_twin.sql").rename(folder / "fix.sql")
    p = migrate(fresh, "--dir", folder, check=False)
    assert p.returncode == 1 and "NNNN_name.sql" in p.stderr


def test_waits_for_a_lock_and_goes_on(fresh, folder):
    migrate(fresh)
    (folder / "0900_column.sql").write_text(
        "ALTER TABLE videos ADD COLUMN extra int;\n")
    d = Database(fresh)
    with d.conn.transaction():
        d.sql("LOCK TABLE videos IN ACCESS SHARE MODE")
        p = subprocess.Popen([WORKERD, "migrate", "--dir", folder],
                             env={"DATABASE_URL": fresh}, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = p.stdout.readline()
    rest, err = p.communicate(timeout=60)
    assert "waiting for a lock" in said
    assert p.returncode == 0 and "applied 0900" in rest, err
    d.close()


def test_changed_signatures(fresh, folder):
    """A function with other columns, and one with other arguments."""
    migrate(fresh)
    f = folder / "functions" / "system.sql"
    text = f.read_text()
    text = text.replace(
        "FUNCTION health_ping() RETURNS TABLE (result text)",
        "FUNCTION health_ping() RETURNS TABLE (result text, more int)")
    text = text.replace("    SELECT 'ok'\n$$", "    SELECT 'ok', 7\n$$")
    text = text.replace("FUNCTION gc_purged(p_video uuid)",
                        "FUNCTION gc_purged(p_video uuid, p_why text)")
    f.write_text(text)
    migrate(fresh, "--dir", folder)
    d = Database(fresh)
    assert d.call("health_ping") == {"result": "ok", "more": 7}
    assert d.one("SELECT count(*) FROM pg_proc WHERE proname = 'gc_purged'"
                 ) == 1
    # and back again: the session above prepared nothing that stays wrong
    migrate(fresh)
    assert d.call("health_ping") == {"result": "ok"}
    assert d.call("gc_purged", uuid.uuid4()).result == "not_found"
    d.close()


def test_unreachable_database_says_what_to_do():
    p = migrate("postgresql://nobody:s3cret@127.0.0.1:1/x", check=False)
    assert p.returncode == 1
    assert "DATABASE_URL" in p.stderr and "s3cret" not in p.stderr


def test_wrong_encoding(server):
    name = "e" + uuid.uuid4().hex
    with server.connect("postgres") as c:
        c.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII'"
                  " TEMPLATE template0 LOCALE 'C'")
    p = migrate(server.url_of(name), check=False)
    assert p.returncode == 1 and "UTF8" in p.stderr


def test_roles_see_functions_and_no_tables(db):
    """What the API's and the worker's roles may and may not do."""
    user = db.user()
    may = {"avp_api": ("system_stats", [user, False]),
           "avp_worker": ("queue_due", [])}
    for role, (fn, args) in may.items():
        db.sql(f"SET ROLE {role}")
        try:
            assert db.call(fn, *args).result == "ok"
            other = next(v for k, v in may.items() if k != role)
            for call in (lambda: db.call(other[0], *other[1]),
                         lambda: db.call("user_list"),
                         lambda: db.sql("SELECT avp_turn(%s::uuid, 0)", user),
                         lambda: db.sql("SELECT * FROM users"),
                         lambda: db.sql("DELETE FROM videos")):
                with pytest.raises(Exception, match="permission denied"):
                    call()
        finally:
            db.sql("RESET ROLE")


def test_functions_have_a_fixed_search_path(db):
    """A table of the caller's does not come between."""
    user = db.user()
    db.sql("CREATE TEMP TABLE users (id uuid, is_active boolean,"
           " deleted_at timestamptz)")
    assert db.call("system_stats", user, False).result == "ok"
    open_ = db.sql("SELECT proname FROM pg_proc WHERE prosecdef AND"
                   " pronamespace = 'public'::regnamespace AND"
                   " NOT coalesce(proconfig::text, '') LIKE '%%search_path%%'")
    assert open_ == []


def test_no_index_on_what_progress_changes(db):
    """They would end HOT updates."""
    bad = db.sql(
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND"
        " indexdef ~ '(lease_until|progress|\\mseq\\M|updated_at)' AND"
        " tablename IN ('videos', 'processing_jobs')")
    assert bad == []
