"""Makes the search index rows of a resource, by the R4 SearchParameter definitions.

A parameter may fill three numbers: its own, `:text` (texts beside a code), and `:identifier` or `:of-type`
(identifiers with more detail). Rows for what is inside of a resource carry numbers of its place there:
`MedicationRequest.medication#Medication.code` for a contained resource that a reference leads to, and
`Observation.component-code-value-quantity=CODE.component-value-quantity` for the parts of a composite.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any

from fhir_coprod import alike, deadline, definitions
from fhir_coprod.definitions.search import SearchParameter
from fhir_coprod.jsontext import Json
from fhir_coprod.readable import concerns, readable
from fhir_coprod.remembering import remembering_short
from fhir_coprod.store.elements import kinds
from fhir_coprod.store.entries import ADDERS, TABLES, Add, IndexRows, Numbers, split_reference
from fhir_coprod.store.labels import MOST_PATIENTS, PATIENTS, labels
from fhir_coprod.store.values import cut
from fhir_coprod.validation.fhirpath import compile_typed, is_supported
from fhir_coprod.watched import STRAYS, UNREADABLE

LABELS = "labels"
"""Under this name `rows` gives the number for the column of that name, which is no table (`labels.py`)."""
_MEMBERS = 100  # more than any type of R4 has
_Extract = Callable[[Json], list[tuple[str, Any]]]

_NOT_INDEXED = frozenset({"_id", "_lastUpdated", "phonetic"})
"""The first two are columns of table resource; the third compares by sound, which we do not do. (`quality`
has no expression either: it has a table of its own.)"""
_BLANK = {"token": ("", ""), "reference": ("", ""), "string": ("", "")}
"""The row for a value that cannot be searched for (a text without code, a display without reference), so
that `:missing` knows it is there."""


@remembering_short(8192, 128)
def number(type: str, code: str) -> int:
    """The number of a parameter in the index; `code` may end in `:text`, `:identifier` or `:of-type`.

    A digest rather than a counter: the same in every process and database, with nothing to agree on. A test
    shows that no two parameters of R4 share one.
    """
    return int.from_bytes(blake2b(f"{type}.{code}".encode(), digest_size=4).digest(), signed=True)


@dataclass(frozen=True)
class _Parameter:
    """One search parameter of one type, ready to make rows.

    members: it has no value in a resource without any of these members; empty: it may always have one
    add:    turns a value into rows
    """

    type: str
    code: str
    expression: str
    kind: str
    numbers: Numbers
    members: frozenset[str]
    add: Add

    @cached_property
    def values(self) -> _Extract:
        """Finds its values in a resource, each with its FHIR type.

        Compiled at its first use: most of R4's parameters never meet a resource with their members.
        """
        return compile_typed(self.expression, self.type)


def rows(type: str, data: Json, *, is_sound: bool = True) -> IndexRows:
    """All index rows of one resource.

    is_sound: whether every element is known to have the form that R4 gives it; else those that do not have
    it are left out, and for a reference among them there is a row that says so (`unreadable_links`)
    """
    found: IndexRows = {table: set() for table in TABLES.values()}
    own_labels = labels(type, data)
    if not is_sound:
        data, unreadable = readable(data)
        found["reference"] |= unreadable_links(type, data, unreadable)
    held = _held(data)
    for parameter in _parameters_in(type, tuple(data)) if len(data) <= _MEMBERS else _parameters(type):
        deadline.check()
        values = parameter.values(data)
        if not values:
            continue
        _add(found, parameter, parameter.numbers, values)
        if parameter.kind == "reference" and (held or type == "Bundle"):
            targets = definitions.search_parameters(type)[parameter.code].target
            _Inside(found, held, targets).add(type, parameter.code, values)
    _add_composites(found, type, type, data)
    _add_versions(found, type, data)
    for code, text in alike.rows(type, data):
        found["token"].add((number(type, code), text, ""))
    if is_sound and any(not kind and _names_nothing(text) for _, text, kind in found["reference"]):
        data, unreadable = readable(data)
        found["reference"] |= unreadable_links(type, data, unreadable)
    named = sum(row[2] == "Patient" for row in found["reference"])
    found[LABELS] = {(own_labels + min(named, MOST_PATIENTS) * PATIENTS,)}
    return found


def _add(
    found: IndexRows, parameter: _Parameter, numbers: Numbers, values: Sequence[tuple[str, Any]]
) -> None:
    own = found[parameter.kind]
    before = len(own)
    for name, value in values:
        parameter.add(found, numbers, name, value)
    if len(own) == before and parameter.kind in _BLANK:
        own.add((numbers.own, *_BLANK[parameter.kind]))


def _add_versions(found: IndexRows, type: str, data: Json) -> None:
    """What has a url and a version is also found by both: url|version."""
    url, version = data.get("url"), data.get("version")
    if isinstance(url, str) and isinstance(version, str) and has_url(type):
        found["uri"].add((number(type, "url"), cut(f"{url}|{version}")))


def has_url(type: str) -> bool:
    """Whether a canonical may name resources of this type."""
    known = definitions.search_parameters(type).get("url")
    return known is not None and known.type == "uri"


# ---------------------------------------------------------------------------------- inside of a resource


def place(type: str, code: str, target: str) -> str:
    """Where a resource stands that a reference in another one leads to: contained in it, or in a Bundle."""
    return f"{type}.{code}#{target}"


HERE = "here"
"""The code of the row that says that there is such a resource at all."""
DEEPEST = 2
"""How many links deep a chain finds what is contained."""


def _held(data: Json) -> dict[str, Json]:
    """The contained resources, by id."""
    contained = data.get("contained")
    if not isinstance(contained, list):
        return {}
    return {
        each["id"]: each
        for each in contained
        if isinstance(each, dict)
        and isinstance(each.get("id"), str)
        and definitions.is_resource_type(each.get("resourceType"))
    }


class _Inside:
    """Adds rows for contained resources, under the numbers of their places."""

    def __init__(self, found: IndexRows, held: Mapping[str, Json], targets: tuple[str, ...] = ()) -> None:
        self._found = found
        self._targets = targets
        self._held = held
        self._done: set[tuple[str, int]] = set()

    def add(self, type: str, code: str, values: Sequence[tuple[str, Any]], depth: int = 1) -> None:
        for _, value in values:
            resource = self._meant(value)
            if resource is None:
                continue
            here = place(type, code, resource["resourceType"])
            if (here, id(resource)) not in self._done:
                self._done.add((here, id(resource)))
                self._resource(here, resource, depth)

    def _meant(self, value: Any) -> Json | None:
        if isinstance(value, str):  # a canonical
            return self._held.get(value[1:]) if value[:1] == "#" else None
        if not isinstance(value, dict):
            return None
        if definitions.is_resource_type(value.get("resourceType")):
            # The first entry of a Bundle; of a document it is a Composition, of a message a MessageHeader.
            return value if value["resourceType"] in self._targets else None
        reference = value.get("reference")
        return self._held.get(reference[1:]) if isinstance(reference, str) and reference[:1] == "#" else None

    def _resource(self, here: str, data: Json, depth: int) -> None:
        self._found["token"].add((number(here, HERE), "", ""))
        _add_composites(self._found, here, data["resourceType"], data)
        inner = self if self._held else _Inside(self._found, _held(data))
        for parameter in _parameters_in(data["resourceType"], tuple(data)) if len(data) <= _MEMBERS else ():
            deadline.check()
            if parameter.code.startswith("_"):
                continue
            values = parameter.values(data)
            if values:
                _add(self._found, parameter, _numbers(here, parameter.code, parameter.numbers), values)
                if parameter.kind == "reference" and depth < DEEPEST:
                    inner.add(here, parameter.code, values, depth + 1)


@lru_cache(4096)
def _numbers(here: str, code: str, like: Numbers) -> Numbers:
    return replace(
        like,
        own=number(here, code),
        text=number(here, f"{code}:text"),
        identifier=number(here, f"{code}:identifier"),
        of_type=number(here, f"{code}:of-type"),
    )


@dataclass(frozen=True)
class Composite:
    """A composite parameter whose parts have to hold in the same repetition of one element.

    member: that element
    token:  the code of a part that is a token; the other one stands in the index under each of its values
    other:  the code of the other part
    """

    code: str
    member: str
    token: str
    other: str


def paired(type: str, code: str, token: str) -> str:
    """Where the other part stands in the index if the first one is this `code` or `system|code`."""
    return f"{type}.{code}={token}"


@lru_cache(256)
def composites(type: str) -> Mapping[str, Composite]:
    """The composite parameters that have rows of their own, by code."""
    known = definitions.search_parameters(type)
    found = {}
    for code, parameter in known.items():
        head, _, member = parameter.expression.partition(".")
        parts = components(type, parameter)
        if head == type and member.isalpha() and len(parts) == 2:
            tokens = [part for part in parts if known[part].type == "token"]
            if tokens:
                other = parts[1] if parts[0] == tokens[0] else parts[0]
                found[code] = Composite(code, member, tokens[0], other)
    return found


def components(type: str, composite: SearchParameter) -> tuple[str, ...]:
    """The codes of the parts of a composite, in the order of its values; empty if one is not in the index."""
    by_url = {parameter.url: code for code, parameter in definitions.search_parameters(type).items()}
    parts = tuple(by_url.get(each.definition, "") for each in composite.components)
    return parts if all(is_indexed(type, part) for part in parts) else ()


@lru_cache(256)
def _pairings(type: str) -> Sequence[tuple[str, str, tuple[Composite, ...]]]:
    """Element, code of the token in it, and the composites that begin with this token."""
    found: dict[tuple[str, str], list[Composite]] = {}
    for each in composites(type).values():
        found.setdefault((each.member, each.token), []).append(each)
    return [(member, token, tuple(some)) for (member, token), some in found.items()]


def _add_composites(found: IndexRows, here: str, type: str, data: Json) -> None:
    """here: the type of a resource that stands alone, or the place of another one"""
    for member, token, some in _pairings(type):
        items = data.get(member)
        for item in items if isinstance(items, list) else ():
            deadline.check()
            alone = {"resourceType": type, member: [item]}
            tokens = [row[1:] for row in _rows_of(type, token, alone).get("token", ()) if row[1]]
            for composite in some if tokens else ():
                for table, rows in _rows_of(type, composite.other, alone).items():
                    found[table].update(_paired_rows(here, composite, tokens, rows))


def _paired_rows(
    here: str, composite: Composite, tokens: Sequence[tuple[Any, ...]], rows: set[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    for code, system in tokens:
        for token in (code, f"{system}|{code}"):
            param = number(paired(here, composite.code, token), composite.other)
            yield from ((param, *row[1:]) for row in rows)


def _rows_of(type: str, code: str, data: Json) -> IndexRows:
    """The rows of one parameter, without those of its texts and identifiers; nothing if it has no value."""
    parameter = _by_code(type)[code]
    values = parameter.values(data)
    if not values:
        return {}
    found: IndexRows = defaultdict(set)
    _add(found, parameter, parameter.numbers, values)
    own = parameter.numbers.own
    return {table: some for table, rows in found.items() if (some := {row for row in rows if row[0] == own})}


def _names_nothing(text: str) -> bool:
    """Whether a reference is valid by the letter of R4 and still leads nowhere: an id without a type."""
    return text != "" and "/" not in text and ":" not in text


def unreadable_links(type: str, data: Json, unreadable: Sequence[str]) -> set[tuple[Any, ...]]:
    """Rows for the reference parameters of a resource that lead to what cannot be read in it.

    data: what can be read of it
    """
    if not unreadable:
        return set()
    known = definitions.search_parameters(type)
    lost = [
        code
        for code, parameter in known.items()
        if parameter.type == "reference"
        and any(concerns(gone, path) for path in _reference_paths(type, code) for gone in unreadable)
    ]
    if not lost:
        return set()
    patients = {("", "")}
    for code in ("patient", "subject"):
        if code in known and is_indexed(type, code):
            found = (value for _, value in extract(type, known[code], data) if isinstance(value, dict))
            named = {split_reference(str(value.get("reference", ""))) for value in found}
            patients = {(id, kind) for kind, id in named if kind == "Patient"} or patients
            if patients != {("", "")}:
                break
    return {(number(type, code + UNREADABLE), cut(id), kind) for code in lost for id, kind in patients}


@lru_cache(maxsize=4096)
def _reference_paths(type: str, code: str) -> tuple[str, ...]:
    """The paths to a parameter's references, without the type: ("context.related",)."""
    branches = definitions.search_parameters(type)[code].expression.split("|")
    found = (_PATH.match(branch.strip()) for branch in branches)
    return tuple(match[1] for match in found if match)


