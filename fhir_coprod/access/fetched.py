"""Key sets of others by their addresses: fetched within limits, kept for an hour, and fetched again for a key
that is not known, at most once a minute.

An address comes from who runs this server, never from a token. Nobody is followed elsewhere.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import httpx

from fhir_coprod.access.public_keys import LONGEST_SET, SMART, Keys, is_named, read_keys
from fhir_coprod.addresses import is_loopback, is_safe
from fhir_coprod.errors import BadRequest, IssuerError

log = logging.getLogger("fhir_coprod.access")

SECONDS: Final = 5.0
FRESH: Final = 3600.0
"""Seconds for which keys are taken without asking again."""
STALE: Final = 24 * 3600.0
"""Seconds for which they are taken if their address cannot be asked again."""
AGAIN: Final = 60.0
"""Seconds before the same address is asked again, whether it answered or not."""


def get(url: str, what: str) -> bytes:
    """What is at an address of somebody whom the settings name. Raises IssuerError.

    what: in words, for messages
    """
    if not is_safe(url):
        raise IssuerError(f"{what} is fetched by https only.")
    body = bytearray()
    until = time.monotonic() + SECONDS
    try:
        with (
            httpx.Client(follow_redirects=False, timeout=SECONDS, trust_env=not is_loopback(url)) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise IssuerError(f"{what} is not there: its server answered {answer.status_code}.")
            for part in answer.iter_bytes():
                body += part
                if len(body) > LONGEST_SET or time.monotonic() > until:
                    raise IssuerError(f"{what} is longer than any that could be meant, or comes too slowly.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise IssuerError(f"{what} cannot be fetched ({type(error).__name__}).") from None
    return bytes(body)


@dataclass(frozen=True, slots=True)
class _Kept:
    keys: Keys
    since: float
    tried: float


class FetchedKeys:
    """The key sets that one process has fetched. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._locks: dict[str, threading.Lock] = {}

    def keys(self, url: str, kid: str, what: str, taken: Collection[str] = SMART) -> Keys:
        """The keys at an address; they are fetched if there is none of this name among those that are kept.

        Raises IssuerError or BadRequest if there are none to be had.
        """
        with self._locks.setdefault(url, threading.Lock()):
            kept, now = self._kept.get(url), self._clock()
            if kept is not None:
                is_fresh = now - kept.since < FRESH and is_named(kept.keys, kid)
                if is_fresh or now - kept.tried < AGAIN:
                    return self._still(kept, now, what)
            try:
                found = read_keys(get(url, what), what, taken)
            except (IssuerError, BadRequest) as error:
                log.warning("%s", error)
                kept = _Kept(kept.keys if kept else (), kept.since if kept else now - STALE, now)
                self._kept[url] = kept
                return self._still(kept, now, what)
            self._kept[url] = _Kept(found, now, now)
            return found

    def _still(self, kept: _Kept, now: float, what: str) -> Keys:
        if now - kept.since >= STALE:
            raise _Unknown(f"{what} cannot be had just now.")
        return kept.keys

    def keep_only(self, urls: Collection[str]) -> None:
        """Forget all other addresses."""
        for url in [one for one in self._kept if one not in urls]:
            self._kept.pop(url, None)
            self._locks.pop(url, None)


class _Unknown(IssuerError):
    """There are no keys to check a token by."""


def require(url: str, what: str) -> bytes:
    """What a person names as an address of keys, fetched once, to say at once what is wrong with it."""
    if not is_safe(url):
        raise BadRequest(f"{what}: write an https address without user, password and fragment.")
    text = get(url, what)
    read_keys(text, what)
    return text
