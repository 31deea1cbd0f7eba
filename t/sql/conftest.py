"""A private PostgreSQL, migrated by workerd, for the tests of the functions."""

import uuid

import pytest

from calls import Database, migrate
from rig import Run
from rig.postgres import Postgres


@pytest.fixture(scope="session")
def server():
    with Run() as run:
        pg = Postgres(run).start()
        migrate(pg.url)
        yield pg
        pg.check_log()


TABLES = ("audit_logs, outbox, job_attempts, processing_results,"
          " processing_jobs, videos, counters, user_turns, leases, workers, users")


@pytest.fixture
def db(server):
    d = Database(server.url)
    d.sql(f"TRUNCATE {TABLES}")
    yield d
    d.close()


@pytest.fixture
def more(server):
    """Makes further sessions."""
    made = []

    def one():
        made.append(Database(server.url))
        return made[-1]

    yield one
    for d in made:
        d.close()


@pytest.fixture
def inc():
    return str(uuid.uuid4())
