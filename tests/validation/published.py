"""Packages of HL7, judged by ours and by HL7's own validator: all examples, mutants of them, and each reason.

    python -m tests.validation.published

Ours judges twice: with the snapshots that HL7's publisher made, and with those that we make from the same
differentials. `published.toml`, beside this file, has the reasons, by what the one that refuses says.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from fhir_coprod import definitions, jsontext
from fhir_coprod.definitions.package import Package
from fhir_coprod.outcome import Outcome
from fhir_coprod.validation import validate
from fhir_coprod.validation.validator import Validator
from tests.peers import hl7
from tests.peers.hl7packages import ALL, Published
from tests.validation.mutations import MUTATIONS, mutate

Json = dict[str, Any]
TABLE = Path(__file__).with_suffix(".toml")
_PINNED = re.compile(r'("https?://[^"|\s]+)\|[^"]*"')
"""A canonical with its version. HAPI finds no definition of R4 by its version, so it gets them without."""
DEFINITIONS = ("StructureDefinition", "ValueSet", "CodeSystem")


@dataclass(frozen=True, slots=True)
class Sample:
    """One resource: an example as it is published, or broken by a mutation."""

    name: str
    kind: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Judged:
    """
    theirs: what HL7's validator says
    ours:   what we say with the published snapshots
    own:    what we say with snapshots of our making
    """

    sample: Sample
    theirs: hl7.Verdict
    ours: Outcome
    own: Outcome

    @property
    def agrees(self) -> bool:
        return self.theirs.ok == bool(self.ours)

    @property
    def reason(self) -> str:
        """Why the two differ; "" when nobody has looked into it."""
        return reason(self.theirs, self.ours)


def samples(package: Package, mutants: int) -> list[Sample]:
    """Every example and so many mutants of each, the same ones each time."""
    library, random, found = Validator().library, Random(13), []
    for entry in package.examples():
        if not entry.file.startswith("example/"):
            continue
        resource, name = package.read(entry), f"{entry.type}/{entry.id}"
        found.append(Sample(name, "example", jsontext.encode(resource)))
        for kind in random.sample(sorted(MUTATIONS), mutants):
            mutant = mutate(library, resource, kind, random)
            if mutant is not None:
                found.append(Sample(name, kind, jsontext.encode(mutant)))
    return found


def without_snapshots(package: Package) -> Package:
    """The same package as one that was built without snapshots."""
    files: dict[str, bytes | Path] = {}
    for file, content in package.files():
        read = json.loads(content)
        if isinstance(read, dict) and read.get("resourceType") == "StructureDefinition":
            read.pop("snapshot", None)
            content = json.dumps(read).encode()
        files[file] = content
    return Package(package.name, files)


def _ours(package: Package, texts: Sequence[bytes]) -> list[Outcome]:
    """Our verdicts. The package stays loaded, so this runs in a process of its own."""
    definitions.registry().add(package)
    return [validate(text) for text in texts]


def _theirs(package: Package, texts: Sequence[bytes]) -> list[hl7.Verdict]:
    with tempfile.TemporaryDirectory() as folder:
        for kind in DEFINITIONS:
            for entry in package.of_type(kind):
                text = _PINNED.sub(r'\1"', json.dumps(package.read(entry)))
                (Path(folder) / f"{kind}-{entry.id}.json").write_text(text)
        with hl7.Hl7Validator([Path(folder)], heap="2500m") as peer:
            return list(peer.verdicts(texts))


def judged(published: Published, mutants: int = 2) -> list[Judged]:
    """Both verdicts on all samples of a package. Needs the peers."""
    package = Package.open(published.file)
    every = samples(package, mutants)
    texts = [sample.text for sample in every]
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        made = pool.starmap_async(_ours, [(package, texts), (without_snapshots(package), texts)], chunksize=1)
        theirs = _theirs(package, texts)
        ours, own = made.get()
    return [Judged(*each) for each in zip(every, theirs, ours, own, strict=True)]


# ---------------------------------------------------------------------- reasons


@cache
def _table() -> dict[str, list[dict[str, str]]]:
    return tomllib.loads(TABLE.read_text())


def reason(theirs: hl7.Verdict, ours: Outcome) -> str:
    """Why the two differ, by all that the one that refuses says; "" when that is not all known."""
    if ours:
        said = [(f"{m['id']} {m['location']} {m['text']}", m["text"]) for m in theirs.errors]
        rows = _table().get("they_refuse", [])
    else:
        said = [(f"{issue.expression} {issue.message}", "") for issue in ours.errors]
        rows = _table().get("we_refuse", [])
    found = [next((row["why"] for row in rows if re.search(row["says"], text)), "") for text, _ in said]
    return "" if "" in found or not found else found[0]


def report(published: Published, found: list[Judged]) -> str:
    """The confusion table of one package, the reasons, and what has none."""
    counts = Counter((one.theirs.ok, bool(one.ours)) for one in found)
    examples = sum(one.sample.kind == "example" for one in found)
    lines = [
        f"{published.name}: {examples} examples, {len(found) - examples} mutants",
        f"  both accept {counts[True, True]}, both refuse {counts[False, False]}, "
        f"only we refuse {counts[True, False]}, only HL7 refuses {counts[False, True]}",
    ]
    why = Counter(
        (one.theirs.ok, one.sample.kind == "example", one.reason) for one in found if not one.agrees
    )
    for (accepted, is_example, text), number in sorted(why.items()):
        who = "we refuse" if accepted else "HL7 refuses"
        lines.append(f"  {number} {'examples' if is_example else 'mutants'}: {who}: {text or 'NO REASON'}")
    for one in unexplained(found):
        told = (
            one.ours.errors if one.theirs.ok else [f"{m['location']}: {m['text']}" for m in one.theirs.errors]
        )
        lines.append(f"  {one.sample.name} ({one.sample.kind}): {[str(each) for each in told][:3]}")
    return "\n".join(lines)


def unexplained(found: list[Judged]) -> list[Judged]:
    """Differences that nobody has given a reason for."""
    return [one for one in found if not one.agrees and not one.reason]


def main() -> None:
    for published in ALL:
        print(report(published, judged(published)), flush=True)


if __name__ == "__main__":
    main()
