"""Rules for the fullUrl of Bundle entries that R4 has in words: https://hl7.org/fhir/R4/bundle.html#bundle-unique"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fhir_coprod import definitions
from fhir_coprod.validation.model.scope import Scope

_WITHOUT_FULL_URL = frozenset({"transaction", "transaction-response", "batch", "batch-response"})
_restful = re.compile(r"https?://.+/([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})").fullmatch


def has_full_urls(bundle: object, scope: Scope) -> bool:
    """Whether each entry with a resource has a fullUrl, if this kind of Bundle needs one."""
    kind = bundle.get("type") if isinstance(bundle, dict) else None
    if isinstance(kind, str) and kind in _WITHOUT_FULL_URL:
        return True
    return all("fullUrl" in entry for entry in _entries(bundle) if "resource" in entry)


def full_urls_agree(bundle: object, scope: Scope) -> bool:
    """Whether no fullUrl contradicts the type or id of its resource."""
    for entry in _entries(bundle):
        url, resource = entry.get("fullUrl"), entry.get("resource")
        if not isinstance(url, str) or not isinstance(resource, dict) or "id" not in resource:
            continue
        named = _restful(url)
        if named is None or not definitions.is_resource_type(named[1]):
            continue
        if named.groups() != (resource.get("resourceType"), resource["id"]):
            return False
    return True


def _entries(bundle: object) -> Iterator[dict[str, object]]:
    entries = bundle.get("entry") if isinstance(bundle, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield entry
