"""The table of what is mutated and which tests are run against it. Edit it when modules move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Area:
    """Files to mutate and tests to run, as globs from the root of the repository."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


AREAS = {
    "sync": Area(("fhir_coprod/sync/**/*.py",), ("tests/sync",)),
    "watch rules": Area(("fhir_coprod/watch/rules/*.py",), ("tests/watch", "tests/web")),
    "live watch": Area(("fhir_coprod/watch/live/*.py",), ("tests/watch", "tests/web")),
    "store batch": Area(("fhir_coprod/store/batch.py",), ("tests/store",)),
    "fast validation": Area(("fhir_coprod/validation/fast/*.py",), ("tests/validation",)),
}
"""PostgreSQL and the other peers are left out: starting them costs more than everything else."""

PEERS = frozenset({"postgresql_url", "new_hapi", "searching_hapi_url", "new_medplum", "chromium"})
"""Tests that use these fixtures are left out."""


def files(area: Area, root: Path = ROOT) -> list[Path]:
    """The files of an area. Raises LookupError when a glob finds nothing: then the table is out of date."""
    found: set[Path] = set()
    for pattern in area.files:
        some = set(root.glob(pattern))
        if not some:
            raise LookupError(f"{pattern} finds no file; bring mutation/areas.py up to date.")
        found |= some
    for path in area.tests:
        if not (root / path).exists():
            raise LookupError(f"{path} is not there; bring mutation/areas.py up to date.")
    return sorted(found)
