"""What stands in a resource of ours when the records of EHRs are written, and what becomes of it later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.errors import Gone
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.store import Store
from fhir_coprod.store.schema.sync import merge_base
from fhir_coprod.sync.merging.link import link, new_id
from fhir_coprod.sync.merging.merge import ORIGIN
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.staging.references import Bases, Record
from tests.sync.records import Json, organization, patient, referral, task
from tests.sync.story import goes, ids, questions, settled, shown, told
from tests.sync.test_arrival import CONTEXT, put

BAD = Outcome((Issue("error", "invariant", "made up"),))


def named(number: str, type: str = "") -> Json:
    identifier = {"identifier": {"system": "urn:org", "value": number}}
    return {**identifier, "type": type} if type else identifier


def edited(store: Store, type: str, record: str, **changes: Any) -> None:
    """Somebody here changes the resource of this record; None takes an element away."""
    data = {**shown(store, type, record), **changes}
    content = jsontext.from_data({key: value for key, value in data.items() if value is not None})
    id = ids(store, type)[record]
    store.write(lambda t: t.put(content, id))


def bases(store: Store) -> int:
    with store.connect() as connection:
        return len(connection.execute(merge_base.select()).all())


def owner(store: Store) -> Any:
    return shown(store, "Task", "neuro/t")["owner"].get("reference")


# --- references -----------------------------------------------------------------------------------


def test_whoever_alone_carries_an_identifier_is_named_and_nobody_when_two_do(store: Store) -> None:
    told(
        store,
        ("care", organization("a", "X")),
        ("neuro", task("t", "Patient/p", "Task/x", owner=named("X", "Organization"))),
    )
    only = f"Organization/{ids(store, 'Organization')['care/a']}"
    assert owner(store) == only
    told(store, ("care", organization("b", "X")))
    assert owner(store) is None
    goes(store, "care", "Organization/b")
    settled(store)
    assert owner(store) == only


def test_a_holder_is_looked_for_among_all_types_unless_the_reference_names_one(store: Store) -> None:
    place = {**organization("a", "X"), "resourceType": "Location", "id": "l"}
    told(store, ("care", organization("a", "X")), ("care", place))
    told(store, ("neuro", task("t", "Patient/p", "Task/x", owner=named("X"))))
    assert owner(store) is None
    told(store, ("neuro", task("t", "Patient/p", "Task/x", owner=named("X", "Location"))))
    assert owner(store) == f"Location/{ids(store, 'Location')['care/l']}"
    told(store, ("neuro", task("t", "Patient/p", "Task/x", owner=named("X", "Practitioner"))))
    assert owner(store) is None


def test_a_holder_found_by_an_untyped_reference_is_looked_for_again_when_one_of_any_type_comes(
    store: Store,
) -> None:
    told(store, ("neuro", task("t", "Patient/p", "Task/x", owner=named("X"))))
    assert owner(store) is None
    told(store, ("care", {**organization("a", "X"), "resourceType": "Location"}))
    assert owner(store) == f"Location/{ids(store, 'Location')['care/a']}"
    told(store, ("care", {**organization("a", "Y"), "resourceType": "Location"}))
    assert owner(store) is None


def test_a_number_that_is_no_identifier_finds_no_holder(store: Store) -> None:
    requisition = {"requisition": {"system": "urn:org", "value": "X"}}
    told(store, ("care", referral("s", "Patient/p", **requisition)))
    told(store, ("neuro", task("t", "Patient/p", "Task/x", owner=named("X"))))
    assert owner(store) is None


def test_a_reference_of_an_ehr_that_left_the_settings_stays_as_it_was(store: Store) -> None:
    fewer = Context(Bases({"care": "https://care.example"}), ("care",), {})
    put(store, ("neuro", task("t", "Patient/p", "Task/x")), ("neuro", task("u", "Patient/p", "Task/t")))
    settled(store, context=fewer)
    found = shown(store, "Task", "neuro/t")
    assert found["for"] == {"reference": "Patient/p"}
    assert found["focus"] == {"reference": "Task/x"}
    assert "source" not in found["meta"]
    own = ids(store, "Task")["neuro/t"]
    assert shown(store, "Task", "neuro/u")["focus"] == {"reference": f"Task/{own}"}


def test_what_is_told_twice_reads_here_as_our_own_and_absolute_where_it_never_came(store: Store) -> None:
    told(
        store,
        ("care", patient("p", "1")),
        ("ortho", patient("q", "1")),
        ("care", referral("s", "Patient/p", "R")),
        ("ortho", referral("t", "Patient/q", "R", requester={"reference": "Practitioner/never"})),
    )
    order = shown(store, "ServiceRequest", "care/s")
    assert order["subject"] == {"reference": f"Patient/{ids(store, 'Patient')['care/p']}"}
    assert order["requester"] == {"reference": "https://ortho.example/Practitioner/never"}
    assert order["meta"]["source"] == "https://ortho.example/ServiceRequest/t"


@pytest.mark.parametrize("merged", [False, True])
def test_an_attachment_is_read_at_its_ehr_in_a_resource_of_one_record_and_of_several(
    store: Store, merged: bool
) -> None:
    photo = {"photo": [{"url": "Binary/1"}]}
    told(store, ("care", patient("p", "1", **photo)))
    if merged:
        told(store, ("ortho", patient("q", "1")))
    assert shown(store, "Patient", "care/p")["photo"] == [{"url": "https://care.example/Binary/1"}]


def test_what_another_record_adds_says_where_it_came_from(store: Store) -> None:
    phone = {"telecom": [{"system": "phone", "value": "1"}]}
    told(store, ("ortho", patient("q", "1")), ("care", patient("p", "1", **phone)))
    (added,) = shown(store, "Patient", "care/p")["telecom"]
    assert added["extension"] == [{"url": ORIGIN, "valueUri": "https://care.example/Patient/p"}]


def test_a_holder_is_named_in_what_another_record_adds(store: Store) -> None:
    doctor = {"generalPractitioner": [named("GP", "Organization")]}
    told(
        store,
        ("care", organization("gp", "GP")),
        ("ortho", patient("q", "1")),
        ("care", patient("p", "1", **doctor)),
    )
    (added,) = shown(store, "Patient", "care/p")["generalPractitioner"]
    assert added["reference"] == f"Organization/{ids(store, 'Organization')['care/gp']}"


# --- meta -----------------------------------------------------------------------------------------


def test_meta_keeps_profiles_tags_and_extensions_and_no_stamp_of_the_ehr(store: Store) -> None:
    kept = {
        "profile": ["https://care.example/p"],
        "tag": [{"code": "t"}],
        "extension": [{"url": "x", "valueCode": "y"}],
        "security": [{"code": "R"}],
    }
    stamps = {"versionId": "77", "lastUpdated": "2001-01-01T00:00:00Z", "source": "#Ab3"}
    told(store, ("care", patient("p", meta={**kept, **stamps})))
    found = shown(store, "Patient", "care/p")["meta"]
    assert found.pop("versionId") == "1"
    assert found.pop("lastUpdated") > "2002"
    assert found == {**kept, "source": "https://care.example/Patient/p"}


@pytest.mark.parametrize("meta", [{}, {"tag": [], "security": []}, {"security": None}, "odd"])
def test_a_meta_without_anything_in_it_leaves_only_where_it_came_from(store: Store, meta: Any) -> None:
    told(store, ("ortho", patient("q", "1", meta=meta)), ("care", patient("p", "1", meta=meta)))
    found = shown(store, "Patient", "care/p")["meta"]
    assert found.keys() == {"versionId", "lastUpdated", "source"}


# --- what goes ------------------------------------------------------------------------------------


def test_a_resource_whose_records_are_gone_is_deleted_in_the_name_of_its_ehr(store: Store) -> None:
    told(store, ("care", task("t", "Patient/p", "Task/x")))
    own = ids(store, "Task")["care/t"]
    goes(store, "care", "Task/t")
    settled(store)
    last = store.changes(0)[-1]
    assert (last.id, last.method, last.source) == (own, "delete", "retired:ehr:care")
    head = store.head()
    settled(store)
    assert store.head() == head


def test_a_record_that_goes_before_it_was_ever_written_leaves_nothing(store: Store) -> None:
    put(store, ("care", task("t", "Patient/p", "Task/x")), ("care", task("u", "Patient/p", "Task/x")))
    goes(store, "care", "Task/u")
    store.write(lambda t: link(t, "Task", CONTEXT, 100))
    goes(store, "care", "Task/t")
    settled(store)
    assert store.head() == 0


def test_a_resource_that_lives_again_is_a_new_version_of_what_it_was(store: Store) -> None:
    record = ("care", task("t", "Patient/p", "Task/x"))
    told(store, record)
    goes(store, "care", "Task/t")
    settled(store)
    told(store, record)
    own = new_id(Record("care", "Task", "t"))
    assert store.read("Task", own).version == 3


@pytest.mark.parametrize("type", ["Organization", "Patient"])
def test_of_two_that_became_one_a_patient_leads_on_and_anything_else_is_deleted(
    store: Store, type: str
) -> None:
    def record(id: str, number: str, name: str) -> Json:
        if type == "Patient":
            return patient(id, number, gender=name, contact=[{"name": {"text": name}}])
        return organization(id, number, name=name)

    told(store, ("care", record("a", "1", "male")), ("ortho", record("b", "2", "other")))
    kept, lost = (ids(store, type)[each] for each in ("care/a", "ortho/b"))
    told(store, ("ortho", record("b", "1", "other")))
    assert ids(store, type)["ortho/b"] == kept
    if type == "Organization":
        with pytest.raises(Gone):
            store.read(type, lost)
    else:
        left = store.read(type, lost).data
        assert left["gender"] == "other", "who looks at it still sees who it was"
        assert left["active"] is False
        assert left["link"] == [{"other": {"reference": f"Patient/{kept}"}, "type": "replaced-by"}]
    sources = [v.source for v in store.changes(0) if v.id == lost]
    assert sources == ["ehr:ortho", "retired:ehr:ortho"]


def test_a_retired_patient_that_somebody_here_deleted_stays_deleted(store: Store) -> None:
    told(store, ("care", patient("a", "1")), ("ortho", patient("b", "2")))
    lost = ids(store, "Patient")["ortho/b"]
    store.write(lambda t: t.delete("Patient", lost))
    told(store, ("ortho", patient("b", "1")))
    with pytest.raises(Gone):
        store.read("Patient", lost)


def test_what_was_entered_in_a_patient_that_is_retired_returns_with_it(store: Store) -> None:
    told(store, ("care", patient("a", "1")), ("ortho", patient("b", "2", gender="male")))
    edited(store, "Patient", "ortho/b", maritalStatus={"text": "married"})
    told(store, ("ortho", patient("b", "2", gender="other")))
    assert bases(store) == 1
    told(store, ("ortho", patient("b", "1", gender="other")))
    assert shown(store, "Patient", "ortho/b") == shown(store, "Patient", "care/a")
    told(store, ("ortho", patient("b", "2", gender="female")))
    again = shown(store, "Patient", "ortho/b")
    assert (again["maritalStatus"], again["gender"]) == ({"text": "married"}, "female")
    assert not again.keys() & {"active", "link"}
    assert "maritalStatus" not in shown(store, "Patient", "care/a")


@pytest.mark.parametrize("is_merged", [False, True], ids=["entered last", "changed by the EHR after that"])
def test_a_record_that_returns_has_what_was_entered_here(store: Store, is_merged: bool) -> None:
    told(store, ("care", patient("a", "1", gender="male", maritalStatus={"text": "single"})))
    edited(store, "Patient", "care/a", communication=[{"language": {"text": "Sami"}}])
    if is_merged:
        told(store, ("care", patient("a", "1", gender="other", maritalStatus={"text": "single"})))
    id = ids(store, "Patient")["care/a"]
    goes(store, "care", "Patient/a")
    settled(store)
    with pytest.raises(Gone):
        store.read("Patient", id)
    told(store, ("care", patient("a", "1", gender="female")))
    again = store.read("Patient", id).data
    assert (again["gender"], again["communication"]) == ("female", [{"language": {"text": "Sami"}}])
    assert "maritalStatus" not in again, "the EHR took it away meanwhile"
    assert not questions(store, "merge-conflict")


def test_a_record_that_returns_brings_nothing_back_that_somebody_here_deleted(store: Store) -> None:
    told(store, ("care", patient("a", "1")))
    edited(store, "Patient", "care/a", communication=[{"language": {"text": "Sami"}}])
    told(store, ("care", patient("a", "1", gender="other")))
    store.write(lambda t: t.delete("Patient", ids(store, "Patient")["care/a"]))
    goes(store, "care", "Patient/a")
    settled(store)
    told(store, ("care", patient("a", "1", gender="female")))
    assert "communication" not in shown(store, "Patient", "care/a")
    assert bases(store) == 0


def test_a_base_is_kept_while_one_of_the_records_is_left(store: Store) -> None:
    told(store, ("care", patient("a", "1", gender="male")), ("ortho", patient("b", "1")))
    edited(store, "Patient", "care/a", maritalStatus={"text": "married"})
    told(store, ("care", patient("a", "1", gender="other")))
    goes(store, "ortho", "Patient/b")
    settled(store)
    assert bases(store) == 1


# --- what does not fit ----------------------------------------------------------------------------


def test_records_that_do_not_fit_together_count_once_at_the_ehr_that_leads(store: Store) -> None:
    def validate(document: Document) -> Outcome:
        return BAD if document.data.keys() >= {"gender", "maritalStatus"} else OK

    married = {"maritalStatus": {"text": "married"}}
    put(store, ("care", patient("a", "1", **married)), ("ortho", patient("b", "1", gender="male")))
    assert settled(store, validate=validate).conflicts == {("ortho", "Patient"): 1}
    assert "maritalStatus" not in shown(store, "Patient", "care/a")
    assert len(questions(store, "merge-conflict")) == 1
    put(store, ("care", patient("a", "2", **married)))
    assert not settled(store, validate=validate).conflicts


def test_a_single_record_is_not_judged_again(store: Store) -> None:
    put(store, ("care", patient("a", "1")))
    assert not settled(store, validate=lambda document: BAD).conflicts
    assert shown(store, "Patient", "care/a")["birthDate"] == "1970-01-02"


def test_what_is_judged_is_the_merged_content_with_the_meta_it_will_have(store: Store) -> None:
    judged: list[Json] = []

    def validate(document: Document) -> Outcome:
        judged.append(document.data)
        return OK

    meta = {"profile": ["https://ortho.example/p"]}
    put(store, ("care", patient("a", "1", gender="male")), ("ortho", patient("b", "1", meta=meta)))
    settled(store, validate=validate)
    (merged,) = judged
    assert merged["gender"] == "male"
    assert merged["meta"]["profile"] == meta["profile"]


def test_a_conflict_with_what_was_entered_here_counts_until_it_is_the_same(store: Store) -> None:
    told(store, ("care", patient("a", gender="male")))
    edited(store, "Patient", "care/a", gender="female")
    assert told(store, ("care", patient("a", gender="other"))).conflicts == {("care", "Patient"): 1}
    (asked,) = questions(store, "merge-conflict")
    assert asked.data["description"] == (
        "Both changed: gender. What was entered here is kept; compare it with the EHR."
    )
    assert asked.source == "sync"
    assert shown(store, "Patient", "care/a")["gender"] == "female"
    assert not told(store, ("care", patient("a", gender="female"))).conflicts


def test_what_the_ehr_takes_away_goes_unless_somebody_here_changed_it(store: Store) -> None:
    told(store, ("care", patient("a", gender="male", active=True, language="sv")))
    edited(store, "Patient", "care/a", gender="female", language=None)
    result = told(store, ("care", patient("a")))
    found = shown(store, "Patient", "care/a")
    assert "active" not in found
    assert "language" not in found
    assert found["gender"] == "female"
    assert result.conflicts == {("care", "Patient"): 1}, "gender: changed here, taken away there"


def test_what_somebody_here_took_away_stays_away_and_the_rest_follows_the_ehr(store: Store) -> None:
    told(store, ("care", patient("a", gender="male", language="sv")))
    edited(store, "Patient", "care/a", language=None)
    result = told(store, ("care", patient("a", gender="other", language="sv")))
    found = shown(store, "Patient", "care/a")
    assert (found["gender"], "language" in found) == ("other", False)
    assert not result.conflicts
    result = told(store, ("care", patient("a", gender="other", language="fi")))
    assert "language" not in shown(store, "Patient", "care/a")
    assert result.conflicts == {("care", "Patient"): 1}


def test_the_departments_of_the_settings_count_though_nothing_refers_to_them(store: Store) -> None:
    """An owner named by an identifier leads, also where no record of its EHR refers to the department."""
    care_leads = replace(CONTEXT, order=("care", "ortho"))
    put(
        store,
        ("ortho", organization("1", "OR")),
        ("care", patient("p", "1")),
        ("ortho", patient("q", "1")),
        ("care", task("a", "Patient/p", "Task/x", number="T", owner=named("OR", "Organization"))),
        ("ortho", task("b", "Patient/q", "Task/y", "accepted", "T", owner=named("OR", "Organization"))),
    )
    settled(store, context=care_leads)
    assert shown(store, "Task", "care/a")["status"] == "accepted"
