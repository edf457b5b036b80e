"""The same records and the same searches here and on HAPI: every difference has a reason with a name."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import total_ordering
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.store.values import FIRST, fold, time_meant
from tests.api.server import serving
from tests.api.twin import Found, Twin
from tests.api.twin_queries import TwinQuery, queries
from tests.api.twin_reasons import PUNCTUATION, Atom, Records, why, why_refused
from tests.api.twin_records import records

RECORDS, QUERIES = (500, 150) if os.environ.get("PROOF_SIZE") == "ci" else (10_000, 2_000)

INCLUDED_ON = "_include goes on from what came along, without :iterate"
INCLUDED_MATCH = "a match comes again as included"
INCLUDED_MOST = "HAPI includes no more than a thousand on a page"
INCLUDED_LESS = "_revinclude:iterate does not look at what _include:iterate brought"
INCLUDED_ANY = "_revinclude of * does not look at canonicals"
INCLUDED_VERSION = "the version of a canonical does not count for _include"
NULLS = "where resources without the sort value stand"
TIES = "the order among equal sort values"
ENDS_EARLY = "HAPI's pages end before all has come"


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_every_difference_to_hapi_has_a_reason(searching_hapi_url: str, tmp_path: Path) -> None:
    made = records(RECORDS)
    known = Records(made)
    with (
        Twin(searching_hapi_url) as theirs,
        serving(f"sqlite:///{tmp_path / 'store.db'}") as served,
        Twin(served.url) as ours,
    ):
        theirs.load(made)
        ours.load(made)
        told: Counter[str] = Counter()
        unexplained: list[str] = []  # of each search the first few
        for query in queries(QUERIES):
            names = set(compared(query, ours, theirs, known))
            told.update(name for name in names if not name.startswith("?"))
            told["the same" if not names else "different"] += 1
            strange = [f"{query.url} ({query.family}): {name}" for name in names if name.startswith("?")]
            unexplained += strange[:3]
    for name, number in told.most_common():
        print(f"{number:6} {name}")
    assert not unexplained, "\n".join(
        [f"{len(unexplained)} differences without a reason:", *unexplained[:40]]
    )
    assert told["the same"] > QUERIES * 0.6


def compared(query: TwinQuery, ours: Twin, theirs: Twin, known: Records) -> Iterator[str]:
    """The reason of each difference; one that begins with "?" is none."""
    mine, his = ours.search(query), theirs.search(query)
    if query.counts_only and his.status == 200:
        # What is behind a number is found by asking for it; then the two numbers must be those of the finds.
        asked = query.in_full()
        totals = mine.total, his.total
        mine, his = ours.search(asked), theirs.search(asked)
        mine.total, his.total = totals
    if set(his.matches) < set(mine.matches) and query.on_large_pages() != query:
        # Now and then, so no rule tells which: what it leaves out must then come on larger pages.
        whole = theirs.search(query.on_large_pages())
        if set(whole.matches) == set(mine.matches):
            yield ENDS_EARLY
            his = whole
    yield from differences(query, mine, his, known)


def differences(query: TwinQuery, ours: Found, theirs: Found, known: Records) -> Iterator[str]:
    if ours.status != 200:
        yield f"? we answer {ours.status}: {ours.said}"
        return
    if theirs.status != 200:
        yield why_refused(theirs.said) or f"? HAPI answers {theirs.status}: {theirs.said[:200]}"
        return
    for found, whose in ((ours, "we"), (theirs, "HAPI")):
        if len(set(found.matches)) != len(found.matches):
            yield f"? {whose} found something twice"
        if query.wants_total and found.total != len(found.matches):
            yield f"? {whose} say {found.total} and find {len(found.matches)}"
    # Our own definitions are in our store, too.
    mine, his = ([key for key in each.matches if key in known] for each in (ours, theirs))
    for key in sorted(set(mine) ^ set(his)):
        if key in theirs.included:
            yield INCLUDED_MATCH
            continue
        whose = "only we" if key in set(mine) else "only HAPI"
        yield why(query, known[key], known) or f"? {whose} found {key}"
    if set(mine) == set(his):
        yield from _included(query, ours, theirs, known)
        yield from _order(query, mine, his, known)


def _included(query: TwinQuery, ours: Found, theirs: Found, known: Records) -> Iterator[str]:
    mine, his = set(ours.included), set(theirs.included)
    names = [name for name, _ in query.pairs]
    # What is a match on one page may be included on another.
    for key in (mine - his) - set(ours.matches):
        if len(ours.matches) + len(mine) > 1000:
            yield INCLUDED_MOST
        elif {"_include:iterate", "_revinclude:iterate"} <= set(names):
            yield INCLUDED_LESS
        elif "questionnaire" in known[key] and ("_revinclude", "QuestionnaireResponse:*") in query.pairs:
            yield INCLUDED_ANY
        else:
            yield f"? only we included {key}"
    for key in his - mine:
        if key in ours.matches:
            yield INCLUDED_MATCH
        elif "_include" in names and any(
            name.startswith("_revinclude") or name.endswith(":iterate") for name in names
        ):
            yield INCLUDED_ON
        elif _names_a_version(known[key], known):
            yield INCLUDED_VERSION
        else:
            yield f"? only HAPI included {key}"


def _names_a_version(record: dict[str, Any], known: Records) -> bool:
    """Whether a response names its questionnaire with a version, or a questionnaire is so named by any."""
    if "questionnaire" in record:
        return "|" in record["questionnaire"]
    named = f"{record.get('url', '')}|"
    return any(each.get("questionnaire", "").startswith(named) for each in known.values())


def _order(query: TwinQuery, mine: list[str], his: list[str], known: Records) -> Iterator[str]:
    sort = next((value for name, value in query.pairs if name == "_sort"), "")
    if not sort:
        return
    keys = {key: _sort_keys(sort, known[key]) for key in mine}
    if any(keys[one] > keys[other] for one, other in pairwise(mine)):
        yield "? we do not sort as asked"
    if mine == his:
        return
    if [keys[key] for key in mine] == [keys[key] for key in his]:
        yield TIES
        return
    held, theirs = (
        [key for key in found if not any(empty for empty, _ in keys[key])] for found in (mine, his)
    )
    if [keys[key] for key in held] == [keys[key] for key in theirs]:
        yield NULLS
        return
    lettered = [_sort_keys(sort, known[key], form=_with_punctuation) for key in theirs]
    if any(one > other for one, other in pairwise(lettered)):
        yield f"? HAPI sorts by something else: {sort}"
    else:
        yield PUNCTUATION


def _with_punctuation(text: str) -> str:
    """As `fold`, but punctuation counts."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if unicodedata.category(c)[0] != "M")


