"""Counts what the watch finds of planted referrals, and what dirty records do to it."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from evidence.foreign.dirt import CUT, KINDS, Dirty, spoil, spoilt
from evidence.foreign.judged import Concerns, Verdict, name_of, readable_back, taken_in, verdicts
from evidence.foreign.planted import Lost, Planted, house, one_house, plant
from evidence.foreign.served import synced
from evidence.foreign.ways import WAYS, Json
from fhir_coprod.alike import thing
from fhir_coprod.settings import PracticeSettings, Settings, WatchSettings
from fhir_coprod.watch.rules import policies
from tests.peers import ips

NOW = datetime(2026, 8, 1, tzinfo=UTC)
"""A month after the last day of the foreign hospital's records."""
POLICY = policies.load("default")
Figures = dict[str, Any]


class World:
    """The foreign hospital as one Organization, with referrals planted into it."""

    def __init__(self, hospital: Iterable[Json], seed: int, now: datetime = NOW, most: int = 100) -> None:
        own = one_house(hospital)
        self.now = now
        self.planted: list[Planted] = plant(own, now, seed, lost=most, good=most)
        self.records: list[Json] = [*own, *house(), *(r for one in self.planted for r in one.records)]
        self.in_house = [name_of(record) for record in own if record["resourceType"] == "ServiceRequest"]
        self.concerns = Concerns(self.records)

    def judged(
        self, dirty: Mapping[str, Dirty] | None = None, settings: Settings | None = None
    ) -> dict[str, Verdict]:
        with taken_in(self.records, dirty) as store:
            return verdicts(store, POLICY, self.now, settings)


def as_the_site_says() -> Settings:
    """The settings of a site that has said which steps these departments do not record."""
    said = []
    for way in WAYS:
        unused = [("task", way.task), ("told", way.told), ("booking", way.booked), ("returned", way.back)]
        said += [
            PracticeSettings(step=step, used=False, code=thing(asked)[0])  # type: ignore[arg-type]
            for step, recorded in unused
            if not recorded
            for asked in way.things
        ]
    return Settings(watch=WatchSettings(practice=tuple(said)))


# --- planted referrals ------------------------------------------------------------------------------


def planted(world: World, settings: Settings | None = None) -> Figures:
    """Verdicts on the lost and on the good ones, by stage, and on the hospital's own orders."""
    found = world.judged(settings=settings)
    stages: dict[str, Counter[str]] = {stage.value: Counter() for stage in Lost}
    claimed: Counter[str] = Counter()
    apart: Counter[str] = Counter()
    for one in world.planted:
        said, counts = found[one.reference], stages[one.stage]
        if not one.is_lost:
            counts["good"] += 1
            counts["good claimed"] += bool(said.alerts)
            for rule in said.alerts:
                claimed[f"{one.way.name}|{rule}"] += 1
            continue
        counts["lost"] += 1
        counts[_named(one, said)] += 1
        counts["not to be told apart"] += not one.can_be_told
        if not said.alerts & one.right:
            apart[f"{one.stage}|{one.way.name}|{said.scope}"] += 1
    own = [found[name] for name in world.in_house]
    return {
        "stages": {name: dict(counts) for name, counts in stages.items()},
        "good claimed": dict(sorted(claimed.items())),
        "not alerted": dict(sorted(apart.items())),
        "in-house": len(own),
        "in-house claimed": sum(bool(said.alerts) for said in own),
        "in-house counted": sum(bool(said.board) for said in own),
    }


def _named(one: Planted, said: Verdict) -> str:
    if said.alerts & one.right:
        return "alert"
    if said.board & one.right:
        return "board"
    if said.alerts:
        return "another rule"
    return "silent list" if said.board else "nothing"


# --- dirty records ------------------------------------------------------------------------------------


def noise(world: World, clean: Mapping[str, Verdict], dirty: Mapping[str, Dirty]) -> Counter[str]:
    """What these dirty records do to what can be read, and to the verdict on each planted referral."""
    with taken_in(world.records, dirty) as store:
        found = verdicts(store, POLICY, world.now)
        readable, back, _ = readable_back(store, world.records, dirty)
    counts = Counter({"records": len(world.records), "dirty": len(dirty), "readable": readable, "back": back})
    return counts + compared(world, clean, found, dirty)


