"""Gives a resource the links that it is stored with: what its addresses mean here.

Entries that are sent together name each other by their fullUrl. R4
(https://hl7.org/fhir/R4/http.html#transaction) has a server replace such an address by the reference that the
entry has here: in references, in elements of type uri and url, and in `<a href>` and `<img src>` of a
narrative. Elements of type canonical are not changed. R4 names uuid and oid, too, but these cannot hold a
reference, so they stay; and so does a uri that is a name, such as `Identifier.system` or the `url` of a
definition: what is compared with it would no longer find it. What is inside a Bundle stays as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from os.path import commonprefix
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import BadRequest
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store.elements import kinds
from fhir_coprod.store.entries import split_reference

_LINKING: Final = frozenset({"uri", "url"})
_NAMES: Final = frozenset(
    {
        "ConceptMap.group.element.target.dependsOn.property",
        "ConceptMap.group.source",
        "ConceptMap.group.target",
        "ConceptMap.source[x]",
        "ConceptMap.target[x]",
        "CodeSystem.property.uri",
        "ElementDefinition.type.code",
        "Extension.url",
        "Reference.type",
        "StructureDefinition.type",
        "ValueSet.expansion.identifier",
    }
)
"""Elements of type uri whose value is a name: others say the same to mean the same."""
_NAMING: Final = frozenset({"system", "implicitRules"})
"""The same, wherever an element has this name."""

_RELATIVE: Final = re.compile(rf"[A-Za-z]+/{jsontext.ID_PATTERN}(?:/_history/{jsontext.ID_PATTERN})?")
_BY_CRITERIA: Final = re.compile(r"([A-Za-z]+)\?(.*)", re.DOTALL)
_IN_NARRATIVE: Final = re.compile(r"""(<(?:a|img)\b[^<>]*?\s(?:href|src)\s*=\s*)("[^"]*"|'[^']*')""")
_BETWEEN: Final = re.compile(r"""[\\"']+""")
"""The characters around a link, in JSON and in a narrative within JSON."""
_PROVISIONAL: Final = UUID("8a0c6c5e-52a3-4f0e-9f5c-0e1f4d1b7a60")

Pairs = tuple[tuple[str, str], ...]
"""Search parameters in the order they came; a name may occur more than once."""
Find = Callable[[str, str], str]
"""From the type and the criteria of a reference to the reference that is meant."""


def folded(address: str) -> str:
    """An address in the form in which addresses are compared: a UUID has no case (RFC 4122)."""
    return address.lower() if address[:9].lower() == "urn:uuid:" else address


@dataclass(frozen=True)
class Addresses:
    """What the addresses mean that resources which are sent together give each other.

    here:      the reference that each has here, by its fullUrl as `folded`
    undecided: the fullUrls of those that may still get another id
    base:      the address by which the sender knows this server; "" if the resources come from a file
    """

    here: Mapping[str, str]
    undecided: frozenset[str] = frozenset()
    base: str = ""

    @cached_property
    def lowered(self) -> frozenset[str]:
        """Every fullUrl in small letters, to see quickly that a text holds none."""
        return frozenset(map(str.lower, self.here))

    @cached_property
    def beginning(self) -> str:
        """What they all begin with, mostly urn:uuid:, to see it even more quickly."""
        return commonprefix(list(self.lowered))  # noqa: RUF071  # letter by letter is what is meant


class Settled(NamedTuple):
    """A resource with its links rewritten.

    is_final: False if it has a provisional id in place of one that is not decided. What a resource is judged
              by, the type that a reference leads to, is the same with either.
    """

    document: Document
    is_final: bool = True


def by_criteria(reference: str, base: str = "") -> tuple[str, str] | None:
    """Type and criteria of a conditional reference; None if it is not one."""
    found = _BY_CRITERIA.fullmatch(reference.removeprefix(f"{base}/")) if "?" in reference else None
    return (found[1], found[2]) if found else None


def criteria_types(document: Document, base: str = "") -> set[str]:
    """The types that a resource refers to by criteria."""
    if b"?" not in document.raw or document.type == "Bundle":
        return set()
    return {found[0] for text in _references(document) if (found := by_criteria(text, base))}


def provisional(type: str, criteria: str) -> str:
    """A reference in place of one by criteria, as long as nobody has looked what they find."""
    return f"{type}/{uuid5(_PROVISIONAL, criteria)}"


