"""Matches records of several EHRs that are the same person, organisation, or order. Pure.

Two people records are the same person if they share a business identifier *and* agree in birth date or name.
If they share an identifier without agreeing, or agree in both without sharing one, they are possibly the
same, and a person decides. Organisations, practitioners, places and services are the same if they share a
business identifier; orders and Tasks if they share an identifier (or requisition and code) and concern the
same patient. Two such things of one EHR are never merged, and an identifier that one EHR gives to several of
them identifies none.

The result depends only on the records, not on the order in which they came.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from fhir_coprod.jsontext import Json
from fhir_coprod.sync.staging.references import Record, fitted, identifier_key

PEOPLE = frozenset(("Patient",))
THINGS = frozenset(("Organization", "Location", "HealthcareService", "Practitioner", "PractitionerRole"))
ORDERS = frozenset(("ServiceRequest", "Task"))
MATCHED = PEOPLE | THINGS | ORDERS
"""Types whose records in several EHRs can be one resource here."""

CROWD = 50
"""A key that is shared by more records than this identifies nobody (a placeholder such as 'unknown')."""

STRANGERS = 3
"""A business identifier that one EHR gives to this many different people identifies nobody."""

Keys = Mapping[str, frozenset[str]]
"""Kind → the keys of one record; kinds are identifier, birth, name, person, subject, order, replaced-by."""

_NOT_IDENTIFYING = frozenset(("old", "temp"))
_SUBJECTS = {"ServiceRequest": "subject", "Task": "for"}


def keys(data: Json) -> dict[str, frozenset[str]]:
    """The keys by which a resource is found and compared.

    Every type has `identifier`; only the types that are matched have the other kinds.
    """
    found: dict[str, set[str]] = defaultdict(set)
    type = str(data.get("resourceType", ""))
    for identifier in _dicts(data.get("identifier")):
        key = identifier_key(identifier)
        if key and identifier.get("use") not in _NOT_IDENTIFYING:
            found["identifier"].add(key)
    if type in PEOPLE:
        _person_keys(data, found)
    if type in ORDERS:
        subject = data.get(_SUBJECTS[type])
        if isinstance(subject, dict) and isinstance(subject.get("reference"), str):
            found["subject"].add(subject["reference"])
        requisition = identifier_key(data.get("requisition"))
        if requisition:
            found["order"].add(f"{requisition}|{_concept(data.get('code'))}")
    return {kind: frozenset(map(fitted, values)) for kind, values in found.items() if values}


def _person_keys(data: Json, found: dict[str, set[str]]) -> None:
    birth = data.get("birthDate")
    if isinstance(birth, str) and len(birth) >= 7:  # a year alone says too little
        found["birth"].add(birth)
    for name in _dicts(data.get("name")):
        key = _name_key(name)
        if key:
            found["name"].add(key)
    for day in found["birth"]:
        if len(day) == 10:
            found["person"].update(f"{day}|{name}" for name in found["name"])
    for link in _dicts(data.get("link")):
        other = link.get("other")
        if (
            link.get("type") == "replaced-by"
            and isinstance(other, dict)
            and isinstance(other.get("reference"), str)
        ):
            found["replaced-by"].add(other["reference"])


def _name_key(name: Json) -> str:
    """`family|first given name`, without case, accents and punctuation; "" if either is missing."""
    family, given = name.get("family"), name.get("given")
    if not isinstance(family, str) and isinstance(name.get("text"), str):
        parts = name["text"].split()
        family, given = (parts[-1], parts[:1]) if len(parts) > 1 else (None, None)
    if (
        not isinstance(family, str)
        or not isinstance(given, list)
        or not given
        or not isinstance(given[0], str)
    ):
        return ""
    first = _plain(given[0]).split(" ")[0]
    return f"{_plain(family)}|{first}" if first and _plain(family) else ""


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    letters = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
    return re.sub(r"[^\w]+", " ", letters).strip()


def _concept(value: object) -> str:
    """The first coding of a CodeableConcept, or else its text."""
    if not isinstance(value, dict):
        return ""
    for coding in _dicts(value.get("coding")):
        if coding.get("code"):
            return f"{coding.get('system', '')}|{coding['code']}"
    return _plain(str(value.get("text", "")))


def _dicts(value: object) -> Iterator[Json]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One record with the keys by which it is compared.

    subject: for orders, our id of the patient they concern; "" if it is not known yet.
    """

    record: Record
    keys: Keys
    subject: str = ""

    def of(self, kind: str) -> frozenset[str]:
        return self.keys.get(kind, frozenset())


Pair = tuple[Record, Record]


