"""What must survive when records are merged: security labels, and which Patients are no longer in use."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run
from tests.sync.conftest import settings_for
from tests.sync.departments import every, one, synced
from tests.sync.records import organization, patient, referral
from tests.sync.server import Ehr, serving

_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
RESTRICTED = {"system": _CONFIDENTIALITY, "code": "R"}
VERY_RESTRICTED = {"system": _CONFIDENTIALITY, "code": "V"}
SENSITIVE = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}


def labels(store: Store, type: str = "Patient") -> list[dict[str, str]]:
    found: list[dict[str, str]] = one(store, type).data["meta"].get("security", [])
    return found


def labelled(*given: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"meta": {"security": list(given), **more}}


def test_what_is_merged_carries_the_labels_of_all_its_records(store: Store) -> None:
    care = Ehr().load(patient("p", "1"), referral("s", "Patient/p", "R1"))
    ortho = Ehr().load(
        patient("900", "1", **labelled(RESTRICTED)),
        referral("77", "Patient/900", "R1", **labelled(SENSITIVE)),
    )
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
        assert labels(store) == [RESTRICTED]
        assert labels(store, "ServiceRequest") == [SENSITIVE]
        care.put(patient("p", "1", **labelled(VERY_RESTRICTED, RESTRICTED)))
        synced(store, care=care, ortho=ortho)
        assert labels(store) == [VERY_RESTRICTED, RESTRICTED]
        care.put(patient("p", "1"))
        ortho.put(patient("900", "1"))
        synced(store, care=care, ortho=ortho)
    assert labels(store) == []


def test_a_label_is_carried_when_nothing_else_of_its_record_is(store: Store) -> None:
    care = Ehr().load(patient("p", "1", gender="female"))
    ortho = Ehr().load(patient("900", "1", maritalStatus={"text": "married"}, **labelled(RESTRICTED)))

    def validate(document: Document) -> Outcome:
        bad = document.data.keys() >= {"gender", "maritalStatus"}
        return Outcome((Issue("error", "invariant", "made up"),)) if bad else Outcome(())

    with serving(care, ortho):
        run(store, settings_for(care=care, ortho=ortho), validate=validate)
    assert "maritalStatus" not in one(store, "Patient").data
    assert labels(store) == [RESTRICTED]


def test_profiles_and_tags_are_those_of_the_first_record(store: Store) -> None:
    first, second = {"system": "urn:t", "code": "1"}, {"system": "urn:t", "code": "2"}
    care = Ehr().load(patient("p", "1", meta={"tag": [first], "profile": ["https://care.example/p"]}))
    ortho = Ehr().load(patient("900", "1", meta={"tag": [second], "profile": ["https://ortho.example/p"]}))
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
    meta = one(store, "Patient").data["meta"]
    assert (meta["tag"], meta["profile"]) == ([first], ["https://care.example/p"])


def test_a_patient_given_up_for_another_keeps_its_labels_and_the_successor_has_both(store: Store) -> None:
    care = Ehr().load(patient("p", "1", **labelled(SENSITIVE)))
    ortho = Ehr().load(patient("900", **labelled(RESTRICTED)))
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
        given = {v.id: v.data["meta"]["security"] for v in every(store, "Patient")}
        ortho.put(patient("900", "1", **labelled(RESTRICTED)))
        synced(store, care=care, ortho=ortho)
    living, retired = sorted(every(store, "Patient"), key=lambda v: v.data.get("active") is False)
    assert living.data["meta"]["security"] == [SENSITIVE, RESTRICTED]
    assert retired.data["active"] is False
    assert retired.data["meta"]["security"] == given[retired.id]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(False, False, False), (False, True, True), (False, None, None), (True, False, True)],
)
def test_what_is_out_of_use_at_one_department_leads_only_when_it_is_so_at_all(
    store: Store, first: bool, second: bool | None, expected: bool | None
) -> None:
    """docs/sync.md and merge.toml: `active` is the first record's, and one given up does not stand first."""
    theirs = {} if second is None else {"active": second}
    care = Ehr().load(patient("p", "1", active=first), {**organization("1", "O"), "active": first})
    ortho = Ehr().load(patient("900", "1", **theirs), {**organization("2", "O"), **theirs})
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
    assert one(store, "Patient").data.get("active") is expected
    assert one(store, "Organization").data.get("active") is expected


def test_a_record_that_another_has_replaced_does_not_lead(store: Store) -> None:
    link = [{"other": {"reference": "Patient/b"}, "type": "replaced-by"}]
    ehr = Ehr().load(patient("a", "1", link=link, gender="male"), patient("b", "1", gender="female"))
    with serving(ehr):
        synced(store, care=ehr)
    assert one(store, "Patient").data["gender"] == "female"


def test_links_are_those_of_the_first_record_and_one_to_each_record(store: Store) -> None:
    care = Ehr().load(
        patient("p", "1", link=[{"other": {"reference": "Patient/elsewhere"}, "type": "refer"}])
    )
    ortho = Ehr().load(
        patient("900", "1", link=[{"other": {"reference": "Patient/901"}, "type": "replaces"}])
    )
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
    assert {(link["other"]["reference"], link["type"]) for link in one(store, "Patient").data["link"]} == {
        (f"{care.url}/Patient/elsewhere", "refer"),
        (f"{care.url}/Patient/p", "seealso"),
        (f"{ortho.url}/Patient/900", "seealso"),
    }
