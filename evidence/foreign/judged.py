"""Takes records in as a load does, judges the referrals among them, and says whom a record concerns."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from evidence.foreign.dirt import Dirty
from evidence.foreign.ways import Json
from fhir_coprod.errors import CoprodError
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.loading import Loadable, judge
from fhir_coprod.watch.facts.reader import portions
from fhir_coprod.watch.live.look import assess_each, reader_at
from fhir_coprod.watch.rules.policies import Policy


class Verdict(NamedTuple):
    """What the watch says of one order: what it alerts about, and what it counts on the board."""

    scope: str
    alerts: frozenset[str]
    board: frozenset[str]
    not_assessed: str = ""

    @property
    def rules(self) -> frozenset[str]:
        return self.alerts | self.board


def name_of(record: Json) -> str:
    return f"{record['resourceType']}/{record['id']}"


@lru_cache(maxsize=20_000)
def _judged(raw: bytes) -> Loadable | None:
    """The record as a load would store it; None if nobody can read it."""
    try:
        return judge(raw)
    except CoprodError:
        return None


def raw_of(record: Json) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()


@contextmanager
def taken_in(
    records: Iterable[Json], dirty: Mapping[str, Dirty] | None = None, source: str = ""
) -> Iterator[Store]:
    """A store that has taken these records in, some of them dirty."""
    spoilt = dirty or {}
    raws = [spoilt[name].raw if (name := name_of(record)) in spoilt else raw_of(record) for record in records]
    loadable = [one for raw in raws if (one := _judged(raw)) is not None]

    def work(transaction: Transaction) -> None:
        for one in loadable:
            transaction.put(one.document, one.id, source=source, marks=one.marks)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "s.db")
        file.write_bytes(_empty())
        with Store.open(f"sqlite:///{file}") as store:
            store.write(work)
            yield store


@cache
def _empty() -> bytes:
    """The file of an empty store: to copy it takes an eighth of the time that it takes to make one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "s.db")
        Store.open(f"sqlite:///{file}").close()
        return file.read_bytes()


def verdicts(
    store: Store, policy: Policy, now: datetime, settings: Settings | None = None
) -> dict[str, Verdict]:
    """What the watch says of each order, by its reference."""
    site = settings or Settings()
    with store.connect() as connection:
        standings = [
            standing
            for portion in portions(reader_at(connection, site, policy, now))
            for standing, _ in assess_each(portion, policy, now)
        ]
    return {
        standing.referral: Verdict(
            str(standing.scope),
            frozenset(str(stall.rule) for stall in standing.stalls),
            frozenset(str(stall.rule) for stall in standing.counted),
            standing.not_assessed,
        )
        for standing in standings
    }


def readable_back(
    store: Store, records: Sequence[Json], dirty: Mapping[str, Dirty]
) -> tuple[int, int, list[str]]:
    """How many records could be read, how many of these are in the store as they came, and those that are
    not."""
    readable, lost = 0, []
    for record in records:
        spoilt = dirty.get(name_of(record))
        raw = spoilt.raw if spoilt else raw_of(record)
        try:
            came = json.loads(raw)
        except ValueError:
            continue
        readable += 1
        held = store.read(record["resourceType"], record["id"]).data
        if _content(held) != _content(came):
            lost.append(name_of(record))
    return readable, readable - len(lost), lost


def _content(record: Json) -> Json:
    """Without what the store itself writes into `meta`."""
    meta = record.get("meta")
    if not isinstance(meta, dict):
        return {key: value for key, value in record.items() if key != "meta"}
    own = {key: value for key, value in meta.items() if key not in ("versionId", "lastUpdated", "source")}
    return {**record, "meta": own} if own else {key: value for key, value in record.items() if key != "meta"}


# --- whom a record concerns -----------------------------------------------------------------------

_OF_A_REFERRAL = frozenset(
    {
        "ServiceRequest",
        "Task",
        "Appointment",
        "Encounter",
        "DiagnosticReport",
        "DocumentReference",
        "Communication",
    }
)


class Concerns:
    """Which referrals a record concerns: those that it leads to or that lead to it, and those of its patient.

    A service, a place or a person concerns the referrals whose records name it.
    """

    def __init__(self, records: Collection[Json]) -> None:
        self._links = {name_of(record): named(record) for record in records}
        self._naming: dict[str, set[str]] = defaultdict(set)
        for name, links in self._links.items():
            for link in links:
                self._naming[link].add(name)

    def of(self, dirty: Dirty) -> set[str]:
        """The referrals that a record concerns, clean or dirty."""
        try:
            now = named(json.loads(dirty.raw))
        except ValueError:
            now = set()
        start = {dirty.name, *self._links.get(dirty.name, ()), *now}
        if dirty.name.partition("/")[0] not in _OF_A_REFERRAL:
            start = {dirty.name, *self._about(dirty.name)}
        patients = {name for name in start if name.startswith("Patient/")}
        reached = self._led_to({name for name in start if name.partition("/")[0] in _OF_A_REFERRAL})
        for name in reached:
            patients |= {link for link in self._links.get(name, ()) if link.startswith("Patient/")}
        for patient in patients:
            reached |= {name for name in self._naming[patient] if name.startswith("ServiceRequest/")}
        return {name for name in reached if name.startswith("ServiceRequest/")}

    def _about(self, name: str) -> set[str]:
        """What names it, and what names a service or place of it."""
        direct = self._naming[name]
        through = {
            n for n in direct if n.partition("/")[0] not in _OF_A_REFERRAL and not n.startswith("Patient/")
        }
        return direct.union(*(self._naming[one] for one in through))

    def _led_to(self, start: set[str]) -> set[str]:
        reached, edge = set(start), set(start)
        while edge:
            following = {
                link
                for name in edge
                for link in self._links.get(name, ())
                if link.partition("/")[0] in _OF_A_REFERRAL
            }
            edge = following - reached
            reached |= edge
        return reached


def named(value: Any) -> set[str]:
    """Every literal reference in a record."""
    if isinstance(value, dict):
        found = set().union(*(named(held) for held in value.values()))
        if isinstance(value.get("reference"), str):
            found.add(value["reference"])
        return found
    return set().union(*(named(held) for held in value)) if isinstance(value, list) else set()
