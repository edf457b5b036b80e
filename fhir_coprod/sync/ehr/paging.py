"""Reads pages of a search or history as servers really send them, and finds the address of the next page.

Entries are kept as the bytes that came. A page with broken JSON is not lost as a whole: its entries are cut
out by their brackets and read one by one, so that one bad record costs only one record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urljoin, urlsplit, urlunsplit

import msgspec

from fhir_coprod import jsontext
from fhir_coprod.errors import NotJson
from fhir_coprod.jsontext import Document
from fhir_coprod.jsontext.tokens import CLOSING, KEY, OPENING, STRING, UNENDED, tokens


class NotAPage(Exception):
    """The answer is not a Bundle; the message says what it is instead."""


@dataclass(frozen=True)
class Entry:
    """One Bundle.entry. `resource` is b"" if there is none; `deleted` is "Type/id" for a history's DELETE."""

    resource: bytes
    mode: str = ""
    """search.mode: match, include, outcome, or "" """
    deleted: str = ""

    @cached_property
    def document(self) -> Document | None:
        """What the resource says, read once for all who look at it; None when it cannot be read."""
        try:
            return jsontext.parse(self.resource)
        except NotJson:
            return None

    @property
    def id(self) -> str:
        """The id of the resource; "" when it cannot be read."""
        if self.document is None:
            return peek_id(self.resource)
        id = self.document.data.get("id")
        return id if isinstance(id, str) else ""


class _Identified(msgspec.Struct):
    id: str = ""


_identified = msgspec.json.Decoder(_Identified).decode


def peek_id(raw: bytes) -> str:
    """The id of a resource, without looking at the rest; "" when it cannot be read."""
    try:
        return _identified(raw).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


@dataclass(frozen=True, slots=True)
class Page:
    """One Bundle of type searchset or history."""

    entries: tuple[Entry, ...]
    next: str
    """The next link as the server wrote it; "" on the last page."""
    total: int | None


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Search(msgspec.Struct):
    mode: str = ""


class _Request(msgspec.Struct):
    method: str = ""
    url: str = ""


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"")
    search: _Search | None = None
    request: _Request | None = None


class _Bundle(msgspec.Struct):
    resourceType: str = ""  # noqa: N815 (FHIR's spelling)
    link: list[_Link] = []
    entry: list[msgspec.Raw] = []
    total: int | None = None


_bundle = msgspec.json.Decoder(_Bundle).decode
_entry = msgspec.json.Decoder(_Entry).decode


def read(raw: bytes) -> Page:
    """The page in `raw`. Raises NotAPage if it is not a Bundle, not even a broken one."""
    try:
        bundle = _bundle(raw)
        entries = tuple(_read_entry(bytes(entry)) for entry in bundle.entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _salvage(raw)
    if bundle.resourceType != "Bundle":
        raise NotAPage(f"a {bundle.resourceType or 'JSON object without resourceType'} instead of a Bundle")
    following = next((link.url for link in bundle.link if link.relation == "next"), "")
    return Page(entries, following, bundle.total)


def _read_entry(raw: bytes) -> Entry:
    """One entry. If it cannot be parsed, its bytes become a `resource`, which will not parse either."""
    try:
        entry = _entry(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        inner = _member(raw, b'"resource"')
        return Entry(inner or raw)
    deleted = ""
    if entry.request is not None and entry.request.method == "DELETE":
        deleted = _type_and_id(entry.request.url)
    mode = entry.search.mode if entry.search is not None else ""
    return Entry(b"" if deleted else bytes(entry.resource), mode, deleted)


def _type_and_id(url: str) -> str:
    """ "Patient/1" from Patient/1, its absolute address, or the address of a version."""
    parts = url.split("?", maxsplit=1)[0].split("/_history", maxsplit=1)[0].rstrip("/").split("/")
    return "/".join(parts[-2:]) if len(parts) >= 2 else ""


# --- a page whose JSON is broken somewhere --------------------------------------------------------


def _salvage(raw: bytes) -> Page:
    """Entries cut out of a Bundle that does not parse as a whole."""
    if not re.search(rb'"resourceType"\s*:\s*"Bundle"', raw):
        raise NotAPage("JSON that cannot be read and is no Bundle")
    listed = _member(raw, b'"entry"')
    if not listed:
        raise NotAPage("a Bundle whose JSON cannot be read")
    entries = tuple(_read_entry(item) for item in _items(listed))
    following = ""
    try:
        links = msgspec.json.decode(_member(raw, b'"link"') or b"[]", type=list[_Link])
        following = next((link.url for link in links if link.relation == "next"), "")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NotAPage("a Bundle whose JSON and links cannot be read") from None
    return Page(entries, following, None)


def _member(raw: bytes, key: bytes) -> bytes:
    """The bytes of the object or array under `key` on the first level of `raw`; b"" if there is none."""
    depth = 0
    start = -1
    pending = False
    for token in tokens(raw):
        kind = token.lastindex
        if kind == UNENDED:
            break
        if kind == OPENING:
            depth += 1
            if pending and depth == 2:
                start = token.start()
        elif kind == CLOSING:
            depth -= 1
            if start >= 0 and depth == 1:
                return raw[start : token.end()]
        pending = kind == KEY and depth == 1 and token[STRING] == key
    return b""


def _items(array: bytes) -> Iterator[bytes]:
    """The objects of an array, by their brackets, and anything else between the commas."""
    depth = 0
    start = end = 1
    for token in tokens(array):
        kind = token.lastindex
        if kind == OPENING:
            depth += 1
            if depth == 2:
                start = token.start()
        elif kind == CLOSING:
            depth -= 1
            if depth <= 1:
                between = array[end : start if depth else token.start()].strip(b" \t\r\n,")
                if between:
                    yield between
                if depth:
                    yield array[start : token.end()]
                end = token.end()


# --- where the next page is -----------------------------------------------------------------------


def follow(base: str, current: str, link: str, type: str) -> str:
    """The address below `base` that a `next` link on the page `current` means.

    Servers write it relative (to the page or to the base), absolute, or with the address that they have
    behind a proxy. The last kind is moved below `base`, so that we never send a request to another host.
    """
    base = base.rstrip("/")
    if "://" not in link:
        if link.startswith("?"):
            # Relative to the base if it is a paging token of the server, otherwise to the page.
            return f"{base}{link}" if "_getpages" in link else current.split("?", maxsplit=1)[0] + link
        if link.startswith("/"):
            resolved = urljoin(current, link)
            return resolved if _below(base, resolved) else _rebased(base, resolved, type)
        return f"{base}/{link}"
    return link if _below(base, link) else _rebased(base, link, type)


def _below(base: str, url: str) -> bool:
    mine, other = urlsplit(base), urlsplit(url)
    same = (mine.scheme, mine.netloc.lower()) == (other.scheme, other.netloc.lower())
    return same and (other.path.rstrip("/") == mine.path or other.path.startswith(f"{mine.path}/"))


def _rebased(base: str, url: str, type: str) -> str:
    """The page at `url`, which a server behind a proxy wrote, as an address below `base`."""
    parts = urlsplit(url)
    steps = [step for step in parts.path.split("/") if step]
    mine = urlsplit(base)
    last_step = mine.path.rsplit("/", 1)[-1]
    if type in steps:
        tail = steps[steps.index(type) :]
    else:
        tail = steps[steps.index(last_step) + 1 :] if last_step in steps else []
    path = "/".join([mine.path.rstrip("/"), *tail]) or "/"
    return urlunsplit((mine.scheme, mine.netloc, path, parts.query, ""))
