"""What the rules make of drawn people: which pairs are joined, listed or missed, by what is wrong in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from fhir_coprod.sync.merging.people import Trust
from fhir_coprod.sync.staging import names
from fhir_coprod.sync.staging.identity import pair_of
from fhir_coprod.sync.staging.references import Record
from tests.sync.merging.at_once import resolve, survey
from tests.sync.population import Json, Person, Population, population

TRUST = Trust(days=frozenset(("01-01", "07-01")), today="2026-11-30")
NOTHING = "nothing"
SEVERAL = "several of these"


@dataclass
class Outcome:
    """What became of the pairs of records that are one person.

    pairs:     (what is wrong in one of the two, whether the day of birth may stand for an unknown one,
               joined, listed or missed) → how many
    drawn:     how many people are babies, twins …
    questions: pairs of patients that a person would be asked about
    strangers: pairs of two people on the list
    """

    people: int = 0
    pairs: Counter[tuple[str, bool, str]] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    questions: int = 0
    strangers: int = 0

    def count(self, result: str = "", wrong: str = "", unknown_day: bool | None = None) -> int:
        """How many pairs; "" and None mean all."""
        return sum(
            number
            for (kind, day, became), number in self.pairs.items()
            if result in ("", became) and wrong in ("", kind) and unknown_day in (None, day)
        )

    def share(self, result: str, wrong: str = "", unknown_day: bool | None = None) -> float:
        pairs = self.count("", wrong, unknown_day)
        return self.count(result, wrong, unknown_day) / pairs if pairs else 0

    def add(self, people: Population) -> None:
        """What the rules make of these. Raises AssertionError if two people are one, or two records that
        differ in birth date, given name or number."""
        resolution = resolve(people.records, survey(people.records, TRUST).trust(TRUST))
        group_of = {record: group for group in resolution.groups for record in group}
        for group in resolution.groups:
            for a, b in combinations(group, 2):
                assert people.whose[a] is people.whose[b], "two people are one"
                assert _agree(people.raw[a], people.raw[b]), "records that differ are one"
        self.people += len(people.people)
        self.drawn.update(what for person in people.people for what in _what(person))
        own: dict[int, list[Record]] = defaultdict(list)
        for record, person in people.whose.items():
            own[person.name].append(record)
        for records in own.values():
            for a, b in combinations(records, 2):
                is_listed = pair_of(a, b) in resolution.doubts
                became = "joined" if group_of[a] is group_of[b] else "listed" if is_listed else "missed"
                wrong = sorted(people.wrong[a] | people.wrong[b])
                kind = wrong[0] if len(wrong) == 1 else SEVERAL if wrong else NOTHING
                self.pairs[kind, people.whose[a].born[5:] in TRUST.days, became] += 1
        asked = {
            frozenset((group_of[a], group_of[b]))
            for a, b in resolution.doubts
            if people.whose[a].in_care or people.whose[b].in_care
        }
        self.questions += len(asked)
        self.strangers += sum(people.whose[a] is not people.whose[b] for a, b in resolution.doubts)


def _what(person: Person) -> Iterable[str]:
    if person.born.endswith("-01-01"):
        yield "born on 1 January"
    if person.is_twin:
        yield "twins"
    if person.is_baby:
        yield "under one year old"
    if person.is_namesake:
        yield "children with the whole name of a parent"


def _agree(mine: Json, theirs: Json) -> bool:
    """Whether two records have the same whole birth date, a given name and a number in common: asked of
    the raw records, and not in the way in which the rules ask."""
    born = mine["birthDate"] == theirs["birthDate"] and len(mine["birthDate"]) == 10
    given = [{_first(name) for name in data["name"]} | _all(data) for data in (mine, theirs)]
    numbers = [
        {(i["system"], "".join(c for c in i["value"] if c.isdigit())[-10:]) for i in data["identifier"]}
        for data in (mine, theirs)
    ]
    return born and bool(given[0] & given[1]) and bool(numbers[0] & numbers[1])


def _first(name: Json) -> str:
    return names.folded(" ".join(name["given"])).split()[0]


def _all(data: Json) -> set[str]:
    return {word for name in data["name"] for word in names.folded(" ".join(name["given"])).split()}


def outcome(seeds: range, size: int = 30, errors: float = 1.0) -> Outcome:
    """Of so many populations of about `size` people each."""
    found = Outcome()
    for seed in seeds:
        found.add(population(seed, size, errors))
    return found
