"""Imports go one way in every folder, as CONTRIBUTING draws it, and each module is short enough to read."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fhir_coprod"
DRAWING = (ROOT / "CONTRIBUTING.md").read_text().split("```floors\n")[1].split("```")[0]

Floors = dict[str, dict[str, int]]
"""By folder, as a dotted name: on which floor each of its files and folders stands."""


def drawn() -> Floors:
    """The drawing in CONTRIBUTING: `folder/: a, b < c < inner/`, a line that begins with spaces goes on."""
    floors: Floors = {}
    for line in DRAWING.replace("\n    ", " ").splitlines():
        folder, colon, rest = line.partition("/: ")
        assert colon, f"not as drawn: {line!r}"
        floors[folder.replace("/", ".")] = {
            name.strip().removesuffix("/"): floor
            for floor, names in enumerate(rest.split("<"))
            for name in names.split(",")
        }
    return floors


FLOORS = drawn()


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


def dotted(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {dotted(path): path for path in files()}


def imported(name: str) -> Iterator[str]:
    """The modules of ours that a module imports, wherever in it; a package where only that is named."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{name} imports by a relative path"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES:
                    yield inner
                elif node.module in MODULES:
                    yield node.module


def floor_fault(importer: str, target: str) -> str:
    """Why an import goes another way than down; "" when it goes down."""
    mine, theirs = importer.split("."), target.split(".")
    common = 0
    while common < min(len(mine), len(theirs)) and mine[common] == theirs[common]:
        common += 1
    if common == len(mine):
        return ""  # a package's own __init__ may show what is in it
    if common == len(theirs):
        return f"{importer} imports {target}, the package that it is in; name the module"
    floors = FLOORS[".".join(mine[:common])]
    here, there = floors[mine[common]], floors[theirs[common]]
    return "" if there < here else f"{importer} (floor {here}) imports {target} (floor {there})"


def test_every_file_has_a_floor() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for name in MODULES:
        folder, _, last = name.rpartition(".")
        while folder:
            found[folder].add(last)
            folder, _, last = folder.rpartition(".")
    assert {folder: set(floors) for folder, floors in FLOORS.items()} == {
        folder: names - ({"migrations"} if folder == "fhir_coprod.store" else set())
        for folder, names in found.items()
    }


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_only(name: str) -> None:
    faults = {fault for target in imported(name) if target != name and (fault := floor_fault(name, target))}
    assert not faults


def test_an_import_that_goes_up_or_stays_on_its_floor_is_a_fault() -> None:
    assert floor_fault("fhir_coprod.sync.engine", "fhir_coprod.watch.rules.codes")
    assert floor_fault("fhir_coprod.watch.alerts.reconcile", "fhir_coprod.watch.alerts.feed_down")
    assert floor_fault("fhir_coprod.watch.rules.codes", "fhir_coprod.watch.rules")
    assert not floor_fault("fhir_coprod.watch.live.loop", "fhir_coprod.watch.rules.codes")


def test_the_watch_has_few_rooms_and_few_ways_between_them() -> None:
    ways = {
        (name.split(".")[2], target.split(".")[2])
        for name in MODULES
        if name.startswith("fhir_coprod.watch.")
        for target in imported(name)
        if target.startswith("fhir_coprod.watch.") and target.split(".")[2] != name.split(".")[2]
    }
    assert len(FLOORS["fhir_coprod.watch"]) <= 8
    assert len(ways) <= 25


OWNERS = {"sync": "fhir_coprod.sync.", "watch": "fhir_coprod.watch."}
"""Who alone may know the columns of the tables in store/schema/sync.py and watch.py, beside the store."""


@pytest.mark.parametrize("tables", OWNERS)
def test_tables_are_read_by_their_owner_only(tables: str) -> None:
    readers = {name for name in MODULES if f"fhir_coprod.store.schema.{tables}" in imported(name)}
    strangers = {name for name in readers if not name.startswith((OWNERS[tables], "fhir_coprod.store."))}
    assert readers
    assert not strangers, "ask the owner instead; see sync/observed.py"


def test_modules_stay_readable() -> None:
    long = {name: n for name, path in MODULES.items() if (n := len(path.read_text().splitlines())) > 500}
    assert not long
