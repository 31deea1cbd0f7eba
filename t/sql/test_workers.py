"""Who works here: what a worker says of itself, and who may see it."""

import uuid

import pytest

LIBRARIES = {"libavcodec": "59.37.100", "libavutil": "57.28.100"}


def seen(db, name="w1", inc=None, *, host="h1", version="1.2.3", slots=2,
         ns="user,net", landlock=4, seccomp=True, libraries=LIBRARIES):
    inc = inc or str(uuid.uuid4())
    assert db.call("worker_seen", inc, name, host, version, slots, ns,
                   landlock, seccomp, libraries) == {"result": "ok"}
    return inc


@pytest.fixture
def admin(db):
    return db.user(role="admin")


def listed(db, admin):
    r = db.call("worker_list", admin, True)
    assert r.result == "ok"
    return r.doc


def age(db, inc, seconds):
    db.sql("UPDATE workers SET seen_at = now() - make_interval(secs => %s)"
           " WHERE incarnation = %s", seconds, inc)


def test_what_is_told(db, admin):
    assert listed(db, admin) == []
    inc = seen(db)
    (w,) = listed(db, admin)
    times = w.pop("startedAt"), w.pop("lastSeen")
    assert w == {
        "id": inc, "name": "w1", "host": "h1", "version": "1.2.3",
        "libraries": LIBRARIES, "slots": 2, "running": 0,
        "sandbox": {"ns": "user,net", "landlock": 4, "seccomp": True}}
    # again: the same row, seen later
    seen(db, inc=inc)
    (w,) = listed(db, admin)
    assert w["startedAt"] == times[0] and w["lastSeen"] >= times[1]
    assert db.one("SELECT seen_at > started_at FROM workers")


def test_running_counts_leases(db, admin):
    user = db.user()
    inc, other = seen(db), seen(db, "w2")
    for _ in range(3):
        db.video(user)
    first = db.claim(inc)
    db.claim(inc, [str(first.job)])
    assert [w["running"] for w in listed(db, admin)] == [2, 0]
    db.call("job_fail", inc, first.job, 1, "permanent", "no_video", "x")
    db.claim(other)
    assert [w["running"] for w in listed(db, admin)] == [1, 1]


def test_alive_and_dead(db, admin):
    live, dead, old = seen(db, "a"), seen(db, "b"), seen(db, "c")
    twin = seen(db, "a")
    age(db, live, 25)
    age(db, dead, 31)
    age(db, old, 24 * 3600 + 60)
    assert {w["id"] for w in listed(db, admin)} == {live, twin}
    # a worker that was frozen is back
    seen(db, "b", dead)
    assert [w["name"] for w in listed(db, admin)] == ["a", "a", "b"]
    # the dead are forgotten, but not at once
    age(db, dead, 3600)
    db.rows("reconcile_jobs", 100)
    assert {str(r.incarnation) for r in
            db.sql("SELECT incarnation FROM workers")} == {live, twin, dead}
    # one that ends is gone at once
    assert db.call("worker_gone", live).result == "ok"
    assert db.call("worker_gone", live).result == "not_found"
    assert {w["id"] for w in listed(db, admin)} == {twin}


def test_strict(db):
    for bad in ({"ns": "a b"}, {"ns": ""}, {"landlock": -1}, {"slots": 65},
                {"slots": -1}, {"slots": None}, {"seccomp": None}, {"name": ""},
                {"libraries": {"libavcodec": 59}},
                {"libraries": {"libavcodec": "59; x"}},
                {"libraries": {"LIB": "1"}}, {"libraries": {"a": {"b": "1"}}},
                {"libraries": {f"l{i}": "1" for i in range(17)}},
                {"libraries": [{"a": "1"}]}, {"libraries": None}):
        with pytest.raises(Exception, match="violates|too long"):
            seen(db, **bad)
    assert db.one("SELECT count(*) FROM workers") == 0
    # what may be odd is made fit to be shown
    seen(db, "a\nb\u0001", host="h" * 300, libraries={})
    (w,) = db.sql("SELECT name, length(host) AS n FROM workers")
    assert w == {"name": "a b ", "n": 255}


def test_who_may_see_them(db, admin):
    user = db.user()
    seen(db)
    forbidden = {"result": "forbidden", "doc": None}
    assert db.call("worker_list", user, False) == forbidden
    assert db.call("worker_list", admin, None) == forbidden
    assert db.call("worker_list", None, True) == forbidden
    assert db.call("worker_list", str(uuid.uuid4()), True) == forbidden
    assert len(listed(db, admin)) == 1
    db.sql("UPDATE users SET is_active = false WHERE id = %s", admin)
    assert db.call("worker_list", admin, True) == forbidden


def test_roles(db, admin):
    inc = seen(db)
    api = [lambda: db.call("worker_list", admin, True)]
    worker = [lambda: seen(db, inc=inc), lambda: db.call("worker_gone", inc)]
    table = [lambda: db.sql("SELECT * FROM workers"),
             lambda: db.sql("DELETE FROM workers")]
    for role, may, may_not in (("avp_api", api, worker + table),
                               ("avp_worker", worker, api + table)):
        db.sql(f"SET ROLE {role}")
        try:
            for call in may:
                call()
            for call in may_not:
                with pytest.raises(Exception, match="permission denied"):
                    call()
        finally:
            db.sql("RESET ROLE")


def test_seen_again_touches_no_index(db):
    """Every few seconds, for ever: the row stays on its page (HOT)."""
    inc = seen(db)
    for _ in range(20):
        seen(db, inc=inc)
    db.sql("SELECT pg_stat_force_next_flush()")
    n = db.sql("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
               " WHERE relname = 'workers'")[0]
    assert n.n_tup_upd >= 20 and n.n_tup_hot_upd == n.n_tup_upd
