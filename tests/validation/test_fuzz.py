"""No document crashes the validator, takes it long, or stays in its memory."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from fhir_coprod.outcome import MOST_ISSUES
from fhir_coprod.validation.validator import default
from tests import programs
from tests.validation.fuzzing import KINDS

SIZES = {"ci": 2500}
"""PROOF_SIZE → documents; 100,000 otherwise."""


def fuzz(*arguments: str) -> dict[str, Any]:
    """Run the documents in a process that the operating system limits; what it tells when all are judged."""
    done = programs.run("tests.validation.fuzzing", *arguments, timeout=3600)
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.proof] * (kind == "many")) for kind in sorted(KINDS)]
)
def test_every_kind_of_odd_document_gets_an_answer(kind: str) -> None:
    count = 8 if kind in ("long", "many") else 60
    seen = fuzz("--kind", kind, "--count", str(count))["seen"]
    assert sum(seen.values()) == count
    assert any(not key.endswith(": valid") for key in seen)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_odd_documents_get_an_answer_in_bounded_time_and_memory() -> None:
    count = SIZES.get(os.environ.get("PROOF_SIZE", ""), 100_000)
    told = fuzz("--count", str(count), "--seed", "4")
    seen = told["seen"]
    print(f"{count} documents, {told['peak_mb']} MB at most: {seen}")
    assert sum(seen.values()) == count
    assert {key.partition(":")[0] for key in seen} == set(KINDS)
    assert {key.partition(": ")[2] for key in seen} == {"valid", "not valid", "no JSON"}


def test_what_was_refused_is_not_kept() -> None:
    validator = default()
    address = {"line": ["Somewhere 1"], "use": "nowhere"}
    patient = {"resourceType": "Patient", "address": [address]}
    assert not validator.check(patient)
    before = sys.getrefcount(address)
    for _ in range(20):
        assert not validator.check(patient)
    assert sys.getrefcount(address) == before


@pytest.mark.parametrize("errors", [True, False])
def test_a_document_with_countless_findings_gets_the_first_of_them(errors: bool) -> None:
    extension = {"url": "http://example.org/unknown", **({} if errors else {"valueString": "x"})}
    patient = {"resourceType": "Patient", "extension": [extension] * 3000}
    outcome = default().check(patient)
    assert bool(outcome) != errors
    assert MOST_ISSUES <= len(outcome.issues) <= 2 * MOST_ISSUES + 1
    assert "more to tell" in outcome.issues[-1].message


def test_an_error_after_countless_remarks_is_still_told() -> None:
    extension = {"url": "http://example.org/unknown", "valueString": "x"}
    patient = {"resourceType": "Patient", "extension": [extension] * 3000, "gender": "x"}
    assert [issue.expression for issue in default().check(patient).errors] == ["Patient.gender"]
