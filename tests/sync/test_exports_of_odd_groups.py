"""Bulk exports of groups whose members are odd, many, unknown, or cannot be exported."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import Response

from fhir_coprod.store import Store
from fhir_coprod.sync.reading.members import patients
from tests.sync.exporting import (
    MANY,
    alive,
    hospital,
    synced,
)
from tests.sync.server import serving
from tests.sync.test_exports_of_groups import ABOUT_PATIENTS


@pytest.mark.parametrize(
    "entity",
    [
        {"reference": "Group/inner"},
        {"reference": "Patient?identifier=1"},
        {"reference": "urn:uuid:6f1c5a3e-0000-4000-8000-000000000000"},
    ],
)
def test_a_group_whose_members_cannot_all_be_told_tells_nobody(entity: dict[str, str]) -> None:
    named = {"entity": {"reference": "Patient/p1"}}
    assert patients({"resourceType": "Group", "member": [named]}) == {"p1"}
    assert patients({"resourceType": "Group", "member": [named, {"entity": entity}]}) is None


def test_members_that_are_no_patients_hide_none() -> None:
    member = [
        {"entity": {"reference": r}} for r in ("Patient/p1", "Device/d", "https://x.example/Patient/p2")
    ]
    assert patients({"resourceType": "Group", "member": member}) == {"p1", "p2"}


@pytest.mark.parametrize("hides_members", [False, True])
def test_many_may_leave_a_group_at_once(store: Store, store_path: str, hides_members: bool) -> None:
    everybody = [f"p{n}" for n in range(70)]
    ehr = hospital(70, per_file=100, levels=("Group",), group=everybody, hides_members=hides_members)
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        del ehr.group[5:]
        report = synced(store, store_path, ehr, full=True, **ABOUT_PATIENTS)
    assert report.ok, report.to_json()
    assert len(report.unread["ServiceRequest"]) == 65
    assert len(alive(store, "Patient")) == 70


@pytest.mark.parametrize("habits", [{}, {"methods": ()}], ids=str)
def test_whoever_is_not_in_the_group_is_not_read_in_its_place(
    store: Store, store_path: str, habits: dict[str, Any]
) -> None:
    ehr = hospital(levels=("Group",), group=["p0"], **habits)
    del ehr.resources["ServiceRequest/s0"]
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
    assert not alive(store, "ServiceRequest")


def test_what_can_be_searched_for_changes_is_exported_first_only_with_the_whole_server(
    store: Store, store_path: str
) -> None:
    """An export of patients lacks what is about none, and the searches after it would not bring that."""
    ehr = hospital(levels=("Patient",), last_updated=True)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert not ehr.exports
    assert len(alive(store, "ServiceRequest")) == MANY


def test_who_joined_is_pulled_whole_although_that_export_was_lost(store: Store, store_path: str) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"])
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.append("p2")
        ehr.file = lambda e, name, nth: Response(status_code=503) if name.startswith("Service") else None
        synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
        assert "p2" in alive(store, "Patient")
        assert "s2" not in alive(store, "ServiceRequest")
        ehr.file = lambda e, name, nth: None
        ehr.status = lambda e, look: None
        for export in ehr.exports:
            export.is_cleared = True
        ehr.kicks = lambda request: Response(status_code=503)
        synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
        ehr.kicks = lambda request: None
        report = synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert "s2" in alive(store, "ServiceRequest")
    assert report.ok


def test_if_patients_are_not_read_from_the_group_each_export_of_it_is_whole(
    store: Store, store_path: str
) -> None:
    """Nothing else would tell who joined: patients who are searched for are known before."""
    ehr = hospital(levels=("Group",), group=["p0", "p1"])
    about = {"group": "g", "types": ("ServiceRequest",)}
    with serving(ehr):
        synced(store, store_path, ehr, **about)
        ehr.group.append("p2")
        synced(store, store_path, ehr, overlap_seconds=0, **about)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}
    assert [(bool(e.since), e.patients) for e in ehr.exports] == [(False, ())] * 2