def _sort_keys(
    sort: str, record: dict[str, Any], form: Callable[[str], str] = fold
) -> tuple[tuple[bool, Any], ...]:
    """For each key of _sort: whether there is no value, and the value so that less comes first."""
    return tuple(_sort_key(part, record, form) for part in sort.split(","))


def _sort_key(part: str, record: dict[str, Any], form: Callable[[str], str]) -> tuple[bool, Any]:
    code, descending = part.removeprefix("-"), part.startswith("-")
    if code == "_id":
        values: list[Any] = [record["id"]]
    else:
        found = Atom(record["resourceType"], code, "", "")
        values = [
            each for name, value in found.values(record) for each in _sortable(found.kind, name, value, form)
        ]
    if not values:
        return True, Descending("") if descending else ""
    return False, Descending(max(values)) if descending else min(values)


def _sortable(kind: str, name: str, value: Any, form: Callable[[str], str]) -> list[Any]:
    if kind == "date" and isinstance(value, dict):
        start = time_meant(value.get("start", ""))
        return [start.low if start else FIRST]
    if kind == "date":
        return [when.low for when in (time_meant(value),) if when]
    if kind == "string":
        return [form(value)]
    return [value["value"] if isinstance(value, dict) else value]


@dataclass(frozen=True)
@total_ordering
class Descending:
    """A value that comes before smaller ones."""

    value: Any

    def __lt__(self, other: Descending) -> bool:
        return bool(self.value > other.value)