_PATH = re.compile(r"\(?[A-Z]\w+\.([a-z]\w*(?:\.(?!where\b|as\b|ofType\b|resolve\b)[a-z]\w*(?!\())*)")


@lru_cache(maxsize=256)
def _parameters(type: str) -> tuple[_Parameter, ...]:
    """The parameters whose values go into the index."""
    found = []
    for code, parameter in definitions.search_parameters(type).items():
        add = ADDERS.get(parameter.type)
        if add is None or code in _NOT_INDEXED or not parameter.expression:
            continue
        if not is_supported(parameter.expression):
            continue
        _single[number(type, code)] = _has_one_value(type, parameter.expression)
        numbers = Numbers(
            number(type, code),
            number(type, f"{code}:text"),
            number(type, f"{code}:identifier"),
            number(type, f"{code}:of-type"),
            _implied_systems(type, parameter.expression) if parameter.type == "token" else {},
            parameter.type == "token" and is_caseless(type, parameter),
        )
        kind, members = TABLES[parameter.type], _members(type, parameter.expression)
        found.append(_Parameter(type, code, parameter.expression, kind, numbers, members, add))
    return tuple(found)


@lru_cache(maxsize=4096)
def _parameters_in(type: str, members: tuple[str, ...]) -> tuple[_Parameter, ...]:
    """The parameters that may have a value in a resource with these members; there are few such sets."""
    return tuple(
        parameter
        for parameter in _parameters(type)
        if not parameter.members or not parameter.members.isdisjoint(members)
    )


