"""The noise model, frozen: what happens to records between the department that writes them and us.

The shares below were written down before any rule of the watch was measured on them, and are not to be
changed to make a figure better. A new model gets a new name. No published rates of these faults were found:
they are assumptions, to be judged as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log
from random import Random
from types import MappingProxyType
from typing import Any, Final, NamedTuple

Json = dict[str, Any]


class Version(NamedTuple):
    """A resource as a department recorded it at one moment."""

    at: datetime
    """When it was recorded, by a correct clock."""
    ehr: str
    """Whose record it is."""
    referral: str
    """The id of the referral it belongs to; "" when it is about the patient as such."""
    data: Json


class Delivery(NamedTuple):
    """A resource as it reached us."""

    at: datetime
    ehr: str
    referral: str
    data: Json
    fault: str = ""
    """What is wrong with it as a record (`dirt.FAULTS`); of one that is unreadable, `data` only says which
    it is."""


@dataclass(frozen=True)
class Noise:
    """One noise model; shares are of 1."""

    name: str
    lag_hours: float = 0
    """Median time from record to us; log-normal, spread 1."""
    late: float = 0
    """Records that somebody enters afterwards, exponentially distributed with mean `late_days`."""
    late_days: float = 0
    lost: float = 0
    """Resources that never reach us, whatever their type."""
    unrecorded: float = 0
    """Changes of status that nobody recorded."""
    wrong: float = 0
    """Statuses that were recorded wrongly, see WRONG; later changes are recorded rightly."""
    double: float = 0
    """Resources registered twice, under another id."""
    undated: float = 0
    """Resources that carry none of the times in DATED."""
    drift_minutes: float = 0
    """Standard deviation of the error of each department's clock."""
    wrong_zone: float = 0
    """Departments whose clock is one or two hours off."""
    hidden: float = 0
    """Pairs of a department and a type in HIDEABLE that its EHR does not show. This is known to us."""
    outages_per_year: float = 0
    """Outages, in which nothing comes from an EHR; their length is exponentially distributed with mean
    `outage_days`. We know of one once it has lasted; what is recorded meanwhile comes when it is over."""
    outage_days: float = 0


CLEAN: Final = Noise("clean")
"""Everything that is recorded reaches us at once, and is right."""

USUAL: Final = Noise(
    "usual",
    lag_hours=4,
    late=0.03,
    late_days=3,
    lost=0.005,
    unrecorded=0.01,
    wrong=0.005,
    double=0.005,
    undated=0.02,
    drift_minutes=5,
    wrong_zone=0.05,
    hidden=0.05,
    outages_per_year=2,
    outage_days=3,
)
"""EHRs that are well looked after."""

BAD: Final = Noise(
    "bad",
    lag_hours=12,
    late=0.10,
    late_days=5,
    lost=0.02,
    unrecorded=0.04,
    wrong=0.02,
    double=0.02,
    undated=0.10,
    drift_minutes=20,
    wrong_zone=0.15,
    hidden=0.15,
    outages_per_year=6,
    outage_days=5,
)
"""EHRs that are not looked after."""

MODELS: Final = MappingProxyType({noise.name: noise for noise in (CLEAN, USUAL, BAD)})

WRONG: Final = MappingProxyType(
    {
        ("ServiceRequest", "active"): "unknown",
        ("Task", "received"): "requested",
        ("Task", "accepted"): "received",
        ("Task", "rejected"): "cancelled",
        ("Appointment", "fulfilled"): "booked",
        ("Appointment", "noshow"): "booked",
        ("Appointment", "cancelled"): "noshow",
        ("Encounter", "finished"): "in-progress",
        ("DiagnosticReport", "final"): "preliminary",
        ("Communication", "completed"): "preparation",
    }
)
"""Each status with the wrong one that is recorded in its place. All are statuses of R4."""

DATED: Final = ("lastModified", "created", "issued")
HIDEABLE: Final = ("Appointment", "Encounter", "DiagnosticReport", "Communication")
_CLOCKED: Final = ("authoredOn", "lastModified", "created", "issued", "sent", "date")
_OWN_ID: Final = "-again"


