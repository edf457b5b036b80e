"""Where batches go: into the store, or, in a dry run, where they look as if they had."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_coprod.settings import EhrSettings
from fhir_coprod.store import Store
from fhir_coprod.sync.ehr.plan import plan
from fhir_coprod.sync.pace import Pace
from fhir_coprod.sync.staging.feed import Success, feeds
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.sinks import DrySink, StoreSink
from fhir_coprod.sync.staging.stage import Batch, Counts
from tests.sync.records import Json, patient, task
from tests.sync.test_arrival import _batch

NOW = datetime(2026, 3, 2, tzinfo=UTC)
STATEMENT = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
NO_TASKS = plan(EhrSettings(name="care", url="https://care.example", types=("Task",)), STATEMENT)


def sink_of(store: Store, kind: str) -> StoreSink:
    return DrySink(store) if kind == "dry" else StoreSink(store, lambda batch, counts: None, Pace(store))


def gone(*ids: str) -> Batch:
    return Batch("care", "Patient", gone=[Record("care", "Patient", id) for id in ids])


BOTH = pytest.mark.parametrize("kind", ["store", "dry"])
LATE = patient("p", meta={"lastUpdated": "2026-03-02T08:00:00Z"})


@BOTH
def test_what_was_put_is_known_and_lives(store: Store, kind: str) -> None:
    sink = sink_of(store, kind)
    sink.put(_batch("care", LATE))
    sink.put(_batch("care", patient("q")))
    found = sink.known("care", "Patient", ["p", "never"])
    assert found.keys() == {"p"}
    assert (found["p"].updated, found["p"].deleted) == ("2026-03-02T08:00:00.000000Z", False)
    assert sink.living("care", "Patient") == {"p", "q"}
    assert sink.living("ortho", "Patient") == sink.living("care", "Task") == set()


@BOTH
def test_what_is_gone_is_known_as_deleted_and_does_not_live(store: Store, kind: str) -> None:
    sink = sink_of(store, kind)
    sink.put(_batch("care", LATE))
    sink.put(_batch("care", patient("q")))
    sink.put(gone("p"))
    found = sink.known("care", "Patient", ["p", "q"])
    assert (found["p"].deleted, found["p"].hash, found["q"].deleted) == (True, "", False)
    assert sink.living("care", "Patient") == {"q"}
    sink.put(_batch("care", LATE))
    assert sink.living("care", "Patient") == {"p", "q"}


@BOTH
def test_records_that_others_refer_to_are_missing_until_they_come(store: Store, kind: str) -> None:
    sink = sink_of(store, kind)
    at_ortho = {"reference": "https://ortho.example/Patient/x"}
    sink.put(_batch("care", task("t", "Patient/p", "Task/u", basedOn=[at_ortho])))
    sink.put(_batch("ortho", task("v", "Patient/w", "Task/v")))
    types = ["Patient", "Organization"]
    assert sink.missing("care", types) == {Record("care", "Patient", "p")}
    assert sink.missing("care", iter(["Task"])) == {Record("care", "Task", "u")}
    sink.put(_batch("care", patient("p")))
    assert sink.missing("care", types) == set()
    sink.put(gone("p"))
    assert sink.missing("care", types) == set(), "what was there once and is gone need not be looked for"


def test_a_dry_run_sees_the_store_and_its_own_batches_over_it(store: Store) -> None:
    kept = sink_of(store, "store")
    kept.put(_batch("care", LATE))
    kept.put(_batch("care", task("t", "Patient/q", "Task/u")))
    dry = DrySink(store)
    assert dry.living("care", "Patient") == {"p"}
    assert dry.missing("care", ["Patient"]) == {Record("care", "Patient", "q")}
    before = dry.known("care", "Patient", ["p"])["p"]
    dry.put(_batch("care", patient("p", gender="male")))
    dry.put(_batch("care", patient("q")))
    after = dry.known("care", "Patient", ["p"])["p"]
    assert before.hash != after.hash
    assert after.updated == ""
    assert dry.living("care", "Patient") == {"p", "q"}
    assert dry.missing("care", ["Patient"]) == set()
    dry.put(gone("p"))
    assert dry.living("care", "Patient") == {"q"}
    assert kept.living("care", "Patient") == {"p"}, "nothing of it is in the store"
    assert [len(batch.taken) + len(batch.gone) for batch in dry.batches] == [1, 1, 1]


def test_a_dry_run_leaves_the_feeds_alone(store: Store) -> None:
    dry = DrySink(store)
    dry.planned(NO_TASKS)
    dry.failed("care", ["Task"], "failed", "no answer")
    dry.put(Batch("care", "Patient", feed=Success("w", NOW)))
    assert dry.feed("care", "Patient") is None
    with store.connect() as connection:
        assert feeds(connection) == []
    assert dry.faults == {("care", "Task"): "no answer"}


def test_a_plan_and_failures_are_in_the_feeds(store: Store) -> None:
    sink = sink_of(store, "store")
    sink.planned(NO_TASKS)
    sink.failed("care", ["Patient", "Goal"], "behind", "some")
    sink.put(Batch("care", "Communication", feed=Success("w", NOW)))
    with store.connect() as connection:
        found = {row.type: (row.state, row.reason) for row in feeds(connection, "care")}
    assert found == {
        "Task": ("not-observable", "the server does not offer Task"),
        "Patient": ("behind", "some"),
        "Goal": ("behind", "some"),
        "Communication": ("observable", ""),
    }
    assert sink.faults == {("care", "Patient"): "some", ("care", "Goal"): "some"}
    marks = {
        type: found.watermark for type in ("Communication", "Patient") if (found := sink.feed("care", type))
    }
    assert marks == {"Communication": "w", "Patient": ""}
    assert sink.feed("ortho", "Communication") is None


@BOTH
def test_a_last_batch_that_could_not_see_everything_is_a_fault(store: Store, kind: str) -> None:
    sink = sink_of(store, kind)
    sink.put(Batch("care", "Task", feed=Success("", NOW, "two are missing")))
    sink.put(Batch("care", "Patient", feed=Success("", NOW)))
    assert sink.faults == {("care", "Task"): "two are missing"}


def test_each_batch_is_told_with_what_was_new_in_it(store: Store) -> None:
    told: list[tuple[str, Counts]] = []
    sink = StoreSink(store, lambda batch, counts: told.append((batch.type, counts)), Pace(store))
    first: Any = _batch("care", LATE)
    sink.put(first)
    sink.put(first)
    changed: Json = {**LATE, "gender": "male"}
    sink.put(_batch("care", changed))
    sink.put(gone("p", "never"))
    sink.put(gone("p"))
    sink.put(_batch("care", changed))
    assert told == [
        ("Patient", counts)
        for counts in (
            Counts(read=1, created=1),
            Counts(read=1, unchanged=1),
            Counts(read=1, updated=1),
            Counts(deleted=1),
            Counts(),
            Counts(read=1, updated=1),
        )
    ]