_BEGIN = re.compile(r"\(?[A-Z]\w+\.(\w+)")
_ANSWERS_ALWAYS = re.compile(r"\b(?!where|as|ofType|resolve)\w+\(|\band\b|\bor\b")
"""Functions such as exists(), which answer even when there is nothing to look at."""


def _members(type: str, expression: str) -> frozenset[str]:
    """The members that the branches of an expression begin with; none when that is unknown."""
    branches = [_BEGIN.match(branch.strip()) for branch in expression.split("|")]
    if _ANSWERS_ALWAYS.search(expression) or None in branches:
        return frozenset()
    first = {branch[1] for branch in branches if branch}
    names = set(first)
    for element in definitions.structure(type)["snapshot"]["element"]:
        path = element["path"].removeprefix(f"{type}.")
        if path.endswith("[x]") and path[:-3] in first:
            kinds = (kind["code"] for kind in element["type"])
            names |= {path[:-3] + kind[0].upper() + kind[1:] for kind in kinds}
    return frozenset(names)


def _implied_systems(type: str, expression: str) -> Mapping[str, str]:
    """Code → system, for a path to an element of type `code`: its value set names the system."""
    for element in definitions.structure(type)["snapshot"]["element"]:
        if element["path"] != expression or [kind["code"] for kind in element.get("type", ())] != ["code"]:
            continue
        binding = element.get("binding", {})
        codes = definitions.value_set(binding.get("valueSet", "")) if binding else None
        return {code: system for system, held in (codes or {}).items() for code in held}
    return {}


