"""`Query`: reads and checks the parameters of a search, ready to run on either database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Literal
from zoneinfo import ZoneInfo

from fhir_coprod import definitions
from fhir_coprod.errors import BadRequest, UnknownParameter, UnknownType, Unsupported
from fhir_coprod.store import index
from fhir_coprod.store.search import compartments, parameters, ranges
from fhir_coprod.store.search.conditions import Condition, Indexed, Own
from fhir_coprod.store.search.sight import Sight, Together, condition_on
from fhir_coprod.store.search.standpoint import Standpoint

DEFAULT_COUNT = 20
MAX_COUNT = 1000

Total = Literal["", "none", "estimate", "accurate"]

_FOR_THE_ENDPOINT = frozenset({"_format", "_pretty", "_summary", "_elements"})
"""Parameters that shape the answer, not the search; kept in `Query.pairs` for the endpoint."""
MOST_SORTS = 10
"""Parameters of one `_sort`: the next page compares with each, and the database has its bounds."""
SUMMARIES = ("true", "text", "data", "count", "false")


@dataclass(frozen=True, slots=True)
class Sort:
    """One key of `_sort`.

    table: an index table, or "resource" for `_id` and `_lastUpdated`
    """

    code: str
    descending: bool
    table: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`.

    type, code: the resource type that holds the reference, and its parameter; code "*" is all of them
    target:     only targets of this type; "" is any
    iterate:    also from resources that were themselves included
    """

    type: str
    code: str
    target: str
    iterate: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A search of one type, or of several when `types` holds more than one.

    pairs:     the parameters that were understood, in the order given (without the cursor)
    ignored:   one sentence for each parameter that was not understood
    place:     Type/id of the resource to whose compartment the search is limited; "" for none
    bare:      types that a reference may lead to, with the ids given for it without a type: each id may be
               here under one of them only
    sight:     what the caller may see; nothing else is found, counted, included or led through
    summary:   for the code that writes the answer
    """

    types: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int = DEFAULT_COUNT
    total: Total = ""
    summary: str = ""
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    cursor: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    place: str = ""
    bare: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    sight: Sight | None = None

    @classmethod
    def parse(
        cls,
        type: str,
        pairs: Sequence[tuple[str, str]],
        *,
        strict: bool = False,
        max_count: int = MAX_COUNT,
        base: str = "",
        zone: ZoneInfo | None = None,
        compartment: tuple[str, str] | None = None,
        sight: Sight | None = None,
    ) -> Query:
        """Read the (decoded) pairs of a search on `type`; "" searches all types, or those in `_type`.

        strict: raise UnknownParameter for one that R4 lacks; otherwise leave it out and name it in `ignored`.
        base:   our own public address; references that begin with it count as relative.
        zone:   the time zone of days and times that name none; UTC without it.
        compartment: type and id of the resource to whose compartment the search is limited.
        sight:  what the caller may see.
        Raises BadRequest for values that cannot be read, Unsupported for what R4 has and we lack, and
        UnknownType.
        """
        reader = _Reader(type, strict=strict, max_count=max_count, base=base, zone=zone)
        reader.sight = sight
        return reader.read(pairs, compartment)

    def self_pairs(self) -> list[tuple[str, str]]:
        """The pairs for a truthful self link: only those that were really used."""
        return list(self.pairs)

    @property
    def within(self) -> tuple[Condition, ...]:
        """The conditions that keep the search within sight; each of them has to hold as well."""
        limit = condition_on(self.sight, self.types)
        if limit is None:
            return ()
        return limit.conditions if isinstance(limit, Together) else (limit,)

    @property
    def fingerprint(self) -> str:
        """Identifies this search among others, whatever its page size: a cursor belongs to one search, by
        somebody who may see the same."""
        own = [pair for pair in self.pairs if pair[0] != "_count"]
        asked = repr((self.place, self.types, own, self.sight.name if self.sight else ""))
        return blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _has_one_row(condition: Indexed) -> bool:
    """Whether no resource has more than one row that the condition looks at."""
    return not condition.more and index.is_single(condition.param)


def _asks_since(condition: Condition) -> bool:
    return isinstance(condition, Own) and condition.since


class _Reader:
    """Collects the pieces of one query."""

    def __init__(self, type: str, *, strict: bool, max_count: int, base: str, zone: ZoneInfo | None) -> None:
        if type and not definitions.is_resource_type(type):
            raise UnknownType(f"R4 has no resource type {type!r}.")
        self.types: tuple[str, ...] = (type,) if type else ()
        self.strict = strict
        self.max_count = max_count
        self.base = f"{base.rstrip('/')}/" if base else ""
        self.zone = zone if zone is not None and zone.key != "UTC" else None
        self.conditions: list[Condition] = []
        self.sort: tuple[Sort, ...] = ()
        self.count = min(DEFAULT_COUNT, max_count)
        self.total: Total = ""
        self.summary = ""
        self.includes: list[Include] = []
        self.revincludes: list[Include] = []
        self.cursor = ""
        self.sight: Sight | None = None
        self.used: list[tuple[str, str]] = []
        self.ignored: list[str] = []

    def read(self, pairs: Sequence[tuple[str, str]], compartment: tuple[str, str] | None) -> Query:
        for name, value in pairs:
            _check_text(name)
            _check_text(value)
        if not self.types:
            self.types = self._system_types(pairs)
        if compartment is not None:
            self._limit(*compartment, is_named=any(name == "_type" for name, _ in pairs))
        self.scope = Standpoint(
            self.types, now=datetime.now(UTC), base=self.base, zone=self.zone, sight=self.sight
        )
        for name, value in pairs:
            if not value:
                self._refuse_unsupported(name)
                self._ignore(name, UnknownParameter(f"{name}: it has no value; give one or leave it out."))
                continue
            try:
                self._one(name, value)
            except UnknownParameter as error:
                self._ignore(name, error)
        if not self.sort and len(self.types) == 1 and any(_asks_since(c) for c in self.conditions):
            # FHIR leaves the order to us. For a question about changes since some time, the oldest comes
            # first, which an index finds without going through everything that is older.
            self.sort = (Sort("_lastUpdated", False, "resource"),)
        return Query(
            types=self.types,
            conditions=tuple(self.conditions),
            sort=self.sort,
            count=self.count,
            total=self.total,
            summary=self.summary,
            includes=tuple(self.includes),
            revincludes=tuple(self.revincludes),
            cursor=self.cursor,
            pairs=tuple(self.used),
            ignored=tuple(self.ignored),
            place="/".join(compartment or ()),
            sight=self.sight,
            bare=tuple((types, tuple(sorted(ids))) for types, ids in self.scope.effort.bare.items()),
        )

    def _limit(self, owner: str, id: str, *, is_named: bool) -> None:
        """Search only in the compartment of a resource, and only types that it may hold."""
        members = compartments.members(owner)
        if not members:
            raise UnknownType(f"R4 has no compartment of {owner}; it has {', '.join(compartments.NAMES)}.")
        held = tuple(type for type in self.types if type in members)
        if not held or (is_named and held != self.types):
            others = sorted(set(self.types) - set(members))
            raise BadRequest(f"The compartment of a {owner} holds no {', '.join(others[:5])}.")
        self.types = held
        self.conditions.append(compartments.condition(owner, id, held))

    def _refuse_unsupported(self, name: str) -> None:
        """Raise Unsupported if there is no value to go by, but a name that would be refused with any."""
        base, _, modifier = name.partition(":")
        _check_no_modifier(base, modifier)
        if base not in _OF_THE_ANSWER:
            try:
                parameters.condition(self.scope, name, "0")
            except Unsupported:
                raise
            except BadRequest:
                return

    def _ignore(self, name: str, error: UnknownParameter) -> None:
        if self.strict:
            raise error
        self.ignored.append(error.message)

    def _one(self, name: str, value: str) -> None:
        base, _, modifier = name.partition(":")
        own = _OWN.get(base)
        _check_no_modifier(base, modifier)
        if own is not None:
            own(self, modifier, value)
        elif name not in _FOR_THE_ENDPOINT:
            self._demand(parameters.condition(self.scope, name, value))
        if name == "_count":
            value = str(self.count)
        if name not in ("_cursor", "_format", "_pretty"):
            self.used.append((name, value))

    def _demand(self, condition: Condition) -> None:
        """Add a condition; two on a date (or number) that a resource has only once become one range."""
        if isinstance(condition, Indexed) and condition.scans and _has_one_row(condition):
            for place, other in enumerate(self.conditions):
                if isinstance(other, Indexed) and other.param == condition.param and not other.more:
                    merged = ranges.on_one_row(other, condition)
                    if merged is not None:
                        self.conditions[place] = merged
                        return
        self.conditions.append(condition)

    def _system_types(self, pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
        asked = [type for name, value in pairs if name == "_type" for type in value.split(",")]
        for type in asked:
            if not definitions.is_resource_type(type):
                raise UnknownType(f"_type: R4 has no resource type {type!r}.")
        return tuple(dict.fromkeys(asked)) or definitions.resource_types()

    # ---------------------------------------------------------------------------- parameters of the answer

    def set_type(self, modifier: str, value: str) -> None:
        if any(type not in self.types for type in value.split(",")):
            raise UnknownParameter("_type has no meaning in the search of one type; search the whole system.")

    def set_count(self, modifier: str, value: str) -> None:
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise BadRequest("_count: not a whole number; write for instance _count=50.")
        self.count = min(int(value), self.max_count)

    def set_total(self, modifier: str, value: str) -> None:
        totals: Mapping[str, Total] = {"none": "none", "estimate": "estimate", "accurate": "accurate"}
        if value not in totals:
            raise BadRequest("_total takes none, estimate or accurate.")
        self.total = totals[value]

    def set_summary(self, modifier: str, value: str) -> None:
        if value not in SUMMARIES:
            raise BadRequest(f"_summary takes {', '.join(SUMMARIES)}.")
        self.summary = value

    def set_elements(self, modifier: str, value: str) -> None:
        """For the code that writes the answer; here only what no type has is told."""
        for path in filter(None, (path.strip() for path in value.split(","))):
            if not any(_has_element(type, path) for type in self.types):
                self.ignored.append(f"_elements={path}: no resource searched for has such an element.")

    def set_contained(self, modifier: str, value: str) -> None:
        if value != "false":
            raise Unsupported(
                "_contained is not supported: contained resources are found through the resource that holds"
                " them, by a chain."
            )

    def set_cursor(self, modifier: str, value: str) -> None:
        self.cursor = value

    def set_include(self, modifier: str, value: str) -> None:
        self.includes.append(self._include("_include", modifier, value))

    def set_revinclude(self, modifier: str, value: str) -> None:
        self.revincludes.append(self._include("_revinclude", modifier, value))

    def _include(self, name: str, modifier: str, value: str) -> Include:
        if modifier not in ("", "iterate", "recurse"):
            raise Unsupported(f"{name}:{modifier} is not supported; {name} and {name}:iterate are.")
        iterate = bool(modifier)
        if value == "*" and name == "_include":
            return Include("*", "*", "", iterate)
        type, _, rest = value.partition(":")
        code, _, target = rest.partition(":")
        if not definitions.is_resource_type(type) or not code:
            raise BadRequest(f"{name} is written {name}=Type:parameter or {name}=Type:parameter:TargetType.")
        if target and not definitions.is_resource_type(target):
            raise BadRequest(f"{name}={value}: R4 has no resource type {target}.")
        if code != "*" and parameters.parameter(type, code).type != "reference":
            raise UnknownParameter(f"{name}={value}: {code} of {type} is no reference.")
        return Include(type, code, target, iterate)

    def set_sort(self, modifier: str, value: str) -> None:
        keys = list(self.sort)
        for part in value.split(","):
            code = part.strip().removeprefix("-")
            descending = part.strip().startswith("-")
            if any(key.code == code for key in keys):
                continue  # whatever is equal by the first is equal by this one
            if len(keys) == MOST_SORTS:
                raise BadRequest(f"_sort: more than {MOST_SORTS} parameters; sort by fewer.")
            if code in ("_id", "_lastUpdated"):
                keys.append(Sort(code, descending, "resource"))
                continue
            if code == "quality":
                raise UnknownParameter("_sort=quality: it has no order; sort by another one.")
            kinds = {parameters.parameter(type, code).type for type in self.types}
            if len(kinds) != 1:
                raise UnknownParameter(f"_sort={code}: it is not of one kind in all types searched.")
            if kinds & {"special", "composite"}:
                raise UnknownParameter(f"_sort={code}: it has no order here; sort by another one.")
            numbers = tuple(index.number(type, code) for type in self.types)
            keys.append(Sort(code, descending, kinds.pop(), numbers))
        self.sort = tuple(keys)


_OWN: Mapping[str, Callable[[_Reader, str, str], None]] = {
    "_type": _Reader.set_type,
    "_count": _Reader.set_count,
    "_total": _Reader.set_total,
    "_summary": _Reader.set_summary,
    "_elements": _Reader.set_elements,
    "_contained": _Reader.set_contained,
    "_cursor": _Reader.set_cursor,
    "_include": _Reader.set_include,
    "_revinclude": _Reader.set_revinclude,
    "_sort": _Reader.set_sort,
}

_OF_THE_ANSWER = frozenset(_OWN) | _FOR_THE_ENDPOINT


def _check_no_modifier(base: str, modifier: str) -> None:
    if modifier and base in _OF_THE_ANSWER - {"_include", "_revinclude"}:
        raise Unsupported(f"{base}:{modifier} is not supported: {base} has no modifiers.")


@lru_cache(256)
def _elements(type: str) -> frozenset[str]:
    """The elements at the root of a type; a choice by each name that it may have, and without its type."""
    found = set()
    for element in definitions.structure(type)["snapshot"]["element"]:
        name = element["path"].removeprefix(f"{type}.")
        found.add(name.removesuffix("[x]"))
        if name.endswith("[x]"):
            kinds = (kind["code"] for kind in element["type"])
            found |= {name[:-3] + kind[0].upper() + kind[1:] for kind in kinds}
    return frozenset(found)


def _has_element(type: str, path: str) -> bool:
    return path.removeprefix(f"{type}.").partition(".")[0] in {"resourceType", *_elements(type)}


def demands(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The pairs that say what to search for, without those that only concern the form of the answer."""
    return tuple(pair for pair in pairs if pair[0].partition(":")[0] not in _OF_THE_ANSWER)


def _check_text(text: str) -> None:
    """PostgreSQL can hold neither U+0000 nor half a surrogate pair."""
    if "\0" in text or (not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)):
        raise BadRequest(
            "The search holds U+0000 or a lone surrogate, which no resource can hold; remove it."
        )
