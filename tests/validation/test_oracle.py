"""Our verdicts beside those of HL7's own validator. Skipped where that is not installed."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.peers import hl7, registry
from tests.validation.mutations import MUTATIONS
from tests.validation.oracle import Comparison, compare, corpus, report

SIZES = {"ci": 1500}
"""PROOF_SIZE → resources; 6,000 otherwise."""


def _unexplained(result: Comparison) -> list[str]:
    return [
        f"{d.sample.of} ({d.sample.kind}): HL7 {[m['text'] for m in d.theirs.errors][:3]}, "
        f"we {[str(issue) for issue in d.ours.errors][:3]}"
        for d in result.differences
        if not d.reason
    ]


def test_a_sample_gets_the_verdicts_of_hl7() -> None:
    """The examples of our package, the slicing cases, and mutants: the same ones each time."""
    registry.require(hl7.PEER)
    result = compare(list(corpus(190, 7)))
    assert not _unexplained(result)
    assert not result.false_accepts_on_own_profiles


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_thousands_get_the_verdicts_of_hl7(record_property: Callable[[str, object], None]) -> None:
    """At least 5,000 resources of at least 40 types and 25 kinds of mutation agree to 99.5 %."""
    registry.require(hl7.PEER)
    size = SIZES.get(os.environ.get("PROOF_SIZE", ""), 6000)
    result = compare(list(corpus(size, 1)))
    record_property("told", report(result, size, 1))
    assert len(result.types) >= 40
    assert len(result.kinds.keys() & MUTATIONS.keys()) >= 25
    assert not _unexplained(result)
    assert not result.false_accepts_on_own_profiles, _unexplained(result)
    # One difference more is a fifteenth of a per cent of the small sample; the bound is for the large one.
    assert result.agreement >= (0.995 if size >= 5000 else 0.99), _unexplained(result)
