"""`python -m benchmarks.watch_growth`: what the live watch costs as open referrals grow to a million.

At each size a process of its own, fresh on a filled store, measures three things: a sweep with nothing due,
again and again; another look at every referral, comparing its standing and its alerts with the store; and the
most memory it used. A page with figures and a picture is written to docs/.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import tiny
from benchmarks.fill import filled
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.live.loop import AGAIN, Watch
from fhir_coprod.watch.rules import policies

FOLDER = Path(__file__).parent
DOCS = FOLDER.parent / "docs"
SIZES = (10_000, 100_000, 1_000_000)
SWEEPS = 300
POLICY = "default"
PROMISED = {"sweep": 5, "again": 15_000, "memory": 500}


@dataclass(frozen=True, slots=True)
class Cost:
    """The costs at one size.

    sweep, longest: milliseconds of a sweep with nothing due, the median and the 99th percentile
    again:          referrals looked at again per second
    memory:         the most that the process used, in MB (10⁶ bytes)
    """

    sweep: float
    longest: float
    again: float
    memory: float


def measure(url: str) -> Cost:
    """Measure in this process, which has done nothing else."""
    now = datetime.now(UTC)
    with Store.open(url) as store:
        watch = Watch(store, policies.load(POLICY), Settings())
        watch.catch_up(now)
        sweeps = []
        for _ in range(SWEEPS):
            begin = time.perf_counter()
            watch.catch_up(now)
            sweeps.append((time.perf_counter() - begin) * 1e3)
        number, head = _referrals(store), store.head()
        begin = time.perf_counter()
        store.write(lambda transaction: transaction.set_cursor(AGAIN, 1))
        while watch.again(now):
            pass
        taken = time.perf_counter() - begin
        assert store.head() == head, "something was written though nothing had changed"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(statistics.median(sweeps), sorted(sweeps)[SWEEPS * 99 // 100], number / taken, peak / 1e6)


def _referrals(store: Store) -> int:
    with store.connect() as connection:
        found: int = connection.exec_driver_sql("SELECT count(*) FROM standing").scalar_one()
    return found


def costs(size: int, console: Console, *, tiny: bool) -> Cost:
    """At this size, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="coprod-growth-") as folder:
        url = f"sqlite:///{Path(folder) / 'watch.db'}"
        begin = time.perf_counter()
        filled(url, size, policies.load(POLICY), datetime.now(UTC)).close()
        console.print(f"{size:,} referrals written in {time.perf_counter() - begin:,.0f} s")
        command = [
            sys.executable,
            "-m",
            "benchmarks.watch_growth",
            "--measure",
            url,
            *(["--tiny"] if tiny else []),
        ]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Cost(**json.loads(said))


# -------------------------------------------------------------------------------------------------- reporting


COLUMNS = (
    "open referrals",
    "sweep with nothing due, ms",
    "99th percentile, ms",
    "looked at again, per second",
    "memory at most, MB",
)


def rows(known: dict[int, Cost]) -> list[list[str]]:
    return [
        [f"{size:,}", f"{cost.sweep:.2f}", f"{cost.longest:.2f}", f"{cost.again:,.0f}", f"{cost.memory:,.0f}"]
        for size, cost in sorted(known.items())
    ]


def table(known: dict[int, Cost]) -> Table:
    shown = Table(title="the live watch, SQLite, one process", title_justify="left")
    for name in COLUMNS:
        shown.add_column(name, justify="right")
    for row in rows(known):
        shown.add_row(*row)
    return shown


def draw(known: dict[int, Cost], path: Path) -> None:
    """The time of a sweep, the referrals per second, and the memory, over size; promises as dashed lines."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {"svg.hashsalt": "fhir-coprod", "svg.fonttype": "none", "font.size": 8, "font.family": "sans-serif"}
    )
    figure, axes = plt.subplots(1, 3, figsize=(10.4, 3))
    sizes = sorted(known)
    shown = (
        ("sweep", "sweep with nothing due, ms", "at most"),
        ("again", "looked at again, per second", "at least"),
        ("memory", "memory at most, MB", "at most"),
    )
    for axis, (name, title, bound) in zip(axes, shown, strict=True):
        axis.plot(sizes, [getattr(known[size], name) for size in sizes], "o-", color="C0", linewidth=1.2)
        if name == "sweep":
            longest = [known[size].longest for size in sizes]
            axis.plot(sizes, longest, "o--", color="C0", linewidth=0.8, label="99th percentile")
        axis.axhline(PROMISED[name], color="#999999", linestyle=":", label=f"promised: {bound}")
        axis.set(xscale="log", title=title, xlabel="open referrals")
        axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
        axis.legend(frameon=False, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def page(known: dict[int, Cost], note: str) -> str:
    """docs/watch-growth.md; `note` says what a reader must know about the run."""
    lines = [
        "# How the watch grows",
        "",
        "Written by `python -m benchmarks.watch_growth`: the live watch on an SQLite store of so many open",
        "referrals, of which every fifth is stalled and has its alert. Each line is a fresh process.",
        "",
        *([note, ""] if note else []),
        "![Time of a sweep, referrals a second, and memory, over the number of referrals](watch-growth.svg)",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---:|" * len(COLUMNS),
        *("| " + " | ".join(row) + " |" for row in rows(known)),
        "",
        f"- **A sweep with nothing due** (promised: under {PROMISED['sweep']} ms) asks whether rules and",
        "  feeds are the same, whether the log has grown, and the index of due dates for what has come due.",
        f"- **Looked at again** (promised: {PROMISED['again']:,} a second on one core) is what a change of",
        "  rules costs: every referral is judged from the facts kept beside its standing, and compared with",
        "  what its row and its alerts say. Nothing is written where nothing differs.",
        f"- **Memory** (promised: under {PROMISED['memory']} MB) is all that the process holds, with the",
        "  program and the part of the database file that it has mapped.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.watch_growth", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="referrals at the end")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of watch-growth.md and its picture")
    parser.add_argument("--note", default="", help="what a reader of the page must know of the run")
    parser.add_argument("--measure", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help="in seconds, kept nowhere: does it run?")
    chosen = parser.parse_args()
    if chosen.tiny:
        tiny.shrink("watch_growth", globals())
    if chosen.measure:
        print(json.dumps(asdict(measure(chosen.measure))))
        return 0
    if chosen.tiny:
        with tempfile.TemporaryDirectory(prefix="coprod-growth-") as name:
            return _run(chosen, Path(name), Path(name))
    return _run(chosen, FOLDER / "results", chosen.out)


def _run(chosen: argparse.Namespace, results: Path, out: Path) -> int:
    console = Console() if sys.stdout.isatty() else Console(width=150)
    known = {size: costs(size, console, tiny=chosen.tiny) for size in SIZES if size <= chosen.largest}
    console.print(table(known))
    kept = results / "watch-growth.json"
    kept.write_text(json.dumps({size: asdict(cost) for size, cost in known.items()}, indent=1) + "\n")
    out.mkdir(parents=True, exist_ok=True)
    draw(known, out / "watch-growth.svg")
    (out / "watch-growth.md").write_text(page(known, chosen.note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
