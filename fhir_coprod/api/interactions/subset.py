"""Cuts resources down for `_summary` and `_elements` (https://hl7.org/fhir/R4/search.html#summary).

Numbers keep their lexemes (19.00 stays 19.00), and a resource that lost something carries the tag SUBSETTED,
so that a later write of it can be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from fhir_coprod import definitions
from fhir_coprod.api.call import Pairs
from fhir_coprod.errors import BadRequest
from fhir_coprod.jsontext import Json
from fhir_coprod.store.search.query import SUMMARIES

PARAMETERS = frozenset({"_summary", "_elements"})
SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}

_exact_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_exact_encode = msgspec.json.Encoder(decimal_format="number").encode

_ALWAYS = frozenset({"resourceType", "id", "meta"})


def exact(body: bytes) -> Any:
    """JSON values whose decimals keep their precision."""
    return _exact_decode(body)


def exact_bytes(value: Any) -> bytes:
    """JSON text of what `exact` gave."""
    return _exact_encode(value)


def check(pairs: Pairs) -> None:
    """Raise BadRequest for a `_summary` that R4 does not have."""
    for name, value in pairs:
        if name == "_summary" and value not in SUMMARIES:
            raise BadRequest(f"_summary takes {', '.join(SUMMARIES)}.")


def cut(body: bytes, pairs: Pairs) -> bytes:
    """The resource as `_summary` or `_elements` ask for it; unchanged without them."""
    if not body or not any(name in PARAMETERS for name, _ in pairs):
        return body
    check(pairs)
    summary = next((value for name, value in pairs if name == "_summary"), "false")
    elements = frozenset(
        path.strip()
        for name, value in pairs
        if name == "_elements"
        for path in value.split(",")
        if path.strip()
    )
    if summary in ("false", "count") and not elements:
        return body
    resource: Json = exact(body)
    keep = _rule(resource["resourceType"], summary, elements)
    smaller = keep(resource)
    if smaller == resource:
        return body
    smaller["meta"] = _tagged(smaller.get("meta"))
    return exact_bytes(smaller)


def _tagged(meta: Any) -> Json:
    """The meta of a resource that is cut down. A record of an EHR may have any other value in its place."""
    kept = dict(meta) if isinstance(meta, dict) else {}
    tags = kept.get("tag")
    others = [tag for tag in tags if not _is_subsetted(tag)] if isinstance(tags, list) else []
    return {**kept, "tag": [*others, SUBSETTED]}


def _is_subsetted(tag: Any) -> bool:
    return isinstance(tag, dict) and tag.get("code") == SUBSETTED["code"]


def _rule(type: str, summary: str, elements: frozenset[str]) -> Callable[[Json], Json]:
    if elements:
        # A path such as Patient.name or name.family means the element at its root. Mandatory ones stay too.
        roots = {path.removeprefix(f"{type}.").split(".")[0] for path in elements}
        return _keeping(
            roots | {f"{root}[x]" for root in roots} & _choice_elements(type) | _ALWAYS | _mandatory(type)
        )
    if summary == "text":
        return _keeping({"text"} | _ALWAYS | _mandatory(type))
    if summary == "data":
        return lambda resource: {name: value for name, value in resource.items() if name != "text"}
    return lambda resource: _summarised(resource, type)


def _keeping(names: frozenset[str] | set[str]) -> Callable[[Json], Json]:
    def kept(name: str) -> bool:
        plain = name.removeprefix("_")
        return plain in names or any(plain.startswith(choice) for choice in choices)

    choices = tuple(name.removesuffix("[x]") for name in names if name.endswith("[x]"))
    return lambda resource: {name: value for name, value in resource.items() if kept(name)}


@lru_cache(256)
def _mandatory(type: str) -> frozenset[str]:
    return frozenset(
        element["path"].split(".")[1]
        for element in definitions.structure(type)["snapshot"]["element"]
        if element["path"].count(".") == 1 and element.get("min", 0) > 0
    )


@lru_cache(256)
def _choice_elements(type: str) -> frozenset[str]:
    elements = definitions.structure(type)["snapshot"]["element"]
    return frozenset(element["path"].split(".")[1] for element in elements if element["path"].endswith("[x]"))


@lru_cache(1024)
def _summary_elements(structure: str) -> dict[str, frozenset[str]]:
    """Per path within a structure, the child elements marked isSummary."""
    marked: dict[str, set[str]] = {}
    for element in definitions.structure(structure)["snapshot"]["element"]:
        parent, _, name = element["path"].rpartition(".")
        if parent and element.get("isSummary"):
            marked.setdefault(parent, set()).add(name)
    return {path: frozenset(names) for path, names in marked.items()}


def _summarised(resource: Json, type: str) -> Json:
    """Elements marked isSummary, down through backbone elements; data types below them stay whole."""
    marked = _summary_elements(type)

    def keep(value: Any, path: str) -> Any:
        if isinstance(value, list):
            return [keep(item, path) for item in value]
        if not isinstance(value, dict) or path not in marked:
            return value
        names = _keeping(marked[path] | (_ALWAYS if path == type else frozenset()))
        return {name: keep(child, f"{path}.{name}") for name, child in names(value).items()}

    kept: Json = keep(resource, type)
    return kept
