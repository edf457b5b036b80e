"""The result of a sync does not depend on the order in which records arrive."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_coprod import jsontext
from fhir_coprod.outcome import OK
from fhir_coprod.store import Store
from fhir_coprod.sync import engine
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.staging import stage
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.stage import Batch, Received, Taken, holdings
from tests.sync.records import Json, organization, patient, referral, task

CONTEXT = Context(
    Bases(
        {"care": "https://care.example", "ortho": "https://ortho.example", "neuro": "https://neuro.example"}
    ),
    ("ortho", "care", "neuro"),
    {"care": Record("care", "Organization", "gp"), "ortho": Record("ortho", "Organization", "1")},
)

RECORDS: list[tuple[str, Json]] = [
    ("care", organization("gp", "GP")),
    ("care", organization("or", "OR")),
    ("ortho", organization("1", "OR", name="Orthopaedics")),
    ("care", patient("p", "19700102", telecom=[{"system": "phone", "value": "1"}])),
    ("ortho", patient("q", "19700102", telecom=[{"system": "phone", "value": "2"}])),
    ("neuro", patient("r", "19700102", gender="female")),
    ("neuro", patient("twin")),
    (
        "care",
        {
            "resourceType": "PractitionerRole",
            "id": "dr",
            "organization": {"reference": "Organization/gp"},
        },
    ),
    ("care", referral("s", "Patient/p", "R1", requester={"reference": "PractitionerRole/dr"})),
    ("ortho", referral("t", "Patient/q", "R1", status="on-hold", requester={"display": "GP"})),
    ("care", task("a", "Patient/p", "ServiceRequest/s", number="T1", owner={"reference": "Organization/or"})),
    (
        "ortho",
        task("b", "Patient/q", "ServiceRequest/t", "accepted", "T1", owner={"reference": "Organization/1"}),
    ),
    (
        "neuro",
        task(
            "c",
            "Patient/r/_history/1",
            "ServiceRequest/never",
            owner={"type": "Organization", "identifier": {"system": "urn:org", "value": "OR"}},
        ),
    ),
]


def put(store: Store, *records: tuple[str, Json], validate: stage.Validate = lambda document: OK) -> None:
    """Stages each record in the order given, by itself, but all in one transaction (for speed)."""
    batches = [_batch(ehr, resource, validate) for ehr, resource in records]
    store.write(lambda t: [stage.stage(t.connection, batch, t.now) for batch in batches])


def _batch(ehr: str, resource: Json, validate: stage.Validate = lambda document: OK) -> Batch:
    prepared = stage.prepare(
        ehr,
        resource["resourceType"],
        Received(jsontext.encode(resource), ""),
        lambda id: None,
        CONTEXT.bases,
        validate,
        accept_older=True,
    )
    assert isinstance(prepared, Taken)
    return Batch(ehr, resource["resourceType"], taken=[prepared])


def settle(store: Store) -> None:
    engine.settle(store, CONTEXT, lambda document: OK, lambda: None)


def arrive(
    records: Sequence[tuple[str, Json]], pauses: Sequence[int]
) -> tuple[dict[str, str], dict[str, str]]:
    """The texts by record after this order of arrival, with their ids, and with ids made nameless."""
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/a.db") as store:
        for start, end in pairwise([0, *sorted(set(pauses)), len(records)]):
            put(store, *records[start:end])
            settle(store)
        return _texts(store)


@cache
def expected() -> tuple[dict[str, str], dict[str, str]]:
    """After the order in which the records stand above."""
    return arrive(RECORDS, [])


def _texts(store: Store) -> tuple[dict[str, str], dict[str, str]]:
    with store.connect() as connection:
        held = holdings(connection)
    names = {h.id: min(f"{o.ehr}-{o.foreign_id}" for o in held if o.id == h.id) for h in held}
    exact, nameless = {}, {}
    for h in held:
        text = store.read(h.type, h.id).body.decode()
        text = re.sub(r'"(versionId|lastUpdated)":"[^"]*"', "", text)
        exact[f"{h.ehr}/{h.type}/{h.foreign_id}"] = text
        for id, name in names.items():
            text = text.replace(id, name)
        nameless[f"{h.ehr}/{h.type}/{h.foreign_id}"] = text
    return exact, nameless


def test_the_records_of_three_departments_become_one_story() -> None:
    exact, nameless = arrive(RECORDS, [])
    assert len(set(exact.values())) == len(RECORDS) - 5
    referral_here = nameless["ortho/ServiceRequest/t"]
    assert '"status":"active"' in referral_here  # the originator's word
    task_here = nameless["care/Task/a"]
    assert '"status":"accepted"' in task_here  # the owner's word
    assert "ServiceRequest/care-s" in task_here
    other = nameless["neuro/Task/c"]
    assert "https://neuro.example/ServiceRequest/never" in other
    assert '"reference":"Organization/care-or"' in other
    assert '"reference":"Patient/care-p"' in other


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_order_before_the_end_gives_the_same_bytes_and_ids(dice: random.Random) -> None:
    shuffled = dice.sample(RECORDS, len(RECORDS))
    assert arrive(shuffled, [])[0] == expected()[0]


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.integers(0, len(RECORDS)), max_size=4))
def test_runs_in_between_change_nothing_but_the_ids(dice: random.Random, pauses: list[int]) -> None:
    shuffled = dice.sample(RECORDS, len(RECORDS))
    assert arrive(shuffled, pauses)[1] == expected()[1]


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_records_that_go_and_come_again_end_the_same(dice: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/a.db") as store:
        put(store, *dice.sample(RECORDS, len(RECORDS)))
        settle(store)
        gone = dice.sample(RECORDS, 4)
        for ehr, resource in gone:
            record = Record(ehr, resource["resourceType"], resource["id"])
            store.write(lambda t, r=record: stage.stage(t.connection, Batch(r.ehr, r.type, gone=[r]), t.now))
        settle(store)
        put(store, *gone)
        settle(store)
        assert _texts(store)[1] == expected()[1]
