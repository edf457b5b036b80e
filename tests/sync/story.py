"""Records of several departments put into a store by hand, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_coprod.outcome import OK
from fhir_coprod.store import Query, Store, Version
from fhir_coprod.sync import engine
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.settle import Settled
from fhir_coprod.sync.staging import stage
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.stage import Batch, Validate, holdings
from tests.sync.records import Json
from tests.sync.test_arrival import CONTEXT, put


def goes(store: Store, ehr: str, *references: str) -> None:
    """These records are deleted at their EHR."""
    for reference in references:
        type, _, id = reference.partition("/")
        batch = Batch(ehr, type, gone=[Record(ehr, type, id)])
        store.write(lambda t, batch=batch: stage.stage(t.connection, batch, t.now))


def settled(store: Store, *, context: Context = CONTEXT, validate: Validate = lambda document: OK) -> Settled:
    """Links and writes what is staged, with the EHRs of `test_arrival`."""
    return engine.settle(store, context, validate, lambda: None)


def told(store: Store, *records: tuple[str, Json]) -> Settled:
    """These records arrive and are written."""
    put(store, *records)
    return settled(store)


def ids(store: Store, type: str) -> dict[str, str]:
    """EHR/id there → our id, of the living records."""
    with store.connect() as connection:
        return {f"{h.ehr}/{h.foreign_id}": h.id for h in holdings(connection) if h.type == type}


def shown(store: Store, type: str, record: str) -> Json:
    """Our resource of the record `EHR/id`."""
    return store.read(type, ids(store, type)[record]).data


def questions(store: Store, code: str = "possible-same-patient") -> Sequence[Version]:
    return store.search(Query.parse("Task", [("code", code)], strict=True)).matches
