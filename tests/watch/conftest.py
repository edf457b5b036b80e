"""A store on each database for the watch's tests that write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_coprod.store import Store
from tests.watch.cases import Watch, looking


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store, once on SQLite and once on PostgreSQL."""
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """An empty store on SQLite alone, for what both databases do alike."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture
def watch(sqlite_store: Store) -> Watch:
    """What the watch holds of a referral, once records beside the base of `cases.py` are stored."""
    return looking(sqlite_store)
