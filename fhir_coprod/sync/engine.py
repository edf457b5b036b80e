"""Runs the sync: pulls from every EHR, links records, writes resources, and reports what happened.

    pull     reads all EHRs in parallel and stages their pages as they arrive
    link     once everything has arrived, finds which records are the same person, organisation or order
    publish  writes each resource once

A run that is killed leaves staged records, a watermark that covers what is staged, and records that are not
yet linked or written. The next run picks all of that up, and ends as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import httpx

from fhir_coprod.errors import ConfigError, EhrAnswer, EhrError, Overloaded, said
from fhir_coprod.instants import now
from fhir_coprod.settings import EhrSettings, Settings, data_folder
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.recheck import recheck_by_newer_rules
from fhir_coprod.sync import alone, hours, observed, runs
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.plan import EhrPlan, plan
from fhir_coprod.sync.ehr.search import BY_PATIENT, GONE, REFUSED
from fhir_coprod.sync.ehr.sending import Politeness
from fhir_coprod.sync.merging import trusted
from fhir_coprod.sync.merging.publish import View
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.pace import Pace
from fhir_coprod.sync.pull import pull
from fhir_coprod.sync.reading.shared import Progress, Reading, Wishes
from fhir_coprod.sync.report import EhrReport, Reports
from fhir_coprod.sync.settle import Settled, Settling
from fhir_coprod.sync.staging import again, bases, feed, numbers, stage
from fhir_coprod.sync.staging.exports import Exports
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.sinks import DrySink, StoreSink
from fhir_coprod.sync.staging.stage import Batch, Counts
from fhir_coprod.watched import PULLED

Beat = Callable[[], None]


def check(
    ehr: EhrSettings,
    *,
    politeness: Politeness | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> EhrPlan:
    """What the EHR can do, how the sync will read it, and what in the settings is wrong by its answers.

    Raises EhrUnreachable, EhrAnswer, ConfigError.
    """

    async def ask() -> EhrPlan:
        async with EhrClient(ehr, politeness=politeness, transport=transport) as client:
            made = await _ask_plan(client)
            access = await client.access()
            wrong = [sentence async for sentence in _wrong(client, made)]
            if access.lacking:
                wrong.insert(0, _not_granted(access.lacking))
            return replace(made, access=access.words, wrong=tuple(wrong))

    return asyncio.run(ask())


def _not_granted(types: Sequence[str]) -> str:
    named = ", ".join(types)
    return f"the token does not allow us to read {named}; have it granted, or set `types` to the others"


async def _status(client: EhrClient, url: str) -> int:
    """The status of an answer; 0 if there is none."""
    try:
        return (await client.get(url)).status
    except EhrError:
        return 0


async def _wrong(client: EhrClient, made: EhrPlan) -> AsyncIterator[str]:
    """Sentences about what the settings name, or the statement promises, and the server does not have."""
    ehr = client.ehr
    if ehr.department and await _status(client, ehr.department) in GONE:
        yield _no_department(ehr)
    group = made.exports.scope if made.exports is not None and ehr.group else ""
    if group and await _status(client, group) in GONE:
        yield f"the group {ehr.group} of the settings is not at this server; correct it"
    if ehr.bulk == "always" and made.exports is None:
        yield f'it cannot be exported although bulk = "always": {made.about_exports}'
    elif ehr.group and made.exports is None and ehr.bulk != "never":
        yield f"`group` of the settings has no effect: {made.about_exports}"
    for id in ehr.patients:
        if await _status(client, f"Patient/{id}") in GONE:
            yield f"the patient {id} in `patients` of the settings is not at this server; correct it"
    if made.vendor_name:
        return
    refused = []
    for each in made.types:
        is_searched = each.observable and each.find not in ("by-patient", "by-reference", "bulk")
        if is_searched and await _status(client, f"{each.type}?_count=1") in REFUSED:
            refused.append(each.type)
    if refused:
        yield f"the server refuses to be searched for {', '.join(refused)}. {BY_PATIENT}"


def run(
    store: Store,
    settings: Settings,
    *,
    names: Sequence[str] = (),
    full: bool = False,
    dry_run: bool = False,
    accept_deletions: bool = False,
    any_hour: bool = False,
    run_id: str = "",
    progress: Callable[[Progress], None] | None = None,
    validate: stage.Validate | None = None,
    politeness: Politeness | None = None,
) -> list[EhrReport]:
    """Sync the EHRs of the settings (or those of `names`) into the store.

    full:     list everything again, which also finds what was deleted
    dry_run:  read everything, write nothing; the reports hold what would have been written
    accept_deletions: a person says that what has vanished is really gone, however much it is
    any_hour: also read EHRs that are outside their hours
    run_id:   what names this run in log and store; by default a new name
    validate: decides whether a record is good; by default the validator of R4 and our profiles

    Raises ConfigError for an unknown name or if there is no EHR at all, Conflict if another sync is running.
    If an EHR fails, its report says why, and the others go on. One that is paused, or outside its hours, is
    left out, and its report says so.
    """
    began = now()
    chosen = _chosen(settings, names)
    with store.connect() as connection:
        known = bases.known(connection)
        out = hours.left_out(connection, settings, chosen, began, any_hour=any_hour)
    ehrs = [ehr for ehr in chosen if ehr.name not in out]
    until = {} if any_hour else hours.closing(settings, ehrs, began)
    context = context_of(settings, known)
    wishes = Wishes(
        full,
        timedelta(hours=settings.sync.full_every_hours) if settings.sync.full_every_hours else None,
        settings.sync.max_deleted_share,
        accept_deletions,
        timedelta(minutes=settings.sync.bulk_wait_minutes),
        timedelta(hours=settings.sync.bulk_job_hours),
    )
    reports = Reports(context.order)
    for name, why in out.items():
        reports.of(name).left_out = why
    if not ehrs:
        return reports.all()
    validate = validate or default_validator()
    if dry_run:
        dry = DrySink(store)
        with _collecting_only_what_is_new():
            asyncio.run(
                _pull(
                    *(ehrs, dry, None, reports, context.bases, validate, wishes, progress, politeness),
                    _silent,
                    until,
                )
            )
            context = replace(context, bases=context.bases.knowing(dry.bases))
            _settle_dry(store, dry, reports, context, validate)
        reports.told(dry)
    else:
        with alone.alone(store) as beat, _collecting_only_what_is_new():
            run_id = run_id or runs.new_id(began)
            names = [ehr.name for ehr in ehrs]
            store.write(lambda t: _begin(t, context.order, run_id, names))
            new = [ehr.name for ehr in ehrs if full or _is_first(store, ehr.name)]
            keeping = {ehr.name for ehr in ehrs if ehr.on_invalid == "keep"}
            again.retake_readable(store, keeping, context.bases, validate, beat)
            sink = StoreSink(store, reports.staged, Pace(store))
            exports = Exports(store, export_folder(settings))
            exports.forget_others(context.order)
            asyncio.run(
                _pull(
                    *(ehrs, sink, exports, reports, context.bases, validate, wishes, progress, politeness),
                    beat,
                    until,
                )
            )
            context = replace(context, bases=context.bases.knowing(sink.bases))
            _work_out_again(store, context.bases, known, beat)
            reports.settled(settle(store, context, validate, beat))
            recheck_by_newer_rules(store)
            _look_for_departments(store, ehrs, context, reports)
            with store.connect() as connection:
                for name in new:
                    reports.of(name).identifiers = trusted.seen(connection, name)
            _tell_what_is_known(store, ehrs, reports)
            reports.told(sink)
            own = [reports.of(name) for name in names]
            for report in own:
                report.run = run_id
            store.write(lambda t: runs.end(t.connection, run_id, own, t.now))
    return reports.all()


def _begin(transaction: Transaction, known: Sequence[str], run_id: str, names: Sequence[str]) -> None:
    feed.forget_others(transaction.connection, known)
    runs.begin(transaction.connection, run_id, names, transaction.now)


def _is_first(store: Store, ehr: str) -> bool:
    """Whether the EHR's patients have never been read completely."""
    with store.connect() as connection:
        known = [one for one in feed.feeds(connection, ehr) if one.type == "Patient"]
    return not any(one.first_success for one in known)