def settled(
    document: Document, addresses: Addresses, full_url: str = "", find: Find | None = None
) -> Settled:
    """The resource as it is stored.

    full_url: its own; relative references are relative to the place that it names
    find:     answers references by criteria; without it they stay, and are not final if it is `provisional`

    Raises BadRequest for a reference that cannot be rewritten, and whatever `find` raises.
    """
    if document.type == "Bundle":
        # References in it are looked up among its own entries, and a signature may cover every byte.
        return Settled(document)
    if not addresses.here and not addresses.base and find is None:
        return Settled(document)
    rewriting = _Rewriting(addresses, full_url, find)
    references = {text: new for text in _references(document) if (new := rewriting.reference(text)) != text}
    document = referring(document, references)
    return Settled(_relinked(document, rewriting), rewriting.is_final)


class _Rewriting:
    """What each address in one resource becomes, and whether all of that is decided."""

    def __init__(self, addresses: Addresses, full_url: str, find: Find | None) -> None:
        self.addresses = addresses
        self.find = find
        self.home = "/".join(full_url.split("/")[:-2]) if "/" in full_url else ""
        """http://other/fhir, for http://other/fhir/Patient/1"""
        self.is_final = True

    def reference(self, text: str) -> str:
        if text[:1] == "#":
            return text
        here = self._entry(text)
        if here:
            return here
        base = self.addresses.base
        if self.find is not None and (conditional := by_criteria(text, base)):
            self.is_final &= self.find is not provisional
            return self.find(*conditional)
        if base and text.startswith(f"{base}/"):
            relative = text[len(base) + 1 :]
            return relative if split_reference(relative)[0] or by_criteria(relative) else text
        return text

    def _entry(self, text: str) -> str:
        """The reference to the entry that has this address; "" if none has."""
        if not self.addresses.here:
            return ""
        if self.home and _RELATIVE.fullmatch(text):
            text = f"{self.home}/{text}"
        address, versioned, _ = text.partition("/_history/")
        key = folded(address)
        here = self.addresses.here.get(key, "")
        if not here:
            return ""
        if versioned:
            if address.endswith(f"/{here}"):
                return ""  # it keeps its id, and so its versions
            raise BadRequest(
                "A reference names a version of an entry that gets its id here, and its version too; leave"
                " /_history/… out."
            )
        self.is_final &= key not in self.addresses.undecided
        return here

    def link(self, text: str) -> str:
        key = folded(text)
        here = self.addresses.here.get(key)
        if here is None:
            return text
        self.is_final &= key not in self.addresses.undecided
        return here


# ------------------------------------------------------------------------------------------- references


def _references(document: Document) -> list[str]:
    """Every string under a `reference` key, but for those inside a Bundle."""
    return list(_own(document.data)) if _may_hold_bundle(document) else document.references()


def _may_hold_bundle(document: Document) -> bool:
    return b'"Bundle"' in document.raw or jsontext.may_spell(document.raw)


