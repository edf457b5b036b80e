"""Merges several EHRs' records of one thing into one resource, by cutting and joining their JSON text.

The resource is the first record; the others add what it lacks, by the rules in `mappings/merge.toml`. What
is added has the extension `origin`: the address of the record that it came from. A merged Patient also links
to each of its records (`link.type` seealso). What people entered in a resource that was given up for this one
comes last, and adds whatever the records lack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from fhir_coprod import jsontext, mappings
from fhir_coprod.definitions import CORE, PROFILE
from fhir_coprod.mappings import Finding, r4
from fhir_coprod.sync.merging.elements import grouped

ORIGIN = f"{PROFILE}origin"
"""Extension on an element of a merged resource: valueUri = the EHR's record it was taken from."""


class MergeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How records of one type are merged; see the comment in merge.toml."""

    union: tuple[str, ...] = ()
    fill: tuple[str, ...] = ()
    once_said: tuple[str, ...] = ()
    owner: str = ""
    receiver: str = ""
    newest: bool = False


@cache
def rules() -> Mapping[str, MergeRule]:
    """The merge rules by resource type."""
    return mappings.compiled("merge", dict[str, MergeRule])


def read(text: bytes, file: str) -> dict[str, MergeRule]:
    """The rules in the text of merge.toml. Raises Mistakes, a ConfigError, with every mistake in it."""
    return mappings.read(text, file, dict[str, MergeRule], mistakes)


def mistakes(rules: Mapping[str, MergeRule]) -> Iterator[Finding]:
    """Anything that R4 does not have, and elements that are named in two rules."""
    for type, rule in rules.items():
        if said := r4.type_mistake(type):
            yield (type,), said
            continue
        told: set[str] = set()
        for way in ("union", "fill", "once_said"):
            for element in getattr(rule, way):
                said = _whole_element_mistake(type, element)
                if not said and element in told:
                    said = f"{element!r} is named twice; keep one."
                elif not said and way == "union" and (r4.element(type, element) or {}).get("max") != "*":
                    said = f"{type}.{element} is no list; name it in fill or once_said."
                if said:
                    yield (type, way), said
                told.add(element)
        for party in ("owner", "receiver"):
            element = getattr(rule, party)
            if element and (said := _party_mistake(type, element)):
                yield (type, party), said


def _whole_element_mistake(type: str, element: str) -> str:
    if "." in element:
        return f"elements are merged whole; write {element.partition('.')[0]!r}."
    return r4.element_mistake(type, element)


def _party_mistake(type: str, element: str) -> str:
    """What is wrong with an element that should name a department; "" if nothing is."""
    said = _whole_element_mistake(type, element)
    kinds = [] if said else (r4.element(type, element) or {}).get("type", [])
    targets = {target for kind in kinds for target in kind.get("targetProfile", ())}
    return said or ("" if f"{CORE}Organization" in targets else f"{type}.{element} names no Organization.")


@dataclass(frozen=True, slots=True)
class Part:
    """One record that is merged, or what was entered in a resource of ours that was given up for this one.

    text:   with references rewritten to ours
    origin: the address of the record, or our reference to the resource
    labels: security labels that were entered
    """

    text: bytes
    origin: str
    is_record: bool = True
    labels: tuple[Any, ...] = ()


_CONTAINED = re.compile(rb'"reference"\s*:\s*"#')
"""A reference to a contained resource, which means nothing in another record."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def merged(type: str, parts: Sequence[Part], own: str) -> bytes:
    """The parts as one resource, led by the first. `own` is our reference to it, such as Patient/1."""
    rule = rules()[type]
    result = {key: bytes(value) for key, value in _members(parts[0].text).items()}
    for part in parts[1:]:
        members = _members(part.text)
        for element in rule.union:
            if element in members and is_list(members[element]):
                mine = result.get(element, b"[]")
                # What is no list is no value: the others' items take its place, as if it were not there.
                result[element] = _union(
                    element, mine if is_list(mine) else b"[]", bytes(members[element]), part.origin
                )
                if is_list(result.get(f"_{element}", b"")):
                    result[f"_{element}"] = _as_long_as(result[element], result[f"_{element}"])
        theirs = grouped(type, {key: bytes(value) for key, value in members.items()})
        entered = () if part.is_record else [element for element in theirs if element not in rule.union]
        for element in (*rule.fill, *rule.once_said, *entered):
            held = grouped(type, result).get(element, {})
            if element in theirs and _gives_way(element, held, theirs[element], rule):
                for key in held:
                    del result[key]
                result |= theirs[element]
    if type == "Patient" and is_list(result.get("link", b"[]")):
        result["link"] = _links(result.get("link", b"[]"), parts, own)
        if result["link"] == b"[]":
            del result["link"]
    return _joined(result)


