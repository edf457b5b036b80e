"""Marks of resources that are kept although they are not valid: written, found, listed, lifted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.errors import BadRequest, UnknownParameter, Unsupported
from fhir_coprod.files.finding import find
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.store import Query, Store, loading, opening, quality
from fhir_coprod.store.quality import MOST_MARKS, Mark, added, marks
from fhir_coprod.store.recheck import Rechecked, recheck, recheck_by_newer_rules
from fhir_coprod.store.soundness import check
from fhir_coprod.validation import validate
from tests.store.library import ids, search

BAD_GENDER = Mark("code-invalid", "Patient.gender", "no such code", "ehr:care")
BAD_NAME = Mark("structure", "Patient.name", "no list", "ehr:care")


def put(store: Store, id: str, *wrong: Mark, type: str = "Patient", **more: Any) -> None:
    resource = jsontext.from_data({"resourceType": type, "id": id, **more})
    store.write(lambda t: t.put(resource, id, source="ehr:care", marks=wrong))


def told(store: Store) -> list[tuple[str, str, str, int, tuple[str, ...]]]:
    return [(f.ehr, f.rule, f.element, f.resources, f.ids) for f in store.faults()]


def rows(store: Store) -> int:
    with store.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM quality").scalar_one())


def test_a_valid_resource_writes_no_row(store: Store) -> None:
    put(store, "a")
    assert rows(store) == 0
    assert store.faults() == []


def test_what_is_marked_is_found_by_search_and_listed_by_kind(store: Store) -> None:
    put(store, "a", BAD_GENDER)
    put(store, "b", BAD_GENDER, BAD_NAME)
    put(store, "c")
    put(store, "d", type="Task", status="draft", intent="order")
    assert ids(search(store, "Patient?quality=not-valid")) == "a b"
    assert ids(search(store, "Patient?quality:not=valid")) == "a b"
    assert ids(search(store, "Patient?quality=valid")) == "c"
    assert ids(search(store, "Patient?quality=valid,not-valid")) == "a b c"
    assert ids(search(store, "Task?quality=valid")) == "d"
    assert ids(search(store, "Task?quality=not-valid")) == ""
    assert told(store) == [
        ("care", "code-invalid", "Patient.gender", 2, ("a", "b")),
        ("care", "structure", "Patient.name", 1, ("b",)),
    ]
    assert store.fault_counts() == [
        ("ehr:care", "Patient", "code-invalid", 2),
        ("ehr:care", "Patient", "structure", 1),
    ]


def test_kinds_are_counted_in_an_index(tmp_path: Path) -> None:
    """Every scrape of the metrics asks for the counts, and there may be a million marks."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store, store.connect() as connection:
        for statement in (quality._KINDS, quality._COUNTS):
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()
            assert "USING COVERING INDEX quality_kind_idx" in plan[0][3]
            assert not any("GROUP BY" in step[3] for step in plan)


@pytest.mark.parametrize("word", ["bad", ""])
def test_another_word_is_refused(word: str) -> None:
    with pytest.raises(BadRequest):
        Query.parse("Patient", [("quality", word)], strict=True)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", ["quality:missing", "quality:text"])
def test_a_modifier_of_it_is_refused_however_strict_one_asks(name: str, strict: bool) -> None:
    """Without the modifier, the search would find something else."""
    with pytest.raises(Unsupported, match=name):
        Query.parse("Patient", [(name, "true")], strict=strict)


def test_it_is_no_order() -> None:
    with pytest.raises(UnknownParameter, match="_sort=quality"):
        Query.parse("Patient", [("_sort", "quality")], strict=True)


def test_a_sound_later_version_lifts_the_mark_and_a_fault_that_stays_keeps_its_time(store: Store) -> None:
    put(store, "a", BAD_GENDER, BAD_NAME)
    since = {fault.rule: fault.since for fault in store.faults()}
    put(store, "a", BAD_GENDER, active=True)
    (left,) = store.faults()
    assert (left.rule, left.since) == ("code-invalid", since["code-invalid"])
    put(store, "a", active=False)
    assert store.faults() == []
    put(store, "a", BAD_GENDER, active=True)
    assert store.faults()[0].since > since["code-invalid"]
    store.write(lambda t: t.delete("Patient", "a"))
    assert rows(store) == 0


def test_a_mark_makes_no_version_and_is_in_no_record(store: Store) -> None:
    put(store, "a", BAD_GENDER, gender="x")
    before = store.read("Patient", "a")
    store.write(lambda t: t.remark([(before, (BAD_NAME,))]))
    assert store.read("Patient", "a").body == before.body
    assert told(store) == [("care", "structure", "Patient.name", 1, ("a",))]
    assert b"quality" not in before.body
    assert b"not-valid" not in before.body


def test_marks_of_an_older_version_are_not_put_on_a_newer_one(store: Store) -> None:
    put(store, "a", BAD_GENDER)
    old = store.read("Patient", "a")
    put(store, "a", active=True)
    store.write(lambda t: t.remark([(old, (BAD_NAME,))]))
    assert rows(store) == 0


