"""Measures which tests run each line and how long they take; kept in .cache/ until a file changes.

If only files with tests have changed, only these are measured again. Helpers count as code: what several
files of tests use belongs in a module that is not called `test_…`.

Every test function runs in a fork of its own. Otherwise anything it caches (a compiled profile, a policy)
would hide that the next test needs the same lines. The cases of one function share a fork: lines that only
the first case runs count for all of them, but come second.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coverage
import pytest

from mutation.areas import PEERS
from mutation.forks import Fork, fork, limit, processor, pytest_main, tell, work_off
from mutation.operators import names_used
from mutation.sample import Mutant

SECONDS = 60.0
"""Seconds of tests for one mutant; of processor time, as all seconds of tests here."""
SLOWEST = 240.0
"""Seconds of processor time for all cases of one test function while the map is made."""
PATIENCE = 2.5
"""How much longer a test may take in all than its processor time; more when others use the machine."""
A_DAY = 86_400.0
_APART = frozenset({"mutation", "node_modules", "target"})
"""Folders with Python that the areas' tests do not use."""


@dataclass
class Map:
    """The result of measuring. Files are paths from the root."""

    seconds: dict[str, float] = field(default_factory=dict)
    """What each test costs that passes."""
    runs: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """Lines that each test runs, by file."""
    at_import: dict[str, list[int]] = field(default_factory=dict)
    """Lines that run before any test does."""
    failing: dict[str, str] = field(default_factory=dict)
    """Tests that fail, or take too long, without a mutant, with the reason: they are left out."""
    modules: list[str] = field(default_factory=list)
    """Third-party modules that the tests import."""

    def take(self, kept: dict[str, Any], files: dict[str, str], known: Collection[str]) -> set[str]:
        """Add what a kept map says of files with tests that are still the same; gives these files."""
        same = {file for file, digest in kept["files"].items() if files.get(file) == digest} - set(known)
        if not same:
            return same
        for name in ("seconds", "runs", "failing"):
            some: dict[str, Any] = getattr(self, name)
            some |= {test: what for test, what in kept[name].items() if test.partition("::")[0] in same}
        for path, lines in kept["at_import"].items():
            self.at_import[path] = sorted({*self.at_import.get(path, ()), *lines})
        self.modules = sorted({*self.modules, *kept["modules"]})
        return same


def group_of(test: str) -> str:
    """The test function of a test case."""
    return test.partition("[")[0]


def read_or_measure(
    root: Path, tests: Sequence[str], targets: Sequence[Path], jobs: int, say: Callable[[str], None]
) -> Map:
    """The map of these tests over these files."""
    code, files = digests(root, tests, targets)
    folder = root / ".cache" / "mutation" / code
    found, known = Map(), set[str]()
    for kept in sorted(folder.glob("*.json"), reverse=True):
        known |= found.take(json.loads(kept.read_text()), files, known)
    changed = sorted(files.keys() - known)
    if changed:
        say(f"measuring which tests of {len(changed)} files in {' '.join(tests)} run which line")
        began = time.monotonic()
        measured = {"files": {file: files[file] for file in changed}}
        measured |= measure(root, changed, targets, jobs).__dict__
        found.take(measured, files, known)
        say(f"{len(measured['seconds'])} tests in {time.monotonic() - began:.0f} s")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{time.time_ns()}.json").write_text(json.dumps(measured))
    return found


