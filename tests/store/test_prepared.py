"""Content that was made ready before its transaction."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.instants import last_updated
from fhir_coprod.store import Query, Store
from fhir_coprod.store.prepared import Prepared, named, prepare

TASK = {"resourceType": "Task", "status": "requested", "intent": "order", "description": "Ring her"}
META = {"source": "https://ehr.example/Task/1"}


def ready(meta: Any = META, *, name: str = "", **changes: Any) -> Prepared:
    return prepare(jsontext.from_data({**TASK, **changes}), "t", meta, hash=name)


def put(store: Store, prepared: Prepared) -> str:
    return store.write(lambda t: t.put_prepared(prepared)).change


def test_it_reads_and_is_found_as_if_it_had_been_put(store: Store) -> None:
    store.write(lambda t: t.put(jsontext.from_data(TASK), "other", meta=META))
    assert put(store, ready()) == "created"
    mine, other = store.read("Task", "t"), store.read("Task", "other")
    stamp = mine.data["meta"].pop("lastUpdated")
    assert stamp == last_updated(mine.updated)
    other.data["meta"].pop("lastUpdated")
    assert mine.data == {**other.data, "id": "t"}
    assert mine.body.startswith(b'{"resourceType":"Task","id":"t","meta":{"versionId":"1",')
    assert mine.hash == other.hash
    query = [("status", "requested"), ("_source", META["source"])]
    assert {found.id for found in store.search(Query.parse("Task", query)).matches} == {"t", "other"}
    assert store.received("Task", "t", 1) == jsontext.encode(TASK)


def test_the_same_again_makes_no_version_and_more_does(store: Store) -> None:
    assert put(store, ready()) == "created"
    assert put(store, ready()) == "unchanged"
    assert put(store, ready({**META, "tag": [{"code": "x"}]})) == "updated"
    assert put(store, ready(META, status="accepted")) == "updated"
    store.write(lambda t: t.delete("Task", "t"))
    assert put(store, ready(META, status="accepted")) == "created"
    assert store.read("Task", "t").version == 5


@pytest.mark.parametrize("first", ["", "one", "two"])
def test_what_it_is_called_does_not_make_a_version(store: Store, first: str) -> None:
    names = {"": "", "one": named("abc", {"Patient/1": "Patient/x"}), "two": named("abc", {})}
    assert len(set(names.values())) == 3
    assert put(store, ready(name=names[first])) == "created"
    for name in names.values():
        assert put(store, ready(name=name)) == "unchanged"
    assert put(store, ready(name=named("abd", {}), status="accepted")) == "updated"


def test_the_newest_of_many_are_read_at_once(store: Store) -> None:
    store.write(lambda t: [t.put(jsontext.from_data(TASK), id) for id in ("a", "b", "c")])
    store.write(lambda t: t.put(jsontext.from_data({**TASK, "status": "accepted"}), "b"))
    store.write(lambda t: t.delete("Task", "c"))
    expected = {"a": (1, False), "b": (2, False), "c": (2, True)}
    for newest in (store.newest, lambda *asked: store.write(lambda t: t.newest(*asked))):
        found = newest("Task", ["a", "b", "c", "never"])
        assert {id: (version.version, version.deleted) for id, version in found.items()} == expected
    assert store.newest("Task", []) == {}
