"""Runs each mutant against its tests, in a fork."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from mutation.areas import ROOT, Area, files
from mutation.forks import FAILED, Chosen, Fork, fork, keep_bytecode, limit, pytest_main, work_off
from mutation.nearest import PATIENCE, SECONDS, Map, Nearest, read_or_measure, run_groups
from mutation.overlay import install, module_name
from mutation.sample import Mutant

LONGEST = 60.0
"""Seconds that a mutant may take beside those of its tests; more when others use the machine."""
SPARE = 10.0
"""Seconds of processor time that a test may take with a mutant, beside three times those it takes without."""


@dataclass
class Result:
    """The result of a mutant: killed, timed out (which counts as killed), survived, or not covered."""

    mutant: Mutant
    outcome: str
    by: str = ""
    """The test that failed, and how."""
    ran: tuple[str, ...] = ()
    """The tests that ran, in this order."""
    seconds: float = 0.0
    processor: float = 0.0

    @property
    def killed(self) -> bool:
        """Whether the tests noticed."""
        return self.outcome in ("killed", "timed out")


class Run:
    """Maps and preloaded modules for some areas."""

    def __init__(
        self, areas: Mapping[str, Area], jobs: int, say: Callable[[str], None], root: Path = ROOT
    ) -> None:
        """areas: these, and best those with the same tests, too: then one map does for all of them."""
        self.jobs, self.say, self.root = jobs, say, root
        keep_bytecode(root / ".cache" / "mutation" / "bytecode")
        self.left_out: set[str] = set()
        """Tests that fail without a mutant."""
        self._passed: set[tuple[str, ...]] = set()
        self.nearest: dict[str, Nearest] = {}
        sharing: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name, area in areas.items():
            sharing[area.tests].append(name)
        for tests, names in sharing.items():
            targets = sorted({path for name in names for path in files(areas[name], root)})
            found = read_or_measure(root, tests, targets, jobs, say)
            self.left_out |= set(found.failing)
            _preload(found)
            for name in names:
                self.nearest[name] = Nearest(found, targets, root)

    def results(self, mutants: Sequence[Mutant]) -> list[Result]:
        """The results, in the order of the mutants. After a kill, the tests must pass without the mutant."""
        chosen = {mutant.id: self.nearest[mutant.area].tests(mutant) for mutant in mutants}
        by_id = self._judged(mutants, chosen)
        for _ in range(3):
            accidents = self._accidents([by_id[mutant.id] for mutant in mutants])
            if not accidents:
                break
            self.left_out |= set(accidents.values())
            again = [mutant for mutant in mutants if mutant.id in accidents]
            self.say(f"{len(again)} killed by tests that fail without them, too: once more, without these")
            for id in accidents:
                chosen[id] = [test for test in chosen[id] if test not in self.left_out]
            by_id |= self._judged(again, chosen)
        return [by_id[mutant.id] for mutant in mutants]

    def _judged(self, mutants: Sequence[Mutant], chosen: Mapping[str, list[str]]) -> dict[str, Result]:
        found = {mutant.id: Result(mutant, "not covered") for mutant in mutants if not chosen[mutant.id]}
        tried = [mutant for mutant in mutants if chosen[mutant.id]]

        def begin(mutant: Mutant) -> Fork:
            tests = chosen[mutant.id]
            longest = LONGEST + PATIENCE * sum(self._seconds(mutant, test) for test in tests)
            return fork(lambda told: self._with(mutant, tests, told), longest)

        for mutant, one, seconds in work_off(tried, begin, self.jobs):
            result = _result(mutant, one, chosen[mutant.id])
            result.seconds, result.processor = seconds, one.processor
            found[mutant.id] = result
            self.say(
                f"{len(found)}/{len(mutants)} {result.outcome:<11} {seconds:4.1f} s "
                f"({one.processor:.1f})  {mutant.id} {mutant.where(self.root)} {mutant.edit.operator}"
            )
        return found

    def _with(self, mutant: Mutant, tests: list[str], told: Path) -> int:
        """In the mutant's own fork."""
        limit(SPARE)
        install(module_name(mutant.path, self.root), mutant.path, mutant.mutated, told.parent / "mutant")
        paths = sorted({test.partition("::")[0] for test in tests})
        limits = {test: SPARE + 3 * self._seconds(mutant, test) for test in tests}
        return pytest_main(self.root, paths, Chosen(limits, told))

    def _seconds(self, mutant: Mutant, test: str) -> float:
        return self.nearest[mutant.area].map.seconds[test]

    def _accidents(self, results: Sequence[Result]) -> dict[str, str]:
        """Mutants whose tests, as far as they ran, fail without them too; each with the test that failed."""
        prefixes = {result.mutant.id: result.ran for result in results if result.killed and result.ran}
        found: dict[str, str] = {}
        groups = sorted({ran for ran in prefixes.values() if ran not in self._passed})
        if groups:
            self.say(f"checking {len(groups)} sets of tests without a mutant")
            paths = sorted({test.partition("::")[0] for group in groups for test in group})
            for group, told in run_groups(self.root, paths, groups, self.jobs, LONGEST + 3 * SECONDS):
                passed = {each["test"] for each in told if each["outcome"] != "failed"}
                bad = next((test for test in group if test not in passed), None)
                if bad is None:
                    self._passed.add(group)
                for id, ran in prefixes.items():
                    if bad is not None and ran == group:
                        found[id] = bad
        return found


def _result(mutant: Mutant, one: Fork, tests: Sequence[str]) -> Result:
    told = one.read()
    ran = tuple(test for test, _, _ in told)
    failed = [(test, text) for test, outcome, text in told if outcome == "failed"]
    if failed:
        test, text = failed[-1]
        return Result(mutant, "killed", f"{test}: {text.splitlines()[-1] if text else ''}", ran)
    if one.late:
        hung = next((test for test in tests if test not in ran), "")
        return Result(mutant, "timed out", hung, (*ran, hung) if hung else ran)
    if one.code in (pytest.ExitCode.INTERNAL_ERROR, FAILED):
        raise RuntimeError(f"{mutant.id} could not be tried:\n{one.output()[-3000:]}")
    if one.code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        # The module does not import any more, or takes the whole process with it.
        said = one.output().strip()[-300:]
        return Result(mutant, "killed", f"exit code {one.code}: {said}", ran or tuple(tests[:1]))
    return Result(mutant, "survived", "", ran)


def _preload(found: Map) -> None:
    """Import the third-party modules that the tests use, so that forks need not."""
    for name in found.modules:
        with suppress(Exception):
            importlib.import_module(name)
