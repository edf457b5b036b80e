"""The audit as the endpoint uses it: what is remembered of a call, before its answer leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar

from fhir_coprod.access.rights import Rights
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call, pairs
from fhir_coprod.audit import queries
from fhir_coprod.audit.events import About, Event, about, by, patients_in, shown
from fhir_coprod.audit.trail import Trail
from fhir_coprod.audit_settings import AuditSettings
from fhir_coprod.errors import CoprodError, MethodNotAllowed
from fhir_coprod.store import Store, Transaction, Version

T = TypeVar("T")
Written = tuple[Version | None, int]
"""The version that a call made or left as it was, None if there was nothing, and the status of its answer."""
_Waiting = tuple[list[Event], "asyncio.Future[None]"]
_NOT_ABOUT_ANYBODY: Final = frozenset({"capabilities"})


class Auditing:
    """Decides which calls are remembered, and remembers them."""

    def __init__(self, store: Store, settings: AuditSettings) -> None:
        self._store = store
        self.trail = Trail(store, settings)
        self._waiting: list[_Waiting] = []
        self._is_writing = False

    def minds(self, call: Call) -> bool:
        """Whether this call is remembered."""
        return self._minds(call.caller.rights) and call.interaction not in _NOT_ABOUT_ANYBODY

    def _minds(self, rights: Rights) -> bool:
        # "local" is the plain use of the machine itself: nobody was asked who they are.
        return self.trail.is_on or (rights.kind != "local" and not self.trail.is_off)

    def noting(
        self,
        work: Callable[[Transaction], T],
        calls: Sequence[Call],
        written: Callable[[T], Iterable[Written]],
    ) -> Callable[[Transaction], T]:
        """The same work, with what each call wrote remembered in its own transaction."""
        if not any(map(self.minds, calls)):
            return work

        def noted(transaction: Transaction) -> T:
            done = work(transaction)
            for call, (version, status) in zip(calls, written(done), strict=True):
                self.trail.note(transaction, _written(transaction, call, version, status))
            return done

        self.trail.open()
        return noted

    def noting_import(self, rights: Rights, id: str) -> Callable[[Transaction, Sequence[Version]], None]:
        """Remembers what an import stores, in the transactions that store it.

        rights: whose import it is
        """

        def note(transaction: Transaction, versions: Sequence[Version]) -> None:
            found = tuple(each for version in versions for each in shown(version))
            if found and self._minds(rights):
                self.trail.open()
                self.trail.note(transaction, Event(*by(rights, ""), "$import", "", id, about=found))

        return note

    async def keep(self, call: Call, answer: Answer) -> None:
        """Remember an answer, if its writes are not remembered already; back once that is on disk.

        Raises Unrecorded where it cannot be.
        """
        events = [
            _answered(one, each) for one, each in answer.parts or ((call, answer),) if not each.is_recorded
        ]
        if events:
            await self.keep_events(events)

    async def keep_events(self, events: list[Event]) -> None:
        """Remember these; raises Unrecorded where that cannot be."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((events, future))
        if not self._is_writing:
            # Not at once: others of this turn of the loop can then join.
            self._is_writing = True
            loop.call_soon(self._write, loop)
        await future

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand over all that wait. What comes while these are written goes next, together."""
        waiting, self._waiting = self._waiting, []

        def land(done: Future[None]) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(self._written, loop, waiting, done)

        try:
            written = self.trail.submit([event for events, _ in waiting for event in events])
        except CoprodError as error:
            written = Future()
            written.set_exception(error)
        written.add_done_callback(land)

    def _written(self, loop: asyncio.AbstractEventLoop, waiting: list[_Waiting], done: Future[None]) -> None:
        self._is_writing = bool(self._waiting)
        if self._waiting:
            self._write(loop)
        error = done.exception()
        for _, future in waiting:
            if future.done():
                continue  # its caller has gone
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    async def keep_look(self, path: str, address: str, rights: Rights) -> None:
        """Remember that somebody asks for one of our pages, before it is worked out. Raises Unrecorded.

        A referral's page is about its patient. Of the board it says only that it was looked at.
        """
        if not self._minds(rights):
            return
        _, _, rest = path.partition("/referral/")
        kind, _, rest = rest.partition("/")
        id = rest.partition("/")[0]
        found: tuple[About, ...] = ()
        if kind and id:
            versions = await asyncio.to_thread(self._store.newest, kind, [id])
            found = tuple(each for version in versions.values() for each in shown(version))
        event = Event(*by(rights, address), "page", kind or path.strip("/")[:64] or "board", id[:64])
        await self.keep_events([event._replace(about=found)])

    async def keep_entrance(self, what: str, status: int, address: str, rights: Rights) -> None:
        """Remember that somebody came in, went, or was refused: `sign-in`, `sign-out` or `token`. Raises
        Unrecorded.

        status: of the answer, as HTTP has it
        """
        if not self.trail.is_off:
            await self.keep_events([Event(*by(rights, address), what, status=status)])

    def protect(self, call: Call) -> None:
        """Raise MethodNotAllowed for what would touch the audit otherwise than by reading it."""
        if self.minds(call) and call.interaction not in ("read", "search-type"):
            raise MethodNotAllowed(
                "AuditEvents are made by this server alone, and nobody changes them; read and search them."
            )


def _event(call: Call, status: int, found: tuple[About, ...]) -> Event:
    return Event(
        *by(call.caller.rights, call.caller.address),
        call.interaction,
        call.type,
        call.id,
        call.version[:64],
        status,
        queries.remembered(_query(call)),
        found,
    )


def _answered(call: Call, answer: Answer) -> Event:
    versions = answer.shown or ((answer.version,) if answer.version else ())
    found = [each for version in versions for each in shown(version)]
    found += [About("Patient", patient, 0, patient) for patient in answer.patients]
    if not found and answer.status < 400 and call.interaction.startswith("$"):
        found = [About(call.type, call.id, 0, patient) for patient in patients_in(answer.body)]
    return _event(call, answer.status, tuple(found) or tuple(_asked(call)))


def _written(transaction: Transaction, call: Call, version: Version | None, status: int) -> Event:
    if version is None:
        return _event(call, status, tuple(_asked(call)))
    body = version.body
    if version.deleted:
        # Whose it was stands in the version before.
        body = next((one.body for one in transaction.history(version.type, version.id) if one.body), b"")
    return _event(call, status, tuple(about(version.type, version.id, version.version, body)))


def _asked(call: Call) -> Iterable[About]:
    """Whom a call is about although nothing was shown, as far as the call itself says so."""
    type = call.member or call.type
    patients = queries.patients_asked_for(type, _query(call))
    if call.member and call.type == "Patient":
        patients = [call.id, *patients]
    if call.type == "Patient" and call.id and not call.member:
        yield About("Patient", call.id, 0, call.id)
    elif call.type and call.id and not call.member:
        yield About(call.type, call.id)
    for patient in dict.fromkeys(patients):
        yield About("Patient", patient, 0, patient)


def _query(call: Call) -> tuple[tuple[str, str], ...]:
    if not (call.method == "POST" and call.interaction.startswith("search")) or not call.body:
        return tuple(call.query)
    try:
        return (*call.query, *pairs(call.body.decode("ascii")))
    except (UnicodeDecodeError, CoprodError):
        return tuple(call.query)
