"""Pulls the records of one EHR page by page, as its plan says, and hands them on in batches.

Types are read in parallel. The pages of one type are read in order, each one while the page before it is
being staged. A type's watermark is written with its last page, in one transaction. So after a kill, the next
run reads that type again from the old watermark, and finds what was already staged unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import ParamSpec, Protocol, TypeVar
from urllib.parse import urlencode

from fhir_coprod import faults
from fhir_coprod.errors import EhrAnswer, EhrError
from fhir_coprod.instants import last_updated, sortable
from fhir_coprod.sync.ehr import paging, remarks
from fhir_coprod.sync.ehr.client import Answer, EhrClient
from fhir_coprod.sync.ehr.paging import Entry, Page
from fhir_coprod.sync.ehr.plan import EhrPlan, TypePlan
from fhir_coprod.sync.ehr.remarks import Remark
from fhir_coprod.sync.staging import stage
from fhir_coprod.sync.staging.feed import State, Success
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.stage import Batch, Known, Received, Refused, Taken, Unchanged

P = ParamSpec("P")
T = TypeVar("T")

TYPES_AT_ONCE = 4
PATIENTS_AT_ONCE = 4
READS_AT_ONCE = 6
RESTARTS = 2
"""How often to begin again when a paging session has expired."""
IDS_AT_ONCE = 50
"""Records to ask for in one request, if the server can search by id: their ids must fit into one URL."""
BARREN_PAGES = 25
"""After so many pages in a row without a new record, we take it that the server's pages never end."""
REFERENCE_ROUNDS = 4
"""How many steps of references to follow (role → organisation → its parent)."""

_GONE = (404, 410)


@dataclass(frozen=True, slots=True)
class Progress:
    """Reported after each page. `total` is the server's count of records, None if it gives none."""

    ehr: str
    type: str
    page: int
    read: int
    total: int | None


class Sink(Protocol):
    """Takes batches, and knows what it took before."""

    def put(self, batch: Batch) -> None: ...
    def failed(self, ehr: str, types: Sequence[str], state: State, reason: str) -> None: ...
    def known(self, ehr: str, type: str, ids: Sequence[str]) -> dict[str, Known]: ...
    def living(self, ehr: str, type: str) -> set[str]: ...
    def missing(self, ehr: str, types: Iterable[str]) -> set[Record]: ...
    def watermark(self, ehr: str, type: str) -> str: ...


class _Expired(Exception):
    """The server has forgotten where we were in its pages."""


@dataclass
class _Seen:
    """What a pull of one type has seen so far."""

    orders: dict[str, tuple[str, int]] = field(default_factory=dict)
    """id → how new the newest record with that id was."""
    deleted: set[str] = field(default_factory=set)
    newest: str = ""
    """The latest meta.lastUpdated."""
    complaints: set[str] = field(default_factory=set)
    """Codes of errors among the matches: the server could not give everything."""
    pages: int = 0
    read: int = 0


