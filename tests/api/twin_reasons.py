"""Why HAPI answers otherwise than we do: each reason by name, with the condition under which it is one.

A reason looks at one condition of a search and at one record that only one of the two servers found; it must
say of that record why. Whatever no reason explains is a failure. docs/search-differences.md lists them with
who follows R4 (https://hl7.org/fhir/R4/search.html) and how often each was met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from fhir_coprod import definitions
from fhir_coprod.store.elements import kinds
from fhir_coprod.store.values import FIRST, LAST, Range, fold, time_meant
from fhir_coprod.validation.fhirpath import compile_typed
from tests.api.twin import NO_ANSWER
from tests.api.twin_queries import TwinQuery

Json = dict[str, Any]


class Records(dict[str, Json]):
    """All records by Type/id, and by what they refer to."""

    def __init__(self, records: Iterable[Json]) -> None:
        super().__init__((f"{each['resourceType']}/{each['id']}", each) for each in records)
        self._referring: dict[tuple[str, str], dict[str, list[Json]]] = {}

    def referring(self, type: str, code: str) -> Mapping[str, list[Json]]:
        """By target: the records of a type that refer to it by a parameter."""
        if (type, code) not in self._referring:
            found: dict[str, list[Json]] = {}
            for each in self.values():
                if each["resourceType"] == type:
                    for target in _targets(Atom(type, code, "", ""), each):
                        found.setdefault(target, []).append(each)
            self._referring[type, code] = found
        return self._referring[type, code]


class Atom(NamedTuple):
    """One condition: `type` is searched by `code`, with `modifier`, for `value` (of those after commas)."""

    type: str
    code: str
    modifier: str
    value: str

    @property
    def kind(self) -> str:
        found = definitions.search_parameters(self.type).get(self.code)
        return found.type if found else ""

    @property
    def prefix(self) -> str:
        match = re.match(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)(?=[\d.+-])", self.value)
        return match[1] if match else ""

    @property
    def plain(self) -> str:
        return self.value[len(self.prefix) :]

    def values(self, record: Json) -> list[tuple[str, Any]]:
        """What the record holds there, each value with its FHIR type."""
        if record["resourceType"] != self.type:
            return []
        expression = definitions.search_parameters(self.type)[self.code].expression
        return compile_typed(expression, self.type)(record) if expression else []


@dataclass(frozen=True)
class Reason:
    """name: as in the docs; applies: whether it is why only one server found a record by a condition."""

    name: str
    applies: Callable[[Atom, Json], bool]


# -------------------------------------------------------------------------------------------------- dates


def _ranges(atom: Atom, record: Json) -> list[Range]:
    found = []
    for name, value in atom.values(record):
        if isinstance(value, str) and (when := time_meant(value)):
            found.append(when)
        elif name == "Period":
            start, end = time_meant(value.get("start", "")), time_meant(value.get("end", ""))
            found.append(Range(start.low if start else FIRST, end.high if end else LAST))
    return found


def _sought(atom: Atom) -> Range:
    found = time_meant(atom.plain)
    assert found is not None, atom
    return found


def _within(atom: Atom, record: Json) -> bool:
    if atom.kind != "date" or atom.modifier or atom.prefix not in ("ge", "le"):
        return False
    sought = _sought(atom)
    return any(sought.low <= each.low and each.high <= sought.high for each in _ranges(atom, record))


def _touching(atom: Atom, record: Json) -> bool:
    """The value's range is not a part of the sought one: it reaches over an end of it, or only touches it."""
    if atom.kind != "date" or atom.modifier:
        return False
    sought = _sought(atom)
    return any(
        each.low <= sought.high
        and each.high >= sought.low
        and not (sought.low < each.low and each.high < sought.high)
        for each in _ranges(atom, record)
    )


_ZONED = re.compile(r"T.*[+-]\d\d:\d\d$")


def _by_day(atom: Atom, record: Json) -> bool:
    if atom.kind != "date" or atom.modifier or len(atom.plain) > 10:
        return False
    return any(isinstance(value, str) and _ZONED.search(value) for _, value in atom.values(record))


# ------------------------------------------------------------------------------------ numbers, quantities


