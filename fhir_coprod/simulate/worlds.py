"""The worlds: the same hospital, whose EHRs record less, more, or worse than the watch would like.

A world never touches the truth but in one thing: in a department that stops answering, nothing is done any
more. The patients, referrals and everything else that people do are the same in every world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from types import MappingProxyType
from typing import Final

from fhir_coprod.simulate.dirt import soiled
from fhir_coprod.simulate.life import Life, live
from fhir_coprod.simulate.noise import CLEAN, USUAL, Delivery, Feeds, Noise, Version
from fhir_coprod.simulate.orders import orders
from fhir_coprod.simulate.writing import delivered

_TO_PATIENTS: Final = ("Patient/", "RelatedPerson/")


@dataclass(frozen=True)
class World:
    """What the EHRs of a hospital record, beside the noise of their feeds."""

    name: str
    noise: Noise = CLEAN
    orders: float = 0
    """In-house orders a referral."""
    has_tasks: bool = True
    """False: no EHR uses Tasks."""
    tells_on_record: bool = True
    """False: no EHR records what patients are told."""
    dirty: float = 0
    """Records with a fault (`dirt.py`), as a share of 1."""
    stops: tuple[tuple[str, float], ...] = ()
    """Departments that stop answering, each with the day before the end on which they do."""

    def stops_at(self, end: datetime) -> dict[str, datetime]:
        """When departments stop answering."""
        return {name: end - timedelta(days=days) for name, days in self.stops}

    def keeps(self, version: Version) -> bool:
        """Whether an EHR of this world records it."""
        type = version.data["resourceType"]
        if type == "Task":
            return self.has_tasks
        if type == "Communication" and not self.tells_on_record:
            named = [one["reference"] for one in version.data.get("recipient", ())]
            return not any(name.startswith(_TO_PATIENTS) for name in named)
        return True


WORLDS: Final = MappingProxyType(
    {
        world.name: world
        for world in (
            World("plain"),
            World("orders", orders=50),
            World("no-task", has_tasks=False),
            World("silent-to-patients", tells_on_record=False),
            World("dirty", dirty=0.02),
            World("stops", stops=(("cardiology", 120),)),
            World(
                "together",
                USUAL,
                orders=50,
                has_tasks=False,
                tells_on_record=False,
                dirty=0.02,
                stops=(("cardiology", 120),),
            ),
        )
    }
)
"""`plain` is the hospital with clean feeds, to compare with."""


def lived(world: World, number: int, seed: int, begin: datetime, end: datetime) -> Life:
    """The life of patient `number` in a world: what is recorded there, and the truth."""
    life = live(number, seed, begin, end, world.stops_at(end))
    life.versions = [version for version in life.versions if world.keeps(version)]
    if world.orders and life.versions:
        chance = Random(f"{seed}/orders/{number}")
        start = min(version.at for version in life.versions)
        many = len(life.threads) or 1
        life.versions += [
            version
            for version in orders(life.patient, many, world.orders, chance, max(begin, start), end)
            if world.keeps(version) and version.at <= end
        ]
    return life


def received(world: World, life: Life, feeds: Feeds, seed: int) -> Sequence[Delivery]:
    """What reached us of one life in a world, in order of arrival."""
    found = delivered(life, feeds, seed)
    if world.dirty:
        found = soiled(found, world.dirty, Random(f"{seed}/dirt/{life.patient}"))
    return found
