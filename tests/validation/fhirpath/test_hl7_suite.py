"""HL7's FHIRPath tests for R4, where they stand beside the repository."""

from __future__ import annotations

import pytest

from tests.validation.fhirpath.hl7_suite import PLACE, REASONS, differences

pytestmark = pytest.mark.proof


def test_our_engine_answers_hl7s_suite_but_for_differences_with_a_reason() -> None:
    if not (PLACE / "fhirpath.xml").exists():
        pytest.skip(
            "HL7's FHIRPath suite does not stand beside the repository, in shared/data/hl7-test-cases"
        )
    total, differ = differences(PLACE)
    assert total > 900
    assert {difference.case.name for difference in differ} == set(REASONS), "\n".join(map(str, differ))
