"""Packages of HL7 beside HL7's own validator, in both directions: no difference without a reason."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.peers import hl7, hl7packages, registry
from tests.validation import published

MUTANTS = {"ci": 0}
"""PROOF_SIZE → mutants of each example; 2 otherwise."""


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("package", hl7packages.ALL, ids=lambda package: str(package.name))
def test_a_package_of_hl7_gets_hl7s_verdicts(
    package: hl7packages.Published, record_property: Callable[[str, object], None]
) -> None:
    registry.require(hl7.PEER)
    registry.require(package.peer)
    found = published.judged(package, MUTANTS.get(os.environ.get("PROOF_SIZE", ""), 2))
    record_property("told", published.report(package, found))
    examples = [one for one in found if one.sample.kind == "example"]
    assert not [one.sample.name for one in published.unexplained(found)]
    # What a guide publishes as an example is refused by us only if HL7's validator refuses it too.
    assert not [one.sample.name for one in examples if one.theirs.ok and not one.ours]
    # The snapshots that we make decide as those that HL7's publisher made.
    assert not [(one.sample.name, one.sample.kind) for one in found if bool(one.ours) != bool(one.own)]
