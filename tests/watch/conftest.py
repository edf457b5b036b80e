"""A store on each database for the watch's tests that write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_coprod.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        url = request.getfixturevalue("postgresql_database")
    with Store.open(url) as opened:
        yield opened
