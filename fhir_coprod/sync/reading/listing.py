"""Reads one type that the EHR lists: everything, or what has changed, and tells whether that was all of it.

Whole must be known, not hoped. A listing is whole if the EHR counts no more records than came, reported no
error among them, and nothing moved between its pages. Where that is in doubt we look twice; what then stays
in doubt makes the type `behind`, and nothing is claimed from what is absent.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from fhir_coprod.errors import EhrAnswer, EhrError
from fhir_coprod.instants import last_updated, sortable
from fhir_coprod.sync.ehr.paging import Entry
from fhir_coprod.sync.ehr.plan import TypePlan
from fhir_coprod.sync.ehr.search import BY_PATIENT, Search, Turned, Unit, said
from fhir_coprod.sync.ehr.tally import Tally
from fhir_coprod.sync.reading import singly
from fhir_coprod.sync.reading.shared import Reading, complaint, many
from fhir_coprod.sync.reading.taking import Seen, Taking
from fhir_coprod.sync.spilled import SpilledSet
from fhir_coprod.sync.staging.feed import Feed, Success
from fhir_coprod.sync.staging.stage import Batch, Received
from fhir_coprod.sync.staging.unfinished import Unfinished

HABIT = 2
"""After so many full looks in a row that saw fewer records than the EHR counts, that is how it counts."""
RESUMED_FOR = timedelta(hours=24)
"""A pull that was cut off longer ago begins again."""
SAVED_EVERY = 5.0
"""Seconds between two notes of how far a pull has come, in case it is killed."""
TOGETHER = 400
"""With so many records, pages are staged together: one transaction costs less than four."""
HELD = 1.0
"""Seconds after which pages are staged, however few records they have."""


async def read(reading: Reading, plan: TypePlan) -> None:
    """Read all of the type, or what is new. Raises EhrError if it has to be given up for this run."""
    before = await reading.threaded(reading.sink.feed, reading.name, plan.type)
    listing = Listing(reading, plan, before)
    try:
        await listing.run()
    except EhrAnswer:
        if not listing.is_incremental or listing.seen.pages:
            raise
        # The server does not do what its statement promises: read everything instead.
        await Listing(reading, replace(plan, find="crawl"), before).run()
    if listing.is_short:
        # It counts more changes than it shows. What is missing is found in a look at everything.
        await Listing(reading, plan, before, again=True).run()


@dataclass
class Listing:
    """One pull of one type.

    before: the feed as earlier runs left it
    again:  list everything, since the changes alone were not whole
    """

    reading: Reading
    plan: TypePlan
    before: Feed | None
    again: bool = False
    seen: Seen = field(default_factory=Seen)
    units: list[Unit] = field(default_factory=list)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it began, by the earlier of our clock and the EHR's."""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it began, by our clock."""
    is_resumed: bool = False
    accepts_older: bool = False
    is_short: bool = False
    """It showed fewer changes than the EHR counts, so that everything has to be listed."""
    _gaps: dict[str, str] = field(default_factory=dict)
    _kept_in_part: int = 0
    _taken_in_part: int = 0
    _unseen: list[tuple[str, str]] = field(default_factory=list)
    _saved: float = 0.0

    def __post_init__(self) -> None:
        self.is_incremental = (
            bool(self._mark) and self.plan.find in ("history", "last-updated") and not self._is_full_due()
        )
        self.accepts_older = self.reading.wishes.full

    @property
    def _mark(self) -> str:
        return self.before.watermark if self.before is not None else ""

    @property
    def _is_first(self) -> bool:
        return self.before is None or self.before.first_success is None

    def _is_full_due(self) -> bool:
        """Whether everything is to be listed: somebody asked for it, the last such look did not see
        everything, or it is long ago."""
        last = self.before.last_full if self.before is not None else None
        return self.again or self.reading.wishes.is_full_due(last, self.started)

    @property
    def _each_for_itself(self) -> bool:
        return self.plan.find == "by-patient"

    @property
    def _short_looks(self) -> int:
        return self.before.short_looks if self.before is not None else 0

    @property
    def _page_size(self) -> int:
        return self.reading.plan.vendor.page_size

    def _missing(self, unit: Unit) -> int:
        """How many records one search should have shown as well."""
        return unit.tally.missing if self.reading.plan.vendor.trust_totals else 0

    # --- the course of it -------------------------------------------------------------------------

    async def run(self) -> None:
        type, reading = self.plan.type, self.reading
        self.units = await self._searches()
        await self._take_up()
        held = Batch(reading.name, type)
        try:
            held = await self._look([unit for unit in self.units if not unit.is_done], held)
            living = await self.reading.threaded(reading.sink.living, reading.name, type)
            if self.is_incremental:
                self.is_short = self._short_looks < HABIT and any(map(self._missing, self.units))
            elif self.seen.looks == 1 and await self._is_doubtful(living):
                held = await self._look_again(held)
        except EhrError as error:
            if await self._cut_off(error):
                raise error.__class__(
                    f"{error.message} The next sync goes on where this one was cut off."
                ) from None
            raise
        if self.is_short:
            await self._put(held, ())
        else:
            await self._settle(held, living)

    async def _searches(self) -> list[Unit]:
        queries = self.plan.queries
        if not self._each_for_itself:
            return [Unit(self._start(query)) for query in queries]
        patients = await self.reading.threaded(self.reading.sink.living, self.reading.name, "Patient")
        return [
            Unit(self._start(((self.plan.patient_parameter, id), *query)), id)
            for id in sorted(patients)
            for query in queries
        ]

    def _start(self, query: Iterable[tuple[str, str]]) -> str:
        reading = self.reading
        path, vendor = self.plan.type, reading.plan.vendor
        parameters = [*query, *vendor.parameters.items(), ("_count", str(self._page_size))]
        if self.is_incremental:
            text = last_updated(datetime.fromisoformat(self._mark) - reading.overlap)
            if self.plan.find == "history":
                path, parameters = f"{path}/_history", [("_since", text), *query, parameters[-1]]
            else:
                parameters.insert(0, ("_lastUpdated", f"ge{text}"))
        return f"{reading.client.base}/{path}?{urlencode(parameters)}"

    async def _look(self, units: Sequence[Unit], held: Batch) -> Batch:
        """Take all pages; returns the last batch, which waits for the verdict on the whole."""
        reading = self.reading
        waiting: list[Turned] = []
        began = time.monotonic()
        try:
            async with aclosing(self._search().pages(units, each_for_itself=self._each_for_itself)) as pages:
                async for turned in pages:
                    if not self.seen.pages and turned.answer.time is not None and not self.is_resumed:
                        self.started = min(self.started, turned.answer.time)
                    if held.size >= TOGETHER or time.monotonic() - began > HELD:
                        await self._put(held, waiting)
                        held, waiting, began = Batch(reading.name, self.plan.type), [], time.monotonic()
                    reading.note_base(turned.page.entries)
                    await self._take(turned, held)
                    waiting.append(turned)
                    reading.tell(self.plan.type, self.seen, turned.page.total)
        except EhrError:
            await self._put(held, waiting)
            raise
        self._note_staged(waiting)
        if self._each_for_itself and units and all(unit.failed for unit in self.units):
            await self._put(held, ())
            raise EhrAnswer(units[0].failed)
        return held

    def _search(self) -> Search:
        plan, reading = self.plan, self.reading
        is_history = self.is_incremental and plan.find == "history"
        hint = "" if reading.plan.vendor_name or self._each_for_itself else BY_PATIENT
        return reading.search(plan.type, is_history=is_history, hint=hint)

    async def _take(self, turned: Turned, batch: Batch) -> None:
        """Make one page ready to be staged: parse and validate it in a thread of its own."""
        self.seen.pages += 1
        complaints = set(self.seen.complaints)
        entries = list(self._wanted(turned.page.entries))
        if self._each_for_itself and self.seen.complaints - complaints:  # it concerns that patient only
            turned.unit.failed = complaint(self.seen.complaints - complaints)
            self.seen.complaints = complaints
        await self.reading.threaded(self._taking().sort, entries, batch, self.seen, since=self._since_text)

    @property
    def _since_text(self) -> str:
        return sortable(self.started.isoformat())

    def _taking(self) -> Taking:
        return self.reading.taking(
            self.plan, is_listing=not self.is_incremental, accepts_older=self.accepts_older
        )

    def _wanted(self, entries: Sequence[Entry]) -> Iterable[Received]:
        type, seen = self.plan.type, self.seen
        for number, entry in enumerate(entries, 1):
            if entry.deleted:
                name, _, id = entry.deleted.partition("/")
                if name == type:
                    seen.deleted.add(id)
            elif (remarks := said(entry)) is not None:
                ignored = self.reading.plan.vendor.codes.ignore
                grave = [remark for remark in remarks if remark.is_grave(ignored)]
                seen.complaints |= {code for remark in grave for code in remark.codes or ("no code",)}
            elif entry.mode in ("", "match") and entry.resource:
                position = f"{type}, page {seen.pages}, entry {number}"
                yield Received(entry.resource, position, entry.document)

    # --- looking twice ----------------------------------------------------------------------------

    async def _is_doubtful(self, living: SpilledSet) -> bool:
        """Whether another look may show more than this one."""
        is_thorough = self._is_first or self.plan.find in ("history", "last-updated")
        for unit in self.units:
            tally = unit.tally
            if unit.failed or not tally.sizes:
                continue
            is_full = tally.sizes[-1] >= self._page_size and not tally.has_next
            is_long = is_thorough and len(tally.sizes) > 1
            if tally.total is None and not unit.patient and (is_full or is_long):
                unit.counted = await self._search().count(unit.start)
                tally.totals = [] if unit.counted is None else [unit.counted]
            if is_thorough and (tally.has_moved or (self.is_resumed and not tally.is_met)):
                return True
            if is_long and tally.total is None:
                return True
            if not self._missing(unit) or self._short_looks >= HABIT:
                continue
            unknown = sum(key not in living for key in tally.keys)
            if unit.patient or len(living) + unknown < (tally.total or 0):
                return True
        may = self.reading.wishes.may_vanish
        return not self._each_for_itself and not may(len(living - self.seen.orders.keys()), len(living))

    async def _look_again(self, held: Batch) -> Batch:
        again = self.units
        if self._each_for_itself:
            again = [u for u in again if not u.failed and (self._missing(u) or u.tally.has_moved)]
        await self._put(held, ())
        for unit in again:
            unit.at, unit.is_done, unit.passed_over, unit.tally = "", False, [], Tally()
        self.seen.looks += 1
        held = await self._look(again, Batch(self.reading.name, self.plan.type))
        for unit in again:
            if unit.counted is not None and unit.tally.total is None:
                unit.tally.totals = [unit.counted]
        return held

    # --- the verdict ------------------------------------------------------------------------------

    async def _settle(self, held: Batch, living: SpilledSet) -> None:
        """Delete what is gone, say what could not be seen, and stage it with the last batch."""
        reading, seen, plan = self.reading, self.seen, self.plan
        self._kept_in_part, self._taken_in_part = await singly.complete(reading, plan, seen, held)
        if self._each_for_itself:
            self._gaps = dict(self._patients_missed())
        suspects = await self._suspects(living)
        vanished = singly.vanished(reading, len(suspects & living), len(living))
        if not vanished:
            found = await singly.read_each(reading, plan.type, sorted(suspects))
            found.into(held)
            self._unseen = found.unseen
            await self.reading.threaded(self._taking().sort, found.received, held, Seen(pages=1))
            living -= {record.id for record in found.gone}
        held.feed = self._verdict(vanished, living)
        if held.feed.behind:
            reading.incomplete.add(plan.type)
        await reading.put(held)

    def _patients_missed(self) -> Iterable[tuple[str, str]]:
        """Patients for whom not everything came, and why."""
        for unit in self.units:
            if reason := unit.failed or "".join(unit.passed_over[:1]):
                yield unit.patient, self.reading.bare(reason)
            elif self._missing(unit) and self._short_looks + 1 < HABIT:
                yield unit.patient, _counts(unit.tally.total or 0, unit.tally.came)

    async def _suspects(self, living: SpilledSet) -> set[str]:
        """Living records that were not shown, although they should have been, or were shown as deleted."""
        if self.is_incremental:
            return set(self.seen.deleted)
        unseen = set(living - self.seen.orders.keys())
        if self._gaps and unseen:
            reading = self.reading
            unseen -= await self.reading.threaded(
                reading.sink.about, reading.name, sorted(self._gaps), self.plan.type
            )
        return unseen

    def _verdict(self, vanished: str, living: SpilledSet) -> Success:
        before = self._mark
        newest = max(self.seen.newest, before)
        mark = min(newest, self._since_text) if newest else ""
        looks, remark = self._short_looks, ""
        if self.seen.complaints:
            behind = complaint(self.seen.complaints)
        elif vanished:
            behind = vanished
        elif not self._each_for_itself and (over := [why for unit in self.units for why in unit.passed_over]):
            behind = f"{many(len(over), 'page')} could not be read ({self.reading.bare(over[0])})"
        else:
            behind, looks, remark = self._counted(living)
        if behind:
            mark = before
        elif self._kept_in_part:
            kept = many(self._kept_in_part, "record")
            behind = f"{kept} came only in part (SUBSETTED), also by themselves; what was whole is kept"
        elif self._unseen:
            behind = f"{many(len(self._unseen), 'record')} could not be looked at; what we have is kept"
            mark = before if self.is_incremental else mark  # so that the deletions are read again
        elif self._each_for_itself and "Patient" in self.reading.incomplete:
            behind = "not all patients of this EHR are known"
        if self._taken_in_part:
            part = f"{many(self._taken_in_part, 'record')} came only in part (SUBSETTED)"
            remark = "; ".join(filter(None, (remark, part)))
        patients = many(len({unit.patient for unit in self.units}), "patient")
        return Success(
            mark,
            self.started,
            behind,
            remark,
            f"{len(self._gaps)} of {patients} could not be asked for everything" if self._gaps else "",
            is_full=not self.is_incremental,
            began=self.began,
            short_looks=looks,
            gaps=(*((f"Patient/{id}", why) for id, why in sorted(self._gaps.items())), *self._unseen),
        )

    def _counted(self, living: SpilledSet) -> tuple[str, int, str]:
        """What is wrong by the EHR's own count, for how many full looks it has been, and what to remark."""
        looks = self._short_looks
        if self.is_incremental:
            return "", looks, ""
        if len(self.units) == 1 and not self._each_for_itself and self._missing(self.units[0]):
            self.units[0].tally.keys |= living  # what it shows by id has come, too
        short = [unit for unit in self.units if self._missing(unit)]
        if not short:
            if self.seen.late and any(unit.tally.has_moved for unit in self.units):
                return "records come and go while its pages are read, in two looks in a row", looks, ""
            return "", HABIT if self.again else 0, ""
        counts = _counts(sum(unit.tally.total or 0 for unit in short), sum(unit.tally.came for unit in short))
        if not self._each_for_itself and any(unit.tally.lacks_next(self._page_size) for unit in short):
            return f"{counts}; its last page is full and names no next one", 0, ""
        if looks + 1 >= HABIT:
            return "", looks + 1, f"{counts}, as before: it counts in its own way"
        return "" if self._each_for_itself else counts, looks + 1, ""

    # --- cut off, and taken up again --------------------------------------------------------------

    async def _put(self, batch: Batch, pages: Sequence[Turned]) -> None:
        """Stage a batch, and note which pages it was."""
        self._note_staged(pages)
        if self._is_first and time.monotonic() - self._saved > SAVED_EVERY:
            self._saved = time.monotonic()
            batch.unfinished = self._so_far(None).encode()
        await self.reading.put(batch)

    def _note_staged(self, pages: Sequence[Turned]) -> None:
        for turned in pages:
            unit = turned.unit
            unit.at, unit.is_done = turned.next, not turned.next
            if unit.patient and unit.is_done and not unit.tally.missing and not unit.tally.has_moved:
                unit.tally = Tally()  # nothing is in doubt, and there are many

    def _so_far(self, seen: tuple[str, ...] | None) -> Unfinished:
        first = self.units[0] if len(self.units) == 1 else Unit("")
        return Unfinished(
            self.started.isoformat(),
            self._mark if self.is_incremental else "",
            self.accepts_older,
            tuple(unit.start for unit in self.units if unit.is_done or self._is_over(unit)),
            first.at,
            first.tally.came,
            self.seen.looks,
            {unit.patient: unit.failed for unit in self.units if self._is_over(unit)},
            seen,
        )

    def _is_over(self, unit: Unit) -> bool:
        """Whether it failed in a way that asking once more in this round would not mend."""
        return bool(unit.failed) and not unit.is_unanswered

    async def _cut_off(self, error: EhrError) -> bool:
        """Remember how far we came, so that the next run goes on there; returns whether it can."""
        body = b""
        if not isinstance(error, EhrAnswer) and (self.seen.pages or self.is_resumed):
            seen = None if self._is_first else tuple(sorted(self.seen.orders))
            body = self._so_far(seen).encode()
        await self.reading.threaded(self.reading.sink.cut_off, self.reading.name, self.plan.type, body)
        return bool(body)

    async def _take_up(self) -> None:
        """Go on where an earlier run was cut off, if it read the same."""
        reading, type = self.reading, self.plan.type
        cut = await self.reading.threaded(reading.sink.unfinished, reading.name, type)
        if cut is None or cut.since != (self._mark if self.is_incremental else ""):
            return
        began = datetime.fromisoformat(cut.began)
        if abs(self.started - began) > RESUMED_FOR or (reading.wishes.full and not cut.accepts_older):
            return
        ids: Collection[str] | None = cut.seen
        if ids is None:
            ids = await self.reading.threaded(reading.sink.living, reading.name, type)
        self.started = self.began = began
        self.is_resumed, self.accepts_older = True, cut.accepts_older
        self.seen.orders.update((id, None) for id in ids)
        self.seen.looks = cut.looks
        done = set(cut.done)
        for unit in self.units:
            unit.is_done = unit.start in done
            if unit.patient in cut.gaps and unit.is_done:
                unit.failed = cut.gaps[unit.patient]
        if cut.at and len(self.units) == 1:
            self.units[0].at = cut.at
            self.units[0].tally = Tally(earlier=cut.came) if self.is_incremental else Tally(SpilledSet(ids))


def _counts(total: int, came: int) -> str:
    return f"the server counts {many(total, 'record')}, and {came} came"
