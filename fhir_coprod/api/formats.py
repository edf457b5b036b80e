"""Reads HTTP headers of FHIR: media types, `Accept`, `_format`, `Prefer`, entity tags and HTTP dates.

Sources: https://hl7.org/fhir/R4/http.html (mime types, Prefer, version awareness), RFC 9110 (Accept, ETag),
RFC 7240 (Prefer). Plain functions on header values; nothing here knows the server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import Literal

from fhir_coprod.errors import BadRequest, MissingVersion, NotAcceptable, UnsupportedMediaType
from fhir_coprod.remembering import remembering_short

FHIR_JSON = "application/fhir+json"
JSON_PATCH = "application/json-patch+json"
FORM = "application/x-www-form-urlencoded"

_ANSWERS = {
    FHIR_JSON: FHIR_JSON,
    "application/json": "application/json",
    "text/json": "text/json",
    "application/json+fhir": FHIR_JSON,  # the name before STU3; old clients still send it
    "json": FHIR_JSON,
    "*/*": FHIR_JSON,
    "application/*": FHIR_JSON,
    "text/*": "text/json",
}
_VERSIONS = {"", "4.0", "4.0.1"}
SHORT = 500
"""Characters of a header whose meaning is remembered."""
_RESOURCE_BODIES = {FHIR_JSON, "application/json", "text/json", "application/json+fhir"}


@remembering_short(512, SHORT)
def negotiated(accept: str, format: str) -> str:
    """The media type to answer in; `_format` wins over `Accept`.

    Raises NotAcceptable if they do not allow JSON.
    """
    if format:
        # An unescaped + in a URL arrives as a space.
        name, version, _ = _media_range(format.replace(" ", "+"))
        if name in _ANSWERS and version in _VERSIONS:
            return _ANSWERS[name]
        raise NotAcceptable(
            "This server answers in JSON (FHIR 4.0) only; ask with _format=json or leave it out."
        )
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    if not ranges:
        return FHIR_JSON
    fitting = [
        (q, name) for name, version, q in ranges if q > 0 and name in _ANSWERS and version in _VERSIONS
    ]
    if not fitting:
        raise NotAcceptable(
            f"This server answers in JSON (FHIR 4.0) only; send Accept: {FHIR_JSON} or leave Accept out."
        )
    best = max(q for q, _ in fitting)
    return next(_ANSWERS[name] for q, name in fitting if q == best)


def _media_range(text: str) -> tuple[str, str, float]:
    """Name, fhirVersion parameter ("" when absent) and quality of one media range."""
    name, *parameters = text.split(";")
    version, quality = "", 1.0
    for parameter in parameters:
        key, _, value = parameter.strip().partition("=")
        if key.strip().lower() == "fhirversion":
            version = value.strip().strip('"')
        elif key.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return name.strip().lower(), version, quality


@remembering_short(256, SHORT)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether the answer may be compressed: gzip is named, and its quality is not 0."""
    ranges = [_media_range(part) for part in accept_encoding.split(",")]
    return any(name == "gzip" and quality > 0 for name, _, quality in ranges)


@remembering_short(512, SHORT)
def body_type(content_type: str) -> str:
    """The media type of a request body without its parameters; every name for FHIR JSON becomes FHIR_JSON.

    Raises UnsupportedMediaType for another FHIR version or a charset other than UTF-8.
    """
    name, version, _ = _media_range(content_type)
    if version not in _VERSIONS:
        raise UnsupportedMediaType(
            f"This server speaks FHIR 4.0, not {version[:20]}; convert the resource first."
        )
    charset = re.search(r'charset\s*=\s*"?([\w-]+)', content_type, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(f"FHIR is UTF-8; send the body in UTF-8 instead of {charset[1][:20]}.")
    return FHIR_JSON if name in _RESOURCE_BODIES else name


@dataclass(frozen=True, slots=True)
class Preferences:
    """The `Prefer` header: how much comes back after a write, how unknown parameters are treated, and whether
    the answer may come later."""

    returning: Literal["minimal", "representation", "OperationOutcome", ""] = ""
    strict: bool = False
    is_async: bool = False
    lenient: bool = False
    """Asked for; without a word either way some operations are strict."""


_PARTS = re.compile(r"[,;]")


@remembering_short(256, SHORT)
def preferences(prefer: str) -> Preferences:
    """Read the header; unknown preferences are ignored, and the first of a repeated one counts (RFC 7240)."""
    returning: Literal["minimal", "representation", "OperationOutcome", ""] = ""
    handling = ""
    is_async = False
    for part in _PARTS.split(prefer):
        key, _, value = part.strip().partition("=")
        value = value.strip().strip('"')
        match key.strip().lower(), value:
            case "return", ("minimal" | "representation" | "OperationOutcome"):
                returning = returning or value
            case "handling", ("strict" | "lenient"):
                handling = handling or value
            case "respond-async", "":
                is_async = True
    return Preferences(returning, handling == "strict", is_async, handling == "lenient")


def without_async(prefer: str) -> str:
    """The header without the wish to be answered later."""
    parts = (part.strip() for part in _PARTS.split(prefer))
    return ", ".join(part for part in parts if part.lower() != "respond-async")


_ETAG = re.compile(r'\s*(?:W/)?"([^"]*)"\s*(?:,|$)')


_BARE = re.compile(r"\s*\d{1,9}\s*")


def entity_tags(header: str, name: str, *, bare: bool = False) -> frozenset[str] | None:
    """The versions that If-Match or If-None-Match names; None for `*`.

    Weak and strong tags mean the same, as in FHIR. `bare` also takes a version without quotes, which fhirpy
    sends to ask whether there is a newer one. Raises MissingVersion when malformed.
    """
    if header.strip() == "*":
        return None
    if bare and _BARE.fullmatch(header):
        return frozenset({header.strip()})
    tags, at = [], 0
    while at < len(header):
        match = _ETAG.match(header, at)
        if not match:
            raise MissingVersion(f'{name} must name a version as W/"3", as the ETag of a read gives it.')
        tags.append(match[1])
        at = match.end()
    if not tags:
        raise MissingVersion(f"{name} names no version; leave it out, or name one.")
    return frozenset(tags)


@lru_cache(4096)
def http_date(seconds: int) -> str:
    """Seconds since 1970 in the format of `Last-Modified`; GMT."""
    return formatdate(seconds, usegmt=True)


def from_http_date(text: str) -> datetime | None:
    """The time of an HTTP date; None if it is not one (RFC 9110: then the header is ignored)."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def is_modified(updated: datetime, since: str) -> bool:
    """Whether something has changed since a time: If-Modified-Since, which is an HTTP date, or an entry's
    ifModifiedSince, which is an instant. A value that is neither is ignored."""
    date = from_http_date(since)
    if date is not None:
        # HTTP dates have whole seconds: who was told "12:00:00" already has the version of 12:00:00.700.
        return updated.replace(microsecond=0) > date
    try:
        return updated > time_parameter(since, "ifModifiedSince")
    except BadRequest:
        return True


def time_parameter(text: str, name: str) -> datetime:
    """Read a FHIR instant, or a date, which means its start in UTC; raises BadRequest with `name`."""
    try:
        # An unescaped + of a time zone arrives as a space.
        found = datetime.fromisoformat(text.replace(" ", "+"))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadRequest(f"{name} must be a time such as 2026-03-02T09:00:00Z.") from None
