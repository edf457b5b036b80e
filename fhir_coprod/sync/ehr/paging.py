"""Reads pages of a search or history as servers really send them, and finds the address of the next page.

Entries are kept as the bytes that came. A page with broken JSON is not lost as a whole: its entries are cut
out and read one by one (`salvage`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import msgspec

from fhir_coprod import jsontext
from fhir_coprod.errors import NotJson
from fhir_coprod.jsontext import Document
from fhir_coprod.sync.ehr import salvage


class NotAPage(Exception):
    """The answer is not a Bundle; the message says what it is instead."""


@dataclass(frozen=True)
class Entry:
    """One Bundle.entry. `resource` is b"" if there is none; `deleted` is "Type/id" of a deleted record."""

    resource: bytes
    mode: str = ""
    """search.mode: match, include, outcome, or "" """
    deleted: str = ""
    address: str = ""
    """fullUrl: the address of the record as the server writes it."""

    @cached_property
    def document(self) -> Document | None:
        """What the resource says, read once for all who look at it; None when it cannot be read."""
        try:
            return jsontext.parse(self.resource)
        except NotJson:
            return None

    @property
    def is_record(self) -> bool:
        """Whether it counts in the total of its search or history: no remark, and nothing that came along."""
        if self.deleted:
            return True
        is_remark = self.document is not None and self.document.type == "OperationOutcome"
        return self.mode in ("", "match") and bool(self.resource) and not is_remark

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


class _Search(msgspec.Struct):
    mode: str | None = ""


class _Request(msgspec.Struct):
    method: str | None = ""
    url: str | None = ""


class _Response(msgspec.Struct):
    status: str | None = ""


class _Entry(msgspec.Struct):
    fullUrl: str | None = ""  # noqa: N815 (FHIR's spelling)
    resource: msgspec.Raw = msgspec.Raw(b"")
    search: _Search | None = None
    request: _Request | None = None
    response: _Response | None = None


class _Bundle(msgspec.Struct):
    resourceType: str = ""  # noqa: N815 (FHIR's spelling)
    link: Any = None
    entry: list[msgspec.Raw] | None = None
    total: Any = None


_bundle = msgspec.json.Decoder(_Bundle).decode
_entry = msgspec.json.Decoder(_Entry).decode
_IS_BUNDLE = re.compile(rb'"resourceType"\s*:\s*"Bundle"')
_TYPE = re.compile(r"[A-Z][A-Za-z]{2,63}")
_GONE = ("404", "410")


def read(raw: bytes) -> Page:
    """The page in `raw`. Raises NotAPage if it is not a Bundle, not even a broken one."""
    try:
        bundle = _bundle(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _salvage(raw)
    if bundle.resourceType != "Bundle":
        raise NotAPage(f"a {bundle.resourceType or 'JSON object without resourceType'} instead of a Bundle")
    entries = tuple(_read_entry(bytes(entry)) for entry in bundle.entry or ())
    return Page(entries, _next(bundle.link), _count(bundle.total))


def _next(links: object) -> str:
    """The next link; "" if there is none, or if it is null. Raises NotAPage if it cannot be told."""
    for link in links if isinstance(links, list) else () if links is None else (links,):
        relation = link.get("relation") if isinstance(link, dict) else 0
        url = link.get("url") if isinstance(link, dict) else 0
        if not isinstance(relation, str | None) or not isinstance(url, str | None):
            raise NotAPage("a Bundle whose links cannot be read")
        if relation == "next":
            return (url or "").strip()
    return ""


def _count(total: object) -> int | None:
    """Bundle.total, also where a server writes it as a text; None if it says nothing."""
    if isinstance(total, str) and total.isascii() and total.isdecimal() and len(total) < 16:
        return int(total)
    return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None


def _read_entry(raw: bytes) -> Entry:
    """One entry. If it cannot be parsed, its bytes become a `resource`, which will not parse either."""
    if raw == b"null":
        return Entry(b"")
    try:
        entry = _entry(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        inner = salvage.member(raw, b'"resource"')
        return Entry(inner or raw)
    address = entry.fullUrl or ""
    deleted = _deleted(entry, address)
    mode = (entry.search.mode or "") if entry.search is not None else ""
    resource = b"" if deleted or entry.resource == _NULL else bytes(entry.resource)
    return Entry(resource, mode, deleted, address)


_NULL: Final = msgspec.Raw(b"null")


def _deleted(entry: _Entry, address: str) -> str:
    """ "Type/id" if the entry of a history says that the record is deleted.

    Usually by a DELETE of its address; but also by the DELETE of a search that found it, or by an answer
    without a resource to a later request (404, 410).
    """
    request = entry.request
    if request is None:
        return ""
    method = request.method or ""
    status = (entry.response.status or "") if entry.response is not None else ""
    if method != "DELETE" and not (status.startswith(_GONE) and bytes(entry.resource) in (b"", b"null")):
        return ""
    url = request.url or ""
    return _type_and_id(url) or _type_and_id(address)


def _type_and_id(url: str) -> str:
    """ "Patient/1" from Patient/1, its absolute address, or the address of a version."""
    parts = url.split("?", maxsplit=1)[0].split("/_history", maxsplit=1)[0].rstrip("/").split("/")
    return "/".join(parts[-2:]) if len(parts) >= 2 and _TYPE.fullmatch(parts[-2]) else ""


def _salvage(raw: bytes) -> Page:
    """Entries cut out of a Bundle that does not parse as a whole, or has entries that are not a list."""
    if not _IS_BUNDLE.search(raw):
        raise NotAPage("JSON that cannot be read and is no Bundle")
    lone = salvage.member(raw, b'"entry"')
    if lone[:1] == b"{":  # one entry, not in a list, as programs write it that come from XML
        raw = raw.replace(lone, b"[" + lone + b"]", 1)
    pieces = salvage.cut(raw)
    if pieces is None:
        raise NotAPage("a Bundle whose JSON cannot be read")
    try:
        following = _next(0 if pieces.links is None else pieces.links)
    except NotAPage:
        raise NotAPage("a Bundle whose JSON and links cannot be read") from None
    return Page(tuple(map(_read_entry, pieces.entries)), following, pieces.total)


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


def counted_on(before: str, now: str) -> str:
    """The address after `now`, if it differs from the one `before` it only in a number that went up.

    So a page that fails can be passed over where a server counts its pages; "" where it does not.
    """
    one, two = urlsplit(before), urlsplit(now)
    if (one.scheme, one.netloc, one.path) != (two.scheme, two.netloc, two.path):
        return ""
    old, new = parse_qsl(one.query), parse_qsl(two.query)
    different = [place for place, (was, is_now) in enumerate(zip(old, new, strict=False)) if was != is_now]
    if len(old) != len(new) or len(different) != 1:
        return ""
    name, value = new[different[0]]
    was = old[different[0]][1]
    if name != old[different[0]][0] or not (_is_number(was) and _is_number(value)) or int(value) <= int(was):
        return ""
    new[different[0]] = (name, str(2 * int(value) - int(was)))
    return urlunsplit((two.scheme, two.netloc, two.path, urlencode(new), ""))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 12


def base_of(entries: Iterable[Entry], own: str) -> str:
    """The base address by which the server calls itself on this page, if it is not `own`.

    Only if every entry that has an address has the same base and the id of its record: a server that shows
    other servers' records among its own writes several.
    """
    found: set[str] = set()
    for entry in entries:
        address = entry.address
        if entry.mode not in ("", "match") or not address.startswith("http"):
            continue
        if address.startswith(f"{own}/"):
            return ""
        base, _, name = address.partition(f"/{entry.document.type}/" if entry.document else "\n")
        if not name or name != entry.id or entry.document is None:
            return ""
        found.add(base)
    return found.pop() if len(found) == 1 else ""
