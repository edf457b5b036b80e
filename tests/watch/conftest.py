"""A store on each database for the watch's tests that write."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fhir_coprod.store import Store


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store, once on SQLite and once on PostgreSQL."""
    with Store.open(store_url) as opened:
        yield opened
