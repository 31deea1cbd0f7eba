"""One system for each file of tests; each test leaves it as it was."""

import pytest
import wire
from rig import Run, Stack, wait_until


@pytest.fixture(scope="module")
def system():
    with Run() as run:
        yield Stack(run, worker=False, http={"avp_max_video_size": "4m",
                                             "max_ranges": "4"},
                    tls=True, h2c=True)


@pytest.fixture
def stack(system):
    """The system, and after the test: nothing on its way, every original has
    its row, no connection is left, nothing bad in the log."""
    yield system
    tidy(system)


def tidy(system, rows=True):
    wait_until(lambda: system.nginx.active() == 0, 15,
               "no client's connection is left")
    wait_until(lambda: wire.incoming(system) == [], 10,
               "nothing is left in incoming/")
    if rows:
        wait_until(lambda: set(wire.originals(system)) >= wire.videos(system),
                   10, "every video has its original")
        wait_until(lambda: set(wire.originals(system)) == {
            str(r["id"]) for r in system.pg.query("SELECT id FROM videos")},
            10, "every original has its row")
    system.check_logs()


@pytest.fixture
def other(system):
    """Another user's id."""
    rows = system.pg.query("SELECT id FROM users WHERE email = %s",
                           ("other@example.com",))
    return str(rows[0]["id"]) if rows else system.add_user("other@example.com")
