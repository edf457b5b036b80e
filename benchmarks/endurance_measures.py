"""What the endurance run samples of each process, and what it concludes from that."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

MEGABYTE = 1e6
TOLERATED = 6.0
"""MB per hour that a process may grow by and still be called flat: a working day, and it has a page more."""
BIN = 60.0
"""Seconds over which memory is averaged before a line is laid through it: neighbours are alike."""
FEWEST = 8
"""Bins; fewer say nothing about a trend."""
# Quantiles of Student's t at 97.5 %, for so many degrees of freedom.
_T = {6: 2.45, 8: 2.31, 10: 2.23, 14: 2.14, 20: 2.09, 28: 2.05, 40: 2.02, 60: 2.00}


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a process, or at all processes of PostgreSQL together.

    rss, uss: MB in memory, and MB of it that nobody else shares
    """

    rss: float
    uss: float
    descriptors: int
    threads: int

    def plus(self, other: Seen) -> Seen:
        return Seen(
            self.rss + other.rss,
            self.uss + other.uss,
            self.descriptors + other.descriptors,
            self.threads + other.threads,
        )


def look(pid: int) -> Seen | None:
    """What a process uses now; None if it has ended."""
    folder = Path(f"/proc/{pid}")
    with suppress(OSError):
        sizes = {
            name: int(size)
            for name, size in re.findall(r"^(\w+): +(\d+) kB$", (folder / "smaps_rollup").read_text(), re.M)
        }
        status = (folder / "status").read_text()
        threads = int(status.split("Threads:")[1].split()[0])
        private = sizes["Private_Clean"] + sizes["Private_Dirty"]
        descriptors = sum(1 for _ in (folder / "fd").iterdir())
        return Seen(sizes["Rss"] * 1024 / MEGABYTE, private * 1024 / MEGABYTE, descriptors, threads)
    return None


def descendants(pid: int) -> Iterator[int]:
    """A process and all that it, and what it started, has started."""
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from descendants(int(child))


def server_processes(pid: int, jobs: set[int]) -> dict[str, int]:
    """Name → number of each process of `serve`; `jobs` are those that said so in the log."""
    found, workers = {}, []
    for number in descendants(pid):
        with suppress(OSError):
            line = Path(f"/proc/{number}/cmdline").read_bytes()
            if number == pid:
                found["server"] = number
            elif number in jobs:
                found["jobs"] = number
            elif b"spawn_main" in line:
                workers.append(number)
    # Named by their order, so that one that is replaced starts a line of its own in neither plot nor verdict.
    return found | {f"worker {place}": number for place, number in enumerate(sorted(workers), 1)}


def database_processes(postmaster: int) -> Seen:
    looked = [seen for number in descendants(postmaster) if (seen := look(number)) is not None]
    total = Seen(0, 0, 0, 0)
    for seen in looked:
        total = total.plus(seen)
    return total


# --------------------------------------------------------------------------------------------- conclusions


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through the memory of one process: MB per hour, between `low` and `high` with 95 %."""

    slope: float
    low: float
    high: float
    level: float

    @property
    def verdict(self) -> str:
        if self.high <= TOLERATED:
            return "flat"
        return "grows" if self.low > 0 else "undecided"


def trend(times: Sequence[float], sizes: Sequence[float]) -> Trend | None:
    """The trend of sizes (MB) over times (seconds); None if there are too few to say."""
    bins: dict[int, list[float]] = {}
    for time, size in zip(times, sizes, strict=True):
        bins.setdefault(int(time // BIN), []).append(size)
    if len(bins) < FEWEST:
        return None
    hours = [place * BIN / 3600 for place in bins]
    means = [statistics.fmean(bin) for bin in bins.values()]
    line = statistics.linear_regression(hours, means)
    middle = statistics.fmean(hours)
    spread = sum((hour - middle) ** 2 for hour in hours)
    rest = [mean - (line.intercept + line.slope * hour) for hour, mean in zip(hours, means, strict=True)]
    freedom = _effective(rest) - 2
    variance = sum(each**2 for each in rest) / max(freedom, 1)
    error = math.sqrt(variance / spread) * _student(freedom)
    return Trend(line.slope, line.slope - error, line.slope + error, statistics.fmean(means))


def _effective(rest: Sequence[float]) -> float:
    """How many independent values these are worth, as each resembles the one before it."""
    whole = sum(each**2 for each in rest)
    if not whole:
        return len(rest)
    alike = max(0.0, sum(a * b for a, b in pairwise(rest)) / whole)
    return max(4.0, len(rest) * (1 - alike) / (1 + alike))


def _student(freedom: float) -> float:
    known = [quantile for degrees, quantile in _T.items() if degrees <= freedom]
    return known[-1] if known else 3.2


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def last_half(times: Sequence[float], longest: float = 1800) -> float:
    """From when on a trend is judged: the last half hour, or the last half of a shorter run."""
    return max(times) - min(longest, (max(times) - min(times)) / 2) if times else 0.0


def trends(times: Sequence[float], memory: Mapping[str, Sequence[float | None]]) -> dict[str, Trend | None]:
    """The trend of each process over the last half."""
    since = last_half(times)
    found = {}
    for name, sizes in memory.items():
        pairs = [(t, s) for t, s in zip(times, sizes, strict=True) if t >= since and s is not None]
        found[name] = trend([t for t, _ in pairs], [s for _, s in pairs])
    return found
