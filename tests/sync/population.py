"""People as registers have them, drawn from a seed: twins, newborns, fathers and sons, married names, other
spellings, 30 % born on 1 January, reserve numbers and typing errors. Each person has a record at two or
three EHRs.

How often a register is wrong differs between countries and is seldom published. docs/identity.md puts the
rates beside what is; `ERRORS` is the place to make them worse.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_coprod.sync.staging.identity import Candidate, keys
from fhir_coprod.sync.staging.references import Record

Json = dict[str, Any]

PERSONNUMMER = "urn:oid:1.2.752.129.2.1.3.1"
INSURANCE = "https://insurance.example/policy"
"""One number for a whole family, and nothing in the record says so."""
EHRS = ("care", "ortho", "neuro")

GIVEN = {
    "female": [
        "Eva",
        "Anna",
        "Maria",
        "Linnéa",
        "Åsa",
        "Zoë",
        "Fatima",
        "Amina",
        "Yulia",
        "Søra",
        "Chloé",
        "Märta",
        "Ingrid",
        "Karin",
        "Sara",
        "Noor",
        "Maja",
    ],
    "male": [
        "Erik",
        "Jörgen",
        "Björn",
        "Lars",
        "Søren",
        "Mohammed",
        "Ali",
        "Yusuf",
        "Jean-Luc",
        "José",
        "Piotr",
        "Håkan",
        "Jan",
        "Karl",
        "Omar",
        "Ivan",
        "Axel",
    ],
}
FAMILY = [
    "Jönsson",
    "Öst",
    "Åkesson",
    "Müller",
    "Søndergaard",
    "O'Neill",
    "García-López",
    "Nowak",
    "Al-Khalil",
    "Hassan",
    "Nguyen",
    "Ek",
    "Strand",
    "Lindström",
    "Bergström",
    "Sjöberg",
    "Yilmaz",
    "Ivanov",
    "Haddad",
    "Schröder",
    "Berg",
    "Dahl",
    "Lund",
    "Holm",
    "Nyman",
    "Wikström",
]

ERRORS = {
    "no number": 0.004,
    "reserve number": 0.003,
    "number mistyped": 0.0015,
    "number of somebody else": 0.0005,
    "birth date mistyped": 0.0025,
    "only the year of birth": 0.0005,
    "given name mistyped": 0.003,
    "only an initial": 0.001,
    "family name mistyped": 0.0025,
    "married, and nobody was told": 0.004,
}
"""The share of records in which each happens."""
HARMLESS = {
    "spelled otherwise": 0.10,
    "number written otherwise": 0.30,
    "fewer given names": 0.10,
    "former name told": 0.03,
}
UNNAMED = "a newborn without a name yet"
"""Happens in three of four records of newborns beyond the first EHR."""
IN_CARE = 0.08
"""The share of people with an open referral or a plan."""


@dataclass(frozen=True)
class Person:
    name: int
    sex: str
    given: tuple[str, ...]
    family: str
    maiden: str
    born: str
    number: str
    policy: str
    is_baby: bool = False
    is_twin: bool = False
    is_multiple: bool = False
    """A twin whose records say so."""
    is_namesake: bool = False
    """Has the whole name of a parent."""
    in_care: bool = False


@dataclass
class Population:
    people: list[Person] = field(default_factory=list)
    records: list[Candidate] = field(default_factory=list)
    raw: dict[Record, Json] = field(default_factory=dict)
    whose: dict[Record, Person] = field(default_factory=dict)
    wrong: dict[Record, frozenset[str]] = field(default_factory=dict)
    """Which of ERRORS happened in a record, or UNNAMED."""


def population(seed: int, size: int = 30, errors: float = 1.0) -> Population:
    """About `size` people with their records; the same seed gives the same.

    errors: how many times as often as in ERRORS something is wrong
    """
    dice = random.Random(seed)
    made = Population()
    while len(made.people) < size:
        made.people += _household(dice, len(made.people))
    for person in made.people:
        for ehr in EHRS[: 3 if dice.random() < 0.2 else 2]:
            record = Record(ehr, "Patient", f"{ehr[0]}{person.name}")
            data, made.wrong[record] = _record(dice, person, ehr, made.people, errors)
            made.raw[record] = data
            made.whose[record] = person
            made.records.append(Candidate(record, keys(data, ehr)))
    dice.shuffle(made.records)
    return made


def _household(dice: random.Random, first: int) -> list[Person]:
    family, policy = dice.choice(FAMILY), f"{dice.randrange(10**8):08}"
    adults = [
        _person(dice, first + n, family, policy, dice.randrange(1930, 2000))
        for n in range(dice.choice((1, 1, 2)))
    ]
    children: list[Person] = []
    for _ in range(dice.choice((0, 0, 1, 2))):
        number = first + len(adults) + len(children)
        kind = dice.random()
        if kind < 0.08:  # twins
            born = _day(dice, dice.randrange(1990, 2026))
            children += [
                replace(
                    _person(dice, number + n, family, policy, 0, born=born), is_twin=True, is_multiple=told
                )
                for n, told in enumerate((dice.random() < 0.5, dice.random() < 0.5))
            ]
        elif kind < 0.12:  # newborn
            born = f"2026-{dice.randrange(1, 11):02}-{dice.randrange(2, 28):02}"
            children.append(_person(dice, number, family, policy, 0, born=born, is_baby=True))
        elif kind < 0.20:  # a son with his father's whole name
            like = adults[0]
            year = int(like.born[:4]) + 30
            children.append(_person(dice, number, family, policy, year, sex=like.sex, given=like.given))
        else:
            children.append(_person(dice, number, family, policy, dice.randrange(1975, 2024)))
    made = [*adults, *children]
    siblings: set[str] = set()
    for n, person in enumerate(made):  # no two siblings of one day have one first name
        while f"{person.born}{person.given[0]}" in siblings:
            again = _person(dice, person.name, family, policy, 0, born=person.born)
            person = replace(
                again, is_baby=person.is_baby, is_twin=person.is_twin, is_multiple=person.is_multiple
            )
        siblings.add(f"{person.born}{person.given[0]}")
        made[n] = person
    return made


def _day(dice: random.Random, year: int) -> str:
    if dice.random() < 0.3:
        return f"{year}-01-01"
    return f"{year}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}"


def _person(
    dice: random.Random,
    name: int,
    family: str,
    policy: str,
    year: int,
    *,
    born: str = "",
    sex: str = "",
    given: tuple[str, ...] = (),
    is_baby: bool = False,
) -> Person:
    sex = sex or dice.choice(("female", "male"))
    born = born or _day(dice, year)
    own = given or tuple(dice.sample(GIVEN[sex], dice.choice((1, 2, 2, 3))))
    number = f"{born.replace('-', '')}{dice.randrange(10**4):04}"
    maiden = (
        dice.choice([f for f in FAMILY if f != family]) if sex == "female" and year and year < 2000 else ""
    )
    return Person(
        name, sex, own, family, maiden, born, number, policy,
        is_baby, is_namesake=bool(given), in_care=dice.random() < IN_CARE,
    )  # fmt: skip


def _record(
    dice: random.Random, person: Person, ehr: str, people: list[Person], errors: float
) -> tuple[Json, frozenset[str]]:
    """A record of a person at an EHR, and what is wrong in it."""
    wrong: set[str] = set()

    def goes_wrong(what: str) -> bool:
        if dice.random() >= ERRORS[what] * errors:
            return False
        wrong.add(what)
        return True

    given, family, born, number = list(person.given), person.family, person.born, person.number
    names: list[Json] = []
    if dice.random() < HARMLESS["fewer given names"]:
        given = given[:1]
    if goes_wrong("given name mistyped"):
        given[0] = _mistyped(dice, given[0])
    if goes_wrong("only an initial"):
        given = [given[0][0]]
    if goes_wrong("family name mistyped"):
        family = _mistyped(dice, family)
    if person.maiden and goes_wrong("married, and nobody was told"):
        family = person.maiden
    elif person.maiden and dice.random() < HARMLESS["former name told"]:
        names.append({"use": "maiden", "family": person.maiden, "given": given})
    if goes_wrong("birth date mistyped"):
        born = _mistyped_day(dice, born)
    if goes_wrong("only the year of birth"):
        born = born[:4]
    if person.is_baby and ehr != "care":
        given = [dice.choice(("Baby", "Flicka", "Baby Boy", person.given[0]))]
        wrong |= {UNNAMED} if given[0] != person.given[0] else set()
    if dice.random() < HARMLESS["spelled otherwise"]:
        family, given = _spelled(dice, family), [_spelled(dice, name) for name in given]
    if goes_wrong("number mistyped"):
        place = dice.randrange(8, 12)
        number = f"{number[:place]}{dice.randrange(10)}{number[place + 1 :]}"
    if goes_wrong("number of somebody else"):
        number = dice.choice(people).number
    identifier = [
        {"system": INSURANCE, "value": person.policy},
        {"system": f"https://{ehr}.example/mrn", "value": str(dice.randrange(10**7)), "type": _kind("MR")},
    ]
    if goes_wrong("reserve number"):
        identifier.append({"system": f"https://{ehr}.example/reserve", "value": str(dice.randrange(10**9))})
    elif not goes_wrong("no number"):
        identifier.append({"system": PERSONNUMMER, "value": _written(dice, number)})
    data: Json = {
        "resourceType": "Patient",
        "identifier": identifier,
        "name": [{"use": "official", "family": family, "given": given}, *names],
        "birthDate": born,
    }
    if person.is_multiple:
        data["multipleBirthBoolean"] = True
    return data, frozenset(wrong)


def _kind(code: str) -> Json:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code}]}


def _written(dice: random.Random, number: str) -> str:
    if dice.random() >= HARMLESS["number written otherwise"]:
        return number
    return dice.choice(
        (
            f"{number[:8]}-{number[8:]}",
            f"{number[2:8]}-{number[8:]}",
            f"{number[:8]} {number[8:]}",
            number[2:],
        )
    )


def _spelled(dice: random.Random, name: str) -> str:
    other = name.translate(
        str.maketrans({"ö": "oe", "ä": "ae", "å": "aa", "ü": "ue", "ø": "oe", "é": "e", "ë": "e"})
    )
    plain = name.translate(str.maketrans("öäåüøéëÖÅÄíçó", "oaauoeeOAAico"))
    return dice.choice(
        (other, plain, plain.upper(), name.replace("-", " "), name.replace("Y", "J").replace("'", "’"))
    )


def _mistyped(dice: random.Random, name: str) -> str:
    place = dice.randrange(1, len(name))
    return name[:place] + dice.choice("bdfgkmpqrtvxz") + name[place + dice.randrange(2) :]


def _mistyped_day(dice: random.Random, born: str) -> str:
    other = born
    while other == born:
        month, day = dice.randrange(1, 13), dice.randrange(1, 29)
        other = dice.choice(
            (
                f"{born[:3]}{dice.randrange(10)}{born[4:]}",
                f"{born[:5]}{month:02}{born[7:]}",
                f"{born[:8]}{day:02}",
            )
        )
    return other
