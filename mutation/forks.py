"""pytest in forked processes: groups of tests each on its own, or one mutant against its tests.

This process has imported pytest and the third-party modules that the tests use, but nothing of the
repository. A fork imports the repository, with a mutant or without, and ends: the next fork sees nothing of
what it left behind.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

MEMORY = 6 * 2**30
GRACE = 3.0
"""Seconds that a process that took too long has to tidy up."""
FAILED = 70
"""Exit code of a fork whose work raised."""
_Of = TypeVar("_Of")


# ---------------------------------------------------------------------- processes


@dataclass
class Fork:
    """A process in its own process group, with a folder that is removed when it ends."""

    pid: int
    folder: Path
    until: float
    began: float = field(default_factory=time.monotonic)
    late: bool = False
    code: int = 0
    processor: float = 0.0
    """Seconds of processor time, including its child processes."""

    def ended(self) -> bool:
        """Whether it has ended. If it took too long, asks it to end, and then forces it to."""
        pid, status, used = os.wait4(self.pid, os.WNOHANG)
        if pid:
            self.processor = used.ru_utime + used.ru_stime
            self.code = os.waitstatus_to_exitcode(status)
            self.late |= self.code == -signal.SIGXCPU
            self._end(signal.SIGKILL)
            return True
        now = time.monotonic()
        if now > self.until + GRACE:
            self._end(signal.SIGKILL)
        elif now > self.until and not self.late:
            self.late = True
            self._end(signal.SIGINT)
        return False

    def _end(self, how: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, how)

    def read(self) -> list[Any]:
        """What it wrote, line by line."""
        path = self.folder / "told"
        if not path.exists():
            return []
        lines = path.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def output(self) -> str:
        """What it printed."""
        return (self.folder / "output").read_text(errors="replace")

    def forget(self) -> None:
        """Remove its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fork(work: Callable[[Path], int], seconds: float) -> Fork:
    """Do `work` in a process of its own; it gets the file to write to, and gives the exit code.

    `seconds` are those that it may take on a machine that has nothing else to do.
    """
    folder = Path(tempfile.mkdtemp(prefix="mutation-"))
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)
        return Fork(pid, folder, time.monotonic() + seconds * _crowd())
    code = FAILED
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        out = os.open(folder / "output", os.O_CREAT | os.O_WRONLY)
        for number in (1, 2):
            os.dup2(out, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        code = work(folder / "told")
    except BaseException:  # noqa: BLE001 - nothing of the caller may run in the fork
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise AssertionError


def work_off(
    tasks: Sequence[_Of], begin: Callable[[_Of], Fork], jobs: int
) -> Iterator[tuple[_Of, Fork, float]]:
    """Run every task in a fork of its own, so many at once, each with its time limit; yields as they end."""
    waiting, running = list(reversed(tasks)), list[tuple[_Of, Fork]]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop()
                running.append((task, begin(task)))
            for task, one in list(running):
                if one.ended():
                    running.remove((task, one))
                    yield task, one, time.monotonic() - one.began
                    one.forget()
            time.sleep(0.01)
    finally:
        for _, one in running:
            with suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)
            one.forget()


# ---------------------------------------------------------------------- pytest


def pytest_main(root: Path, paths: Sequence[str], plugin: object) -> int:
    """Run pytest as the repository configures it, without what only helps a reader or another run."""
    os.chdir(root)
    sys.path.insert(0, str(root))
    here = Path(__file__).parent
    os.environ["PYTHONPATH"] = os.pathsep.join(str(path) for path in (here / "start", root, here.parent))
    os.environ.pop("COPROD_PEERS", None)
    # Random examples are the same for each mutant and each run, and failures are not shrunk.
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutation")
    options = ["-q", "--tb=short", "-p", "no:cacheprovider"]
    # We import some of them above on purpose, such as hypothesis.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, *paths], plugins=[plugin]))


@dataclass(eq=False)
class Chosen:
    """Runs these tests in this order, each with its limit in seconds, and stops at the first that fails."""

    tests: Mapping[str, float]
    told: Path

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        config.option.maxfail = 1
        known = {item.nodeid: item for item in items}
        # A mutant can change how a test's cases are named; a case that no longer exists cannot fail.
        items[:] = [known[test] for test in self.tests if test in known]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        limit(processor() + self.tests[nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            tell(self.told, [report.nodeid, report.outcome, report.longreprtext.strip()[-400:]])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        # The rest is summaries for a reader.
        sys.stdout.flush()
        os._exit(int(exitstatus))


def tell(told: Path, what: object) -> None:
    """Write one line so that it is there even if the process is killed next."""
    with told.open("a") as file:
        file.write(json.dumps(what) + "\n")


def keep_bytecode(folder: Path) -> None:
    """Compile unchanged modules once, not in each fork, even if the environment turns bytecode off."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


def processor() -> float:
    """Seconds of processor time of this process, and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def limit(seconds: float) -> None:
    """A mutant that takes all memory fails alone, and one that turns in circles ends.

    seconds: of processor time since this process began; they may be raised later.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(seconds), most))


def _crowd() -> float:
    """How many processes want each processor."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
