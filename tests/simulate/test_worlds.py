"""The worlds: only what is recorded differs, and in a department that stops answering also what is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from random import Random

import pytest

from fhir_coprod import validate
from fhir_coprod.simulate.dirt import FAULTS
from fhir_coprod.simulate.hospital import ALL
from fhir_coprod.simulate.life import Life, live
from fhir_coprod.simulate.noise import Version
from fhir_coprod.simulate.orders import KINDS, LABORATORY, WAYS, orders, ward_staff, way_of
from fhir_coprod.simulate.worlds import WORLDS, lived, received
from fhir_coprod.simulate.writing import feeds_of, span

BEGIN, END = span(date(2026, 6, 30))
GONE = "cardiology"
STOPS = END - timedelta(days=dict(WORLDS["stops"].stops)[GONE])


def lives_in(world: str, number: int) -> Iterator[Life]:
    return (lived(WORLDS[world], n, 3, BEGIN, END) for n in range(number))


def until_it_stopped(life: Life) -> list[Version]:
    """What was recorded before the department stopped, but for messages: whom they reach is drawn last."""
    early = [version for version in life.versions if version.at < STOPS]
    return [version for version in early if version.data["resourceType"] != "Communication"]


def some_orders(number: int = 400) -> list[Version]:
    start = BEGIN + timedelta(days=30)
    return list(orders("Patient/p1", number // 50, 50, Random(4), start, END))


@pytest.mark.parametrize("world", ["orders", "no-task", "silent-to-patients", "dirty"])
def test_the_truth_is_the_same_whatever_is_recorded(world: str) -> None:
    plain = [(life.stalls, life.referrals) for life in lives_in("plain", 40)]
    assert [(life.stalls, life.referrals) for life in lives_in(world, 40)] == plain


def test_a_world_leaves_out_what_it_does_not_record_and_nothing_else() -> None:
    plain = [version for life in lives_in("plain", 60) for version in life.versions]
    without_tasks = [version for life in lives_in("no-task", 60) for version in life.versions]
    assert without_tasks == [version for version in plain if version.data["resourceType"] != "Task"]
    silent = [version for life in lives_in("silent-to-patients", 60) for version in life.versions]
    left_out = [version.data for version in plain if version not in silent]
    assert {data["resourceType"] for data in left_out} == {"Communication"}
    messages = [version.data for version in silent if version.data["resourceType"] == "Communication"]
    assert any("PractitionerRole/" in data["recipient"][0]["reference"] for data in messages)
    assert not any(data["recipient"][0]["reference"].startswith("Patient/") for data in messages)


def test_there_are_about_fifty_orders_a_referral_and_the_referrals_stay_as_they_were() -> None:
    plain, full = list(lives_in("plain", 30)), list(lives_in("orders", 30))
    added = [
        version.data
        for bare, life in zip(plain, full, strict=True)
        for version in life.versions[len(bare.versions) :]
    ]
    number = len({data["id"] for data in added if data["resourceType"] == "ServiceRequest"})
    assert 40 <= number / sum(len(life.threads) for life in full) <= 60
    assert all(
        life.versions[: len(bare.versions)] == bare.versions for bare, life in zip(plain, full, strict=True)
    )


def test_orders_are_valid_and_written_in_every_way() -> None:
    versions = some_orders()
    for data in (*(version.data for version in versions), *(data for _, data in ward_staff())):
        assert validate(data), data
    assert {way_of(department) for department in ALL} == set(WAYS)
    texts = {text for kind in KINDS.values() for _, text in kind.what}
    written = [version.data for version in versions if version.data["resourceType"] == "ServiceRequest"]
    assert {data["code"]["text"] for data in written} == texts
    assert any("category" not in data for data in written)
    assert any("performer" not in data for data in written)
    assert any(data["performer"][0]["reference"] == LABORATORY for data in written if "performer" in data)
    newest = {data["id"]: data["status"] for data in written}
    assert set(newest.values()) == {"active", "completed", "revoked"}
    assert 0.02 < Counter(newest.values())["active"] / len(newest) < 0.15


def test_orders_never_ask_another_department_but_the_laboratory() -> None:
    for version in some_orders():
        named = version.data.get("performer", []) if version.data["resourceType"] == "ServiceRequest" else []
        asked = [one["reference"] for one in (*named, version.data.get("owner", {})) if one]
        assert all(name == LABORATORY or f"/{version.ehr}" in name for name in asked), asked


def test_a_department_that_stopped_records_nothing_that_it_was_asked_for() -> None:
    asked = 0
    for number in range(250):
        before, life = live(number, 3, BEGIN, END), lived(WORLDS["stops"], number, 3, BEGIN, END)
        own = [thread for thread in life.threads if thread.by.name != GONE]
        for thread in own:
            for version in thread.records.versions:
                data = version.data
                if version.ehr != GONE or version.at < STOPS:
                    continue
                # What the requester does still arrives there: a Task that asks, and an answer to a question.
                asked += data["status"] == "requested"
                assert data["resourceType"] == "Task", data
                assert data["status"] in ("requested", "completed"), data
        assert until_it_stopped(life) == until_it_stopped(before)
    assert asked > 5


def test_what_a_department_that_stopped_owes_is_owed_for_ever_or_until_the_referral_ends() -> None:
    lasting = Counter[str]()
    for life in lives_in("stops", 400):
        ended = {thread.reference: thread.ended for thread in life.threads}
        for thread in life.threads:
            for stall in thread.stalls:
                if stall.department != f"Organization/{GONE}" or thread.by.name == GONE:
                    continue
                assert (
                    stall.until is None
                    or stall.until < STOPS
                    or stall.until == ended[stall.referral]
                    or (stall.rule in ("patient-not-informed", "duplicate", "half-closed", "booked-too-late"))
                ), stall
                lasting[stall.rule] += stall.until is None and stall.stalled >= STOPS
    assert lasting["unacknowledged"] > 5
    assert lasting["appointment-passed"] > 2
    assert lasting["unscheduled"] > 0


def test_one_record_in_fifty_has_a_fault_of_every_kind() -> None:
    feeds = feeds_of(WORLDS["dirty"].noise, 3, BEGIN, END)
    found, invalid = Counter[str](), Counter[str]()
    whole = 0
    for life in lives_in("dirty", 700):
        for delivery in received(WORLDS["dirty"], life, feeds, 3):
            whole += bool(delivery.referral)
            found[delivery.fault] += 1
            if delivery.fault:
                assert delivery.data["resourceType"]
                assert delivery.data["id"]
                invalid[delivery.fault] += not validate(delivery.data)
    del found[""]
    for kind in ("wrong shape", "no date", "unknown status", "fault in a side element"):
        assert invalid[kind] == found[kind]
    assert invalid["foreign code"] < found["foreign code"]
    assert set(found) == set(FAULTS)
    assert 0.015 < sum(found.values()) / whole < 0.025
    assert sum(fault.share for fault in FAULTS.values()) == pytest.approx(1)
