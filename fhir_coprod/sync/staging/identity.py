"""Reads from a record the keys by which it is found and compared with those of other EHRs. Pure.

The keys of a Patient:

    identifier   `system|value` of every identifier that is not old or temporary: finds who is named by it
    number       the identifiers that name a person, each in one form (see numbers.py)
    loose        the same without what is often written in several ways
    national     systems of those that a country gives to a person once
    assigner     `number|who gave it`, where a number only counts there
    ends         `YYYY-MM-DD|number` of a number that stops counting
    birth        the birth date, whole or not
    name         `family|given names`, each in one form (see names.py)
    person       day of birth and name together: finds people who look alike
    multiple     a twin or the like
    replaced-by  `EHR/Patient/id` of the record that its EHR put in its place

Orders have the patient they are for, their requisition with the code, and what tells apart several orders of
one requisition.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from fhir_coprod.jsontext import Json
from fhir_coprod.sync.staging import numbers
from fhir_coprod.sync.staging.names import names_of
from fhir_coprod.sync.staging.references import Bases, Record, fitted, identifier_key

PEOPLE = frozenset(("Patient",))
THINGS = frozenset(("Organization", "Location", "HealthcareService", "Practitioner", "PractitionerRole"))
ORDERS = frozenset(("ServiceRequest", "Task"))
MATCHED = PEOPLE | THINGS | ORDERS
"""Types whose records in several EHRs can be one resource here."""

CROWD = 50
"""A key that is shared by more records than this identifies nobody (a placeholder such as 'unknown')."""

RULES = "rules"
"""A kind whose key says by which rules the others were made: where it is not today's, they are made again."""

Keys = Mapping[str, frozenset[str]]
"""Kind → the keys of one record."""

_NOT_IDENTIFYING = frozenset(("old", "temp"))
_SUBJECTS = {"ServiceRequest": "subject", "Task": "for"}
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?")


def keys(data: Json, ehr: str = "", bases: Bases | None = None) -> dict[str, frozenset[str]]:
    """The keys of a resource as it came from `ehr`.

    Every type has `identifier`; only the types that are matched have the other kinds.
    """
    bases = bases or Bases({})
    found: dict[str, set[str]] = defaultdict(set)
    type = str(data.get("resourceType", ""))
    for identifier in _dicts(data.get("identifier")):
        key = identifier_key(identifier)
        if key and identifier.get("use") not in _NOT_IDENTIFYING:
            found["identifier"].add(key)
    if type in PEOPLE:
        _person_keys(data, ehr, bases, found)
    if type in ORDERS:
        _order_keys(data, type, found)
    if type in PEOPLE | ORDERS:
        found[RULES].add(mark(bases))
    return {kind: frozenset(map(fitted, values)) for kind, values in found.items() if values}


def mark(bases: Bases) -> str:
    """Changes whenever the rules do by which keys are made."""
    return bases.numbering.mark


def _person_keys(data: Json, ehr: str, bases: Bases, found: dict[str, set[str]]) -> None:
    numbering = bases.numbering
    birth = data.get("birthDate")
    birth = birth if isinstance(birth, str) and _DATE.fullmatch(birth) else ""
    found["birth"] |= {birth} - {""}
    for identifier in _dicts(data.get("identifier")):
        number = numbering.of(identifier, birth)
        if number is not None:
            _number_keys(number, found)
    for name in names_of(data, numbering.given_placeholders):
        found["name"].add(name.key)
        if len(birth) == 10 and name.family and name.given:
            found["person"].add(f"{birth}|{name.family.replace(' ', '')}|{name.given[0]}")
    multiple = data.get("multipleBirthBoolean"), data.get("multipleBirthInteger")
    if multiple[0] is True or isinstance(multiple[1], int):
        found["multiple"].add("true")
    for link in _dicts(data.get("link")):
        other = link.get("other")
        reference = other.get("reference") if isinstance(other, dict) else None
        if link.get("type") == "replaced-by" and isinstance(reference, str):
            target = bases.target(reference, ehr)
            if target is not None and target.type in PEOPLE:
                found["replaced-by"].add("/".join(target))


