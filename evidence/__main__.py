"""`make evidence`: simulate, watch, count, and write docs/evidence.md with its pictures.

python -m evidence                                    100,000 referrals under each noise model; writes docs
python -m evidence --referrals 2000 --out /tmp/here   a small run, written elsewhere
python -m evidence --render                           only the page and the pictures, from earlier counts
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from evidence import report
from evidence.figures import Figures, figures
from evidence.measure import PER_PATIENT, Tally, measure
from fhir_coprod.simulate.noise import MODELS

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence", description=__doc__.partition("\n")[0])
    parser.add_argument("--referrals", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", choices=list(MODELS), nargs="*", default=list(MODELS))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--out", type=Path, help="Folder for page, pictures and counts; else docs and evidence."
    )
    parser.add_argument("--render", action="store_true", help="Count nothing anew.")
    chosen = parser.parse_args()
    pages = chosen.out or ROOT / "docs"
    counts = chosen.out or ROOT / "evidence" / "results"
    for folder in (pages, counts):
        folder.mkdir(parents=True, exist_ok=True)
    if not chosen.render:
        for noise in chosen.noise:
            found = figures(_counted(chosen.referrals, noise, chosen.seed, chosen.workers), chosen.seed)
            (counts / f"{noise}.json").write_text(json.dumps(found, indent=1) + "\n")
    known: dict[str, Figures] = {
        noise: json.loads((counts / f"{noise}.json").read_text())
        for noise in MODELS
        if (counts / f"{noise}.json").exists()
    }
    if not known:
        sys.exit("Nothing has been counted yet; leave out --render.")
    (pages / "evidence.md").write_text(report.page(known))
    from evidence import plots  # needs the extra `evidence`; counting does not

    plots.draw(known, pages)
    sys.stdout.write(report.summary(known) + "\n")


def _counted(referrals: int, noise: str, seed: int, workers: int) -> Tally:
    console = Console(stderr=True)
    whole = Tally(noise)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"patients, {noise} feeds", total=round(referrals / PER_PATIENT))
        for tally in measure(referrals, noise, seed, workers):
            bar.update(task, completed=tally.patients)
            whole = tally
    return whole


if __name__ == "__main__":
    main()