def digests(root: Path, tests: Sequence[str], targets: Sequence[Path]) -> tuple[str, dict[str, str]]:
    """The digest of everything that the tests may use, and of each file with tests."""
    measured = [str(path.relative_to(root)) for path in targets]
    code = hashlib.sha256(repr((tests, measured, sys.version)).encode())
    files = {}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if name.parts[0].startswith(".") or _APART & set(name.parts):
            continue
        if not path.name.startswith("test_"):
            code.update(f"{name}\0".encode() + path.read_bytes())
        elif any(name.is_relative_to(each) for each in tests):
            files[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return code.hexdigest()[:16], files


def measure(root: Path, tests: Sequence[str], targets: Sequence[Path], jobs: int) -> Map:
    """Run all of the tests and measure them. What fails runs once more: something else may have been busy."""
    found = Map()
    failed = _measure(root, tests, None, targets, jobs, found)
    if failed:
        for test in failed:
            found.failing.pop(test, None)
        _measure(root, tests, [(test,) for test in failed], targets, 1, found)
    return found


def _measure(
    root: Path,
    tests: Sequence[str],
    groups: Sequence[tuple[str, ...]] | None,
    targets: Sequence[Path],
    jobs: int,
    found: Map,
) -> list[str]:
    """Add to `found` what these groups of tests do; the tests that failed."""
    for group, told in run_groups(root, tests, groups, jobs, SLOWEST, targets):
        if group == _ON_ITS_WAY:
            found.at_import, found.modules = told[0]["runs"], told[0]["modules"]
            continue
        reported = {each["test"]: each for each in told if "test" in each}
        for test in group:
            each = reported.get(test)
            if each is None or each["outcome"] == "failed":
                found.failing[test] = each["why"] if each else "it took too long, or ended the process"
            elif each["outcome"] == "passed":
                found.seconds[test] = each["seconds"]
        for each in told:
            for test, runs in each.get("runs", {}).items():
                if test in found.seconds:
                    found.runs[test] = runs
    return list(found.failing)


_ON_ITS_WAY = ("before any test",)


def run_groups(
    root: Path,
    paths: Sequence[str],
    groups: Sequence[tuple[str, ...]] | None,
    jobs: int,
    seconds: float,
    targets: Sequence[Path] = (),
) -> list[tuple[tuple[str, ...], list[dict[str, Any]]]]:
    """Collect once, then run each group of tests in a fork; by function if no groups are given.

    seconds: of processor time, for each group.
    Gives, for each group, {test, outcome, seconds} of each test and, if files are given, the lines it ran.
    """

    def begin(part: int) -> Fork:
        def collect(told: Path) -> int:
            return pytest_main(root, paths, _Groups(root, groups, (part, jobs), seconds, targets, told))

        return fork(collect, A_DAY)

    found = []
    for _, one, _ in work_off(range(jobs), begin, jobs):
        told = one.read()
        if not told or told[-1] != "done":
            raise RuntimeError(f"pytest did not run these tests:\n{one.output()[-3000:]}")
        found += [(tuple(group), lines) for group, lines in told[:-1]]
    return found


@dataclass(eq=False)
class _Groups:
    """The plugin that does it, in the fork that has collected the tests.

    It has one fork of its own at a time: two would read the same open files at one position. With several
    jobs each collects the tests and runs its part.
    """

    root: Path
    groups: Sequence[tuple[str, ...]] | None
    part: tuple[int, int]
    seconds: float
    targets: Sequence[Path]
    told: Path

    def __post_init__(self) -> None:
        # Start before pytest reads a conftest, which imports most of the repository.
        self.early = self.watching()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not _needs_a_peer(item)]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        known = {item.nodeid: item for item in session.items}
        if self.early is not None:
            lines = self._seen(self.early).get("", {})
            modules = [name for name, module in list(sys.modules.items()) if not belongs(module, self.root)]
            tell(self.told, [_ON_ITS_WAY, [{"runs": lines, "modules": modules}]])
        groups = self.groups
        if groups is None:
            by_function: dict[str, list[str]] = defaultdict(list)
            for test in known:
                by_function[group_of(test)].append(test)
            groups = [tuple(tests) for tests in by_function.values()]

        def begin(group: tuple[str, ...]) -> Fork:
            return fork(
                lambda told: self.run([known[test] for test in group if test in known], told),
                PATIENCE * self.seconds,
            )

        number, parts = self.part
        for group, one, _ in work_off(groups[number::parts], begin, 1):
            tell(self.told, [group, one.read()])
        tell(self.told, "done")
        os._exit(0)

    def run(self, items: list[pytest.Item], told: Path) -> int:
        """Run one group, in its own fork."""
        limit(self.seconds)
        watching = self.watching()
        for number, item in enumerate(items):
            reports = _Reports()
            item.config.pluginmanager.register(reports)
            if watching is not None:
                watching.switch_context(item.nodeid)
            began, used = time.monotonic(), processor()
            item.config.hook.pytest_runtest_protocol(
                item=item, nextitem=items[number + 1] if number + 1 < len(items) else None
            )
            item.config.pluginmanager.unregister(reports)
            # Processor time is the same however busy the machine is; who only waits does not go for nothing.
            seconds = round(max(processor() - used, (time.monotonic() - began) / 10), 4)
            tell(
                told,
                {"test": item.nodeid, "outcome": reports.outcome, "seconds": seconds, "why": reports.why},
            )
        if watching is not None:
            tell(told, {"runs": self._seen(watching)})
        return 0

    def watching(self) -> coverage.Coverage | None:
        if not self.targets:
            return None
        begun = coverage.Coverage(
            data_file=None, config_file=False, include=[str(path) for path in self.targets], messages=False
        )
        begun.set_option("run:disable_warnings", ["no-data-collected", "module-not-measured"])
        begun.start()
        return begun

    def _seen(self, watching: coverage.Coverage) -> dict[str, dict[str, list[int]]]:
        """Lines by context and file."""
        watching.stop()
        data = watching.get_data()
        seen: dict[str, dict[str, list[int]]] = defaultdict(dict)
        for path in data.measured_files():
            name = str(Path(path).relative_to(self.root))
            for line, contexts in sorted(data.contexts_by_lineno(path).items()):
                for context in contexts:
                    seen[context].setdefault(name, []).append(line)
        return seen