class Feeds:
    """The EHRs of one hospital under a noise model: what holds for all their records."""

    def __init__(
        self, noise: Noise, departments: Iterable[str], seed: int, first: datetime, last: datetime
    ) -> None:
        self.noise = noise
        self.clocks: dict[str, timedelta] = {}
        self.hidden: dict[str, frozenset[str]] = {}
        self.outages: dict[str, tuple[tuple[datetime, datetime], ...]] = {}
        for name in departments:
            chance = Random(f"{seed}/feeds/{name}")
            minutes = chance.gauss(0, noise.drift_minutes)
            if chance.random() < noise.wrong_zone:
                minutes += chance.choice((-120, -60, 60, 120))
            self.clocks[name] = timedelta(minutes=round(minutes))
            self.hidden[name] = frozenset(type for type in HIDEABLE if chance.random() < noise.hidden)
            self.outages[name] = tuple(_outages(noise, chance, first, last))

    def deliver(self, versions: Sequence[Version], chance: Random) -> list[Delivery]:
        """What reaches us of one patient's records, in order of arrival."""
        if self.noise == CLEAN:
            return sorted((Delivery(*version) for version in versions), key=lambda delivery: delivery.at)
        by_resource: dict[tuple[str, str], list[Version]] = {}
        for version in versions:
            by_resource.setdefault((version.data["resourceType"], version.data["id"]), []).append(version)
        deliveries: list[Delivery] = []
        for same in by_resource.values():
            deliveries += self._resource(same, chance)
        return sorted(deliveries, key=lambda delivery: delivery.at)

    def _resource(self, versions: Sequence[Version], chance: Random) -> list[Delivery]:
        noise = self.noise
        first = versions[0]
        type = first.data["resourceType"]
        if type in self.hidden[first.ehr] or chance.random() < noise.lost:
            return []
        undated = chance.random() < noise.undated
        double = type != "Patient" and chance.random() < noise.double
        found: list[Delivery] = []
        arrived = first.at
        for number, version in enumerate(versions):
            if number and chance.random() < noise.unrecorded:
                continue
            data = self._clocked(version)
            wrong = WRONG.get((type, data.get("status", "")))
            if wrong and chance.random() < noise.wrong:
                data["status"] = wrong
            if undated:
                for key in DATED:
                    data.pop(key, None)
            # Versions of one resource reach us in the order in which they were made.
            arrived = max(arrived, self._arrival(version, chance))
            found.append(Delivery(arrived, version.ehr, version.referral, data))
            if double and number == len(versions) - 1:
                again = {**data, "id": data["id"] + _OWN_ID}
                found.append(Delivery(arrived, version.ehr, version.referral, again))
        return found

    def _arrival(self, version: Version, chance: Random) -> datetime:
        noise = self.noise
        hours = chance.lognormvariate(log(noise.lag_hours), 1) if noise.lag_hours else 0.0
        if chance.random() < noise.late:
            hours += 24 * chance.expovariate(1 / noise.late_days)
        arrival = version.at + timedelta(hours=hours)
        for begin, end in self.outages[version.ehr]:
            if begin <= arrival < end:
                arrival = end
        return arrival

    def _clocked(self, version: Version) -> Json:
        """The resource with its times as the department's clock had them; planned times stay."""
        error = self.clocks[version.ehr]
        data = dict(version.data)
        if error:
            for key in _CLOCKED:
                if key in data:
                    data[key] = shifted(data[key], error)
            if data["resourceType"] == "Encounter":
                data["period"] = {key: shifted(value, error) for key, value in data["period"].items()}
        return data

    def behind(self, ehr: str, at: datetime, after: timedelta) -> datetime | None:
        """Since when nothing has come from an EHR, if that is longer than `after` ago; else None."""
        for begin, end in self.outages[ehr]:
            if begin + after <= at < end:
                return begin
        return None


def shifted(text: str, error: timedelta) -> str:
    """An instant moved by `error`, in the same format."""
    return (datetime.fromisoformat(text) + error).isoformat()


def _outages(
    noise: Noise, chance: Random, first: datetime, last: datetime
) -> Iterable[tuple[datetime, datetime]]:
    if not noise.outages_per_year:
        return
    at = first
    while True:
        at += timedelta(days=chance.expovariate(noise.outages_per_year / 365))
        if at >= last:
            return
        end = at + timedelta(days=chance.expovariate(1 / noise.outage_days))
        yield at, end
        at = end
