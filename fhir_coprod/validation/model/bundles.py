"""Rules for Bundles that R4 has in words (pages bundle, documents and messaging of https://hl7.org/fhir/R4).

Each gives the place of a fault within the Bundle, such as ".entry[0]", and what is wrong there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from itertools import pairwise

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.model.formats import is_absolute
from fhir_coprod.validation.model.scope import Scope

Fault = tuple[str, str]

_WITHOUT_FULL_URL = frozenset({"transaction", "transaction-response", "batch", "batch-response"})
_PAGES = frozenset({"self", "first", "previous", "prev", "next", "last"})
_IN_DOCUMENT = ("subject", "encounter", "author", "custodian")
"""What the document includes of Composition's members, besides those of attester, event and section."""
_restful = re.compile(r"(https?://.+/)([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})").fullmatch
_version = re.compile(r"(.+)/_history/([A-Za-z0-9\-.]{1,64})").fullmatch


def full_urls(bundle: object, scope: Scope) -> Iterator[Fault]:
    """Each fullUrl is there where this kind of Bundle needs it, is absolute, and agrees with its resource."""
    kind = _kind(bundle)
    for at, entry in _entries(bundle):
        url, resource = entry.get("fullUrl"), entry.get("resource")
        if url is None and "resource" in entry and "_fullUrl" not in entry and kind not in _WITHOUT_FULL_URL:
            yield at, "Every resource in a Bundle needs a fullUrl, except in a batch or transaction."
        if not isinstance(url, str):
            continue
        if not is_absolute(url):
            yield at, "A fullUrl is an absolute URL, or urn:uuid: and a UUID; give the whole URL."
        elif isinstance(resource, dict) and "id" in resource and _contradicts(url, resource):
            yield at, "A fullUrl that is a RESTful URL must end with the type and id of its resource."


def _contradicts(url: str, resource: Json) -> bool:
    named = _restful(url)
    if named is None or not definitions.is_resource_type(named[2]):
        return False
    return named.group(2, 3) != (resource.get("resourceType"), resource["id"])


def search_results(bundle: object, scope: Scope) -> Iterator[Fault]:
    """What a search finds is stored, so that it has an id; and a relation stands once among the links."""
    if _kind(bundle) != "searchset" or not isinstance(bundle, dict):
        return
    links = bundle.get("link")
    seen: set[str] = set()
    for number, link in enumerate(links if isinstance(links, list) else ()):
        relation = link.get("relation") if isinstance(link, dict) else None
        if isinstance(relation, str) and relation in _PAGES:
            if relation in seen:
                yield f".link[{number}]", f"The relation {relation} stands twice; leave one link out."
            seen.add(relation)
    for at, entry in _entries(bundle):
        resource = entry.get("resource")
        if not isinstance(resource, dict) or resource.get("resourceType") == "OperationOutcome":
            continue
        search = entry.get("search")
        if "id" not in resource and isinstance(search, dict) and search.get("mode") == "match":
            yield f"{at}.resource", "A resource that a search found has an id; give it."


def documents_are_whole(bundle: object, scope: Scope) -> Iterator[Fault]:
    """A document includes what its Composition names, and nothing to which no reference leads."""
    if _kind(bundle) != "document":
        return
    inside = _Inside(bundle)
    if not inside.entries or inside.entries[0][1].get("resourceType") != "Composition":
        return
    at, composition = inside.entries[0]
    for place, reference in _of_composition(composition):
        found = len(inside.targets(reference, at))
        if found != 1:
            why = "is not in it" if found == 0 else "is in it more than once, and no version is named"
            yield f"{at}.resource{place}", f"A document includes what its Composition names; this {why}."
    linked = inside.linked()
    for place, _ in inside.entries:
        if place not in linked:
            yield place, "No reference connects this entry with the Composition; a document holds no other."


def messages_are_whole(bundle: object, scope: Scope) -> Iterator[Fault]:
    """A message includes what its MessageHeader is about."""
    if _kind(bundle) != "message":
        return
    inside = _Inside(bundle)
    if not inside.entries or inside.entries[0][1].get("resourceType") != "MessageHeader":
        return
    at, header = inside.entries[0]
    for place, reference in _references(header, "focus"):
        if not inside.targets(reference, at):
            yield f"{at}.resource{place}", "A message includes what it is about; this resource is not in it."


