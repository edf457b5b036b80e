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
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from rapidfuzz.distance import OSA

from fhir_coprod.sync.staging import names
from fhir_coprod.sync.staging.identity import Candidate, Decisions, Groups, Keys, Pair, pair_of
from fhir_coprod.sync.staging.names import PersonName
from fhir_coprod.sync.staging.numbers import system_of
from fhir_coprod.sync.staging.references import Record

STRANGERS = 3
"""A number that this many different people carry names nobody."""
_SHORT = 6
"""Characters; in a shorter number another sign is another number."""
FINDING = ("number", "loose", "person")
"""The kinds of keys that find records to compare."""

Verdict = Literal["one", "ask", "two"]
Agreement = Literal["same", "near", "swapped", "missing", "other"]
"""How two records agree in a name or a date. `near` is one slip of the finger away; `swapped`: one record has
as given name what the other record has as family name; only `other` is clearly another."""
_NUMBER_SAYS = {
    "same": "the same number",
    "perhaps": "perhaps the same number",
    "distrusted": "a number in common that other people have, too",
    "none": "no number in common",
}
_SAYS = {"near": "is almost the same", "missing": "is missing", "other": "differs"}


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
    is_day_unknown: bool
    names: tuple[PersonName, ...]
    is_careful: bool

    @property
    def is_whole_date(self) -> bool:
        return len(self.birth) == 10


class _Comparison(NamedTuple):
    """What two records have in common, and the systems in which their numbers differ."""

    number: Literal["same", "perhaps", "distrusted", "none"]
    dates: Agreement
    given: Agreement
    family: Agreement
    against: tuple[str, ...]


def _is_one(found: _Comparison, a: _Face, b: _Face) -> bool:
    """Whether they are the same person without asking anybody.

    A day of birth that may stand for an unknown one, or a family name with one slip of the finger in it,
    needs a number that a country gave to one person, and all names.
    """
    if not (found.number == found.dates == found.given == "same") or found.against:
        return False
    if a.is_day_unknown:
        return _is_national(a, b) and names.fully_agree(a.names, b.names)
    if found.family == "near":
        return _is_national(a, b) and names.given_agree(a.names, b.names, strictly=True)
    return found.family == "same"


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
        number = _number(a, b)
        dates, given = _dates(a, b), _given(a, b)
        if number in ("distrusted", "none") and (dates, given) != ("same", "same"):
            return _TWO
        found = _Comparison(number, dates, given, _family(a, b), tuple(_against(a, b)))
        if _is_one(found, a, b):
            return _ONE
        return Likeness("ask", _in_words(found, a)) if _asks(found, a, b) else _TWO

    def are_different(self, a: Record, b: Record) -> bool:
        """Whether they are clearly two people: the birth date is another, and the given name is another and
        not just mistyped."""
        mine, theirs = self._face(a), self._face(b)
        return _dates(mine, theirs) in ("near", "other") and _given(mine, theirs) == "other"

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
        birth[5:] in trust.days,
        tuple(PersonName.of_key(key) for key in sorted(keys.get("name", ()))),
        "multiple" in keys or _is_baby(birth, trust.today),
    )


def _is_baby(birth: str, today: str) -> bool:
    """Whether somebody is under one year old."""
    if len(birth) != 10 or not today:
        return False
    return f"{int(birth[:4]) + 1:04}{birth[4:]}" > today


def _asks(found: _Comparison, a: _Face, b: _Face) -> bool:
    """Whether a person should look at two who are not surely one."""
    if found.number == "same":
        if found.dates == "other":
            return _is_national(a, b) and found.given == found.family == "same"
        if found.dates == "near":
            return found.given != "other"
        return (found.given, found.family) != ("other", "other")
    if found.number == "perhaps":
        is_same_day = found.dates in ("same", "missing") or (found.dates == "near" and found.family == "same")
        return is_same_day and found.given == "same" and not found.against
    if a.is_day_unknown:
        return False
    alike = found.dates == found.given == "same" and (found.number == "distrusted" or found.family == "same")
    return alike and (not found.against or _slip(a, b, found.against))


def _in_words(found: _Comparison, a: _Face) -> str:
    """What a person should know who looks at the two."""
    why = [_NUMBER_SAYS[found.number]]
    for what, how in (
        ("birth date", found.dates),
        ("given name", found.given),
        ("family name", found.family),
    ):
        if how in _SAYS:
            why.append(f"{what} {_SAYS[how]}")
    if "swapped" in (found.given, found.family):
        why.append("given and family name have changed places")
    if found.dates == "same" and a.is_day_unknown:
        why.append("a day of birth that often stands for an unknown one")
    if found.against:
        why.append("another number differs")
    return ", ".join(why)


def _number(a: _Face, b: _Face) -> Literal["same", "perhaps", "distrusted", "none"]:
    """Whether they have a number in common."""
    shared = _shared(a, b)
    if any(_sure_assigner(number, a, b) for number in shared):
        return "same"
    if shared or _perhaps(a, b):
        return "perhaps"
    return "distrusted" if a.distrusted & b.distrusted else "none"


def _shared(a: _Face, b: _Face) -> list[str]:
    return [number for number in a.numbers & b.numbers if _same_assigner(number, a, b)]


def _is_national(a: _Face, b: _Face) -> bool:
    """Whether a country gave them a number that they have in common."""
    sure = [number for number in _shared(a, b) if _sure_assigner(number, a, b)]
    return any(system_of(number) in a.national | b.national for number in sure)


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


def _dates(a: _Face, b: _Face) -> Agreement:
    if a.is_whole_date and a.birth == b.birth:
        return "same"
    length = min(len(a.birth), len(b.birth))
    if a.birth[:length] == b.birth[:length]:
        return "missing"
    return "near" if _is_near_day(a, b) else "other"


def _is_near_day(a: _Face, b: _Face) -> bool:
    """Whether two whole dates differ by one slip of the finger, or by day and month in each other's place.

    The years of two people whose day is not known often differ in one digit.
    """
    if not (a.is_whole_date and b.is_whole_date) or (a.is_day_unknown and b.is_day_unknown):
        return False
    year, month, day = a.birth.split("-")
    return b.birth == f"{year}-{day}-{month}" or OSA.distance(a.birth, b.birth, score_cutoff=1) <= 1


def _given(a: _Face, b: _Face) -> Agreement:
    if names.given_agree(a.names, b.names, strictly=a.is_careful or b.is_careful):
        return "same"
    if not (any(name.given for name in a.names) and any(name.given for name in b.names)):
        return "missing"
    return _not_same(a, b, names.given_near(a.names, b.names))


def _family(a: _Face, b: _Face) -> Agreement:
    if names.family_agree(a.names, b.names):
        return "same"
    if not (any(name.family for name in a.names) and any(name.family for name in b.names)):
        return "missing"
    return _not_same(a, b, names.family_near(a.names, b.names))


def _not_same(a: _Face, b: _Face, is_near: bool) -> Agreement:
    return "near" if is_near else "swapped" if names.swapped(a.names, b.names) else "other"


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


def replaced_by(keys: Keys) -> Iterator[Record]:
    """The records that took the place of the one with these keys."""
    for text in keys.get("replaced-by", ()):
        yield Record(*text.split("/", 2))
