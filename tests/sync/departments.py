"""Departments to sync with over real HTTP, and what a store holds afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.store import Query, Store, Version
from fhir_coprod.sync.ehr.sending import Politeness
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.feed import Feed, feeds
from tests.sync.conftest import OnInvalid, settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr

QUICK = Politeness(attempts=2, first_pause=0.01, longest_pause=0.02)


def a_department(**habits: Any) -> Ehr:
    """Primary care: one patient, one referral to orthopaedics."""
    return Ehr(**habits).load(
        organization("care", "GP"),
        organization("ortho", "OR"),
        patient("p", "19700102"),
        referral("s", "Patient/p", "R1", requester={"reference": "Organization/care"}),
        task("t", "Patient/p", "ServiceRequest/s", owner={"reference": "Organization/ortho"}),
    )


def synced(
    store: Store, full: bool = False, on_invalid: OnInvalid = "keep", **ehrs: Ehr
) -> dict[str, EhrReport]:
    reports = run(store, settings_for(on_invalid=on_invalid, **ehrs), full=full, politeness=QUICK)
    return {report.ehr: report for report in reports}


def one(store: Store, type: str, **criteria: str) -> Version:
    found = every(store, type, **criteria)
    assert len(found) == 1
    return found[0]


def every(store: Store, type: str, **criteria: str) -> list[Version]:
    return store.search(Query.parse(type, list(criteria.items()), strict=True)).matches


def feed(store: Store, ehr: str, type: str) -> Feed:
    with store.connect() as connection:
        return next(row for row in feeds(connection, ehr) if row.type == type)


HABITS = [
    pytest.param({"history": True}, id="history"),
    pytest.param({"last_updated": True}, id="last-updated"),
    pytest.param({}, id="crawl"),
]
