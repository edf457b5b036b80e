"""Defines a measurement: our work and a reference take turns, and each turn gives a ratio.

A machine's speed swings by tens of per cent within minutes, but the ratio of two runs close in time stays the
same. So the ratio is the result, and the rates are only given for orientation.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], int]
"""Does a bounded amount of work (best 0.2 to 2 s) and returns how many units it did."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One measurement, and what it is compared with.

    what:       what is done, for a person: "read by id over HTTP, SQLite"
    unit:       what is counted per second: "reads"
    ours:       our work
    reference:  the work it is compared with, `against` in words; counts the same unit
    note:       what a reader must know to judge the ratio
    """

    what: str
    unit: str
    ours: Work
    against: str
    reference: Work
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The rates of every turn, in units per second."""

    area: str
    what: str
    unit: str
    against: str
    note: str
    ours: tuple[float, ...]
    reference: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Our rate divided by the reference's, turn by turn."""
        return tuple(a / b for a, b in zip(self.ours, self.reference, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def to_json(self) -> dict[str, object]:
        return {
            "area": self.area,
            "what": self.what,
            "unit": f"{self.unit}/s",
            "against": self.against,
            "note": self.note,
            "ours": {"median": round(statistics.median(self.ours), 1), "rounds": _rounded(self.ours)},
            "reference": {
                "median": round(statistics.median(self.reference), 1),
                "rounds": _rounded(self.reference),
            },
            "ratio": {"median": round(self.ratio, 3), "rounds": [round(r, 3) for r in self.ratios]},
        }


@dataclass(frozen=True, slots=True)
class Figure:
    """A single number that is not compared: a time, or an amount of memory.

    at_most: the promised limit; None if there is none
    """

    area: str
    what: str
    value: float
    unit: str
    at_most: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, object]:
        return {
            "area": self.area,
            "what": self.what,
            "value": round(self.value, 1),
            "unit": self.unit,
            "at_most": self.at_most,
            "note": self.note,
        }


def _rounded(rates: tuple[float, ...]) -> list[float]:
    return [round(rate, 1) for rate in rates]


def measure(area: str, pair: Pair, rounds: int) -> Result:
    """Run both once to warm up, then `rounds` times in turn, swapping the order every other time."""
    pair.ours()
    pair.reference()
    ours: list[float] = []
    reference: list[float] = []
    for turn in range(rounds):
        if turn % 2:
            reference.append(_rate(pair.reference))
            ours.append(_rate(pair.ours))
        else:
            ours.append(_rate(pair.ours))
            reference.append(_rate(pair.reference))
    return Result(area, pair.what, pair.unit, pair.against, pair.note, tuple(ours), tuple(reference))


def _rate(work: Work) -> float:
    started = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - started)


def for_seconds(seconds: float, step: Callable[[], int]) -> Work:
    """Work that repeats `step` for about so long."""

    def work() -> int:
        done = 0
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            done += step()
        return done

    return work
