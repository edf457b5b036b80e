"""The page about differences in search names each reason that the comparison knows, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.api import test_twin, twin_reasons

PAGE = (Path(__file__).parents[2] / "docs" / "search-differences.md").read_text()


def test_every_reason_is_documented_and_no_other() -> None:
    rows = [row.split("|")[1].strip() for row in PAGE.splitlines() if re.match(r"\| (?!reason|---)", row)]
    known = {reason.name for reason in twin_reasons.REASONS} | {name for _, name in twin_reasons.REFUSALS}
    names = (
        "INCLUDED_ON",
        "INCLUDED_MATCH",
        "INCLUDED_MOST",
        "INCLUDED_LESS",
        "INCLUDED_ANY",
        "INCLUDED_VERSION",
        "NULLS",
        "TIES",
        "ENDS_EARLY",
    )
    known |= {twin_reasons.CANONICAL, twin_reasons.CONTAINED}
    known |= {getattr(test_twin, name) for name in names}
    assert sorted(rows) == sorted(known)
