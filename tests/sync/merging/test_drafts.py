"""The sync drafts resources before its transaction, and does not overwrite what others write meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select, update

from fhir_coprod import jsontext
from fhir_coprod.errors import Conflict
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Outcome
from fhir_coprod.store import Store
from fhir_coprod.store.schema import core
from fhir_coprod.store.schema.sync import crosswalk
from fhir_coprod.sync import alone
from fhir_coprod.sync.merging import publish
from fhir_coprod.sync.merging.publish import View
from fhir_coprod.sync.settle import Settled, Settling
from tests.sync.departments import every, one
from tests.sync.records import patient
from tests.sync.test_arrival import CONTEXT, put

MARRIED = {"maritalStatus": {"text": "married"}}


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


def _fine(document: Document) -> Outcome:
    return OK


def settle(store: Store, meanwhile: Callable[[], object] = lambda: None, most: int = 200) -> Settled:
    """Settles; `meanwhile` happens each time after something was drafted, before it is committed."""

    @contextmanager
    def look() -> Iterator[View]:
        with store.connect() as connection:
            yield View(connection, store.newest)
        meanwhile()

    return Settling(CONTEXT, _fine).in_steps(store.write, look, lambda: None, lambda: most)


def edit(store: Store, id: str, **changes: Any) -> None:
    """As if a client had changed that patient."""
    data = store.read("Patient", id).data
    store.write(lambda t: t.put(jsontext.from_data({**data, **changes}), id))


def waiting(store: Store) -> list[str]:
    with store.connect() as connection:
        rows = connection.execute(select(crosswalk.c.foreign_id).where(crosswalk.c.state > 0))
        return [row[0] for row in rows]


def test_what_a_client_writes_after_the_draft_is_not_overwritten(store: Store) -> None:
    put(store, ("care", patient("p")))
    settle(store)
    id = one(store, "Patient").id
    put(store, ("care", patient("p", **MARRIED)))
    edits = iter(["female"])

    def meanwhile() -> None:
        for gender in edits:
            edit(store, id, gender=gender)

    settle(store, meanwhile)
    found = one(store, "Patient")
    assert (found.version, found.data["gender"]) == (3, "female")
    assert found.data["maritalStatus"] == MARRIED["maritalStatus"]
    assert waiting(store) == []


def test_what_a_client_deletes_after_the_draft_is_made_again_from_what_stands_then(store: Store) -> None:
    put(store, ("care", patient("p")))
    settle(store)
    id = one(store, "Patient").id
    put(store, ("care", patient("p", **MARRIED)))
    settle(store, lambda: waiting(store) and store.write(lambda t: t.delete("Patient", id)))
    found = one(store, "Patient")
    assert [v.method for v in store.history("Patient", id)] == ["update", "delete", "update"]
    assert found.data["maritalStatus"] == MARRIED["maritalStatus"]


def test_it_ends_also_when_somebody_writes_all_the_time(store: Store) -> None:
    put(store, ("care", patient("p")))
    settle(store)
    id = one(store, "Patient").id
    put(store, ("care", patient("p", **MARRIED)))
    times = 0

    def meanwhile() -> None:
        nonlocal times
        times += 1
        assert times < 20, "it never ends"
        edit(store, id, gender=("female", "male")[times % 2])

    settle(store, meanwhile)
    found = one(store, "Patient")
    assert found.data["maritalStatus"] == MARRIED["maritalStatus"]
    assert found.data["gender"] in ("female", "male")
    assert waiting(store) == []


def test_only_what_was_changed_meanwhile_is_drafted_again(store: Store) -> None:
    people = [patient(f"p{n}", birthDate=f"1970-01-{n + 10}") for n in range(5)]
    put(store, *(("care", person) for person in people))
    settle(store)
    ids = sorted(found.id for found in every(store, "Patient"))
    put(store, *(("care", {**person, **MARRIED}) for person in people))
    left: list[int] = []

    def meanwhile() -> None:
        left.append(len(waiting(store)))
        if len(left) == 1:
            edit(store, ids[2], gender="female")

    settle(store, meanwhile)
    assert [number for number in left if number] == [5, 1]
    assert {v.id: v.version for v in every(store, "Patient")} == {id: 2 + (id == ids[2]) for id in ids}


def test_more_than_one_portion_is_written_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "DRAFTED", 5)
    put(store, *(("care", patient(f"p{n}", birthDate=f"1970-01-{n + 10}")) for n in range(12)))
    settle(store, most=2)
    assert len(every(store, "Patient")) == 12
    assert waiting(store) == []


def test_a_draft_is_not_written_once_another_sync_has_taken_over(store: Store) -> None:
    put(store, ("care", patient("p")))

    def meanwhile() -> None:
        store.write(lambda t: t.connection.execute(update(core.lease).values(holder="other/1/x/y")).rowcount)

    with alone.alone(store), pytest.raises(Conflict, match="taken over"):
        settle(store, meanwhile)
    assert every(store, "Patient") == []
    assert waiting(store) == ["p"]


def test_what_a_client_sends_back_unchanged_makes_no_version(store: Store) -> None:
    person = patient("p", "1", managingOrganization={"reference": "Organization/gp"})
    put(store, ("care", person))
    settle(store)
    found = one(store, "Patient")
    written = store.write(lambda t: t.put(jsontext.from_data(found.data), found.id))
    assert written.change == "unchanged"
    turned = jsontext.from_data(dict(reversed(found.data.items())))
    assert store.write(lambda t: t.put(turned, found.id)).change == "unchanged"
    changed = jsontext.from_data({**found.data, "gender": "other"})
    assert store.write(lambda t: t.put(changed, found.id)).change == "updated"


def test_a_reference_written_otherwise_that_leads_to_the_same_makes_no_version(store: Store) -> None:
    for text in ("Organization/gp", "https://care.example/Organization/gp"):
        put(store, ("care", patient("p", "1", managingOrganization={"reference": text})))
        settle(store)
    assert one(store, "Patient").version == 1


def test_what_was_written_before_names_were_given_is_known_again(store: Store) -> None:
    person = patient("p", "1", managingOrganization={"reference": "Organization/gp"})
    put(store, ("care", person))
    settle(store)
    found = one(store, "Patient")
    plain = jsontext.parse(found.body).hash
    assert found.hash != plain
    store.write(lambda t: t.connection.execute(update(core.version).values(hash=plain)).rowcount)
    store.write(lambda t: t.connection.execute(update(crosswalk).values(state=1)).rowcount)
    settle(store)
    assert one(store, "Patient").version == 1
