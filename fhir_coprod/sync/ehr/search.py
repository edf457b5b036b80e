"""Reads the pages of searches: several searches at once, the pages of each in order.

A search begins again if the server forgets where we were. A page that fails is passed over where the server
counts its pages, so that it costs only itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from fhir_coprod.errors import EhrAnswer, EhrError, EhrUnreachable
from fhir_coprod.sync.ehr import paging, remarks
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.paging import Entry, Page
from fhir_coprod.sync.ehr.remarks import Remark
from fhir_coprod.sync.ehr.sending import Answer
from fhir_coprod.sync.ehr.tally import Tally
from fhir_coprod.sync.ehr.vendor import Vendor

AT_ONCE = 4
"""Searches that are read at the same time."""
RESTARTS = 2
"""How often to begin again when a paging session has expired."""
BARREN_PAGES = 25
"""After so many pages in a row without a new record, we take it that the server's pages never end."""
PASSED_OVER = 3
"""How many pages in a row may fail before the search does."""
GONE = (404, 410)
REFUSED = (400, 403, 405, 422, 501)
"""What a server answers that does not let this be searched."""
BY_PATIENT = (
    "If it only searches by patient, as many EHRs do: name its `vendor`, or a file of your own with find = "
    '"by-patient", and the `patients` to follow; see docs/sync.md.'
)

_EMPTY = Page((), "", None)


@dataclass(eq=False)
class Unit:
    """One search that is part of a type, and what came of it."""

    start: str
    patient: str = ""
    """The id there of the patient that it is about; "" if it is about all."""
    at: str = ""
    """The page to go on with; "" for the first."""
    tally: Tally = field(default_factory=Tally)
    counted: int | None = None
    """What the server said how many it finds, where its pages do not say it."""
    is_done: bool = False
    """Everything that it led to has been staged."""
    failed: str = ""
    """Why it could not be read to its end, although other searches could."""
    is_unanswered: bool = False
    """It failed because no answer came: another time one may."""
    passed_over: list[str] = field(default_factory=list)
    """Why pages in its middle could not be read."""


class Turned(NamedTuple):
    """One page of a search, and the address of the next one, "" after the last."""

    unit: Unit
    page: Page
    answer: Answer
    next: str


class _Expired(Exception):
    """The server has forgotten where we were in its pages."""


