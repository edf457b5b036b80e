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
from fhir_coprod.sync.spilled import SpilledSet
from fhir_coprod.sync.staging import feed, lookup, stage, unfinished
from fhir_coprod.sync.staging.feed import Feed, State
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.stage import Batch, Counts, Known
from fhir_coprod.sync.staging.unfinished import Unfinished

Told = Callable[[Batch, Counts], None]


class StoreSink:
    """Writes each batch in a few transactions; the last one has the watermark that covers them all."""

    def __init__(self, store: Store, told: Told, pace: Pace) -> None:
        self._store = store
        self._told = told
        self._pace = pace
        self.faults: dict[tuple[str, str], str] = {}
        """(EHR, type) → why it could not be read completely, or what else a person should mend."""
        self.remarks: dict[tuple[str, str], str] = {}
        """(EHR, type) → what a person should know although everything was read."""
        self.gaps: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
        """(EHR, type) → what the EHR did not give, and why."""
        self.ended: set[tuple[str, str]] = set()
        """(EHR, type) whose pull has come to its end, whatever it saw."""
        self.bases: list[tuple[str, str]] = []
        """(EHR, other base address by which it names itself), as found in this run."""

    def planned(self, plan: EhrPlan) -> None:
        """Record the plan of an EHR in its feeds."""
        self._store.write(lambda t: feed.planned(t.connection, plan, t.now))

    def put(self, batch: Batch) -> None:
        self._note(batch)
        for part in batch.parts(self._pace.most()):
            counts = self._pace.write(partial(_staged, part))
            self._told(part, counts)

    def _note(self, batch: Batch) -> None:
        if batch.feed is not None:
            key = batch.ehr, batch.type
            self.ended.add(key)
            for told, where in (
                (batch.feed.behind or batch.feed.fault, self.faults),
                (batch.feed.remark, self.remarks),
            ):
                if told:
                    where[key] = told
            self.name_gaps(*key, batch.feed.gaps)

    def name_gaps(self, ehr: str, type: str, named: Iterable[tuple[str, str]]) -> None:
        """Note for the report what the EHR did not give: `Type/id` there, and why."""
        gaps = (*self.gaps.get((ehr, type), ()), *named)
        if gaps:
            self.gaps[ehr, type] = gaps

    def failed(self, ehr: str, types: Sequence[str], state: State, reason: str) -> None:
        self.ended.update((ehr, type) for type in types)
        self.faults.update({(ehr, type): reason for type in types})
        self._store.write(lambda t: feed.failed(t.connection, ehr, types, state, reason, t.now))

    def known(self, ehr: str, type: str, ids: Sequence[str]) -> dict[str, Known]:
        with self._store.connect() as connection:
            return stage.known_records(connection, ehr, type, ids)

    def in_part(self, ehr: str, type: str, ids: Sequence[str]) -> set[str]:
        """Those of these records that were taken only in part (SUBSETTED)."""
        with self._store.connect() as connection:
            return lookup.taken_in_part(connection, ehr, type, ids)

    def living(self, ehr: str, type: str) -> SpilledSet:
        with self._store.connect() as connection:
            return stage.living(connection, ehr, type)

    def missing(self, ehr: str, types: Iterable[str]) -> set[Record]:
        with self._store.connect() as connection:
            return lookup.missing_targets(connection, ehr, types)

    def about(self, ehr: str, patients: Sequence[str], type: str) -> set[str]:
        """Living records of the type that refer to any of these patients of the EHR."""
        with self._store.connect() as connection:
            return lookup.about_patients(connection, ehr, type, patients)

    def feed(self, ehr: str, type: str) -> Feed | None:
        with self._store.connect() as connection:
            return feed.read(connection, ehr, type)

    def unfinished(self, ehr: str, type: str) -> Unfinished | None:
        with self._store.connect() as connection:
            return unfinished.read(connection, ehr, type)

    def cut_off(self, ehr: str, type: str, body: bytes) -> None:
        """Remember how far a pull came that could not go on; nothing if the body is empty."""
        self._store.write(
            lambda t: (
                unfinished.save(t.connection, ehr, type, body)
                if body
                else unfinished.forget(t.connection, ehr, type)
            )
        )


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
            own[taken.record.id] = Known(taken.hash, taken.updated, False, taken.version)
            self._targets |= {Record(*target) for target in taken.targets}
        for record in batch.gone:
            own[record.id] = Known("", "", True)

    def failed(self, ehr: str, types: Sequence[str], state: State, reason: str) -> None:
        self.faults.update({(ehr, type): reason for type in types})

    def cut_off(self, ehr: str, type: str, body: bytes) -> None:
        """Write nothing."""

    def unfinished(self, ehr: str, type: str) -> Unfinished | None:
        return None  # show everything, not only the rest

    def known(self, ehr: str, type: str, ids: Sequence[str]) -> dict[str, Known]:
        own = self._staged[ehr, type]
        return {**super().known(ehr, type, ids), **{id: own[id] for id in ids if id in own}}

    def living(self, ehr: str, type: str) -> SpilledSet:
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
