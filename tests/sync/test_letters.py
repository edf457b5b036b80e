"""A dead letter as a person reads it, and trying some of them again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_coprod.errors import Conflict, NotFound
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.sync import alone, dead_letters
from fhir_coprod.sync.dead_letters import DeadLetter
from fhir_coprod.sync.staging import again, stage
from fhir_coprod.sync.staging.letters import Refused
from fhir_coprod.sync.staging.references import Bases
from fhir_coprod.sync.staging.stage import Batch

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
BAD = Outcome((Issue("error", "invariant", "made up"),))
SETTINGS = Settings(
    ehr=(EhrSettings(name="care", url="https://care.example/fhir", on_invalid="refuse"),),
)


def letter(foreign_id: str = "t", *issues: dict[str, Any], body: bytes = b"{}") -> DeadLetter:
    outcome = {"resourceType": "OperationOutcome", "issue": list(issues)}
    return DeadLetter(7, "care", "Task", foreign_id, "Task, page 1, entry 2", NOW, "open", outcome, body)


def an_issue(said: str, severity: str = "error", *expression: str) -> dict[str, Any]:
    found: dict[str, Any] = {"severity": severity, "diagnostics": said}
    return {**found, "expression": list(expression)} if expression else found


def refused(store: Store, id: str, raw: bytes | None = None) -> None:
    body = raw or b'{"resourceType":"Task","id":"%b","status":"requested","intent":"order"}' % id.encode()
    batch = Batch("care", "Task", refused=[Refused("care", "Task", id, body, BAD, "here")])
    store.write(lambda t: stage.stage(t.connection, batch, NOW) and None)


def read(store: Store, *, all: bool = False) -> list[tuple[str, str]]:
    with store.connect() as connection:
        return [(one.foreign_id, one.state) for one in dead_letters.read(connection, all=all)]


def test_the_reason_is_the_first_error_with_its_place_and_how_many_more_there_are() -> None:
    assert letter("t", an_issue("no code")).reason == "no code"
    warned = letter("t", an_issue("odd", "warning"), an_issue("no code", "fatal", "Task.code", "Task"))
    assert warned.reason == "Task.code: no code"
    many = letter("t", an_issue("a"), an_issue("b"), an_issue("c", "fatal"), an_issue("d", "information"))
    assert many.reason == "a (and 2 more)"


def test_a_letter_as_json_has_its_body_only_when_asked_for_and_no_id_where_none_was_read() -> None:
    told = letter("t", an_issue("a"), body=b"\xff{}").to_json()
    assert told == {
        "id": 7,
        "ehr": "care",
        "type": "Task",
        "foreignId": "t",
        "position": "Task, page 1, entry 2",
        "received": told["received"],
        "state": "open",
        "outcome": {"resourceType": "OperationOutcome", "issue": [an_issue("a")]},
    }
    assert told["received"].startswith("2026-03-02T08:00:00")
    assert letter("", body=b"\xff{}").to_json(body=True)["body"] == "\ufffd{}"
    assert letter("").to_json()["foreignId"] is None


def test_a_letter_is_kept_as_it_came(store: Store) -> None:
    refused(store, "t", b"{ odd")
    with store.connect() as connection:
        kept = dead_letters.read_one(connection, 1)
        with pytest.raises(NotFound, match="no dead letter 2"):
            dead_letters.read_one(connection, 2)
    assert (kept.body, kept.position, kept.received, kept.state) == (b"{ odd", "here", NOW, "open")
    assert kept.reason == "made up"


def test_letters_are_tried_again_in_the_order_received_and_told_in_the_order_asked_for(store: Store) -> None:
    for id in ("a", "b", "c"):
        refused(store, id)
    seen: list[str] = []

    def validate(document: Document) -> Outcome:
        seen.append(document.data["id"])
        return BAD if document.data["id"] == "a" else OK

    found = dead_letters.replay(store, SETTINGS, [2, 1], validate=validate)
    assert seen[:2] == ["a", "b"]
    assert [(one.foreign_id, one.state) for one in found] == [("b", "resolved"), ("a", "open")]
    assert read(store) == [("a", "open"), ("c", "open")]
    assert read(store, all=True) == [("a", "open"), ("b", "resolved"), ("c", "open")]
    assert len(store.search(Query.parse("Task", [])).matches) == 1
    assert [one.id for one in dead_letters.replay(store, SETTINGS, validate=lambda d: OK)] == [1, 3]
    assert read(store) == []


def test_a_letter_that_is_closed_is_not_tried_again(store: Store) -> None:
    refused(store, "a")
    dead_letters.replay(store, SETTINGS, validate=lambda d: OK)
    head = store.head()

    def validate(document: Document) -> Outcome:
        raise AssertionError("it is not looked at")

    (found,) = dead_letters.replay(store, SETTINGS, [1], validate=validate)
    assert found.state == "resolved"
    assert store.head() == head


def test_an_unknown_letter_and_a_sync_at_work_stop_the_replay_before_it_begins(store: Store) -> None:
    refused(store, "a")
    with pytest.raises(NotFound):
        dead_letters.replay(store, SETTINGS, [1, 9], validate=lambda d: OK)
    with alone.alone(store), pytest.raises(Conflict):
        dead_letters.replay(store, SETTINGS, [1], validate=lambda d: OK)
    assert read(store) == [("a", "open")]


def test_letters_of_an_ehr_that_keeps_are_taken_a_few_at_a_time_while_the_sync_shows_that_it_lives(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "AT_ONCE", 2)
    for id in "abcde":
        refused(store, id)
    left: list[int] = []
    bases = Bases({"care": "https://care.example/fhir"})
    again.retake_readable(store, ["care"], bases, lambda document: BAD, lambda: left.append(len(read(store))))
    assert left == [3, 1, 0]