def _number_keys(number: numbers.Number, found: dict[str, set[str]]) -> None:
    found["loose"].add(number.loose)
    if not number.key:
        return
    found["number"].add(number.key)
    if number.is_national:
        found["national"].add(number.system)
    if number.assigner:
        found["assigner"].add(f"{number.key}|{number.assigner}")
    if number.ends:
        found["ends"].add(f"{number.ends}|{number.key}")


def _order_keys(data: Json, type: str, found: dict[str, set[str]]) -> None:
    subject = data.get(_SUBJECTS[type])
    if isinstance(subject, dict) and isinstance(subject.get("reference"), str):
        found["subject"].add(subject["reference"])
    elif isinstance(subject, dict) and (key := identifier_key(subject.get("identifier"))):
        found["subject-number"].add(key)
    requisition = identifier_key(data.get("requisition"))
    if requisition:
        found["order"].add(f"{requisition}|{_concept(data.get('code'))}")
        for element in ("bodySite", "orderDetail"):
            found["where"] |= {f"{element}|{text}" for text in _said(data.get(element))}
        found["where"] |= {f"laterality|{text}" for text in _lateralities(data)}
        for performer in _dicts(data.get("performer")):
            if isinstance(performer.get("reference"), str):
                found["performer"].add(performer["reference"])


def _said(value: object) -> Iterator[str]:
    """Each concept in a list, as its first coding or its text, with the extensions that qualify it."""
    for concept in _dicts(value):
        more = concept.get("extension")
        qualified = msgspec.json.encode(more, order="deterministic").decode() if more else ""
        if text := _concept(concept) + qualified:
            yield text


def _lateralities(data: Json) -> Iterator[str]:
    """What an extension of the order itself says about the side of the body."""
    for extension in _dicts(data.get("extension")):
        if "laterality" in str(extension.get("url", "")).casefold():
            yield msgspec.json.encode(extension, order="deterministic").decode()


def plain(text: str) -> str:
    """Without case, marks and punctuation."""
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
    return plain(str(value.get("text", "")))


def _dicts(value: object) -> Iterator[Json]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One record with the keys by which it is compared.

    subject:    for orders, our id of the patient they concern; "" if it is not known yet
    performers: for orders, our ids of who shall carry them out; None if one of them is not known yet
    """

    record: Record
    keys: Keys
    subject: str = ""
    performers: frozenset[str] | None = frozenset()

    def of(self, kind: str) -> frozenset[str]:
        return self.keys.get(kind, frozenset())


Pair = tuple[Record, Record]
"""Two records, the smaller one first."""


def pair_of(a: Record, b: Record) -> Pair:
    return (a, b) if a < b else (b, a)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What people decided about pairs of records."""

    same: frozenset[Pair] = frozenset()
    different: frozenset[Pair] = frozenset()


class Groups:
    """Union-find over records; the same order of joins gives the same groups."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._members: dict[Record, set[Record]] = {record: {record} for record in records}

    def __contains__(self, record: object) -> bool:
        return record in self._members

    def of(self, record: Record) -> set[Record]:
        """All records in the group of this one."""
        return self._members[record]

    def are_one(self, a: Record, b: Record) -> bool:
        return a in self._members and b in self._members and self._members[a] is self._members[b]

    def join(self, a: Record, b: Record) -> None:
        mine, theirs = self._members[a], self._members[b]
        if mine is not theirs:
            mine |= theirs
            for record in theirs:
                self._members[record] = mine

    def all(self) -> tuple[tuple[Record, ...], ...]:
        """The groups and the records in each, sorted."""
        distinct = {id(members): members for members in self._members.values()}
        return tuple(sorted(tuple(sorted(members)) for members in distinct.values()))
