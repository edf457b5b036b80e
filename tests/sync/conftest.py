"""Fixtures for the tests of the sync."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from fhir_coprod.settings import EhrSettings, Settings, StoreSettings
from fhir_coprod.store import Store
from tests.peers.fixtures import NewStore
from tests.sync.server import Ehr

OnInvalid = Literal["keep", "refuse"]


@pytest.fixture
def store_path(new_store: NewStore, tmp_path: Path) -> Iterator[str]:
    """URL of an empty store on SQLite, in a folder of its own."""
    folder = tmp_path / "store"
    folder.mkdir()
    with new_store("sqlite", folder) as url:
        yield url


@pytest.fixture
def store(store_path: str) -> Iterator[Store]:
    with Store.open(store_path) as opened:
        yield opened


def settings_for(store_path: str = "", on_invalid: OnInvalid = "keep", **ehrs: Ehr) -> Settings:
    """Settings that name these EHRs, in this order; each department is Organization/NAME there."""
    return Settings(
        store=StoreSettings(url=store_path) if store_path else StoreSettings(),
        ehr=tuple(
            EhrSettings(
                name=name,
                url=ehr.url,
                department=f"Organization/{name}",
                types=("Organization", "Patient", "ServiceRequest", "Task", "Communication"),
                requests_per_second=1000,
                on_invalid=on_invalid,
            )
            for name, ehr in ehrs.items()
        ),
    )
