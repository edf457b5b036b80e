"""The right to do a job alone, as a lease that a dead holder cannot keep.

A holder names itself as host/process/place/uuid, so that others can say who has the lease, and take it over
from a process that died on the same machine.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select

from fhir_coprod.store.schema import core
from fhir_coprod.store.transaction import Transaction


@dataclass(frozen=True)
class Lease:
    """One holder's claim on a job.

    name:    the job, the same for all who may do it
    seconds: how long the lease runs after it was taken or last prolonged
    """

    name: str
    seconds: float
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}/{_place()}/{uuid4()}")

    def take(self, transaction: Transaction) -> str | None:
        """Take or prolong it; None when it is held now, else the holder that has it.

        A holder that died on this machine does not stand in the way.
        """
        while not transaction.take_lease(self.name, self.holder, self.seconds):
            other = holder_of(transaction, self.name)
            if other is not None and not _died_here(other):
                return other
            if other is not None:
                transaction.give_up_lease(self.name, other)
        return None

    def prolong(self, transaction: Transaction) -> bool:
        """Have it run on; False when somebody else has taken over."""
        return transaction.take_lease(self.name, self.holder, self.seconds)

    def give_up(self, transaction: Transaction) -> None:
        """Let another have it at once; whoever has taken over meanwhile keeps it."""
        transaction.give_up_lease(self.name, self.holder)


def holder_of(transaction: Transaction, name: str) -> str | None:
    """Who has a job, or had it last; None when nobody took it or who had it gave it up."""
    held = transaction.connection.scalar(select(core.lease.c.holder).where(core.lease.c.name == name))
    return None if held is None else str(held)


def described(holder: str) -> str:
    """A holder in words: "process 4711 on machine"."""
    host, process, *_ = holder.split("/")
    return f"process {process} on {host}"


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


def _died_here(holder: str) -> bool:
    """Whether the process of a holder ran at this place and runs no more."""
    match holder.split("/"):
        case [_, process, place, _] if place and place == _place():
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                return True
            except PermissionError:
                return False
    return False
