"""An endpoint on each database over a store of this test's own, with a folder for its exports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.export_settings import ExportSettings
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from tests.api.conftest import Api

Make = Callable[..., Api]


@pytest.fixture
def make_api(store_url: str, tmp_path: Path) -> Iterator[Make]:
    """Makes endpoints over one store; each is one worker of it."""
    made: list[Api] = []
    stores: list[Store] = []

    def make(export: dict[str, Any] | None = None, **settings: Any) -> Api:
        stores.append(Store.open(store_url))
        own = ExportSettings(**{"folder": str(tmp_path / "bulk"), "spare_bytes": 0, **(export or {})})
        made.append(Api(stores[-1], Settings(store=StoreSettings(url=store_url), export=own, **settings)))
        return made[-1]

    yield make
    for api in made:
        api.close()
    for store in stores:
        store.close()


@pytest.fixture
def api(make_api: Make) -> Api:
    return make_api()
