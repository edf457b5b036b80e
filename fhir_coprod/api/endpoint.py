"""The FHIR dispatcher: finds the handler for each request and turns its result or error into an answer.

Every FHIR route is one `Interaction` in one table (`fhir_coprod.api.table`). A handler takes a `Call` and the
`Endpoint` and returns an `Answer` or raises a CoprodError; entries of a Bundle go through the same table.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from fhir_coprod import definitions, faults, jsontext
from fhir_coprod.api import security
from fhir_coprod.api.answer import Answer, error_answer, send_answer
from fhir_coprod.api.call import Call, caller_at, headers_of, pairs, plain_body, read_body
from fhir_coprod.api.formats import FHIR_JSON, takes_gzip
from fhir_coprod.api.landing import Landing
from fhir_coprod.api.metrics import Metrics
from fhir_coprod.errors import (
    BadRequest,
    ConfigError,
    CoprodError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    UnknownType,
)
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction, Version
from fhir_coprod.store.repository import living

T = TypeVar("T")
log = logging.getLogger("fhir_coprod.api")

PREFIX = "/fhir"
_LONG = 1_000_000
"""Bytes from which a body is not even measured between two other requests."""
Handler = Callable[[Call, "Endpoint"], Awaitable[Answer]]


_is_type = lru_cache(1024)(definitions.is_resource_type)


class _Name(Convertor[str]):
    """A path segment of one kind; one that does not match falls through to the next route."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Type(_Name):
    regex = r"(?!metadata\b)[A-Za-z]+"


class _Patient(_Name):
    regex = "Patient"


class _Referral(_Name):
    regex = "ServiceRequest"


class _Id(_Name):
    regex = jsontext.ID_PATTERN


register_url_convertor("fhir_type", _Type())
register_url_convertor("fhir_patient", _Patient())
register_url_convertor("fhir_referral", _Referral())
register_url_convertor("fhir_id", _Id())


class UpgradeOffered(BadRequest):
    """The request offered another protocol and the HTTP parser stopped there, so the body is lost."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row of the route table.

    name: CapabilityStatement code, or "$operation"
    path: under the base, in Starlette's notation with {type:fhir_type}, {id:fhir_id}, {version}
    """

    name: str
    methods: tuple[str, ...]
    path: str
    handler: Handler


