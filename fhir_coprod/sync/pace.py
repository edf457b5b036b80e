"""Decides how much a sync writes at a time: much while nobody else writes, little while others have to wait.

A large transaction costs a third less for each record, but others who want to write wait until it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from fhir_coprod.store import Store, Transaction

T = TypeVar("T")

ALONE = 500
"""Records in one transaction while nobody else writes."""
SHARED = 8
"""The same while others do."""
SECONDS = 5.0
"""How long after somebody else has written we expect them to write again."""
COURTESY = 0.003
"""Seconds to leave the store alone after each transaction, at least; while others write, as long as the
transaction took, so that half of the time is theirs. On SQLite, a waiting writer checks once a millisecond
whether it can write; a sync that began again at once would always be faster."""


def let_others_go_first() -> None:
    """Lower this process's priority: a sync may take long, and those who call the endpoint are waiting."""
    if hasattr(os, "nice"):
        os.nice(10)


class Pace:
    """Writes the steps of one sync into one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._head = store.head()
        self._until = 0.0

    def most(self) -> int:
        """How many records to write in the next transaction, at most."""
        return SHARED if self._is_shared() else ALONE

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Do this work in a transaction of its own.

        It does not wait for the disk. After a power cut the latest steps may be missing, just as after a run
        that was killed before them: the EHR still has the records. The write that ends the run waits for all.
        """
        is_shared = self._is_shared()  # sees what others have written before this
        began = monotonic()
        result = self._store.write(work, lasting=False)
        took = monotonic() - began
        self._head = self._store.head()
        sleep(max(COURTESY, took) if is_shared else COURTESY)
        return result

    def _is_shared(self) -> bool:
        now = monotonic()
        if now >= self._until and self._store.head() != self._head:
            self._until = now + SECONDS
        return now < self._until
