"""Rewrites links between the resources of a transaction that are not references, such as URIs.

R4 (https://hl7.org/fhir/R4/http.html#transaction): besides references, a server replaces what names another
entry in elements of type uri, url, oid and uuid, and in `<a href>` and `<img src>` of a narrative. Elements
of type canonical are not changed. The definitions of R4 say which elements have these types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from fhir_coprod import definitions, jsontext
from fhir_coprod.jsontext import Document, Json

_LINKING = frozenset({"uri", "url", "oid", "uuid"})
_IN_NARRATIVE = re.compile(r"""(<(?:a|img)\b[^<>]*?\s(?:href|src)\s*=\s*)("[^"]*"|'[^']*')""")

_BETWEEN = re.compile(r"""[\\"']+""")
"""The characters around a link, in JSON and in a narrative within JSON."""


class _Kind(NamedTuple):
    """The element under a JSON key: its FHIR type, and where the elements inside it are defined."""

    type: str
    structure: str
    path: str


def relinked(document: Document, identities: Mapping[str, str]) -> Document:
    """The resource with each such link replaced; the same object if there is none.

    identities: the reference that each resource has here, by the fullUrl of its entry
    """
    text = document.raw.decode()
    # Search the text once instead of once per entry. Escapes may hide a link, so with one it is parsed.
    if "\\/" not in text and "\\u" not in text and identities.keys().isdisjoint(_BETWEEN.split(text)):
        return document
    data = _resource(document.data, identities)
    if data == document.data:
        return document
    changed = jsontext.patched(document, document.data, data)
    return replace(document, raw=changed, data=data, received=document.received or document.raw)


def names_any(document: Document, urls: Set[str]) -> bool:
    """Whether one of these addresses may be somewhere in the resource."""
    text = document.raw.decode()
    return "\\/" in text or "\\u" in text or not urls.isdisjoint(_BETWEEN.split(text))


def _resource(data: Json, identities: Mapping[str, str]) -> Json:
    type = data.get("resourceType")
    if not definitions.is_resource_type(type):
        return data
    return _object(data, _Kind(str(type), str(type), str(type)), identities)


def _object(data: Json, inside: _Kind, identities: Mapping[str, str]) -> Json:
    known = _children(inside.structure, inside.path)
    return {
        key: _value(value, known[key], identities) if key in known else value for key, value in data.items()
    }


def _value(value: Any, element: _Kind, identities: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_value(item, element, identities) for item in value]
    if isinstance(value, dict):
        if element.type == "Resource":
            return _resource(value, identities)
        return _object(value, element, identities)
    if not isinstance(value, str):
        return value
    if element.type in _LINKING:
        return identities.get(value, value)
    if element.type == "xhtml":
        return _IN_NARRATIVE.sub(lambda found: found[1] + _quoted(found[2], identities), value)
    return value


def _quoted(link: str, identities: Mapping[str, str]) -> str:
    return link[0] + identities.get(link[1:-1], link[1:-1]) + link[0]


@lru_cache(4096)
def _children(structure: str, path: str) -> Mapping[str, _Kind]:
    """JSON key → element, for the elements directly under a path of a structure."""
    if not definitions.has_structure(f"http://hl7.org/fhir/StructureDefinition/{structure}"):
        return {}
    found: dict[str, _Kind] = {}
    for element in definitions.structure(structure)["snapshot"]["element"]:
        parent, _, name = element["path"].rpartition(".")
        if parent != path:
            continue
        if "contentReference" in element:
            found[name] = _Kind("BackboneElement", structure, element["contentReference"].lstrip("#"))
        else:
            found.update(_keys(structure, element, name))
    return found


def _keys(structure: str, element: Json, name: str) -> Iterator[tuple[str, _Kind]]:
    for kind in element.get("type", ()):
        code = kind["code"]
        key = name.removesuffix("[x]") + (code[0].upper() + code[1:] if name.endswith("[x]") else "")
        if code in ("BackboneElement", "Element"):
            yield key, _Kind(code, structure, element["path"])
        else:
            yield key, _Kind(code, code, code)
            # Extensions of a primitive have a key of their own beside it.
            yield f"_{key}", _Kind("Element", "Element", "Element")