_NOBODY = Verdict("", frozenset(), frozenset())


def compared(
    world: World, clean: Mapping[str, Verdict], found: Mapping[str, Verdict], dirty: Mapping[str, Dirty]
) -> Counter[str]:
    concerned = set().union(*(world.concerns.of(one) for one in dirty.values()))
    counts: Counter[str] = Counter()
    for name in clean:
        changed = name not in found or clean[name].rules != found[name].rules
        counts["changed elsewhere"] += changed and name not in concerned
        counts["not assessed"] += bool(found.get(name, _NOBODY).not_assessed)
    for one in world.planted:
        before, after = clean[one.reference], found.get(one.reference, _NOBODY)
        counts["referrals"] += 1
        counts["same"] += one.reference in found and before.rules == after.rules
        counts["stalls"] += len(before.alerts)
        counts["stalls still"] += len(before.alerts & after.alerts)
        counts["added"] += len(after.alerts - before.alerts)
        if one.is_lost:
            counts["lost"] += 1
            counts["lost named"] += bool(after.rules & one.right)
    return counts


def alone(world: World, clean: Mapping[str, Verdict], times: int, seed: int) -> Counter[str]:
    """One dirty record at a time, mostly of a planted referral: how many verdicts it changes, and of whom."""
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    kinds = (*KINDS, CUT)
    of_planted = [record for one in world.planted for record in one.records]
    while counts["runs"] < times:
        among = of_planted if chosen.random() < 0.8 else world.records
        one = spoil(chosen.choice(among), kinds[counts["runs"] % len(kinds)], chosen)
        if one is None:
            continue
        found = world.judged({one.name: one})
        concerned = world.concerns.of(one)
        changed = {n for n in clean if n not in found or clean[n].rules != found[n].rules}
        counts["runs"] += 1
        counts["changed"] += len(changed)
        counts["changed elsewhere"] += len(changed - concerned)
        counts["runs that changed some"] += bool(changed)
        counts["runs that changed several"] += len(changed) > 1
    return counts


def over_http(world: World, share: float, seed: int) -> Counter[str]:
    """The same through the sync from a server: clean, and dirty."""
    dirty = spoilt(world.records, share, seed)
    with synced(world.records, {}) as got:
        clean = _at_the_ehr(verdicts(got.store, POLICY, world.now, got.settings), got.ours)
    with synced(world.records, dirty) as got:
        found = _at_the_ehr(verdicts(got.store, POLICY, world.now, got.settings), got.ours)
        unread = [one for one in dirty.values() if one.name not in got.ours]
        kept = sum(any(one.raw in letter for letter in got.letters) for one in unread)
        here = sum(name_of(record) in got.ours for record in world.records)
    counts = Counter(
        {
            "records": len(world.records),
            "dirty": len(dirty),
            "here": here,
            "unread": len(unread),
            "letters": kept,
        }
    )
    return counts + compared(world, clean, found, dirty)


def _at_the_ehr(found: Mapping[str, Verdict], ours: Mapping[str, str]) -> dict[str, Verdict]:
    theirs = {our: name for name, our in ours.items()}
    return {theirs[name]: said for name, said in found.items() if name in theirs}


def examples() -> list[Json]:
    """The examples of the International Patient Summary, those in Bundles one by one."""
    found: dict[str, Json] = {}
    with tarfile.open(ips.FILE) as package:
        for member in package.getmembers():
            if "/example/" in member.name and (file := package.extractfile(member)) is not None:
                held = json.load(io.TextIOWrapper(file, encoding="utf-8"))
                inner = [entry["resource"] for entry in held.get("entry", ())] or [held]
                for record in inner:
                    if "id" in record:
                        found.setdefault(name_of(record), record)
    return list(found.values())


def read_back(records: Sequence[Json], share: float, seed: int) -> Counter[str]:
    """How many of these records, some of them dirty, can be read, and how many are read back."""
    dirty = spoilt(records, share, seed)
    with taken_in(records, dirty) as store:
        readable, back, _ = readable_back(store, records, dirty)
    return Counter({"records": len(records), "dirty": len(dirty), "readable": readable, "back": back})
