"""Makes sure that only one sync runs on a store at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fhir_coprod.errors import Conflict
from fhir_coprod.store import Store
from fhir_coprod.store.lease import Lease, described

NAME = "sync"
SECONDS = 60.0
HEARTBEAT = 15.0
"""Seconds after which the holder should show that it is alive."""


@contextmanager
def alone(store: Store) -> Iterator[Callable[[], None]]:
    """Hold the lease. Call the function it yields to prolong the lease.

    Raises Conflict if another sync is running; so does that function if another sync has taken over.
    """
    lease = Lease(NAME, SECONDS)
    other = store.write(lease.take)
    if other is not None:
        raise Conflict(
            f"Another sync is at work ({described(other)}); wait until it ends. "
            f"If it died, its right to sync ends {SECONDS:.0f} seconds after its last sign of life."
        )

    def beat() -> None:
        if not store.write(lease.prolong):
            raise Conflict("Another sync has taken over; this one ends here, and nothing is lost.")

    try:
        yield beat
    finally:
        store.write(lease.give_up)
