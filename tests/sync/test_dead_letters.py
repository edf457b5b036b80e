"""Replaying dead letters: records that could not be taken in."""

from __future__ import annotations

from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.store import Query, Store
from fhir_coprod.sync import dead_letters
from fhir_coprod.sync.engine import run
from tests.sync.conftest import settings_for
from tests.sync.records import patient, task
from tests.sync.server import Ehr, serving


def strict(document: Document) -> Outcome:
    """A validator that does not know Tasks yet."""
    return Outcome((Issue("error", "invariant", "unknown", "Task"),)) if document.type == "Task" else OK


def lenient(document: Document) -> Outcome:
    return OK


def states(store: Store) -> list[tuple[str, str]]:
    with store.connect() as connection:
        return [(one.foreign_id, one.state) for one in dead_letters.read(connection, all=True)]


def test_replay_takes_in_what_a_better_validator_accepts(store: Store) -> None:
    ehr = Ehr().load(
        patient("p"), task("a", "Patient/p", "ServiceRequest/s"), task("b", "Patient/p", "ServiceRequest/s")
    )
    with serving(ehr):
        chosen = settings_for(on_invalid="refuse", care=ehr)
        run(store, chosen, validate=strict)
        assert states(store) == [("a", "open"), ("b", "open")]
        dead_letters.replay(store, chosen, [1], validate=lenient)
        assert states(store) == [("a", "resolved"), ("b", "open")]
        dead_letters.replay(store, chosen, validate=lenient)
    assert states(store) == [("a", "resolved"), ("b", "resolved")]
    patients = store.search(Query.parse("Patient", [])).matches
    tasks = store.search(Query.parse("Task", [])).matches
    assert [t.data["for"]["reference"] for t in tasks] == [patients[0].reference] * 2


def test_replay_never_puts_an_old_record_over_a_newer_one(store: Store) -> None:
    ehr = Ehr().load(task("a", "Patient/p", "ServiceRequest/s"))
    with serving(ehr):
        chosen = settings_for(on_invalid="refuse", care=ehr)
        run(store, chosen, validate=strict)
        ehr.put({**ehr.resources["Task/a"], "status": "accepted"})
        run(store, chosen, validate=lenient)
        assert states(store) == [("a", "resolved")]
        dead_letters.replay(store, chosen, [1], validate=lenient)
    (found,) = store.search(Query.parse("Task", [])).matches
    assert (found.data["status"], found.version) == ("accepted", 1)


def test_a_newer_bad_record_supersedes_an_older_one(store: Store) -> None:
    ehr = Ehr().load(task("a", "Patient/p", "ServiceRequest/s"))
    with serving(ehr):
        chosen = settings_for(on_invalid="refuse", care=ehr)
        run(store, chosen, validate=strict)
        ehr.put({**ehr.resources["Task/a"], "status": "accepted"})
        run(store, chosen, validate=strict)
    assert states(store) == [("a", "superseded"), ("a", "open")]
