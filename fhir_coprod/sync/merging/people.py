"""Decides which records of several EHRs are the same person, and which may be. Pure.

To join two people is the worst that this program can do. So two records are one without asking only if they
share a number that names a person, *and* agree in the whole birth date, a given name and a family name, *and*
no other such number speaks against it; and in a group of several records each two must be like that. What is
nearly so is a doubt, for a person to decide. A person's word counts more than any record, and so does an EHR
that says itself that one of its records was replaced by another.

The data show which numbers deserve trust. If several different people share one number, that number names
nobody; if that happens in a system again and again, the system names nobody.

The result depends only on the records, not on the order in which they came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal, NamedTuple

from rapidfuzz.distance import OSA

from fhir_coprod.sync.staging import names
from fhir_coprod.sync.staging.identity import (
    CROWD,
    NOTHING_SAID,
    Candidate,
    Decisions,
    Groups,
    Keys,
    Pair,
    pair_of,
)
from fhir_coprod.sync.staging.names import PersonName
from fhir_coprod.sync.staging.numbers import system_of
from fhir_coprod.sync.staging.references import Record

STRANGERS = 3
"""A number that this many different people carry names nobody."""
ODD_VALUES, ODD_SHARE = 3, 0.01
"""A system names nobody if at least so many of its values, and this share of those that several records
carry, are carried by different people."""
_SHORT = 6
"""Characters; in a shorter number another sign is another number."""
FINDING = ("number", "loose", "person")
"""The kinds of keys that find records to compare."""

Verdict = Literal["one", "ask", "two"]


@dataclass(frozen=True, slots=True)
class Trust:
    """What the data have shown about numbers, and what depends on the site and the day.

    nobody:  numbers that different people carry
    systems: systems that name nobody
    days:    month and day of birth that stand for "unknown"
    today:   YYYY-MM-DD; "" if numbers never end and nobody is a baby
    """

    nobody: frozenset[str] = frozenset()
    systems: frozenset[str] = frozenset()
    days: frozenset[str] = frozenset(("01-01",))
    today: str = ""


class Likeness(NamedTuple):
    """What comparing two records came to, and why they are in doubt: short words, joined by commas."""

    verdict: Verdict
    why: str = ""


_TWO = Likeness("two")
_ONE = Likeness("one")


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which records are the same, and which may be."""

    groups: tuple[tuple[Record, ...], ...]
    """Every candidate is in exactly one group; groups and their members are sorted."""
    doubts: Mapping[Pair, str]
    """Pairs of records in different groups that a person should look at, and why."""


@dataclass(frozen=True, slots=True)
class _Face:
    """What one record shows of a person, ready to be compared."""

    numbers: frozenset[str]
    distrusted: frozenset[str]
    by_system: Mapping[str, frozenset[str]]
    loose: frozenset[str]
    national: frozenset[str]
    assigners: Mapping[str, frozenset[str]]
    birth: str
    names: tuple[PersonName, ...]
    is_careful: bool

    @property
    def is_whole_date(self) -> bool:
        return len(self.birth) == 10