@dataclass
class Puller:
    """Reads one EHR."""

    client: EhrClient
    plan: EhrPlan
    sink: Sink
    bases: Bases
    validate: stage.Validate
    full: bool
    worker: Executor
    """Runs all work on records; it has one thread (see `engine._pull`)."""
    progress: Callable[[Progress], None] | None = None
    _incomplete: set[str] = field(default_factory=set)
    """Types that could not be read completely in this run."""

    @property
    def _name(self) -> str:
        return self.plan.ehr

    async def run(self) -> None:
        """Read all types of the plan. If one fails, its feed is marked as failed, and the others go on."""
        limit = asyncio.Semaphore(TYPES_AT_ONCE)

        async def one(plan: TypePlan) -> None:
            async with limit:
                await self._type(plan)

        by_reference = [p for p in self.plan.types if p.find == "by-reference"]
        listed = [p for p in self.plan.types if p.observable and p.find != "by-reference"]
        # Patients first: some servers can list the other types only patient by patient.
        await asyncio.gather(*(one(p) for p in listed if p.type == "Patient"))
        await self._named_patients(by_reference)
        await asyncio.gather(*(one(p) for p in listed if p.type != "Patient"))
        await self._by_reference(by_reference)

    # --- one type: everything, or only what changed -----------------------------------------------

    async def _type(self, plan: TypePlan) -> None:
        try:
            await self._listed(plan)
        except EhrError as error:
            await self._fail(plan.type, "failed", error.message)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with one type, the others go on
            await self._fail(plan.type, "failed", f"{self._name}: {faults.said(error)}")

    async def _listed(self, plan: TypePlan) -> None:
        started = datetime.now(UTC)
        before = await self._threaded(self.sink.watermark, self._name, plan.type)
        incremental = bool(before) and not self.full and plan.find in ("history", "last-updated")
        seen = _Seen()
        held = Batch(self._name, plan.type)
        try:
            async with aclosing(self._pages(plan, before if incremental else "")) as pages:
                async for page, answer in pages:
                    if not seen.pages and answer.time is not None:
                        started = min(started, answer.time)
                    if seen.pages:
                        await self._put(held)
                    held = await self._batch(plan.type, page, seen, accept_older=self.full)
                    self._tell(plan.type, seen, page.total)
        except EhrError as error:
            await self._put(held)
            if incremental and isinstance(error, EhrAnswer) and not seen.pages:
                # The server does not do what its statement promises: read everything instead.
                await self._listed(replace(plan, find="crawl"))
                return
            raise
        suspects = seen.deleted
        if not incremental:
            living = await self._threaded(self.sink.living, self._name, plan.type)
            suspects = living - seen.orders.keys()
        unseen = await self._examine(plan.type, sorted(suspects), held)
        newest = max(seen.newest, before)
        mark = min(newest, sortable(started.isoformat())) if newest else ""
        behind = ""
        if seen.complaints:
            behind = f"the server says that something is missing ({', '.join(sorted(seen.complaints))})"
            mark = before
        elif unseen:
            behind = f"{unseen} records could not be looked at; they are kept"
            mark = before if incremental else mark  # so that the deletions are read again
        elif plan.find == "by-patient" and "Patient" in self._incomplete:
            behind = "not all patients of this EHR are known"
        if behind:
            self._incomplete.add(plan.type)
        held.feed = Success(mark, started, behind)
        await self._put(held)

    async def _pages(self, plan: TypePlan, since: str) -> AsyncGenerator[tuple[Page, Answer], None]:
        """All pages of all searches that make up the type; the next is read while one is worked on."""
        starts = [self._start(plan, query, since) for query in plan.queries]
        if plan.find == "by-patient":
            patients = sorted(await self._threaded(self.sink.living, self._name, "Patient"))
            starts = [
                self._start(plan, ((plan.patient_parameter, id), *query), "")
                for id in patients
                for query in plan.queries
            ]
        queue: asyncio.Queue[tuple[Page, Answer] | BaseException | None] = asyncio.Queue(maxsize=2)
        waiting = iter(starts)

        async def read() -> None:
            for start in waiting:
                async for page in self._unit(plan.type, start):
                    await queue.put(page)

        async def produce() -> None:
            readers = [asyncio.create_task(read()) for _ in range(min(PATIENTS_AT_ONCE, len(starts)))]
            try:
                await asyncio.gather(*readers)
            except Exception as error:  # noqa: BLE001 - raised where the pages are used
                await queue.put(error)
            else:
                await queue.put(None)
            finally:
                for reader in readers:
                    reader.cancel()

        producer = asyncio.create_task(produce())
        try:
            while (page := await queue.get()) is not None:
                if isinstance(page, BaseException):
                    raise page
                yield page
        finally:
            producer.cancel()
            await asyncio.gather(producer, return_exceptions=True)

    def _start(self, plan: TypePlan, query: Iterable[tuple[str, str]], since: str) -> str:
        parameters = [*query, ("_count", str(self.plan.vendor.page_size))]
        path = plan.type
        if since:
            overlap = timedelta(seconds=self.plan.vendor.overlap_seconds)
            text = last_updated(datetime.fromisoformat(since) - overlap)
            if plan.find == "history":
                path, parameters = f"{plan.type}/_history", [("_since", text), *parameters]
            else:
                parameters.insert(0, ("_lastUpdated", f"ge{text}"))
        return f"{self.client.base}/{path}?{urlencode(parameters)}"

    async def _unit(self, type: str, start: str) -> AsyncIterator[tuple[Page, Answer]]:
        """The pages of one search; begins again if the server forgets where we were."""
        for attempt in count():
            try:
                async for page in self._session(type, start):
                    yield page
                return
            except _Expired:
                if attempt == RESTARTS:
                    raise EhrAnswer(
                        f"{self._name}: the server forgets its pages of {type} before they can be "
                        "read; lower page_size in its vendor file."
                    ) from None

    async def _session(self, type: str, start: str) -> AsyncIterator[tuple[Page, Answer]]:
        visited: set[str] = set()
        known: set[str] = set()
        url = start
        number = barren = 0
        while url:
            visited.add(url)
            answer = await self.client.get(url)
            number += 1
            if number > 1 and answer.status in _GONE:
                raise _Expired
            if answer.status != 200 and answer.codes() & set(self.plan.vendor.codes.restart):
                raise _Expired
            only_warns = answer.status != 200 and answer.only_says(self.plan.vendor.codes.ignore)
            if only_warns:
                page, ids = Page((), "", None), set[str]()
            else:
                page, ids = await self._threaded(self._read, type, answer)
            yield page, answer
            ids -= known
            known |= ids
            barren = 0 if ids else barren + 1
            if barren == BARREN_PAGES:
                raise EhrAnswer(
                    f"{self._name}: {BARREN_PAGES} pages of {type} in a row held nothing new and still "
                    "point to a next one; what lies behind cannot be seen."
                )
            try:
                url = paging.follow(self.client.base, url, page.next, type) if page.next else ""
            except ValueError:
                raise EhrAnswer(
                    f"{self._name}: the link to the next page of {type} is no address; what lies behind "
                    "cannot be seen."
                ) from None
            if url in visited:
                raise EhrAnswer(
                    f"{self._name}: the server's pages of {type} lead back to one already read; "
                    "what lies behind cannot be seen."
                )

    def _read(self, type: str, answer: Answer) -> tuple[Page, set[str]]:
        """The page and the ids on it; each record is parsed here, once for all who look at it."""
        try:
            if answer.status != 200 or answer.looks_like_html:
                self.client.require_fhir(answer)
            page = paging.read(answer.body)
            return page, {entry.id for entry in page.entries}
        except paging.NotAPage as problem:
            self.client.require_fhir(answer)
            raise EhrAnswer(f"{self._name}: the search for {type} answered {problem}.") from None

    async def _batch(self, type: str, page: Page, seen: _Seen, *, accept_older: bool) -> Batch:
        """Make one page ready to be staged: parse and validate it in a thread of its own."""
        seen.pages += 1
        entries = list(self._wanted(type, page.entries, seen))
        batch = Batch(self._name, type)
        await self._threaded(self._prepare, batch, entries, accept_older, seen)
        return batch

    def _wanted(self, type: str, entries: Sequence[Entry], seen: _Seen) -> Iterable[Received]:
        for number, entry in enumerate(entries, 1):
            if entry.deleted:
                name, _, id = entry.deleted.partition("/")
                if name == type:
                    seen.deleted.add(id)
            elif (said := _remarks(entry)) is not None:
                ignored = self.plan.vendor.codes.ignore
                grave = [remark for remark in said if remark.is_grave(ignored)]
                seen.complaints |= {code for remark in grave for code in remark.codes or ("no code",)}
            elif entry.mode in ("", "match") and entry.resource:
                position = f"{type}, page {seen.pages}, entry {number}"
                yield Received(entry.resource, position, entry.document)

    def _prepare(self, batch: Batch, received: Sequence[Received], accept_older: bool, seen: _Seen) -> None:
        """Sort the received records into the batch; runs in a thread."""
        known = self.sink.known(batch.ehr, batch.type, [id for id in map(_id, received) if id])
        for one in received:
            result = stage.prepare(
                batch.ehr,
                batch.type,
                one,
                known.get,
                self.bases,
                self.validate,
                accept_older=accept_older,
                keep_invalid=self.client.ehr.on_invalid == "keep",
            )
            if isinstance(result, Refused):
                id, order = result.foreign_id or paging.peek_id(result.raw), ("", 0)
            else:
                id, order = result.record.id, _order(result)
                seen.newest = max(seen.newest, result.updated)
            if id in seen.deleted or (id in seen.orders and order <= seen.orders[id]):
                continue  # some servers show a record on two pages, and a history shows its past
            if id in seen.orders:
                batch.drop(id)
            else:
                seen.read += 1
            if id:
                seen.orders[id] = order
            if isinstance(result, Refused):
                batch.refused.append(result)
            elif isinstance(result, Unchanged):
                batch.unchanged.append(result.record)
            else:
                batch.taken.append(result)

    # --- records read one by one ------------------------------------------------------------------

    async def _examine(self, type: str, ids: Sequence[str], batch: Batch) -> int:
        """Find out whether records that were not listed are gone; returns how many remain unknown."""
        seen = _Seen(pages=1)
        found, unseen = await self._read_each(type, ids, batch)
        await self._threaded(self._prepare, batch, found, self.full, seen)
        return unseen

    async def _read_each(self, type: str, ids: Sequence[str], batch: Batch) -> tuple[list[Received], int]:
        """Read records by id; add deleted ones to the batch, return the others and the number of failures."""
        limit = asyncio.Semaphore(READS_AT_ONCE)
        found: list[Received] = []
        unseen = 0

        async def one(id: str) -> None:
            nonlocal unseen
            async with limit:
                answer = await self.client.get(f"{type}/{id}")
            if answer.status in _GONE:
                batch.gone.append(Record(self._name, type, id))
            elif answer.status == 200 and not answer.looks_like_html:
                entry = Entry(answer.body)
                found.append(Received(entry.resource, f"{type}, read by itself", entry.document))
            else:  # refused, failed, or the answer is not a record
                unseen += 1

        results = await asyncio.gather(*(one(id) for id in ids), return_exceptions=True)
        for result in results:
            if isinstance(result, EhrError):
                unseen += 1
            elif isinstance(result, BaseException):
                raise result
        batch.gone.sort()
        return found, unseen

    async def _named_patients(self, plans: Sequence[TypePlan]) -> None:
        """Read the patients that the settings name, if the server does not list any."""
        if any(plan.type == "Patient" for plan in plans):
            ids = self.client.ehr.patients
            known = await self._threaded(self.sink.living, self._name, "Patient")
            if not ids and not known:
                reason = "the server lists no patients; name those to follow in `patients`"
                await self._fail("Patient", "behind", reason)
            plan = next(plan for plan in plans if plan.type == "Patient")
            await self._take_each(plan, sorted({*ids, *known}))

    async def _by_reference(self, plans: Sequence[TypePlan]) -> None:
        """Read the known records again, then those that others refer to, until no new ones turn up."""
        types = [plan.type for plan in plans]
        tried: set[Record] = set()
        for plan in plans:
            if plan.type != "Patient":
                ids = await self._threaded(self.sink.living, self._name, plan.type)
                tried |= {Record(self._name, plan.type, id) for id in ids}
                await self._take_each(plan, sorted(ids))
        for _ in range(REFERENCE_ROUNDS):
            missing = await self._threaded(self.sink.missing, self._name, types)
            if not missing - tried:
                break
            for plan in plans:
                await self._take_each(plan, sorted(r.id for r in missing - tried if r.type == plan.type))
            tried |= missing
        for type in types:
            if type not in self._incomplete:
                await self._put(Batch(self._name, type, feed=Success("", datetime.now(UTC))))

    async def _take_each(self, plan: TypePlan, ids: Sequence[str]) -> None:
        type = plan.type
        seen = _Seen()
        for start in range(0, len(ids), IDS_AT_ONCE):
            batch = Batch(self._name, type)
            seen.pages += 1
            some = ids[start : start + IDS_AT_ONCE]
            try:
                together = await self._search_ids(plan, some)
                rest = [id for id in some if id not in together]
                found, unseen = await self._read_each(type, rest, batch)
                received = [*together.values(), *found]
                await self._threaded(self._prepare, batch, received, self.full, seen)
            except EhrError as error:
                await self._fail(type, "failed", error.message)
                return
            living = await self._threaded(self.sink.living, self._name, type) if batch.gone else set()
            batch.gone = [record for record in batch.gone if record.id in living]
            await self._put(batch)
            self._tell(type, seen, len(ids))
            if unseen:
                await self._fail(type, "behind", f"{unseen} records could not be read")

    async def _search_ids(self, plan: TypePlan, ids: Sequence[str]) -> dict[str, Received]:
        """Get several records with one request, if the server can search by id.

        The caller reads the missing ones by themselves: only that tells why they are missing.
        """
        if not plan.by_id or len(ids) < 2:
            return {}
        try:
            query = urlencode({"_id": ",".join(ids), "_count": str(len(ids))})
            answer = await self.client.get(f"{plan.type}?{query}")
            entries = paging.read(answer.body).entries if answer.status == 200 else ()
        except (EhrError, paging.NotAPage):
            return {}
        position = f"{plan.type}, searched by id"
        received = {e.id: Received(e.resource, position, e.document) for e in entries if e.resource}
        return {id: received[id] for id in ids if id in received}

    # --- small things -----------------------------------------------------------------------------

    async def _put(self, batch: Batch) -> None:
        await self._threaded(self.sink.put, batch)

    async def _fail(self, type: str, state: State, reason: str) -> None:
        self._incomplete.add(type)
        await self._threaded(self.sink.failed, self._name, [type], state, reason)

    async def _threaded(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run this in the thread that works on records, so that others can be read meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.worker, partial(work, *args, **kwargs))

    def _tell(self, type: str, seen: _Seen, total: int | None) -> None:
        if self.progress is not None:
            self.progress(Progress(self._name, type, seen.pages, seen.read, total))


def _id(received: Received) -> str:
    """The id in the record; "" if it cannot be read."""
    id = received.document.data.get("id") if received.document is not None else ""
    return id if isinstance(id, str) else ""


def _remarks(entry: Entry) -> tuple[Remark, ...] | None:
    """What the entry says if it is an OperationOutcome, else None."""
    if entry.document is not None and entry.document.type != "OperationOutcome":
        return None
    return remarks.read(entry.resource)


def _order(result: Taken | Unchanged) -> tuple[str, int]:
    """A sort key for versions of a record, the newest last: by time, then by version if that is a number."""
    version = result.version
    return result.updated, int(version) if version.isdecimal() and len(version) < 18 else 0
