"""Reads the types of one EHR that come by bulk export: decides on exports, begins them, waits, has them read.

One export at a time is under way at an EHR, and it is never begun twice as long as the first one can be used.
A run waits for it only so long; a later one goes on with it, also after a kill.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import msgspec

from fhir_coprod.errors import EhrAnswer, EhrError, EhrUnreachable, said
from fhir_coprod.instants import instant, last_updated, sortable
from fhir_coprod.sync.ehr import export
from fhir_coprod.sync.ehr.export import Wanted
from fhir_coprod.sync.ehr.exporter import Exporter, Lost, Refused
from fhir_coprod.sync.ehr.plan import TypePlan
from fhir_coprod.sync.ehr.sending import Answer, retry_after
from fhir_coprod.sync.reading import fetching
from fhir_coprod.sync.reading.exported import Exported, Told, told
from fhir_coprod.sync.reading.members import members
from fhir_coprod.sync.reading.shared import Reading
from fhir_coprod.sync.staging.exports import Exports, Held, Job, Left
from fhir_coprod.sync.staging.feed import Feed

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two looks at an export, where the server does not say when to come back."""
LONGEST_ASKED = 300.0
"""The same where it does: some ask for hours, for any export."""
FAILED_LOOKS = 4
"""After so many looks in a row that brought no answer, the run goes on without the export."""
_SEARCHED = ("history", "last-updated", "crawl", "by-patient")
_COUNTED = ("done", "failed")
"""Ends of an export after which the next one waits for its time."""


async def candidates(reading: Reading) -> list[TypePlan]:
    """The plans of the types that are read by export in this run."""
    found = []
    for plan in reading.plan.types if reading.plan.exports is not None else ():
        if plan.is_exported_first:
            feed = await reading.threaded(reading.sink.feed, reading.name, plan.type)
            if feed is not None and feed.first_success is not None:
                continue
        if plan.find == "bulk" or plan.is_exported_first:
            found.append(plan)
    return found


async def read(reading: Reading, plans: Sequence[TypePlan]) -> list[TypePlan]:
    """Read these types by export; returns the plans of those that have to be read otherwise in this run."""
    if reading.exports is None:
        for plan in plans:
            if plan.find == "bulk":
                reading.remark(
                    plan.type, "a dry run begins no export; it is read as without one, if it can be"
                )
        return [_otherwise(plan) for plan in plans]
    exporting = Exporting(reading, reading.exports, {plan.type: plan for plan in plans})
    try:
        await exporting.run()
    except EhrError as error:
        await exporting.fail(plans, error.message)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with exports, the other types go on
        await exporting.fail(plans, f"{reading.name}: {said(error)}")
    return exporting.otherwise


def _otherwise(plan: TypePlan) -> TypePlan:
    return replace(plan, find=plan.otherwise) if plan.find == "bulk" else plan


class _Postponed(Exception):
    """The export is not done yet, and this run has waited enough; the words are the server's."""


