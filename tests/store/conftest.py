"""A store on each database, for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fhir_coprod import jsontext
from fhir_coprod.store import Store
from tests.peers.fixtures import NewStore
from tests.store.library import RESOURCES


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def library(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Store]:
    """A store with RESOURCES in it, for tests that only read."""
    with new_store(request.param) as url, Store.open(url) as store:
        for reference, data in RESOURCES.items():
            document, id = jsontext.from_data(data), reference.partition("/")[2]
            store.write(lambda transaction, document=document, id=id: transaction.put(document, id))
        yield store
