"""From a request to `Rights`: finds out by the token in its Authorization header who calls.

Whatever needs no store and no network is done at once, so that a read with a token that is known costs
little. What clients there are is looked at once a second at most, by one row: a client that was removed is
refused within a second, by every process.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from joserfc.jwk import ECKey

from fhir_coprod.access import clients as registered
from fhir_coprod.access import signing, tokens, words
from fhir_coprod.access.clients import CHANGED, Client
from fhir_coprod.access.fetched import FetchedKeys
from fhir_coprod.access.issuers import Issuers
from fhir_coprod.access.rates import Rates
from fhir_coprod.access.rights import EVERYTHING, Rights
from fhir_coprod.access.tokens import Holder
from fhir_coprod.access.words import Untrusted
from fhir_coprod.api.call import Caller, caller_at
from fhir_coprod.errors import NotSignedIn, TooMany, plain
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store

log = logging.getLogger("fhir_coprod.access")

LOOK_SECONDS: Final = 1.0
"""How old may be what is known of clients and keys."""
KNOWN_TOKENS: Final = 4_000
"""Tokens that are remembered as checked, by their digests."""
NOBODY: Final = Rights("program", "")
"""Somebody who has not said who they are, where nobody has to."""
_CHECK_AGAIN: Final = 300.0
"""Seconds after which a token is checked again, however long it is good for."""
_FAILURES_PER_SECOND, _FAILURES = 0.5, 30.0
"""How often tokens from one address may fail."""


class Gate:
    """Finds out who calls. It belongs to one event loop."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._on_loop = settings.store.url.startswith("sqlite")
        self.clients: Mapping[str, Client] = {}
        self.keys: Mapping[str, ECKey] = {}
        self.issuers = Issuers(settings.access.issuer)
        self.fetched = FetchedKeys()
        self.signer = signing.Signer(store, signing.default_file(settings))
        self._seen = ""
        self._look_at = float("-inf")
        self._looking: asyncio.Future[None] | None = None
        self._known: dict[bytes, Holder] = {}
        self.failures = Rates(_FAILURES_PER_SECOND, _FAILURES)
        per_second = settings.access.per_minute / 60
        self._is_limited = per_second > 0
        self._rates = Rates(per_second or 1.0, max(1.0, per_second * 10))
        self._is_configured = bool(settings.access.issuer or settings.access.sign_in)
        self.required = True

    @property
    def of_strangers(self) -> Rights:
        """What callers may do who have not said who they are."""
        return NOBODY if self.required else EVERYTHING

    # ------------------------------------------------------------------------------------- who there is

    def look(self) -> None:
        """See whether clients or keys have changed, and read them if they have."""
        now = self._clock()
        seen = self._store.setting(CHANGED)
        if seen != self._seen:
            with self._store.connect() as connection:
                self.clients = registered.clients(connection)
                self.keys = signing.public_keys(connection, time.time())
                for name in registered.damaged(connection):
                    log.error("the client %s is not as it was written: it may do nothing (db check)", name)
            self._known.clear()
            self.fetched.keep_only([one.jwks_url for one in self.clients.values() if one.jwks_url])
            self._seen = seen
        said = self._settings.access.required
        self.required = bool(seen) or self._is_configured if said is None else said
        self._look_at = now + LOOK_SECONDS

    async def fresh(self) -> None:
        """Return once what is known of clients and keys is no older than `LOOK_SECONDS`."""
        if self._clock() < self._look_at:
            return
        if self._on_loop:
            self.look()
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self.look))
        await asyncio.shield(self._looking)

    def look_again(self) -> None:
        """Let the next `fresh` look again, although it was done a moment ago."""
        self._look_at = float("-inf")

    # ---------------------------------------------------------------------------------------- who calls

    def at_once(self, address: str, headers: dict[str, str]) -> Caller | None:
        """The caller, if that needs neither the store nor a check of a signature; else None.

        The token is taken out of the headers: nobody behind this needs it.

        Raises NotSignedIn, TooMany.
        """
        if self._clock() >= self._look_at:
            return None
        given = headers.get("authorization")
        if given is None:
            if self.required:
                raise NotSignedIn("Say who you are: send a token in the header Authorization: Bearer …")
            return caller_at(address)
        if not self.required and not self._has_tokens:
            del headers["authorization"]  # as ever: nobody here asks who calls
            return caller_at(address)
        holder = self._known.get(_digest(given))
        if holder is None or holder.until <= time.time():
            return None
        del headers["authorization"]
        self._within_rate(holder)
        return Caller(address, holder.rights)

    async def caller(self, address: str, headers: dict[str, str], base: str) -> Caller:
        """The caller. Raises NotSignedIn, TooMany.

        base: our own address as the caller has called it
        """
        await self.fresh()
        found = self.at_once(address, headers)
        if found is not None:
            return found
        given = headers.pop("authorization", "")
        holder = await self._checked(given, base, address)
        self._remember(given, holder)
        self._within_rate(holder)
        return Caller(address, holder.rights)

    @property
    def _has_tokens(self) -> bool:
        return bool(self.clients) or bool(self._settings.access.issuer)

    async def _checked(self, given: str, base: str, address: str) -> Holder:
        place = failing(address)
        if seconds := self.failures.empty_for(place):
            raise TooMany("Too many tokens from there did not hold; try again later.", seconds)
        try:
            kind, _, text = given.partition(" ")
            if kind.lower() != "bearer":
                raise Untrusted("it is no bearer token")
            word = words.read(text.strip(" "))
            if word.claim("iss") in self.issuers:
                return await asyncio.to_thread(self.issuers.holder, word, time.time())
            if word.kid not in self.keys:  # perhaps another machine has just made its key
                self.look_again()
                await self.fresh()
            return tokens.holder(word, base, self.keys, self.clients, time.time())
        except Untrusted as error:
            self.failures.take(place)
            log.warning("refused a token: %s", plain(error.reason))
            raise

    def _remember(self, given: str, holder: Holder) -> None:
        while len(self._known) >= KNOWN_TOKENS:
            with suppress(KeyError):
                del self._known[next(iter(self._known))]
        # It is checked again after a while: its issuer may have taken the key back.
        until = min(holder.until, time.time() + _CHECK_AGAIN)
        self._known[_digest(given)] = replace(holder, until=until)

    def _within_rate(self, holder: Holder) -> None:
        if not self._is_limited and not holder.per_minute:
            return
        if seconds := self._rates.take(holder.rights.name, holder.per_minute / 60):
            raise TooMany("You ask more often than you may; wait as long as Retry-After says.", seconds)


def _digest(given: str) -> bytes:
    return hashlib.sha256(given.encode("latin-1", "replace")).digest()


def failing(address: str) -> str:
    """Under which name failures from an address are counted: an IPv6 caller has a whole network of them."""
    return ":".join(address.split(":")[:4]) if address.count(":") > 3 else address