@dataclass(frozen=True, slots=True)
class Decisions:
    """What people decided about pairs of records."""

    same: frozenset[Pair] = frozenset()
    different: frozenset[Pair] = frozenset()


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which records are the same, and which may be."""

    groups: tuple[tuple[Record, ...], ...]
    """Every candidate is in exactly one group; groups and their members are sorted."""
    possible: frozenset[Pair]
    """Pairs of records in different groups that a person should look at; each pair is sorted."""


def resolve(
    candidates: Iterable[Candidate], crowded: Collection[str] = (), decisions: Decisions = Decisions()
) -> Resolution:
    """Group the candidates, which are all of one type, into those that are the same.

    crowded: keys that too many records share, more than are given here; they identify nobody.
    """
    known = {c.record: c for c in sorted(candidates, key=lambda c: c.record)}
    if not known:
        return Resolution((), frozenset())
    type = next(iter(known)).type
    if type in PEOPLE:
        return _resolve_people(known, crowded, decisions)
    return _resolve_things(known, crowded)


def _resolve_people(
    known: dict[Record, Candidate], crowded: Collection[str], decisions: Decisions
) -> Resolution:
    carriers = _carriers(known, ("identifier",), crowded)
    nobody = {key for key, records in carriers.items() if _strangers(known, records)}
    groups = _Groups(known, decisions.different)
    shared: set[Pair] = set()
    for key in sorted(carriers):
        for pair in combinations(carriers[key], 2):
            if key not in nobody:
                shared.add(pair)
    for a, b in sorted(shared):
        if _agree(known[a], known[b]):
            groups.join(a, b)
    for record, candidate in known.items():
        for reference in sorted(candidate.of("replaced-by")):
            other = Record(record.ehr, "Patient", reference.rsplit("/", 1)[-1])
            if other in known:
                groups.join(record, other)
    for a, b in sorted(decisions.same):
        if a in known and b in known:
            groups.join(a, b)
    alike = {
        pair
        for records in _carriers(known, ("person",), crowded).values()
        for pair in combinations(records, 2)
        if not _contradict(known[pair[0]], known[pair[1]])
    }
    possible = {
        (a, b)
        for a, b in shared | alike
        if groups.of(a) != groups.of(b) and (a, b) not in decisions.different
    }
    return Resolution(groups.all(), frozenset(possible))


def _resolve_things(known: dict[Record, Candidate], crowded: Collection[str]) -> Resolution:
    groups = _Groups(known, frozenset(), one_per_ehr=True)
    carriers = _carriers(known, ("identifier", "order"), crowded)
    for key in sorted(carriers):
        records = carriers[key]
        if len({record.ehr for record in records}) < len(records):
            continue  # one EHR gives it to several
        for a, b in combinations(records, 2):
            if a.type not in ORDERS or (known[a].subject and known[a].subject == known[b].subject):
                groups.join(a, b)
    return Resolution(groups.all(), frozenset())


def _carriers(
    known: dict[Record, Candidate], kinds: tuple[str, ...], crowded: Collection[str]
) -> dict[str, list[Record]]:
    """Key → the records that have it, for keys that several records have and that can identify somebody."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record, candidate in known.items():
        for kind in kinds:
            for key in candidate.of(kind):
                found[f"{kind}:{key}"].append(record)
    return {
        key: records
        for key, records in found.items()
        if 1 < len(records) <= CROWD and key.split(":", 1)[1] not in crowded
    }


def _agree(a: Candidate, b: Candidate) -> bool:
    """Whether they have the same birth date (a month agrees with a day in it), or a name in common."""
    births = any(x.startswith(y) or y.startswith(x) for x in a.of("birth") for y in b.of("birth"))
    return births or bool(a.of("name") & b.of("name"))


def _contradict(a: Candidate, b: Candidate) -> bool:
    """Whether they have different identifiers in the same system, and so are two people."""
    mine, theirs = _by_system(a), _by_system(b)
    return any(not mine[system] & theirs[system] for system in mine.keys() & theirs.keys())


def _by_system(candidate: Candidate) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for key in candidate.of("identifier"):
        system, _, value = key.rpartition("|")
        found[system].add(value)
    return found


def _strangers(known: dict[Record, Candidate], records: list[Record]) -> bool:
    """Whether one EHR gives this identifier to several people who have nothing else in common."""
    by_ehr: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_ehr[record.ehr].append(record)
    for own in by_ehr.values():
        different: list[Record] = []
        for record in own:
            if not any(_agree(known[record], known[other]) for other in different):
                different.append(record)
        if len(different) >= STRANGERS:
            return True
    return False


class _Groups:
    """Union-find that keeps apart what must stay apart; the same order of joins gives the same groups."""

    def __init__(
        self, records: Iterable[Record], apart: Collection[Pair], *, one_per_ehr: bool = False
    ) -> None:
        self._members: dict[Record, set[Record]] = {record: {record} for record in records}
        self._apart = apart
        self._one_per_ehr = one_per_ehr

    def of(self, record: Record) -> Record:
        """The smallest record of the group: its name."""
        return min(self._members[record])

    def join(self, a: Record, b: Record) -> None:
        mine, theirs = self._members[a], self._members[b]
        if mine is theirs or self._must_stay_apart(mine, theirs):
            return
        mine |= theirs
        for record in theirs:
            self._members[record] = mine

    def _must_stay_apart(self, mine: set[Record], theirs: set[Record]) -> bool:
        if self._one_per_ehr and {r.ehr for r in mine} & {r.ehr for r in theirs}:
            return True
        return (
            any((min(a, b), max(a, b)) in self._apart for a in mine for b in theirs) if self._apart else False
        )

    def all(self) -> tuple[tuple[Record, ...], ...]:
        distinct = {id(members): members for members in self._members.values()}
        return tuple(sorted(tuple(sorted(members)) for members in distinct.values()))
