"""What exports and imports have in common at work: one process does each, and says how far it is."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import Table

from fhir_coprod import faults
from fhir_coprod.bulk.folder import Folder
from fhir_coprod.errors import ConfigError, CoprodError, Overloaded, said
from fhir_coprod.store import Store, Transaction, bulk_jobs
from fhir_coprod.store.bulk_jobs import BulkJob
from fhir_coprod.store.lease import Lease

log = logging.getLogger("fhir_coprod.bulk")

SAVE_SECONDS = 5.0
"""How often it is written down how far it is."""
LEASE_SECONDS = 60


class Over(Exception):
    """Nobody wants it any more, or somebody else does it."""


class Work(ABC):
    """One export or import under work.

    name:    export or import, in words and as its lease is called
    later:   errors after which another attempt may go on
    job:     how far it is, as `encoded` writes it down
    hours:   for which its files and its result are kept
    is_over: asked between portions; True ends the work, which is left for others
    """

    name: ClassVar[str]
    table: ClassVar[Table]
    later: ClassVar[tuple[type[CoprodError], ...]] = (Overloaded, ConfigError)
    job: Any

    def __init__(
        self,
        store: Store,
        folder: Folder,
        kept: BulkJob,
        lease: Lease,
        hours: float,
        is_over: Callable[[], bool],
    ) -> None:
        self.store = store
        self.folder = folder
        self.id = kept.id
        self.lease = lease
        self.hours = hours
        self.is_over = is_over
        self.saved = time.monotonic()

    @abstractmethod
    def work(self) -> None:
        """Do it to its end. Raises CoprodError, or Over."""

    @abstractmethod
    def encoded(self) -> bytes:
        """How far it is, as it is written down."""

    def run(self) -> None:
        """Do it, and write down how it ended for the next who asks for it."""
        try:
            try:
                self.work()
            except self.later as error:
                log.warning("%s: %s Whoever asks for it next goes on.", self.name, said(error))
            except CoprodError as error:
                self.fail(error.message)
            except Over:
                raise
            except Exception as error:  # noqa: BLE001  # else it would be tried again for ever
                log.error("%s: %s", self.name, faults.traced(error))
                self.fail(f"The {self.name} failed by a fault of this server; its log names the place.")
        except Over:
            if bulk_jobs.find(self.store, self.table, self.id) is None:
                self.folder.remove(self.id)

    def fail(self, sentence: str) -> None:
        """Give it up. Its files stay if somebody else does it by now."""
        self.job.files = []
        self.job.failed = sentence
        self.save(ended=True)
        self.folder.remove(self.id)

    def go_on(self, before_saving: Callable[[], None] = lambda: None) -> None:
        """Between portions: raises Over if it is to end; writes down how far it is from time to time."""
        if self.is_over():
            raise Over
        if time.monotonic() - self.saved >= SAVE_SECONDS:
            before_saving()
            self.save()
            self.saved = time.monotonic()

    def save(self, *, ended: bool = False) -> None:
        """Write down how far it is. Raises Over if nobody wants it any more, or somebody else does it."""
        body = self.encoded()

        def save(transaction: Transaction) -> bool:
            until = transaction.session.milliseconds() + round(self.hours * 3_600_000)
            return self.lease.prolong(transaction) and bulk_jobs.save(
                transaction, self.table, self.id, body=body, until=until, ended=ended
            )

        if not self.store.write(save):
            raise Over


def alone(store: Store, kind: type[Work], id: str, begin: Callable[[BulkJob, Lease], Work]) -> None:
    """Do the work of this id, unless it is done or another process does it."""
    lease = Lease(f"{kind.name}/{id}", LEASE_SECONDS)
    if store.write(lease.take) is not None:
        return
    try:
        kept = bulk_jobs.find(store, kind.table, id)
        if kept is not None and not kept.ended:
            begin(kept, lease).run()
    finally:
        store.write(lease.give_up)
