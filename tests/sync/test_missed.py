"""What may be in a record that could not be taken in is not claimed to be missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from fhir_coprod import jsontext
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Store, opening
from fhir_coprod.store.taking import Dead
from fhir_coprod.sync import dead_letters
from fhir_coprod.sync.staging import again, stage
from fhir_coprod.sync.staging.feed import Success
from fhir_coprod.sync.staging.references import Bases, Record, patients
from fhir_coprod.sync.staging.stage import Batch, Received
from fhir_coprod.watch.facts.reader import gather
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.assess import assess
from tests.sync.records import Json, organization, patient, referral, task
from tests.sync.story import ids, told
from tests.sync.test_arrival import CONTEXT

WRITTEN = "2026-01-07T10:00:00Z"
LATE = datetime(2026, 2, 1, tzinfo=UTC)
BAD = Outcome((Issue("error", "invariant", "made up"),))
ACCEPTED = task("t", "Patient/p", "ServiceRequest/s", "accepted", authoredOn="2026-01-08T10:00:00Z")
NAMELESS = b'{"resourceType":"Task","id":"t","status":"acc'


def refused(store: Store, record: Json | bytes, ehr: str = "care", type: str = "Task") -> None:
    raw = record if isinstance(record, bytes) else jsontext.encode(record)
    result = stage.prepare(
        ehr,
        type,
        Received(raw, "here"),
        lambda id: None,
        CONTEXT.bases,
        lambda document: BAD,
        accept_older=False,
        keep_invalid=False,
    )
    assert isinstance(result, stage.Refused)
    store.write(lambda t: stage.stage(t.connection, Batch(ehr, type, refused=[result]), t.now) and None)


def two_referrals(store: Store, **more: str) -> None:
    """Nobody has sent them: of patient p, and of patient q."""
    asked = {
        "requester": {"reference": "Organization/gp"},
        "performer": [{"reference": "Organization/or"}],
        "authoredOn": WRITTEN,
        **more,
    }
    told(
        store,
        *(("care", organization(id)) for id in ("gp", "or")),
        ("care", patient("p", "1")),
        ("care", referral("s", "Patient/p", **asked)),
        ("care", patient("q", "2")),
        ("care", referral("r", "Patient/q", **asked)),
    )


def claimed(store: Store) -> list[str]:
    """The referrals, by their ids at care, of which the watch says that they were not sent."""
    found = []
    for name, id in sorted(ids(store, "ServiceRequest").items()):
        standing = assess(gather(store, id), policies.load("default"), LATE)
        is_claimed = "not-sent" in {stall.rule for stall in standing.stalls}
        assert is_claimed is ("Task" not in standing.not_observable)
        found += [name.removeprefix("care/")] * is_claimed
    return found


CUT_OFF = json.dumps(ACCEPTED).encode()[:-30]
PHP = json.dumps({**ACCEPTED, "focus": {}}).replace("/", "\\/").encode()[:-9]


@pytest.mark.parametrize("record", [ACCEPTED, CUT_OFF, PHP], ids=["not valid", "cut off", "escaped slashes"])
def test_it_concerns_the_referrals_of_the_patient_that_it_names(store: Store, record: Json | bytes) -> None:
    two_referrals(store)
    assert claimed(store) == ["r", "s"]
    refused(store, record)
    assert claimed(store) == ["r"]
    with store.connect() as connection:
        letter = next(dead_letters.read(connection)).id
    dead_letters.dismiss(store, [letter], "Eva", "known")
    assert claimed(store) == ["r"], "to put it aside changes nothing of that"


def test_one_that_is_older_than_the_referral_does_not_belong_to_it(store: Store) -> None:
    two_referrals(store)
    refused(store, {**ACCEPTED, "authoredOn": "2026-01-07T09:00:00Z"})
    assert claimed(store) == ["r", "s"]
    refused(store, {**ACCEPTED, "id": "u", "authoredOn": "2026-01-07T11:00:00Z"})
    assert claimed(store) == ["r"]


def test_one_of_another_ehr_names_the_patient_by_the_whole_address(store: Store) -> None:
    two_referrals(store)
    refused(store, {**ACCEPTED, "for": {"reference": "https://care.example/Patient/p"}}, "ortho")
    assert claimed(store) == ["r"]


def test_a_new_version_of_a_record_that_is_here_concerns_only_what_the_record_does(store: Store) -> None:
    two_referrals(store)
    told(store, ("care", task("t", "Patient/p", "ServiceRequest/r", "draft")))
    refused(store, ACCEPTED)
    assert "s" in claimed(store)


@pytest.mark.parametrize(
    ("priority", "sound_tasks", "is_claimed"),
    [("routine", 0, False), ("routine", 1_200, True), ("urgent", 0, True), ("stat", 0, True)],
)
def test_one_that_names_nobody_may_concern_anybody_unless_it_is_one_of_many_or_the_referral_is_urgent(
    store: Store, priority: str, sound_tasks: int, is_claimed: bool
) -> None:
    two_referrals(store, priority=priority)
    draft = {"resourceType": "Task", "status": "draft", "intent": "order"}
    documents = [jsontext.from_data({**draft, "id": f"d{n}"}) for n in range(sound_tasks)]
    store.write(lambda t: [t.put(each, each.data["id"], source="ehr:care") for each in documents] and None)
    refused(store, NAMELESS)
    assert claimed(store) == ["r", "s"] * is_claimed


def test_one_of_a_file_names_the_patient_by_our_own_id(store: Store) -> None:
    two_referrals(store)
    own = ids(store, "Patient")["care/p"]
    raw = b'{"resourceType":"Task","for":{"reference":"Patient/%b"},"status":' % own.encode()
    store.write(lambda t: again.bury(t, "a.ndjson", [Dead("a.ndjson:1", BAD, raw, "Task")], afresh=True))
    assert claimed(store) == ["r"]


# --- when it is over ------------------------------------------------------------------------------


def looked(
    store: Store,
    *,
    minutes: int,
    is_full: bool = True,
    behind: str = "",
    gaps: tuple[tuple[str, str], ...] = (),
) -> list[str]:
    """The states of the dead letters after a look at all Tasks that began so many minutes from now."""
    began = datetime.now(UTC) + timedelta(minutes=minutes)
    success = Success("", began - timedelta(days=1), behind, is_full=is_full, began=began, gaps=gaps)
    store.write(lambda t: stage.stage(t.connection, Batch("care", "Task", feed=success), t.now) and None)
    with store.connect() as connection:
        return [letter.state for letter in dead_letters.read(connection, all=True)]


def test_it_is_over_when_a_look_at_everything_does_not_bring_it_again(store: Store) -> None:
    two_referrals(store)
    refused(store, NAMELESS)
    assert looked(store, minutes=-1) == ["open"], "it came in this look"
    assert looked(store, minutes=1, is_full=False) == ["open"], "only what changed was looked at"
    assert looked(store, minutes=1, behind="a page is missing") == ["open"]
    assert looked(store, minutes=1, gaps=(("Patient/p", "no answer"),)) == ["open"]
    assert claimed(store) == []
    assert looked(store, minutes=1) == ["resolved"]
    assert claimed(store) == ["r", "s"]
    refused(store, NAMELESS)
    assert looked(store, minutes=-1) == ["open"], "it came again"


def test_postgresql_says_the_same(postgresql_store: str) -> None:
    with Store.open(postgresql_store) as store:
        two_referrals(store)
        refused(store, ACCEPTED)
        assert claimed(store) == ["r"]
        refused(store, NAMELESS)
        assert claimed(store) == []
        assert looked(store, minutes=1) == ["resolved", "resolved"]
        assert claimed(store) == ["r", "s"]


# --- how it is known ------------------------------------------------------------------------------


def test_patients_are_found_in_any_bytes() -> None:
    bases = Bases({"care": "https://care.example", "ortho": "https://ortho.example"})
    raw = (
        b'\xff{"a":{"reference" : "Patient/1/_history/2"},'
        b'"b":{"reference":"https:\\/\\/ortho.example\\/Patient\\/2"},'
        b'"c":{"reference":"Task/3"},"d":{"reference":"https://else.example/Patient/4"},'
        b'"e":{"reference":"Patient/no_id"},"f":{"reference":"\\u0050atient/5"},"g":{"reference":"Patient/6'
    )
    assert patients(raw, "care", bases) == {Record("care", "Patient", "1"), Record("ortho", "Patient", "2")}
    assert patients(b"", "care", bases) == frozenset()


def test_dead_letters_of_earlier_versions_get_the_patients_that_they_name(database_url: str) -> None:
    """Migration 0009."""
    engine = opening.connect(database_url).make_engine()
    bodies = {
        "open": b'{"for":{"reference":"Patient/p.1"},"a":{"reference": "Patient\\/q"}}',
        "dismissed": b'\xff{"for":{"reference":"Patient/p.1/_history/2"}',
        "resolved": b'{"for":{"reference":"Patient/p.1"}}',
    }
    with engine.begin() as connection:
        opening.migrate(connection, "0008")
        for number, (state, body) in enumerate(bodies.items(), 1):
            row = {"n": number, "state": state, "body": body}
            connection.execute(
                text(
                    "INSERT INTO dead_letter (id, ehr, type, foreign_id, hash, position, body, outcome, "
                    "received, state) VALUES (:n, 'care', 'Task', '', :state, '', :body, '{}', 7, :state)"
                ),
                row,
            )
    with engine.begin() as connection:
        opening.migrate(connection, "0009")
        found = connection.execute(text("SELECT letter, ehr, foreign_id FROM letter_patient ORDER BY 1, 3"))
        assert found.all() == [(1, "care", "p.1"), (1, "care", "q"), (2, "care", "p.1")]
        assert connection.execute(text("SELECT DISTINCT seen FROM dead_letter")).scalars().all() == [7]
    engine.dispose()
