"""An older record does not replace a newer one, except in a full run or after a deletion."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.store import Store
from fhir_coprod.sync import dead_letters
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.staging.stage import Counts
from tests.sync.conftest import settings_for
from tests.sync.departments import HABITS, one, synced
from tests.sync.records import patient
from tests.sync.server import Ehr, serving
from tests.sync.test_dead_letters import states


def at(time: str, version: int, **more: Any) -> dict[str, Any]:
    stamps = {"versionId": str(version), "lastUpdated": f"2026-03-02T{time}:00Z"}
    return {**patient("p", "1", **more), "meta": stamps}


def shows(ehr: Ehr, resource: dict[str, Any]) -> None:
    """The server shows this, with the stamps as they are."""
    ehr.resources["Patient/p"] = resource
    ehr.log[:] = [("Patient/p", resource, "2026-03-09T08:00:00.000Z")]


def gender(store: Store) -> str:
    return str(one(store, "Patient").data["gender"])


@pytest.mark.parametrize("habits", HABITS)
def test_an_older_record_does_not_replace_a_newer_one_except_in_a_full_run(
    store: Store, habits: dict[str, Any]
) -> None:
    ehr = Ehr(**habits)
    shows(ehr, at("10:00", 2, gender="female"))
    with serving(ehr):
        synced(store, care=ehr)
        shows(ehr, at("09:59", 1, gender="male"))
        counts = synced(store, care=ehr)["care"].counts["Patient"]
        assert counts == Counts(read=1, unchanged=1)
        assert gender(store) == "female"
        counts = synced(store, full=True, care=ehr)["care"].counts["Patient"]
    assert counts == Counts(read=1, updated=1)
    assert gender(store) == "male"


def test_a_record_that_lives_again_is_taken_however_old_it_is(store: Store) -> None:
    ehr = Ehr()
    shows(ehr, at("10:00", 2, gender="female"))
    with serving(ehr):
        synced(store, care=ehr)
        ehr.delete("Patient/p")
        synced(store, care=ehr)
        shows(ehr, at("09:59", 1, gender="male"))
        synced(store, care=ehr)
    assert gender(store) == "male"


def test_replay_of_an_older_letter_does_not_replace_a_newer_record(store: Store) -> None:
    """A full run took the letter down after the newer record; that it is older stands in the record."""

    def strict(document: Document) -> Outcome:
        bad = document.data.get("gender") == "male"
        return Outcome((Issue("error", "invariant", "made up"),)) if bad else OK

    ehr = Ehr()
    shows(ehr, at("10:00", 2, gender="female"))
    with serving(ehr):
        chosen = settings_for(on_invalid="refuse", care=ehr)
        run(store, chosen, validate=strict)
        shows(ehr, at("09:59", 1, gender="male"))
        run(store, chosen, full=True, validate=strict)
        assert states(store) == [("p", "open")]
        dead_letters.replay(store, chosen, validate=lambda document: OK)
    assert states(store) == [("p", "superseded")]
    assert gender(store) == "female"


def test_a_letter_that_is_closed_is_not_replayed(store: Store) -> None:
    ehr = Ehr()
    shows(ehr, at("09:59", 1, gender="male"))

    def strict(document: Document) -> Outcome:
        return Outcome((Issue("error", "invariant", "made up"),))

    with serving(ehr):
        chosen = settings_for(on_invalid="refuse", care=ehr)
        run(store, chosen, validate=strict)
        shows(ehr, at("10:00", 2, gender="female"))
        run(store, chosen, validate=strict)
        assert states(store) == [("p", "superseded"), ("p", "open")]
        dead_letters.replay(store, chosen, [1], validate=lambda document: OK)
    assert states(store) == [("p", "superseded"), ("p", "open")]
