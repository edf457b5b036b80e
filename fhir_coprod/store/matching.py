"""Finds the one resource that criteria mean: in conditional requests, and in references by criteria."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fhir_coprod import definitions
from fhir_coprod.errors import BadRequest, CoprodError, PreconditionFailed, TooLarge
from fhir_coprod.store.links import Addresses, Pairs, named
from fhir_coprod.store.search.query import Query, demands
from fhir_coprod.store.search.sight import Sight
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.store.versions import Version

NO_CRITERIA = "A conditional request needs criteria, such as ?identifier=system|value."
_QUERY_BYTES = 500_000
"""Most bytes of the criteria of a search, in the URL or as a form."""


def pairs(query_string: bytes | str) -> Pairs:
    """Decoded parameters. Raises TooLarge, or BadRequest if they are not UTF-8 or there are too many."""
    if not query_string:
        return ()
    if len(query_string) > _QUERY_BYTES:
        raise TooLarge(f"The query is longer than {_QUERY_BYTES:,} bytes; ask in several searches.")
    try:
        text = query_string.decode("ascii") if isinstance(query_string, bytes) else query_string
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=500))
    except UnicodeError:
        raise BadRequest("The query is not percent-encoded UTF-8; encode it again.") from None
    except ValueError:
        raise BadRequest("The query holds more than 500 parameters; send fewer.") from None


def matching(
    transaction: Transaction, type: str, criteria: Pairs, base: str, sight: Sight | None = None
) -> Version | None:
    """The one resource in sight that criteria find; raises PreconditionFailed for several matches or no
    criteria."""
    query = Query.parse(type, (*demands(criteria), ("_count", "2")), strict=True, base=base, sight=sight)
    if not query.conditions:
        raise PreconditionFailed(NO_CRITERIA)
    page = transaction.search(query)
    matches = page.matches
    if len(matches) > 1 or page.next:
        raise PreconditionFailed(
            f"The criteria find more than one {type}; make them name one, an identifier say."
        )
    return matches[0] if matches else None


class Finder:
    """Finds what references by criteria mean, each once as long as nothing of its type is written.

    addresses: what the fullUrls mean that criteria may name
    sight: what the caller may see
    """

    def __init__(self, transaction: Transaction, addresses: Addresses, sight: Sight | None = None) -> None:
        self._transaction = transaction
        self._sight = sight
        self.addresses = addresses
        self._found: dict[str, dict[str, str | CoprodError]] = {}

    def find(self, type: str, criteria: str) -> str:
        """The reference to the one resource. Raises BadRequest, or PreconditionFailed for none or several."""
        known = self._found.setdefault(type, {})
        if criteria not in known:
            try:
                known[criteria] = self._look(type, criteria)
            except CoprodError as error:
                known[criteria] = error
        found = known[criteria]
        if isinstance(found, CoprodError):
            raise found
        return found

    def forget(self, type: str) -> None:
        """A resource of this type has been written: criteria on it may find something else now."""
        if type == "Bundle":  # it may have brought resources of any type
            self._found.clear()
        else:
            self._found.pop(type, None)

    def _look(self, type: str, criteria: str) -> str:
        if not definitions.is_resource_type(type):
            raise BadRequest(f"A conditional reference names {type[:64]!r}, which is no resource type of R4.")
        wanted = named(type, pairs(criteria), self.addresses)
        target = matching(self._transaction, type, wanted, self.addresses.base, self._sight)
        if target is None:
            raise PreconditionFailed(f"A conditional reference finds no {type}; send it along or correct it.")
        return f"{type}/{target.id}"
