"""When what the EHR last said is kept for the next merge, and how the merge reads it."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.store import Store
from fhir_coprod.store.schema.sync import merge_base
from fhir_coprod.sync.merging.elements import element_of, grouped
from fhir_coprod.sync.merging.link import new_id
from fhir_coprod.sync.staging.references import Record
from tests.sync.merging.test_publishing import BAD, bases, edited
from tests.sync.records import Json, patient
from tests.sync.story import goes, ids, questions, settled, shown, told
from tests.sync.test_arrival import put


def ehr_says(store: Store, **content: Any) -> int:
    """The EHR changes its patient; how many conflicts that makes."""
    return told(store, ("care", patient("a", **content))).conflicts.total()


def here(store: Store) -> Json:
    return shown(store, "Patient", "care/a")


def kept(store: Store) -> Json:
    with store.connect() as connection:
        ((body,),) = connection.execute(merge_base.select().with_only_columns(merge_base.c.body))
    found: Json = jsontext.decode(bytes(body))
    return found


def test_what_the_ehr_says_is_kept_while_something_of_ours_stands_and_dropped_after(store: Store) -> None:
    ehr_says(store, gender="male")
    assert bases(store) == 0
    edited(store, "Patient", "care/a", language="sv")
    assert bases(store) == 0, "the EHR has said nothing since"
    ehr_says(store, gender="other")
    assert (bases(store), kept(store)["gender"]) == (1, "other")
    ehr_says(store, gender="other", language="sv")
    assert (bases(store), kept(store)["language"]) == (1, "sv"), "no version of the sync says it"
    ehr_says(store, gender="female", language="fi")
    assert bases(store) == 0, "all of it is the EHR's again"
    assert here(store)["language"] == "fi"


def test_a_conflict_is_told_once_and_again_only_when_the_ehr_says_something_new_of_it(store: Store) -> None:
    ehr_says(store, gender="male")
    edited(store, "Patient", "care/a", gender="female")
    assert ehr_says(store, gender="other") == 1
    assert ehr_says(store, gender="other", language="sv") == 0
    assert ehr_says(store, gender="unknown", language="sv") == 1
    assert (here(store)["gender"], here(store)["language"]) == ("female", "sv")
    assert len(questions(store, "merge-conflict")) == 1


def test_an_element_that_both_took_away_is_no_conflict(store: Store) -> None:
    ehr_says(store, gender="male")
    edited(store, "Patient", "care/a", gender=None)
    assert ehr_says(store) == 0
    assert "gender" not in here(store)


def test_an_element_that_both_added_otherwise_is_one(store: Store) -> None:
    ehr_says(store)
    edited(store, "Patient", "care/a", gender="male")
    assert ehr_says(store, gender="female") == 1
    assert here(store)["gender"] == "male"


def test_a_conflict_is_asked_about_by_the_names_of_its_elements(store: Store) -> None:
    ehr_says(store, deceasedBoolean=False, gender="male")
    edited(store, "Patient", "care/a", deceasedBoolean=True, gender="female")
    ehr_says(store, deceasedDateTime="2026-01-02", gender="other")
    (asked,) = questions(store, "merge-conflict")
    assert asked.data["status"] == "requested"
    assert asked.data["intent"] == "proposal"
    assert asked.data["code"]["text"] == "The EHR and somebody here changed the same thing"
    assert asked.data["focus"] == {"reference": f"Patient/{ids(store, 'Patient')['care/a']}"}
    named = asked.data["description"].removeprefix("Both changed: ").partition(".")[0]
    assert sorted(named.split(", ")) == ["deceased[x]", "gender"]
    assert asked.data["authoredOn"][:19] == asked.data["meta"]["lastUpdated"][:19]


def test_an_element_and_its_extension_are_one(store: Store) -> None:
    extension = {"_gender": {"extension": [{"url": "x", "valueCode": "y"}]}}
    ehr_says(store, gender="male", **extension)
    edited(store, "Patient", "care/a", gender="female")
    assert ehr_says(store, gender="other") == 1
    assert (here(store)["gender"], here(store)["_gender"]) == ("female", extension["_gender"])


def test_a_merge_that_may_not_be_written_leaves_ours_and_is_tried_again_from_where_it_was(
    store: Store,
) -> None:
    def validate(document: Document) -> Outcome:
        return BAD if document.data.keys() >= {"language", "gender"} else OK

    ehr_says(store, active=True)
    edited(store, "Patient", "care/a", language="sv")
    put(store, ("care", patient("a", gender="male")))
    assert settled(store, validate=validate).conflicts == {("care", "Patient"): 1}
    assert here(store)["active"] is True
    assert "gender" not in here(store)
    assert kept(store)["active"] is True, "as the EHR said it before"
    (asked,) = questions(store, "merge-conflict")
    assert asked.data["code"]["text"] == "What is known from several places does not fit together"
    assert asked.data["description"] == (
        "Together they break FHIR's rules, so only one side is kept here; compare it with the others."
    )
    assert ehr_says(store) == 0
    assert "active" not in here(store)
    assert here(store)["language"] == "sv"


def test_a_merge_is_judged_with_the_meta_of_both_sides(store: Store) -> None:
    judged: list[Json] = []

    def validate(document: Document) -> Outcome:
        judged.append(document.data["meta"])
        return Outcome((Issue("warning", "invariant", "fine"),))

    told(store, ("care", patient("a", meta={"profile": ["p"], "tag": [{"code": "t"}]})))
    edited(store, "Patient", "care/a", meta={"profile": ["p", "ours"]})
    put(store, ("care", patient("a", meta={"profile": ["theirs"]})))
    settled(store, validate=validate)
    (meta,) = judged
    assert meta["profile"] == ["theirs", "ours"]
    assert "tag" not in meta
    assert not meta.keys() & {"versionId", "lastUpdated"}
    assert here(store)["meta"]["profile"] == ["theirs", "ours"]


def test_what_stands_in_meta_only_here_stays_and_where_it_came_from_follows_the_ehr(store: Store) -> None:
    ehr_says(store)
    edited(store, "Patient", "care/a", meta={"source": "urn:here", "extension": [{"url": "x"}]})
    ehr_says(store, gender="male")
    assert here(store)["meta"]["source"] == "https://care.example/Patient/a"
    assert here(store)["meta"]["extension"] == [{"url": "x"}]


def test_a_resource_that_was_here_before_the_ehr_said_anything_has_no_base(store: Store) -> None:
    """Its id may be known from an import: what both say otherwise is a conflict, the rest is joined."""
    imported = {"resourceType": "Patient", "gender": "female", "language": "sv"}
    id = new_id(Record("care", "Patient", "a"))
    store.write(lambda t: t.put(jsontext.from_data(imported), id))
    assert ehr_says(store, gender="male", active=True) == 1
    found = here(store)
    assert (found["gender"], found["language"], found["active"]) == ("female", "sv", True)


def test_what_was_deleted_by_the_ehr_and_made_again_here_is_compared_with_its_last_word(store: Store) -> None:
    ehr_says(store, gender="male", language="sv")
    id = ids(store, "Patient")["care/a"]
    content = {k: v for k, v in here(store).items() if k != "meta"}
    goes(store, "care", "Patient/a")
    settled(store)
    store.write(lambda t: t.put(jsontext.from_data({**content, "gender": "female"}), id))
    assert ehr_says(store, gender="male", language="fi") == 0
    assert (here(store)["gender"], here(store)["language"]) == ("female", "fi")


@pytest.mark.parametrize(
    ("member", "element"),
    [
        ("deceasedBoolean", "deceased[x]"),
        ("_deceasedDateTime", "deceased[x]"),
        ("deceased", "deceased"),
        ("gender", "gender"),
        ("_gender", "gender"),
    ],
)
def test_members_of_a_patient_belong_to_their_element(member: str, element: str) -> None:
    assert element_of("Patient", member) == element
    assert grouped("Patient", {member: b"1", "id": b"2"}) == {element: {member: b"1"}, "id": {"id": b"2"}}
