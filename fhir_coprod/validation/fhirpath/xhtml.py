"""What FHIR allows in a narrative (R4, https://hl7.org/fhir/R4/narrative.html#rules): a well-formed `div` of
plain formatting, no scripts, forms, frames or event handlers.

Read by a scanner of its own, in linear time and without entity expansion: a narrative comes from strangers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from html.entities import html5
from typing import NamedTuple

NAMESPACE = "http://www.w3.org/1999/xhtml"

ELEMENTS = frozenset(
    "p br div h1 h2 h3 h4 h5 h6 a span b em i strong small big tt dfn q var abbr acronym cite blockquote hr "
    "address bdo kbd sub sup ul ol li dl dt dd pre table caption colgroup col thead tr tfoot tbody th td code "
    "samp img map area".split()
)

ATTRIBUTES = frozenset(
    "title style class id lang xml:lang xml:space dir accesskey tabindex span width align valign char charoff "
    "abbr axis headers scope rowspan colspan".split()
)
"""Allowed on every element."""

ELEMENT_ATTRIBUTES = {
    "a": frozenset("href name charset type hreflang rel rev shape coords".split()),
    "area": frozenset("shape coords href nohref alt".split()),
    "blockquote": frozenset({"cite"}),
    "col": frozenset({"span"}),
    "div": frozenset({"xmlns"}),
    "img": frozenset("src border alt longdesc height width usemap ismap".split()),
    "map": frozenset({"name"}),
    "ol": frozenset("type start".split()),
    "pre": frozenset({"space"}),
    "q": frozenset({"cite"}),
    "table": frozenset("summary width border frame rules cellspacing cellpadding bgcolor".split()),
    "td": frozenset("nowrap bgcolor".split()),
    "th": frozenset("nowrap bgcolor".split()),
    "tr": frozenset({"bgcolor"}),
}

_TEXT = re.compile(r"[^<]+")
_SKIPPED = re.compile(r"<!--.*?-->|<\?.*?\?>", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_OPEN = re.compile(r"<([A-Za-z][A-Za-z0-9:._-]*)")
_ATTRIBUTE = re.compile(r"""\s+([A-Za-z_:][A-Za-z0-9:._-]*)\s*=\s*("[^"<]*"|'[^'<]*')""")
_OPEN_END = re.compile(r"\s*(/?)>")
_CLOSE = re.compile(r"</([A-Za-z][A-Za-z0-9:._-]*)\s*>")
_ENTITY = re.compile(r"&(?:(#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]*);)?")


class _Malformed(Exception):
    """The text is no well-formed XHTML."""


class _Part(NamedTuple):
    """An opening tag with its attributes, or a piece of text (then `tag` is empty)."""

    tag: str
    attributes: dict[str, str]
    text: str
    depth: int


@lru_cache(maxsize=256)
def is_allowed(text: str) -> bool:
    """Whether the narrative is a well-formed `div` with only the elements and attributes that FHIR allows."""
    try:
        parts = [part for part in _parts(text) if part.tag]
    except _Malformed:
        return False
    root = parts[0]
    return (
        root.tag == "div"
        and root.attributes.get("xmlns") == NAMESPACE
        and all(
            part.tag in ELEMENTS
            and all(
                name in ATTRIBUTES
                or name in ELEMENT_ATTRIBUTES.get(part.tag, ())
                or (name.startswith("xmlns:") and part is root)
                for name in part.attributes
            )
            for part in parts
        )
    )


@lru_cache(maxsize=256)
def has_content(text: str) -> bool:
    """Whether the narrative shows anything: some text that is not space, or a picture."""
    try:
        return any(part.tag == "img" or (not part.tag and part.text.strip()) for part in _parts(text))
    except _Malformed:
        return False


def _parts(text: str) -> Iterator[_Part]:
    """Tags and texts in order. Raises _Malformed unless everything stands in one closed element."""
    stack: list[str] = []
    at = 0
    seen_root = False
    while at < len(text):
        if plain := _TEXT.match(text, at):
            _check_entities(plain[0])
            if not stack and plain[0].strip():
                raise _Malformed
            yield _Part("", {}, plain[0], len(stack))
            at = plain.end()
        elif skipped := _SKIPPED.match(text, at):
            at = skipped.end()
        elif stack and (cdata := _CDATA.match(text, at)):
            yield _Part("", {}, cdata[1], len(stack))
            at = cdata.end()
        elif close := _CLOSE.match(text, at):
            if not stack or stack.pop() != close[1]:
                raise _Malformed
            at = close.end()
        elif opening := _OPEN.match(text, at):
            if seen_root and not stack:
                raise _Malformed
            seen_root = True
            attributes, end = _attributes(text, opening.end())
            yield _Part(opening[1], attributes, "", len(stack))
            if not end[1]:
                stack.append(opening[1])
            at = end.end()
        else:
            raise _Malformed
    if stack or not seen_root:
        raise _Malformed


def _attributes(text: str, at: int) -> tuple[dict[str, str], re.Match[str]]:
    attributes: dict[str, str] = {}
    while found := _ATTRIBUTE.match(text, at):
        if found[1] in attributes:
            raise _Malformed
        _check_entities(found[2])
        attributes[found[1]] = found[2][1:-1]
        at = found.end()
    end = _OPEN_END.match(text, at)
    if end is None:
        raise _Malformed
    return attributes, end


def _check_entities(text: str) -> None:
    for match in _ENTITY.finditer(text) if "&" in text else ():
        name = match[1]
        if name is None or (name[0] != "#" and name + ";" not in html5):
            raise _Malformed
