"""Turns one search parameter and its value, such as `birthdate=ge1970-01-01`, into a condition.

https://hl7.org/fhir/R4/search.html. What R4 has and we lack raises `Unsupported`, what R4 lacks too
`UnknownParameter`; a value that cannot be read raises `BadRequest`. Single values are read in `simple.py`;
here is what leads through several: chains, `_has` and composites.
"""

from __future__ import annotations

from dataclasses import replace

from fhir_coprod import definitions
from fhir_coprod.definitions.search import SearchParameter
from fhir_coprod.errors import BadRequest, UnknownParameter, Unsupported
from fhir_coprod.store import elements, index
from fhir_coprod.store.search import dates
from fhir_coprod.store.search.conditions import (
    Both,
    Chained,
    ChainedByUrl,
    Condition,
    Has,
    HasByUrl,
    Marked,
    Not,
    Own,
    Sql,
    any_of,
    joined,
)
from fhir_coprod.store.search.contained import inside
from fhir_coprod.store.search.sight import seen
from fhir_coprod.store.search.simple import check_modifier, one_type, targets
from fhir_coprod.store.search.standpoint import Standpoint, alternatives, pieces, split_escaped
from fhir_coprod.store.values import cut

_SINCE = ("eq", "gt", "ge", "sa", "ap")
"""Prefixes that say from which time on."""


def condition(scope: Standpoint, name: str, value: str) -> Condition:
    """The condition that `name=value` puts on resources of the scope's types."""
    if name.startswith("_has:"):
        return _has(scope, name, value)
    head, _, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    if rest:
        return _chain(scope, code, modifier, rest, value)
    scope.look_for(value.count(",") + 1)
    if code == "quality":
        return _quality(scope, modifier, value)
    if code in ("_id", "_lastUpdated"):
        return _own_column(scope, code, modifier, value)
    found = [_of_type(scope, type, parameter(type, code), modifier, value) for type in scope.types]
    if len(found) == 1:
        return found[0]
    denied = [each.condition for each in found if isinstance(each, Not)]
    # Each looks at one type only, so a negation must hold in all of them.
    return Not(any_of(denied)) if len(denied) == len(found) else any_of(found)


def _of_type(scope: Standpoint, type: str, found: SearchParameter, modifier: str, value: str) -> Condition:
    if found.type == "composite":
        return _composite(scope, type, found, modifier, value)
    return one_type(scope, type, found, modifier, value)


def parameter(type: str, code: str) -> SearchParameter:
    """The definition of a parameter that is in the index. Otherwise UnknownParameter with the reason."""
    if code in _REFUSED:
        raise Unsupported(f"{code} is not supported: {_REFUSED[code]}.")
    known = definitions.search_parameters(type)
    found = known.get(code)
    if found is None:
        near = ", ".join(sorted(name for name in known if not name.startswith("_")))
        raise UnknownParameter(f"{type} has no search parameter {code!r}; it has: {near}.")
    if found.type == "composite" and _parts(type, found):
        return found
    if not index.is_indexed(type, code) and code not in _BESIDE_INDEX:
        raise Unsupported(f"{code}: this parameter is not supported here; search by another one.")
    return found


_REFUSED = {
    "_query": "no named query is defined here; search by parameters",
    "_filter": "write the conditions as parameters of their own",
    "_text": "narratives are not searched here",
    "_content": "whole resources are not searched as text here; search the elements",
    "_list": "read the List and search for its entries by _id",
    "_contained": "contained resources are found through the resource that holds them, by a chain",
    "_containedType": "contained resources are found through the resource that holds them, by a chain",
    "_has": "it is written _has:Type:reference:parameter, such as _has:Task:focus:status",
}
"""Parameters of R4 that would change what is found, and what to do instead."""


_BESIDE_INDEX = ("_id", "_lastUpdated", "quality")
"""Parameters that every resource answers, from other tables than those of the index."""


# ------------------------------------------------------------------------------- the resource's own columns


def _own_column(scope: Standpoint, code: str, modifier: str, value: str) -> Condition:
    """Every resource has an id and a lastUpdated."""
    if modifier == "missing":
        if value not in ("true", "false"):
            raise BadRequest(f"{code}:missing takes true or false.")
        return Own(scope.types, Sql("1 = 0" if value == "true" else "1 = 1"))
    if modifier and (code, modifier) != ("_id", "not"):
        raise Unsupported(f"{code}:{modifier} is not supported; search {code} without it.")
    if code == "_lastUpdated":
        return _last_updated(scope, value)
    return Not(_id(scope, value)) if modifier else _id(scope, value)


def _quality(scope: Standpoint, modifier: str, value: str) -> Condition:
    """`not-valid`: kept although it breaks a rule; `valid`: any other."""
    if modifier not in ("", "not"):
        raise Unsupported(f"quality:{modifier} is not supported; search quality=valid or not-valid.")
    asked = set(alternatives("quality", value))
    if not asked <= {"valid", "not-valid"}:
        raise BadRequest("quality takes valid or not-valid.")
    if len(asked) == 2:
        return Own(scope.types, Sql("1 = 0" if modifier else "1 = 1"))
    marked = Marked(scope.types)
    return marked if (asked == {"not-valid"}) != (modifier == "not") else Not(marked)


def _id(scope: Standpoint, value: str) -> Condition:
    ids = alternatives("_id", value)
    return Own(scope.types, Sql(f"{{row}}.id IN ({','.join('?' * len(ids))})", tuple(ids)))


