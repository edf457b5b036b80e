"""A server that asks who calls, on each database, and a program that may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_coprod.access_settings import AccessSettings
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from tests.access.programs import Program, register
from tests.api.conftest import Api
from tests.api.conftest import sqlite_api as sqlite_api
from tests.peers.fixtures import NewStore


@pytest.fixture(params=["sqlite", "postgresql"])
def guarded_api(request: pytest.FixtureRequest, new_store: NewStore, tmp_path: Path) -> Iterator[Api]:
    """A server of this test's own."""
    with new_store(request.param) as url, Store.open(url) as store:
        access = AccessSettings(key_file=tmp_path / "key.json")
        api = Api(store, Settings(store=StoreSettings(url=f"{request.param}://"), access=access))
        yield api
        api.close()


@pytest.fixture
def program(guarded_api: Api) -> Program:
    return Program(guarded_api, register(guarded_api.store, "system/*.cruds"))
