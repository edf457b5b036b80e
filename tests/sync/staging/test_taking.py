"""What is made of one record that came, and what the store keeps of a batch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import respx

from fhir_coprod import jsontext
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Store
from fhir_coprod.sync import dead_letters
from fhir_coprod.sync.staging import stage
from fhir_coprod.sync.staging.letters import Refused
from fhir_coprod.sync.staging.references import (
    Bases,
    Holder,
    Record,
    absolute_attachments,
    add_references,
    held,
    named,
    rewritten,
)
from fhir_coprod.sync.staging.stage import Batch, Holding, holdings
from fhir_coprod.sync.staging.waking import chunks
from tests.sync.records import Json, patient, task
from tests.sync.story import goes, ids, told
from tests.sync.test_arrival import put
from tests.sync.test_pages import answers, offer, offers, page, synced

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def reasons(store: Store) -> list[str]:
    with store.connect() as connection:
        return [one.reason for one in dead_letters.read(connection)]


def stamped(updated: Any, version: Any = "1", **more: Any) -> Json:
    return {"resource": patient("p", meta={"lastUpdated": updated, "versionId": version}, **more)}


# --- one record -----------------------------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (
            {"resourceType": "Task", "id": "1"},
            "Expected a Patient, but this is a Task; the EHR's search is at fault.",
        ),
        (
            {"id": "1"},
            "Expected a Patient, but this is something without resourceType; the EHR's search is at fault.",
        ),
        (
            {"resourceType": "Patient"},
            "The Patient has no id of 1 to 64 letters, digits, '-' and '.'; it cannot be told from others.",
        ),
        (
            {"resourceType": "Patient", "id": 7},
            "The Patient has no id of 1 to 64 letters, digits, '-' and '.'; it cannot be told from others.",
        ),
    ],
)
def test_a_record_that_cannot_be_told_from_others_is_refused_with_why(
    store: Store, resource: Json, said: str
) -> None:
    offers()
    answers(page({"resource": resource}))
    assert synced(store).counts["Patient"].dead == 1
    assert reasons(store) == [said]


@respx.mock
@pytest.mark.parametrize("id", ["x" * 64, "a-b.C9", "1"])
def test_every_id_that_fhir_allows_is_taken(store: Store, id: str) -> None:
    offers()
    answers(page({"resource": patient(id)}))
    assert synced(store).counts["Patient"].created == 1


@respx.mock
@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        ("2026-03-02T10:00:00Z", "2026-03-02T10:00:00Z", True),
        ("2026-03-02T10:00:00Z", "2026-03-02T09:59:59.999Z", False),
        ("2026-03-02T10:00:00Z", "2026-03-02T11:59:00+02:00", False),
        ("2026-03-02T10:00:00Z", "2026-03-02T09:01:00-01:00", True),
        ("2026-03-02T10:00:00Z", None, True),
        ("2026-03-02T10:00:00Z", "2026-03-01", True),
        ("2026-03-02T10:00:00Z", "2026-03-01T10:00:00", True),
        (None, "2026-03-02T10:00:00Z", True),
    ],
)
def test_a_record_is_older_only_where_both_say_when_they_changed(
    store: Store, first: Any, second: Any, taken: bool
) -> None:
    offers(offer("Patient", "search-type", parameters=("_lastUpdated",)))
    answers(page(stamped(first)))
    synced(store)
    answers(page(stamped(second, gender="male")))
    counts = synced(store).counts["Patient"]
    assert (counts.updated, counts.unchanged) == ((1, 0) if taken else (0, 1))


@respx.mock
@pytest.mark.parametrize("meta", ["odd", None, []])
def test_an_odd_meta_is_none(store: Store, meta: Any) -> None:
    offers()
    answers(page({"resource": patient("p", meta=meta)}))
    assert synced(store).counts["Patient"].created == 1


# --- what is kept ---------------------------------------------------------------------------------


def test_living_records_are_told_with_the_resource_they_are_in(store: Store) -> None:
    put(store, ("ortho", task("t", "Patient/p", "Task/x")), ("care", patient("p")), ("care", patient("a")))
    with store.connect() as connection:
        before = holdings(connection)
    assert [(h.ehr, h.type, h.foreign_id, h.id) for h in before] == [
        ("care", "Patient", "a", ""),
        ("care", "Patient", "p", ""),
        ("ortho", "Task", "t", ""),
    ]
    told(store)
    goes(store, "care", "Patient/a")
    with store.connect() as connection:
        after = holdings(connection)
    own = ids(store, "Patient")["care/p"]
    assert after[0] == Holding("care", "Patient", "p", own, before[1].hash)
    assert len(after) == 2


def test_many_ids_are_looked_for_in_portions(store: Store) -> None:
    assert [len(each) for each in chunks(str(n) for n in range(1001))] == [500, 500, 1]
    assert list(chunks([])) == []
    assert list(chunks(["b", "a"])) == [["a", "b"]]


@pytest.mark.parametrize("word", ["taken", "refused"])
def test_the_newest_word_about_a_record_settles_only_its_own_letters(store: Store, word: str) -> None:
    bad = Outcome((Issue("error", "invariant", "made up"),))

    def refuses(ehr: str, type: str, id: str, raw: bytes) -> None:
        batch = Batch(ehr, type, refused=[Refused(ehr, type, id, raw, bad, "")])
        store.write(lambda t: stage.stage(t.connection, batch, NOW) and None)

    others = [
        ("ortho", "Patient", "p"),
        ("care", "Task", "p"),
        ("care", "Patient", "q"),
        ("care", "Patient", ""),
    ]
    for ehr, type, id in [*others, ("care", "Patient", "p")]:
        refuses(ehr, type, id, b"1")
    refuses("care", "Patient", "", b"2")
    if word == "refused":
        refuses("care", "Patient", "p", b"2")
    else:
        put(store, ("care", patient("p")))
    with store.connect() as connection:
        letters = list(dead_letters.read(connection, all=True))
    states = [one.state for one in letters]
    assert states[:4] == ["open"] * 4
    assert states[4] == ("superseded" if word == "refused" else "resolved")
    assert states[5:] == ["open"] * (2 if word == "refused" else 1)


def test_a_record_that_was_taken_again_is_known_by_its_new_words_only(store: Store) -> None:
    told(store, ("care", patient("p", "1")), ("ortho", patient("q", "1")))
    assert len(set(ids(store, "Patient").values())) == 1
    told(
        store, ("ortho", patient("q", "2", birthDate="1999-09-09", name=[{"family": "Ek", "given": ["Bo"]}]))
    )
    told(store, ("neuro", patient("r", "1")))
    own = ids(store, "Patient")
    assert own["neuro/r"] == own["care/p"] != own["ortho/q"]


# --- references -----------------------------------------------------------------------------------


def holding(data: Json) -> list[Holder]:
    return list(held(jsontext.encode(data), data))


def test_a_reference_may_have_what_belongs_to_it_and_nothing_else() -> None:
    identifier = {"system": "s", "value": "v"}

    def holders(**more: Any) -> list[Holder]:
        return holding({"resourceType": "Task", "owner": {"identifier": identifier, **more}})

    found = [Holder("", "s|v")]
    assert holders(id="i", extension=[], display="d", _display={}, _type={}) == found
    assert holders(type="Organization") == [Holder("Organization", "s|v")]
    assert holders(type=7) == found
    assert holders(name="n") == holders(reference="Patient/1") == []
    assert holding({"identifier": identifier}) == [], "the resource itself is no reference"
    assert holding({"owner": {"identifier": [identifier]}}) == []


def test_a_reference_that_is_no_text_names_nothing() -> None:
    odd = {"owner": {"reference": 7}, "for": {"reference": {"reference": "Patient/1"}}}
    assert named(jsontext.encode(odd)) == ["Patient/1"]


def test_all_holders_in_a_text_are_named_inside_out() -> None:
    inner = b'{"identifier":{"system":"s","value":"v","assigner":{"identifier":{"system":"s","value":"w"}}}}'
    raw = b'{"owner":' + inner + b',"x":[{"identifier":{"system":"s","value":"w"}}]}'
    found = {Holder("", "s|v"): "Organization/1", Holder("", "s|w"): "Organization/2"}
    added = jsontext.decode(add_references(raw, jsontext.decode(raw), found))
    assert added["owner"]["reference"] == "Organization/1"
    assert added["owner"]["identifier"]["assigner"]["reference"] == "Organization/2"
    assert added["x"][0]["reference"] == "Organization/2"


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        ("Binary/1", True),
        ("DocumentReference/a-b.c", True),
        ("Media/1", True),
        ("Patient/1", False),
        ("Binary/1/2", False),
        (f"Binary/{'x' * 65}", False),
        ("https://x.example/Binary/1", False),
    ],
)
def test_only_an_attachment_at_the_ehr_itself_is_made_absolute(url: str, moved: bool) -> None:
    raw = jsontext.encode({"photo": [{"url": url}]})
    expected = raw.replace(b'"url":"', b'"url":"https://a.example/') if moved else raw
    assert absolute_attachments(raw, "https://a.example") == expected
    assert absolute_attachments(raw, "") == raw


def test_the_address_of_a_record_is_below_its_ehr_s_base() -> None:
    bases = Bases({"a": "https://a.example"})
    assert bases.address(Record("a", "Patient", "1")) == "https://a.example/Patient/1"
    assert bases.address(Record("b", "Patient", "1")) == ""
    assert Record("a", "Patient", "1").reference == "Patient/1"


@pytest.mark.parametrize(
    "text",
    [
        "ftp://a.example/Patient/1",
        "https://a.example/Patient/1/2",
        "https://a.example/Pa/1",
        "Patient/1/_history",
        "Patient?identifier=urn:x|1",
        "Patient/a b",
        "urn:uuid:1/2",
    ],
)
def test_what_names_no_record_has_no_target(text: str) -> None:
    assert Bases({"a": "https://a.example", "f": "ftp://a.example"}).target(text, "a") is None


def test_a_reference_under_a_key_written_with_escapes_is_found_and_rewritten() -> None:
    raw = rb'{"owner":{"\u0072eference":"Patient/1"}}'
    assert named(raw) == ["Patient/1"]
    assert jsontext.decode(rewritten(raw, {"Patient/1": "Patient/x"})) == {
        "owner": {"reference": "Patient/x"}
    }


@pytest.mark.parametrize("id", ["x" * 65, "a_b", "a:b", "x" * 3000])
def test_a_record_whose_id_fhir_does_not_allow_is_that_of_its_ehr_and_never_arrives(id: str) -> None:
    bases = Bases({"a": "https://a.example"})
    for text in (f"Patient/{id}", f"Patient/{id}/_history/2", f"https://a.example/Patient/{id}"):
        target = bases.target(text, "a")
        assert target == Record("a", "Patient", id)
        assert not target.can_arrive
        assert bases.address(target) == f"https://a.example/Patient/{id}"
