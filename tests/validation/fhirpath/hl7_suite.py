"""HL7's FHIRPath tests for R4, run by our engine, with a reason for every difference.

    python -m tests.validation.fhirpath.hl7_suite FOLDER

FOLDER holds `fhirpath.xml` (r4/fhirpath/tests-fhir-r4.xml of FHIR/fhir-test-cases) and its inputs as JSON in
`fhirpath-input/`. Prints each difference and how many answers agree; ends with 1 if one has no reason here.

A test agrees if the items have the texts that are asked for, in order, and if what should be an error is one:
a refusal when the expression is compiled, or an error when it runs. Tests of the strict mode are checked as
such. Every expression also runs as a path of the index and as a rule, which must say the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fhir_coprod.errors import CoprodError
from fhir_coprod.validation.fhirpath import Env, Typed, compile_invariant, compile_typed, quantity
from fhir_coprod.validation.fhirpath.closures.compiler import compiled
from fhir_coprod.validation.fhirpath.nodes import Node, Nodes, Scope, as_truth, root
from fhir_coprod.validation.fhirpath.parser import parse
from tests.validation.fhirpath.strict import check_steps

PLACE = Path(__file__).parents[4] / "shared" / "data" / "hl7-test-cases"
"""Where `make proof` looks: beside the repository."""

_HOUR = "an hour without minutes ends at minute 59; HL7's engine takes it for minute 0"
REASONS = {
    "testType12": "R4's own que-7 asks `answer is Boolean` of a FHIR boolean, and HL7's validator says yes",
    "testPolymorphicsB": "published guides write valueQuantity in paths, and HL7's validator takes it",
    "testFHIRPathAsFunction11": "a code is a string in R4, and `as` takes what is derived from the type",
    "testFHIRPathAsFunction16": "a code is a string in R4, and `ofType` takes what is derived from the type",
    "testFHIRPathAsFunction21": "R4's own dom-3 and search parameters use as() on several items",
    "HighBoundaryDateTimeMillisecond1": _HOUR,
    "HighBoundaryDateTimeMillisecond3": _HOUR,
}
"""By the name of the test: why our answer is another one on purpose."""


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    expression: str
    resource: dict[str, Any]
    outputs: tuple[str, ...]
    is_error: bool
    strict: bool
    predicate: bool
    """Whether only the truth of the answer counts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The items as texts, or why there are none."""

    items: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    case: Case
    answer: Answer

    @property
    def reason(self) -> str:
        return REASONS.get(self.case.name, "")

    def __str__(self) -> str:
        wanted = "an error" if self.case.is_error else list(self.case.outputs)
        return (
            f"{self.case.name}: {self.case.expression}\n"
            f"    wanted {wanted}, found {self.answer.error or list(self.answer.items)}\n"
            f"    {self.reason or 'NO REASON'}"
        )


def cases(folder: Path) -> Iterator[Case]:
    for test in ElementTree.parse(folder / "fhirpath.xml").iter("test"):
        expression = test.find("expression")
        assert expression is not None
        source = test.get("inputfile")
        resource: dict[str, Any] = {"resourceType": "Basic"}
        if source:
            resource = json.loads((folder / "fhirpath-input" / source).with_suffix(".json").read_text())
        yield Case(
            str(test.get("name")),
            expression.text or "",
            resource,
            tuple(_bare(output) for output in test.findall("output")),
            expression.get("invalid") is not None,
            test.get("mode") == "strict",
            test.get("predicate") == "true",
        )


def _bare(output: ElementTree.Element) -> str:
    """The text of an output, dates and times as JSON has them."""
    text = output.text or ""
    return text.removeprefix("@").removeprefix("T") if text.startswith("@") else text


def answer(case: Case) -> Answer:
    """What our engine says, which is the same in each form that it runs in."""
    base = case.resource["resourceType"]
    try:
        tree = parse(case.expression)
        if case.strict:
            check_steps(tree, base)
        run, typed = compiled(tree), compile_typed(case.expression, base)
        focus = [root(case.resource)]
        nodes = run(Scope(Env(case.resource), focus, focus))
        _as_path(case, typed, nodes)
        if len(nodes) <= 1:
            _as_rule(case, nodes)
    except CoprodError as error:
        return Answer(error=error.message)
    return Answer(tuple(_text(node) for node in nodes))


def _as_path(case: Case, typed: Typed, nodes: Nodes) -> None:
    mine = [value for node in nodes if (value := node.value) is not None]
    plain = [float(value) if isinstance(value, Decimal) else value for value in mine]
    found = [value for _, value in typed(case.resource)]
    assert "now()" in case.expression or found == plain, f"{case.name} as a path: {found}, not {plain}"


def _as_rule(case: Case, nodes: Nodes) -> None:
    holds = compile_invariant(case.expression, case.resource["resourceType"])(
        case.resource, Env(case.resource)
    )
    assert holds is (as_truth(nodes) is True), f"{case.name} as a rule: {holds}"


def _text(node: Node) -> str:
    value = node.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return format(value, "f")
    return quantity.text(value) if node.type.system == "Quantity" else str(value)


def _agrees(case: Case, found: Answer) -> bool:
    if case.is_error or found.error:
        return case.is_error and bool(found.error)
    if case.predicate:
        return case.outputs == (str(bool(found.items)).lower(),)
    return found.items == case.outputs


def differences(folder: Path) -> tuple[int, list[Difference]]:
    """How many tests there are, and those that we answer differently."""
    known = list(cases(folder))
    found = [Difference(case, answer(case)) for case in known]
    return len(known), [each for each in found if not _agrees(each.case, each.answer)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="holds fhirpath.xml and fhirpath-input/")
    total, differ = differences(parser.parse_args().folder)
    for difference in differ:
        print(difference)
    print(
        f"{total - len(differ)} of {total} agree; {sum(not d.reason for d in differ)} differ without a reason"
    )
    return int(any(not difference.reason for difference in differ))


if __name__ == "__main__":
    sys.exit(main())
