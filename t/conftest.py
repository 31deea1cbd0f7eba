"""Makes `from rig import ...` work from every folder of t/."""

import pytest

from rig import Run


@pytest.fixture
def run():
    """A private folder and its processes for one test."""
    with Run() as r:
        yield r


@pytest.fixture(scope="module")
def module_run():
    """The same for all tests of a file."""
    with Run() as r:
        yield r
