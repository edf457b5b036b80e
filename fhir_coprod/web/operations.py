"""Composes the page for hospital IT: which EHRs are read, how far, and what runs by itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from fhir_coprod.errors import NotFound
from fhir_coprod.instants import spoken_age
from fhir_coprod.overview import EhrOverview, Overview, overview
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.store.condition import Condition
from fhir_coprod.store.quality import Fault
from fhir_coprod.sync import observed
from fhir_coprod.sync.runs import Run
from fhir_coprod.sync.staging.feed import Feed
from fhir_coprod.web.visitor import ANYBODY, Visitor

_RESULTS = {
    "running": "in progress",
    "ok": "all read",
    "faults": "with faults",
    "failed": "could not be read",
    "cut-off": "cut off",
}


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run, in words."""

    run: str
    began: str
    took: str
    result: str
    is_good: bool
    changed: int
    words: str


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One type of one EHR, in words."""

    type: str
    known: str
    age: str
    state: str
    is_whole: bool
    words: str


@dataclass(frozen=True, slots=True)
class EhrPart:
    """One EHR, in words."""

    name: str
    headline: str
    grade: str
    """good, quiet (left out on purpose) or late."""
    window: str
    dead_letters: int
    marks: int
    """Elements that break a rule in records that are kept."""
    types: tuple[TypeRow, ...]
    hidden: tuple[str, ...]
    runs: tuple[RunRow, ...]

    @property
    def is_whole(self) -> bool:
        return all(each.is_whole for each in self.types)


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page."""

    now: datetime
    zone: str
    wrong: int
    """EHRs that somebody should look at."""
    dead_letters: int
    stalled: int | None
    """None: not told to whom not all of them are shown."""
    is_watched: bool
    jobs: tuple[tuple[str, str, bool], ...]
    """What runs by itself: its name, what it does just now, and whether that is as it should be."""
    ehrs: tuple[EhrPart, ...]


def operating(store: Store, settings: Settings, now: datetime, visitor: Visitor = ANYBODY) -> Page:
    """How everything is at `now`, as far as it is the visitor's; writes nothing."""
    own = own_ehrs(store, settings, visitor)
    seen, zone = overview(store, settings, now), settings.site.zone
    if own is not None:
        ehrs = tuple(ehr for ehr in seen.ehrs if ehr.name in own)
        seen = replace(seen, ehrs=ehrs, unread_files=0)
    marks: Counter[str] = Counter()
    for source, _, _, number in store.fault_counts():
        marks[source] += number
    parts = tuple(_ehr(ehr, marks[f"ehr:{ehr.name}"], now, zone) for ehr in seen.ehrs)
    return Page(
        now.astimezone(zone),
        settings.site.timezone,
        sum(part.grade == "late" for part in parts),
        sum(ehr.dead_letters for ehr in seen.ehrs) + seen.unread_files,
        seen.stalled if own is None else None,
        seen.is_watched,
        tuple(_jobs(seen, store.condition(), zone)),
        parts,
    )


def wrong_in_records(store: Store, settings: Settings, visitor: Visitor) -> list[Fault]:
    """What is wrong in the records of the visitor's EHRs, with those as examples that they may see."""
    own = own_ehrs(store, settings, visitor)
    found = [fault for fault in store.faults() if own is None or fault.ehr in own]
    if visitor.session is None:
        return found
    seen = visitor.sees(store, {f"{fault.type}/{id}" for fault in found for id in fault.ids})
    return [
        replace(fault, ids=tuple(id for id in fault.ids if f"{fault.type}/{id}" in seen)) for fault in found
    ]


def own_ehrs(store: Store, settings: Settings, visitor: Visitor) -> set[str] | None:
    """The EHRs of the visitor's departments; None for all. Raises NotFound for a patient."""
    if visitor.is_patient:
        raise NotFound("There is no such page.")
    if visitor.is_everywhere:
        return None
    with store.connect() as connection:
        departments = observed.departments(connection, settings.ehr)
    own = {*visitor.rights.departments}
    return {ehr for ehr, names in departments.items() if own & {*names}}


def _jobs(seen: Overview, condition: Condition, zone: ZoneInfo) -> list[tuple[str, str, bool]]:
    running = seen.running
    if running is not None:
        sync = f"run {running.run}, since {_time(running.began, zone)}"
    else:
        sync = "in progress" if seen.is_syncing else "idle"
    if seen.is_watched:
        watch = "a process watches all the time"
    elif seen.looked:
        watch = f"nobody just now; last {_time(seen.looked, zone)}"
    else:
        watch = "nobody has ever watched"
    room = f", {condition.free_bytes / 1e9:.1f} GB free" if condition.free_bytes is not None else ""
    return [
        ("Sync", sync, True),
        ("Watch", watch, seen.is_watched_enough),
        ("Store", f"{condition.state}, {condition.head} changes{room}", condition.state == "ok"),
        ("Waiting", f"{seen.waiting} records to be linked or written", True),
    ]


def _ehr(ehr: EhrOverview, marks: int, now: datetime, zone: ZoneInfo) -> EhrPart:
    last = ehr.runs[0] if ehr.runs else None
    is_wrong = ehr.is_late(now) or (last is not None and last.result in ("faults", "failed", "cut-off"))
    if ehr.pause:
        headline, grade = ehr.left_out, "quiet"
    elif ehr.known is None:
        headline, grade = "not read whole yet", "late"
    else:
        headline = f"known up to {_time(ehr.known, zone)}, {spoken_age(now - ehr.known)} ago"
        grade = "late" if is_wrong else "good"
    if ehr.left_out and not ehr.pause:
        headline += f"; {ehr.left_out}"
    return EhrPart(
        ehr.name,
        headline,
        grade,
        ehr.window,
        ehr.dead_letters,
        marks,
        tuple(_type(feed, now, zone) for feed in (*ehr.not_whole, *ehr.whole)),
        ehr.hidden,
        tuple(_run(run, zone) for run in ehr.runs),
    )


def _type(feed: Feed, now: datetime, zone: ZoneInfo) -> TypeRow:
    known = feed.last_success
    state = {"observable": "whole", "failed": "failed", "behind": "not whole"}[feed.state]
    return TypeRow(
        feed.type,
        _time(known, zone) if known else "never",
        spoken_age(now - known) if known else "–",
        state,
        feed.state == "observable",
        feed.reason,
    )


def _run(run: Run, zone: ZoneInfo) -> RunRow:
    took = f"{run.took.total_seconds():.0f} s" if run.took is not None else "–"
    result, is_good = _RESULTS[run.result], run.result in ("ok", "running")
    return RunRow(run.run, _time(run.began, zone), took, result, is_good, run.changed, run.wrong)


def _time(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
