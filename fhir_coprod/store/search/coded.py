"""Searches by value sets and hierarchies of codes: `:in`, `:not-in`, `:above` and `:below`.

https://hl7.org/fhir/R4/search.html#modifiers. Only definitions that this program holds completely can answer;
for any other one the search is refused, since an answer could not be told from a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable

from fhir_coprod import definitions
from fhir_coprod.errors import BadRequest, Unsupported
from fhir_coprod.store.search.conditions import Sql
from fhir_coprod.store.search.standpoint import Standpoint, pieces, unescape
from fhir_coprod.store.values import cut

MOST_CODES = 2_000
"""How many codes one value set or branch of a hierarchy may have here."""


def in_value_set(scope: Standpoint, name: str, part: str) -> tuple[Sql, ...]:
    """The tests for a code out of the value set with this canonical."""
    url = unescape(part)
    codes = definitions.value_set(url)
    if codes is None:
        raise Unsupported(
            f"{name} is not supported for {url[:200]}: this server does not hold all codes of that value set;"
            " search the codes themselves."
        )
    return _tests(scope, name, codes.items())


def in_hierarchy(scope: Standpoint, name: str, part: str, *, below: bool) -> tuple[Sql, ...]:
    """The tests for a code (`system|code`) and all codes below, or above, it."""
    found = pieces(part)
    if len(found) != 2 or not all(found):
        raise BadRequest(f"{name} takes system|code.")
    system, code = found
    codes = (definitions.codes_below if below else definitions.codes_above)(system, code)
    if codes is None:
        raise Unsupported(
            f"{name} is not supported for {system[:200]}: this server does not hold all of that code system,"
            " or it has no such code; search the codes themselves."
        )
    return _tests(scope, name, [(system, codes)])


def _tests(scope: Standpoint, name: str, held: Iterable[tuple[str, frozenset[str]]]) -> tuple[Sql, ...]:
    known = [(system, sorted(codes)) for system, codes in held if codes]
    number = sum(len(codes) for _, codes in known)
    if number > MOST_CODES:
        raise Unsupported(
            f"{name} is not supported for so many codes ({number:,}, at most {MOST_CODES:,}); search the"
            " codes themselves."
        )
    scope.look_for(number)
    tests = (
        Sql(f"code IN ({','.join('?' * len(codes))}) AND system = ?", (*map(cut, codes), cut(system)))
        for system, codes in known
    )
    return tuple(tests) or (Sql("1 = 0"),)
