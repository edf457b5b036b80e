"""Turns one search parameter and its value, such as `birthdate=ge1970-01-01`, into a condition.

https://hl7.org/fhir/R4/search.html: prefixes, modifiers, chaining, `_has`, comma OR and escaping. What we
lack raises `UnknownParameter`; a value that cannot be read raises `BadRequest`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fhir_coprod import definitions
from fhir_coprod.definitions.search import SearchParameter
from fhir_coprod.errors import BadRequest, UnknownParameter
from fhir_coprod.instants import to_microseconds
from fhir_coprod.store import index
from fhir_coprod.store.search import near, ranges
from fhir_coprod.store.search.conditions import (
    Any_,
    Chained,
    Condition,
    Has,
    Indexed,
    Marked,
    Not,
    Own,
    Present,
    Sql,
    joined,
)
from fhir_coprod.store.search.ranges import Test
from fhir_coprod.store.values import Range, cut, digits, fold, time_meant

MAX_DEPTH = 8
"""How many links a chain may have; each is a join."""
MAX_ALTERNATIVES = 500
"""How many values one parameter may have, separated by commas."""
MAX_TESTS = 4_000
"""How many values a whole search may have, each counted for every type it is looked for in."""
MAX_LINKS = 2_000
"""How many ways the chains of a search may take; each type that a reference may lead to is a way."""


@dataclass(slots=True)
class _Effort:
    """How much one search has asked for so far."""

    links: int = 0
    tests: int = 0


_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_SINCE = ("eq", "gt", "ge", "sa", "ap")
"""Prefixes that say from which time on."""
_MODIFIERS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"exact", "contains"}),
    "token": frozenset({"not", "text", "of-type"}),
    "reference": frozenset({"identifier"}),
    "uri": frozenset(),
    "date": frozenset(),
    "number": frozenset(),
    "quantity": frozenset(),
    "special": frozenset(),
}
_UNSUPPORTED = {
    "in": "value set membership is not searched here",
    "not-in": "value set membership is not searched here",
    "above": "hierarchies are not searched here",
    "below": "hierarchies are not searched here",
}


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Where a criterion applies.

    types: the types searched
    depth: how deep in a chain
    now:   the time that `ap` compares with
    base:  our own address with a slash at its end, or ""; references that begin with it are relative
    effort: shared by the whole search
    """

    types: tuple[str, ...]
    depth: int = 0
    now: datetime | None = None
    base: str = ""
    effort: _Effort = field(default_factory=_Effort)

    def inside(self, types: tuple[str, ...]) -> Standpoint:
        if self.depth >= MAX_DEPTH:
            raise BadRequest(f"The search is chained more than {MAX_DEPTH} links deep; ask in two steps.")
        self.effort.links += 1
        if self.effort.links > MAX_LINKS:
            raise BadRequest(
                "The chains of this search may lead to too many types; name them, as in subject:Patient.name."
            )
        return replace(self, types=types, depth=self.depth + 1)

    def look_for(self, values: int) -> None:
        """Raise BadRequest if so many more values, in each of the types, are too many."""
        self.effort.tests += values * len(self.types)
        if self.effort.tests > MAX_TESTS:
            raise BadRequest(
                "The search holds too many values for the types they are looked for in; name types (by _type,"
                " or as in subject:Patient.name), or ask in parts."
            )


def split_escaped(value: str, separator: str) -> list[str]:
    """Split at each separator that has no backslash before it; the backslashes stay."""
    return re.findall(rf"(?:\\.|[^\\{re.escape(separator)}]|\\$)+", value, re.DOTALL) if value else []


def unescape(value: str) -> str:
    r"""`\,` `\|` `\$` `\\` stand for the character itself."""
    return re.sub(r"\\([,|$\\])", r"\1", value) if "\\" in value else value


def condition(scope: Standpoint, name: str, value: str) -> Condition:
    """The condition that `name=value` puts on resources of the scope's types."""
    if name.startswith("_has:"):
        return _has(scope, name, value)
    head, _, rest = _split_chain(name)
    code, _, modifier = head.partition(":")
    if rest:
        return _chain(scope, code, modifier, rest, value)
    scope.look_for(value.count(",") + 1)
    if code == "quality":
        return _quality(scope, modifier, value)
    if code in ("_id", "_lastUpdated"):
        return _own_column(scope, code, modifier, value)
    found = [_one_type(scope, type, parameter(type, code), modifier, value) for type in scope.types]
    if len(found) == 1:
        return found[0]
    denied = [each.condition for each in found if isinstance(each, Not)]
    # Each looks at one type only, so a negation must hold in all of them.
    return Not(Any_(tuple(denied))) if len(denied) == len(found) else Any_(tuple(found))


