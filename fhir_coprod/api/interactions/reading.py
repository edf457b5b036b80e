"""Interactions that only read: read, vread, history and search."""

from __future__ import annotations

from fhir_coprod.access.sight import sight, sight_on
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call, Pairs, pairs
from fhir_coprod.api.endpoint import INLINE_BYTES, Endpoint
from fhir_coprod.api.formats import FORM, entity_tags, is_modified, time_parameter
from fhir_coprod.api.interactions import audit_events, searchset, subset
from fhir_coprod.errors import BadRequest, NotFound, UnknownParameter, UnsupportedMediaType
from fhir_coprod.store import Query, Version
from fhir_coprod.store.values import time_meant

DEFAULT_PAGE = 50
"""Versions on a page of history without `_count`."""


async def read(call: Call, endpoint: Endpoint) -> Answer:
    """GET [type]/[id]: the current version, byte for byte as stored."""
    if call.type == "AuditEvent" and endpoint.auditing.minds(call):
        return await audit_events.read(call, endpoint)
    return await _shown(call, endpoint, await endpoint.read(call.type, call.id, call.caller.rights))


async def vread(call: Call, endpoint: Endpoint) -> Answer:
    """GET [type]/[id]/_history/[vid]: one version; 410 if that version is the deletion."""
    if not (call.version.isascii() and call.version.isdecimal()) or len(call.version) > 9:
        raise NotFound(f"{call.path} has no version of that name; versions here are 1, 2, 3 and so on.")
    limit = sight_on(call.caller.rights, "r", call.type)
    version = await endpoint.look(endpoint.store.vread, call.type, call.id, int(call.version), limit)
    return await _shown(call, endpoint, version)


async def _shown(call: Call, endpoint: Endpoint, version: Version) -> Answer:
    if _is_known(call, version):
        return Answer(304, version=version)
    if call.query and len(version.body) > INLINE_BYTES:
        return await endpoint.in_time(_cut_apart(call, endpoint, version))
    return Answer(200, subset.cut(version.body, call.query), version)


async def _cut_apart(call: Call, endpoint: Endpoint, version: Version) -> Answer:
    size = len(version.body)
    async with endpoint.bodies(size):
        return Answer(200, await endpoint.check(size, subset.cut, version.body, call.query), version)


def _is_known(call: Call, version: Version) -> bool:
    """Whether the caller already has this version; If-None-Match wins over If-Modified-Since."""
    tag = call.headers.get("if-none-match")
    if tag:
        known = entity_tags(tag, "If-None-Match", bare=True)
        return known is None or str(version.version) in known
    header = call.headers.get("if-modified-since")
    return bool(header) and not is_modified(version.updated, str(header))


async def search(call: Call, endpoint: Endpoint) -> Answer:
    """GET [type]?… and POST [type]/_search, also without a type or in a compartment."""
    asked = (*call.query, *_posted(call))
    if "AuditEvent" in (call.type, call.member) and endpoint.auditing.minds(call):
        return await audit_events.search(call, endpoint, asked)

    def look() -> Answer:
        query = Query.parse(
            call.member.strip("*") if call.member else call.type,
            asked,
            strict=call.preferences.strict,
            max_count=endpoint.settings.limits.page,
            base=call.base,
            zone=endpoint.settings.site.zone,
            compartment=(call.type, call.id) if call.member else None,
            sight=sight(call.caller.rights, "s"),
        )
        page = endpoint.store.search(query, endpoint.settings.limits.answer_bytes)
        return searchset.searchset(call, query, page)

    return await endpoint.search(asked, look)


def _posted(call: Call) -> Pairs:
    if call.method != "POST":
        return ()
    if call.body and call.body_type != FORM:
        raise UnsupportedMediaType(f"Send the parameters of _search as a form: Content-Type: {FORM}.")
    try:
        return pairs(call.body.decode("ascii"))
    except UnicodeDecodeError:
        raise BadRequest("The form is not percent-encoded UTF-8; encode it again.") from None


def _count(text: str, most: int) -> int:
    """Entries on a page: as many as were asked for, up to the limit; raises BadRequest if no number."""
    if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise BadRequest("_count must be a whole number, such as _count=50.")
    return min(int(text or DEFAULT_PAGE), most)


def _at(text: str) -> tuple[int, int] | None:
    """The time that `_at` means, in milliseconds; raises BadRequest if it is none."""
    if not text:
        return None
    # An unescaped + of a time zone arrives as a space.
    meant = time_meant(text.replace(" ", "+"))
    if meant is None:
        raise BadRequest("_at must be a time such as 2026-03-02T09:00:00Z, or a day, month or year.")
    return meant.low // 1000, -(-meant.high // 1000)


async def history(call: Call, endpoint: Endpoint) -> Answer:
    """GET [type]/[id]/_history, [type]/_history and _history: versions, the newest first."""
    unknown = sorted(
        {name for name, _ in call.criteria} - {"_since", "_at", "_count", "_cursor"} - subset.PARAMETERS
    )
    if unknown and call.preferences.strict:
        raise UnknownParameter(
            f"History takes _since, _at and _count, not {unknown[0][:64]!r}; leave it out."
        )
    count = _count(call.parameter("_count"), endpoint.settings.limits.page)
    since = time_parameter(call.parameter("_since"), "_since") if call.parameter("_since") else None
    at = _at(call.parameter("_at"))
    before = call.parameter("_cursor")
    if before and not (before.isascii() and before.isdecimal() and len(before) < 19):
        raise BadRequest("_cursor is not one that this server gave; follow the next link as it came.")
    rights, letter = call.caller.rights, "r" if call.id else "s"
    limit = sight_on(rights, letter, call.type) if call.type else sight(rights, letter)
    used = tuple(
        (name, str(count) if name == "_count" else value)
        for name, value in call.criteria
        if name not in unknown
    )

    def look() -> Answer:
        page = endpoint.store.history_page(
            call.type or None,
            call.id or None,
            since=since,
            at=at,
            before=int(before) if before else None,
            count=count,
            most_bytes=endpoint.settings.limits.answer_bytes,
            sight=limit,
        )
        if call.id and not (page.versions or page.more or before or since or at):
            raise NotFound(f"{call.path} has never been here; search for it, or check the id.")
        return searchset.history(call, used, page)

    return await endpoint.in_thread(look)