@dataclass(eq=False)
class _Reports:
    outcome: str = "passed"
    why: str = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed" and self.outcome != "failed":
            self.outcome = report.outcome
            self.why = report.longreprtext.strip()[-400:]


def belongs(module: object, root: Path) -> bool:
    """Whether a module is the repository's own, and not from an environment inside its folder."""
    path = Path(getattr(module, "__file__", None) or "/")
    return path.is_relative_to(root) and not path.relative_to(root).parts[0].startswith(".")


def _needs_a_peer(item: pytest.Item) -> bool:
    return bool(PEERS & set(getattr(item, "fixturenames", ()))) or "postgresql" in item.nodeid


# ---------------------------------------------------------------------- the tests of a mutant


class Nearest:
    """Chooses the tests of a mutant, by the map."""

    def __init__(self, map: Map, targets: Iterable[Path], root: Path) -> None:
        self.map = map
        self.root = root
        self.by_line: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.by_file: dict[str, list[str]] = defaultdict(list)
        self.breadth: dict[str, int] = {}
        self.cases: dict[str, list[str]] = defaultdict(list)
        for test, runs in map.runs.items():
            self.breadth[test] = sum(len(lines) for lines in runs.values())
            for file, lines in runs.items():
                self.by_file[file].append(test)
                for line in lines:
                    self.by_line[file, line].append(test)
        for test in map.seconds:
            self.cases[group_of(test)].append(test)
        self.at_import = {(file, line) for file, lines in map.at_import.items() for line in lines}
        self.used: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for path in targets:
            for name, line in names_used(path.read_bytes()):
                self.used[name].append((str(path.relative_to(root)), line))

    def tests(self, mutant: Mutant, seconds: float = SECONDS) -> list[str]:
        """The best tests first: quick ones that run little else; then other cases of the same functions."""
        exact = self._seeing(mutant)
        functions = {group_of(test) for test in exact}
        others = {test for function in functions for test in self.cases[function]} - exact
        chosen, spent = [], 0.0
        for test in [*self._ordered(exact), *self._ordered(others)]:
            if spent + self.map.seconds[test] <= seconds:
                chosen.append(test)
                spent += self.map.seconds[test]
        return chosen

    def _seeing(self, mutant: Mutant) -> set[str]:
        file, edit = str(mutant.path.relative_to(self.root)), mutant.edit
        if edit.body:
            return self._running(file, edit.body)
        if edit.names is not None:
            places = [place for name in edit.names for place in self.used[name]]
            return {test for place in places for test in self.by_line[place]} or set(self.by_file[file])
        found = self._running(file, edit.lines) or self._running(file, edit.within)
        if not found and any((file, line) in self.at_import for line in edit.lines):
            return set(self.by_file[file])
        return found

    def _running(self, file: str, lines: Iterable[int]) -> set[str]:
        return {test for line in lines for test in self.by_line[file, line]}

    def _ordered(self, tests: Iterable[str]) -> list[str]:
        """One case of each function in turn, so that a function with many cases does not hide the rest."""
        by_function: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for test in tests:
            cost = (self.map.seconds[test] + 0.02) * (self.breadth.get(test, 0) + 50)
            by_function[group_of(test)].append((cost, test))
        ranked = [
            (number, cost, test)
            for cases in by_function.values()
            for number, (cost, test) in enumerate(sorted(cases))
        ]
        return [test for _, _, test in sorted(ranked)]
