"""Tells which of some records are the same person without a store: all are looked at together.

It is what the sync does step by step in `link_people` and `trusted`; `test_one_or_two` holds the two against
each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations

from fhir_coprod.sync.merging.people import FINDING, STRANGERS, People, Resolution, Trust, resolved
from fhir_coprod.sync.merging.trusted import is_trusted
from fhir_coprod.sync.staging.identity import CROWD, Candidate, Decisions, Pair, pair_of
from fhir_coprod.sync.staging.numbers import system_of
from fhir_coprod.sync.staging.references import Record

_FRESH = Trust()
NOTHING_SAID = Decisions()


def resolve(
    candidates: Iterable[Candidate],
    trust: Trust,
    decisions: Decisions = NOTHING_SAID,
    around: Iterable[Candidate] = (),
) -> Resolution:
    """Group the candidates into those that are the same person.

    around: records that no candidate is surely the same as, but perhaps; they are in no group
    """
    core = sorted(candidates, key=lambda candidate: candidate.record)
    people = People(core, trust)
    people.learn(around)
    found: set[Pair] = set()
    for kind in FINDING:
        for records in _by_key(people.known.values(), kind).values():
            if len(records) <= CROWD:
                found |= {pair_of(a, b) for a, b in combinations(records, 2)}
    return resolved(people, {c.record for c in core}, found, decisions)


def _by_key(candidates: Iterable[Candidate], kind: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for candidate in candidates:
        for key in candidate.of(kind):
            found[key].append(candidate.record)
    return found


@dataclass
class Survey:
    """What the numbers of some records are worth.

    nobody: numbers of three or more clearly different people
    shared: by system, how many of its numbers several records carry
    odd:    by system, how many of these different people carry
    """

    nobody: set[str] = field(default_factory=set)
    shared: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    odd: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def trust(self, trust: Trust) -> Trust:
        bad = frozenset(s for s, shared in self.shared.items() if not is_trusted(shared, self.odd[s]))
        return replace(trust, nobody=frozenset(self.nobody), systems=bad)


def survey(candidates: Iterable[Candidate], trust: Trust = _FRESH) -> Survey:
    """Look at every number that these records carry."""
    people = People(candidates, trust)
    found = Survey()
    for number, records in _by_key(people.known.values(), "number").items():
        if len(records) > 1:
            system = system_of(number)
            found.shared[system] += 1
            many = STRANGERS if len(records) > CROWD else people.how_many(records)
            found.odd[system] += many > 1
            if many >= STRANGERS:
                found.nobody.add(number)
    return found
