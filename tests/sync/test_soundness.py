"""Each kind of damage to the tables of the sync is named; what follows from what is left is made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.store.soundness.faults import KINDS, Fault
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.soundness import parts
from fhir_coprod.sync.staging.identity import RULES
from tests.damaged import damage, look
from tests.peers.fixtures import NewStore
from tests.sync.conftest import settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving

Named = tuple[str, str, str]
"""Kind, place, and why, of a fault."""


def refusing(document: Document) -> Outcome:
    return Outcome((Issue("error", "invariant", "no"),)) if document.data["id"] == "refused" else OK


@pytest.fixture(scope="module")
def synced(new_store: NewStore) -> tuple[Path, Settings]:
    """The file of a store with four records of an EHR and a dead letter, and its settings."""
    ehr = Ehr().load(
        organization("o", "OR"),
        patient("p", "1"),
        referral("s", "Patient/p", "R1", requester={"reference": "Organization/o"}),
        task("t", "Patient/p", "ServiceRequest/s", number="T1"),
        task("refused", "Patient/p", "ServiceRequest/s"),
    )
    with new_store("sqlite") as url, serving(ehr):
        settings = settings_for(url, on_invalid="refuse", care=ehr)
        with Store.open(url) as store:
            run(store, settings, validate=refusing)
        return Path(url.removeprefix("sqlite:///")), settings


@pytest.fixture
def store_of(synced: tuple[Path, Settings], tmp_path: Path) -> tuple[str, Settings]:
    """URL of a copy of it, for a test to damage."""
    copy = shutil.copy(synced[0], tmp_path / "store.db")
    return f"sqlite:///{copy}", synced[1]


def named(faults: list[Fault]) -> list[Named]:
    assert {fault.kind for fault in faults} <= KINDS.keys()
    return [(fault.kind, fault.at, fault.why) for fault in faults]


def test_a_sound_store_has_no_faults(store_of: tuple[str, Settings]) -> None:
    url, settings = store_of
    assert look(url, parts(settings)) == ([], [])


TASK, PATIENT = "care: Task/t", "care: Patient/p"
LOST: dict[str, tuple[list[str], list[Named]]] = {
    "bytes gone": (
        ["DELETE FROM received_base WHERE type = 'Task'"],
        [("record", TASK, "its bytes are missing or no JSON")],
    ),
    "bytes cut off": (
        ["UPDATE received_base SET body = substr(body, 1, 20) WHERE type = 'Task'"],
        [("record", TASK, "its bytes are missing or no JSON")],
    ),
    "bytes of another record": (
        [
            "UPDATE received_base SET body = (SELECT body FROM received_base WHERE type = 'Patient')"
            " WHERE type = 'Task'"
        ],
        [("record", TASK, "its bytes do not fit their hash")],
    ),
    "the record forgotten": (["DELETE FROM crosswalk WHERE type = 'Task'"], [("record-orphan", TASK, "")]),
    "a letter's bytes altered": (
        ["UPDATE dead_letter SET body = x'7b7d'"],
        [("letter", "1", "its bytes do not fit their hash")],
    ),
    "a letter's reason cut off": (
        ["UPDATE dead_letter SET outcome = '{'"],
        [("letter", "1", "the reason cannot be read")],
    ),
    "a letter's state": (
        ["UPDATE dead_letter SET state = 'lost'"],
        [("letter", "1", "its state is none that there is")],
    ),
    "a letter's patient gone": (
        ["DELETE FROM letter_patient"],
        [("letter", "1", "not the patients that it concerns")],
    ),
    "a letter's patient another": (
        ["UPDATE letter_patient SET foreign_id = 'q'"],
        [("letter", "1", "not the patients that it concerns")],
    ),
    "a feed's state": (
        ["UPDATE feed SET state = 'fine' WHERE type = 'Task'"],
        [("feed", "care: Task", "says what cannot be")],
    ),
    "a feed of the future": (
        ["UPDATE feed SET last_success = 9000000000000 WHERE type = 'Task'"],
        [("feed", "care: Task", "says what cannot be")],
    ),
    "a feed before all time": (
        ["UPDATE feed SET since = -1 WHERE type = 'Task'"],
        [("feed", "care: Task", "says what cannot be")],
    ),
    "a feed that counts backwards": (
        ["UPDATE feed SET short_looks = -1 WHERE type = 'Task'"],
        [("feed", "care: Task", "counts what cannot be")],
    ),
    "a feed gone": (["DELETE FROM feed WHERE type = 'Task'"], [("feed", "care: Task", "missing")]),
    "base of nothing": (
        ["INSERT INTO merge_base (type, id, body) VALUES ('Task', 'none', x'7b7d')"],
        [("orphan", "Task/none", "base of a merge")],
    ),
    "nothing given up": (
        ["INSERT INTO retired (type, id, successor, written) VALUES ('Task', 'none', 'x', 0)"],
        [("orphan", "Task/none", "resource that was given up")],
    ),
    "a doubt about nobody": (
        [
            "INSERT INTO doubt (ehr_a, id_a, ehr_b, id_b, why, since, asked, look)"
            " VALUES ('care', 'nobody', 'care', 'p', 'x', 1, 0, 0)"
        ],
        [("orphan", "care: nobody", "doubt about people (a)")],
    ),
    "a word about nobody": (
        [
            "INSERT INTO person_word (ehr_a, id_a, ehr_b, id_b, word, who, said)"
            " VALUES ('care', 'p', 'care', 'nobody', 'same', 'Eva', 1)"
        ],
        [("orphan", "care: nobody", "person_word about people (b)")],
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_is_named(store_of: tuple[str, Settings], name: str) -> None:
    url, settings = store_of
    statements, expected = LOST[name]
    damage(url, *statements)
    faults, mends = look(url, parts(settings))
    assert named(faults) == expected
    assert mends == []


def test_a_record_without_its_resource_is_named(store_of: tuple[str, Settings]) -> None:
    url, settings = store_of
    damage(url, "DELETE FROM resource WHERE type = 'Task'")
    [(kind, at, why)] = named(look(url, parts(settings))[0])
    assert (kind, at) == ("record", TASK)
    assert why.startswith("Task/")
    assert why.endswith(", which it is in, is missing")


def test_patients_of_a_letter_that_is_gone_are_named(store_of: tuple[str, Settings]) -> None:
    url, settings = store_of
    damage(url, "DELETE FROM dead_letter")
    assert [fault.at for fault in look(url, parts(settings))[0]] == ["1"]


REPAIRED: dict[str, tuple[list[str], list[Named]]] = {
    "keys gone": (["DELETE FROM sync_key WHERE type = 'Patient'"], [("record-key", PATIENT, "")]),
    "a key too many": (
        [
            "INSERT INTO sync_key (type, kind, key, ehr, foreign_id)"
            " VALUES ('Patient', 'number', 'another', 'care', 'p')"
        ],
        [("record-key", PATIENT, "")],
    ),
    "references gone": (["DELETE FROM sync_reference WHERE type = 'Task'"], [("record-key", TASK, "")]),
    "a reference to another": (
        ["UPDATE sync_reference SET target = 'other' WHERE type = 'Task' AND target_type = 'Patient'"],
        [("record-key", TASK, "")],
    ),
    "called gone": (
        ["UPDATE crosswalk SET deleted = 1 WHERE type = 'Task'"],
        [("record", TASK, "its row is altered")],
    ),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_what_follows_from_the_bytes_is_named_and_made_as_it_was(
    store_of: tuple[str, Settings], synced: tuple[Path, Settings], name: str
) -> None:
    url, settings = store_of
    statements, expected = REPAIRED[name]
    damage(url, *statements)
    assert rows(url) != rows(f"sqlite:///{synced[0]}")
    assert named(look(url, parts(settings))[0]) == expected
    repair(url, settings)
    assert rows(url) == rows(f"sqlite:///{synced[0]}")


def repair(url: str, settings: Settings) -> None:
    mends = look(url, parts(settings))[1]
    with Store.open(url) as store:
        store.write(lambda transaction: [mend(transaction) for mend in mends])
    assert look(url, parts(settings)) == ([], [])


def rows(url: str) -> list[list[tuple[object, ...]]]:
    with Store.open(url) as store, store.connect() as connection:
        tables = ("crosswalk", "received_base", "sync_key", "sync_reference")
        read = [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables]
        return [sorted(map(tuple, each), key=repr) for each in read]


def test_a_record_in_no_state_is_linked_and_written_once_more(store_of: tuple[str, Settings]) -> None:
    url, settings = store_of
    damage(url, "UPDATE crosswalk SET state = 7 WHERE type = 'Task'")
    assert named(look(url, parts(settings))[0]) == [("record", TASK, "its state is none that there is")]
    repair(url, settings)
    with Store.open(url) as store, store.connect() as connection:
        states = connection.exec_driver_sql("SELECT type, state FROM crosswalk WHERE state > 0").all()
    assert [tuple(each) for each in states] == [("Task", 2)]


def test_an_old_record_of_which_nothing_is_left_is_gone(store_of: tuple[str, Settings]) -> None:
    url, settings = store_of
    tables = ("received_base", "sync_key", "sync_reference")
    damage(url, *(f"DELETE FROM {table} WHERE type = 'Task'" for table in tables))
    damage(url, "UPDATE crosswalk SET hash = '', seal = NULL WHERE type = 'Task'")
    assert named(look(url, parts(settings))[0]) == [("record", TASK, "has nothing, and is not gone")]
    repair(url, settings)


def test_an_old_record_that_is_called_gone_is_there_again(store_of: tuple[str, Settings]) -> None:
    """It has no checksum before a repair, and gets one by the next."""
    url, settings = store_of
    damage(url, "UPDATE crosswalk SET deleted = 1, seal = NULL WHERE type = 'Task'")
    told, mends = look(url, parts(settings))
    assert named(told) == [("record", TASK, "is gone, and still has bytes, keys or references")]
    with Store.open(url) as store:
        store.write(lambda transaction: [mend(transaction) for mend in mends])
    assert look(url, parts(settings))[0] == []
    repair(url, settings)


def test_keys_made_under_other_rules_are_left_to_the_next_sync(store_of: tuple[str, Settings]) -> None:
    url, settings = store_of
    damage(
        url,
        f"UPDATE sync_key SET key = 'of an older version' WHERE kind = '{RULES}' AND type = 'Patient'",
        f"DELETE FROM sync_key WHERE kind <> '{RULES}' AND type = 'Patient'",
    )
    assert look(url, parts(settings)) == ([], [])
