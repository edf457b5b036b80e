"""What happens to changes made here in an EHR's resource when the EHR changes it next."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.store import Store
from tests.sync.departments import every, one, synced
from tests.sync.merging.test_merge_keeps import RESTRICTED, SENSITIVE, labels
from tests.sync.records import patient
from tests.sync.server import Ehr, serving

TAG = {"system": "urn:here", "code": "follow-up"}


def edited(store: Store, **changes: Any) -> None:
    """As if somebody here had changed the one patient."""
    ours = one(store, "Patient")
    store.write(lambda t: t.put(jsontext.from_data({**ours.data, **changes}), ours.id))


def labelled_here(store: Store, *added: dict[str, str], **more: Any) -> None:
    meta = one(store, "Patient").data["meta"]
    edited(store, meta={**meta, "security": [*meta.get("security", []), *added], **more})


def test_the_same_change_on_both_sides_is_no_conflict(store: Store) -> None:
    ehr = Ehr().load(patient("p", gender="unknown"))
    with serving(ehr):
        synced(store, care=ehr)
        edited(store, gender="female")
        ehr.put(patient("p", gender="female"))
        report = synced(store, care=ehr)["care"]
        assert report.counts["Patient"].conflicts == 0
        assert one(store, "Patient").version == 2, "nothing changed since it was entered here"
        assert not every(store, "Task")
        ehr.put(patient("p", gender="female", maritalStatus={"text": "married"}))
        report = synced(store, care=ehr)["care"]
    assert report.counts["Patient"].conflicts == 0
    found = one(store, "Patient")
    assert (found.version, found.data["maritalStatus"]) == (3, {"text": "married"})
    assert not every(store, "Task")


def test_the_same_change_spelt_otherwise_is_no_conflict(store: Store) -> None:
    ehr = Ehr().load(patient("p"))
    with serving(ehr):
        synced(store, care=ehr)
        edited(store, maritalStatus={"text": "married", "id": "m"})
        ehr.put(patient("p"))
        raw = json.dumps(patient("p"))[:-1] + ', "maritalStatus": {"id" : "m",  "text":"married"}}'
        ehr.broken["Patient/p"] = raw.encode()
        report = synced(store, care=ehr)["care"]
    assert report.counts["Patient"].updated == 1
    assert report.counts["Patient"].conflicts == 0
    assert not every(store, "Task")


def test_after_the_same_change_on_both_sides_the_next_word_of_the_ehr_counts(store: Store) -> None:
    ehr = Ehr().load(patient("p", gender="unknown"))
    with serving(ehr):
        synced(store, care=ehr)
        edited(store, gender="female")
        for gender in ("female", "unknown"):
            ehr.put(patient("p", gender=gender))
            synced(store, care=ehr)
    assert one(store, "Patient").data["gender"] == "unknown"
    assert not every(store, "Task")


def test_a_label_given_here_stays_beside_those_of_the_ehr(store: Store) -> None:
    ehr = Ehr().load(patient("p"))
    with serving(ehr):
        synced(store, care=ehr)
        labelled_here(store, SENSITIVE, tag=[TAG])
        for gender in ("female", "unknown", "other"):
            theirs = {"security": [RESTRICTED], "tag": [{"system": "urn:ehr", "code": gender}]}
            ehr.put(patient("p", gender=gender, meta=theirs))
            synced(store, care=ehr)
            found = one(store, "Patient").data["meta"]
            assert found["security"] == [RESTRICTED, SENSITIVE]
            assert found["tag"] == [*theirs["tag"], TAG]
    assert not every(store, "Task")


def test_a_label_that_the_ehr_takes_back_goes_and_one_given_here_does_not(store: Store) -> None:
    ehr = Ehr().load(patient("p", meta={"security": [RESTRICTED]}))
    with serving(ehr):
        synced(store, care=ehr)
        labelled_here(store, SENSITIVE)
        for gender in ("female", "unknown"):
            ehr.put(patient("p", gender=gender))
            synced(store, care=ehr)
            assert labels(store) == [SENSITIVE]


def test_a_label_given_on_both_sides_stands_once(store: Store) -> None:
    ehr = Ehr().load(patient("p"))
    with serving(ehr):
        synced(store, care=ehr)
        labelled_here(store, RESTRICTED)
        ehr.put(patient("p", gender="female", meta={"security": [RESTRICTED]}))
        synced(store, care=ehr)
    assert labels(store) == [RESTRICTED]


@pytest.mark.parametrize("again", [False, True])
def test_a_label_of_the_ehr_comes_back_when_it_was_taken_away_here(store: Store, again: bool) -> None:
    """Whose confidentiality it is decides: a label is lifted where it was given."""
    ehr = Ehr().load(patient("p", meta={"security": [RESTRICTED]}))
    with serving(ehr):
        synced(store, care=ehr)
        if again:
            edited(store, gender="male")
            ehr.put(patient("p", birthDate="1970-01-03", meta={"security": [RESTRICTED]}))
            synced(store, care=ehr)
        edited(store, meta={})
        ehr.put(patient("p", gender="female", meta={"security": [RESTRICTED]}))
        synced(store, care=ehr)
    assert labels(store) == [RESTRICTED]
