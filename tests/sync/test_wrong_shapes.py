"""Whatever the shape of a record: sync takes it in, indexes and merges it, and loses nothing beside it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fhir_coprod import definitions, jsontext
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Outcome
from fhir_coprod.store import Query, Store, index
from fhir_coprod.store.quality import marks
from fhir_coprod.sync.staging import stage
from fhir_coprod.sync.staging.references import Bases
from fhir_coprod.sync.staging.stage import Received, Taken
from fhir_coprod.validation import validate_document
from tests.sync.records import PNR, Json
from tests.sync.story import settled
from tests.sync.test_arrival import put
from tests.wrong_shapes import wrong

PERSON: Json = {
    "resourceType": "Patient",
    "id": "x",
    "extension": [{"url": "https://a.example/x", "valueString": "y"}],
    "identifier": [{"system": PNR, "value": "1", "type": {"text": "n"}}],
    "active": True,
    "name": [{"family": "Öst", "given": ["Eva"]}],
    "telecom": [{"system": "phone", "value": "070"}],
    "birthDate": "1970-01-02",
    "address": [{"city": "Y", "extension": [{"url": "https://a.example/z", "valueString": "y"}]}],
    "generalPractitioner": [{"reference": "Organization/gp"}],
    "link": [{"other": {"reference": "Patient/old"}, "type": "replaces"}],
}


def judged(document: Document) -> Outcome:
    return validate_document(document)


def of(number: int, record: Json) -> Json:
    """The record of the person with this number."""
    text = jsontext.encode(record).replace(b'"value":"1"', f'"value":"{number:09}"'.encode())
    return {**jsontext.decode(text), "id": f"p{number}"}


def check(store: Store, records: list[Json]) -> None:
    """Each of these is the leading record of a person whom another EHR knows with a second telephone."""
    for number, record in enumerate(records):
        good = of(number, {**PERSON, "telecom": [{"system": "phone", "value": f"second {number}"}]})
        put(store, ("ortho", of(number, record)), ("care", good), validate=judged)
    settled(store, validate=judged)
    kept = store.search(Query.parse("Patient", [("_count", "1000"), ("phone", "second")])).matches
    told = b" ".join(version.body for version in store.changes(0, 10_000))
    assert len(kept) <= len(records)
    missing = [number for number in range(len(records)) if f'"second {number}"'.encode() not in told]
    assert missing == []


def test_no_wrong_shape_of_a_leading_record_costs_what_another_says(store: Store) -> None:
    every = [changed for changed, _ in wrong(PERSON)]
    check(store, random.Random(5).sample(every, 60))


@pytest.mark.proof
def test_no_wrong_shape_at_any_element_of_a_leading_record_costs_what_another_says(store: Store) -> None:
    every = [changed for changed, _ in wrong(PERSON)]
    assert len(every) > 900
    check(store, every[:900])


EXAMPLES = {example["resourceType"]: example for example in definitions.examples()}


@pytest.mark.parametrize("type", sorted(EXAMPLES))
def test_every_wrong_shape_is_taken_in_and_indexed(type: str) -> None:
    example = EXAMPLES[type]
    every = [changed for changed, _ in wrong(example)]
    for changed in random.Random(3).sample(every, min(60, len(every))):
        taken: Any = stage.prepare(
            "care",
            type,
            Received(jsontext.encode(changed), ""),
            lambda id: None,
            Bases({"care": "https://care.example"}),
            judged,
            accept_older=False,
        )
        assert isinstance(taken, Taken)
        assert taken.marks or validate_document(jsontext.from_data(changed))
        rows = index.rows(type, changed, is_sound=not marks(validate_document(jsontext.from_data(changed))))
        for table, held in rows.items():
            for row in held:
                assert all(isinstance(value, str | int | float) for value in row), (table, row)