@dataclass(frozen=True)
class Search:
    """Searches one type of one EHR."""

    client: EhrClient
    vendor: Vendor
    type: str
    threaded: Callable[..., Awaitable[Any]]
    """Runs work on records, where it holds nobody up."""
    is_history: bool = False
    hint: str = ""
    """What to say if the server refuses the search."""

    @property
    def _name(self) -> str:
        return self.client.ehr.name

    async def pages(self, units: Sequence[Unit], *, each_for_itself: bool) -> AsyncGenerator[Turned]:
        """All pages of all these searches; the next is read while one is worked on.

        each_for_itself: if one fails, note it in the unit and go on with the others, unless the EHR has
        stopped answering. Otherwise raises EhrError, after the pages that were already asked for: under a
        quota, each answer counts.
        """
        queue: asyncio.Queue[Turned | None] = asyncio.Queue(maxsize=2)
        waiting = iter(units)
        fatal: list[EhrError] = []

        async def read() -> None:
            for unit in waiting:
                try:
                    async for turned in self._unit(unit):
                        await queue.put(turned)
                        if fatal:
                            return
                except EhrError as error:
                    if each_for_itself and self._is_its_own(error):
                        unit.failed, unit.is_unanswered = error.message, isinstance(error, EhrUnreachable)
                    else:
                        fatal.append(error)
                if fatal:
                    return

        async def end() -> None:
            await asyncio.wait(readers, return_when=asyncio.FIRST_EXCEPTION)
            await queue.put(None)

        if not units:
            return
        readers = [asyncio.create_task(read()) for _ in range(min(AT_ONCE, len(units)))]
        tasks = [*readers, asyncio.create_task(end())]
        try:
            while (turned := await queue.get()) is not None:
                yield turned
            for reader in readers:
                if reader.done():
                    reader.result()  # raises if the fault is ours
            if fatal:
                raise fatal[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def count(self, start: str) -> int | None:
        """How many records a search finds, asked for by itself; None if the server does not say."""
        try:
            answer = await self.client.get(f"{start.rpartition('_count=')[0]}_summary=count")
            page = paging.read(answer.body) if answer.status == 200 else _EMPTY
        except (EhrError, paging.NotAPage):
            return None
        return page.total

    async def _unit(self, unit: Unit) -> AsyncIterator[Turned]:
        for attempt in count():
            try:
                async for turned in self._session(unit, unit.at if attempt == 0 else ""):
                    yield turned
                return
            except _Expired:
                unit.tally = Tally()
                if attempt == RESTARTS:
                    raise EhrAnswer(
                        f"{self._name}: the server forgets its pages of {self.type} before they can be "
                        "read; lower page_size in its vendor file."
                    ) from None

    async def _session(self, unit: Unit, begin: str) -> AsyncIterator[Turned]:
        tally = unit.tally
        visited: set[str] = set()
        before, url = "", begin or unit.start
        barren = failing = 0
        while url:
            visited.add(url)
            try:
                page, keys, answer = await self._page(url, is_first=not begin and url == unit.start)
                failing = 0
            except (EhrError, _Expired) as error:
                beyond = paging.counted_on(before, url) if before else ""
                if len(tally.sizes) > 1 and tally.is_met:
                    return  # a link behind the last page, to nothing
                if (
                    isinstance(error, _Expired)
                    or not beyond
                    or failing == PASSED_OVER - 1
                    or self._is_lost(error)
                ):
                    raise
                failing += 1
                unit.passed_over.append(error.message)
                before, url = url, beyond
                continue
            try:
                following = paging.follow(self.client.base, url, page.next, self.type) if page.next else ""
                wrong = "lead back to one already read" if following in visited else ""
            except ValueError:
                following, wrong = "", "name a next one by something that is no address"
            is_new = tally.turn(keys, page.total, has_next=bool(following))
            barren = 0 if is_new else barren + 1
            if barren and tally.is_met:
                following = wrong = ""  # the server adds a link to each page, also to the last
                tally.has_next = False
            yield Turned(unit, page, answer, url if wrong else following)
            if barren == BARREN_PAGES and following:
                raise EhrAnswer(
                    f"{self._name}: {BARREN_PAGES} pages of {self.type} in a row held nothing new and still "
                    "point to a next one; what lies behind cannot be seen."
                )
            if wrong:
                raise EhrAnswer(
                    f"{self._name}: the server's pages of {self.type} {wrong}; what lies behind cannot be "
                    "seen."
                )
            before, url = url, following

    def _is_its_own(self, error: EhrError) -> bool:
        """Whether only this search failed, so that others may be answered."""
        return isinstance(error, EhrAnswer | EhrUnreachable) and not self.client.is_left_alone

    def _is_lost(self, error: EhrError) -> bool:
        """Whether the EHR has stopped answering, so that its next page cannot be expected either."""
        return not isinstance(error, EhrAnswer) and (
            self.client.is_left_alone or not isinstance(error, EhrUnreachable)
        )

    async def _page(self, url: str, *, is_first: bool) -> tuple[Page, list[str], Answer]:
        answer = await self.client.get(url)
        codes = self.vendor.codes
        if not is_first and answer.status in GONE:
            raise _Expired
        if answer.status != 200 and answer.codes() & set(codes.restart):
            raise _Expired
        if answer.status == 204 or (answer.status != 200 and answer.only_says(codes.ignore)):
            return _EMPTY, [], answer
        page, keys = await self.threaded(self._read, answer)
        return page, keys, answer

    def _read(self, answer: Answer) -> tuple[Page, list[str]]:
        """The page, and what is on it; each record is parsed here, once for all who look at it."""
        try:
            if answer.status != 200 or answer.markup:
                self.client.require_fhir(answer)
            page = paging.read(answer.body)
            return page, [self._key(entry) for entry in page.entries if entry.is_record]
        except EhrAnswer as error:
            hint = self.hint if answer.status in REFUSED else ""
            raise EhrAnswer(f"{error.message} {hint}".strip()) from None
        except paging.NotAPage as problem:
            self.client.require_fhir(answer)
            raise EhrAnswer(f"{self._name}: the search for {self.type} answered {problem}.") from None

    def _key(self, entry: Entry) -> str:
        """What tells this entry from others of its search."""
        if entry.deleted:
            return f"deleted {entry.deleted}"
        if not self.is_history or entry.document is None:
            return entry.id
        meta = entry.document.data.get("meta")
        version = meta.get("versionId", "") if isinstance(meta, dict) else ""
        return f"{entry.id} {version}"


def said(entry: Entry) -> tuple[Remark, ...] | None:
    """What the entry says if it is an OperationOutcome, else None."""
    if entry.document is not None and entry.document.type != "OperationOutcome":
        return None
    return remarks.read(entry.resource)
