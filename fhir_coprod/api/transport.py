"""What proxies say of the caller, and which other sites' pages may call (CORS)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.types import Message, Scope, Send

Network = IPv4Network | IPv6Network


class Proxies:
    """The proxies of the settings: only what they say is believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: Sequence[Network] = [ip_network(one) for one in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def believe(self, scope: Scope) -> None:
        """Put the caller's address, and how they came, in the place of the proxy's."""
        address, port = scope.get("client") or ("", 0)
        if not self._is_ours(address):
            return
        said: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in (_FOR, _PROTO):
                said.setdefault(name, []).extend(value.decode("latin-1").split(","))
        # From the end: what stands before the address that our own proxy has added, anybody can have sent.
        for hop in reversed(said.get(_FOR, [])):
            address = _bare(hop.strip())
            if not self._is_ours(address):
                break
        scope["client"] = (address, port)
        proto = said.get(_PROTO, [""])[-1].strip().lower()
        if proto in ("http", "https"):
            scope["scheme"] = proto

    def _is_ours(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)


_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
UNKNOWN: Final = "0.0.0.0"  # noqa: S104 - nothing listens there
"""In the place of an address that a proxy says and that is none: it is not this machine's."""


def _bare(hop: str) -> str:
    """An address without a port; `UNKNOWN` if it is none."""
    text = hop.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return UNKNOWN


class Origins:
    """The sites whose pages may call. They bring a token; cookies are of no use to them."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(one.lower().encode() for one in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def answering(self, scope: Scope, send: Send) -> Send:
        """`send`, which also tells the browser that its page may call and read the answer."""
        origin = dict(scope["headers"]).get(b"origin", b"")
        if origin.lower() not in self._origins or not _is_for_programs(scope["path"]):
            return send
        more = [(b"access-control-allow-origin", origin), (b"vary", b"origin"), _EXPOSED]
        more += _PREFLIGHT if is_preflight(scope) else ()

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        return telling


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks if a page of another site may call."""
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"etag, last-modified, location, content-location, retry-after, www-authenticate",
)
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, accept, prefer, if-match, if-none-match, if-none-exist,"
        b" if-modified-since",
    ),
    (b"access-control-max-age", b"600"),
)


def _is_for_programs(path: str) -> bool:
    return path.startswith(("/fhir", "/auth/", "/.well-known/"))
