"""Does one small sync as it is imported: a process forked from one that has is as fast as after its first."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run
from tests.sync.conftest import settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving


def _sync_once() -> None:
    care, ortho = Ehr(last_updated=True), Ehr(history=True)
    for ehr in (care, ortho):
        ehr.load(
            organization("o", "OR"),
            patient("p", "1"),
            referral("s", "Patient/p", "R1", requester={"reference": "Organization/o"}),
            task("t", "Patient/p", "ServiceRequest/s", owner={"reference": "Organization/o"}),
        )
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(f"sqlite:///{Path(folder) / 'store.db'}") as store,
        serving(care, ortho),
    ):
        for full in (False, True):
            run(store, settings_for(care=care, ortho=ortho), full=full)


_sync_once()
