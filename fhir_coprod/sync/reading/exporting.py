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
from fhir_coprod.instants import instant, sortable
from fhir_coprod.sync.ehr import export
from fhir_coprod.sync.ehr.export import Wanted
from fhir_coprod.sync.ehr.exporter import Exporter, Lost, Refused
from fhir_coprod.sync.ehr.plan import TypePlan
from fhir_coprod.sync.reading import fetching, ways
from fhir_coprod.sync.reading.exported import Exported, Told, told
from fhir_coprod.sync.reading.members import members
from fhir_coprod.sync.reading.shared import Reading, many
from fhir_coprod.sync.reading.waiting import Postponed, Waiting
from fhir_coprod.sync.staging.exports import Exports, Held, Job, Left
from fhir_coprod.sync.staging.feed import Feed

_WITHOUT = {"failed": "the last export failed", "refused": "the server does not export it"}
"""Ends of an export after which types are read without it, if they can be, until it is time for the next."""


async def read(reading: Reading, plans: Sequence[TypePlan]) -> list[TypePlan]:
    """Read these types by export; returns the plans of those that have to be read otherwise in this run."""
    if reading.exports is None:
        for plan in plans:
            way = "as without one" if ways.can_be_searched(reading, plan) else "not at all"
            reading.remark(plan.type, f"a dry run begins no export; it is read {way}")
        return [ways.otherwise(reading, plan) for plan in plans]
    exporting = Exporting(reading, reading.exports, {plan.type: plan for plan in plans})
    try:
        await exporting.run()
    except EhrError as error:
        await exporting.fail(plans, error.message)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with exports, the other types go on
        await exporting.fail(plans, f"{reading.name}: {said(error)}")
    exporting.tell()
    return exporting.otherwise


async def give_up(reading: Reading) -> None:
    """Nothing is read by export: what is under way is cleared away, and its files are removed."""
    if reading.exports is not None:
        await Exporting(reading, reading.exports, {}).give_up()


class _Failed(Exception):
    """The export will not come to an end; the words say why."""


