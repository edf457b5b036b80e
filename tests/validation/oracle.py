"""Our verdicts beside those of HL7's own validator, with a reason for every difference.

    python -m tests.validation.oracle --size 6000 --write docs/validator-agreement.md

The corpus: the examples of our package, resources of every R4 type and of every profile of ours made by the
generator, mutants of all of them, and the cases of a package with every way to slice.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fhir_coprod import definitions, jsontext
from fhir_coprod.outcome import Outcome
from fhir_coprod.validation.validator import Validator
from tests.peers import hl7
from tests.validation.generator import Generator
from tests.validation.mutations import MUTATIONS, mutate
from tests.validation.slicing_package import CASES, PROFILES, claiming

Json = dict[str, Any]
OWN = Path(definitions.__file__).resolve().parent.parent / "_data" / "package"
OWN_PROFILES = tuple(
    s["url"] for s in definitions.own_resources("StructureDefinition") if s.get("kind") == "resource"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One resource to be judged.

    kind: example, made, slicing, or the mutation that was done to it
    of:   the type or profile it was made from
    """

    kind: str
    of: str
    resource: Json


@dataclass(frozen=True, slots=True)
class Difference:
    sample: Sample
    theirs: hl7.Verdict
    ours: Outcome
    reason: str
    """"" when nobody has looked into it."""

    @property
    def by_design(self) -> bool:
        """Whether ours judges otherwise on purpose: codes that HL7's validator, without terminology, has to
        refuse, and references that R4's text refuses and HL7's validator does not look at."""
        return self.reason in (GREW, WITHOUT_CODE, BARE)


@dataclass(slots=True)
class Comparison:
    """The confusion table and what is behind it."""

    counts: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    """(theirs, ours) → number"""
    kinds: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """Of each kind, how many HL7's validator refuses."""
    types: set[str] = field(default_factory=set)
    differences: list[Difference] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def by_design(self) -> list[Difference]:
        """Codes that may have grown, or are missing, and bare ids: HL7's validator is no measure there."""
        return [d for d in self.differences if d.by_design]

    @property
    def agreement(self) -> float:
        """Share of equal verdicts, 0 to 1, of all but those `by_design`."""
        left_out = len(self.by_design)
        return 1 - (len(self.differences) - left_out) / (self.total - left_out)

    @property
    def raw_agreement(self) -> float:
        """The same of all."""
        return 1 - len(self.differences) / self.total

    @property
    def false_accepts_on_own_profiles(self) -> list[Difference]:
        """What HL7's validator refuses and ours lets through, of resources of a profile of ours.

        All of them: a reason explains a false accept, it does not undo it.
        """
        return [
            d
            for d in self.differences
            if d.ours and not d.by_design and d.sample.of.startswith(definitions.PROFILE)
        ]


def corpus(size: int, seed: int) -> Iterator[Sample]:
    """That many samples, the same for the same seed; half of them are of profiles of ours."""
    for example in definitions.examples():
        yield Sample("example", example.get("meta", {}).get("profile", [example["resourceType"]])[0], example)
    for _, profile, resource, _ in CASES:
        yield Sample("slicing", profile, claiming(profile, resource))
    library = Validator().library
    random = Random(seed)
    kinds = sorted(MUTATIONS)
    types = list(definitions.resource_types())
    done = len(definitions.examples()) + len(CASES)
    examples = definitions.examples()
    while done < size:
        random.shuffle(types)
        for name in types:
            if random.random() < 0.15:
                found = random.choice(examples)
                of = found.get("meta", {}).get("profile", [found["resourceType"]])[0]
                batch = [Sample("example", of, found)]
            else:
                of = random.choice(OWN_PROFILES) if random.random() < 0.5 else name
                generator = Generator(library, random, richness=random.uniform(0.2, 0.7))
                structure = library.structure(of)
                assert structure is not None
                made = generator.resource(structure.type, of) if structure.profile else generator.resource(of)
                batch = [Sample("made", of, made)]
            for kind in random.sample(kinds, 5):
                mutant = mutate(library, batch[0].resource, kind, random)
                if mutant is not None:
                    batch.append(Sample(kind, of, mutant))
            if batch[0].kind == "example":
                del batch[0]
            yield from batch[: size - done]
            done += len(batch)
            if done >= size:
                return


def compare(samples: Sequence[Sample]) -> Comparison:
    """Let both judge. Needs the peer."""
    validator = Validator(PROFILES)
    result = Comparison()
    with tempfile.TemporaryDirectory() as folder:
        for profile in PROFILES:
            without = {k: v for k, v in profile.items() if k != "snapshot"}
            (Path(folder) / f"StructureDefinition-{profile['id']}.json").write_text(json.dumps(without))
        with hl7.Hl7Validator([OWN, Path(folder)]) as peer:
            verdicts = peer.verdicts(jsontext.encode(sample.resource) for sample in samples)
            for sample, theirs in zip(samples, verdicts, strict=True):
                ours = validator.validate(jsontext.encode(sample.resource))
                result.counts[theirs.ok, bool(ours)] += 1
                result.kinds[sample.kind] += 1
                result.refused[sample.kind] += not theirs.ok
                if definitions.is_resource_type(sample.resource.get("resourceType")):
                    result.types.add(sample.resource["resourceType"])
                if theirs.ok != bool(ours):
                    result.differences.append(Difference(sample, theirs, ours, reason(sample, theirs, ours)))
    return result


