"""What the pulls of all types of one EHR have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ParamSpec, TypeVar

from fhir_coprod.sync.ehr import paging
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.paging import Entry
from fhir_coprod.sync.ehr.plan import EhrPlan, TypePlan
from fhir_coprod.sync.ehr.search import Search
from fhir_coprod.sync.reading.taking import Seen, Taking
from fhir_coprod.sync.staging import stage
from fhir_coprod.sync.staging.exports import Exports
from fhir_coprod.sync.staging.feed import State
from fhir_coprod.sync.staging.references import Bases
from fhir_coprod.sync.staging.sinks import StoreSink
from fhir_coprod.sync.staging.stage import Batch

P = ParamSpec("P")
T = TypeVar("T")

FEWEST_DELETED = 50
"""So many records of one type may vanish at once whatever their share is."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Reported after each page. `total` is the server's count of records, None if it gives none.

    note: what the server says while we wait for an export; by then `type` is no type
    """

    ehr: str
    type: str
    page: int
    read: int
    total: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a run is asked to do.

    full:              list everything, and take older records too
    full_after:        list a type again as a whole when it was last done so long ago; None: never
    max_deleted_share: of the records of one type, the share that may vanish at once
    accepts_deletions: a person says that what has vanished is really gone
    bulk_wait:         how long to wait for exports
    bulk_job:          how long an export may take until nobody waits for it any more
    """

    full: bool = False
    full_after: timedelta | None = timedelta(hours=24)
    max_deleted_share: float = 0.1
    accepts_deletions: bool = False
    bulk_wait: timedelta = timedelta(minutes=10)
    bulk_job: timedelta = timedelta(hours=24)

    def is_full_due(self, last: datetime | None, at: datetime) -> bool:
        """Whether everything is to be read: somebody asks for it, it never was, or it is long ago."""
        if self.full or last is None:
            return True
        if self.full_after is None:
            return False
        # In the future: our clock has been set back since, and nobody knows how long ago it was.
        return not timedelta() <= at - last < self.full_after

    def may_vanish(self, vanished: int, living: int) -> bool:
        """Whether so many of the living records may be deleted without a person saying so."""
        allowed = max(FEWEST_DELETED, int(self.max_deleted_share * living))
        return self.accepts_deletions or vanished <= allowed


@dataclass
class Reading:
    """One run that reads one EHR."""

    client: EhrClient
    plan: EhrPlan
    sink: StoreSink
    bases: Bases
    validate: stage.Validate
    wishes: Wishes
    worker: Executor
    """Runs all work on records; it has one thread (see `engine._pull`)."""
    progress: Callable[[Progress], None] | None = None
    incomplete: set[str] = field(default_factory=set)
    """Types that could not be read completely in this run."""
    exports: Exports | None = None
    """Where bulk exports are kept; None in a dry run, which begins none."""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def name(self) -> str:
        return self.plan.ehr

    @property
    def overlap(self) -> timedelta:
        """How far a search for changes reaches back behind what was read."""
        own = self.client.ehr.overlap_seconds
        return timedelta(seconds=self.plan.vendor.overlap_seconds if own is None else own)

    def bare(self, reason: str) -> str:
        """A sentence about the EHR as a part of another one: without its name and the full stop."""
        return reason.removeprefix(f"{self.name}: ").rstrip(".")

    def taking(self, plan: TypePlan, *, is_listing: bool, accepts_older: bool) -> Taking:
        """How records of the type are taken; the bases are those known so far."""
        return Taking(
            self.name,
            plan.type,
            self.sink,
            self.bases,
            self.validate,
            accept_older=accepts_older,
            by_content=is_listing or plan.find == "history",
            in_history=plan.find == "history" and not is_listing,
            keep_invalid=self.client.ehr.on_invalid == "keep",
        )

    def note_base(self, entries: Iterable[Entry]) -> None:
        """Learn the address by which the server calls itself, if it is another: a proxy, an inner name."""
        base = paging.base_of(entries, self.client.base)
        if base and not self.bases.is_known(base):
            self.bases = self.bases.knowing([(self.name, base)])
            self.sink.bases.append((self.name, base))

    async def threaded(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run this in the thread that works on records, so that others can be read meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.worker, partial(work, *args, **kwargs))

    def search(self, type: str, *, is_history: bool = False, hint: str = "") -> Search:
        """Searches the type; the hint is for a server that refuses to be searched so."""
        return Search(self.client, self.plan.vendor, type, self.threaded, is_history, hint)

    async def put(self, batch: Batch) -> None:
        await self.threaded(self.sink.put, batch)

    async def fail(self, type: str, state: State, reason: str) -> None:
        self.incomplete.add(type)
        await self.threaded(self.sink.failed, self.name, [type], state, reason)

    def mend(self, type: str, fault: str, named: Sequence[tuple[str, str]]) -> None:
        """Tell a person what to mend, although it hides nothing else; ids only where they are not logged."""
        self.sink.faults.setdefault((self.name, type), fault)
        self.sink.name_gaps(self.name, type, named)

    def remark(self, type: str, words: str) -> None:
        """Tell a person what is good to know of a type."""
        before = self.sink.remarks.get((self.name, type), "")
        self.sink.remarks[self.name, type] = f"{before}; {words}" if before else words

    def tell_export(self, looks: int, note: str) -> None:
        """Report how far an export is, in the server's words."""
        if self.progress is not None:
            self.progress(Progress(self.name, "export", looks, 0, None, note))

    def tell(self, type: str, seen: Seen, total: int | None) -> None:
        if self.progress is not None:
            self.progress(Progress(self.name, type, seen.pages, seen.read, total))


def complaint(codes: Iterable[str]) -> str:
    """What to say of a type if the EHR reported these errors beside its records."""
    return f"the server says that something is missing ({', '.join(sorted(codes))})"


def many(number: int, noun: str) -> str:
    """1 record, 2 records."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