class Endpoint:
    """The FHIR server over one store; an ASGI application."""

    def __init__(
        self, store: Store, settings: Settings, table: Sequence[Interaction], metrics: Metrics
    ) -> None:
        self.store = store
        self.settings = settings
        self.table = tuple(table)
        self.metrics = metrics
        # Searches, and bodies too large to check between two other requests, must not block the event loop.
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="fhir")
        self.reads_at_once = settings.store.url.startswith("sqlite")
        self._landing = Landing()
        self._gathering = store.gathering(settings.limits.seconds)
        self._hosts = security.HostCheck(settings.site.base_url)
        self.base = lru_cache(256)(self._base)
        self._doors = [_Door(self, row) for row in self.table]
        self._nowhere = _Door(self, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door, named = self._way(scope["method"], _place(scope)) or (self._nowhere, {})
        await door(scope, named, receive, send)

    def _way(self, method: str, place: str) -> tuple[_Door, dict[str, str]] | None:
        """The route for a path and a method, with the values in the path; None if there is none."""
        for door in self._doors:
            named = door.named(place)
            if named and method in door.methods:
                return door, named.groupdict()
        return None

    async def close(self) -> None:
        """Release threads and connections; the store stays open, since it is the caller's."""
        if self._gathering is not None:
            await self._gathering.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _base(self, scheme: str, host: str) -> str:
        """The FHIR base URL that links are made with: site.base_url if set, else the one the caller used.

        Raises Misdirected if the caller used the name of another server.
        """
        self._hosts.check(host)
        if self.settings.site.base_url:
            return self.settings.site.base_url.rstrip("/")
        return f"{scheme}://{host or 'localhost'}{PREFIX}"

    def find(self, method: str, place: str) -> tuple[Interaction, dict[str, str]]:
        """The interaction for a method and a path under the base ("/Patient/1"), with the values in the path.

        Raises NotFound or MethodNotAllowed.
        """
        found = self._way(method, place)
        if found is None or found[0].row is None:
            raise self.astray(method, place)
        return found[0].row, found[1]

    def astray(self, method: str, place: str) -> CoprodError:
        """The error for a request that no route matches: MethodNotAllowed or NotFound."""
        allowed = self.allowed(place)
        if allowed:
            return MethodNotAllowed(f"{method} has no meaning there; it takes {', '.join(allowed)}.")
        return NotFound(
            "This URL means nothing here; FHIR URLs look like Patient/example, without empty parts; ids are "
            "1 to 64 letters, digits, - or . (metadata tells what is served)."
        )

    def allowed(self, place: str) -> list[str]:
        """The methods that this path under the base takes."""
        return sorted(set().union(*(door.methods for door in self._doors if door.named(place))))

    def admit(self, call: Call) -> None:
        """Raise UnknownType or NotAllowed if this call may not go on."""
        if call.type and not _is_type(call.type):
            raise UnknownType(f"FHIR R4 has no resource type {call.type[:64]!r}; names are case-sensitive.")
        security.admit(call.interaction, call.type, call.id, call.caller)

    async def perform(self, call: Call, handler: Handler) -> Answer:
        """Call a handler after `admit`; there is no other way to a handler. Raises CoprodError."""
        self.admit(call)
        return await handler(call, self)

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Run something slow in a thread, so that the event loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """One atomic write; it is committed together with others that come at the same time."""
        return await self._landing.wait(self.store.submit(work))

    async def read(self, type: str, id: str) -> Version:
        """The newest version. Raises NotFound, or Gone when it was deleted."""
        if self._gathering is None:
            return self.store.read(type, id)
        return living(type, id, await self._gathering.newest(type, id))

    async def look(self, work: Callable[..., T], *arguments: object) -> T:
        """Read a row or two: directly on SQLite, where handing it to a thread takes longer than the read."""
        return work(*arguments) if self.reads_at_once else await self.in_thread(work, *arguments)


@dataclass(slots=True)
class _Form:
    """The format of the answer, as far as the request has been understood."""

    media_type: str = FHIR_JSON
    pretty: bool = False
    gzipped: bool = False


class _Door:
    """One route as an ASGI handler: makes a `Call`, sends the `Answer`. `row` None: no route matched.

    methods: the methods of this row
    named:   matches a path under the base, with the values in it; None if it is not this row's path
    """

    def __init__(self, endpoint: Endpoint, row: Interaction | None) -> None:
        self._endpoint = endpoint
        self.row = row
        self._name = row.name if row else "unknown"
        self.methods = frozenset(row.methods if row else ())
        if "GET" in self.methods:
            self.methods |= {"HEAD"}
        self.named = compile_path(row.path if row else "")[0].fullmatch
        # Reads that never wait cannot be interrupted, and gathered reads share one timeout: another around
        # each of them would only cost time.
        self._is_short = self._name == "read" or (endpoint.reads_at_once and self._name == "vread")

    async def __call__(self, scope: Scope, named: dict[str, str], receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        form = _Form()
        try:
            if self._is_short:
                answer = await self._answer(scope, named, receive, form)
            else:
                async with asyncio.timeout(self._endpoint.settings.limits.seconds):
                    answer = await self._answer(scope, named, receive, form)
        except TimeoutError:
            answer = error_answer(_too_slow(self._endpoint.settings.limits.seconds))
        except Exception as error:  # noqa: BLE001  # the last line of defence; it is logged and answered
            answer = error_answer(told(error, self._name), self._headers(error, scope))
        self._endpoint.metrics.count(self._name, answer.status, time.perf_counter() - started)
        await send_answer(
            answer,
            send,
            media_type=form.media_type,
            pretty=form.pretty,
            gzipped=form.gzipped,
            head=scope["method"] == "HEAD",
        )

    async def _answer(self, scope: Scope, named: dict[str, str], receive: Receive, form: _Form) -> Answer:
        call = await self._call(scope, named, receive)
        form.gzipped = takes_gzip(call.headers.get("accept-encoding", ""))
        form.media_type, form.pretty = call.media_type, call.pretty
        if self.row is None:
            raise self._endpoint.astray(call.method, _place(scope))
        return await self._endpoint.perform(call, self.row.handler)

    async def _call(self, scope: Scope, named: dict[str, str], receive: Receive) -> Call:
        endpoint, method = self._endpoint, scope["method"]
        headers = headers_of(scope)
        if "upgrade" in headers:
            raise UpgradeOffered("This server speaks HTTP/1.1 only; send the request without Upgrade.")
        base = endpoint.base(scope.get("scheme", "http"), headers.get("host", ""))
        body = b""
        if method in ("POST", "PUT", "PATCH"):
            limits = endpoint.settings.limits
            body = await read_body(receive, headers, limits.body_bytes)
            if len(body) > _LONG or "content-encoding" in headers:
                body = await endpoint.in_thread(plain_body, body, headers, limits)
            else:
                body = plain_body(body, headers, limits)
        return Call(
            interaction=self._name,
            method=method,
            base=base,
            type=named.get("type", ""),
            id=named.get("id", ""),
            version=named.get("version", ""),
            query=pairs(scope["query_string"]),
            headers=headers,
            body=body,
            caller=caller_at((scope.get("client") or ("",))[0]),
        )

    def _headers(self, error: Exception, scope: Scope) -> dict[str, str]:
        """The headers that an error adds to its answer."""
        if isinstance(error, UpgradeOffered):
            # What the client sends after it could be taken for a request of its own.
            return {"connection": "close"}
        if not isinstance(error, MethodNotAllowed):
            return {}
        return {"allow": ", ".join(self._endpoint.allowed(_place(scope)))}


def _place(scope: Scope) -> str:
    """The request's path under the base; "" is the base itself."""
    path: str = scope["path"]
    return path[len(PREFIX) :].rstrip("/")


def _too_slow(seconds: float) -> Overloaded:
    return Overloaded(
        f"The answer took longer than {seconds:g} seconds; ask for less at once, or try again later. "
        "A write may have been stored all the same: read before you repeat it."
    )


def told(error: Exception, name: str) -> CoprodError:
    """The error that a caller is told when an interaction fails.

    For a fault of ours the log gets its type and place, never its message, which may quote a record.
    """
    if isinstance(error, ConfigError):
        # The store was there at the start and is not now. Only the log says which store, and why.
        log.error("%s: %s", name, error)
        return Overloaded("The store cannot be reached just now; try again later.")
    if isinstance(error, CoprodError):
        return error
    incident = uuid.uuid4().hex[:12]
    log.error("incident %s in %s: %s", incident, name, faults.traced(error))
    return CoprodError(
        f"The server failed at this request; its log names the cause under incident {incident}."
    )


def interactions_of(table: Iterable[Interaction]) -> frozenset[str]:
    """The names of all interactions in a table."""
    return frozenset(row.name for row in table)
