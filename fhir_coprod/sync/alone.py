"""The right to sync one store alone, as a lease that a dead holder cannot keep."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import delete, select

from fhir_coprod.errors import Conflict
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.schema.core import lease

NAME = "sync"
SECONDS = 60.0
HEARTBEAT = 15.0
"""Seconds after which the holder should show that it lives."""


@contextmanager
def alone(store: Store) -> Iterator[Callable[[], None]]:
    """Holds the lease; what is yielded prolongs it, and raises Conflict when somebody else has taken over.

    Raises Conflict when another sync is at work. One that died on this machine does not stand in the way.
    """
    place = _place()
    holder = f"{socket.gethostname()}/{os.getpid()}/{place}/{uuid4()}"
    current = store.write(lambda t: _take(t, place, holder))
    if current:
        machine, process, _ = current.split("/", 2)
        raise Conflict(
            f"Another sync is at work (process {process} on {machine}); wait until it ends. "
            f"If it died, its right to sync ends {SECONDS:.0f} seconds after its last sign of life."
        )

    def beat() -> None:
        if not store.write(lambda t: t.take_lease(NAME, holder, SECONDS)):
            raise Conflict("Another sync has taken over; this one ends here, and nothing is lost.")

    try:
        yield beat
    finally:
        store.write(lambda t: t.connection.execute(delete(lease).where(lease.c.holder == holder)).rowcount)


def _take(transaction: Transaction, place: str, holder: str) -> str:
    """ "" when `holder` has the lease now, else who has it."""
    if transaction.take_lease(NAME, holder, SECONDS):
        return ""
    row = transaction.connection.execute(select(lease.c.holder).where(lease.c.name == NAME)).first()
    current = str(row[0]) if row is not None else ""
    if not _died_here(current, place):
        return current
    transaction.connection.execute(delete(lease).where(lease.c.name == NAME))
    transaction.take_lease(NAME, holder, SECONDS)
    return ""


def _place() -> str:
    """Where process numbers mean the same processes: a start of a machine, and a container on it.

    Not the host's name: containers made from one image may share it, and each has a process 1. "" where
    the system does not tell; then a lease only runs out.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _died_here(holder: str, place: str) -> bool:
    """Whether the process of a holder ran at this place and runs no more."""
    _, process, its_place, _ = holder.split("/", 3)
    if not place or its_place != place:
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
