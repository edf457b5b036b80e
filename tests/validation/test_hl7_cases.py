"""HL7's own validator cases, where a copy of them stands beside the repository."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.validation import hl7_cases


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_hl7s_cases_get_hl7s_verdicts(record_property: Callable[[str, object], None]) -> None:
    if not (hl7_cases.BESIDE / hl7_cases.FILE).exists():
        pytest.skip(f"HL7's validator cases ({hl7_cases.FILE}) do not stand beside the repository")
    known, found = hl7_cases.table(), hl7_cases.judged(hl7_cases.BESIDE)
    record_property("told", hl7_cases.report(found, known))
    assert {one.case.name for one in found if not one.agrees} == known.differing.keys()
    for name, (agreeing, number) in hl7_cases.shares(found).items():
        assert agreeing >= hl7_cases.WANTED[name] * number, name


def test_no_reason_is_written_down_twice() -> None:
    known = hl7_cases.table()
    assert not known.left_out.keys() & known.differing.keys()
