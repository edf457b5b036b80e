"""Access control: who may do what. Every call passes here, over HTTP or inside a Bundle.

As long as nobody is asked who they are (`gate.py`), the only credential is to be on this machine. So a call
from a network address is refused. One whose Host is not ours is refused in any case: otherwise a web page
that has pointed its own name at 127.0.0.1 (DNS rebinding) could read the store through the visitor's browser.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from fhir_coprod.api.call import Caller
from fhir_coprod.errors import CoprodError, NotAllowed

_LOOPBACK_NAMES = frozenset({"localhost", "localhost.", "127.0.0.1", "[::1]", ""})


class Misdirected(CoprodError):
    """The Host header names a different server."""

    status = 421
    code = "forbidden"


def admit(interaction: str, type: str, id: str, caller: Caller) -> None:
    """Let the caller do this, or raise NotAllowed.

    interaction: CapabilityStatement code or "$operation"; type, id: "" where the call names none
    """
    if caller.rights.kind == "local" and not caller.is_local:
        what = f"{interaction} on {type}/{id}" if id else f"{interaction} on {type or 'the whole server'}"
        raise NotAllowed(
            f"Refused: {what}. Nobody has to say who they are here, so only this machine itself is served; "
            "whoever runs this server can register programs or let people sign in (docs/access.md)."
        )


class HostCheck:
    """Checks a Host header against the names of this server, in any letter case, with any port or none.

    A name may end with the dot of the DNS root (https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2).
    """

    def __init__(self, base_url: str, further: Iterable[str] = ()) -> None:
        public = urlsplit(base_url).hostname if base_url else None
        self._names = _LOOPBACK_NAMES | (_spellings(public) if public else set())
        for name in further:
            self._names |= {name.lower()} if name.startswith("[") else _spellings(name)

    def check(self, host: str) -> None:
        """`host` is the Host header, port included. Raises Misdirected."""
        name, colon, port = host.rpartition(":")
        # A port may be empty, and the colons inside [::1] do not begin one.
        if not colon or (port and not port.isdecimal()):
            name = host
        if name.lower() not in self._names:
            raise Misdirected(
                "This server is not known under that Host; behind a proxy, set site.base_url to its address; "
                "access.hosts may name others."
            )


def _spellings(public: str) -> set[str]:
    """The ways in which a lower-case Host header may spell the host of a URL."""
    if ":" in public:
        return {f"[{public}]"}
    name = public.lower().removesuffix(".")
    return {name, f"{name}."}
