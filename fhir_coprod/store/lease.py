"""Leases: locks in the database that let only one process do a job, and expire if their holder dies.

A holder names itself as host/process/place/uuid, so that others can report who has the lease, and can take it
over from a process that died on the same machine.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from sqlalchemy import bindparam, select

from fhir_coprod.store.schema import core
from fhir_coprod.store.transaction import Transaction

_HOLDER = select(core.lease.c.holder).where(core.lease.c.name == bindparam("name"))


@dataclass(frozen=True)
class Lease:
    """One holder's claim on a job.

    name:    the job, the same for all processes that may do it
    seconds: how long the lease lasts after it was taken or last prolonged
    """

    name: str
    seconds: float
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}/{_place()}/{uuid4()}")

    def take(self, transaction: Transaction) -> str | None:
        """Take or prolong the lease. Returns None if we have it now, else the name of its holder.

        If its holder died on this machine, the lease is taken over at once.
        """
        while not transaction.take_lease(self.name, self.holder, self.seconds):
            other = holder_of(transaction, self.name)
            if other is not None and not _died_here(other):
                return other
            if other is not None:
                transaction.give_up_lease(self.name, other)
        return None

    def prolong(self, transaction: Transaction) -> bool:
        """Extend the lease; returns False if somebody else has taken over."""
        return transaction.take_lease(self.name, self.holder, self.seconds)

    def give_up(self, transaction: Transaction) -> None:
        """Release the lease; if somebody else has taken over meanwhile, they keep it."""
        transaction.give_up_lease(self.name, self.holder)


def holder_of(transaction: Transaction, name: str) -> str | None:
    """The holder that has a lease, or had it last; None if nobody has taken it, or its holder gave it up."""
    held = transaction.connection.scalar(_HOLDER, {"name": name})
    return None if held is None else str(held)


def described(holder: str) -> str:
    """A holder in words: "process 4711 on machine"."""
    host, process, *_ = holder.split("/")
    return f"process {process} on {host}"


def _place() -> str:
    """The boot of a machine, and the container on it, within which a process number is unique.

    The host's name would not do: containers made from one image may share it, and each has a process 1. ""
    if the system does not tell; then a lease can only expire.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _died_here(holder: str) -> bool:
    """Whether the process of a holder ran at this place, and has ended."""
    match holder.split("/"):
        case [_, process, place, _] if place and place == _place():
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                return True
            except PermissionError:
                return False
    return False