def _own(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _own(item)
    elif isinstance(value, dict) and value.get("resourceType") != "Bundle":
        for key, held in value.items():
            if key == "reference" and isinstance(held, str):
                yield held
            else:
                yield from _own(held)


def referring(document: Document, references: Mapping[str, str]) -> Document:
    """The resource with these references replaced, but for those inside a Bundle."""
    if not references:
        return document
    received = document.received or document.raw
    if _may_hold_bundle(document):
        data = _replaced(document.data, references)
        return Document(jsontext.patched(document, document.data, data), data, received)
    raw = jsontext.with_references(document.raw.decode(), references).encode()
    return Document(raw, jsontext.decode(raw), received)


def _replaced(value: Any, references: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_replaced(item, references) for item in value]
    if not isinstance(value, dict) or value.get("resourceType") == "Bundle":
        return value
    return {
        key: references.get(held, held)
        if key == "reference" and isinstance(held, str)
        else _replaced(held, references)
        for key, held in value.items()
    }


# ------------------------------------------------------------------------------------------- criteria


def entries_in(type: str, criteria: Pairs, addresses: Addresses) -> Iterator[str]:
    """The fullUrls, as `folded`, that criteria on a type name."""
    for name, value in criteria:
        if (":" in value) and (_is_chain(name) or _asks_for_references(type, name)):
            yield from (key for each in value.split(",") if (key := folded(each)) in addresses.here)


def named(type: str, criteria: Pairs, addresses: Addresses) -> Pairs:
    """Criteria with the reference here in place of each fullUrl that a reference parameter asks for.

    Raises BadRequest for one that cannot be found: it would say that nothing is here, each time anew.
    """
    return tuple((name, _named(type, name, value, addresses)) for name, value in criteria)


def _named(type: str, name: str, value: str, addresses: Addresses) -> str:
    if ":" not in value:
        return value
    if _is_chain(name):
        if any(entries_in(type, ((name, value),), addresses)):
            raise BadRequest(
                "A chain of criteria cannot name another entry by its fullUrl; name it directly, as in"
                " subject=urn:uuid:…."
            )
        return value
    if not _asks_for_references(type, name):
        return value
    found = []
    for each in value.split(","):
        here = addresses.here.get(folded(each), "")
        if not here and each.lower().startswith(("urn:uuid:", "urn:oid:")):
            raise BadRequest(
                f"The criteria ask for a {name[:64]} by an address that no other entry has as its fullUrl;"
                " correct it, or name the id."
            )
        found.append(here or each)
    return ",".join(found)


def _is_chain(name: str) -> bool:
    return "." in name or name.startswith("_has:")


def _asks_for_references(type: str, name: str) -> bool:
    code, _, modifier = name.partition(":")
    return modifier not in ("identifier", "missing") and _holds_references(type, code)


@lru_cache(512)
def _holds_references(type: str, code: str) -> bool:
    """Whether a search parameter compares references, and not canonicals, which keep their addresses."""
    parameter = definitions.search_parameters(type).get(code)
    if parameter is None or parameter.type != "reference":
        return False
    return "canonical" not in kinds(type, parameter.expression)


# ---------------------------------------------------------------------------------------- other links


class _Kind(NamedTuple):
    """The element under a JSON key: its FHIR type, and where the elements inside it are defined."""

    type: str
    structure: str
    path: str
    is_name: bool = False


def _relinked(document: Document, rewriting: _Rewriting) -> Document:
    """The resource with each link that is no reference replaced; the same object if there is none."""
    if not rewriting.addresses.here:
        return document
    if not _may_link(document.raw.decode(), rewriting.addresses):
        return document
    data = _resource(document.data, rewriting)
    if data == document.data:
        return document
    changed = jsontext.patched(document, document.data, data)
    return replace(document, raw=changed, data=data, received=document.received or document.raw)


def _may_link(text: str, addresses: Addresses) -> bool:
    """Whether one of the addresses may stand in a text, which is searched once and not once for each."""
    if "\\" in text and ("\\/" in text or "\\u" in text):
        return True  # escapes may hide one
    text = text.lower()
    return addresses.beginning in text and not addresses.lowered.isdisjoint(_BETWEEN.split(text))


def _resource(data: Json, rewriting: _Rewriting) -> Json:
    type = data.get("resourceType")
    if type == "Bundle" or not definitions.is_resource_type(type):
        return data
    return _object(data, _Kind(str(type), str(type), str(type)), rewriting)


def _object(data: Json, inside: _Kind, rewriting: _Rewriting) -> Json:
    known = _children(inside.structure, inside.path)
    return {
        key: _value(value, known[key], rewriting) if key in known else value for key, value in data.items()
    }


def _value(value: Any, element: _Kind, rewriting: _Rewriting) -> Any:
    if isinstance(value, list):
        return [_value(item, element, rewriting) for item in value]
    if isinstance(value, dict):
        if element.type == "Resource":
            return _resource(value, rewriting)
        return _object(value, element, rewriting)
    if not isinstance(value, str):
        return value
    if element.type in _LINKING and not element.is_name:
        return rewriting.link(value)
    if element.type == "xhtml":
        return _IN_NARRATIVE.sub(lambda found: found[1] + _quoted(found[2], rewriting), value)
    return value


def _quoted(link: str, rewriting: _Rewriting) -> str:
    return link[0] + rewriting.link(link[1:-1]) + link[0]


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
    path = element["path"]
    is_own_url = name == "url" and path == f"{structure}.url" and definitions.is_resource_type(structure)
    is_name = is_own_url or name in _NAMING or path in _NAMES
    for kind in element.get("type", ()):
        code = kind["code"]
        key = name.removesuffix("[x]") + (code[0].upper() + code[1:] if name.endswith("[x]") else "")
        if code in ("BackboneElement", "Element"):
            yield key, _Kind(code, structure, path)
        else:
            yield key, _Kind(code, code, code, is_name)
            # Extensions of a primitive have a key of their own beside it.
            yield f"_{key}", _Kind("Element", "Element", "Element")
