"""`Trail`: the audit of one store, as this process adds to it."""

from __future__ import annotations

import getpass
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from time import time_ns
from types import TracebackType
from typing import Self

from fhir_coprod.access.clients import CHANGED
from fhir_coprod.access.rights import EVERYTHING, Rights
from fhir_coprod.audit.chain import month_of
from fhir_coprod.audit.events import About, Event, by
from fhir_coprod.audit.heads import Heads
from fhir_coprod.audit.places import Places
from fhir_coprod.audit.recorder import Line, Recorder
from fhir_coprod.audit_settings import AuditSettings
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.database import Session


class Trail:
    """Thread-safe. Nothing is opened before the first call is to be remembered.

    is_on: whether every call is remembered, also of those who did not have to say who they are
    """

    def __init__(self, store: Store, settings: AuditSettings) -> None:
        self._store = store
        self._settings = settings
        self.is_on = settings.on is True
        self.is_off = settings.on is False
        self.places = Places(store.database)
        self._heads: Heads | None = None
        self._recorder: Recorder | None = None
        self._writes: Line | None = None
        self._opening = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, events: Sequence[Event]) -> Future[None]:
        """Remember the events of one answer. Done once they are on disk; raises Unrecorded where they cannot
        be: then nothing may be answered."""
        return (self._recorder or self._opened()).submit(events)

    def note(self, transaction: Transaction, event: Event) -> None:
        """Remember a write, in the transaction of the write itself."""
        transaction.note(event)

    def open(self) -> None:
        """Begin the chains now, and raise what stands in the way."""
        self._opened()

    def _opened(self) -> Recorder:
        with self._opening:
            if self._recorder is None:
                self._heads = Heads(
                    self._settings.heads_file or self.places.heads_file, syslog=self._settings.syslog
                )
                self._writes = Line(self._heads)
                self._recorder = Recorder(self.places, self._heads, month_of(time_ns() // 1_000_000))
                self._store.keep_notes(self._keep)
            return self._recorder

    def _keep(self, session: Session, notes: Sequence[Event]) -> Callable[[bool], None]:
        if self._writes is None:
            raise AssertionError("it was opened before it was handed to the store")
        return self._writes.write(session, notes)

    def close(self) -> None:
        """Write what waits and the ends of the chains; the store stays open."""
        if self._recorder is not None:
            self._recorder.close()
        self.places.close()


def is_remembered(store: Store, settings: Settings) -> bool:
    """Whether looks at this machine are remembered: every call is, or callers have to say who they are."""
    if settings.audit.on is not None:
        return settings.audit.on
    access = settings.access
    if access.required is not None:
        return access.required
    return bool(access.issuer or access.sign_in or store.setting(CHANGED))


def remember(store: Store, settings: Settings, event: Event) -> None:
    """Remember one call of a command, if those are. Raises Unrecorded where it cannot be."""
    if is_remembered(store, settings):
        with Trail(store, settings.audit) as trail:
            trail.submit([event]).result()


def at_the_machine(interaction: str, patient: str = "") -> Event:
    """A command that shows records, by whoever is signed in at this machine."""
    id = patient.removeprefix("Patient/")
    about = (About("Patient", id, 0, id),) if id else ()
    return Event(*by(user_here(), ""), interaction, about=about)


def user_here() -> Rights:
    """Who runs this program, by the name that the system knows."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = str(os.getuid()) if hasattr(os, "getuid") else ""
    return replace(EVERYTHING, name=name)
