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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress

import httpx

from fhir_coprod import faults
from fhir_coprod.errors import ConfigError, EhrAnswer, EhrError, Overloaded
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.recheck import recheck_by_newer_rules
from fhir_coprod.sync import alone
from fhir_coprod.sync.ehr.client import EhrClient, Politeness
from fhir_coprod.sync.ehr.plan import EhrPlan, plan
from fhir_coprod.sync.merging import trusted
from fhir_coprod.sync.merging.publish import View
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.pace import Pace
from fhir_coprod.sync.pull import Progress, Puller
from fhir_coprod.sync.report import EhrReport, Reports
from fhir_coprod.sync.settle import Settled, Settling
from fhir_coprod.sync.staging import again, feed, numbers, stage
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
    """What the EHR can do, and how the sync will read it. Raises EhrUnreachable, EhrAnswer, ConfigError."""

    async def ask() -> EhrPlan:
        async with EhrClient(ehr, politeness=politeness, transport=transport) as client:
            return await _ask_plan(client)

    return asyncio.run(ask())


def run(
    store: Store,
    settings: Settings,
    *,
    names: Sequence[str] = (),
    full: bool = False,
    dry_run: bool = False,
    progress: Callable[[Progress], None] | None = None,
    validate: stage.Validate | None = None,
    politeness: Politeness | None = None,
) -> list[EhrReport]:
    """Sync the EHRs of the settings (or those of `names`) into the store.

    full:     list everything again, which also finds what was deleted
    dry_run:  read everything, write nothing; the reports hold what would have been written
    validate: decides whether a record is good; by default the validator of R4 and our profiles

    Raises ConfigError for an unknown name or if there is no EHR at all, Conflict if another sync is running.
    If an EHR fails, its report says why, and the others go on.
    """
    ehrs = _chosen(settings, names)
    context = context_of(settings)
    reports = Reports(context.order)
    validate = validate or default_validator()
    if dry_run:
        dry = DrySink(store)
        with _collecting_only_what_is_new():
            asyncio.run(
                _pull(ehrs, dry, reports, context.bases, validate, full, progress, politeness, _silent)
            )
            _settle_dry(store, dry, reports, context, validate)
        reports.faults(dry.faults)
    else:
        with alone.alone(store) as beat, _collecting_only_what_is_new():
            store.write(lambda t: feed.forget_others(t.connection, context.order))
            new = [ehr.name for ehr in ehrs if full or _is_first(store, ehr.name)]
            keeping = {ehr.name for ehr in ehrs if ehr.on_invalid == "keep"}
            again.retake_readable(store, keeping, context.bases, validate)
            sink = StoreSink(store, reports.staged, Pace(store))
            asyncio.run(_pull(ehrs, sink, reports, context.bases, validate, full, progress, politeness, beat))
            reports.settled(settle(store, context, validate, beat))
            recheck_by_newer_rules(store)
            _look_for_departments(store, ehrs, context, reports)
            with store.connect() as connection:
                for name in new:
                    reports.of(name).identifiers = trusted.seen(connection, name)
        reports.faults(sink.faults)
    return reports.all()


def _is_first(store: Store, ehr: str) -> bool:
    """Whether the EHR's patients have never been read completely."""
    with store.connect() as connection:
        known = [one for one in feed.feeds(connection, ehr) if one.type == "Patient"]
    return not any(one.first_success for one in known)


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
                report.faults[department.type] = (
                    f"the department {ehr.department} of the settings is not at this server; correct it"
                )


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


def context_of(settings: Settings) -> Context:
    """What the settings say about where records come from and which department they belong to."""
    departments = {}
    for ehr in settings.ehr:
        type, _, id = ehr.department.partition("/")
        if id:
            departments[ehr.name] = Record(ehr.name, type, id)
    return Context(
        Bases(
            {ehr.name: ehr.url.rstrip("/") for ehr in settings.ehr}, numbers.load(settings.sync.identifiers)
        ),
        tuple(ehr.name for ehr in settings.ehr),
        departments,
    )


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
    reports: Reports,
    bases: Bases,
    validate: stage.Validate,
    full: bool,
    progress: Callable[[Progress], None] | None,
    politeness: Politeness | None,
    beat: Beat,
) -> None:
    """Pull from all EHRs in parallel. If one fails, its report says why.

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
                await Puller(client, made, sink, bases, validate, full, worker, progress).run()
        except (EhrError, ConfigError) as error:
            await fail(ehr, error.message)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with one EHR, the others go on
            await fail(ehr, f"{ehr.name}: {faults.said(error)}")

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
