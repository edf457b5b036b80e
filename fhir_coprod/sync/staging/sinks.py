"""Writes pulled batches into the store page by page or, in a dry run, only keeps them in memory.

A dry run keeps everything in memory until it ends, and sees the store as if its own batches were in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from fhir_coprod.store import Store, Transaction
from fhir_coprod.sync.ehr.plan import EhrPlan
from fhir_coprod.sync.pace import Pace
from fhir_coprod.sync.staging import feed, stage
from fhir_coprod.sync.staging.feed import State
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.stage import Batch, Counts, Known

Told = Callable[[Batch, Counts], None]


TOGETHER = 100
"""Records staged in one transaction, at most."""


class StoreSink:
    """Writes each batch in a few transactions; the last one has the watermark that covers them all."""

    def __init__(self, store: Store, told: Told, pace: Pace) -> None:
        self._store = store
        self._told = told
        self._pace = pace
        self.faults: dict[tuple[str, str], str] = {}
        """(EHR, type) → why it could not be read completely."""

    def planned(self, plan: EhrPlan) -> None:
        """Record the plan of an EHR in its feeds."""
        self._store.write(lambda t: feed.planned(t.connection, plan, t.now))

    def put(self, batch: Batch) -> None:
        self._note(batch)
        for part in batch.parts(min(TOGETHER, self._pace.most())):
            counts = self._pace.write(partial(_staged, part))
            self._told(part, counts)

    def _note(self, batch: Batch) -> None:
        if batch.feed is not None and batch.feed.behind:
            self.faults[batch.ehr, batch.type] = batch.feed.behind

    def failed(self, ehr: str, types: Sequence[str], state: State, reason: str) -> None:
        self.faults.update({(ehr, type): reason for type in types})
        self._store.write(lambda t: feed.failed(t.connection, ehr, types, state, reason, t.now))

    def known(self, ehr: str, type: str, ids: Sequence[str]) -> dict[str, Known]:
        with self._store.connect() as connection:
            return stage.known_records(connection, ehr, type, ids)

    def living(self, ehr: str, type: str) -> set[str]:
        with self._store.connect() as connection:
            return stage.living(connection, ehr, type)

    def missing(self, ehr: str, types: Iterable[str]) -> set[Record]:
        with self._store.connect() as connection:
            return stage.missing_targets(connection, ehr, types)

    def watermark(self, ehr: str, type: str) -> str:
        with self._store.connect() as connection:
            return feed.watermark(connection, ehr, type)


def _staged(batch: Batch, transaction: Transaction) -> Counts:
    return stage.stage(transaction.connection, batch, transaction.now)


class DrySink(StoreSink):
    """Keeps what would be staged, and answers as if it had been staged."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, lambda batch, counts: None, Pace(store))
        self.batches: list[Batch] = []
        self._staged: dict[tuple[str, str], dict[str, Known]] = defaultdict(dict)
        self._targets: set[Record] = set()

    def planned(self, plan: EhrPlan) -> None:
        """Write nothing."""

    def put(self, batch: Batch) -> None:
        self._note(batch)
        self.batches.append(batch)
        own = self._staged[batch.ehr, batch.type]
        for taken in batch.taken:
            own[taken.record.id] = Known(taken.hash, taken.updated, False)
            self._targets |= {Record(*target) for target in taken.targets}
        for record in batch.gone:
            own[record.id] = Known("", "", True)

    def failed(self, ehr: str, types: Sequence[str], state: State, reason: str) -> None:
        self.faults.update({(ehr, type): reason for type in types})

    def known(self, ehr: str, type: str, ids: Sequence[str]) -> dict[str, Known]:
        own = self._staged[ehr, type]
        return {**super().known(ehr, type, ids), **{id: own[id] for id in ids if id in own}}

    def living(self, ehr: str, type: str) -> set[str]:
        ids = super().living(ehr, type)
        for id, known in self._staged[ehr, type].items():
            (ids.discard if known.deleted else ids.add)(id)
        return ids

    def missing(self, ehr: str, types: Iterable[str]) -> set[Record]:
        wanted = list(types)
        staged = {r for r in self._targets if r.ehr == ehr and r.type in wanted}
        missing = super().missing(ehr, wanted) | staged
        return {record for record in missing if record.id not in self._known_ids(record)}

    def _known_ids(self, record: Record) -> dict[str, Known]:
        return self.known(record.ehr, record.type, [record.id])
