"""Brings people's names into one form, so that the ways to write one name compare as equal.

Case, marks, hyphens and apostrophes are dropped, other scripts become Latin letters, and what is usually
transliterated in several ways becomes one: Jönsson, Joensson, JONSSON and Jonson are `ionson`; Юрий, Yuriy
and Jurij are `iuri`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple

from anyascii import anyascii
from rapidfuzz.distance import OSA

from fhir_coprod.jsontext import Json

_SPELLINGS = (
    ("ae", "a"),
    ("oe", "o"),
    ("ue", "u"),
    ("aa", "a"),
    ("kh", "h"),
    ("ks", "x"),
    ("ph", "f"),
    ("th", "t"),
    ("ts", "c"),
    ("tz", "c"),
    ("cz", "c"),
    ("sch", "s"),
    ("sh", "s"),
    ("zh", "z"),
    ("w", "v"),
    ("j", "i"),
    ("y", "i"),
)
_LETTERS = {
    ord("ä"): "a",
    ord("ö"): "o",
    ord("ü"): "u",
    ord("å"): "a",
    ord("ø"): "o",
    ord("æ"): "a",
    ord("œ"): "o",
}
_PARTICLES = frozenset(
    (
        "van",
        "von",
        "der",
        "den",
        "de",
        "del",
        "della",
        "la",
        "le",
        "di",
        "da",
        "dos",
        "el",
        "al",
        "bin",
        "ibn",
        "ben",
    )
)
_FEWEST = 2
"""Letters; fewer are an initial, which says too little."""
_SHORT = 3
"""Letters; in so short a name another letter is another name: Eva and Eli."""


class PersonName(NamedTuple):
    """One name of a person, as it is compared.

    family: the parts of the family name, joined by spaces; "" if there is none
    given:  the given names in their order, without initials and placeholders
    """

    family: str
    given: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.family}|{' '.join(self.given)}"

    @classmethod
    def of_key(cls, key: str) -> PersonName:
        family, _, given = key.partition("|")
        return cls(family, tuple(given.split()))


def names_of(patient: Json, placeholders: frozenset[str]) -> Iterator[PersonName]:
    """Every name of a Patient that says something, former ones included."""
    names = patient.get("name")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, dict):
            read = _read(name, placeholders)
            if read.family or read.given:
                yield read


def _read(name: Json, placeholders: frozenset[str]) -> PersonName:
    family, given = name.get("family"), name.get("given")
    text = name.get("text")
    if not isinstance(family, str) and not isinstance(given, list) and isinstance(text, str):
        before, comma, after = text.partition(",")
        words = text.split()
        if comma:
            family, given = before, after.split()
        elif len(words) > 1:
            family, given = words[-1], words[:-1]
    parts = [part for part in given if isinstance(part, str)] if isinstance(given, list) else []
    tokens = [token for part in parts for token in folded(part).split()]
    if not _folded_words(placeholders).isdisjoint((*tokens, "".join(tokens))):
        tokens = []  # "Baby of Anna": it has none yet
    return PersonName(
        folded(family) if isinstance(family, str) else "",
        tuple(token for token in tokens if len(token) >= _FEWEST and not token.isdigit()),
    )


@lru_cache(maxsize=8)
def _folded_words(words: frozenset[str]) -> frozenset[str]:
    return frozenset(folded(word).replace(" ", "") for word in words)


@lru_cache(maxsize=20_000)
def folded(text: str) -> str:
    """The words of a name in the form in which they are compared."""
    latin = anyascii(text.casefold().translate(_LETTERS)).casefold()
    words = re.sub(r"['’`´]", "", latin)
    words = re.sub(r"[^a-z0-9]+", " ", words).strip()
    for spelling, one in _SPELLINGS:
        words = words.replace(spelling, one)
    return re.sub(r"([a-z])\1+", r"\1", words)


def given_agree(mine: Collection[PersonName], theirs: Collection[PersonName], *, strictly: bool) -> bool:
    """Whether they have a given name in common: the first, or all that one of them has.

    One common middle name is too little: twins often share it. `strictly`, for babies and twins: both.
    """
    return any(_given(a.given, b.given, strictly) for a in mine for b in theirs)


def _given(mine: tuple[str, ...], theirs: tuple[str, ...], strictly: bool) -> bool:
    if not mine or not theirs:
        return False
    first = mine[0] == theirs[0] or "".join(mine) == "".join(theirs)
    within = {*mine} <= {*theirs} or {*theirs} <= {*mine}
    return (first and within) if strictly else (first or within)


def family_agree(mine: Collection[PersonName], theirs: Collection[PersonName]) -> bool:
    """Whether they have a family name in common: the whole, or one part of a double name."""
    return any(_family(a.family, b.family) for a in mine for b in theirs)


def _family(mine: str, theirs: str) -> bool:
    if not mine or not theirs:
        return False
    if mine.replace(" ", "") == theirs.replace(" ", ""):
        return True
    a, b = {*mine.split()} - _PARTICLES, {*theirs.split()} - _PARTICLES
    return bool({word for word in a & b if len(word) > _FEWEST}) and (a <= b or b <= a)


def given_near(mine: Collection[PersonName], theirs: Collection[PersonName]) -> bool:
    """Whether one slip of the finger lies between two of their first given names."""
    return any(a.given and b.given and _near(a.given[0], b.given[0]) for a in mine for b in theirs)


def family_near(mine: Collection[PersonName], theirs: Collection[PersonName]) -> bool:
    """Whether one slip of the finger lies between two of their family names."""
    return any(_near(a.family, b.family) for a in mine for b in theirs)


def _near(mine: str, theirs: str) -> bool:
    return min(len(mine), len(theirs)) > _SHORT and OSA.distance(mine, theirs, score_cutoff=1) <= 1


def swapped(mine: Collection[PersonName], theirs: Collection[PersonName]) -> bool:
    """Whether one person's given names are the other's family name, as if typed into the wrong field."""
    return any(_is_given_of(a.family, b) or _is_given_of(b.family, a) for a in mine for b in theirs)


def _is_given_of(family: str, other: PersonName) -> bool:
    return family != "" and family.replace(" ", "") == "".join(other.given)


def fully_agree(mine: Collection[PersonName], theirs: Collection[PersonName]) -> bool:
    """Whether they have one name in common: its whole family name, its first given name and all others
    that both records have room for."""
    return any(
        a.family != ""
        and a.family.replace(" ", "") == b.family.replace(" ", "")
        and _given(a.given, b.given, True)
        for a in mine
        for b in theirs
    )