class _Inside:
    """The resources of one Bundle and the ways between them."""

    def __init__(self, bundle: object) -> None:
        self.entries: list[tuple[str, Json]] = []
        """(place, resource)"""
        self._bases: dict[str, str] = {}
        """Place → the address before its type and id, where its fullUrl is RESTful."""
        self._by_url: dict[str, list[str]] = {}
        self._versions: dict[str, object] = {}
        for at, entry in _entries(bundle):
            resource, url = entry.get("resource"), entry.get("fullUrl")
            if not isinstance(resource, dict):
                continue
            self.entries.append((at, resource))
            meta = resource.get("meta")
            self._versions[at] = meta.get("versionId") if isinstance(meta, dict) else None
            names = {f"{resource.get('resourceType')}/{resource['id']}"} if "id" in resource else set()
            if isinstance(url, str):
                names.add(url)
                if (restful := _restful(url)) is not None:
                    self._bases[at] = restful[1]
            for name in names:
                self._by_url.setdefault(name, []).append(at)

    def targets(self, reference: str, at: str) -> list[str]:
        """The places of the entries that a literal reference in the entry `at` means."""
        versioned = _version(reference)
        if versioned is not None:
            found = self.targets(versioned[1], at)
            named = [place for place in found if self._versions[place] == versioned[2]]
            return named or ([] if any(self._versions[place] is not None for place in found) else found)
        base = self._bases.get(at)
        absolute = None if base is None or is_absolute(reference) else self._by_url.get(base + reference)
        return absolute or self._by_url.get(reference, [])

    def linked(self) -> set[str]:
        """The places that references connect with the first entry, in either direction."""
        ways: dict[str, set[str]] = {at: set() for at, _ in self.entries}
        joined: set[tuple[str, str | None]] = set()
        for at, resource in self.entries:
            for text in {text.partition("|")[0] for text in _texts(resource)}:
                found = self.targets(text, at)
                # Many entries of one name are joined in a row, once, and not each with all that refer to it.
                name = (text, self._bases.get(at))
                row = [at, *(found[:1] if name in joined else found)]
                joined.add(name)
                for one, other in pairwise(row):
                    ways[one].add(other)
                    ways[other].add(one)
        seen = {self.entries[0][0]}
        waiting = list(seen)
        while waiting:
            new = ways[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen


def _of_composition(composition: Json) -> Iterator[Fault]:
    """(place, literal reference) of everything that a document has to include."""
    for name in _IN_DOCUMENT:
        yield from _references(composition, name)
    for name, inner in (("attester", "party"), ("event", "detail")):
        for place, part in _objects(composition, name):
            for below, reference in _references(part, inner):
                yield place + below, reference
    waiting = deque(_objects(composition, "section"))
    while waiting:
        place, section = waiting.popleft()
        for name in ("author", "focus", "entry"):
            for below, reference in _references(section, name):
                yield place + below, reference
        waiting += [(place + below, inner) for below, inner in _objects(section, "section")]


def _references(owner: Json, name: str) -> Iterator[Fault]:
    """(place, literal) of the references under a member, contained ones aside."""
    for place, held in _objects(owner, name):
        literal = held.get("reference")
        if isinstance(literal, str) and not literal.startswith("#"):
            yield place, literal


def _objects(owner: Json, name: str) -> Iterator[tuple[str, Json]]:
    held = owner.get(name)
    if isinstance(held, dict):
        yield f".{name}", held
    for number, one in enumerate(held if isinstance(held, list) else ()):
        if isinstance(one, dict):
            yield f".{name}[{number}]", one


def _texts(resource: Json) -> Iterator[str]:
    """Every text that might be a reference or canonical."""
    waiting: list[object] = [resource]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and len(value) < 2000:
            yield value


def _kind(bundle: object) -> object:
    return bundle.get("type") if isinstance(bundle, dict) else None


def _entries(bundle: object) -> Iterator[tuple[str, Json]]:
    entries = bundle.get("entry") if isinstance(bundle, dict) else None
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield f".entry[{number}]", entry
