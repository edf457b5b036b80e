"""`python -m benchmarks.cost_search`: looks for inputs whose cost grows faster than they do.

Every kind of `cost_inputs` is made in sizes that double, and each way in (`cost_ways`) is timed on it:
processor time, the least of several runs, without Python's garbage collector, and with nothing remembered
about texts that were seen before: what fits those caches would be cheap, and what does not, dear. Over the
larger sizes a power of the size is fitted. n log n looks like a power of about 1.1 here; what is above the
bound is measured again, larger and more often, and is called a finding only if it stays above. Then each size
is done so many times over, on copies of its own whose results are kept until the last is done, that all sizes
fill the same memory, and in the end up to two megabytes: else what does not fit the processor's caches any
more, or a block of memory that the system begins to give and take whole, looks like a cost that grows.
docs/cost.md is written from it.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.cost_inputs import kinds
from benchmarks.cost_kinds import Kind
from benchmarks.cost_ways import Way, Work, ways
from fhir_coprod.remembering import TEXTS

DOCS = Path(__file__).parent.parent / "docs"
SIZES = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)
ELEMENT_SIZES = (4_000, 16_000, 64_000)
"""For the thousands of elements: what grows with the square still grows to sixteen times."""
LARGER = (64_000, 128_000, 256_000)
LARGEST = (128_000, 256_000, 512_000, 1_024_000, 2_048_000)
BOUND = 1.25
"""Largest power of the size that passes for n log n, given what a shared machine does to a time."""
FITTED = 4
"""How many of the largest sizes the power is fitted to."""
RUNS = 3
AGAIN = ((LARGER, 7), (LARGEST, 3))
"""The sizes and runs by which what is above the bound is measured again, one after the other."""
SHORTEST = 0.002
"""Seconds: a shorter run is repeated until it has taken so long, since the clock is coarse."""
EVERY = 1
"""Measures each kind; --tiny measures one in so many."""

Times = list[tuple[int, float]]
"""(bytes, seconds)"""


@dataclass(frozen=True, slots=True)
class Growth:
    """How the cost of one kind of input grows by one way in."""

    way: str
    kind: str
    times: Times

    @property
    def power(self) -> float:
        """The power of the size that fits the times best, in logarithms."""
        points = [(math.log(size), math.log(seconds)) for size, seconds in self.times[-FITTED:]]
        x = sum(point[0] for point in points) / len(points)
        y = sum(point[1] for point in points) / len(points)
        spread = sum((point[0] - x) ** 2 for point in points)
        return sum((px - x) * (py - y) for px, py in points) / spread if spread else 0.0

    @property
    def per_kilobyte(self) -> float:
        """Milliseconds for each kilobyte, at the largest size."""
        size, seconds = self.times[-1]
        return seconds * 1e6 / size


def measure(way: Way, kind: Kind, sizes: Sequence[int], runs: int, *, fill: int = 0) -> Growth:
    """Time one way in on one kind of input.

    fill: bytes that the copies of each size have together; 0: one copy
    """
    times: Times = []
    for size in sizes:
        raw = kind.sized(size)
        copies = [way.prepare(bytes(bytearray(raw))) for _ in range(max(1, fill // size))]
        works = [work for work in copies if work is not None]
        if works:
            times.append((len(raw), _least(works, runs)))
    return Growth(way.name, kind.name, times)


def _least(works: Sequence[Work], runs: int) -> float:
    """Seconds that one of the works takes; what they make is kept until the last is done."""
    least = math.inf
    for _ in range(1 + runs):
        number, used = 0, 0.0
        while not number or used < SHORTEST:
            kept = []
            for work in works:
                TEXTS.clear()
                begin = time.process_time()
                kept.append(work())
                used += time.process_time() - begin
            number += len(works)
        least = min(least, used / number)
    return max(least, 1e-7)


def search(console: Console, chosen: Sequence[Way]) -> Iterator[Growth]:
    """Every way with every kind that suits it; what looks too steep is measured again, and larger."""
    for number, kind in enumerate(kinds()):
        if number % EVERY:
            continue
        for way in chosen:
            if not way.suits(kind):
                continue
            is_element = kind.group == "element"
            growth = measure(way, kind, ELEMENT_SIZES if is_element else SIZES, 1 if is_element else RUNS)
            if len(growth.times) < 3:
                continue
            for sizes, runs in AGAIN:
                if growth.power > BOUND:
                    growth = measure(way, kind, sizes, runs, fill=sizes[-1])
            if growth.power > BOUND:
                console.print(f"  {way.name}: {kind.name}: size to the power {growth.power:.2f}")
            yield growth


def main() -> int:
    parser = argparse.ArgumentParser(description="look for inputs whose cost grows faster than they do")
    parser.add_argument("--tiny", action="store_true", help="a few kinds, small, to see that it runs")
    parser.add_argument("--only", default="", help="ways in whose name holds this")
    options = parser.parse_args()
    if options.tiny:
        from benchmarks import tiny

        tiny.shrink("cost_search", globals())
    console = Console()
    gc.collect()
    gc.freeze()
    gc.disable()
    with ways() as all_ways:
        chosen = [way for way in all_ways if options.only in way.name]
        found: list[Growth] = []
        for growth in search(console, chosen):
            found.append(growth)
            if not len(found) % 100:
                gc.collect()
    steep = [growth for growth in found if growth.power > BOUND]
    console.print(f"{len(found)} measured, {len(steep)} grow faster than n log n")
    if not options.tiny and not options.only:
        (DOCS / "cost.md").write_text(page(found))
    print(json.dumps([[growth.way, growth.kind, round(growth.power, 2)] for growth in steep]))
    return 1 if steep and not options.tiny else 0


# --- the page -------------------------------------------------------------------------------------


def page(found: Sequence[Growth]) -> str:
    """The results as Markdown."""
    lines = [
        "# What a record costs, and how that grows",
        "",
        "Written by `python -m benchmarks.cost_search`. Each kind of input, from "
        f"{SIZES[0] // 1000} to {SIZES[-1] // 1000} kB,",
        "by each way in: processor time, with nothing remembered about texts that were seen before,",
        f"fitted to a power of the size over the {FITTED} largest. n log n looks like a power of about 1.1.",
        f"What came out above {BOUND} was measured again up to {LARGER[-1] // 1000} kB, then up to "
        f"{LARGEST[-1] // 1000} kB,",
        "the smaller sizes on so many copies that all fill the same memory.",
        "A kind is an element of R4 that repeats, in each resource and data type that has it, or one of the",
        "texts, references, trees and requests written by hand in `benchmarks/cost_records.py` and",
        "`cost_structures.py`.",
        "",
        "| way in | kinds | steepest powers | above the bound | dearest, ms/kB |",
        "|---|---:|---|---:|---|",
    ]
    by_way = {way: [g for g in found if g.way == way] for way in dict.fromkeys(g.way for g in found)}
    lines += [_row(way, growths) for way, growths in by_way.items()]
    steep = [growth for growth in found if growth.power > BOUND]
    lines += ["", "## Above the bound", ""]
    lines += [f"- {g.way}: {g.kind}: {g.power:.2f}, {_points(g)}" for g in steep] or ["None."]
    lines += [
        "",
        "## Written by hand, by the validator",
        "",
        "| kind | way in | power | at the largest size |",
    ]
    lines += ["|---|---|---:|---|"]
    by_hand = [g for g in found if g.way.startswith("validate") and (":" in g.kind or " " in g.kind)]
    lines += [f"| {g.kind} | {g.way} | {g.power:.2f} | {_points(g).rpartition(', ')[2]} |" for g in by_hand]
    return "\n".join(lines) + "\n"


def _row(way: str, growths: Sequence[Growth]) -> str:
    steepest = sorted(growths, key=lambda growth: -growth.power)[:3]
    powers = ", ".join(f"{growth.power:.2f} ({growth.kind})" for growth in steepest)
    dearest = max(growths, key=lambda growth: growth.per_kilobyte)
    above = sum(growth.power > BOUND for growth in growths)
    cost = f"{dearest.per_kilobyte:.2f} ({dearest.kind})"
    return f"| {way} | {len(growths)} | {powers} | {above} | {cost} |"


def _points(growth: Growth) -> str:
    return ", ".join(f"{size / 1000:.0f} kB {seconds * 1000:.1f} ms" for size, seconds in growth.times)


if __name__ == "__main__":
    sys.exit(main())