# ---------------------------------------------------------------------- reasons

GREW = (
    "the code is younger than R4, or may be: ours knows it, or tells it as a warning, since code systems grow"
)
WITHOUT_CODE = "the coding names a code system and no code of it: R4 allows that, ours tells it as a warning"
BARE = (
    "R4 wants a type and an id in a literal reference, or a whole address; HL7's validator asks for it in "
    "Bundles only"
)
HL7_REFUSES: tuple[tuple[str, str], ...] = (
    # What HL7's validator refuses: message id or text → why ours does not.
    (
        "CODESYSTEM_CS_HL7_PRESENT_ELEMENT_SUPPL ",
        "HL7's validator takes what a supplement should not state for an error",
    ),
    (
        "^(IG_DEPENDENCY|CODESYSTEM|SM|SEARCHPARAMETER|VALUESET|CONCEPTMAP|SD|ED|Questionnaire|FHIRPATH|MEASURE|OPDEF)_",
        "a conformance resource is also judged as a definition (names, references among its parts), "
        "beyond the rules that R4 states for it",
    ),
    (
        "Terminology_TX_ValueSet_NotFound_CS",
        "R4 binds the element to a code system by mistake; HL7's validator counts that against the resource",
    ),
    (
        "#null'",
        WITHOUT_CODE,
    ),
    ("Terminology_PassThrough_TX_Message .* (Unknown code|Error processing unit) '", GREW),
    ("is not valid for system: urn:iso:std:iso:3166 ", GREW),
    (
        "Bundle_BUNDLE_FullUrl_Missing",
        "HL7's validator refuses a relative reference of the Bundle itself, or of an entry that R4 lets be "
        "without a fullUrl",
    ),
    (
        "Inappropriate CodeSystem URL",
        "HAPI refuses another system than UCUM where R4 only prefers its units",
    ),
    (
        "Type_Specific_Checks_DT_OID_Valid",
        "HL7's validator wants more arcs in an OID than R4's pattern asks for",
    ),
    ("NullPointerException", "HL7's validator broke off without a verdict"),
    ("Type_Specific_Checks_DT_Time_Valid", "HL7's validator refuses fractions of a second in a time"),
    (
        "is not in valueset: http://hl7.org/fhir/ValueSet/languages",
        "offline, HAPI knows the common languages only; ours knows BCP 47",
    ),
    (
        "Validation_VAL_Profile_MatchMultiple.*EffectiveDescription",
        "HL7's validator takes participantEffectiveDescription for the choice participantEffective[x]",
    ),
    (
        "performer:person|telecom:phone",
        "HL7's validator cannot follow resolve() without fetching, nor this slice of a slice",
    ),
)
WE_REFUSE: tuple[tuple[str, str], ...] = (
    # What ours refuses: text → why HL7's does not.
    ("An empty list is not allowed", "HL7's parser overlooks an empty list of primitive values"),
    (
        "remove the empty one. (ele-1)",
        "HL7's validator lets an element pass that has an id only, against ele-1",
    ),
    (
        "(rng-2)",
        "HL7's validator compares quantities that have no unit in common; FHIRPath has no answer there",
    ),
    ("This is not a valid base64Binary", "HL7's validator skips other characters in base64"),
    ("without a system is outside everything", "HAPI guesses the system of a coding that names none"),
    ("m49.htm", "HAPI does not look into the UN's regions (M49)"),
    ("A literal reference is a type and an id", BARE),
    ("The modifier extension", "unknown modifier extensions are refused by design"),
    (
        "The reference points to a",
        "HL7's validator does not look at Reference.type where no literal reference stands, "
        "nor at a literal of a type that it does not fetch",
    ),
)


def reason(sample: Sample, theirs: hl7.Verdict, ours: Outcome) -> str:
    """Why the two differ, by what one of them says; "" when it is none of the known reasons."""
    if ours:
        said = [f"{message['id']} {message['location']} {message['text']}" for message in theirs.errors]
        found = [GREW if _only_grew(text) else _known(text) for text in said]
    else:
        found = [next((why for text, why in WE_REFUSE if text in issue.message), "") for issue in ours.errors]
    return "" if "" in found or not found else found[0]


def _known(text: str) -> str:
    return next((why for pattern, why in HL7_REFUSES if re.search(pattern, text)), "")


def _only_grew(text: str) -> bool:
    """Whether HL7's validator misses a code that a required value set has got since R4, with its system."""
    named = re.search(r"\(codes = (\S+)#(\S+)\)$", text)
    held = definitions.editions(named[1]) if named else None
    if named is None or held is None or not held.by_name:
        return False
    of_r4 = list(held.by_name)[-1]
    return held.has(named[2]) is True and held.has(named[2], of_r4) is False


