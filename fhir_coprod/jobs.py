"""Background jobs: watch the referrals and sync the EHRs, beside the endpoint or in a worker process.

Any number of processes may do this for one store. A lease lets one of them watch at a time, and another takes
over when that one is gone; the same holds for the sync. The leases only save work: the alerts come out the
same whichever process writes them (`watch.live.evaluate`). A process can be killed at any moment and leaves
nothing half done.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from fhir_coprod import stopping
from fhir_coprod.errors import Conflict, CoprodError, said
from fhir_coprod.logs import logger
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.store.lease import Lease
from fhir_coprod.sync import hours, runs
from fhir_coprod.sync.staging import numbers
from fhir_coprod.watch.live.loop import LEASE, Watch
from fhir_coprod.watch.record import words
from fhir_coprod.watch.rules import policies

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

LEASE_SECONDS: Final = 10.0
"""How long after a watch dies another takes over."""
GLANCE_SECONDS: Final = 0.05
"""Pause between two looks at the log while nothing happens."""
ROUND_SECONDS: Final = 10.0
"""Pause between two looks at what is not in the log: feeds, settings of the store."""
LONGEST_PAUSE: Final = 30.0
"""Longest pause after repeated failures."""
KILL_SECONDS: Final = 3.0
"""How long a process that we started may take to end before it is killed, which loses nothing."""


def require_files(settings: Settings) -> None:
    """Read the files that the settings name: policy, words, identifiers.

    Raises ConfigError if one is missing or wrong: then nothing is to start, as every page and every sync
    would fail with it.
    """
    policies.load(settings.watch.policy, settings.site)
    words.load(settings.watch.words)
    numbers.load(settings.sync.identifiers)


def work(settings: Settings) -> None:
    """Run all jobs until SIGTERM or SIGINT. Raises ConfigError when they cannot start."""
    require_files(settings)
    stop = threading.Event()
    stopping.when_told(stop.set)
    with Store.open(settings.store.url) as store:
        run(store, settings, stop)


def run(store: Store, settings: Settings, stop: threading.Event) -> None:
    """Run all jobs over an open store until `stop` is set."""
    log = logger(settings.log.format)
    policy = policies.load(settings.watch.policy, settings.site)
    log.info("started", policy=policy.label, ehrs=len(settings.ehr), process=os.getpid())
    with _syncing(store, settings, stop, log):
        _Watching(Watch(store, policy, settings), stop, log).run()
    log.info("stopped")


class _Watching:
    """Runs the watch for as long as this process holds the lease."""

    def __init__(self, watch: Watch, stop: threading.Event, log: Any) -> None:
        self._watch = watch
        self._stop = stop
        self._log = log
        self._lease = Lease(LEASE, LEASE_SECONDS)
        self._leased_until = 0.0
        self._next_round = 0.0

    def run(self) -> None:
        pause = GLANCE_SECONDS
        while not self._stop.wait(pause):
            try:
                pause = GLANCE_SECONDS if self._turn() else 1.0
            except Exception as error:  # noqa: BLE001 - whatever happens, the next try may do better
                pause = min(max(1.0, pause * 2), LONGEST_PAUSE)
                self._log.error("watch failed", what=said(error), again_in_seconds=pause)
        with suppress(CoprodError):
            self._watch.store.write(self._lease.give_up)

    def _turn(self) -> bool:
        """Do everything that is due now; False when another process holds the lease."""
        if not self._may_watch():
            return False
        now = datetime.now(UTC)
        if monotonic() >= self._next_round:
            self._next_round = monotonic() + ROUND_SECONDS
            if self._watch.check_ground(now):
                self._log.info("looking at every referral again", because="rules, feeds or program changed")
            self._watch.report(now)
        while self._watch.step(now) and not self._stop.is_set() and self._may_watch():
            self._tell(self._watch.written)
            now = datetime.now(UTC)
        self._tell(self._watch.written)
        return True

    def _may_watch(self) -> bool:
        if monotonic() < self._leased_until - LEASE_SECONDS * 2 / 3:
            return True
        held = monotonic() < self._leased_until
        asked = monotonic()
        mine = self._watch.store.write(self._lease.take) is None
        self._leased_until = asked + LEASE_SECONDS if mine else 0.0
        if mine and not held:
            self._log.info("watching")
        if held and not mine:
            self._log.info("another process watches now")
        return mine

    def _tell(self, written: Counter[str]) -> None:
        if written:
            self._log.info("alerts", **{name.replace(" ", "_"): count for name, count in written.items()})
            written.clear()


# -- sync ----------------------------------------------------------------------------------------------


@contextmanager
def _syncing(store: Store, settings: Settings, stop: threading.Event, log: Any) -> Iterator[None]:
    """Sync the EHRs at intervals while the block runs, each time in a process of its own."""
    if not any(hours.interval(settings, ehr) for ehr in settings.ehr):
        yield
        return
    thread = threading.Thread(target=_sync_again, args=(store, settings, stop, log), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(KILL_SECONDS + 1)


def _sync_again(store: Store, settings: Settings, stop: threading.Event, log: Any) -> None:
    """Sync whatever is due, again and again. One run reads all EHRs that are due at its beginning."""
    pause = min(ROUND_SECONDS, *filter(None, (hours.interval(settings, ehr) for ehr in settings.ehr)))
    while not stop.is_set():
        try:
            names = store.write(lambda t: hours.take_due(t, settings, datetime.now(UTC)))
            if names:
                _watched(_process(_sync, settings, names), stop, log, "sync")
        except Exception as error:  # noqa: BLE001 - the next round tries again
            log.error("sync failed", what=said(error))
        stop.wait(pause)


def _sync(settings: Settings, names: list[str]) -> None:
    """One sync in its own process; logs a line for each EHR."""
    stopping.end_with_parent()
    from fhir_coprod.sync.engine import run as sync
    from fhir_coprod.sync.pace import let_others_go_first

    let_others_go_first()
    run_id = runs.new_id(datetime.now(UTC))
    log = logger(settings.log.format).bind(run=run_id)
    with Store.open(settings.store.url) as store:
        try:
            reports = sync(store, settings, names=names, run_id=run_id)
        except Conflict:
            log.info("sync left out", because="another sync is in progress")
            store.write(lambda t: hours.put_off(t, settings, names))
            return
    for report in reports:
        counts = Counter[str]()
        for each in report.counts.values():
            counts.update({name: number for name, number in each.to_json().items() if name != "read"})
        changed = {name: number for name, number in counts.items() if number and name != "unchanged"}
        if report.dead_letters:
            changed["dead_letters"] = report.dead_letters
        if report.left_out:
            log.info("sync left out", ehr=report.ehr, because=report.left_out)
        elif report.error or report.faults:
            log.warning("synced", ehr=report.ehr, faults=report.error or dict(report.faults), **changed)
        else:
            remarks = {"remarks": dict(report.remarks)} if report.remarks else {}
            log.info("synced", ehr=report.ehr, **changed, **remarks)


def _watched(process: BaseProcess, stop: threading.Event, log: Any, name: str) -> None:
    """Wait until a process ends; end it when we are told to stop. It may be killed at any moment."""
    while process.is_alive() and not stop.is_set():
        process.join(0.2)
    if process.is_alive():
        process.terminate()
        process.join(KILL_SECONDS)
        process.kill()
        process.join()
    elif process.exitcode:
        log.error(f"{name} failed", exit_code=process.exitcode)


# -- beside the endpoint -------------------------------------------------------------------------------


@contextmanager
def beside(settings: Settings) -> Iterator[Callable[[], None]]:
    """Run all jobs in a separate process while the block runs; start it again whenever it ends.

    Yields what tells that process to end, so that it need not wait for the end of the block.
    """
    stop = threading.Event()
    log = logger(settings.log.format)

    def keep() -> None:
        while not stop.is_set():
            _watched(_process(_beside, settings), stop, log, "jobs")
            stop.wait(1.0)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield stop.set
    finally:
        stop.set()
        thread.join()


def _beside(settings: Settings) -> None:
    stopping.end_with_parent()
    try:
        work(settings)
    except CoprodError as error:
        logger(settings.log.format).error("jobs cannot begin", what=error.message)
        sys.exit(1)


def _process(target: Any, *arguments: Any) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=False)
    process.start()
    return process