def parameter(type: str, code: str) -> SearchParameter:
    """The definition of a parameter that is in the index. Otherwise UnknownParameter with the reason."""
    known = definitions.search_parameters(type)
    found = known.get(code)
    if found is None:
        near = ", ".join(sorted(name for name in known if not name.startswith("_")))
        raise UnknownParameter(f"{type} has no search parameter {code!r}; it has: {near}.")
    if found.type == "composite":
        raise UnknownParameter(
            f"{code}: composite parameters are not supported; search its parts one by one."
        )
    if not index.is_indexed(type, code) and code not in _BESIDE_INDEX:
        raise UnknownParameter(f"{code}: this parameter is not supported here; search by another one.")
    return found


_BESIDE_INDEX = ("_id", "_lastUpdated", "quality")
"""Parameters that every resource answers, from other tables than those of the index."""


def _split_chain(name: str) -> tuple[str, str, str]:
    return name.partition(".")


def _alternatives(name: str, value: str) -> list[str]:
    """The values between commas, still escaped."""
    parts = split_escaped(value, ",")
    if len(parts) > MAX_ALTERNATIVES:
        raise BadRequest(f"{name}: more than {MAX_ALTERNATIVES} values; ask in several searches.")
    if not parts:
        raise BadRequest(f"{name}: the value is empty; give one or leave the parameter out.")
    return parts


def _one_type(scope: Standpoint, type: str, found: SearchParameter, modifier: str, value: str) -> Condition:
    code = found.code
    number = index.number(type, code)
    if modifier == "missing":
        if value not in ("true", "false"):
            raise BadRequest(f"{code}:missing takes true or false.")
        present = Present(index.TABLES[found.type], number)
        return Not(present) if value == "true" else present
    _check_modifier(found, modifier)
    parts = _alternatives(code, value)
    if found.type == "token":
        return _token(type, code, modifier, parts)
    if found.type == "reference":
        return _reference(scope, type, found, modifier, parts)
    if found.type == "string":
        return Indexed("string", number, tuple(_string_test(unescape(part), modifier) for part in parts))
    if found.type == "uri":
        tests = tuple(Sql("value = ?", (cut(unescape(part)),)) for part in parts)
        return Indexed("uri", number, tests, equal=True)
    if found.type == "special":
        return near.indexed(number, [_pieces(part) for part in parts])
    limits = [limit for part in parts for limit in _LIMITS[found.type](scope, code, part)]
    return ranges.indexed(found.type, number, limits)


def _check_modifier(found: SearchParameter, modifier: str) -> None:
    if not modifier or modifier in _MODIFIERS[found.type]:
        return
    if found.type == "reference" and definitions.is_resource_type(modifier):
        if found.target and modifier not in found.target:
            raise BadRequest(
                f"{found.code}:{modifier}: {found.code} points to {', '.join(found.target)} only."
            )
        return
    reason = _UNSUPPORTED.get(modifier, f"a {found.type} parameter has no such modifier")
    raise UnknownParameter(f"{found.code}:{modifier} is not supported: {reason}.")


# -------------------------------------------------------------------------------------------- simple types


def _token(type: str, code: str, modifier: str, parts: list[str]) -> Condition:
    if modifier == "text":
        tests = tuple(_string_test(unescape(part), "") for part in parts)
        return Indexed("string", index.number(type, f"{code}:text"), tests)
    if modifier == "of-type":
        tests = tuple(_of_type(code, part) for part in parts)
        return Indexed("token", index.number(type, f"{code}:of-type"), tests, equal=True)
    tests = tuple(_token_test(part) for part in parts)
    indexed = Indexed("token", index.number(type, code), tests, equal=all("code =" in t.text for t in tests))
    return Not(indexed) if modifier == "not" else indexed


def _token_test(part: str) -> Sql:
    """`code`, `system|code`, `|code` (no system) or `system|` (any code of it)."""
    pieces = _pieces(part)
    if len(pieces) == 1:
        return Sql("code = ?", (cut(pieces[0]),))
    system, code = pieces[0], pieces[1]
    if not code:
        return Sql("system = ?", (cut(system),))
    return Sql("code = ? AND system = ?", (cut(code), cut(system)))


def _of_type(name: str, part: str) -> Sql:
    pieces = _pieces(part)
    if len(pieces) != 3 or not all(pieces):
        raise BadRequest(
            f"{name}:of-type takes system|code|value, the type's system and code and the identifier."
        )
    return Sql("code = ?", (cut("|".join(pieces)),))


def _pieces(part: str) -> list[str]:
    """Split at unescaped `|`, keeping empty pieces."""
    pieces: list[list[str]] = [[]]
    for run in re.findall(r"\||(?:\\.|[^\\|]|\\$)+", part, re.DOTALL):
        if run == "|":
            pieces.append([])
        else:
            pieces[-1].append(run)
    return [unescape("".join(piece)) for piece in pieces]