@dataclass
class Exporting:
    """The exports of one EHR in one run.

    otherwise: the plans of types that have to be read otherwise
    settled:   types with which this run is done
    """

    reading: Reading
    exports: Exports
    plans: dict[str, TypePlan]
    otherwise: list[TypePlan] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)
    _needs_all: bool = False
    """Patients have joined a group, and what is theirs could not be had by itself."""
    _is_begun_again: bool = False
    _said: dict[str, list[str]] = field(default_factory=dict)
    """What a person should know → the types that it is about."""
    _left: frozenset[str] | None = None
    """Patients of ours who are not in the group any more; None: see what the last run noted."""

    def __post_init__(self) -> None:
        reading = self.reading
        aliases = [*reading.client.ehr.aliases, *reading.bases.aliases.get(reading.name, ())]
        self._exporter = Exporter(reading.client, aliases)
        self._waiting = Waiting(reading, self._exporter)

    @property
    def _name(self) -> str:
        return self.reading.name

    # --- the course of it -------------------------------------------------------------------------

    async def run(self) -> None:
        held = await self.reading.threaded(self.exports.read, self._name)
        last = held[0] if held is not None else None
        await self.reading.threaded(self.exports.sweep, self._name, last)
        if held is not None and not held[0].ended:
            job, left = held
            if self._fits(job, left):
                await self._go_on(job, left, resumed=True)
                last = None  # what came of it is in the feeds
            else:
                await self._give_up(job)
        # The feeds do not tell that those who joined a group are still to come.
        is_group = last is not None and last.scope.startswith("Group/")
        self._needs_all |= is_group and last is not None and last.ended != "done" and not last.since
        feeds = {type: await self._feed(type) for type in self.plans}
        due = await self._due(feeds, last)
        for wanted in [] if await self._is_busy() else await self._wanted(feeds, due):
            types = set(wanted.types) - self.settled
            if types:
                since = "" if self._needs_all else wanted.since
                await self._begin(replace(wanted, types=tuple(sorted(types)), since=since))
            if await self._is_busy():
                break
        for type in due:
            if type not in self.settled:
                self._tell_known(type, feeds[type], "when the export that is under way is done")

    async def _is_busy(self) -> bool:
        """Whether an export is under way, so that no other may be begun."""
        held = await self.reading.threaded(self.exports.read, self._name)
        return held is not None and not held[0].ended

    async def give_up(self) -> None:
        """Clear away what is under way."""
        held = await self.reading.threaded(self.exports.read, self._name)
        if held is not None and not held[0].ended:
            await self._give_up(held[0])
        await self.reading.threaded(self.exports.sweep, self._name)

    def _fits(self, job: Job, left: Left) -> bool:
        """Whether an export that is under way is of use to this run."""
        exports, wishes = self.reading.plan.exports, self.reading.wishes
        types = left.types if job.is_complete else set(job.types)
        return (
            exports is not None
            and job.base == self.reading.client.base
            and job.scope == exports.scope
            and types <= self.plans.keys()
            and (not wishes.full or (job.is_full and job.accepts_older and not self._is_late(job)))
            and (bool(job.address) or job.is_complete)
        )

    async def _give_up(self, job: Job) -> None:
        self._needs_all |= not job.since
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
            if last is not None and type in last.types and self._counts(last):
                before = last.began_at
            is_due = before is None or not timedelta() <= now - before < every
            if self.reading.wishes.full or is_due:
                due.append(type)
            elif (
                last is not None
                and last.ended in _WITHOUT
                and ways.can_be_searched(self.reading, self.plans[type])
            ):
                self._read_otherwise(type, _WITHOUT[last.ended])
            elif before is not None:
                self._tell_known(type, feed, _at(before + every))
        return due

    def _counts(self, last: Job) -> bool:
        """Whether the next export has to wait for its time since this one."""
        return last.ended in _WITHOUT or (last.ended == "done" and not last.patients)

    def _tell_known(self, type: str, feed: Feed | None, again: str) -> None:
        """Say of a type that is not read in this run what is known of it, and when it is exported again."""
        self.settled.add(type)
        if feed is None or feed.state != "observable":
            self.reading.incomplete.add(type)
            self.reading.mend(type, f"{feed.reason if feed else 'not read yet'}; exported again {again}", [])
        else:
            self._say(type, f"read by export; the next one is due {again}")

    async def _wanted(self, feeds: dict[str, Feed | None], due: Sequence[str]) -> list[Wanted]:
        """The exports that bring what is due: of patients who joined, of everything, of changes."""
        exports = self.reading.plan.exports
        if exports is None or not due:
            return []
        full = [
            type
            for type in due
            if ways.is_full_due(self.reading, self.plans[type], feeds[type], wants_all=self._needs_all)
        ]
        changes = [type for type in due if type not in full]
        found: list[Wanted] = []
        if exports.scope.startswith("Group/"):
            inside = await members(self.reading, exports.scope)
            if inside is None or "Patient" not in self.plans:
                full, changes = list(due), []  # nothing tells who joined
            if inside is not None:
                living = await self.reading.threaded(self.reading.sink.living, self._name, "Patient")
                left = await self.reading.threaded(self.exports.patients_left, self._name)
                joined = inside - (living - left)
                self._left = frozenset(living) - inside
                if changes and joined:
                    found.append(Wanted(exports.scope, tuple(changes), "", tuple(sorted(joined))))
        if full:
            found.append(Wanted(exports.scope, tuple(full)))
        if changes:
            found.append(
                Wanted(
                    exports.scope, tuple(changes), ways.since(self.reading, [feeds[type] for type in changes])
                )
            )
        return found

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
            ended = "failed" if isinstance(error, Lost) else "not begun"
            await self.reading.threaded(self.exports.end, self._name, job, ended)
            if isinstance(error, EhrAnswer | EhrUnreachable):
                await self._without(job, self.reading.bare(error.message))
            else:  # it asks to be left alone
                await self.fail(self._unsettled(job), error.message)
            return
        job = msgspec.structs.replace(job, address=begun.address, began_there=instant(begun.at))
        await self.reading.threaded(self.exports.save, self._name, job)
        await self._go_on(job, Left(), resumed=False)

    async def _refused(self, job: Job, refusal: Refused) -> None:
        await self.reading.threaded(
            self.exports.end, self._name, job, "not begun" if job.patients else "refused"
        )
        await self._without(job, self.reading.bare(refusal.message))

    async def _go_on(self, job: Job, left: Left, *, resumed: bool) -> None:
        """Go on with an export until it is read, or as far as this run comes."""
        try:
            if not job.is_complete:
                job, left = await self._wait(job)
            await self._take(job, left, resumed=resumed)
        except Postponed as waiting:
            await self._postpone(job, str(waiting))
        except _Failed as failed:
            await self._exporter.clear(job.address)
            await self.reading.threaded(self.exports.end, self._name, job, "failed")
            await self._without(job, str(failed))
        except Lost as lost:
            # One that was begun again in vain is not begun a third time before its time.
            ended = "failed" if self._is_begun_again else "lost"
            await self.reading.threaded(self.exports.end, self._name, job, ended)
            if self._is_begun_again:
                await self._without(job, self.reading.bare(lost.message))
            else:
                self._is_begun_again = True
                if types := tuple(plan.type for plan in self._unsettled(job)):
                    await self._begin(replace(job.wanted, types=types))
        except EhrError as error:
            if self._is_late(job):  # nothing will come of it
                await self.reading.threaded(self.exports.end, self._name, job, "failed")
                await self._without(job, self.reading.bare(error.message))
            else:
                await self.fail(self._unsettled(job), error.message)

    def _unsettled(self, job: Job) -> list[TypePlan]:
        """Its types with which this run is not done; those that are done may not be exported any more."""
        return [self.plans[type] for type in job.types if type in self.plans and type not in self.settled]

    async def _wait(self, job: Job) -> tuple[Job, Left]:
        """Wait until the export is complete, and note what it has come to.

        Raises as `Waiting` does, but _Failed if it will not come to an end, or to something that is no
        manifest.
        """
        budget = timedelta() if self._is_late(job) else self.reading.wishes.bulk_wait
        try:
            answer = await self._waiting.until_complete(job.address, budget.total_seconds())
            parts = await self._exporter.manifests(job.address, answer)
        except Lost:
            raise
        except EhrAnswer as error:
            raise _Failed(self.reading.bare(error.message)) from None
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

    async def _postpone(self, job: Job, note: str) -> None:
        """Say that the export is still under way. If it takes very long, nobody waits for it any more."""
        since = f"the export begun {_at(job.began_at)} is still under way"
        done = export.portion(note)  # other words of the server may name a person, and this is logged
        words = f"{since} ({done})" if done else since
        if self._is_late(job):
            anew = f"to begin another one, run: fhir-coprod sync {self._name} --full"
            await self._without(job, f"{words}; {anew}")
            return
        for plan in self._unsettled(job):
            feed = await self._feed(plan.type)
            self.settled.add(plan.type)
            self.reading.incomplete.add(plan.type)
            if feed is None or feed.state != "observable":
                await self.reading.fail(plan.type, "behind", f"{words}; the next sync goes on with it")
            else:
                self._say(plan.type, words)

    # --- its records ------------------------------------------------------------------------------

    async def _take(self, job: Job, left: Left, *, resumed: bool) -> None:
        """Fetch the files that are not here yet, and read type after type."""
        missing = await fetching.fetch(
            self.reading, self.exports, self._exporter, job, left, is_last_try=self._is_begun_again
        )
        left.files = [one._replace(is_here=one.is_here or one.number not in missing) for one in left.files]
        shared = [one for one in left.files if not one.type]
        ignored = self.reading.plan.vendor.codes.ignore
        about = await self.reading.threaded(told, shared, job, ignored)
        is_late = self._is_late(job)
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
        type = plan.type
        absent = next((lacking[one.number] for one in files if one.number in lacking), "")
        # Without a file, there may be no record, or exports do not hold this type. A search tells.
        is_empty = job.is_full and not files and not about.of(type)
        if (absent or is_empty) and ways.can_be_searched(self.reading, self.plans[type]) and not job.patients:
            self._read_otherwise(type, absent)
            await self.reading.threaded(self.exports.type_done, self._name, type)
            return
        reading = self.reading
        exported = Exported(
            reading,
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

    def _is_late(self, job: Job) -> bool:
        return datetime.now(UTC) - job.began_at > self.reading.wishes.bulk_job

    async def _without(self, job: Job, reason: str) -> None:
        """Read what is left of the types of an export without it; those that can only be exported fail."""
        if job.patients:  # then everybody is exported
            self._needs_all = True
            return
        for plan in self._unsettled(job):
            if ways.can_be_searched(self.reading, plan):
                self._read_otherwise(plan.type, reason)
            else:
                await self.fail([plan], f"{reason}, and there is no other way")

    def _read_otherwise(self, type: str, why: str) -> None:
        plan = ways.otherwise(self.reading, self.plans[type])
        self.settled.add(type)
        self.otherwise.append(plan)
        if why:
            self._say(type, f"{why}; read by {plan.find} instead")

    def _say(self, type: str, words: str) -> None:
        self._said.setdefault(words, []).append(type)

    def tell(self) -> None:
        """Say once what goes for several types."""
        for words, types in self._said.items():
            others = f" (and {many(len(types) - 1, 'other type')})" if len(types) > 1 else ""
            self.reading.remark(types[0], f"{words}{others}")

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
