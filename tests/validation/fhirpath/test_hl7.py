"""Our FHIRPath against HL7's own engine, the one inside its validator, on random values.

Needs the peer "HL7 validator" for its libraries, and a JDK, whose launcher compiles FhirPathOracle.java.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.validation.fhirpath import Env, FhirPathError, compile_invariant
from fhir_coprod.validation.fhirpath.model import type_named
from tests.peers.hl7 import PEER
from tests.peers.registry import require
from tests.validation.fhirpath.test_language import ANSWERS, PATIENT
from tests.validation.fhirpath_data import DATA_TYPES, RESOURCES, Grower, at_path, rules

pytestmark = pytest.mark.proof

_HERE = Path(__file__).parents[1]
_LIBRARIES = _HERE.parent / "peers" / "hl7validator" / "target" / "lib"

ELSEWHERE = {
    "ele-1": "in our validator by hand, where the element stands",
    "dom-2": "HL7's engine lists no contained resources of contained ones; its parser has refused them",
    "dom-3": "in our validator by hand; HL7's engine also refuses a contained resource without id",
    "dom-6": "HL7's engine calls every resource unequal to itself, so its dom-6 never warns",
    "txt-1": "HL7's engine leaves the namespace of the narrative to its parser",
    "txt-2": "the same",
}
"""Rules that are not compared here, and why. Each has cases of its own in test_rules_by_hand."""

_HOMES = {
    "ElementDefinition": ("StructureDefinition", "snapshot.element"),
    "Extension": ("Basic", "extension"),
    "Narrative": ("Basic", "text"),
}
"""Where a data type stands that no extension can hold: resource type, path."""

Case = tuple[dict[str, Any], list[tuple[str, str, str, list[tuple[Any, str]]]]]
"""A resource, and rules on it: focus, key, expression, values at the focus with their types."""


class Oracle:
    def __init__(self) -> None:
        # It lives as long as the process.
        self._told = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                "java",
                "-Xmx1500m",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                f"{_LIBRARIES}/*",
                _HERE / "FhirPathOracle.java",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._told,
            text=True,
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        """The next line that is ours: the libraries print to standard output too."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("[", "ready")):
                return line.strip()
        ended = self._process.wait()
        self._told.seek(0)
        raise AssertionError(f"HL7's engine ended with {ended} and said: {self._told.read()[-4000:]}")

    def ask(self, resource: dict[str, Any], questions: list[dict[str, str]]) -> list[list[Any]]:
        assert self._process.stdin is not None
        question = json.dumps({"resource": json.dumps(resource), "rules": questions}) + "\n"
        # An engine that has ended is told by _read, with what it said.
        with suppress(BrokenPipeError):
            self._process.stdin.write(question)
            self._process.stdin.flush()
        answers: list[list[Any]] = json.loads(self._read())
        return answers

    def close(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._told.close()


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    require(PEER)
    running = Oracle()
    yield running
    running.close()


def _cases(seeds: range) -> Iterator[Case]:
    for name in RESOURCES:
        for seed in seeds:
            resource = Grower(seed, name).value(type_named(name))
            yield resource, list(_questions(name, resource, ""))
    for name in DATA_TYPES:
        for seed in seeds:
            value = Grower(seed, name).value(type_named(name))
            home, path = _HOMES.get(name, ("Basic", "extension.value"))
            resource: dict[str, Any] = {"resourceType": home}
            if path == "snapshot.element":
                resource["snapshot"] = {"element": [value]}
            elif path == "extension.value":
                held = (
                    type_named(name).fhir if name not in ("SimpleQuantity", "MoneyQuantity") else "Quantity"
                )
                resource["extension"] = [{"url": "http://example.org/x", "value" + held: value}]
            else:
                resource[path] = [value] if path == "extension" else value
            yield resource, list(_questions(name, value, path))


def _questions(name: str, value: Any, prefix: str) -> Iterator[tuple[str, str, str, list[tuple[Any, str]]]]:
    for path, key, expression in rules(name):
        if key in ELSEWHERE:
            continue
        values = [(found, type_.name) for found, type_ in at_path(value, type_named(name), path)]
        if values:
            steps = [step.removesuffix("[x]") for step in path.split(".")[1:]]
            yield ".".join(([prefix] if prefix else []) + steps), key, expression, values


def _ours(expression: str, key: str, value: Any, type_name: str, env: Env) -> bool:
    try:
        return compile_invariant(expression, type_name, key)(value, env)
    except FhirPathError:
        return False


def _compared(oracle: Oracle, seeds: range) -> tuple[int, list[str]]:
    """How many answers were compared, and those that differ. An engine that fails counts as a no."""
    count = 0
    differences: list[str] = []
    for resource, questions in _cases(seeds):
        env = Env(resource)
        asked = [{"focus": f, "key": k, "expression": e} for f, k, e, _ in questions]
        for (_, key, expression, values), theirs in zip(questions, oracle.ask(resource, asked), strict=True):
            ours = [_ours(expression, key, value, name, env) for value, name in values]
            count += len(ours)
            if ours != [answer is True for answer in theirs]:
                differences.append(
                    f"{key} {expression}: ours {ours}, HL7 {theirs}, {json.dumps(values)[:300]}"
                )
    return count, differences


@pytest.mark.timeout(900)
def test_rules_of_r4_answer_as_in_hl7s_engine(oracle: Oracle) -> None:
    seeds = 6 if os.environ.get("PROOF_SIZE") == "ci" else 60
    count, differences = _compared(oracle, range(seeds))
    assert count > 500 * seeds
    assert not differences


_WE_DIFFER = {
    "'Ada  Berg' ~ 'ada berg'": "HL7's engine does not count several spaces as one; the specification does",
    "@2016-12-31T23:59:60Z < @2017-01-01T00:00:00Z": "HL7's engine moves the leap second to the next day",
    "@T23:00 + 2 hours = @T01:00": "a time goes round the clock by the specification, not in HL7's engine",
    "@T01:00 - 90 minutes = @T23:30": "the same",
    "today() = @2024-02-29": "the clock of the table stands still",
    "conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')": "the oracle has no validator",
    "generalPractitioner.where(resolve() is Organization).reference": "decided by the reference, unfetched",
    "generalPractitioner.where(resolve() is PractitionerRole).reference": "decided by Reference.type",
}
"""Expressions of the table that are answered differently, and why."""


def test_expressions_answer_as_in_hl7s_engine(oracle: Oracle) -> None:
    """The table of test_fhirpath_language, where HL7's engine knows the function and answers at all."""
    singles = [(e, a) for e, a in ANSWERS if len(a) < 2]
    asked = [{"focus": "", "key": "", "expression": expression} for expression, _ in singles]
    theirs = oracle.ask(PATIENT, asked)
    differences = [
        (expression, answer, found)
        for (expression, answer), (found,) in zip(singles, theirs, strict=True)
        if isinstance(found, bool) and found is not bool(answer and answer[0] is not False)
    ]
    assert {expression for expression, _, _ in differences} == set(_WE_DIFFER), differences
