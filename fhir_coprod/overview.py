"""How the sync and the watch are doing, whichever process runs them: for metrics, `doctor` and the page.

Everything is read from the store, so that it is the same wherever it is asked. What it costs grows with the
number of EHRs and types, and with the referrals that are stalled; not with the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from fhir_coprod.instants import from_milliseconds
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import alone, hours, observed, pauses, runs
from fhir_coprod.sync.pauses import Pause
from fhir_coprod.sync.runs import Run
from fhir_coprod.sync.staging.feed import Feed, feeds
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.live.loop import LEASE, LOOKED

SHOWN: Final = 5
"""Runs of each EHR."""
WATCHED_WITHIN: Final = timedelta(hours=26)
"""How long nobody may watch, as with a job each night."""


@dataclass(frozen=True, slots=True)
class EhrOverview:
    """One EHR of the settings."""

    name: str
    pause: Pause | None
    window: str
    left_out: str
    """Why it is not to be read now; "" if it is."""
    feeds: tuple[Feed, ...]
    """Its types, but for those that it does not show."""
    hidden: tuple[str, ...]
    """The types that it does not show."""
    runs: tuple[Run, ...]
    """The last ones, the newest first."""
    good: datetime | None
    """When a run that read everything last ended."""
    dead_letters: int
    """Open ones."""
    late_after: timedelta
    """How old what is known may be before somebody should look: an interval and an hour, or a day and two
    hours if it has hours, or is not synced by itself."""

    @property
    def known(self) -> datetime | None:
        """Up to when all its types are known; None if one of them has never been read whole."""
        known = [feed.last_success for feed in self.feeds]
        return min(at for at in known if at) if known and all(known) else None

    @property
    def not_whole(self) -> tuple[Feed, ...]:
        return tuple(feed for feed in self.feeds if feed.state != "observable")

    @property
    def whole(self) -> tuple[Feed, ...]:
        return tuple(feed for feed in self.feeds if feed.state == "observable")

    def is_late(self, now: datetime) -> bool:
        return self.pause is None and (self.known is None or now - self.known > self.late_after)


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that runs by itself, at `now`."""

    now: datetime
    ehrs: tuple[EhrOverview, ...]
    unread_files: int
    """Open dead letters of files."""
    is_watched: bool
    """Whether some process watches just now."""
    looked: datetime | None
    """When somebody last watched, to the minute."""
    is_syncing: bool
    waiting: int
    """Records that are taken and not yet linked or written, up to `observed.MOST_COUNTED`."""
    stalls: dict[str, int]
    """By rule."""
    stalled: int
    moving: int
    not_assessed: int
    """Referrals at which the program failed."""

    @property
    def is_watched_enough(self) -> bool:
        """Whether somebody watches, or has not long ago."""
        return self.is_watched or (self.looked is not None and self.now - self.looked <= WATCHED_WITHIN)

    @property
    def running(self) -> Run | None:
        """The run that is in progress."""
        last = [ehr.runs[0] for ehr in self.ehrs if ehr.runs]
        return next((run for run in last if run.result == "running"), None)


def overview(store: Store, settings: Settings, now: datetime) -> Overview:
    """How everything is at `now`; writes nothing."""
    looked = store.cursor(LOOKED)
    # Asked before the runs are read: one that began earlier and has not ended was killed if nobody syncs.
    is_syncing = store.is_held(alone.NAME)
    with store.connect() as connection:
        letters = {one.ehr: one.records for one in observed.waiting_dead_letters(connection)}
        interests, stalls = rows.counts(connection)
        return Overview(
            now,
            _ehrs(connection, settings, now, letters, is_syncing=is_syncing),
            letters.get("", 0),
            store.is_held(LEASE),
            from_milliseconds(looked) if looked else None,
            is_syncing,
            observed.waiting_records(connection),
            stalls,
            interests.get(rows.STALLED, 0),
            interests.get(rows.MOVING, 0),
            interests.get(rows.FAULT, 0),
        )


def _ehrs(
    connection: Connection,
    settings: Settings,
    now: datetime,
    letters: dict[str, int],
    *,
    is_syncing: bool,
) -> tuple[EhrOverview, ...]:
    names = [ehr.name for ehr in settings.ehr]
    by_ehr: dict[str, list[Feed]] = {name: [] for name in names}
    for feed in feeds(connection):
        by_ehr.setdefault(feed.ehr, []).append(feed)
    paused = pauses.pauses(connection, now)
    out = hours.left_out(connection, settings, settings.ehr, now)
    last = runs.last(connection, names, SHOWN)
    good = runs.last_good(connection, names)
    return tuple(
        EhrOverview(
            ehr.name,
            paused.get(ehr.name),
            ehr.window,
            out.get(ehr.name, ""),
            _seen(by_ehr[ehr.name]),
            tuple(feed.type for feed in by_ehr[ehr.name] if feed.state == "not-observable"),
            tuple(last[ehr.name] if is_syncing else _without_the_dead(last[ehr.name], now)),
            good.get(ehr.name),
            letters.get(ehr.name, 0),
            _patience(settings, ehr),
        )
        for ehr in settings.ehr
    )


def _seen(known: Sequence[Feed]) -> tuple[Feed, ...]:
    return tuple(feed for feed in known if feed.state != "not-observable")


def _without_the_dead(last: Iterable[Run], now: datetime) -> Iterator[Run]:
    """The runs when nobody syncs: what has not ended was cut off, which the next run will note."""
    for run in last:
        is_dead = run.result == "running" and run.began < now
        yield run._replace(result="cut-off") if is_dead else run


def _patience(settings: Settings, ehr: EhrSettings) -> timedelta:
    interval = hours.interval(settings, ehr)
    least = 25 if ehr.window or not interval else 0
    return max(timedelta(seconds=1.1 * interval), timedelta(hours=least)) + timedelta(hours=1)
