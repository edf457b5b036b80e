"""What a client may change through the endpoint, beyond validity.

`fhir_coprod.api.writing.apply` asks here inside the write transaction, where the state before is known: the
place for rules that compare it with the state after, such as who may move a Task on.
"""

from __future__ import annotations

from functools import cache

from fhir_coprod import definitions
from fhir_coprod.errors import NotAllowed


@cache
def package_ids() -> frozenset[tuple[str, str]]:
    """Type and id of the conformance resources that belong to this program."""
    return frozenset((resource["resourceType"], resource["id"]) for resource in definitions.own_resources())


def protect(type: str, id: str) -> None:
    """Raise NotAllowed for what clients may read but not change."""
    if (type, id) in package_ids():
        raise NotAllowed(
            f"{type}/{id} belongs to this program and is read-only; store your own under another id."
        )
