"""`python -m benchmarks.watch_orders`: what a patient's other orders cost the watch, up to 10,000 of them.

Patients have a referral each for every PER orders, and finished laboratory orders beside these. Four things
are measured: the first look at all, another look from the kept facts, the bytes kept for a referral, and what
one more laboratory order costs the watch. A page with figures and a picture is written to docs/.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import tiny
from fhir_coprod import jsontext
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.live.loop import AGAIN, Watch
from fhir_coprod.watch.rules import policies

FOLDER = Path(__file__).parent
DOCS = FOLDER.parent / "docs"
SIZES = (10, 50, 100, 1_000, 10_000)
ORDERS = 10_000
"""Orders in each store, however many of them one patient has."""
PER = 50
MORE = 60
"""Laboratory orders that come one by one."""
KINDS = 40
PORTION = 1_000
PROMISED = {"first": 2_000, "again": 15_000, "one": 5}

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """The costs at one number of orders a patient.

    first, again: orders and referrals a second, in processor time
    kept:         bytes kept for a referral
    one:          milliseconds of processor time for one more laboratory order, the median
    """

    first: float
    again: float
    kept: float
    one: float


def measure(orders: int) -> Cost:
    now = datetime.now(UTC)
    with (
        tempfile.TemporaryDirectory(prefix="coprod-orders-") as folder,
        Store.open(f"sqlite:///{Path(folder) / 'watch.db'}") as store,
    ):
        number = _put(store, _hospital(orders, now))
        watch = Watch(store, policies.load("default"), Settings())
        begin = time.process_time()
        watch.catch_up(now)
        first = time.process_time() - begin
        store.write(lambda transaction: transaction.set_cursor(AGAIN, 1))
        begin = time.process_time()
        while watch.again(now):
            pass
        again = time.process_time() - begin
        with store.connect() as connection:
            kept = "SELECT avg(length(facts)) FROM standing WHERE referral LIKE 'ServiceRequest/r-%'"
            held = float(connection.exec_driver_sql(kept).scalar_one())
        taken = []
        for extra in range(MORE):
            _put(store, [laboratory(f"new-{extra}", "p0", extra, now)])
            begin = time.process_time()
            while watch.step(now):
                pass
            taken.append((time.process_time() - begin) * 1e3)
    return Cost(number / first, number / again, held, statistics.median(taken))


def _hospital(orders: int, now: datetime) -> Iterator[Resource]:
    for patient in range(max(ORDERS // orders, 1)):
        for number in range(orders):
            yield laboratory(f"l-{patient}-{number}", f"p{patient}", number, now)
        for number in range(max(orders // PER, 1)):
            yield from referral(f"{patient}-{number}", f"p{patient}", number, now)


def laboratory(id: str, patient: str, number: int, now: datetime) -> Resource:
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "completed",
        "intent": "order",
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "108252007"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": f"{number % KINDS}-0"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "requester": {"reference": "Organization/gp"},
        "authoredOn": (now - timedelta(days=number % 3000)).isoformat(),
    }


def referral(id: str, patient: str, number: int, now: datetime) -> Iterator[Resource]:
    at = (now - timedelta(days=number % 3000, hours=20)).isoformat()
    yield {
        **laboratory(f"r-{id}", patient, number, now),
        "status": "active",
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}],
        "code": {"coding": [{"system": "urn:codes", "code": f"r{number}"}]},
        "authoredOn": at,
    }
    yield {
        "resourceType": "Task",
        "id": f"t-{id}",
        "status": "accepted",
        "intent": "order",
        "focus": {"reference": f"ServiceRequest/r-{id}"},
        "owner": {"reference": "Organization/ortho"},
        "authoredOn": at,
        "lastModified": at,
    }


def _put(store: Store, resources: Iterator[Resource] | list[Resource]) -> int:
    """Write them all; how many are ServiceRequests."""
    documents = [jsontext.from_data(each) for each in resources]
    for start in range(0, len(documents), PORTION):
        some = documents[start : start + PORTION]
        store.write(lambda t, some=some: [t.put(each, each.data["id"]) for each in some])
    return sum(each.data["resourceType"] == "ServiceRequest" for each in documents)


# -------------------------------------------------------------------------------------------------- reporting

COLUMNS = (
    "orders a patient",
    "first look, per second",
    "looked at again, per second",
    "bytes kept for a referral",
    "one laboratory order more, ms",
)


def draw(known: dict[int, Cost], path: Path) -> None:
    """Each cost over the number of orders; promises as dotted lines."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {"svg.hashsalt": "fhir-coprod", "svg.fonttype": "none", "font.size": 8, "font.family": "sans-serif"}
    )
    figure, axes = plt.subplots(1, 4, figsize=(12.8, 3))
    sizes = sorted(known)
    for axis, name, title in zip(axes, ("first", "again", "kept", "one"), COLUMNS[1:], strict=True):
        axis.plot(sizes, [getattr(known[size], name) for size in sizes], "o-", color="C0", linewidth=1.2)
        if name in PROMISED:
            axis.axhline(PROMISED[name], color="#999999", linestyle=":", label="promised")
            axis.legend(frameon=False, fontsize=7)
        axis.set(xscale="log", title=title, xlabel=COLUMNS[0])
        axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
    figure.tight_layout()
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def page(known: dict[int, Cost], note: str) -> str:
    """docs/watch-orders.md; `note` says what a reader must know about the run."""
    lines = [
        "# What a patient's other orders cost the watch",
        "",
        "Written by `python -m benchmarks.watch_orders`: an SQLite store of 10,000 laboratory orders, of",
        f"patients with so many each, and a referral for every {PER} of them. Processor time of one core.",
        "",
        *([note, ""] if note else []),
        "![Each cost over the number of orders a patient has](watch-orders.svg)",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---:|" * len(COLUMNS),
        *(
            f"| {size:,} | {cost.first:,.0f} | {cost.again:,.0f} | {cost.kept:,.0f} | {cost.one:.1f} |"
            for size, cost in sorted(known.items())
        ),
        "",
        f"Promised: at least {PROMISED['first']:,} and {PROMISED['again']:,} a second, at most"
        f" {PROMISED['one']} ms, and none of them worse for a patient with more orders.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.watch_orders", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of watch-orders.md and its picture")
    parser.add_argument("--note", default="", help="what a reader of the page must know of the run")
    parser.add_argument("--tiny", action="store_true", help="in seconds, kept nowhere: does it run?")
    chosen, _ = parser.parse_known_args()
    if chosen.tiny:
        tiny.shrink("watch_orders", globals())
        with tempfile.TemporaryDirectory(prefix="coprod-orders-") as name:
            return _run(chosen.note, Path(name))
    return _run(chosen.note, chosen.out)


def _run(note: str, out: Path) -> int:
    known = {size: measure(size) for size in SIZES}
    Console().print_json(json.dumps({size: asdict(cost) for size, cost in known.items()}))
    out.mkdir(parents=True, exist_ok=True)
    draw(known, out / "watch-orders.svg")
    (out / "watch-orders.md").write_text(page(known, note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
