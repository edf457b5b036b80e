"""The presence of what is hidden does not show in the time that an answer takes.

A hidden id, a deleted one and two that never were are asked for in turn, some thousand times each, by a read
and by a search of the store. Compared are the medians: the hidden one may differ from one that never was by
what these two differ by and 15 %. That is some microseconds, far less than a network or another call takes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from fhir_coprod.access.sight import sight
from fhir_coprod.errors import NotFound
from fhir_coprod.store import Query, Store
from tests.access.callers import CALLERS
from tests.access.hospital import fill
from tests.peers.fixtures import NewStore

pytestmark = [pytest.mark.proof, pytest.mark.alone]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hospital(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Store]:
    with new_store(request.param) as url, Store.open(url) as store:
        fill(store)
        yield store


def medians(ask: Callable[[str], None], *ids: str, times: int = 3000) -> list[float]:
    """Microseconds for each id, asked for in turn."""
    taken: dict[str, list[float]] = {id: [] for id in ids}
    for _ in range(times):
        for id in ids:
            started = time.perf_counter()
            ask(id)
            taken[id].append((time.perf_counter() - started) * 1e6)
    return [statistics.median(taken[id]) for id in ids]


@pytest.mark.parametrize("who", ["person of A", "patient p1"])
def test_reads_and_searches_take_the_same_time(hospital: Store, who: str) -> None:
    rights = CALLERS[who]
    reading, searching = sight(rights, "r"), sight(rights, "s")
    assert reading is not None

    def read(id: str) -> None:
        with pytest.raises(NotFound):
            hospital.read_seen("Patient", id, reading)

    def search(id: str) -> None:
        query = Query.parse("Observation", [("patient", id)], sight=searching)
        assert not hospital.search(query).matches

    for ask in (read, search):
        # p4 is hidden and has records; p6 was deleted; the others never were.
        hidden, deleted, never, again = medians(ask, "p4", "p6", "p8", "p9")
        print(f"{who} {ask.__name__}: {hidden:.1f} {deleted:.1f} {never:.1f} {again:.1f} µs")
        noise = abs(never - again) + 0.15 * never
        assert abs(hidden - never) < noise
        assert abs(deleted - never) < noise