def _last_updated(scope: Standpoint, value: str) -> Condition:
    """As for dates; a lastUpdated covers its millisecond, and the column counts milliseconds."""
    tests = []
    since = True
    for part in alternatives("_lastUpdated", value):
        prefix, text = dates.prefixed(part)
        since &= prefix in _SINCE
        _, (low, high) = dates.meant(scope, "_lastUpdated", prefix, text)
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


# ---------------------------------------------------------------------------------------------- composites


def _parts(type: str, found: SearchParameter) -> tuple[str, ...]:
    """The codes of its two parts, or of the two composites that it unites; empty if it is not supported."""
    known = definitions.search_parameters(type)
    parts = index.components(type, found)
    if len(parts) != 2:
        return ()
    if found.expression == type or found.code in index.composites(type):
        return parts
    united = (found.code.removeprefix("combo-"), f"component-{found.code.removeprefix('combo-')}")
    return united if found.code.startswith("combo-") and all(code in known for code in united) else ()


def _composite(scope: Standpoint, type: str, found: SearchParameter, modifier: str, value: str) -> Condition:
    """`code$value`: both in the same repetition of the element that the parameter is about."""
    code = found.code
    if modifier:
        raise Unsupported(f"{code}:{modifier} is not supported: a composite parameter has no modifiers.")
    first, second = _parts(type, found)
    if code.startswith("combo-"):
        known = definitions.search_parameters(type)
        return any_of(_composite(scope, type, known[part], "", value) for part in (first, second))
    found_in_each = []
    for part in alternatives(code, value):
        halves = split_escaped(part, "$")
        if len(halves) != 2:
            raise BadRequest(f"{code} takes two values with $ between them: that of {first} and of {second}.")
        found_in_each.append(_pair(scope, type, code, {first: halves[0], second: halves[1]}))
    return any_of(found_in_each)


def _pair(scope: Standpoint, type: str, code: str, halves: dict[str, str]) -> Condition:
    """Both parts at once; halves: code of the part → its value."""
    alone = replace(scope, types=(type,))
    own = index.composites(type).get(code)
    if own is None:
        one, other = (condition(alone, *half) for half in halves.items())
        return Both(other, one)
    said = pieces(halves[own.token])
    if not said[-1]:
        raise BadRequest(f"{code}: name a code, not only its system.")
    beside = index.paired(type, code, "|".join(map(cut, said)))
    # The number of that place is a digest of the code: without the code itself, another one might be meant.
    has_token = condition(alone, own.token, halves[own.token])
    return Both(condition(replace(alone, within=beside), own.other, halves[own.other]), has_token)


# ------------------------------------------------------------------------------------------ across resources


def _chain(scope: Standpoint, code: str, modifier: str, rest: str, value: str) -> Condition:
    """`subject.name=x`: on any type that the reference may lead to and that has such a parameter."""
    found: list[Condition] = []
    for type in scope.types:
        known = parameter(type, code)
        if known.type != "reference":
            raise UnknownParameter(f"{code}.{rest}: {code} is no reference, so nothing can be chained to it.")
        if modifier:
            check_modifier(known, modifier)
        if modifier in ("identifier", "missing"):
            raise Unsupported(f"{code}:{modifier} cannot be followed by a chain.")
        refusal: BadRequest | None = None
        for target in (modifier,) if modifier else targets(known):
            try:
                found += _links(scope, type, known, target, rest, value)
            except (UnknownParameter, Unsupported) as error:
                # A target that has the parameter but not its modifier says more than one that has neither.
                refusal = error if refusal is None or isinstance(error, Unsupported) else refusal
        if not found:
            raise refusal or UnknownParameter(f"{code}.{rest}: {code} leads to nothing that has it.")
    return any_of(found)


def _links(
    scope: Standpoint, type: str, known: SearchParameter, target: str, rest: str, value: str
) -> list[Condition]:
    """The ways from a reference to resources of one type: by id or by url, or to one that is contained."""
    number = scope.number(type, known.code)
    inner = condition(scope.behind((target,)), rest, value)
    led = seen(scope.sight, (target,), inner)
    found: list[Condition] = []
    kinds = _link_kinds(type, known)
    if "Reference" in kinds:
        found.append(Chained(number, target, led, scope.depth))
    if kinds - {"Reference"} and index.has_url(target):
        found.append(ChainedByUrl(number, target, led, scope.depth, index.number(target, "url")))
    # What is contained belongs to the resource that contains it, and is seen with it.
    within = inside(scope, inner, target, index.place(type, known.code, target))
    return found if within is None else [*found, within]


def _link_kinds(type: str, known: SearchParameter) -> frozenset[str]:
    """The types of the elements by which a reference parameter leads somewhere; none in a Bundle, which holds
    what it leads to."""
    if known.expression.startswith("Bundle.entry"):
        return frozenset()
    return elements.kinds(type, known.expression) or frozenset({"Reference", "canonical"})


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
    inner = seen(scope.sight, (type,), condition(scope.behind((type,)), rest, value))
    number = index.number(type, code)
    kinds = _link_kinds(type, known)
    urls = tuple(index.number(target, "url") for target in scope.types if index.has_url(target))
    found: list[Condition] = []
    if "Reference" in kinds:
        found.append(Has(number, scope.types, inner, scope.depth))
    if kinds - {"Reference"} and urls:
        found.append(HasByUrl(number, urls, inner, scope.depth))
    if not found:
        raise BadRequest(f"{name}: {code} of {type} leads to no {', '.join(scope.types[:3])}.")
    return any_of(found)