class People:
    """The records to compare. Every comparison is made once."""

    def __init__(self, candidates: Iterable[Candidate], trust: Trust) -> None:
        self.known = {candidate.record: candidate for candidate in candidates}
        self._trust = trust
        self._faces: dict[Record, _Face] = {}
        self._likeness: dict[Pair, Likeness] = {}

    def learn(self, candidates: Iterable[Candidate], nobody: Collection[str] = ()) -> None:
        """Add records, and numbers of theirs that name nobody."""
        for candidate in candidates:
            self.known.setdefault(candidate.record, candidate)
        self._trust = replace(self._trust, nobody=self._trust.nobody | {*nobody})

    def compare(self, a: Record, b: Record) -> Likeness:
        pair = pair_of(a, b)
        found = self._likeness.get(pair)
        if found is None:
            found = self._likeness[pair] = self._compare(self._face(pair[0]), self._face(pair[1]))
        return found

    def _face(self, record: Record) -> _Face:
        face = self._faces.get(record)
        if face is None:
            face = self._faces[record] = _face(self.known[record].keys, self._trust)
        return face

    def _compare(self, a: _Face, b: _Face) -> Likeness:
        shared = {n for n in a.numbers & b.numbers if _same_assigner(n, a, b)}
        sure = {n for n in shared if _sure_assigner(n, a, b)}
        loose = bool(_perhaps(a, b)) or shared != sure
        national = any(system_of(number) in a.national | b.national for number in sure)
        dates, given, family = _dates(a, b), _given(a, b), _family(a, b)
        if not sure and not loose and (dates, given, family) != ("same", "same", "same"):
            return _TWO
        against = _against(a, b)
        unknown_day = dates == "same" and (a.birth[5:] in self._trust.days)
        full = names.fully_agree(a.names, b.names)
        agree = dates == "same" and given == "same" and family == "same"
        if sure and agree and not against and (not unknown_day or (national and full)):
            return _ONE
        return self._doubt(
            a, b, sure=bool(sure), loose=loose, national=national, dates=dates, given=given, family=family,
            against=against, unknown_day=unknown_day,
        )  # fmt: skip

    def _doubt(
        self,
        a: _Face,
        b: _Face,
        *,
        sure: bool,
        loose: bool,
        national: bool,
        dates: str,
        given: str,
        family: str,
        against: Collection[str],
        unknown_day: bool,
    ) -> Likeness:
        """Whether a person should look at two who are not surely one, and what that person should know."""
        why = ["the same number" if sure else "perhaps the same number" if loose else "no number in common"]
        for what, found in (("birth date", dates), ("given name", given), ("family name", family)):
            if found != "same":
                why.append(f"{what} {'differs' if found == 'other' else 'is missing'}")
        if unknown_day and dates == "same":
            why.append("a day of birth that often stands for an unknown one")
        if against:
            why.append("another number differs")
        alike = dates == "same" and given == "same" and family == "same"
        if sure and dates == "other":
            asks = national and given == family == "same"
        elif sure:
            asks = not (given == "other" and family == "other")
        elif loose:
            asks = dates != "other" and given == "same" and not against
        else:
            asks = alike and not unknown_day and (not against or _slip(a, b, against))
        return Likeness("ask", ", ".join(why)) if asks else _TWO

    def are_different(self, a: Record, b: Record) -> bool:
        """Whether they are clearly two people: neither birth date nor given name is the same."""
        mine, theirs = self._face(a), self._face(b)
        return _dates(mine, theirs) == "other" and _given(mine, theirs) == "other"

    def how_many(self, records: Collection[Record]) -> int:
        """How many clearly different people these records are of, counted up to STRANGERS."""
        distinct: list[Record] = []
        for record in sorted(records):
            if all(self.are_different(record, other) for other in distinct):
                distinct.append(record)
                if len(distinct) >= STRANGERS:
                    break
        return len(distinct)


def _face(keys: Keys, trust: Trust) -> _Face:
    ended = {
        key
        for day, _, key in (end.partition("|") for end in keys.get("ends", ()))
        if trust.today and day < trust.today
    }
    own = frozenset(
        number
        for number in keys.get("number", ())
        if number not in ended and number not in trust.nobody and system_of(number) not in trust.systems
    )
    by_system: dict[str, set[str]] = defaultdict(set)
    for number in own:
        by_system[system_of(number)].add(number)
    assigners: dict[str, set[str]] = defaultdict(set)
    for text in keys.get("assigner", ()):
        for number in own:
            if text.startswith(f"{number}|"):
                assigners[number].add(text[len(number) + 1 :])
    birth = max(keys.get("birth", ()), key=len, default="")
    return _Face(
        own,
        keys.get("number", frozenset()) - own - ended,
        {system: frozenset(held) for system, held in by_system.items()},
        frozenset(key for key in keys.get("loose", ()) if system_of(key) not in trust.systems),
        keys.get("national", frozenset()),
        {number: frozenset(who) for number, who in assigners.items()},
        birth,
        tuple(PersonName.of_key(key) for key in sorted(keys.get("name", ()))),
        "multiple" in keys or _is_baby(birth, trust.today),
    )


def _is_baby(birth: str, today: str) -> bool:
    """Whether somebody is under one year old."""
    if len(birth) != 10 or not today:
        return False
    return f"{int(birth[:4]) + 1:04}{birth[4:]}" > today


