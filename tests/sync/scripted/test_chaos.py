"""Chaos over the scripted EHRs: when it is over, the store holds what an undisturbed one does."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.store.schema.sync import crosswalk
from tests.peers.fixtures import NewStore
from tests.sync.scripted.chaos import TROUBLE, ChaoticEhr
from tests.sync.scripted.records import drawn
from tests.sync.scripted.scripts import SCRIPTS
from tests.sync.scripted.syncing import picture, settings_of
from tests.sync.scripted.test_vendors import synced
from tests.sync.server import serving

PATIENTS = 3
FEW = ["epic"]
SEEDS = 1 if os.environ.get("PROOF_SIZE") == "ci" else 40
CHAOTIC, CALM = 3, 3
"""Runs under chaos, and the most that it may take afterwards."""


def impatient(settings: Settings) -> Settings:
    ehrs = tuple(EhrSettings(**{**dict(ehr), "timeout": 0.3}) for ehr in settings.ehr)
    return settings.model_copy(update={"ehr": ehrs})


def survives(vendor: str, seed: int, folder: Path, new_store: NewStore) -> Counter[str]:
    """Sync under chaos, and then in peace; returns what was met."""
    ehr = ChaoticEhr(SCRIPTS[vendor], signed_in=True, seed=seed)
    ehr.load(drawn(PATIENTS))
    with (
        serving(ehr),
        new_store("sqlite", folder) as url,
        new_store("sqlite") as calm_url,
        Store.open(url) as store,
        Store.open(calm_url) as undisturbed,
    ):
        settings = impatient(settings_of(ehr, folder, patients=PATIENTS))
        for number in range(CHAOTIC):
            synced(store, settings, full=number % 2 == 1)
            held = picture(store)
            ever = {reference for reference, _, _ in ehr.log}
            assert not [name for name in held if not name.startswith("dead") and name not in ever]
            with store.connect() as connection:
                lost = deleted(connection) - ehr.gone
            assert not lost, "what could not be read is not gone"
        ehr.calm = True
        reports = [synced(store, settings, full=True) for _ in range(CALM)]
        assert reports[-1].ok, (reports[-1].error, reports[-1].faults)
        synced(undisturbed, settings)
        assert picture(store) == picture(undisturbed)
    return ehr.met


def deleted(connection: Connection) -> set[str]:
    """Type and id there of what is held to be deleted."""
    c = crosswalk.c
    rows = connection.execute(select(c.type, c.foreign_id).where(c.deleted.is_(True)))
    return {f"{type}/{id}" for type, id in rows}


@pytest.mark.parametrize("vendor", FEW)
def test_a_store_is_as_if_nothing_had_happened_when_chaos_is_over(
    tmp_path: Path, new_store: NewStore, vendor: str
) -> None:
    assert survives(vendor, 7, tmp_path, new_store)


@pytest.mark.proof
def test_no_trouble_leaves_a_trace_in_any_store(tmp_path: Path, new_store: NewStore) -> None:
    met: Counter[str] = Counter()
    for seed in range(SEEDS):
        for vendor in SCRIPTS:
            folder = tmp_path / f"{vendor}-{seed}"
            folder.mkdir()
            met += survives(vendor, seed, folder, new_store)
    print(dict(met))
    assert SEEDS < 3 or set(met) == set(TROUBLE), "each trouble was met"
