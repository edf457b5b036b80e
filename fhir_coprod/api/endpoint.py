"""The FHIR dispatcher: finds the handler for each request and turns its result or error into an answer.

Every FHIR route is one `Interaction` in one table (`fhir_coprod.api.table`). A handler takes a `Call` and the
`Endpoint` and returns an `Answer` or raises a CoprodError; entries of a Bundle go through the same table.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from fhir_coprod import deadline, definitions, faults, jsontext
from fhir_coprod.access import admission
from fhir_coprod.access.rights import EVERYTHING, Rights
from fhir_coprod.access.sight import sight_on
from fhir_coprod.api import security, segments
from fhir_coprod.api.answer import Answer, error_answer, send_answer
from fhir_coprod.api.auditing import Auditing, Written
from fhir_coprod.api.background import Background
from fhir_coprod.api.call import Call, Caller, Pairs, headers_of, pairs, plain_body, read_body, unread
from fhir_coprod.api.failures import MAYBE, RETRY_SECONDS, extra_headers, told, too_slow
from fhir_coprod.api.formats import FHIR_JSON, takes_gzip
from fhir_coprod.api.gate import Gate
from fhir_coprod.api.landing import Landing
from fhir_coprod.api.metrics import Metrics
from fhir_coprod.api.places import Places
from fhir_coprod.deadline import Deadline
from fhir_coprod.errors import (
    BadRequest,
    CoprodError,
    MethodNotAllowed,
    NotFound,
    NotSignedIn,
    Overloaded,
    UnknownType,
)
from fhir_coprod.remembering import remembering_short
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction, Version
from fhir_coprod.store.repository import living

T = TypeVar("T")
log = logging.getLogger("fhir_coprod.api")

PREFIX = "/fhir"
INLINE_BYTES = 64_000
"""Bodies above this are checked in a thread: validating one would hold up everybody else for milliseconds."""
SEARCHES, WIDE_SEARCHES, BODIES = 8, 3, 2
"""Threads for searches, for those that may take long, and for long bodies."""
BODIES_HELD = 4
"""So many times `limits.body_bytes` of long bodies are held at once; others are read when there is room."""
BYTES_OF_ELEMENT = 5
"""As values, five bytes of the worst body take as much memory as an element; bodies under work may hold
`limits.elements` together."""
LINE = 32
"""Most requests that wait for one kind of room."""
Lane = Literal["search", "wide search", "body"]
_AT_ONCE: AbstractAsyncContextManager[None] = nullcontext()
Handler = Callable[[Call, "Endpoint"], Coroutine[object, object, Answer]]


_is_type = remembering_short(1024, 64)(definitions.is_resource_type)


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
    is_file: bool = False
    """It answers with a file: whatever the caller accepts, there is one form of it."""
    takes_file: bool = False
    """Its handler reads the body itself, piece by piece, from `Call.receive`."""


class Endpoint:
    """The FHIR server over one store; an ASGI application."""

    def __init__(
        self, store: Store, settings: Settings, table: Sequence[Interaction], metrics: Metrics
    ) -> None:
        self.store = store
        self.settings = settings
        segments.register()
        self.table = tuple(table)
        self.metrics = metrics
        # Searches, and bodies too large to check between two other requests, must not block the event loop,
        # nor each other.
        self._threads = {
            "search": ThreadPoolExecutor(SEARCHES, "search"),
            "wide search": ThreadPoolExecutor(WIDE_SEARCHES, "wide"),
            "body": ThreadPoolExecutor(BODIES, "body"),
        }
        self._wide = Places(WIDE_SEARCHES, LINE)
        self._bodies = Places(settings.limits.elements, LINE)
        self.received = Places(BODIES_HELD * settings.limits.body_bytes, LINE)
        self.background = Background(1)
        self.bulk = Background(1)
        self.auditing = Auditing(store, settings.audit)
        self._under_way: set[Deadline] = set()
        self._unfinished: dict[Deadline | None, Future[Any]] = {}
        self.reads_at_once = settings.store.url.startswith("sqlite")
        self._landing = Landing()
        self._gathering = store.gathering(settings.limits.seconds)
        self._hosts = security.HostCheck(settings.site.base_url, settings.access.hosts)
        self.gate = Gate(store, settings)
        self.base = remembering_short(256, 500)(self._base)
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
        await self.background.close()
        await self.bulk.close()
        await asyncio.to_thread(self.auditing.trail.close)
        for own in tuple(self._under_way):
            own.end()
        if self._gathering is not None:
            await self._gathering.close()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

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
        """Raise UnknownType or NotAllowed if this call may not go on: the one door for all of them."""
        if call.type and not _is_type(call.type):
            raise UnknownType(f"FHIR R4 has no resource type {call.type[:64]!r}; names are case-sensitive.")
        security.admit(call.interaction, call.type, call.id, call.caller)
        if call.type == "AuditEvent":
            self.auditing.protect(call)
        rights = call.caller.rights
        if rights is not EVERYTHING:
            admission.demand(
                rights, call.interaction, call.member or call.type, is_conditional=call.is_conditional
            )

    async def perform(self, call: Call, handler: Handler) -> Answer:
        """Call a handler after `admit`; there is no other way to a handler. Raises CoprodError."""
        self.admit(call)
        return await handler(call, self)

    async def in_thread(self, work: Callable[..., T], *arguments: object, lane: Lane = "search") -> T:
        """Run something slow in a thread, so that the event loop goes on; what nobody waits for any more is
        not begun."""
        future = self._threads[lane].submit(copy_context().run, _in_time, work, *arguments)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if lane == "body" and not future.done():
                self._unfinished[deadline.current()] = future
            raise
        finally:
            del future  # it holds its error, which holds this frame and the body

    async def search(self, pairs: Pairs, work: Callable[[], T]) -> T:
        """Run a search. Those that may take long are apart from the others, and few at once."""
        if not is_wide(pairs):
            return await self.in_thread(work)
        async with self._wide.of(1):
            return await self.in_thread(work, lane="wide search")

    def bodies(self, size: int) -> AbstractAsyncContextManager[None]:
        """Wait for a place to work on a body of so many bytes. Small ones need none.

        Raises Overloaded when too many are waiting.
        """
        return self._body(size) if size > INLINE_BYTES else _AT_ONCE

    @asynccontextmanager
    async def _body(self, size: int) -> AsyncIterator[None]:
        taken = await self._bodies.take(size // BYTES_OF_ELEMENT)
        try:
            yield
        finally:
            # Nobody can end a thread: what it works on takes its room until it is done.
            unfinished = self._unfinished.pop(deadline.current(), None)
            if unfinished is None:
                self._leave(taken)
            else:
                loop = asyncio.get_running_loop()

                def leave(_: Future[Any]) -> None:
                    with suppress(RuntimeError):  # the loop has ended
                        loop.call_soon_threadsafe(self._leave, taken)

                unfinished.add_done_callback(leave)

    def _leave(self, taken: int) -> None:
        self._bodies.give(taken)
        if self._bodies.is_empty:
            jsontext.collected_again()

    async def check(self, size: int, work: Callable[..., T], *arguments: object) -> T:
        """Check a body of so many bytes: between two other requests if it is small, else in a thread."""
        if size <= INLINE_BYTES:
            return work(*arguments)
        return await self.in_thread(work, *arguments, lane="body")

    async def in_time(self, answering: Coroutine[object, object, Answer], seconds: float = 0) -> Answer:
        """The answer, if it comes in so many seconds, `limits.seconds` unless told; the work that is not done
        by then ends. Raises Overloaded."""
        seconds = seconds or self.settings.limits.seconds
        own = Deadline(seconds)
        self._under_way.add(own)
        try:
            with deadline.within(own):
                async with asyncio.timeout(seconds):
                    return await answering
        except TimeoutError:
            own.is_over = True
            raise too_slow(seconds, MAYBE if own.has_begun_to_write else "") from None
        finally:
            self._under_way.discard(own)
            self._unfinished.pop(own, None)
            own.is_over = True
            if own.is_waiting:
                # It may wait for the database.
                asyncio.get_running_loop().run_in_executor(None, own.end)

    async def write(
        self,
        work: Callable[[Transaction], T],
        calls: Sequence[Call] = (),
        written: Callable[[T], Iterable[Written]] = lambda done: (),
    ) -> T:
        """One atomic write; it is committed together with others that come at the same time.

        calls, written: what asked for it, and what became of each, for the audit
        """
        work = self.auditing.noting(work, calls, written)
        return await self._landing.wait(self.store.submit(work))

    async def read(self, type: str, id: str, rights: Rights) -> Version:
        """The newest version. Raises NotFound, also of what is not in sight, or Gone when it was deleted."""
        limit = sight_on(rights, "r", type)
        if limit is not None:
            return await self.look(self.store.read_seen, type, id, limit)
        if self._gathering is None:
            return self.store.read(type, id)
        return living(type, id, await self._gathering.newest(type, id))

    async def look(self, work: Callable[..., T], *arguments: object) -> T:
        """Read a row or two: directly on SQLite, where handing it to a thread takes longer than the read."""
        return work(*arguments) if self.reads_at_once else await self.in_thread(work, *arguments)


@dataclass(slots=True)
class _Form:
    """The format of the answer, as far as the request has been understood.

    held: bytes of `Endpoint.received` that its body takes up
    call: the request, once it is known who calls
    """

    media_type: str = FHIR_JSON
    pretty: bool = False
    gzipped: bool = False
    held: int = 0
    call: Call | None = None


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
        self._is_open = self._name == "capabilities"  # what there is here may be known before one signs in
        self._is_short = self._name == "read" or (endpoint.reads_at_once and self._name == "vread")

    async def __call__(self, scope: Scope, named: dict[str, str], receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        form = _Form()
        try:
            if self._is_short:
                answer = await self._answer(scope, named, receive, form)
            else:
                limits = self._endpoint.settings.limits
                seconds = limits.async_seconds if self.row and self.row.takes_file else 0
                answer = await self._endpoint.in_time(self._answer(scope, named, receive, form), seconds)
        except Exception as error:  # noqa: BLE001  # the last line of defence; it is logged and answered
            if isinstance(error, TimeoutError):
                error = too_slow(self._endpoint.settings.limits.seconds)
            said = told(error, self._name)
            answer = error_answer(said, self._headers(said, scope))
            faults.let_go(error)
        finally:
            if form.held:
                self._endpoint.received.give(form.held)
        call = form.call or unread(self._name, scope, named, self._endpoint.gate.of_strangers)
        if self._endpoint.auditing.minds(call):
            answer = await self._recorded(call, answer)
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
        call = form.call = await self._call(scope, named, receive, form)
        form.gzipped = takes_gzip(call.headers.get("accept-encoding", ""))
        if self.row is None or not self.row.is_file:
            form.media_type, form.pretty = call.media_type, call.pretty
        if self.row is None:
            raise self._endpoint.astray(call.method, _place(scope))
        answering = self._endpoint.perform(call, self.row.handler)
        is_long = len(call.body) > INLINE_BYTES or is_wide(call.query)
        return await (_unless_gone(receive, answering) if is_long else answering)

    async def _call(self, scope: Scope, named: dict[str, str], receive: Receive, form: _Form) -> Call:
        endpoint, method = self._endpoint, scope["method"]
        headers = headers_of(scope)
        base = endpoint.base(scope.get("scheme", "http"), headers.get("host", ""))
        address = (scope.get("client") or ("",))[0]
        if self._is_open:
            await endpoint.gate.fresh()
            caller = Caller(address, endpoint.gate.of_strangers)
            headers.pop("authorization", None)
        else:
            # Before the body is read: what strangers send takes no room.
            known = endpoint.gate.at_once(address, headers)
            caller = known or await endpoint.gate.caller(address, headers, base)
        body = b""
        takes_file = self.row is not None and self.row.takes_file
        if method in ("POST", "PUT", "PATCH") and not takes_file:
            limits = endpoint.settings.limits

            async def hold(size: int) -> None:
                form.held += await endpoint.received.take(size)

            body = await read_body(receive, headers, limits.body_bytes, hold)
            size = max(len(body), form.held)
            body = await endpoint.check(size, plain_body, body, headers, limits)
            if form.held > len(body) > 0:
                endpoint.received.give(form.held - len(body))
                form.held = len(body)
        return Call(
            interaction=self._name,
            method=method,
            base=base,
            type=named.get("type") or named.get("owner", ""),
            id=named.get("id", ""),
            version=named.get("version") or named.get("file", ""),
            member=named.get("member", ""),
            query=pairs(scope["query_string"]),
            headers=headers,
            body=body,
            caller=caller,
            receive=receive if self.row and (takes_file or self.row.is_file) else None,
        )

    async def _recorded(self, call: Call, answer: Answer) -> Answer:
        """The answer, once it stands in the audit; else the error that it cannot be recorded."""
        try:
            await self._endpoint.auditing.keep(call, answer)
        except Exception as error:  # noqa: BLE001  # as above: logged and answered
            return error_answer(told(error, self._name), {"retry-after": str(RETRY_SECONDS)})
        return answer

    def _headers(self, error: Exception, scope: Scope) -> dict[str, str]:
        """The headers that an error adds to its answer."""
        if isinstance(error, Overloaded | NotSignedIn):
            return extra_headers(error)
        if not isinstance(error, MethodNotAllowed):
            return {}
        return {"allow": ", ".join(self._endpoint.allowed(_place(scope)))}


def _place(scope: Scope) -> str:
    """The request's path under the base; "" is the base itself."""
    path: str = scope["path"]
    return path[len(PREFIX) :].rstrip("/")


def is_wide(query: Pairs) -> bool:
    """Whether a search may take long: by chains, inclusions, parts of words, or many values."""
    return (
        any(
            "." in name or name.startswith(_WIDE) or ":" in name or value.count(",") > _FEW
            for name, value in query
        )
        or len(query) > _FEW
    )


_WIDE = ("_has", "_include", "_revinclude")
_FEW = 20


async def _unless_gone(receive: Receive, answering: Coroutine[object, object, Answer]) -> Answer:
    """The answer, unless the caller goes away before it is there: then nobody works on it any more."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    work, leaving = asyncio.ensure_future(answering), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise BadRequest("The connection ended before the answer was ready.")
    finally:
        work.cancel()
        leaving.cancel()


def _in_time(work: Callable[..., T], *arguments: object) -> T:
    deadline.check()
    return work(*arguments)


def interactions_of(table: Iterable[Interaction]) -> frozenset[str]:
    """The names of all interactions in a table."""
    return frozenset(row.name for row in table)