def _string_test(text: str, modifier: str) -> Sql:
    folded = fold(text)
    if modifier == "exact":
        return Sql("value = ? AND exact = ?", (folded, cut(text)))
    if modifier == "contains":
        pattern = re.sub(r"([\\%_])", r"\\\1", folded)
        return Sql("value LIKE ? ESCAPE '\\'", (f"%{pattern}%",))
    return Sql("value >= ? AND value < ?", (folded, folded + "\U0010ffff"))


def _reference(
    scope: Standpoint, type: str, found: SearchParameter, modifier: str, parts: list[str]
) -> Condition:
    if modifier == "identifier":
        tests = tuple(_token_test(part) for part in parts)
        return Indexed("token", index.number(type, f"{found.code}:identifier"), tests)
    targets = (modifier,) if modifier else found.target
    texts = [unescape(part) for part in parts]
    own = [text.removeprefix(scope.base) if scope.base else text for text in texts]
    tests = tuple(_reference_test(targets, text) for text in own)
    return Indexed("reference", index.number(type, found.code), tests, equal=True)


def _reference_test(targets: tuple[str, ...], text: str) -> Sql:
    """`Type/id`, a bare id, or an absolute URL."""
    type, id = index.split_reference(text)
    if type:
        return Sql("target_id = ? AND target_type = ?", (cut(id), type))
    if "/" in text or ":" in text:
        return Sql("target_id = ? AND target_type = ''", (cut(text),))
    if len(targets) == 1:
        return Sql("target_id = ? AND target_type = ?", (text, targets[0]))
    return Sql("target_id = ?", (cut(text),))


# ----------------------------------------------------------------------------------------- ordered types


def _prefixed(part: str) -> tuple[str, str]:
    if part[:2] in _PREFIXES:
        return part[:2], part[2:]
    return "eq", part


def date_range(code: str, text: str) -> Range:
    """The range of a searched date. BadRequest when it is not a date."""
    # A plus sign in a query string arrives as a space; it can only have been one before a time zone.
    found = time_meant(re.sub(r" (?=\d\d:\d\d$)", "+", text))
    if found is None:
        raise BadRequest(
            f"{code}: not a date; write 2024, 2024-05, 2024-05-31 or 2024-05-31T14:00:00Z,"
            " after a prefix if any."
        )
    return found


def _date_tests(scope: Standpoint, code: str, part: str) -> list[Test]:
    prefix, text = _prefixed(part)
    sought = date_range(code, text)
    low, high = _approximate(scope, sought) if prefix == "ap" else sought
    return ranges.of_dates(prefix, low, high)


def _approximate(scope: Standpoint, sought: Range) -> Range:
    """The range, widened by a tenth of the time between it and now."""
    now = to_microseconds(scope.now or datetime.now(UTC))
    slack = max(abs(now - sought.low), abs(now - sought.high)) // 10
    return Range(sought.low - slack, sought.high + slack)


def _number_tests(scope: Standpoint, code: str, part: str) -> list[Test]:
    return [_number_test("number", code, part)]


def _number_test(table: str, code: str, part: str) -> Test:
    prefix, text = _prefixed(part)
    value, half = digits(text, code)
    around = abs(value) / 10 if prefix == "ap" else half
    return ranges.of_numbers(table, prefix, float(value), float(value - around), float(value + around))


def _quantity_tests(scope: Standpoint, code: str, part: str) -> list[Test]:
    """`number`, `number|system|code` or `number||code`, where the code may be the unit."""
    pieces = _pieces(part)
    test = _number_test("quantity", code, pieces[0])
    if len(pieces) == 1:
        return [test]
    if len(pieces) != 3:
        raise BadRequest(f"{code}: write number, number|system|code or number||code.")
    _, system, unit = (cut(piece) for piece in pieces)
    if system:
        test = ranges.both(test, Test(*_same("system = ?", system)))
    if unit and system:
        test = ranges.both(test, Test(*_same("code = ?", unit)))
    elif unit:
        test = ranges.both(test, Test(*_same("(code = ? OR unit = ?)", unit, unit)))
    return [test]


def _same(text: str, *values: str) -> tuple[Sql, tuple[Sql]]:
    said = Sql(text, values)
    return said, (said,)


_LIMITS: Mapping[str, Callable[[Standpoint, str, str], list[Test]]] = {
    "date": _date_tests,
    "number": _number_tests,
    "quantity": _quantity_tests,
}


# ------------------------------------------------------------------------------- the resource's own columns


