"""`make mutants`: put small faults into the code, one at a time, and see whether the tests notice.

python -m mutation                                  400 mutants of all areas, seed 1
python -m mutation --only sync --count 50 --seed 7  some of one area
python -m mutation --id 1a2b3c4d 5e6f7a8b           these again
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from mutation import report, sample
from mutation.areas import AREAS
from mutation.run import Run

COUNT = 400


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="which sample (default 1)")
    parser.add_argument("--count", type=int, default=COUNT, help=f"how many mutants (default {COUNT})")
    parser.add_argument(
        "--only", choices=list(AREAS), nargs="*", metavar="AREA", help=f"of: {', '.join(AREAS)}"
    )
    parser.add_argument("--id", nargs="*", help="these mutants, whatever the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once (default: processors)")
    parser.add_argument("--json", type=Path, help="write every mutant and its outcome to this file")
    parser.add_argument("--floor", type=float, default=0.0, help="fail when a smaller share is killed")
    parser.add_argument("--list", action="store_true", help="only print the sample")
    chosen = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets must not differ between two runs.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    areas = {name: AREAS[name] for name in chosen.only or AREAS}
    every = sample.mutants(areas)
    _say(f"{len(every)} mutants in {', '.join(areas)}")
    if chosen.id:
        mutants = [mutant for mutant in every if mutant.id in chosen.id]
        missing = set(chosen.id) - {mutant.id for mutant in mutants}
        if missing:
            parser.error(f"no mutant has the id {', '.join(sorted(missing))}; the line may have changed")
    else:
        mutants = sample.sample(every, chosen.seed, chosen.count)
    if chosen.list:
        for mutant in mutants:
            print(f"{mutant.id}  {mutant.where()}  {mutant.edit.operator}\n{mutant.change()}")
        return 0
    tests = {areas[mutant.area].tests for mutant in mutants}
    run = Run({name: area for name, area in AREAS.items() if area.tests in tests}, chosen.jobs, _say)
    began = time.monotonic()
    results = run.results(mutants)
    print(report.text(results, sorted(run.left_out)))
    took = time.monotonic() - began
    _say(f"{took:.0f} s, {took / max(1, len(mutants)):.1f} s a mutant")
    if chosen.json:
        told = report.data(
            results, seed=chosen.seed, all=len(every), left_out=sorted(run.left_out), took=took
        )
        chosen.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    share: float = report.shares(results)["all"]["share"][0]
    return int(share < chosen.floor)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