def _numbers(atom: Atom, record: Json) -> list[Decimal]:
    found = []
    for _, value in atom.values(record):
        number = value.get("value") if isinstance(value, dict) else value
        if isinstance(number, Decimal):
            found.append(number)
    return found


def _precision(atom: Atom, record: Json) -> bool:
    """The value is not the sought one to the last digit, but lies within what its digits stand for."""
    if atom.kind not in ("number", "quantity") or atom.modifier or atom.prefix not in ("", "eq", "ne", "ap"):
        return False
    sought = Decimal(atom.plain.partition("|")[0])
    exponent = sought.as_tuple().exponent
    assert isinstance(exponent, int)
    around = max(Decimal(5).scaleb(exponent - 1), abs(sought) / 10 if atom.prefix == "ap" else Decimal(0))
    return any(number != sought and abs(number - sought) <= around for number in _numbers(atom, record))


def _rounded(atom: Atom, record: Json) -> bool:
    if atom.kind != "number" or atom.modifier:
        return False
    return any(number != round(number, 2) for number in _numbers(atom, record))


def _negative(atom: Atom, record: Json) -> bool:
    return atom.kind == "quantity" and atom.prefix == "ap" and atom.plain.startswith("-")


def _unit_as_said(atom: Atom, record: Json) -> bool:
    """`||unit`, and the record says that unit only in words."""
    pieces = atom.plain.split("|")
    if atom.kind != "quantity" or atom.modifier or len(pieces) != 3 or pieces[1] or not pieces[2]:
        return False
    return any(
        value.get("unit") == pieces[2] and value.get("code") != pieces[2]
        for _, value in atom.values(record)
        if isinstance(value, dict)
    )


def _system_alone(atom: Atom, record: Json) -> bool:
    pieces = atom.plain.split("|")
    return (
        atom.kind == "quantity"
        and not atom.modifier
        and len(pieces) == 3
        and bool(pieces[1])
        and not pieces[2]
    )


# --------------------------------------------------------------------------------- strings, tokens, missing


def _punctuation(atom: Atom, record: Json) -> bool:
    """Only without their punctuation are the two texts alike, or only with it."""
    if atom.kind != "string" or atom.modifier not in ("", "contains"):
        return False
    return bool(re.search(r"[^\w\s]", atom.value)) or any(
        re.search(r"[^\w\s]", text) for _, value in atom.values(record) for text in _texts(value)
    )


def _letters(atom: Atom, record: Json) -> bool:
    """A letter that is another one only by case folding or by a stroke: ß and ss."""
    if atom.kind != "string" or atom.modifier not in ("", "contains"):
        return False
    texts = [atom.value, *(text for _, value in atom.values(record) for text in _texts(value))]
    return any(letter in text for text in texts for letter in "ßŁł")


def _later_words(atom: Atom, record: Json) -> bool:
    """The sought text begins at a later word of the held one."""
    if atom.kind != "string" or atom.modifier:
        return False
    sought = fold(atom.value)
    texts = [text for _, value in atom.values(record) for text in _texts(value)]
    starts = [text[found.start() :] for text in texts for found in re.finditer(r"(?<=[\s-])[^\s-]", text)]
    return any(fold(start).startswith(sought) for start in starts)


_NO_SYSTEM_ALONE = "HAPI takes no _tag, _security or _profile without a code"


