"""The request that handlers work on: `Call`, whether it came over HTTP or as an entry of a Bundle."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from starlette.types import Receive, Scope

from fhir_coprod import jsontext
from fhir_coprod.access.rights import EVERYTHING, Rights
from fhir_coprod.api.formats import FHIR_JSON, Preferences, body_type, negotiated, preferences
from fhir_coprod.errors import BadRequest, TooLarge, UnsupportedMediaType
from fhir_coprod.jsontext import Document
from fhir_coprod.settings import LimitSettings
from fhir_coprod.store import links, matching

Pairs = links.Pairs
pairs = matching.pairs

_PRESENTATION = ("_format", "_pretty")
_GZIP_MEMBERS, _GZIP_BYTES, _PLAIN_BYTES = 10_000, 65_536, 1_048_576
"""Most members that a gzip body may have, and how many bytes are unpacked at a time, before and after."""
_GZIP_GROWTH = 1_100
"""No gzip body is more than so many times as long unpacked."""
_SMALL_BODY = 64_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends the request.

    address: of the connection; "" within the same process
    rights:  what they may do
    """

    address: str = ""
    rights: Rights = EVERYTHING

    @property
    def is_local(self) -> bool:
        return _is_local(self.address)


# Not frozen, because that alone would cost a read a tenth of its time. Nobody changes a Call anyway.
@dataclass(slots=True)
class Call:
    """A request, together with the interaction it asks for.

    interaction: CapabilityStatement code ("read", "search-type", …) or an operation's "$name"
    type, id, version: what the path names; "" where it names none
    member: the type that is searched in the compartment of type and id; "*" is all of them
    headers: lower-case names
    base: the address of this server's FHIR root, without a slash at the end
    parsed: the body as a document, if it has been parsed already (an entry of a Bundle)
    receive: gives the body piece by piece, where a handler reads it itself
    """

    interaction: str
    method: str
    base: str
    type: str = ""
    id: str = ""
    version: str = ""
    member: str = ""
    query: Pairs = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    parsed: Document | None = None
    caller: Caller = Caller()
    receive: Any = None

    @property
    def path(self) -> str:
        """The path of the URL under the base, without the query."""
        return "/".join(part for part in (self.type, self.id, self.member) if part)

    @property
    def is_conditional(self) -> bool:
        """Whether it is a write that finds its resource by criteria."""
        if self.interaction == "create":
            return bool(self.criteria) or "if-none-exist" in self.headers
        return self.interaction in ("update", "patch", "delete") and not self.id

    def parameter(self, name: str) -> str:
        """The first query parameter of that name; "" when there is none."""
        if not self.query:
            return ""
        return next((value for key, value in self.query if key == name), "")

    @property
    def criteria(self) -> Pairs:
        """The query without the parameters that only concern the format of the answer."""
        return tuple(pair for pair in self.query if pair[0] not in _PRESENTATION)

    @property
    def preferences(self) -> Preferences:
        return preferences(self.headers.get("prefer", ""))

    @property
    def media_type(self) -> str:
        """The media type to answer in; raises NotAcceptable."""
        return negotiated(self.headers.get("accept", ""), self.parameter("_format"))

    @property
    def pretty(self) -> bool:
        return self.parameter("_pretty") == "true"

    @property
    def body_type(self) -> str:
        return body_type(self.headers.get("content-type", ""))

    def document(self) -> Document:
        """The body as one FHIR resource; raises UnsupportedMediaType, NotJson or BadRequest."""
        if self.parsed is not None:
            return self.parsed
        if not self.body:
            raise BadRequest("The request has no body; send one FHIR resource as JSON.")
        if self.body_type != FHIR_JSON:
            raise UnsupportedMediaType(f"Send the resource as JSON with Content-Type: {FHIR_JSON}.")
        return jsontext.parse(self.body)


@lru_cache(1024)
def caller_at(address: str) -> Caller:
    """The caller behind a connection from this address."""
    return Caller(address)


@lru_cache(1024)
def _is_local(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        # Not from a network: a Unix socket or the same process.
        return True


def unread(interaction: str, scope: Scope, named: Mapping[str, str], rights: Rights) -> Call:
    """What is known of a request that was refused before it was understood.

    named:  the values in its path
    rights: of callers who have not said who they are
    """
    return Call(
        interaction=interaction,
        method=scope["method"],
        base="",
        type=named.get("type") or named.get("owner", ""),
        id=named.get("id", ""),
        member=named.get("member", ""),
        caller=Caller((scope.get("client") or ("",))[0], rights),
    )


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers with lower-case names; values of a repeated header are joined by a comma, as in HTTP."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def read_body(
    receive: Receive, headers: Mapping[str, str], limit: int, hold: Callable[[int], Awaitable[None]]
) -> bytes:
    """The whole body as it came; never holds more than `limit` bytes.

    hold: waits for room for so many bytes, before a long body is read; a small one needs none

    Raises TooLarge as early as possible: with an honest Content-Length, before the first byte.
    """
    announced = headers.get("content-length", "")
    length = int(announced) if announced.isdecimal() else None
    if length is not None and length > limit:
        raise _too_large(limit)
    growth = _GZIP_GROWTH if "content-encoding" in headers else 1
    is_held = False
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("The connection ended before the body was complete; send it again.")
        if not is_held and (length or size) * growth > _SMALL_BODY:
            is_held = True
            await hold(min(limit, length * growth if length else limit))
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    return b"".join(chunks)


def plain_body(body: bytes, headers: Mapping[str, str], limits: LimitSettings) -> bytes:
    """The body unpacked, if it came as gzip; never holds more than `limits` allow.

    Raises TooLarge before the body is decoded: as values, twenty megabytes of `{},` would be a gigabyte.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise UnsupportedMediaType("The body may be compressed with gzip only; send it so, or plain.")
    if encoding == "gzip" and body:
        body = _unpacked(body, limits.body_bytes)
    if jsontext.has_more_elements(body, limits.elements):
        raise TooLarge(
            "The body holds more elements than this server takes at once "
            f"({limits.elements:,} values and members); split it, or use `fhir-coprod load`."
        )
    return body


def _unpacked(body: bytes, limit: int) -> bytes:
    """The members of a gzip body one after another (RFC 1952, 2.2)."""
    plain: list[bytes] = []
    size = at = members = 0
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    while at < len(body) or not stream.eof:
        if stream.eof:
            members += 1
            if members > _GZIP_MEMBERS:
                raise BadRequest("The gzip body comes in too many pieces; pack it as a whole.")
            stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        piece = body[at : at + _GZIP_BYTES]
        if not piece:
            raise BadRequest("The gzip body ends too early; send it again.")
        try:
            plain.append(stream.decompress(piece, _PLAIN_BYTES))
        except zlib.error:
            raise BadRequest("The body says it is gzip but cannot be unpacked; send it again.") from None
        size += len(plain[-1])
        if size > limit:
            raise _too_large(limit)
        at += len(piece) - len(stream.unused_data) - len(stream.unconsumed_tail)
    return b"".join(plain)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than this server takes ({limit:,} bytes); split it, or use `fhir-coprod load`."
    )