FORMAT = 5
"""Raise this number whenever `rows` makes different rows from the same definitions."""
_OWN_FORMAT = dict.fromkeys(("ServiceRequest", *(type for type, _ in STRAYS)), 1)
"""The same for what a single type has beside its search parameters: its marks (`alike.py`), and rows for
references that lead nowhere."""


@lru_cache(maxsize=256)
def fingerprint(type: str) -> str:
    """Changes when the index rows of this type would come out differently (see `reindex.py`)."""
    known = definitions.search_parameters(type).values()
    asked = repr(
        [
            FORMAT,
            sorted((p.code, p.type, p.expression) for p in known if p.code != "quality"),
            *([_OWN_FORMAT[type]] if type in _OWN_FORMAT else ()),
        ]
    )
    return blake2b(asked.encode(), digest_size=12).hexdigest()


def is_indexed(type: str, code: str) -> bool:
    """Whether values of this parameter are in the index."""
    return code in _by_code(type)


@lru_cache(maxsize=256)
def _by_code(type: str) -> Mapping[str, _Parameter]:
    return {parameter.code: parameter for parameter in _parameters(type)}


def is_caseless(type: str, parameter: SearchParameter) -> bool:
    """Whether a token stands on texts, for which case does not matter (R4 search, 3.1.1.4.10)."""
    return bool(found := kinds(type, parameter.expression)) and found <= {"string", "ContactPoint"}


_CAST = re.compile(r"\(?([\w.]+?)(?: as \w+\)|\.as\(\w+\)|\.ofType\(\w+\))?")
_single: dict[int, bool] = {}


def is_single(param: int) -> bool:
    """Whether a resource has at most one value for the parameter of this number."""
    return _single.get(param, False)


def _has_one_value(type: str, expression: str) -> bool:
    """Whether the expression is one path (perhaps cast to several types) on which nothing repeats."""
    matches = [_CAST.fullmatch(branch.strip()) for branch in expression.split("|")]
    paths = {match[1] if match else "" for match in matches}
    if len(paths) != 1:
        return False
    most = {
        element["path"].removesuffix("[x]"): element["max"]
        for element in definitions.structure(type)["snapshot"]["element"]
    }
    steps = paths.pop().split(".")
    prefixes = (".".join(steps[:length]) for length in range(2, len(steps) + 1))
    return len(steps) > 1 and all(most.get(prefix) == "1" for prefix in prefixes)


def extract(type: str, parameter: SearchParameter, data: Json) -> list[tuple[str, Any]]:
    """The values of one parameter in one resource, each with its FHIR type."""
    return compile_typed(parameter.expression, type)(data)
