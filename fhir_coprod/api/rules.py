"""What a client may change through the endpoint, beyond validity: rules on the state before and after."""

from __future__ import annotations

from functools import cache

from fhir_coprod import definitions
from fhir_coprod.errors import NotAllowed
from fhir_coprod.jsontext import Document
from fhir_coprod.store import Version


@cache
def package_ids() -> frozenset[tuple[str, str]]:
    """Type and id of the conformance resources that belong to this program."""
    return frozenset((resource["resourceType"], resource["id"]) for resource in definitions.own_resources())


def check(type: str, id: str, after: Document | None, before: Version | None) -> None:
    """Raise NotAllowed where a client may not make this change.

    after: None for a deletion; before: None where nothing is there
    """
    if (type, id) in package_ids():
        raise NotAllowed(
            f"{type}/{id} belongs to this program and is read-only; store your own under another id."
        )
