"""Decides which records of several EHRs are the same organisation, practitioner, place, service or order.
Pure.

Organisations, practitioners, places and services are the same if they share a business identifier and none of
another system speaks against it: departments often carry the number of the company that they belong to.
Orders
and Tasks are the same if they share an identifier, or requisition and code without a difference in body site,
side or performer, and concern the same patient. Two such things of one EHR are never one, and neither are two
departments that the settings name; an identifier that one EHR gives to several identifies none.

The result depends only on the records, not on the order in which they came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations

from fhir_coprod.sync.staging.identity import CROWD, ORDERS, Candidate, Groups
from fhir_coprod.sync.staging.numbers import system_of
from fhir_coprod.sync.staging.references import Record


def resolve(
    candidates: Iterable[Candidate], crowded: Collection[str] = (), departments: Collection[Record] = ()
) -> tuple[tuple[Record, ...], ...]:
    """Group the candidates, which are all of one type, into those that are the same.

    crowded:     keys that too many records share, more than are given here; they identify nobody
    departments: the records that the settings name as departments, each of which is one of its own
    """
    known = {c.record: c for c in sorted(candidates, key=lambda c: c.record)}
    groups = Groups(known)
    apart = frozenset(departments)
    for (kind, _), records in sorted(_carriers(known.values(), ("identifier", "order"), crowded).items()):
        if len({record.ehr for record in records}) < len(records):
            continue  # one EHR gives it to several
        for a, b in combinations(records, 2):
            if not groups.are_one(a, b) and all(
                _may_be_one(known[x], known[y], kind, apart) for x in groups.of(a) for y in groups.of(b)
            ):
                groups.join(a, b)
    return groups.all()


def _carriers(
    candidates: Iterable[Candidate], kinds: tuple[str, ...], crowded: Collection[str] = ()
) -> dict[tuple[str, str], list[Record]]:
    """(kind, key) → the records that have it, where several do but not a crowd."""
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for candidate in candidates:
        for kind in kinds:
            for key in candidate.of(kind):
                found[kind, key].append(candidate.record)
    return {
        key: sorted(records)
        for key, records in found.items()
        if 1 < len(records) <= CROWD and key[1] not in crowded
    }


def _may_be_one(a: Candidate, b: Candidate, kind: str, apart: Collection[Record]) -> bool:
    if a.record.ehr == b.record.ehr or (a.record in apart and b.record in apart):
        return False
    if a.record.type in ORDERS:
        same_patient = bool(a.subject) and a.subject == b.subject
        return same_patient and not (kind == "order" and _differ(a, b))
    mine, theirs = _by_system(a), _by_system(b)
    return all(mine[system] & theirs[system] for system in mine.keys() & theirs.keys())


def _differ(a: Candidate, b: Candidate) -> bool:
    """Whether two orders of one requisition are for different places on the body, or different performers."""
    mine, theirs = _by_system(a, "where"), _by_system(b, "where")
    if any(mine[element] != theirs[element] for element in mine.keys() & theirs.keys()):
        return True
    return bool(a.performers and b.performers and not a.performers & b.performers)


def _by_system(candidate: Candidate, kind: str = "identifier") -> Mapping[str, set[str]]:
    """The part of each key before its last bar → the whole keys; for `where`, by element."""
    found: dict[str, set[str]] = defaultdict(set)
    for key in candidate.of(kind):
        found[key.partition("|")[0] if kind == "where" else system_of(key)].add(key)
    return found
