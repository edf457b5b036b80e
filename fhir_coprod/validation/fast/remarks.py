"""Says where the remarks of a fast pass belong: it knows their objects, and the paths are looked up after it.

Nearly every real record has something to remark, most often an extension or a code that is not known here,
and is otherwise right. Only those few objects are looked for then, and nothing is checked twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import MOST_ISSUES, Issue
from fhir_coprod.remembering import TEXTS
from fhir_coprod.validation.model.content import Content, Field
from fhir_coprod.validation.model.library import Library

NARRATIVE = Issue("warning", "invariant", "A resource should have narrative for robust management. (dom-6)")
"""What there is to tell about a resource without narrative."""


Remark = tuple[Json, Issue]
"""An object and something to tell about it that is no error; its expression is the path below the object."""
MAX_TOLD = 1000
"""Of how many values it is remembered what there is to tell about them."""
MAX_LENGTH = 200
"""Values with longer texts are not remembered."""
_Links = dict[int, tuple[Json, str, int]]
"""Where an object stands, by its identity: in which other one, under which key, at which place of a list."""
_Order = tuple[tuple[int, int], ...]
"""The positions of elements in their definitions and in their lists: sorts paths as R4 lists the elements."""


class Told(dict[object, tuple[Issue, ...]]):
    """What there is to tell about values that are no error; senders repeat themselves."""

    def __init__(self) -> None:
        super().__init__()
        TEXTS.add(self)

    def keep(self, key: object, *texts: object, issues: tuple[Issue, ...]) -> None:
        """Remember what to tell about the value that these texts make up."""
        if len(self) >= MAX_TOLD:
            self.clear()
        if not any(type(text) is str and len(text) >= MAX_LENGTH for text in texts):
            TEXTS.keep(*texts, *[issue.message for issue in issues])
            self[key] = issues


def placed(
    library: Library, resource: Json, remarks: Sequence[Remark], *, decoded: bool
) -> tuple[Issue, ...] | None:
    """The remarks with their paths, in the order of R4's elements; None if that takes the explaining tier.

    decoded: whether the resource was just read from a text, so that no object stands at two places of it
    """
    links = _links(resource, {id(value) for value, _ in remarks}, decoded=decoded)
    if links is None or len(remarks) > MOST_ISSUES:
        return None
    places: dict[int, tuple[_Order, str]] = {}
    found: list[tuple[_Order, Issue]] = []
    for value, issue in remarks:
        place = places.get(id(value)) or _place(library, resource, links, value)
        if place is None:
            return None
        places[id(value)] = place
        order, at = place
        found.append((order, Issue(issue.severity, issue.code, issue.message, at + issue.expression)))
    found.sort(key=_ORDER)
    issues = [issue for _, issue in found]
    return tuple(issues if len(places) == len(found) else dict.fromkeys(issues))


_ORDER = itemgetter(0)


def _links(resource: Json, wanted: set[int], *, decoded: bool) -> _Links | None:
    """Where the objects of a resource stand, level by level until all those wanted are found; None if one of
    them stands at two places.
    """
    wanted.discard(id(resource))
    links: _Links = {}
    if decoded and not wanted:
        return links
    level = [resource]
    while level:
        below: list[Json] = []
        for holder in level:
            for key, held in holder.items():
                if held.__class__ is dict:
                    children: Iterable[Any] = (held,)
                elif held.__class__ is list:
                    children = held
                else:
                    continue
                for index, child in enumerate(children):
                    if child.__class__ is dict:
                        known = id(child)
                        if known in links:
                            return None
                        links[known] = holder, key, index
                        below.append(child)
                        if known in wanted:
                            wanted.discard(known)
                            if decoded and not wanted:
                                return links
        level = below
    return links


def _place(library: Library, resource: Json, links: _Links, value: Json) -> tuple[_Order, str] | None:
    """The path of an object; None where the model does not lead to it."""
    steps: list[tuple[Json, str, int]] = []
    while value is not resource:
        link = links.get(id(value))
        if link is None:
            return None
        steps.append(link)
        value = link[0]
    at: str = resource["resourceType"]
    model = library.resource_model(at)
    content = None if model is None else model.content
    order: list[tuple[int, int]] = []
    field = code = None
    for holder, key, index in reversed(steps):
        if field is not None and code is not None:
            content = _inside(library, field, code, holder)
        if content is None or key not in content.keys:
            return None
        field, code = content.keys[key]
        at += f".{field.name}[{index}]" if field.array else f".{field.name}"
        order.append((list(content.fields).index(field.name), index))
    return tuple(order), at


def _inside(library: Library, field: Field, code: str, value: Json) -> Content | None:
    """The definition of what is inside a value: its own, that of its data type, or of the resource it is."""
    if "resourceType" in value:
        model = library.resource_model(value["resourceType"])
    else:
        place = field.by_type.get(code)
        if place is not None and not place.datatype:
            return place
        model = library.type_model(code)
    return None if model is None else model.content