def _perhaps(a: _Face, b: _Face) -> frozenset[str]:
    """What may be the same number, written in two ways; not what is known to name nobody."""
    nobody = {system_of(number) for number in a.distrusted & b.distrusted}
    return frozenset(key for key in a.loose & b.loose if system_of(key) not in nobody)


def _same_assigner(number: str, a: _Face, b: _Face) -> bool:
    """Whether a number may have been given by the same organisation to both."""
    mine, theirs = a.assigners.get(number), b.assigners.get(number)
    return mine is None or theirs is None or bool(mine & theirs)


def _sure_assigner(number: str, a: _Face, b: _Face) -> bool:
    return (number in a.assigners) == (number in b.assigners)


def _dates(a: _Face, b: _Face) -> Literal["same", "other", "missing"]:
    if a.is_whole_date and a.birth == b.birth:
        return "same"
    length = min(len(a.birth), len(b.birth))
    return "missing" if a.birth[:length] == b.birth[:length] else "other"


def _given(a: _Face, b: _Face) -> Literal["same", "other", "missing"]:
    if names.given_agree(a.names, b.names, strictly=a.is_careful or b.is_careful):
        return "same"
    both = any(name.given for name in a.names) and any(name.given for name in b.names)
    return "other" if both else "missing"


def _family(a: _Face, b: _Face) -> Literal["same", "other", "missing"]:
    if names.family_agree(a.names, b.names):
        return "same"
    both = any(name.family for name in a.names) and any(name.family for name in b.names)
    return "other" if both else "missing"


def _against(a: _Face, b: _Face) -> list[str]:
    """Systems in which both have a number, and not the same one."""
    return [
        system
        for system in sorted(a.by_system.keys() & b.by_system.keys())
        if not a.by_system[system] & b.by_system[system] and not _may_differ(system, a, b)
    ]


def _may_differ(system: str, a: _Face, b: _Face) -> bool:
    """Whether their numbers of a system were given by different organisations, or are perhaps the same."""
    mine = {who for number in a.by_system[system] for who in a.assigners.get(number, ())}
    theirs = {who for number in b.by_system[system] for who in b.assigners.get(number, ())}
    apart = bool(mine) and bool(theirs) and not mine & theirs
    return apart or any(system_of(key) == system for key in a.loose & b.loose)


def _slip(a: _Face, b: _Face, against: Collection[str]) -> bool:
    """Whether in each of these systems two of their numbers differ by one slip of the finger."""
    return all(any(_is_slip(x, y, len(s)) for x in a.by_system[s] for y in b.by_system[s]) for s in against)


def _is_slip(mine: str, theirs: str, system: int) -> bool:
    """Whether two numbers, whose systems are so long, differ by one sign or two that changed places."""
    return len(mine) - system > _SHORT and OSA.distance(mine, theirs, score_cutoff=1) <= 1


# --- groups ---------------------------------------------------------------------------------------


def resolve(
    candidates: Iterable[Candidate],
    trust: Trust,
    decisions: Decisions = NOTHING_SAID,
    around: Iterable[Candidate] = (),
    crowded: Collection[str] = (),
) -> Resolution:
    """Group the candidates into those that are the same person.

    around:  records that no candidate is surely the same as, but perhaps; they are in no group
    crowded: keys that too many records share, more than are given here; they find nobody
    """
    core = sorted(candidates, key=lambda candidate: candidate.record)
    people = People(core, trust)
    people.learn(around)
    return resolved(people, {c.record for c in core}, pairs(people.known, crowded), decisions)


def pairs(known: Mapping[Record, Candidate], crowded: Collection[str] = ()) -> set[Pair]:
    """Pairs of records that share a key by which people are found."""
    found: set[Pair] = set()
    for records in carriers(known.values(), FINDING, crowded).values():
        found |= {pair_of(a, b) for a, b in combinations(records, 2)}
    return found