def _gives_way(element: str, mine: Mapping[str, bytes], theirs: Mapping[str, bytes], rule: MergeRule) -> bool:
    """Whether the first record's element is replaced: it is missing, has no value, or does not say it while
    the other record does."""
    if element in rule.once_said and _is_said(theirs):
        return not _is_said(mine)
    return not mine or (not _has_value(mine) and _has_value(theirs))


def _has_value(members: Mapping[str, bytes]) -> bool:
    """Whether there is a value, not only an extension such as the reason why the value is absent."""
    return any(not key.startswith("_") and value != b"null" for key, value in members.items())


def _is_said(members: Mapping[str, bytes]) -> bool:
    """Whether an element says something other than "no"; an unknown date is still a date."""
    return any(
        value not in (b"false", b"null") for key, value in members.items() if not key.endswith("Boolean")
    ) or any(value == b"true" for value in members.values())


def _union(element: str, mine: bytes, theirs: bytes, origin: str) -> bytes:
    """The items of both lists; items that only `theirs` has are marked with their origin."""
    out = [bytes(item) for item in _items(mine)]
    seen = {_sameness(element, item) for item in out}
    for item in _items(theirs):
        same = _sameness(element, bytes(item))
        if _is_null(item):
            continue  # a placeholder for an extension in their list
        if same not in seen and not _CONTAINED.search(bytes(item)):
            seen.add(same)
            out.append(_marked(bytes(item), origin))
    return b"[" + b",".join(out) + b"]"


def _as_long_as(values: bytes, extensions: bytes) -> bytes:
    """The extensions of a list of primitives, padded to the list's length: JSON pairs them by position."""
    own = [bytes(item) for item in _items(extensions)]
    return b"[" + b",".join([*own, *[b"null"] * (len(_items(values)) - len(own))]) + b"]"


def _sameness(element: str, item: bytes) -> Any:
    """The key by which two items of a list are the same: url, or system and value, or else the whole item."""
    value = jsontext.decode(item)
    if element == "extension" and isinstance(value, dict) and isinstance(value.get("url"), str):
        return value["url"]
    if element in ("identifier", "telecom") and isinstance(value, dict):
        system, text = value.get("system"), value.get("value")
        if isinstance(text, str) and text and isinstance(system, str | None):
            return system, text
    return msgspec.json.encode(value, order="deterministic")


def _marked(item: bytes, origin: str) -> bytes:
    """An item with the extension `origin`; a primitive or an extension stays unchanged."""
    if not item.lstrip().startswith(b"{") or not origin:
        return item
    members = {key: bytes(value) for key, value in _members(item).items()}
    if "url" in members or not is_list(members.get("extension", b"[]")):
        return item
    mark = jsontext.encode({"url": ORIGIN, "valueUri": origin})
    earlier = [bytes(extension) for extension in _items(members.pop("extension", b"[]"))]
    return _joined({"extension": b"[" + b",".join([*earlier, mark]) + b"]", **members})


def _links(links: bytes, parts: Sequence[Part], own: str) -> bytes:
    """Patient.link without links to the patient itself, and with a link to each record that was merged."""
    kept = [bytes(link) for link in _items(links) if _other(bytes(link)) != own]
    present = {_other(link) for link in kept}
    records = [part for part in parts if part.is_record]
    origins = sorted(part.origin for part in records if part.origin) if len(records) > 1 else []
    kept += [
        jsontext.encode({"other": {"reference": origin}, "type": "seealso"})
        for origin in origins
        if origin not in present
    ]
    return b"[" + b",".join(kept) + b"]"


def _other(link: bytes) -> str:
    value = jsontext.decode(link)
    other = value.get("other") if isinstance(value, dict) else None
    return str(other.get("reference", "")) if isinstance(other, dict) else ""


def is_list(raw: bytes | msgspec.Raw) -> bool:
    """Whether this JSON is a list."""
    return bytes(raw).lstrip().startswith(b"[")


def _is_null(raw: msgspec.Raw) -> bool:
    return bytes(raw) == b"null"


def _joined(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(jsontext.encode(key) + b":" + value for key, value in members.items()) + b"}"