def _label_by_system(atom: Atom, record: Json) -> bool:
    """Alone it is refused; after a comma it finds nothing."""
    labels = [value for _, value in atom.values(record)] if atom.code in ("_tag", "_security") else []
    return atom.value.endswith("|") and any(
        label.get("system") == atom.value.removesuffix("|") for label in labels
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _unsearchable(atom: Atom, record: Json) -> bool:
    """There is a value, but nothing in it that could be searched for: a text without a code, a display, or
    what is contained."""
    if atom.modifier != "missing":
        return False
    values = [value for _, value in atom.values(record)]
    return bool(values) and not any(
        not isinstance(value, dict) or value.get("coding") or value.get("reference", "#")[0] != "#"
        for value in values
    )


PUNCTUATION = "punctuation in texts"

REASONS = (
    Reason("ge and le leave out what lies within the searched date", _within),
    Reason("a date that reaches over an end of the searched one", _touching),
    Reason("days by the clock of the writer", _by_day),
    Reason("a number stands for its last digit", _precision),
    Reason("numbers are rounded to two places", _rounded),
    Reason("about a negative number", _negative),
    Reason("a unit without a system only by its code", _unit_as_said),
    Reason("a quantity's system without a code", _system_alone),
    Reason(PUNCTUATION, _punctuation),
    Reason("words of a name", _later_words),
    Reason("letters that differ by more than an accent", _letters),
    Reason("missing: a value that cannot be searched for", _unsearchable),
    Reason(_NO_SYSTEM_ALONE, _label_by_system),
)

REFUSALS = (
    ("HAPI-1930", "HAPI takes no comma in dates"),
    ("HAPI-1925", "HAPI has no ap for dates"),
    ("HAPI-1922", "HAPI takes no two such conditions on one date"),
    ("HAPI-1923", "HAPI takes no two such conditions on one date"),
    ("HAPI-1924", "HAPI takes no two such conditions on one date"),
    ("HAPI-1235", "HAPI has no sa and eb for numbers and quantities"),
    ("HAPI-1218", _NO_SYSTEM_ALONE),
    ("HAPI-2498", "HAPI has no :identifier"),
    (NO_ANSWER, "HAPI does not answer within two minutes"),
    ("HAPI-1209", "HAPI takes no chain in _has by :Type"),
)
"""Beginning of what HAPI says when it refuses a search, and the reason's name."""


def why_refused(said: str) -> str:
    """The name of the reason for a refusal of HAPI's; "" when there is none."""
    return next((name for code, name in REFUSALS if said.startswith(code)), "")


CANONICAL = "a chain or _has over a canonical"
CONTAINED = "a chain into a contained resource"


def _by_its_link(query: TwinQuery, record: Json) -> str:
    """The name of the reason if HAPI does not follow the link by which a chain or _has leads somewhere."""
    for name, _ in query.pairs:
        if name.startswith("_has:"):
            _, other, code, _ = name.split(":", 3)
            if kinds(other, definitions.search_parameters(other)[code].expression) == {"canonical"}:
                return CANONICAL
        elif "." in name:
            code = name.partition(".")[0].partition(":")[0]
            for _, value in Atom(query.type, code, "", "").values(record):
                if isinstance(value, str):
                    return CANONICAL
                if value.get("reference", "").startswith("#"):
                    return CONTAINED
    return ""


def why(query: TwinQuery, record: Json, records: Records) -> str:
    """The name of the reason why only one server found this record; "" when there is none."""
    if by_link := _by_its_link(query, record):
        return by_link
    for name, values in query.pairs:
        for value in re.findall(r"(?:\\.|[^,\\])+", values):
            for atom, concerned in _atoms(query.type, name, value, [record], records):
                for each in concerned:
                    for reason in REASONS:
                        if reason.applies(atom, each):
                            return reason.name
    return ""


def _atoms(
    type: str, name: str, value: str, concerned: list[Json], records: Records
) -> Iterator[tuple[Atom, list[Json]]]:
    """The innermost condition of a parameter, with the records that it is about."""
    if name.startswith("_has:"):
        _, other, code, rest = name.split(":", 3)
        by_target = records.referring(other, code)
        referring = [
            each for one in concerned for each in by_target.get(f"{one['resourceType']}/{one['id']}", ())
        ]
        yield from _atoms(other, rest, value, referring, records)
        return
    head, _, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    if rest:
        keys = {key for each in concerned for key in _targets(Atom(type, code, "", ""), each)}
        for target in {key.partition("/")[0] for key in keys}:
            referred = [
                records[key] for key in sorted(keys) if key in records and key.startswith(f"{target}/")
            ]
            if rest.partition(".")[0].partition(":")[0] in definitions.search_parameters(target):
                yield from _atoms(target, rest, value, referred, records)
    elif code not in ("_id", "_lastUpdated") and code in definitions.search_parameters(type):
        yield Atom(type, code, modifier, value), concerned


def _targets(atom: Atom, record: Json) -> list[str]:
    return [
        value["reference"]
        for _, value in atom.values(record)
        if isinstance(value, dict) and "reference" in value
    ]
