"""Conditions on ranges [low, high) of dates, numbers and quantities, by R4's prefixes.

`low` leads an index; `high` does not, since ranges are rarely long: most dates are a day or a second, most
numbers a point. A row that is not wide and ends after x begins shortly before x at the earliest. So we look
`high > x` up as "begins shortly before x or later", and also among the few wide rows, which have an index of
their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import inf, nextafter
from typing import NamedTuple

from fhir_coprod.store.search.conditions import Indexed, Sql, all_together

DAY = 86_400_000_000
WIDTH = {"date": DAY, "number": 0, "quantity": 0}
"""By table, the length above which a row is wide; the partial indexes in schema/core.py use the same."""


class Test(NamedTuple):
    """A condition on a row, and the same condition as alternatives that an index can look up."""

    said: Sql
    scans: tuple[Sql, ...]


def plain(text: str, *values: float) -> Test:
    """A condition that the index on `low` can look up directly, or that no index helps with."""
    said = Sql(text, values)
    return Test(said, (said,))


def ends_behind(table: str, bound: float, *, at: bool = False) -> Test:
    """`high > bound`, or with `at` also `high = bound`."""
    width = WIDTH[table]
    operator, opposite = (">=", "<") if at else (">", "<=")
    said = Sql(f"high {operator} ?", (bound,))
    near = Sql(f"low {operator} ? AND high {operator} ?", (bound - width, bound))
    wide = Sql(
        f"high - low > {width} AND high {operator} ? AND low {opposite} ?",
        (bound, bound - width),
    )
    return Test(said, (near, wide))


def both(one: Test, other: Test) -> Test:
    """Both conditions on the same row."""
    scans = tuple(all_together(a, b) for a in one.scans for b in other.scans)
    return Test(all_together(one.said, other.said), scans)


def either(case: str, one: Test, other: Test) -> Test:
    """The one condition on rows of this case, the other one on all others; both are alike but for the values.

    The rows are looked up once, by what both have in common, and not once for each.
    """
    said = Sql(
        f"CASE WHEN {case} THEN {one.said.text} ELSE {other.said.text} END",
        (*one.said.values, *other.said.values),
    )
    scans = (all_together(_loosest(a, b), said) for a, b in zip(one.scans, other.scans, strict=True))
    return Test(said, tuple(scans))


_COMPARED = re.compile(r"([<>])=? \?")


def _loosest(one: Sql, other: Sql) -> Sql:
    """What holds wherever one of two conditions holds that compare columns with different values.

    A negated comparison looks nothing up, so what it has to do with the other does not matter.
    """
    if one.text.startswith("NOT "):
        return Sql("1 = 1")
    signs = _COMPARED.findall(one.text)
    values = zip(signs, one.values, other.values, strict=True)
    return Sql(one.text, tuple(max(a, b) if sign == "<" else min(a, b) for sign, a, b in values))


def of_dates(prefix: str, low: int, high: int) -> list[Test]:
    """Alternatives for a prefix and a searched range (https://hl7.org/fhir/R4/search.html#prefix)."""
    within = plain("low >= ? AND low < ? AND high <= ?", low, high, high)
    above = ends_behind("date", high)
    below = plain("low < ?", low)
    alternatives: dict[str, Callable[[], list[Test]]] = {
        "eq": lambda: [within],
        "ne": lambda: [plain("NOT (low >= ? AND high <= ?)", low, high)],
        "gt": lambda: [above],
        "lt": lambda: [below],
        "ge": lambda: [above, within],
        "le": lambda: [below, within],
        "sa": lambda: [plain("low >= ?", high)],
        "eb": lambda: [plain("low < ? AND high <= ?", low, low)],
        "ap": lambda: [both(plain("low < ?", high), ends_behind("date", low))],
    }
    return alternatives[prefix]()


def of_numbers(table: str, prefix: str, exact: float, low: float, high: float) -> Test:
    """A prefix and a searched number: the number itself, and the range that its digits stand for.

    A column holds 15 to 17 digits. A number that is longer stands for the nearest one with so many.
    """
    low, last = min(low, exact), max(nextafter(high, -inf), exact)
    alternatives: dict[str, Callable[[], Test]] = {
        "eq": lambda: plain("low >= ? AND low <= ? AND high <= ?", low, last, last),
        "ne": lambda: plain("NOT (low >= ? AND high <= ?)", low, last),
        "gt": lambda: ends_behind(table, exact),
        "lt": lambda: plain("low < ?", exact),
        "ge": lambda: ends_behind(table, exact, at=True),
        "le": lambda: plain("low <= ?", exact),
        "sa": lambda: plain("low > ?", exact),
        "eb": lambda: plain("low < ? AND high < ?", exact, exact),
        "ap": lambda: both(plain("low <= ?", high), ends_behind(table, low, at=True)),
    }
    return alternatives[prefix]()


def indexed(table: str, param: int, tests: Sequence[Test]) -> Indexed:
    """Any of the tests, on the rows of one parameter."""
    scans = tuple(scan for test in tests for scan in test.scans)
    return Indexed(table, param, tuple(test.said for test in tests), scans=scans)


MAX_SCANS = 24


def on_one_row(one: Indexed, other: Indexed) -> Indexed | None:
    """Both conditions as one, if a resource has only one row; None when that gives too many alternatives."""
    if len(one.scans) * len(other.scans) > MAX_SCANS:
        return None
    tests = tuple(all_together(a, b) for a in one.tests for b in other.tests)
    scans = tuple(all_together(a, b) for a in one.scans for b in other.scans)
    return Indexed(one.table, one.param, tests, scans=scans)
