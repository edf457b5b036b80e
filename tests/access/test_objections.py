"""What a patient refuses to a department or a person is not there for them; a lost row opens nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from fhir_coprod.access.rights import Rights
from fhir_coprod.access.sight import sight
from fhir_coprod.jsontext import Json, from_data
from fhir_coprod.store import Store, objections, opening
from fhir_coprod.store.schema import core
from fhir_coprod.store.soundness import check
from fhir_coprod.store.soundness.faults import Fault
from tests.access.callers import CALLERS, caller
from tests.access.conftest import Hospital
from tests.access.hospital import observation, order, ref
from tests.access.test_lost import seen_after

A, B, ALL = (CALLERS[f"person of {who}"] for who in ("A", "B", "all"))
A_ACTOR = {"role": {"text": "x"}, "reference": ref("Organization/A")}
P1, PROGRAM = CALLERS["patient p1"], CALLERS["program"]
PRIVACY = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
}


def refusal(patient: str, *actors: str, **provision: Any) -> Json:
    """A Consent by which a patient refuses their record to these."""
    named = [{"role": {"text": "reads"}, "reference": ref(actor)} for actor in actors]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": PRIVACY,
        "category": [{"text": "objection"}],
        "patient": ref(patient),
        "policyRule": {"text": "rule"},
        "provision": {"type": "deny", **({"actor": named} if named else {}), **provision},
    }


def put(hospital: Hospital, id: str, data: Json) -> None:
    document = from_data({**data, "id": id})
    hospital.store.write(lambda t: t.put(document, id))


def sees(hospital: Hospital, rights: Rights, name: str) -> bool:
    return hospital.ask(rights, "GET", name).status == 200


def found(hospital: Hospital, rights: Rights, url: str) -> list[str]:
    said = hospital.ask(rights, "GET", url)
    assert said.status == 200, said.text
    return said.names


def test_a_department_that_is_refused_sees_nothing_of_the_record(changing: Hospital) -> None:
    ways = (
        "Patient?_id=p1",
        "Observation?patient=Patient/p1",
        "Observation?patient:Patient.gender=female&_id=o1",
        "ServiceRequest?subject=Patient/p1",
        "Patient?_has:Observation:patient:code=a&_id=p1",
        "DetectedIssue?patient=Patient/p1",
        "Appointment?actor=Patient/p1",
    )
    before = {way: found(changing, A, way) for way in ways}
    assert all(before.values())
    others = found(changing, A, "Observation?patient=Patient/p3")
    put(changing, "refused", refusal("Patient/p1", "Organization/A"))
    for way in ways:
        assert found(changing, A, way) == [], way
        assert changing.ask(A, "GET", f"{way}&_summary=count").json["total"] == 0
    for name in ("Patient/p1", "Observation/o1", "ServiceRequest/early", "Consent/refused", "Appointment/a1"):
        unknown = changing.ask(A, "GET", f"{name.partition('/')[0]}/never-was")
        said = changing.ask(A, "GET", name)
        assert said.text.replace(name.partition("/")[2], "never-was") == unknown.text
    assert changing.ask(A, "GET", "Patient/p1/_history").status == 404
    assert changing.ask(A, "GET", "Patient/p1/$everything").status == 404
    names = found(changing, A, "Observation?_include=Observation:subject&_id=o1,oBACK")
    assert "Patient/p1" not in names
    assert found(changing, A, "Observation?patient=Patient/p3") == others != []
    assert found(changing, A, "Observation?patient=Patient/p2") == []  # the other record of p1


def test_everybody_else_sees_it_as_before(changing: Hospital) -> None:
    before = {
        who: found(changing, rights, "Observation?patient=Patient/p1") for who, rights in _OTHERS.items()
    }
    put(changing, "c", refusal("Patient/p1", "Organization/A"))
    after = {
        who: found(changing, rights, "Observation?patient=Patient/p1") for who, rights in _OTHERS.items()
    }
    assert before == after
    assert all(before.values())


_OTHERS = {"person of B": B, "program": PROGRAM, "patient": P1}


def test_who_acts_for_all_departments_acts_for_the_one_that_is_refused(changing: Hospital) -> None:
    assert sees(changing, ALL, "Observation/o1")
    put(changing, "c", refusal("Patient/p1", "Organization/A"))
    for name in ("Patient/p1", "Observation/o1", "ServiceRequest/early", "Task/t3", "Appointment/a1"):
        assert sees(changing, ALL, name) == (name == "Task/t3"), name


def test_a_person_is_refused_by_practitioner_by_role_and_by_sign_in(changing: Hospital) -> None:
    doc, other = replace(A, practitioner="doc"), replace(A, practitioner="other")
    put(changing, "c", refusal("Patient/p1", "Practitioner/doc"))
    assert not sees(changing, doc, "Observation/o1")
    assert sees(changing, other, "Observation/o1")
    assert not sees(changing, A, "Observation/o1")  # nobody knows whether it is them
    put(changing, "c", refusal("Patient/p1", "PractitionerRole/late"))  # doc's
    assert not sees(changing, doc, "Observation/o1")
    assert sees(changing, other, "Observation/o1")
    named = refusal("Patient/p1")
    identifier = {"system": "https://login.test", "value": "7"}
    named["provision"]["actor"] = [{"role": {"text": "x"}, "reference": {"identifier": identifier}}]
    put(changing, "c", named)
    assert not sees(changing, other, "Observation/o1")  # nobody here has it, so it may be anybody
    changing.store.write(
        lambda t: t.session.run("INSERT INTO user_grant VALUES ('https://login.test|7', 'r', '*', 0, 0)")
    )
    put(changing, "c", {**named, "dateTime": "2026-01-01"})
    assert sees(changing, other, "Observation/o1")
    assert not sees(changing, replace(other, name="https://login.test|7"), "Observation/o1")


@pytest.mark.parametrize("status", ["inactive", "entered-in-error", "rejected", "draft", "proposed"])
def test_only_an_active_refusal_holds(changing: Hospital, status: str) -> None:
    put(changing, "c", {**refusal("Patient/p1", "Organization/A"), "status": status})
    assert sees(changing, A, "Observation/o1")
    put(changing, "c", refusal("Patient/p1", "Organization/A"))
    assert not sees(changing, A, "Observation/o1")
    put(changing, "c", {**refusal("Patient/p1", "Organization/A"), "status": status})
    assert sees(changing, A, "Observation/o1")


def test_a_refusal_begins_and_ends_by_the_clock(changing: Hospital) -> None:
    for period, holds in (
        ({"end": "2020-01-01"}, False),
        ({"start": "2020-01-01"}, True),
        ({"start": "2020-01-01", "end": "2099-01-01"}, True),
        ({"start": "2099-01-01"}, False),
        ({}, True),
    ):
        data = refusal("Patient/p1", "Organization/A", **({"period": period} if period else {}))
        put(changing, "c", data)
        assert sees(changing, A, "Observation/o1") != holds, period


def test_one_refusal_holds_though_another_ended(changing: Hospital) -> None:
    put(changing, "c1", refusal("Patient/p1", "Organization/A"))
    put(changing, "c2", refusal("Patient/p1", "Organization/A"))
    changing.store.write(lambda t: t.delete("Consent", "c1"))
    assert not sees(changing, A, "Observation/o1")
    put(changing, "c2", {**refusal("Patient/p2", "Organization/A")})
    assert sees(changing, A, "Observation/o1") is False  # p1 and p2 are linked: one person
    changing.store.write(lambda t: t.delete("Consent", "c2"))
    assert sees(changing, A, "Observation/o1")


def test_a_refusal_of_one_record_holds_for_all_records_of_the_person(changing: Hospital) -> None:
    put(changing, "c", refusal("Patient/p3", "Organization/A"))
    assert sees(changing, A, "Observation/o1")
    data = {"resourceType": "Patient", "link": [{"other": ref("Patient/p1"), "type": "replaced-by"}]}
    put(changing, "p3", data)
    assert not sees(changing, A, "Observation/o1")


def test_a_refusal_is_known_before_its_patient_and_before_its_records(changing: Hospital) -> None:
    put(changing, "c", refusal("Patient/new", "Organization/A"))
    changing.store.write(lambda t: t.put(from_data({"resourceType": "Patient", "id": "new"}), "new"))
    put(
        changing,
        "sn",
        {"resourceType": "ServiceRequest", **order("Patient/new", "Organization/A", "Organization/B")},
    )
    put(changing, "on", {"resourceType": "Observation", **observation("Patient/new")})
    for name in ("Patient/new", "ServiceRequest/sn", "Observation/on"):
        assert not sees(changing, A, name)
        assert sees(changing, B, name)


def test_a_kind_of_content_is_refused_alone(changing: Hospital) -> None:
    only = [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]
    put(changing, "c", refusal("Patient/p1", "Organization/A", **{"class": only}))
    assert not sees(changing, A, "Observation/o1")
    assert sees(changing, A, "Patient/p1")
    unknown = [{"system": "urn:x", "code": "Observation"}]
    put(changing, "c", refusal("Patient/p1", "Organization/A", **{"class": unknown}))
    assert not sees(changing, A, "Patient/p1")


@pytest.mark.parametrize(
    "provision",
    [
        {"actor": [{"role": {"text": "x"}, "reference": ref("CareTeam/x")}]},
        {"actor": [{"role": {"text": "x"}, "reference": ref("http://elsewhere.test/Organization/Z")}]},
        {"actor": [{"role": {"text": "x"}, "reference": {"display": "Somebody"}}]},
        {"actor": "Organization/Z"},
        {"actor": [{"role": {"text": "x"}, "reference": ref("PractitionerRole/none-such")}]},
        {"purpose": [{"code": "HRESCH"}]},
        {"type": 7},
        {"type": "permit", "provision": [{"type": "deny"}]},
        {"type": "permit", "provision": [{"provision": [{"type": "deny"}]}]},
        {"type": "permit", "provision": "deny"},
        {"provision": [{"type": "permit", "actor": [A_ACTOR]}]},
    ],
)  # fmt: skip
def test_what_is_not_understood_counts_as_the_stricter_reading(changing: Hospital, provision: Json) -> None:
    put(changing, "c", refusal("Patient/p1", **provision))
    assert not sees(changing, A, "Observation/o1")
    assert not sees(changing, B, "Observation/o1")


def test_a_refusal_of_something_else_refuses_nothing(changing: Hospital) -> None:
    other = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]}
    put(changing, "c", {**refusal("Patient/p1", "Organization/A"), "scope": other})
    assert sees(changing, A, "Observation/o1")
    put(changing, "c", {**refusal("Patient/p1"), "provision": {"type": "permit"}})
    assert sees(changing, A, "Observation/o1")


def test_what_is_read_more_strictly_is_told() -> None:
    assert objections.notes(refusal("Patient/p1", "Organization/A")) == ()
    assert objections.notes(refusal("Patient/p1", "Organization/A", purpose=[{"code": "TREAT"}]))


def test_who_is_refused_cannot_take_it_back(changing: Hospital) -> None:
    put(changing, "c", refusal("Patient/p1", "Organization/A"))
    over = {**refusal("Patient/p1", "Organization/A"), "id": "c", "status": "inactive"}
    assert changing.ask(A, "PUT", "Consent/c", over).status == 404
    assert changing.ask(A, "DELETE", "Consent/c").status == 204  # nothing was there for them
    assert changing.ask(A, "POST", "Consent", over).status == 403
    assert not sees(changing, A, "Observation/o1")
    assert sees(changing, P1, "Consent/c")
    assert changing.ask(P1, "PUT", "Consent/c", over).status == 200
    assert sees(changing, A, "Observation/o1")


def test_no_lost_row_opens_what_is_refused(changing: Hospital) -> None:
    store = changing.store
    put(changing, "c1", refusal("Patient/p1", "Organization/A"))
    put(changing, "c2", refusal("Patient/p3", "Organization/B", "Organization/C"))
    names = [f"{one.type}/{one.id}" for one in store.changes(0, 1000)]
    whole = _seen(store, names)
    lost = 0
    for table in (core.objection, core.reference, core.relation, core.token):
        columns = [column.name for column in table.primary_key.columns]
        rows: list[tuple[object, ...]] = []
        store.write(
            lambda t, table=table, columns=columns, rows=rows: rows.extend(
                t.session.rows(f"SELECT {', '.join(columns)} FROM {table.name}")
            )
        )
        where = " AND ".join(f"{name} = ?" for name in columns)
        for row in rows[:: 1 if table is core.objection else 4]:
            sql = f"DELETE FROM {table.name} WHERE {where}"
            after = _seen(store, names, lambda t, sql=sql, row=row: t.session.run(sql, row) and None)
            for who in whole:
                assert after[who] <= whole[who], (who, table.name, row, after[who] - whole[who])
                lost += after[who] < whole[who]
    assert lost > 20
    none = _seen(store, names, lambda t: t.session.run("DELETE FROM objection") and None)
    for who in whole:
        assert none[who] <= whole[who]


def _seen(
    store: Store, names: list[str], change: Callable[[Any], None] = lambda t: None
) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}

    def look(transaction: Any) -> None:
        change(transaction)
        for who in ("person of A", "person of B", "person of C", "person of all"):
            limit = sight(CALLERS[who], "r")
            assert limit is not None
            found[who] = transaction.seen(limit, names)

    seen_after(store, look)
    return found


def test_a_program_with_user_scopes_is_refused_as_its_department(changing: Hospital) -> None:
    program = caller("program", "user/*.rs", "A")
    assert sees(changing, program, "Observation/o1")
    put(changing, "c", refusal("Patient/p1", "Organization/A"))
    assert not sees(changing, program, "Observation/o1")


def test_the_check_finds_a_lost_objection_and_mends_it(changing: Hospital) -> None:
    store = changing.store
    url = store._database.url.render_as_string(hide_password=False)

    def told(*, repair: bool = False) -> list[tuple[str, str]]:
        faults: list[Fault] = []
        with closing(opening.connect(url)) as base:
            writer = store._writer if repair else None
            check.run(base, faults.append, writer=writer, tell_mended=lambda fault: None)
        return [(fault.kind, fault.at) for fault in faults]

    put(changing, "c", refusal("Patient/p3", "Organization/C"))
    assert told() == []
    c = CALLERS["person of C"]
    for damage in (
        "DELETE FROM objection",
        "UPDATE objection SET party = 'B'",
        "UPDATE resource SET objections = 0 WHERE id = 'p3'",
        "UPDATE objection SET high = '2020-01-01 00:00:00'",
        "INSERT INTO objection VALUES ('p3', 'made-up', 'everybody', '', '', '', '~')",
    ):
        store.write(lambda t, damage=damage: t.session.run(damage) and None)
        assert ("objection", "Patient/p3") in told(), damage
        assert told(repair=True) == []
        assert told() == []
        assert not sees(changing, c, "Patient/p3")
    store.reindex()
    assert told() == []
    assert not sees(changing, c, "Patient/p3")


def test_a_referral_written_while_rows_are_lost_opens_nothing(changing: Hospital) -> None:
    put(changing, "c", refusal("Patient/p3", "Organization/C"))
    changing.store.write(lambda t: t.session.run("DELETE FROM objection") and None)
    data = {"resourceType": "ServiceRequest", **order("Patient/p3", "Organization/C")}
    put(changing, "later", data)
    for name in ("Patient/p3", "ServiceRequest/later", "Observation/o3"):
        assert not sees(changing, CALLERS["person of C"], name)
