"""A referral that is sent on: what the second department does counts for the first, and who is blamed.

Each case is the base of `cases.py` with a few resources beside it.
"""

from __future__ import annotations

from typing import Any

from fhir_coprod import jsontext
from fhir_coprod.store import Store
from tests.watch.cases import (
    MARCH,
    NUMBER,
    Json,
    Watch,
    at,
    order,
    report,
    resource,
    rules,
    task,
    told,
)

HUB = {"performer": [at("Organization/hub")]}
CHILD = order("s2", basedOn=[at("ServiceRequest/s")], requester=at("Organization/hub"))


def below(status: str, **more: Any) -> Json:
    return task("t2", status, focus=at("ServiceRequest/s2"), requester=at("Organization/hub"), **more)


def test_the_answer_of_the_second_referral_is_owed_to_the_first_requester(watch: Watch) -> None:
    visit = resource(
        "Encounter/e",
        status="finished",
        basedOn=[at("ServiceRequest/s2")],
        period={"start": MARCH.format(18), "end": MARCH.format(18)},
        serviceProvider=at("Organization/clinic"),
    )
    records = (
        order(**HUB),
        task(owner=at("Organization/hub")),
        CHILD,
        below("accepted"),
        visit,
        report("r", "ServiceRequest/s2"),
        told(),
    )
    standing = watch(*records)
    assert standing.stage == "resulted"
    assert [(stall.rule, stall.owner) for stall in standing.stalls] == [
        ("report-not-returned", "Organization/hub")
    ]
    second = watch(*records, referral="ServiceRequest/s2")
    assert "report-not-returned" not in rules(second)


def test_a_report_in_the_second_task_has_reached_only_whoever_is_in_between(watch: Watch) -> None:
    output = [{"type": {"text": "report"}, "valueReference": at("DiagnosticReport/r")}]
    records = (
        order(**HUB),
        task(owner=at("Organization/hub")),
        CHILD,
        below("completed", output=output),
        report("r", "ServiceRequest/s2"),
        told(),
    )
    standing = watch(*records)
    assert [(stall.rule, stall.owner) for stall in standing.stalls] == [
        ("report-not-returned", "Organization/hub")
    ]
    assert watch(*records, referral="ServiceRequest/s2").stage == "returned"


def test_a_finished_hub_waits_for_the_department_it_sent_it_to(watch: Watch) -> None:
    standing = watch(
        order(**HUB), task(status="completed", owner=at("Organization/hub")), CHILD, below("accepted"), told()
    )
    assert (standing.stage, standing.owner, rules(standing)) == ("accepted", "Organization/clinic", [])


def test_a_second_referral_that_names_no_requester_is_known_by_its_task(watch: Watch) -> None:
    """As social care in the United States writes it."""
    child = {key: value for key, value in CHILD.items() if key not in ("requester", "performer")}
    records = (
        order(**HUB),
        task(owner=at("Organization/hub")),
        child,
        below("completed", partOf=[at("Task/t")], output=[{"type": {"text": "x"}, "valueCode": "done"}]),
        told(),
    )
    standing = watch(*records)
    assert standing.stage == "resulted"
    assert [(stall.rule, stall.owner) for stall in standing.stalls] == [
        ("report-not-returned", "Organization/hub")
    ]
    second = watch(*records, told("c2", about=[at("ServiceRequest/s2")]), referral="ServiceRequest/s2")
    assert (second.stage, rules(second)) == ("returned", ["half-closed"])


def test_a_task_of_a_group_is_no_part_of_another(watch: Watch) -> None:
    group = {key: value for key, value in task("group").items() if key != "focus"}
    standing = watch(order(), group, task(partOf=[at("Task/group")]), told())
    assert (standing.stage, standing.owner) == ("accepted", "Organization/clinic")


def test_only_the_department_that_does_not_answer_is_blamed(watch: Watch) -> None:
    records = (
        order(**HUB),
        task(status="in-progress", owner=at("Organization/hub")),
        CHILD,
        below("requested"),
        told(),
    )
    assert rules(watch(*records)) == []
    second = watch(*records, told("c2", about=[at("ServiceRequest/s2")]), referral="ServiceRequest/s2")
    assert [(stall.rule, stall.owner) for stall in second.stalls] == [
        ("unacknowledged", "Organization/clinic")
    ]


def test_a_department_that_saw_the_patient_itself_refers_on_its_own_account(watch: Watch) -> None:
    visit = resource(
        "Encounter/e",
        status="finished",
        basedOn=[at("ServiceRequest/s")],
        period={"start": MARCH.format(10), "end": MARCH.format(10)},
        serviceProvider=at("Organization/hub"),
    )
    records = (
        order(**HUB),
        task(owner=at("Organization/hub")),
        visit,
        CHILD,
        below("completed"),
        report("r", "ServiceRequest/s2"),
        told(),
    )
    assert (watch(*records).stage, rules(watch(*records))) == ("seen", ["results-missing"])
    assert "report-not-returned" in rules(watch(*records, referral="ServiceRequest/s2"))


def test_a_departments_own_orders_are_no_result(watch: Watch) -> None:
    blood = order("lab", basedOn=[at("ServiceRequest/s")], requester=at("Organization/clinic"))
    del blood["performer"]
    standing = watch(order(), task(), blood, report("r", "ServiceRequest/lab"), told())
    assert (standing.stage, rules(standing)) == ("accepted", ["unscheduled"])


def test_a_change_of_the_second_referral_concerns_the_first(sqlite_store: Store, watch: Watch) -> None:
    from fhir_coprod.watch.facts import affected

    watch(order(**HUB), task(owner=at("Organization/hub")), CHILD, below("requested"))
    head = sqlite_store.head()
    watch(order(**HUB), task(owner=at("Organization/hub")), CHILD, below("accepted"))
    with sqlite_store.connect() as connection:
        found = affected.concerned(connection, sqlite_store.changes(head, 100))
    assert found >= {"ServiceRequest/s", "ServiceRequest/s2"}


def test_a_task_by_number_and_a_death_concern_the_referral(sqlite_store: Store, watch: Watch) -> None:
    from fhir_coprod.watch.facts import affected

    numbered = {"focus": {"type": "ServiceRequest", "identifier": NUMBER}}
    watch(order(identifier=[NUMBER]))
    for change in (task(**numbered), resource("Patient/p", deceasedBoolean=True)):
        head = sqlite_store.head()
        sqlite_store.write(
            lambda transaction, change=change: transaction.put(jsontext.from_data(change), change["id"])
        )
        with sqlite_store.connect() as connection:
            assert "ServiceRequest/s" in affected.concerned(connection, sqlite_store.changes(head, 100))
