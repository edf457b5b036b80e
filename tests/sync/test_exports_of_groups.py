"""Bulk exports of a Group: who joins it, who leaves it, and nobody else."""

from __future__ import annotations

import pytest
from starlette.responses import JSONResponse, Response

from fhir_coprod.store import Store
from fhir_coprod.sync.engine import check, run
from tests.sync.exporting import (
    FAILED,
    QUICK,
    Exporting,
    alive,
    hospital,
    remarked,
    settings_for,
    synced,
)
from tests.sync.server import serving

ABOUT_PATIENTS = {"group": "g", "types": ("Patient", "ServiceRequest")}


def test_of_a_group_its_members_are_read_and_who_joins_is_pulled_whole(store: Store, store_path: str) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"])
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        assert alive(store, "ServiceRequest") == {"s0", "s1"}
        ehr.group.append("p2")
        report = synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}, "its referral is old"
    assert [(e.level, bool(e.since), e.patients) for e in ehr.exports] == [
        ("Group/g", False, ()),
        ("Group/g", False, ("p2",)),
        ("Group/g", True, ()),
    ]
    assert report.ok
    assert all(e.is_cleared for e in ehr.exports)


def test_if_patients_cannot_be_exported_alone_everybody_is(store: Store, store_path: str) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"], takes_patients=False)
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.append("p2")
        synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}
    assert [bool(e.since) for e in ehr.exports] == [False, False]


@pytest.mark.parametrize("fault", ["failed", "killed"])
def test_if_an_export_of_who_joined_comes_to_nothing_everybody_is_exported(
    store: Store, store_path: str, fault: str
) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"])
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.append("p2")

        def fails(e: Exporting, look: int) -> Response | None:
            return JSONResponse(FAILED, 500) if e.exports[-1].patients else None

        ehr.status = fails
        if fault == "killed":
            ehr.kicks = lambda r: None if r.method == "POST" else Response(status_code=401)
            synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
            ehr.kicks = lambda r: None
        synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}
    assert not ehr.exports[-1].since


def test_if_nobody_can_see_who_is_in_the_group_each_export_is_whole(store: Store, store_path: str) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"], hides_members=True)
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.append("p2")
        synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}
    assert [bool(e.since) for e in ehr.exports] == [False, False]


@pytest.mark.parametrize("hides_members", [False, True])
def test_who_leaves_the_group_is_kept_and_not_seen_any_more(
    store: Store, store_path: str, hides_members: bool
) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1", "p2"], hides_members=hides_members)
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.remove("p1")
        report = synced(store, store_path, ehr, full=True, **ABOUT_PATIENTS)
        again = synced(store, store_path, ehr, full=True, **ABOUT_PATIENTS)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}
    assert report.ok
    for one in (report, again):
        assert one.unread["ServiceRequest"] == {"Patient/p1": "is not in Group/g any more"}
        assert one.unread["Patient"] == {"Patient/p1": "is not in Group/g any more"}


def test_who_comes_back_to_the_group_is_pulled_whole_again(store: Store, store_path: str) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"])
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.remove("p1")
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.put({**ehr.resources["ServiceRequest/s1"], "status": "completed"})
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.append("p1")
        report = synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert [e.patients for e in ehr.exports][-2:] == [("p1",), ()]
    assert report.unread == {}
    assert report.counts["ServiceRequest"].updated == 1


@pytest.mark.parametrize("dry_run", [False, True])
def test_nothing_else_is_read_of_a_group_that_is_not_exported(
    store: Store, store_path: str, dry_run: bool
) -> None:
    ehr = hospital(levels=("Group",), group=["p0"], methods=(), last_updated=True)
    with serving(ehr):
        settings = settings_for(store_path, ehr, **ABOUT_PATIENTS)
        [report] = run(store, settings, dry_run=dry_run, politeness=QUICK)
    assert alive(store, "Patient") == set()
    assert sum(counts.read for counts in report.counts.values()) == 0
    if dry_run:
        assert "it is read not at all" in remarked(report)
    else:
        assert "there is no other way" in report.faults["Patient"]


def test_a_group_that_is_not_there_is_told(store_path: str) -> None:
    ehr = hospital(levels=("Group",))
    with serving(ehr):
        made = check(settings_for(store_path, ehr, group="x").ehr[0])
    assert any("the group x of the settings is not at this server" in wrong for wrong in made.wrong)