def _work_out_again(store: Store, all: Bases, known: Sequence[tuple[str, str]], beat: Beat) -> None:
    """Find again what records refer to, if an EHR turned out to have another address."""
    new = [(ehr, base) for ehr, own in all.aliases.items() for base in own if (ehr, base) not in known]
    if not new:
        return
    pace, texts = Pace(store), [base for _, base in new]

    def step(after: Record, transaction: Transaction) -> Record | None:
        return bases.rework(transaction.connection, after, texts, all)

    after: Record | None = Record("", "", "")
    while after is not None:
        after = pace.write(partial(step, after))
        beat()
    store.write(lambda t: bases.remember(t.connection, new))


@contextmanager
def _collecting_only_what_is_new() -> Iterator[None]:
    """Keep Python's garbage collector from going through all definitions again and again."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _look_for_departments(
    store: Store, ehrs: Sequence[EhrSettings], context: Context, reports: Reports
) -> None:
    """Report each department that its own server does not have: the settings are wrong there."""
    for ehr in ehrs:
        report, department = reports.of(ehr.name), context.departments.get(ehr.name)
        if department is None or report.error or department.type not in report.counts:
            continue
        with store.connect() as connection:
            if not stage.known_records(connection, ehr.name, department.type, [department.id]):
                report.faults[department.type] = _no_department(ehr)


def _no_department(ehr: EhrSettings) -> str:
    return f"the department {ehr.department} of the settings is not at this server; correct it"


def _tell_what_is_known(store: Store, ehrs: Sequence[EhrSettings], reports: Reports) -> None:
    """Say in words what is known of each type now, and how many records are left out."""
    with store.connect() as connection:
        left_out = {one.ehr: one.records for one in observed.waiting_dead_letters(connection)}
        for ehr in ehrs:
            reports.of(ehr.name).dead_letters = left_out.get(ehr.name, 0)
            reports.of(ehr.name).feeds = {
                row.type: row.words
                for row in feed.feeds(connection, ehr.name)
                if row.state != "not-observable"
            }


def settle(store: Store, context: Context, validate: stage.Validate, beat: Beat) -> Settled:
    """Link and write everything that is staged."""

    @contextmanager
    def look() -> Iterator[View]:
        with store.connect() as connection:
            yield View(connection, store.newest)

    beaten = time.monotonic()

    def beat_sometimes() -> None:
        nonlocal beaten
        if time.monotonic() > beaten + alone.HEARTBEAT / 3:
            beat()
            beaten = time.monotonic()

    # Each step checks for itself whether this sync still holds the lease.
    settling = Settling(context, validate)
    pace = Pace(store)
    return settling.in_steps(pace.write, look, beat_sometimes, pace.most)


def context_of(settings: Settings, more: Iterable[tuple[str, str]] = ()) -> Context:
    """What the settings say about where records come from and which department they belong to.

    more: other addresses (EHR, base) that EHRs were found to have
    """
    departments = {}
    for ehr in settings.ehr:
        type, _, id = ehr.department.partition("/")
        if id:
            departments[ehr.name] = Record(ehr.name, type, id)
    aliases = [(ehr.name, alias.rstrip("/")) for ehr in settings.ehr for alias in ehr.aliases]
    return Context(
        Bases(
            {ehr.name: ehr.url.rstrip("/") for ehr in settings.ehr},
            numbering=numbers.load(settings.sync.identifiers),
        ).knowing([*aliases, *more]),
        tuple(ehr.name for ehr in settings.ehr),
        departments,
    )


def export_folder(settings: Settings) -> Path:
    """The folder for files of bulk exports, of this store alone: what else is in it is removed."""
    own = f"exports-{hashlib.sha256(settings.store.url.encode()).hexdigest()[:16]}"
    if settings.sync.bulk_folder:
        return Path(settings.sync.bulk_folder) / own
    file = settings.store.url.removeprefix("sqlite:///")
    return Path(f"{file}-exports") if file != settings.store.url else data_folder() / own


def _chosen(settings: Settings, names: Sequence[str]) -> list[EhrSettings]:
    known = {ehr.name: ehr for ehr in settings.ehr}
    if not known:
        raise ConfigError("No EHR is set up; add an [[ehr]] section with name and url to coprod.toml.")
    for name in names:
        if name not in known:
            raise ConfigError(f"There is no EHR named {name!r}; known: {', '.join(known)}.")
    return [known[name] for name in names] if names else list(settings.ehr)


def default_validator() -> stage.Validate:
    """Validates against R4 and every profile that a record claims and we know."""
    from fhir_coprod.validation import validate_document  # slow: it loads the definitions

    return validate_document


async def _ask_plan(client: EhrClient) -> EhrPlan:
    try:
        _, statement = await client.json("metadata")
    except EhrAnswer as error:
        raise EhrAnswer(f"{error.message} Is {client.ehr.url} the FHIR base address?") from None
    made = plan(client.ehr, statement)
    client.heed(made.vendor)
    return made


# --- pulling --------------------------------------------------------------------------------------


async def _pull(
    ehrs: Sequence[EhrSettings],
    sink: StoreSink,
    exports: Exports | None,
    reports: Reports,
    known: Bases,
    validate: stage.Validate,
    wishes: Wishes,
    progress: Callable[[Progress], None] | None,
    politeness: Politeness | None,
    beat: Beat,
    until: Mapping[str, datetime],
) -> None:
    """Pull from all EHRs in parallel. If one fails, its report says why.

    until: when the hours of an EHR are over: then it is left alone, and the next run goes on there

    The EHRs are read side by side, but one thread works on their records and stages them, page after page.
    Two threads would not be faster, since Python runs one at a time; and while one stages records, with the
    store locked, the other would hold it up, and everybody else who wants to write would have to wait.
    """
    worker = ThreadPoolExecutor(1, "coprod-sync")
    loop = asyncio.get_running_loop()

    async def fail(ehr: EhrSettings, reason: str) -> None:
        reports.of(ehr.name).error = reason
        types = ehr.types or PULLED
        await loop.run_in_executor(worker, sink.failed, ehr.name, types, "failed", reason)

    async def one(ehr: EhrSettings) -> None:
        report = reports.of(ehr.name)
        try:
            async with EhrClient(ehr, politeness=politeness) as client:
                made = await _ask_plan(client)
                await loop.run_in_executor(worker, sink.planned, made)
                report.counts |= {p.type: Counts() for p in made.types if p.observable}
                reading = Reading(client, made, sink, known, validate, wishes, worker, progress)
                reading.exports = exports
                if not await _in_time(until.get(ehr.name), pull(reading)):
                    left = [type for type in report.counts if (ehr.name, type) not in sink.ended]
                    reason = f"its hours ({ehr.window}) were over before it was read; the next run goes on"
                    await loop.run_in_executor(worker, sink.failed, ehr.name, left, "failed", reason)
        except (EhrError, ConfigError) as error:
            await fail(ehr, error.message)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with one EHR, the others go on
            await fail(ehr, f"{ehr.name}: {said(error)}")

    try:
        async with asyncio.TaskGroup() as group:
            # In the group, so that pulling ends too when the heartbeat finds that another sync took over.
            heart = group.create_task(_keep_beating(beat))
            await asyncio.gather(*(group.create_task(one(ehr)) for ehr in ehrs))
            heart.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        worker.shutdown()


async def _in_time(until: datetime | None, work: Awaitable[None]) -> bool:
    """Whether the work was done before that time; else it is stopped, as a kill might stop it."""
    if until is None:
        await work
        return True
    limit = asyncio.timeout(max(0.0, (until - now()).total_seconds()))
    try:
        async with limit:
            await work
    except TimeoutError:
        if not limit.expired():
            raise
        return False
    return True


async def _keep_beating(beat: Beat) -> None:
    """Show that this sync is alive. If the store is busy for a moment, try again at the next beat."""
    while True:
        await asyncio.sleep(alone.HEARTBEAT)
        with suppress(Overloaded):
            await asyncio.to_thread(beat)


def _silent() -> None:
    """A dry run holds no lease."""


# --- the dry run ----------------------------------------------------------------------------------


class _Undo(Exception):
    def __init__(self, staged: list[tuple[Batch, Counts]], settled: Settled) -> None:
        super().__init__()
        self.staged, self.settled = staged, settled


def _settle_dry(
    store: Store, sink: DrySink, reports: Reports, context: Context, validate: stage.Validate
) -> None:
    """Stage, link and write in one transaction, then undo it."""

    def work(transaction: Transaction) -> None:
        staged = [
            (batch, stage.stage(transaction.connection, batch, transaction.now)) for batch in sink.batches
        ]
        after: Record | None = Record("", "", "") if sink.bases else None
        new = [base for _, base in sink.bases]
        while after is not None:
            after = bases.rework(transaction.connection, after, new, context.bases)
        settling = Settling(context, validate, keep=True)
        view = View(transaction.connection, transaction.newest)
        settled = settling.in_steps(lambda step: step(transaction), lambda: nullcontext(view), _silent)
        raise _Undo(staged, settled)

    try:
        store.write(work)
    except _Undo as undone:
        for batch, counts in undone.staged:
            reports.staged(batch, counts)
        reports.settled(undone.settled)
        reports.would(undone.settled.changes)