@dataclass
class Exporting:
    """The exports of one EHR in one run.

    otherwise: the plans of types that have to be read otherwise
    settled:   types with which this run is done
    waited:    seconds waited for exports
    """

    reading: Reading
    exports: Exports
    plans: dict[str, TypePlan]
    otherwise: list[TypePlan] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)
    waited: float = 0.0
    _needs_all: bool = False
    """Patients have joined a group, and what is theirs could not be had by itself."""
    _is_begun_again: bool = False
    _left: frozenset[str] | None = None
    """Patients of ours who are not in the group any more; None: see what the last run noted."""

    def __post_init__(self) -> None:
        reading = self.reading
        aliases = [*reading.client.ehr.aliases, *reading.bases.aliases.get(reading.name, ())]
        self._exporter = Exporter(reading.client, aliases)
        self._politeness = reading.client.politeness

    @property
    def _name(self) -> str:
        return self.reading.name

    # --- the course of it -------------------------------------------------------------------------

    async def run(self) -> None:
        held = await self.reading.threaded(self.exports.read, self._name)
        last = held[0] if held is not None else None
        if held is not None and not held[0].ended:
            job, left = held
            if self._fits(job):
                await self._go_on(job, left, resumed=True)
                last = None  # what came of it is in the feeds
            else:
                await self._give_up(job)
        feeds = {type: await self._feed(type) for type in self.plans}
        due = await self._due(feeds, last)
        for wanted in await self._wanted(feeds, due):
            types = set(wanted.types) - self.settled if not wanted.patients else set(wanted.types)
            if types:
                since = "" if self._needs_all else wanted.since
                await self._begin(replace(wanted, types=tuple(sorted(types)), since=since))

    def _fits(self, job: Job) -> bool:
        """Whether an export that is under way is of use to this run."""
        exports, wishes = self.reading.plan.exports, self.reading.wishes
        return (
            exports is not None
            and job.base == self.reading.client.base
            and job.scope == exports.scope
            and set(job.types) <= self.plans.keys()
            and (not wishes.full or (job.is_full and job.accepts_older))
            and (bool(job.address) or job.is_complete)
        )

    async def _give_up(self, job: Job) -> None:
        self._needs_all = bool(job.patients)
        if job.address and job.base == self.reading.client.base:
            await self._exporter.clear(job.address)
        await self.reading.threaded(self.exports.end, self._name, job, "given up")

    # --- what to export ---------------------------------------------------------------------------

    async def _due(self, feeds: dict[str, Feed | None], last: Job | None) -> list[str]:
        """The types that are to be exported now. Says of the others what is known of them."""
        exports = self.reading.plan.exports
        every, now = timedelta(hours=exports.hours if exports is not None else 0), datetime.now(UTC)
        due = []
        for type, feed in feeds.items():
            if type in self.settled:
                continue
            before = feed.last_success if feed is not None and feed.last_full is not None else None
            if last is not None and type in last.types and last.ended in (*_COUNTED, "refused"):
                before = last.began_at
            is_due = before is None or not timedelta() <= now - before < every
            if self.reading.wishes.full or is_due:
                due.append(type)
            elif last is not None and last.ended == "refused" and self._can_be_searched(type):
                self._read_otherwise([type], "the server does not export it")
            elif before is not None:
                self._tell_known(type, feed, before + every)
        return due

    def _tell_known(self, type: str, feed: Feed | None, again: datetime) -> None:
        self.settled.add(type)
        if feed is None or feed.state != "observable":
            self.reading.incomplete.add(type)
            self.reading.mend(
                type, f"{feed.reason if feed else 'not read yet'}; exported again {_at(again)}", []
            )
        else:
            self.reading.remark(type, f"read by export; the next one is due {_at(again)}")

    async def _wanted(self, feeds: dict[str, Feed | None], due: Sequence[str]) -> list[Wanted]:
        """The exports that bring what is due: of patients who joined, of everything, of changes."""
        exports = self.reading.plan.exports
        if exports is None or not due:
            return []
        full = [type for type in due if self._is_full_due(self.plans[type], feeds[type])]
        changes = [type for type in due if type not in full]
        found: list[Wanted] = []
        if exports.scope.startswith("Group/"):
            living = await self.reading.threaded(self.reading.sink.living, self._name, "Patient")
            inside = await members(self.reading, exports.scope)
            if changes and inside is None:
                full, changes = list(due), []
            elif inside is not None:
                left = await self.reading.threaded(self.exports.patients_left, self._name)
                joined = inside - (living - left)
                self._left = frozenset(living) - inside
                if changes and joined:
                    found.append(Wanted(exports.scope, tuple(changes), "", tuple(sorted(joined))))
        if full:
            found.append(Wanted(exports.scope, tuple(full)))
        if changes:
            found.append(Wanted(exports.scope, tuple(changes), self._since(feeds[type] for type in changes)))
        return found

    def _is_full_due(self, plan: TypePlan, feed: Feed | None) -> bool:
        wishes = self.reading.wishes
        if (
            wishes.full
            or self._needs_all
            or plan.is_exported_first
            or not self.reading.plan.vendor.bulk.since
        ):
            return True
        if feed is None or not feed.watermark or feed.last_full is None:
            return True
        if wishes.full_after is None:
            return False
        return not timedelta() <= datetime.now(UTC) - feed.last_full < wishes.full_after

    def _since(self, feeds: Iterable[Feed | None]) -> str:
        own = self.reading.client.ehr.overlap_seconds
        overlap = timedelta(seconds=self.reading.plan.vendor.overlap_seconds if own is None else own)
        mark = min(feed.watermark for feed in feeds if feed is not None)
        return last_updated(datetime.fromisoformat(mark) - overlap)

    # --- one export -------------------------------------------------------------------------------

    async def _begin(self, wanted: Wanted) -> None:
        """Begin an export and go on with it as far as this run comes."""
        began = instant(datetime.now(UTC))
        job = Job(
            self.reading.client.base,
            wanted.scope,
            wanted.types,
            began,
            wanted.since,
            wanted.patients,
            self.reading.wishes.full,
            began_there=began,
        )
        await self.reading.threaded(self.exports.save, self._name, job)
        try:
            begun = await self._exporter.kick_off(wanted)
        except Refused as refusal:
            if wanted.since:  # not every server takes _since; then everything
                await self._begin(replace(wanted, since=""))
            else:
                await self._refused(job, refusal)
            return
        except EhrError as error:
            await self.reading.threaded(self.exports.end, self._name, job, "not begun")
            await self.fail([self.plans[type] for type in job.types], error.message)
            return
        job = msgspec.structs.replace(job, address=begun.address, began_there=instant(begun.at))
        await self.reading.threaded(self.exports.save, self._name, job)
        await self._go_on(job, Left(), resumed=False)

    async def _refused(self, job: Job, refusal: Refused) -> None:
        await self.reading.threaded(
            self.exports.end, self._name, job, "not begun" if job.patients else "refused"
        )
        if job.patients:  # it does not export some patients only; then everybody
            self._needs_all = True
            return
        reason = refusal.message.removeprefix(f"{self._name}: ")
        for type in job.types:
            if self._can_be_searched(type):
                self._read_otherwise([type], reason)
            else:
                await self.fail([self.plans[type]], f"{reason}, and there is no other way")

    async def _go_on(self, job: Job, left: Left, *, resumed: bool) -> None:
        """Go on with an export until it is read, or as far as this run comes."""
        try:
            if not job.is_complete:
                job, left = await self._wait(job)
            await self._take(job, left, resumed=resumed)
        except _Postponed as waiting:
            await self._postpone(job, str(waiting))
        except Lost as lost:
            await self.reading.threaded(self.exports.end, self._name, job, "lost")
            if self._is_begun_again:
                await self.fail(self._unsettled(job), lost.message)
            else:
                self._is_begun_again = True
                await self._begin(replace(job.wanted, types=tuple(p.type for p in self._unsettled(job))))
        except EhrError as error:
            await self.fail(self._unsettled(job), error.message)

    def _unsettled(self, job: Job) -> list[TypePlan]:
        return [self.plans[type] for type in job.types if type not in self.settled]

    async def _wait(self, job: Job) -> tuple[Job, Left]:
        """Look at the export until it is complete.

        Raises _Postponed if it takes too long, Lost if it is gone, EhrError if it failed or cannot be looked
        at.
        """
        budget = self.reading.wishes.bulk_wait.total_seconds()
        pause, failed, looks = FIRST_PAUSE, 0, 0
        while True:
            looks += 1
            answer: Answer | None = None
            try:
                answer = await self._exporter.look(job.address)
                state = export.state(answer)
            except EhrUnreachable:
                state = "unanswered"
            if state == "complete" and answer is not None:
                return await self._complete(job, answer)
            if state == "lost":
                raise Lost(f"{self._name}: the server has lost the export.", is_gone=True)
            if state == "failed" and answer is not None:
                await self._failed(job)
                codes = ", ".join(sorted(answer.codes()))
                raise EhrAnswer(f"{self._name}: the export failed at the server ({answer.status}: {codes}).")
            failed = failed + 1 if state == "unanswered" else 0
            if failed == FAILED_LOOKS:
                what = (
                    f"{answer.status}{f', {answer.markup}' * bool(answer.markup)}" if answer else "no answer"
                )
                raise EhrError(f"{self._name}: the server does not say how far the export is ({what}).")
            note = export.progress(answer) if answer is not None else ""
            self.reading.tell_export(looks, note)
            asked = retry_after(answer.headers.get("Retry-After")) if answer is not None else None
            wait = pause if asked is None else min(max(asked, FIRST_PAUSE), LONGEST_ASKED)
            pause = min(2 * pause, LONGEST_PAUSE)
            if self.waited + wait > budget:
                raise _Postponed(note)
            self.waited += wait
            await self._politeness.sleep(wait)

    async def _complete(self, job: Job, answer: Answer) -> tuple[Job, Left]:
        try:
            parts = await self._exporter.manifests(job.address, answer)
        except Lost:
            raise
        except EhrAnswer:
            await self._failed(job)
            raise
        latest = answer.time or datetime.now(UTC)
        times = [part.time for part in parts if part.time is not None and part.time <= latest]
        # A time to come would hide what is written until then.
        until = instant(min(times)) if len(times) == len(parts) else job.began_there
        job = msgspec.structs.replace(
            job,
            is_complete=True,
            time=sortable(until),
            needs_token=all(part.needs_token for part in parts),
        )
        files = [file for part in parts for file in part.files]
        return job, await self.reading.threaded(self.exports.completed, self._name, job, files)

    async def _failed(self, job: Job) -> None:
        """Clear away an export that will not come to an end; the next one waits for its time."""
        await self._exporter.clear(job.address)
        await self.reading.threaded(self.exports.end, self._name, job, "failed")

    async def _postpone(self, job: Job, note: str) -> None:
        """Say that the export is still under way; that is a fault if it takes very long."""
        since = f"the export begun {_at(job.began_at)} is still under way"
        words = f"{since} ({note})" if note else since
        is_late = datetime.now(UTC) - job.began_at > self.reading.wishes.bulk_job
        for plan in self._unsettled(job):
            feed = await self._feed(plan.type)
            self.settled.add(plan.type)
            self.reading.incomplete.add(plan.type)
            if is_late:
                await self.reading.fail(plan.type, "failed", f"{words}; the next sync looks again")
            elif feed is None or feed.state != "observable":
                await self.reading.fail(plan.type, "behind", f"{words}; the next sync goes on with it")
            else:
                self.reading.remark(plan.type, words)

    # --- its records ------------------------------------------------------------------------------

    async def _take(self, job: Job, left: Left, *, resumed: bool) -> None:
        """Fetch the files that are not here yet, and read type after type."""
        missing = await fetching.fetch(self.reading, self.exports, self._exporter, job, left)
        left.files = [one._replace(is_here=one.is_here or one.number not in missing) for one in left.files]
        shared = [one for one in left.files if not one.type]
        ignored = self.reading.plan.vendor.codes.ignore
        about = await self.reading.threaded(told, self.exports, self._name, shared, job, ignored)
        is_late = datetime.now(UTC) - job.began_at > self.reading.wishes.bulk_job
        temporary = {n: why for n, (why, is_final) in missing.items() if not is_final and not is_late}
        for type in sorted(left.types, key=lambda type: (type != "Patient", type)):
            files = left.of(type)
            late = [temporary[one.number] for one in (*files, *shared) if one.number in temporary]
            if late:
                await self.fail([self.plans[type]], late[0])
            else:
                lacking = {n: why for n, (why, _) in missing.items()}
                await self._take_type(job, self.plans[type], files, lacking, about, resumed=resumed)
        now = await self.reading.threaded(self.exports.read, self._name)
        if now is None or not now[1].types:
            is_cleared = await self._exporter.clear(job.address)
            await self.reading.threaded(self.exports.end, self._name, job, "done")
            if not is_cleared:
                self.reading.remark(job.types[0], "the server did not delete the export when it was asked to")

    async def _take_type(
        self,
        job: Job,
        plan: TypePlan,
        files: Sequence[Held],
        lacking: dict[int, str],
        about: Told,
        *,
        resumed: bool,
    ) -> None:
        type, otherwise = plan.type, _otherwise(plan)
        if job.is_full and not files and not about.of(type) and otherwise.find in _SEARCHED:
            # It may be that there are none, or that exports do not hold this type. A search tells.
            self._read_otherwise([type], "the export holds none")
            await self.reading.threaded(self.exports.type_done, self._name, type)
            return
        reading = self.reading
        exported = Exported(
            reading,
            self.exports,
            plan,
            job,
            await self._feed(type),
            about,
            files,
            lacking,
            await self._who_left(job),
            resumed,
        )
        try:
            is_whole = await exported.run()
        except EhrError as error:
            await self.fail([plan], error.message)
            return
        if type == "Patient" and job.is_full:
            self._left = exported.left
        if job.patients:
            self._needs_all |= not is_whole
            await self.reading.threaded(self.exports.type_done, self._name, type)
        else:
            self.settled.add(type)
        await self.reading.threaded(self.exports.remove, self._name, job, files)

    async def _who_left(self, job: Job) -> frozenset[str]:
        """Patients who are not in the exported group any more."""
        if not job.scope.startswith("Group/"):
            return frozenset()
        if self._left is not None:
            return self._left
        return await self.reading.threaded(self.exports.patients_left, self._name)

    # --- beside -----------------------------------------------------------------------------------

    def _can_be_searched(self, type: str) -> bool:
        return _otherwise(self.plans[type]).find not in ("none", "bulk")

    def _read_otherwise(self, types: Iterable[str], why: str) -> None:
        for type in types:
            plan = _otherwise(self.plans[type])
            self.settled.add(type)
            self.otherwise.append(plan)
            self.reading.remark(type, f"{why}; read by {plan.find} instead")

    async def fail(self, plans: Iterable[TypePlan], reason: str) -> None:
        """Note that these types could not be read, but for those that this run is done with."""
        for plan in plans:
            if plan.type not in self.settled:
                self.settled.add(plan.type)
                await self.reading.fail(plan.type, "failed", reason)

    async def _feed(self, type: str) -> Feed | None:
        return await self.reading.threaded(self.reading.sink.feed, self._name, type)


def _at(moment: datetime) -> str:
    return f"at {instant(moment.replace(second=0, microsecond=0))}"
