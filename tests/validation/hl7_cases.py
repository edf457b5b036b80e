"""HL7's own test cases for validators, judged by ours, with a reason for every difference.

    python -m tests.validation.hl7_cases ../shared/data/hl7-test-cases

The folder holds `validator.ndjson.gz`, made from HL7's FHIR/fhir-test-cases: a row per case with `name`,
`text` (the resource as JSON text), `supporting` (definitions that are loaded with it), `profile`, and
`errors` (what HL7's validator, with its terminology server, calls errors; none: accepted).
`hl7_cases.toml`, beside this file, names the cases that are left out, and those that differ, each with its
reason. HL7 runs its suite so that an extension that is not known is an error, so ours is asked strictly.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_coprod import definitions
from fhir_coprod.definitions import Package
from fhir_coprod.errors import CoprodError
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.validation import validate

Json = dict[str, Any]
FILE = "validator.ndjson.gz"
TABLE = Path(__file__).with_suffix(".toml")
WANTED = {"without packages": 0.97, "with packages": 0.95}
"""The share that has to agree with the published verdict, of the cases that are not left out."""
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "hl7-test-cases"
"""Where the cases stand beside the repository, on the machines that have them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One resource to be judged.

    name:       HL7's name, with `|base` or `|profile`
    supporting: the definitions to load for it
    accepted:   whether HL7's validator finds no error
    """

    name: str
    text: str
    supporting: tuple[Json, ...]
    profile: str | None
    accepted: bool

    @property
    def has_packages(self) -> bool:
        """Whether it is about definitions of others."""
        return bool(self.supporting) or self.profile is not None


@dataclass(frozen=True, slots=True)
class Judged:
    case: Case
    outcome: Outcome

    @property
    def agrees(self) -> bool:
        return not self.broke_off and bool(self.outcome) == self.case.accepted

    @property
    def broke_off(self) -> bool:
        """Whether there is no verdict: a definition could not be used."""
        return any(issue.severity == "fatal" and issue.code == "not-supported" for issue in self.outcome)


@dataclass(frozen=True, slots=True)
class Table:
    """What is written down about the cases.

    left_out:  cases that nobody here can decide: name → why
    differing: those that we judge otherwise: name → why
    """

    left_out: dict[str, str]
    differing: dict[str, str]


def table() -> Table:
    """The table beside this file."""
    read = tomllib.loads(TABLE.read_text())
    return Table(
        {name: group["why"] for group in read["left_out"] for name in group["cases"]},
        {name: group["why"] for group in read["differing"] for name in group["cases"]},
    )


def cases(folder: Path) -> Iterator[Case]:
    """Every case of a copy."""
    with gzip.open(folder / FILE, "rt") as rows:
        for row in map(json.loads, rows):
            yield Case(
                row["name"],
                row["text"],
                tuple(row["supporting"] or ()),
                row["profile"] or None,
                not row["errors"],
            )


def judge(case: Case) -> Judged:
    """Our verdict. Loads what the case brings, so it runs in a process of its own."""
    if case.supporting:
        files = {
            f"{number}-{one['resourceType']}.json": json.dumps(one).encode()
            for number, one in enumerate(case.supporting)
        }
        definitions.registry().add(Package(case.name, files))
    try:
        return Judged(case, validate(case.text, case.profile, strict=True))
    except CoprodError as error:
        return Judged(case, Outcome((Issue("fatal", "not-supported", error.message),)))


def judged(folder: Path, names: Collection[str] = ()) -> list[Judged]:
    """Our verdicts on every case that is not left out, or on those of the names only."""
    left_out = table().left_out
    wanted = [
        case for case in cases(folder) if case.name not in left_out and (not names or case.name in names)
    ]
    validate({"resourceType": "Bundle", "type": "collection"})  # each process starts with R4 in memory
    context = multiprocessing.get_context("fork")
    with context.Pool(2, maxtasksperchild=1) as pool:
        return pool.map(judge, wanted, chunksize=1)


def report(found: list[Judged], known: Table) -> str:
    """The shares that agree, and each difference with its reason."""
    lines: list[str] = []
    for name, share in shares(found).items():
        lines.append(f"{name}: {share[0]} of {share[1]} agree ({share[0] / max(1, share[1]):.1%})")
    lines.append(f"left out: {len(known.left_out)}")
    for one in found:
        if one.agrees:
            continue
        verdict = "we refuse" if one.case.accepted else "we accept"
        why = known.differing.get(one.case.name, "NO REASON IS WRITTEN DOWN")
        lines.append(f"{one.case.name}: {verdict}: {why}")
        lines += [f"    {issue}" for issue in one.outcome.errors[:3]]
    for kind in ("base", "profile"):
        some = [one for one in found if one.case.name.endswith(f"|{kind}")]
        lines.append(f"|{kind}: {sum(one.agrees for one in some)} of {len(some)}")
    return "\n".join(lines)


def shares(found: list[Judged]) -> dict[str, tuple[int, int]]:
    """(agreeing, all) of the cases without packages and with."""
    result: dict[str, tuple[int, int]] = {}
    for name, packages in zip(WANTED, (False, True), strict=True):
        some = [one for one in found if one.case.has_packages is packages]
        result[name] = (sum(one.agrees for one in some), len(some))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.validation.hl7_cases", description=__doc__)
    parser.add_argument("folder", type=Path, help=f"the folder that holds {FILE}")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="judge only these cases")
    arguments = parser.parse_args()
    print(report(judged(arguments.folder, arguments.only), table()))


if __name__ == "__main__":
    main()
