"""Reads the records of one type from the files of a bulk export, and tells whether that was all of them.

A whole export lists everything, so what is not in it is looked at by id, and deleted if it is gone, as after
any other listing. An export of changes names what was deleted. Nothing is claimed from what is absent where
the server says that something is missing, where a file has fewer records than it should, or where one cannot
be read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from fhir_coprod import jsontext
from fhir_coprod.errors import NotJson
from fhir_coprod.files import reading as lines
from fhir_coprod.files.finding import Found
from fhir_coprod.instants import sortable
from fhir_coprod.outcome import Outcome
from fhir_coprod.sync.ehr import export, remarks
from fhir_coprod.sync.ehr.plan import TypePlan
from fhir_coprod.sync.ehr.remarks import Remark
from fhir_coprod.sync.reading import singly
from fhir_coprod.sync.reading.shared import Reading, complaint, many
from fhir_coprod.sync.reading.taking import Seen, Taking
from fhir_coprod.sync.spilled import SpilledSet
from fhir_coprod.sync.staging.exports import Held, Job
from fhir_coprod.sync.staging.feed import Feed, Success
from fhir_coprod.sync.staging.letters import Refused
from fhir_coprod.sync.staging.stage import Batch, Received

AT_ONCE = 200
"""Records in one batch, from however many files."""
BYTES_AT_ONCE = 4_000_000
"""Bytes in one batch; one that is longer is a batch of its own."""


@dataclass
class Told:
    """What the files of an export say besides its records.

    missing:   type → codes of errors: the server could not give everything; "" is about all types
    remarks:   how many warnings there are
    deleted:   type → ids of deleted records
    unread:    whether some of this could not be read
    """

    missing: dict[str, set[str]] = field(default_factory=dict)
    remarks: int = 0
    deleted: dict[str, set[str]] = field(default_factory=dict)
    unread: bool = False

    def of(self, type: str) -> set[str]:
        """Codes of the errors that concern the type."""
        return self.missing.get(type, set()) | self.missing.get("", set())


def told(held: Sequence[Held], job: Job, ignored: Sequence[str]) -> Told:
    """Read the files that are about several types. One that is not here is unread."""
    found = Told()
    for one in held:
        if not one.is_here:
            found.unread = True
            continue
        for line in _lines(one):
            if line.wrong is not None:
                found.unread = True
            elif one.file.kind == "outcome":
                _outcome(line.raw, found, job, ignored)
            else:
                _deleted(line.raw, found)
    return found


def _outcome(raw: bytes, found: Told, job: Job, ignored: Sequence[str]) -> None:
    said = remarks.read(raw)
    if said is None:
        found.unread = True
        return
    for remark in said:
        if not remark.is_grave(ignored):
            found.remarks += 1
            continue
        about = [type for type in job.types if _names(raw, type)]
        # What is missing of a patient may be anything of that patient.
        type = about[0] if len(about) == 1 and about != ["Patient"] else ""
        found.missing.setdefault(type, set()).update(_codes(remark))


def _names(raw: bytes, type: str) -> bool:
    """Whether the text of an OperationOutcome has the type as a word."""
    word, place = type.encode(), -1
    while (place := raw.find(word, place + 1)) >= 0:
        around = raw[max(0, place - 1) : place] + raw[place + len(word) : place + len(word) + 1]
        if not any(chr(byte).isalnum() for byte in around):
            return True
    return False


def _codes(remark: Remark) -> set[str]:
    return set(remark.codes) or {"no code"}


def _deleted(raw: bytes, found: Told) -> None:
    try:
        bundle = jsontext.decode(raw)
    except NotJson:
        bundle = None
    if not isinstance(bundle, dict):
        found.unread = True
        return
    for type, id in export.deletions(bundle):
        found.deleted.setdefault(type, set()).add(id)


def _lines(held: Held) -> Iterator[lines.Text]:
    return lines.texts(Found(str(held.path), held.path.stat().st_size), io.BytesIO())


@dataclass
class Exported:
    """One type of one export.

    before:  the feed as earlier runs left it
    told:    what the export says besides its records
    lacking: why files of the type are not here, by their number
    left:    patients who are not in the group any more: what is theirs is not exported
    resumed: an earlier run has begun the export, so that we may have taken newer records since
    """

    reading: Reading
    plan: TypePlan
    job: Job
    before: Feed | None
    told: Told
    held: Sequence[Held]
    lacking: Mapping[int, str]
    left: frozenset[str] = frozenset()
    resumed: bool = False
    seen: Seen = field(default_factory=Seen)
    _faults: list[str] = field(default_factory=list)
    _bytes: int = 0
    """Bytes of the records in the batch that is being filled."""
    _kept_in_part: int = 0
    _taken_in_part: int = 0
    _unseen: list[tuple[str, str]] = field(default_factory=list)

    async def run(self) -> bool:
        """Stage all of the type; returns whether it was whole."""
        reading, type = self.reading, self.plan.type
        living = await self._living()
        held = Batch(reading.name, type)
        for number, one in enumerate(self.held, 1):
            if one.number in self.lacking:
                self._faults.append(self.lacking[one.number])
                continue
            held = await self._file(number, one, held)
        self._kept_in_part, self._taken_in_part = await singly.complete(reading, self.plan, self.seen, held)
        verdict = await self._settle(held, living)
        if not self.job.patients:
            held.feed = verdict
        elif verdict.behind:  # of those who joined; then everything is exported
            held.feed = replace(verdict, is_full=True)
        await reading.put(held)
        if verdict.behind:
            reading.incomplete.add(type)
        return not verdict.behind

    async def _living(self) -> SpilledSet:
        """Ids of all records of the type that we have, if anything may be deleted: they may be millions."""
        if not self.job.is_full and not self.told.deleted.get(self.plan.type):
            return SpilledSet()
        return await self.reading.threaded(self.reading.sink.living, self.reading.name, self.plan.type)

    async def _file(self, number: int, one: Held, held: Batch) -> Batch:
        """Stage the records of a file but for the last batch, which is returned and may take in those of the
        next file: some servers give a file for each patient."""
        reading, seen = self.reading, self.seen
        rest = await reading.threaded(_lines, one)
        came, place = 0, f"{self.plan.type}, export file {number}"
        while some := await reading.threaded(lambda: list(_portion(rest))):
            size = sum(len(text.raw) for text in some)
            waiting = len(held.taken) + len(held.refused) + len(held.unchanged)
            if waiting and (waiting + len(some) > AT_ONCE or self._bytes + size > BYTES_AT_ONCE):
                await reading.put(held)
                self._remember_less(held)
                held, self._bytes = Batch(reading.name, self.plan.type), 0
            self._bytes += size
            seen.pages += 1
            received = list(self._records(some, place, held))
            came += len(some)
            await reading.threaded(self._taking().sort, received, held, seen)
            reading.tell(self.plan.type, seen, None)
        if one.file.records is not None and came < one.file.records and reading.plan.vendor.trust_totals:
            counted = many(one.file.records, "record")
            self._faults.append(f"a file of the export should have {counted}, and {came} came")
        return held

    def _remember_less(self, staged: Batch) -> None:
        """Keep only the ids of what is staged, if the store can tell by a version number which is newer."""
        if self.job.accepts_older:
            return
        orders = self.seen.orders
        for record in (*(taken.record for taken in staged.taken), *staged.unchanged):
            order = orders.get(record.id)
            if order is not None and order.number is not None:
                orders[record.id] = None

    def _records(self, some: Sequence[lines.Text], place: str, batch: Batch) -> Iterator[Received]:
        for text in some:
            if text.wrong is not None and text.line is None:  # it concerns the rest of the file
                self._faults.append(f"a file of the export cannot be read: {text.wrong.message}")
            elif text.wrong is not None:
                position = f"{place}, line {text.line}"
                refused = Refused(
                    self.reading.name, self.plan.type, "", b"", Outcome((text.wrong,)), position
                )
                batch.refused.append(refused)
                self.seen.read += 1
            elif self.plan.type != "OperationOutcome" and (said := _said(text.raw)) is not None:
                ignored = self.reading.plan.vendor.codes.ignore
                for remark in said:
                    if remark.is_grave(ignored):
                        self.seen.complaints |= _codes(remark)
            else:
                yield Received(text.raw.strip(), f"{place}, line {text.line or 1}")

    def _taking(self) -> Taking:
        is_listing = self.job.is_full and not self.resumed
        return self.reading.taking(self.plan, is_listing=is_listing, accepts_older=self.job.accepts_older)

    # --- the verdict ------------------------------------------------------------------------------

    async def _settle(self, held: Batch, living: SpilledSet) -> Success:
        """Delete what is gone, say what could not be seen, and put it into the last batch."""
        reading, plan = self.reading, self.plan
        suspects = await self._suspects(living)
        # Many may leave a group at once, and are still there.
        dead = 0 if self._tells_who_left else len(suspects & living)
        vanished = singly.vanished(reading, dead, len(living))
        found = await singly.read_each(reading, plan.type, [] if vanished else sorted(suspects))
        gone = {record.id for record in found.gone}
        vanished = vanished or singly.vanished(reading, len(gone & living), len(living))
        if vanished:
            found.gone.clear()
        found.into(held)
        for record in found.gone:
            held.drop(record.id)
        self._unseen = found.unseen
        if self._tells_who_left:
            self.left = frozenset(suspects - gone)
        await reading.threaded(self._taking().sort, found.received, held, Seen(pages=1))
        return self._verdict(vanished, self._gaps())

    @property
    def _tells_who_left(self) -> bool:
        """Whether patients who are not in the export are not in the group, if they are there."""
        return self.plan.type == "Patient" and self.job.is_full and self.job.scope.startswith("Group/")

    def _gaps(self) -> dict[str, str]:
        """Patients whose records are not exported any more, and why."""
        return dict.fromkeys(
            (f"Patient/{id}" for id in sorted(self.left)), f"is not in {self.job.scope} any more"
        )

    async def _suspects(self, living: SpilledSet) -> set[str]:
        """Living records that were not there although they should have been, or that are named as deleted."""
        if not self.job.is_full:
            # What came may be named as well: deleted and there again, or deleted since.
            named = self.told.deleted.get(self.plan.type, set())
            return {id for id in named if id in living or id in self.seen.orders}
        unseen = set(living - self.seen.orders.keys())
        if self.left and unseen and self.plan.type != "Patient":
            reading = self.reading
            unseen -= await reading.threaded(
                reading.sink.about, reading.name, sorted(self.left), self.plan.type
            )
        return unseen

    def _verdict(self, vanished: str, gaps: dict[str, str]) -> Success:
        before = self.before.watermark if self.before is not None else ""
        mark, behind, remarked = self.job.time, "", []
        complaints = self.seen.complaints | self.told.of(self.plan.type)
        if complaints:
            behind = complaint(complaints)
        elif vanished:
            behind = vanished
        elif self._faults:
            behind = self._faults[0]
        elif self.told.unread:
            behind = "what the export says of errors or deletions cannot be read"
        elif self._kept_in_part:
            kept = many(self._kept_in_part, "record")
            behind = f"{kept} came only in part (SUBSETTED), also by themselves; what was whole is kept"
        elif self._unseen:
            behind = f"{many(len(self._unseen), 'record')} could not be looked at; what we have is kept"
        if self._taken_in_part:
            remarked.append(f"{many(self._taken_in_part, 'record')} came only in part (SUBSETTED)")
        if self.told.remarks:
            remarked.append(f"the export has {many(self.told.remarks, 'warning')}")
        if gaps:
            remarked.append(f"{many(len(gaps), 'patient')} left {self.job.scope}")
        return Success(
            before if behind else mark,
            datetime.fromisoformat(min(sortable(self.job.began), sortable(self.job.began_there))),
            behind,
            "; ".join(remarked),
            # One that was not whole is followed by one of everything.
            is_full=self.job.is_full or bool(behind),
            began=self.job.began_at,
            gaps=(*gaps.items(), *self._unseen),
        )


def _portion(rest: Iterator[lines.Text]) -> Iterator[lines.Text]:
    """The next lines, as many as are worked on at once."""
    size = 0
    for text in islice(rest, AT_ONCE):
        yield text
        size += len(text.raw)
        if size > BYTES_AT_ONCE:
            return


def _said(raw: bytes) -> tuple[Remark, ...] | None:
    return (
        remarks.read(raw) if b"OperationOutcome" in raw[:200] or b"OperationOutcome" in raw[-200:] else None
    )
