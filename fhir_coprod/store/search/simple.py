"""The condition that one value, or several after commas, puts on one parameter of one type.

https://hl7.org/fhir/R4/search.html: prefixes, modifiers, comma OR and escaping. What we lack raises
`Unsupported`; a value that cannot be read raises `BadRequest`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fhir_coprod import definitions
from fhir_coprod.definitions.search import SearchParameter, branches
from fhir_coprod.errors import BadRequest, Unsupported
from fhir_coprod.store import entries, index
from fhir_coprod.store.elements import kinds
from fhir_coprod.store.search import coded, dates, near, ranges
from fhir_coprod.store.search.conditions import Condition, Indexed, Not, Present, Sql
from fhir_coprod.store.search.dates import prefixed
from fhir_coprod.store.search.ranges import Test
from fhir_coprod.store.search.standpoint import Standpoint, alternatives, pieces, unescape
from fhir_coprod.store.values import cut, digits, fold

_MODIFIERS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"exact", "contains"}),
    "token": frozenset({"not", "text", "of-type", "in", "not-in", "above", "below"}),
    "reference": frozenset({"identifier"}),
    "uri": frozenset({"above", "below"}),
    "date": frozenset(),
    "number": frozenset(),
    "quantity": frozenset(),
    "special": frozenset(),
}


def one_type(scope: Standpoint, type: str, found: SearchParameter, modifier: str, value: str) -> Condition:
    """The condition on resources of one type."""
    code = found.code
    number = scope.number(type, code)
    if modifier == "missing":
        if value not in ("true", "false"):
            raise BadRequest(f"{code}:missing takes true or false.")
        present = Present(entries.TABLES[found.type], number)
        return Not(present) if value == "true" else present
    check_modifier(found, modifier)
    parts = alternatives(code, value)
    if found.type == "token":
        return _token(scope, type, found, modifier, parts)
    if found.type == "reference":
        return _reference(scope, type, found, modifier, parts)
    if found.type == "string":
        return Indexed("string", number, tuple(_string_test(unescape(part), modifier) for part in parts))
    if found.type == "uri":
        return _uri(number, modifier, parts)
    if found.type == "special":
        return near.indexed(number, [pieces(part) for part in parts])
    if found.type == "date":
        days = kinds(type, found.expression) == {"date"}
        limits = [test for part in parts for test in dates.tests(scope, code, part, days_only=days)]
    else:
        limits = [_NUMBERS[found.type](code, part) for part in parts]
    return ranges.indexed(found.type, number, limits)


def check_modifier(found: SearchParameter, modifier: str) -> None:
    """Raise Unsupported, or BadRequest for a type that a reference cannot lead to."""
    if not modifier or modifier in _MODIFIERS[found.type]:
        return
    if found.type == "reference" and definitions.is_resource_type(modifier):
        if found.target and modifier not in found.target:
            raise BadRequest(
                f"{found.code}:{modifier}: {found.code} points to {', '.join(found.target)} only."
            )
        return
    raise Unsupported(
        f"{found.code}:{modifier} is not supported: a {found.type} parameter has no such modifier here."
    )


# ------------------------------------------------------------------------------------------------- token


def _token(
    scope: Standpoint, type: str, found: SearchParameter, modifier: str, parts: list[str]
) -> Condition:
    code, name = found.code, f"{found.code}:{modifier}"
    if modifier == "text":
        tests = tuple(_string_test(unescape(part), "") for part in parts)
        return Indexed("string", scope.number(type, name), tests)
    if modifier == "of-type":
        tests = tuple(_of_type(code, part) for part in parts)
        return Indexed("token", scope.number(type, name), tests, equal=True)
    number = scope.number(type, code)
    if modifier in ("in", "not-in"):
        tests = tuple(test for part in parts for test in coded.in_value_set(scope, name, part))
        held = Indexed("token", number, tests)
        return Not(held) if modifier == "not-in" else held
    if modifier in ("above", "below"):
        below = modifier == "below"
        tests = tuple(test for part in parts for test in coded.in_hierarchy(scope, name, part, below=below))
        return Indexed("token", number, tests)
    if kinds(type, found.expression) == {"boolean"}:
        _check_booleans(code, parts)
    caseless = index.is_caseless(type, found)
    tests = tuple(token_test(part, caseless=caseless) for part in parts)
    indexed = Indexed("token", number, tests, equal=all("code =" in t.text for t in tests))
    return Not(indexed) if modifier == "not" else indexed


def _check_booleans(code: str, parts: list[str]) -> None:
    if not all(pieces(part)[-1] in ("true", "false") for part in parts):
        raise BadRequest(f"{code} takes true or false.")


def token_test(part: str, *, caseless: bool = False) -> Sql:
    """`code`, `system|code`, `|code` (no system) or `system|` (any code of it)."""
    *systems, code = pieces(part)[:2]
    if caseless:
        code = code.lower()
    if not systems:
        return Sql("code = ?", (cut(code),))
    if not code:
        return Sql("system = ?", (cut(systems[0]),))
    return Sql("code = ? AND system = ?", (cut(code), cut(systems[0])))


def _of_type(name: str, part: str) -> Sql:
    found = pieces(part)
    if len(found) != 3 or not all(found):
        raise BadRequest(
            f"{name}:of-type takes system|code|value, the type's system and code and the identifier."
        )
    return Sql("code = ?", (cut("|".join(found)),))


# ----------------------------------------------------------------------------------------- string and uri


def _string_test(text: str, modifier: str) -> Sql:
    folded = fold(text)
    if modifier == "exact":
        return Sql("value = ? AND exact = ?", (folded, cut(text)))
    if modifier == "contains":
        pattern = re.sub(r"([\\%_])", r"\\\1", folded)
        return Sql("value LIKE ? ESCAPE '\\'", (f"%{pattern}%",))
    return Sql("value >= ? AND value < ?", (folded, folded + "\U0010ffff"))


def _uri(number: int, modifier: str, parts: list[str]) -> Condition:
    """`:below` finds what begins with the value, `:above` what the value begins with, step by step."""
    texts = [unescape(part) for part in parts]
    if modifier == "below":
        tests = tuple(Sql("value >= ? AND value < ?", (text, text + "\U0010ffff")) for text in texts)
        return Indexed("uri", number, tests)
    if modifier == "above":
        texts = [step for text in texts for step in _steps(text)]
    return Indexed("uri", number, tuple(Sql("value = ?", (cut(text),)) for text in texts), equal=True)


def _steps(url: str) -> list[str]:
    """The url, and what is left of it without its last parts, with the slash at the end and without."""
    ends = [found.end() for found in re.finditer("/", url)]
    steps = [url, *(url[:end] for end in ends), *(url[: end - 1] for end in ends)]
    return list(dict.fromkeys(step for step in steps if step and not step.endswith((":", ":/", "://"))))


# ----------------------------------------------------------------------------------------------- reference


def _reference(
    scope: Standpoint, type: str, found: SearchParameter, modifier: str, parts: list[str]
) -> Condition:
    if modifier == "identifier":
        tests = tuple(token_test(part) for part in parts)
        return Indexed("token", scope.number(type, f"{found.code}:identifier"), tests)
    possible = (modifier,) if modifier else targets(found)
    texts = [unescape(part) for part in parts]
    own = [text.removeprefix(scope.base) if scope.base else text for text in texts]
    tests = tuple(_reference_test(scope, possible, text) for text in own)
    return Indexed("reference", scope.number(type, found.code), tests, equal=True)


_RESOLVED = re.compile(r"resolve\(\) is (\w+)")


def targets(found: SearchParameter) -> tuple[str, ...]:
    """The types that a reference parameter may lead to: `patient` leads to patients only."""
    named = _RESOLVED.findall(found.expression)
    if named and len(named) == len(branches(found.expression)):
        return tuple(dict.fromkeys(named))
    return found.target or definitions.resource_types()


def _reference_test(scope: Standpoint, targets: tuple[str, ...], text: str) -> Sql:
    """`Type/id`, a bare id, an absolute URL or a canonical."""
    type, id = entries.split_reference(text)
    if type:
        return Sql("target_id = ? AND target_type = ?", (cut(id), type))
    if "/" in text or ":" in text:
        return Sql("target_id = ? AND target_type IN ('', ?)", (cut(text), entries.CANONICAL))
    if len(targets) == 1:
        return Sql("target_id = ? AND target_type = ?", (cut(text), targets[0]))
    scope.effort.bare.setdefault(targets, set()).add(text)
    return Sql("target_id = ?", (cut(text),))


# ---------------------------------------------------------------------------------------------- quantities


def _number(code: str, part: str) -> Test:
    return _number_test("number", code, part)


def _number_test(table: str, code: str, part: str) -> Test:
    prefix, text = prefixed(part)
    value, half = digits(text, code)
    around = abs(value) / 10 if prefix == "ap" else half
    return ranges.of_numbers(table, prefix, float(value), float(value - around), float(value + around))


def _quantity(code: str, part: str) -> Test:
    """`number`, `number|system|code` or `number||code`, where the code may be the unit."""
    found = pieces(part)
    test = _number_test("quantity", code, found[0])
    if len(found) == 1:
        return test
    if len(found) != 3:
        raise BadRequest(f"{code}: write number, number|system|code or number||code.")
    _, system, unit = (cut(piece) for piece in found)
    if system:
        test = ranges.both(test, Test(*_same("system = ?", system)))
    if unit and system:
        test = ranges.both(test, Test(*_same("code = ?", unit)))
    elif unit:
        test = ranges.both(test, Test(*_same("(code = ? OR unit = ?)", unit, unit)))
    return test


def _same(text: str, *values: str) -> tuple[Sql, tuple[Sql]]:
    said = Sql(text, values)
    return said, (said,)


_NUMBERS: Mapping[str, Callable[[str, str], Test]] = {"number": _number, "quantity": _quantity}
