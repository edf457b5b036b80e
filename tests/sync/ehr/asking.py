"""An EHR that respx stands in for, and requests to it."""

from __future__ import annotations

import asyncio
from typing import Any

from fhir_coprod.errors import EhrError
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.sending import Answer, Politeness

BASE = "https://ehr.example/fhir"
NOON = 1_893_499_200.0
"""When the clock starts: 2030-01-01T12:00:00Z."""


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def politeness(self, **more: Any) -> Politeness:
        return Politeness(
            sleep=self.sleep, clock=lambda: self.now, wall_clock=lambda: NOON + self.now, **more
        )


def ehr(**more: Any) -> EhrSettings:
    return EhrSettings(name="surgery", url=BASE, **more)


def get(clock: Clock, url: str = "Patient", times: int = 1, **more: Any) -> list[Answer | EhrError]:
    """The answers to the same request made several times with one client."""

    async def ask() -> list[Answer | EhrError]:
        found: list[Answer | EhrError] = []
        async with EhrClient(ehr(**more), politeness=clock.politeness()) as client:
            for _ in range(times):
                try:
                    found.append(await client.get(url))
                except EhrError as error:
                    found.append(error)
        return found

    return asyncio.run(ask())


def one(clock: Clock, url: str = "Patient", **more: Any) -> Answer:
    answer = get(clock, url, **more)[0]
    if isinstance(answer, EhrError):
        raise answer
    return answer