def test_a_transaction_sees_the_marks_that_it_has_written(store: Store) -> None:
    put(store, "a", BAD_GENDER)

    def work(transaction: Any) -> None:
        assert transaction.marks("Patient", "a") == (BAD_GENDER,)
        document = jsontext.from_data({"resourceType": "Patient", "id": "a", "active": True})
        transaction.put(document, "a", marks=(BAD_NAME,))
        assert transaction.marks("Patient", "a") == (BAD_NAME,)
        assert transaction.marks("Patient", "none") == ()

    store.write(work)


def test_db_check_names_marks_that_belong_to_nothing(store: Store, store_url: str) -> None:
    put(store, "a", BAD_GENDER)
    assert check.damage(opening.connect(store_url)) == []
    store.write(lambda t: t.connection.exec_driver_sql("UPDATE quality SET version = 9") and None)
    (sentence,) = check.damage(opening.connect(store_url))
    assert "1 resource whose marks are missing or altered" in sentence


def test_each_rule_and_element_is_one_mark_without_indices() -> None:
    outcome = validate(
        {
            "resourceType": "Patient",
            "name": [{"given": [1]}, {"given": [2]}],
            "contact": [{"gender": "male"}, {"name": {"family": "a"}, "telecom": [{"value": "1"}]}],
        }
    )
    found = {mark[:2] for mark in marks(outcome)}
    assert ("pat-1", "Patient.contact") in found
    assert ("cpt-2", "Patient.contact.telecom") in found
    assert [rule for rule, element in found if element == "Patient.name.given"] == ["value"]


def test_an_element_that_is_missing_or_unknown_is_named_itself() -> None:
    outcome = validate({"resourceType": "Task", "intent": "order", "colour": "red", "focus": []})
    assert {mark[:2] for mark in marks(outcome)} == {
        ("required", "Task.status"),
        ("structure", "Task.colour"),
        ("structure", "Task.focus"),
    }


def test_of_a_record_that_breaks_everything_only_so_many_faults_are_kept() -> None:
    outcome = Outcome(tuple(Issue("error", "structure", "no", f"Patient.x{n}") for n in range(1000)))
    assert len(marks(outcome)) == MOST_MARKS


def test_an_error_that_was_there_before_is_not_added_and_one_more_of_its_kind_is() -> None:
    one = Issue("error", "value", "no date", "Patient.name[0].period.start")
    other = Issue("error", "value", "no date", "Patient.name[1].period.start")
    note = Issue("warning", "invariant", "narrative", "Patient")
    assert added(Outcome((other, note)), Outcome((one,))) == Outcome((note,))
    assert added(Outcome((one, other)), Outcome((one,))) == Outcome((other,))
    assert added(Outcome((one,)), OK) == Outcome((one,))
    assert added(Outcome((one, other)), Outcome((one,)), Outcome((other,))) == OK


def test_newer_rules_lift_marks_and_change_no_record(store: Store, tmp_path: Path) -> None:
    """The same with a terminology that has grown: only what is marked is judged again."""
    put(store, "a", BAD_GENDER, gender="male")
    put(store, "b", BAD_GENDER, gender="x")
    put(store, "c", gender="x")
    head = store.head()
    assert recheck(store) == Rechecked(2, 1)
    assert store.head() == head
    (fault,) = store.faults()
    assert (fault.ehr, fault.rule, fault.ids) == ("care", "code-invalid", ("b",))
    assert fault.message != BAD_GENDER.message
    assert recheck(store, lambda document: OK) == Rechecked(1, 1)
    assert store.faults() == []


def test_marks_are_judged_again_once_when_the_rules_have_changed(store: Store) -> None:
    assert recheck_by_newer_rules(store) == Rechecked()
    put(store, "a", BAD_GENDER, gender="male")
    assert recheck_by_newer_rules(store) == Rechecked()
    store.write(lambda t: t.set_setting("quality:judged-by", "an older validator"))
    assert recheck_by_newer_rules(store) == Rechecked(1, 1)
    assert recheck_by_newer_rules(store) == Rechecked()


def test_loaded_records_that_are_not_valid_are_listed_as_of_files(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "p.ndjson"
    file.write_text('{"resourceType":"Patient","id":"a","gender":"x"}\n')
    done = loading.load(store, find([file]))
    assert (done.created, done.not_valid, done.dead) == (1, 1, 0)
    assert store.read("Patient", "a").data["gender"] == "x"
    assert [(f.ehr, f.element) for f in store.faults()] == [("", "Patient.gender")]
    again = loading.load(store, find([file]))
    assert (again.unchanged, again.not_valid) == (1, 0)
    file.write_text('{"resourceType":"Patient","id":"a","gender":"male"}\n')
    assert loading.load(store, find([file])).updated == 1
    assert store.faults() == []
