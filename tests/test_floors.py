"""The house stands: imports go down only, and no module grows beyond what one reads at a sitting."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fhir_coprod"

FLOORS = [
    {"outcome"},
    {"errors"},
    {"jsontext", "settings", "terminal"},
    {"definitions"},
    {"mappings", "validation"},
    {"profiles", "store"},
    {"sync", "watch", "client", "simulate"},
    {"web", "jobs"},
    {"api"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
"""From the ground up; rooms of one floor do not know each other."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = (
            [node.module]
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        for name in names:
            if name == "fhir_coprod" and isinstance(node, ast.ImportFrom):
                found |= {alias.name for alias in node.names}
            elif name.startswith("fhir_coprod."):
                found.add(name.split(".")[1])
    return found & set(FLOOR)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    above = {r for r in imported_rooms(path) if r != here and FLOOR[r] >= FLOOR[here]}
    assert not above, f"{here} stands on floor {FLOOR[here]} and imports {above}"


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in modules()} - {"__init__"} == set(FLOOR)


def test_modules_stay_readable() -> None:
    long = {str(p.relative_to(PACKAGE)): n for p in modules() if (n := len(p.read_text().splitlines())) > 550}
    assert not long
