"""What all tests share: the peers, and a word on coverage where it is measured."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import find, settings
from hypothesis import strategies as st

from tests import programs

pytest_plugins = ["tests.peers.fixtures"]

ROOMY = 2 * 2**30
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOMY:
    # Thousands of small databases: in memory nobody waits for a disk. What we start puts its files there too.
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None


@pytest.fixture(scope="session", autouse=True)
def unicode_tables() -> None:
    """Built here in a new checkout, or the first test that draws a text is called too slow."""
    find(st.text(), lambda text: True, settings=settings(database=None, max_examples=1))


@pytest.fixture(scope="session", autouse=True)
def no_program_outlives_the_run() -> Iterator[None]:
    yield
    programs.close()


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns so often that what they must not share shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        # When a worker of xdist ends, it has told everything. To free its memory bit by bit takes seconds.
        atexit.register(os._exit, 0)
    if config.pluginmanager.hasplugin("_cov") and not config.getoption("no_cov"):
        programs.measure(config.rootpath)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: at the end, one core would wait for the other."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


ROOM = 1.0
"""Points over the floor from which it should rise; less is what differs from run to run."""


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """What proofs have to tell (`record_property("told", …)`), and when the floor of coverage can rise.

    The floor itself is held by pytest-cov.
    """
    for test in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, text in test.user_properties:
            if name == "told" and test.when == "call":
                terminalreporter.section(test.nodeid, sep="-")
                terminalreporter.write_line(str(text))
    coverage = config.pluginmanager.get_plugin("_cov")
    measured = getattr(coverage, "cov_total", None)
    if coverage is None or measured is None or exitstatus:
        return
    floor = coverage.options.cov_fail_under or 0
    if measured >= floor + ROOM:
        advice = f"raise fail_under in pyproject.toml from {floor:g} to {int(measured)}"
        terminalreporter.write_line(f"the tests reach {measured:.1f} %: {advice}")
