"""Which differences in a record count as a change, and which dead letters are open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.store import Store
from fhir_coprod.sync.staging import stage
from fhir_coprod.sync.staging.feed import Success
from fhir_coprod.sync.staging.letters import Refused
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.stage import Batch, Received, Taken, content_hash
from tests.sync.records import patient
from tests.sync.test_dead_letters import states

NOW = datetime(2026, 3, 2, tzinfo=UTC)
BAD = Outcome((Issue("error", "invariant", "made up"),))


def of(meta: dict[str, Any]) -> str:
    return content_hash(jsontext.from_data({**patient("p"), "meta": meta}))


@pytest.mark.parametrize("name", ["profile", "security", "tag"])
def test_another_profile_label_or_tag_is_a_change(name: str) -> None:
    assert of({name: ["a"]}) != of({name: ["b"]})
    assert of({name: ["a"]}) != of({})


def test_another_stamp_or_source_is_none() -> None:
    stamps = {"versionId": "9", "lastUpdated": "2026-03-02T08:00:00Z", "source": "#Ab3"}
    assert of(stamps) == of({"source": "#Xy7"}) == of({})


def test_a_record_without_profile_label_or_tag_counts_by_its_content_alone() -> None:
    document = jsontext.from_data(patient("p"))
    assert of({}) == of({"tag": []}) == content_hash(document) == document.hash
    assert of({"tag": ["a"]}) == of({"security": [], "tag": ["a"]}) != document.hash


@pytest.mark.parametrize("id", ["x" * 65, "a_b", "a:b", "", "a/b"])
def test_an_id_that_fhir_does_not_allow_makes_a_letter_without_an_id(id: str) -> None:
    found = prepared(patient(id))
    assert isinstance(found, Refused)
    assert found.foreign_id == ""


def prepared(resource: dict[str, Any], outcome: Outcome = OK) -> Taken | Refused:
    raw = Received(jsontext.encode(resource), "")
    found = stage.prepare(
        "care",
        "Patient",
        raw,
        lambda id: None,
        Bases({}),
        lambda d: outcome,
        accept_older=False,
        keep_invalid=False,
    )
    assert isinstance(found, Taken | Refused)
    return found


def arrives(store: Store, *found: Taken | Refused, **more: Any) -> None:
    batch = Batch("care", "Patient", **more)
    for one in found:
        if isinstance(one, Taken):
            batch.taken.append(one)
        else:
            batch.refused.append(one)
    store.write(lambda t: stage.stage(t.connection, batch, NOW))


def test_a_letter_that_comes_again_is_open_again(store: Store) -> None:
    bad, good = prepared(patient("p", gender="male"), BAD), prepared(patient("p"))
    arrives(store, bad)
    arrives(store, good)
    assert states(store) == [("p", "resolved")]
    arrives(store, bad)
    assert states(store) == [("p", "open")]


def test_only_an_open_letter_is_superseded_or_resolved(store: Store) -> None:
    first, second = prepared(patient("p", gender="male"), BAD), prepared(patient("p"), BAD)
    arrives(store, first)
    arrives(store, prepared(patient("p", gender="female")))
    arrives(store, second)
    assert states(store) == [("p", "resolved"), ("p", "open")]
    arrives(store, first)
    assert states(store) == [("p", "open"), ("p", "superseded")]
    arrives(store, prepared(patient("p", gender="other")))
    assert states(store) == [("p", "resolved"), ("p", "superseded")]


@pytest.mark.parametrize("word", ["unchanged", "gone"])
def test_a_record_that_is_as_before_or_gone_needs_nobodys_attention(store: Store, word: str) -> None:
    good = prepared(patient("p"))
    arrives(store, good)
    arrives(store, prepared(patient("p", gender="male"), BAD))
    assert isinstance(good, Taken)
    arrives(store, **{word: [good.record]})
    assert states(store) == [("p", "resolved")]


def test_a_batch_in_parts_is_whole_and_its_watermark_comes_last() -> None:
    taken = [Taken(Record("a", "Task", str(n)), b"", "", "", "", {}, frozenset()) for n in range(7)]
    success = Success("2026", datetime(2026, 1, 1, tzinfo=UTC))
    gone = [Record("a", "Task", "x")]
    for number in range(8):
        batch = Batch("a", "Task", taken[:number], gone=gone, feed=success)
        *first, last = batch.parts(3)
        assert [t for part in (*first, last) for t in part.taken] == taken[:number]
        assert all(len(part.taken) == 3 and part.feed is None and not part.gone for part in first)
        assert len(last.taken) <= 3
        assert (last.feed, last.gone) == (success, gone)
