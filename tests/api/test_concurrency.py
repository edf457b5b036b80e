"""Many clients at once, over HTTP: one winner where there can be one, nothing acknowledged lost, no hole.

On SQLite one server process, on PostgreSQL two, which know nothing of each other.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from fhir_coprod.store import Store, opening
from fhir_coprod.store.soundness import check
from tests.api.server import Served, serving

pytestmark = pytest.mark.long

CLIENTS = 64
FHIR = {"content-type": "application/fhir+json"}


def proof_size(full: int, ci: int) -> int:
    return ci if os.environ.get("PROOF_SIZE") == "ci" else full


@pytest.fixture
def site(store_url: str) -> Iterator[tuple[str, list[Served]]]:
    """The URL of a store, and the servers over it."""
    number = 1 if store_url.startswith("sqlite") else 2
    with ExitStack() as stack:
        # None of them has to end in good order: a test may kill one.
        yield store_url, [stack.enter_context(serving(store_url, stops=False)) for _ in range(number)]


class Clients:
    """Sixty-four clients, shared out among the servers."""

    def __init__(self, servers: list[Served]) -> None:
        self._bases = [server.url for server in servers]
        limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
        self.http = httpx.AsyncClient(limits=limits, timeout=60, headers=FHIR)

    def base(self, client: int) -> str:
        return self._bases[client % len(self._bases)]

    async def __aenter__(self) -> Clients:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()


def patient(number: str) -> dict[str, object]:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:race", "value": number}]}


# ------------------------------------------------------------------------------------------- the two races


async def identical_creates(servers: list[Served], rounds: int) -> None:
    async with Clients(servers) as clients:
        for turn in range(rounds):
            answers = await asyncio.gather(
                *(
                    clients.http.post(
                        f"{clients.base(client)}/Patient",
                        json=patient(str(turn)),
                        headers={"if-none-exist": f"identifier=urn:race|{turn}"},
                    )
                    for client in range(CLIENTS)
                )
            )
            assert Counter(answer.status_code for answer in answers) == {201: 1, 200: CLIENTS - 1}
            found = await clients.http.get(f"{clients.base(0)}/Patient?identifier=urn:race|{turn}")
            assert len(found.json()["entry"]) == 1


async def races(servers: list[Served], rounds: int, runners: int = 8) -> None:
    """In each round all have read the same version, and try to be the one who writes the next."""
    async with Clients(servers) as clients:
        first = await clients.http.put(f"{clients.base(0)}/Patient/race", json={**patient("0"), "id": "race"})
        assert first.status_code == 201
        for version in range(1, rounds + 1):
            answers = await asyncio.gather(
                *(
                    clients.http.put(
                        f"{clients.base(runner)}/Patient/race",
                        json={**patient(f"{version} of {runner}"), "id": "race"},
                        headers={"if-match": f'W/"{version}"'},
                    )
                    for runner in range(runners)
                )
            )
            assert Counter(answer.status_code for answer in answers) == {200: 1, 412: runners - 1}
            winner = next(answer for answer in answers if answer.status_code == 200)
            assert winner.headers["etag"] == f'W/"{version + 1}"'
            # Whichever server is asked, it knows at once who has won.
            for base in {clients.base(runner) for runner in range(runners)}:
                read = await clients.http.get(f"{base}/Patient/race")
                assert read.headers["etag"] == f'W/"{version + 1}"'


def test_of_identical_conditional_creates_one_is_stored(site: tuple[str, list[Served]]) -> None:
    asyncio.run(identical_creates(site[1], 1))


def test_each_if_match_race_has_one_winner(site: tuple[str, list[Served]]) -> None:
    asyncio.run(races(site[1], 8))


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_of_identical_conditional_creates_one_is_stored_every_time(site: tuple[str, list[Served]]) -> None:
    asyncio.run(identical_creates(site[1], proof_size(200, 25)))


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_each_of_a_thousand_if_match_races_has_one_winner(site: tuple[str, list[Served]]) -> None:
    asyncio.run(races(site[1], proof_size(1000, 150)))


# --------------------------------------------------------------------------------------- reading, and dying


async def write_on(
    clients: Clients, client: int, writes: int, acknowledged: set[str], half_way: Callable[[], None]
) -> None:
    """Create after create, until all clients together have done enough, or the server is no more."""
    number = 0
    while len(acknowledged) < writes:
        number += 1
        id = f"c{client}-{number}"
        try:
            body = {**patient(id), "id": id}
            answer = await clients.http.put(f"{clients.base(client)}/Patient/{id}", json=body)
        except httpx.HTTPError:
            return
        assert answer.status_code == 201, answer.text
        acknowledged.add(id)
        if len(acknowledged) == writes // 2:
            half_way()


async def follow(store: Store, stop: asyncio.Event, seen: list[str]) -> None:
    """Follow the log as a consumer does; a position that appears late would be a hole here."""
    position = store.head()
    while True:
        ended = stop.is_set()
        versions = await asyncio.to_thread(store.changes, position, 500)
        for version in versions:
            assert version.position == position + 1, "a position was passed over"
            position = version.position
            seen.append(version.id)
        if ended and not versions:
            return
        # Asking without a pause would slow down the clients, which live in this process.
        await asyncio.sleep(0.002)


async def under_load(url: str, servers: list[Served], writes: int, *, kill: bool) -> None:
    """Clients write, a follower reads; with `kill` the last server dies half way, and the rest go on."""
    acknowledged: set[str] = set()
    seen: list[str] = []
    stop = asyncio.Event()

    def half_way() -> None:
        if kill:
            os.killpg(servers[-1].process.pid, signal.SIGKILL)

    with Store.open(url) as store:
        async with Clients(servers) as clients:
            follower = asyncio.create_task(follow(store, stop, seen))
            await asyncio.gather(
                *(write_on(clients, client, writes, acknowledged, half_way) for client in range(32))
            )
            stop.set()
            await follower
        assert len(acknowledged) >= (writes // 2 if kill and len(servers) == 1 else writes)
        missing = acknowledged - set(seen)
        assert not missing, f"{len(missing)} acknowledged and not in the log"
        assert len(seen) == len(set(seen))
        for id in acknowledged:
            assert store.read("Patient", id).version == 1
    assert check.damage(opening.connect(url)) == []


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_a_follower_of_the_log_misses_nothing_under_long_load(site: tuple[str, list[Served]]) -> None:
    asyncio.run(under_load(*site, writes=proof_size(30_000, 4_000), kill=False))


def test_a_killed_server_loses_nothing_that_it_has_acknowledged(site: tuple[str, list[Served]]) -> None:
    asyncio.run(under_load(*site, writes=200, kill=True))


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("turn", range(proof_size(20, 4)))
def test_a_killed_server_loses_nothing_time_and_again(postgresql_store: str, turn: int) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(postgresql_store, stops=False)) for _ in range(3)]
        asyncio.run(under_load(postgresql_store, servers, writes=400 + 170 * turn, kill=True))
