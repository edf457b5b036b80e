"""Reports the mutants that survived, and the share that was killed with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mutation.areas import ROOT
from mutation.run import Result


def shares(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """By area, and in all: {mutants, killed, timed out, not covered, share: [share, low, high]}."""
    # Imported late: until now, this process must hold nothing of the repository.
    from evidence.measure import wilson

    told = {}
    for area in [*sorted({result.mutant.area for result in results}), "all"]:
        some = [result for result in results if area in (result.mutant.area, "all")]
        killed = sum(result.killed for result in some)
        told[area] = {
            "mutants": len(some),
            "killed": killed,
            "timed out": sum(result.outcome == "timed out" for result in some),
            "not covered": sum(result.outcome == "not covered" for result in some),
            "share": [round(figure, 4) for figure in wilson(killed, len(some))],
            "seconds": round(sum(result.seconds for result in some), 1),
            "processor": round(sum(result.processor for result in some), 1),
        }
    return told


def text(results: Sequence[Result], left_out: Sequence[str], root: Path = ROOT) -> str:
    """For a reader: the survivors, then the shares."""
    lines = []
    for result in results:
        if not result.killed:
            lines += [
                f"{result.mutant.id}  {result.mutant.where(root)}  {result.mutant.area}, "
                f"{result.mutant.edit.operator}: {result.outcome}",
                *(f"    {line}" for line in result.mutant.change().splitlines()),
                f"    {_ran(result.ran)}",
                "",
            ]
    if left_out:
        lines += ["Tests that fail without a mutant, left out:", *(f"  {test}" for test in left_out), ""]
    for area, told in shares(results).items():
        share, low, high = told["share"]
        lines.append(
            f"{area:<16} {told['killed']:>4} of {told['mutants']:>4} killed: {100 * share:.1f} % "
            f"({100 * low:.1f} to {100 * high:.1f}); {told['timed out']} by time, "
            f"{told['not covered']} not covered; {told['seconds'] / max(1, told['mutants']):.1f} s each, "
            f"{told['processor'] / max(1, told['mutants']):.1f} s of a processor"
        )
    return "\n".join(lines)


def data(results: Sequence[Result], root: Path = ROOT, **about: Any) -> dict[str, Any]:
    """For a program: the shares, and every mutant."""
    return {
        **about,
        "areas": shares(results),
        "mutants": [
            {
                "id": result.mutant.id,
                "area": result.mutant.area,
                "where": result.mutant.where(root),
                "operator": result.mutant.edit.operator,
                "change": result.mutant.change(),
                "outcome": result.outcome,
                "by": result.by,
                "tests": list(result.ran),
                "seconds": round(result.seconds, 2),
                "processor": round(result.processor, 2),
            }
            for result in results
        ],
    }


def _ran(tests: Sequence[str]) -> str:
    if not tests:
        return "no test runs this line"
    more = f" and {len(tests) - 8} more" if len(tests) > 8 else ""
    return f"{len(tests)} tests: " + ", ".join(_short(test) for test in tests[:8]) + more


def _short(test: str) -> str:
    """A test without the folders that its file is in."""
    path, colons, name = test.partition("::")
    return path.rpartition("/")[2] + colons + name