def _own_column(scope: Standpoint, code: str, modifier: str, value: str) -> Condition:
    """Every resource has an id and a lastUpdated."""
    if modifier == "missing":
        if value not in ("true", "false"):
            raise BadRequest(f"{code}:missing takes true or false.")
        return Own(scope.types, Sql("1 = 0" if value == "true" else "1 = 1"))
    if modifier and (code, modifier) != ("_id", "not"):
        raise UnknownParameter(f"{code}:{modifier} is not supported; search {code} without it.")
    if code == "_lastUpdated":
        return _last_updated(scope, value)
    return Not(_id(scope, value)) if modifier else _id(scope, value)


def _quality(scope: Standpoint, modifier: str, value: str) -> Condition:
    """`not-valid`: kept although it breaks a rule; `valid`: any other."""
    if modifier not in ("", "not"):
        raise UnknownParameter(f"quality:{modifier} is not supported; search quality=valid or not-valid.")
    asked = set(_alternatives("quality", value))
    if not asked <= {"valid", "not-valid"}:
        raise BadRequest("quality takes valid or not-valid.")
    if len(asked) == 2:
        return Own(scope.types, Sql("1 = 0" if modifier else "1 = 1"))
    marked = Marked(scope.types)
    return marked if (asked == {"not-valid"}) != (modifier == "not") else Not(marked)


def _id(scope: Standpoint, value: str) -> Condition:
    ids = _alternatives("_id", value)
    return Own(scope.types, Sql(f"{{row}}.id IN ({','.join('?' * len(ids))})", tuple(ids)))


def _last_updated(scope: Standpoint, value: str) -> Condition:
    """As for dates; a lastUpdated covers its millisecond, and the column counts milliseconds."""
    tests = []
    since = True
    for part in _alternatives("_lastUpdated", value):
        prefix, text = _prefixed(part)
        since &= prefix in _SINCE
        sought = date_range("_lastUpdated", text)
        low, high = _approximate(scope, sought) if prefix == "ap" else sought
        first, last = -(-low // 1000), high // 1000 - 1
        tests.append(
            {
                "eq": Sql("{row}.updated BETWEEN ? AND ?", (first, last)),
                "ne": Sql("{row}.updated NOT BETWEEN ? AND ?", (first, last)),
                "gt": Sql("{row}.updated > ?", (last,)),
                "ge": Sql("{row}.updated > ?", (min(last, first - 1),)),
                "sa": Sql("{row}.updated >= ?", (-(-high // 1000),)),
                "lt": Sql("{row}.updated < ?", (first,)),
                "le": Sql("{row}.updated < ?", (max(last + 1, first),)),
                "eb": Sql("{row}.updated < ?", (low // 1000,)),
                "ap": Sql("{row}.updated BETWEEN ? AND ?", (low // 1000, high // 1000)),
            }[prefix]
        )
    return Own(scope.types, joined(" OR ", tests), since)


# ------------------------------------------------------------------------------------------ across resources


def _chain(scope: Standpoint, code: str, modifier: str, rest: str, value: str) -> Condition:
    """`subject.name=x`: on any type that the reference may lead to and that has such a parameter."""
    found: list[Condition] = []
    for type in scope.types:
        known = parameter(type, code)
        if known.type != "reference":
            raise UnknownParameter(f"{code}.{rest}: {code} is no reference, so nothing can be chained to it.")
        if modifier:
            _check_modifier(known, modifier)
        if modifier in ("identifier", "missing"):
            raise UnknownParameter(f"{code}:{modifier} cannot be followed by a chain.")
        targets = (modifier,) if modifier else known.target or definitions.resource_types()
        refusal: UnknownParameter | None = None
        for target in targets:
            try:
                inner = condition(scope.inside((target,)), rest, value)
            except UnknownParameter as error:
                refusal = error
                continue
            found.append(Chained(index.number(type, code), target, inner, scope.depth))
        if not found and refusal is not None:
            raise refusal
    return found[0] if len(found) == 1 else Any_(tuple(found))


def _has(scope: Standpoint, name: str, value: str) -> Condition:
    """`_has:Type:reference:parameter=value`; the parameter may again be a `_has` or a chain."""
    parts = name.split(":", 3)
    if len(parts) != 4 or not all(parts):
        raise BadRequest("_has is written _has:Type:reference:parameter, such as _has:Task:focus:status.")
    _, type, code, rest = parts
    if not definitions.is_resource_type(type):
        raise UnknownParameter(f"{name}: R4 has no resource type {type}.")
    known = parameter(type, code)
    if known.type != "reference":
        raise UnknownParameter(f"{name}: {code} of {type} is no reference.")
    inner = condition(scope.inside((type,)), rest, value)
    return Has(index.number(type, code), scope.types, inner, scope.depth)
