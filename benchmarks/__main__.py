"""`python -m benchmarks [AREA...]`: measure, print one table, write results/ as JSON.

An area is a module of this package with a generator `pairs()` of pairs to measure, results and figures. It
tears down what it set up after its last yield. Peers that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import references, tiny
from benchmarks.frame import Figure, Pair, Result, measure

FOLDER = Path(__file__).parent
AREAS = ("endpoint", "live", "store", "sync", "validation", "watch")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed, beside a reference.")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of: {', '.join(AREAS)}; all if left out")
    parser.add_argument("--rounds", type=int, default=5, help="turns per measurement (default 5)")
    parser.add_argument(
        "--resources", type=int, default=10_000, help="records in the endpoint's stores (default 10000)"
    )
    parser.add_argument("--tiny", action="store_true", help="all in seconds, only to see that it runs")
    parser.add_argument("--out", type=Path, help="result file; default results/<commit>.local.json")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.areas) - set(AREAS))
    if unknown:
        parser.error(f"there is no area {', '.join(unknown)}; there are {', '.join(AREAS)}")
    if arguments.tiny:
        tiny.shrink("references", vars(references))
        arguments.rounds, arguments.resources = tiny.ROUNDS, tiny.RESOURCES
    console = Console() if sys.stdout.isatty() else Console(width=150)
    results: list[Result] = []
    figures: list[Figure] = []
    for area in arguments.areas or AREAS:
        module = importlib.import_module(f"benchmarks.{area}")
        if arguments.tiny:
            tiny.shrink(area, vars(module))
        size = {"resources": arguments.resources} if area == "endpoint" else {}
        pairs: Iterator[Pair | Result | Figure] = module.pairs(**size)
        with closing(pairs):  # type: ignore[type-var]
            for pair in pairs:
                if isinstance(pair, Result):
                    results.append(pair)
                    continue
                if isinstance(pair, Figure):
                    figures.append(pair)
                    continue
                with console.status(f"{area}: {pair.what}"):
                    results.append(measure(area, pair, arguments.rounds))
                if not console.is_terminal:
                    # A long run that breaks off should not have been for nothing.
                    console.print(f"{results[-1].ratio:.2f} × {results[-1].against}: {pair.what}")
    if results:
        console.print(_table(results))
    if figures:
        console.print(_figures(figures))
    if arguments.tiny:
        return 0
    out: Path = arguments.out or FOLDER / "results" / f"{_commit()}.local.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(_report(results, figures), indent=2, ensure_ascii=False) + "\n")
    console.print(f"written to {out}")
    return 0


def _table(results: list[Result]) -> Table:
    table = Table(title="fhir-coprod beside a reference, in the same run", title_justify="left")
    table.add_column("what")
    table.add_column("ours, per second", justify="right")
    table.add_column("reference", style="dim")
    table.add_column("/s", justify="right", style="dim")
    table.add_column("ratio", justify="right", style="bold")
    table.add_column("min–max", justify="right")
    area = ""
    for result in results:
        if area and result.area != area:
            table.add_section()
        area = result.area
        table.add_row(
            result.what + (f"\n[dim]{result.note}[/dim]" if result.note else ""),
            f"{statistics.median(result.ours):,.0f} {result.unit}",
            result.against,
            f"{statistics.median(result.reference):,.0f}",
            f"{result.ratio:.2f} ×",
            f"{min(result.ratios):.2f}–{max(result.ratios):.2f}",
        )
    return table


def _figures(figures: list[Figure]) -> Table:
    table = Table(title="figures by themselves, of the same run", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right", style="bold")
    table.add_column("promised", justify="right")
    for figure in figures:
        table.add_row(
            figure.what + (f"\n[dim]{figure.note}[/dim]" if figure.note else ""),
            f"{figure.value:,.1f} {figure.unit}",
            "" if figure.at_most is None else f"< {figure.at_most:,.0f} {figure.unit}",
        )
    return table


def _report(results: list[Result], figures: list[Figure]) -> dict[str, object]:
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": sys.version.split()[0],
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()},
        "results": [result.to_json() for result in results],
        "figures": [figure.to_json() for figure in figures],
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=FOLDER
    )
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
