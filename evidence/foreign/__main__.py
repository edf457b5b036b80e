"""`make foreign-hospital`: plant referrals in a foreign hospital, make it dirty, count, write the page.

python -m evidence.foreign                  five seeds; writes docs/foreign-hospital.md (six minutes)
python -m evidence.foreign --seeds 1        fewer
python -m evidence.foreign --render         only the page, from earlier counts
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from evidence.foreign import measure, report
from evidence.foreign.dirt import CUT, KINDS, spoilt
from tests.peers import hospital, ips
from tests.peers.shared import Run

ROOT = Path(__file__).parent.parent.parent
SHARES = (0.0, 0.02, 0.05, 0.1)
ONE_KIND = 0.05
"""Share of records that are made dirty when only one kind is looked at."""
ALONE = 30
"""Records that are made dirty alone, for each seed."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.foreign", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--alone", type=int, default=ALONE)
    parser.add_argument(
        "--out", type=Path, help="Folder for page and counts; else docs and evidence/results."
    )
    parser.add_argument("--render", action="store_true", help="Count nothing anew.")
    chosen = parser.parse_args()
    page = (chosen.out or ROOT / "docs") / "foreign-hospital.md"
    counts = (chosen.out or ROOT / "evidence" / "results") / "foreign-hospital.json"
    if not chosen.render:
        for peer in (hospital.PEER, ips.PEER):
            if peer.find() is None:
                sys.exit(f"{peer.name} is missing; {peer.install}")
        counts.write_text(json.dumps(counted(chosen.seeds, chosen.alone), indent=1) + "\n")
    page.write_text(report.page(json.loads(counts.read_text())))


def counted(seeds: int, alone: int) -> measure.Figures:
    run = Run.begin()
    try:
        records = hospital.read(hospital.generate(run)).records
    finally:
        run.finish()
    worlds = [measure.World(records, seed) for seed in range(1, seeds + 1)]
    clean = [world.judged() for world in worlds]
    say = sys.stderr.write
    planted = [measure.planted(world) for world in worlds]
    said = [measure.planted(world, measure.as_the_site_says()) for world in worlds]
    say("planted\n")
    shares = {}
    for share in SHARES:
        every = [
            measure.noise(world, clean[n], spoilt(world.records, share, n)) for n, world in enumerate(worlds)
        ]
        shares[f"{share:g}"] = dict(sum(every, Counter()))
        say(f"{share:.0%} dirty\n")
    kinds = {}
    for kind in (*KINDS, CUT):
        every = [
            measure.noise(world, clean[n], spoilt(world.records, ONE_KIND, n, (kind,)))
            for n, world in enumerate(worlds)
        ]
        kinds[kind] = dict(sum(every, Counter()))
        say(f"{kind}\n")
    single = sum((measure.alone(world, clean[n], alone, n) for n, world in enumerate(worlds)), Counter())
    say("one by one\n")
    examples = measure.examples()
    return {
        "seeds": seeds,
        "now": measure.NOW.date().isoformat(),
        "hospital": hospital.PEER.find(),
        "examples of": ips.PEER.find(),
        "planted": planted,
        "planted, site": said,
        "shares": shares,
        "kinds": kinds,
        "one kind": ONE_KIND,
        "alone": dict(single),
        "http": dict(measure.over_http(worlds[0], 0.02, 0)),
        "examples": {
            f"{share:g}": dict(sum((measure.read_back(examples, share, n) for n in range(seeds)), Counter()))
            for share in (*SHARES, 1.0)
        },
    }


if __name__ == "__main__":
    main()
