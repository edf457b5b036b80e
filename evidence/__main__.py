"""`make evidence`: simulate, watch, count, and write docs/evidence.md with its pictures.

python -m evidence                            100,000 referrals under each noise model, 2,500 in each world
python -m evidence --referrals 2000 --worlds 300 --out /tmp/here   a small run, written elsewhere
python -m evidence --noise --world orders     only one world; the rest of the page as it was counted before
python -m evidence --render                   only the page and the pictures, from earlier counts
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
from evidence.world_figures import world_figures, world_summary
from evidence.worlds import measure_world
from fhir_coprod.simulate.noise import MODELS
from fhir_coprod.simulate.worlds import WORLDS

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence", description=__doc__.partition("\n")[0])
    parser.add_argument("--referrals", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", choices=list(MODELS), nargs="*", default=list(MODELS))
    parser.add_argument("--worlds", type=int, default=2_500, help="Referrals in each world.")
    parser.add_argument("--world", choices=list(WORLDS), nargs="*", default=list(WORLDS))
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
        for world in chosen.world:
            _log(f"world {world}")
            ways = dict(measure_world(world, chosen.worlds, chosen.seed, chosen.workers))
            figured = world_figures(world, chosen.seed, ways)
            (counts / f"world-{world}.json").write_text(json.dumps(figured, indent=1) + "\n")
    known = _read(counts, {noise: noise for noise in MODELS})
    worlds = _read(counts, {world: f"world-{world}" for world in WORLDS})
    if not known:
        sys.exit("Nothing has been counted yet; leave out --render, or name a noise.")
    (pages / "evidence.md").write_text(report.page(known, worlds))
    from evidence import plots  # needs the extra `evidence`; counting does not

    plots.draw(known, worlds, pages)
    sys.stdout.write(report.summary(known) + "\n" + world_summary(worlds) + "\n")


def _read(counts: Path, files: dict[str, str]) -> dict[str, Figures]:
    """What has been counted, by name."""
    found = {name: counts / f"{file}.json" for name, file in files.items()}
    return {name: json.loads(file.read_text()) for name, file in found.items() if file.exists()}


def _log(words: str) -> None:
    sys.stderr.write(words + "\n")


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