def carriers(
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


def resolved(
    people: People, core: Collection[Record], found: Collection[Pair], decisions: Decisions
) -> Resolution:
    """Group the records of `core`, of which `found` are the pairs to compare; the others are only around."""
    groups = Groups(sorted(core))
    different = decisions.different
    successors = _successors(people, core)
    given_up = frozenset(successors)
    likeness = {pair: people.compare(*pair) for pair in sorted(found)}
    one = [pair for pair, like in likeness.items() if like.verdict == "one" and {*pair} <= {*core}]
    unsettled = _either(one, different)

    def may_join(a: Record, b: Record, is_one: Callable[[Record, Record], bool]) -> bool:
        mine, theirs = groups.of(a), groups.of(b)
        return mine is not theirs and all(
            pair_of(x, y) not in different and is_one(x, y) for x in mine for y in theirs
        )

    for a, b in one:
        is_free = not {a, b} & given_up and (a, b) not in unsettled
        if is_free and may_join(a, b, lambda x, y: people.compare(x, y).verdict == "one"):
            groups.join(a, b)
    said = sorted((pair_of(old, new) for old, news in successors.items() for new in news))
    for a, b in [*said, *sorted(decisions.same)]:
        if a in groups and b in groups and may_join(a, b, lambda x, y: True):
            groups.join(a, b)
    doubts = {
        pair: like.why or "sure of itself, but not of the others in the group"
        for pair, like in likeness.items()
        if like.verdict != "two" and pair not in different and not groups.are_one(*pair) and {*pair} & {*core}
    }
    for pair in decisions.same:
        if {*pair} <= {*core} and not groups.are_one(*pair) and pair not in different:
            doubts[pair] = "said to be the same, but one of them is said to be different from another"
    return Resolution(groups.all(), dict(sorted(doubts.items())))


def _successors(people: People, core: Collection[Record]) -> dict[Record, list[Record]]:
    """Record that its EHR gave up → the records among these that took its place."""
    found: dict[Record, list[Record]] = {}
    for record in core:
        texts = people.known[record].of("replaced-by")
        new = sorted(r for r in (Record(*text.split("/", 2)) for text in texts) if r in core and r != record)
        if new:
            found[record] = new
    return found


def _either(one: Collection[Pair], different: Collection[Pair]) -> set[Pair]:
    """Pairs of a record that is the same as either of two whom a person told apart: it may belong to each."""
    if not different:
        return set()
    mates: dict[Record, set[Record]] = defaultdict(set)
    for a, b in one:
        mates[a].add(b)
        mates[b].add(a)
    return {
        pair_of(third, own)
        for a, b in different
        for third in mates.get(a, set()) & mates.get(b, set())
        for own in (a, b)
    }


# --- what the data show ---------------------------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """What the data show of one system."""

    values: int = 0
    """Different values."""
    shared: int = 0
    """Of these, carried by several records."""
    odd: int = 0
    """Of these, carried by different people."""

    @property
    def is_trusted(self) -> bool:
        return self.odd < ODD_VALUES or self.odd < ODD_SHARE * self.shared


@dataclass(slots=True)
class Survey:
    """What the data show of all numbers."""

    systems: dict[str, Seen] = field(default_factory=dict)
    nobody: set[str] = field(default_factory=set)

    def trust(self, trust: Trust) -> Trust:
        distrusted = frozenset(system for system, seen in self.systems.items() if not seen.is_trusted)
        return Trust(frozenset(self.nobody), distrusted, trust.days, trust.today)


def survey(candidates: Iterable[Candidate], trust: Trust = Trust()) -> Survey:
    """Look at every number that these records carry."""
    people = People(candidates, trust)
    by_number: dict[str, list[Record]] = defaultdict(list)
    for candidate in people.known.values():
        for number in candidate.of("number"):
            by_number[number].append(candidate.record)
    found = Survey()
    for number, records in by_number.items():
        seen = found.systems.setdefault(system_of(number), Seen())
        seen.values += 1
        if len(records) > 1:
            seen.shared += 1
            many = STRANGERS if len(records) > CROWD else people.how_many(records)
            seen.odd += many > 1
            if many >= STRANGERS:
                found.nobody.add(number)
    return found


def replaced_by(keys: Keys) -> Iterator[Record]:
    """The records that took the place of the one with these keys."""
    for text in keys.get("replaced-by", ()):
        yield Record(*text.split("/", 2))
