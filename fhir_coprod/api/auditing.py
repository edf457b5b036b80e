"""The audit as the endpoint uses it: what is remembered of a call, before its answer leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call, pairs
from fhir_coprod.api.landing import Landing
from fhir_coprod.audit import queries
from fhir_coprod.audit.events import About, Event, about, by, patients_in, shown
from fhir_coprod.audit.trail import Trail
from fhir_coprod.errors import CoprodError, MethodNotAllowed
from fhir_coprod.store import Transaction, Version

T = TypeVar("T")
Written = tuple[Version | None, int]
"""The version that a call made or left as it was, None if there was nothing, and the status of its answer."""
_NOT_ABOUT_ANYBODY: Final = frozenset({"capabilities"})


class Auditing:
    """Decides which calls are remembered, and remembers them."""

    def __init__(self, trail: Trail) -> None:
        self.trail = trail
        self._landing = Landing()

    def minds(self, call: Call) -> bool:
        """Whether this call is remembered."""
        # "local" is the plain use of the machine itself: nobody was asked who they are.
        return (self.trail.is_on or (call.caller.rights.kind != "local" and not self.trail.is_off)) and (
            call.interaction not in _NOT_ABOUT_ANYBODY
        )

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

    async def keep(self, call: Call, answer: Answer) -> None:
        """Remember an answer, if its writes are not remembered already; back once that is on disk.

        Raises Unrecorded where it cannot be.
        """
        events = [
            _answered(one, each) for one, each in answer.parts or ((call, answer),) if not each.is_recorded
        ]
        if events:
            await self._landing.wait(self.trail.submit(events))

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