# ---------------------------------------------------------------------- the report


def report(result: Comparison, size: int, seed: int) -> str:
    """The comparison as a page."""
    counts = result.counts
    mutations = {k: n for k, n in result.kinds.items() if k in MUTATIONS}
    version = hl7.PEER.find() or ""
    lines = [
        "# Beside HL7's validator",
        "",
        f"{result.total:,} resources of {len(result.types)} types, judged by `fhir-coprod` and by HL7's own "
        f"validator (in the packaging of HAPI FHIR {version}; no network, no terminology server). "
        f"{result.kinds['example']} are the examples of our package, {result.kinds['made']:,} were made from "
        f"definitions, of R4's types and of our profiles; {sum(mutations.values()):,} are mutants of these "
        f"by {len(mutations)} kinds of mutation, and {result.kinds['slicing']} try every way to slice.",
        "",
        "| | we accept | we refuse |",
        "|---|---:|---:|",
        f"| HL7 accepts | {counts[True, True]:,} | {counts[True, False]:,} |",
        f"| HL7 refuses | {counts[False, True]:,} | {counts[False, False]:,} |",
        "",
        f"Agreement on accept or refuse: **{result.agreement:.2%}**, codes that may be younger, or are "
        f"missing, and references that are ids only, left out ({len(result.by_design)}, below; "
        f"{result.raw_agreement:.2%} with them). "
        "Resources of a profile of ours that HL7's validator refuses and ours accepts: "
        f"**{len(result.false_accepts_on_own_profiles)}**, "
        "leaving out the same.",
        "",
        "On terminology this comparison proves nothing. Without a terminology server HL7's validator knows "
        "only the code systems as R4 published them in 2019, and refuses what has been added since; with one "
        "it would judge by HL7's terminology of the day. Ours holds a later version of that terminology. A "
        "code that this version lacks is an error only where the list is closed: by a required binding, or "
        "by the version that the coding names. Elsewhere it is a warning, as is a coding without a code.",
        "",
        "This page is written by its own command, and a run with the same numbers gives the same page:",
        "",
        "```sh",
        "python scripts/install_peers.py hl7validator",
        f"python -m tests.validation.oracle --size {size} --seed {seed} --write docs/validator-agreement.md",
        "```",
        "",
        "`make proof` repeats the comparison, asks for 99.5 %, and prints this page; a smaller sample is in "
        "`make test`.",
        "",
        *_reasons(result),
        *_every_difference(result),
        *_kinds(result),
    ]
    return "\n".join(lines) + "\n"


def _reasons(result: Comparison) -> Iterator[str]:
    yield from ("## Why they differ", "", "| number | verdicts | reason |", "|---:|---|---|")
    groups = Counter((bool(d.ours), d.reason or "not looked into") for d in result.differences)
    for (accepted, why), number in sorted(groups.items(), key=lambda group: (-group[1], group[0])):
        verdicts = "HL7 refuses, we accept" if accepted else "HL7 accepts, we refuse"
        yield f"| {number} | {verdicts} | {why} |"
    yield ""


def _every_difference(result: Comparison) -> Iterator[str]:
    yield from (
        "## Every difference",
        "",
        "All but what is left out above.",
        "",
        "| of | made by | who refuses, and what it says |",
        "|---|---|---|",
    )
    for d in (d for d in result.differences if not d.by_design):
        who = f"HL7: {d.theirs.errors[0]['text']}" if d.ours else f"we: {d.ours.errors[0].message}"
        where = d.theirs.errors[0]["location"] if d.ours else d.ours.errors[0].expression
        said = " ".join(who.replace("|", "\\|").split())
        yield f"| {d.sample.of.rpartition('/')[2]} | {d.sample.kind} | `{where}` {said} |"
    yield ""


def _kinds(result: Comparison) -> Iterator[str]:
    yield from ("## By kind", "", "| made by | number | HL7 refuses | differences |", "|---|---:|---:|---:|")
    different = Counter(d.sample.kind for d in result.differences)
    for kind, number in sorted(result.kinds.items()):
        yield f"| {kind} | {number:,} | {result.refused[kind]:,} | {different[kind]} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.validation.oracle", description=__doc__)
    parser.add_argument("--size", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="write the page there")
    parser.add_argument("--details", type=Path, help="write every difference there, as NDJSON")
    arguments = parser.parse_args()
    result = compare(list(corpus(arguments.size, arguments.seed)))
    page = report(result, arguments.size, arguments.seed)
    print(page)
    if arguments.write:
        arguments.write.write_text(page)
    if arguments.details:
        with arguments.details.open("w") as out:
            for d in result.differences:
                told = [f"{m['id']}: {m['location']}: {m['text']}" for m in d.theirs.errors]
                ours = [str(issue) for issue in d.ours.errors]
                row = {
                    "kind": d.sample.kind,
                    "of": d.sample.of,
                    "reason": d.reason,
                    "hl7": told,
                    "ours": ours,
                }
                out.write(json.dumps({**row, "resource": d.sample.resource}) + "\n")


if __name__ == "__main__":
    main()
