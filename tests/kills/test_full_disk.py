"""A disk that gets full, and is freed again: nothing acknowledged is lost, nothing refused is there.

The server is now and then killed while the disk is full. In the end everything goes on as if nothing had
been.
"""

from __future__ import annotations

import os
import random
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from tests.kills.cluster import Cluster
from tests.kills.disk import Disk, small_disk
from tests.kills.ledger import Clients, differences
from tests.kills.site import Running, Site, listening
from tests.kills.test_kills import damaged, wrong_alerts
from tests.peers import postgresql, registry
from tests.peers.shared import Run

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]

TIMES = 3 if os.environ.get("PROOF_SIZE") == "ci" else 12


@pytest.fixture(params=["sqlite", "postgresql"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, peer_run: Run
) -> Iterator[tuple[Disk, str, Cluster | None]]:
    """A disk, the URL of a store on it, and the server of that, if it has one."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            disk = stack.enter_context(small_disk(tmp_path / "disk", 32))
            yield disk, f"sqlite:///{disk.folder / 'store.db'}", None
            return
        registry.require(postgresql.PEER)
        disk = stack.enter_context(small_disk(peer_run.folder / f"disk-{os.getpid()}", 128))
        cluster = Cluster(peer_run, disk.folder / "data")
        stack.callback(cluster.close)
        yield disk, cluster.new_database(), cluster


def serve(site: Site, clients: Clients) -> Running:
    running = site.start("serve")
    assert listening(running), site.said()
    clients.ask(running.url)
    return running


def until(clients: Clients, answers: int, seconds: float = 60) -> None:
    """Wait for so many more writes to be acknowledged."""
    known = clients.ledger.acknowledged
    enough, deadline = len(known) + answers, time.monotonic() + seconds
    while len(known) < enough:
        assert time.monotonic() < deadline, f"it takes no writes any more: {clients.ledger.statuses}"
        time.sleep(0.02)


def refused(clients: Clients, seconds: float = 30) -> bool:
    """Wait for a write to be refused."""
    before, deadline = clients.ledger.statuses[503], time.monotonic() + seconds
    while clients.ledger.statuses[503] <= before and time.monotonic() < deadline:
        time.sleep(0.02)
    return clients.ledger.statuses[503] > before


def test_a_disk_that_gets_full_loses_and_doubles_nothing(
    place: tuple[Disk, str, Cluster | None], tmp_path: Path
) -> None:
    disk, url, cluster = place
    seed = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    Store.open(url).close()
    site = Site(tmp_path, Settings(store=StoreSettings(url=url)))
    clients = Clients(4, seed)
    server = serve(site, clients)
    until(clients, 20)
    wrong = []
    for number in range(TIMES):
        disk.fill(left=chance.choice((0, 4_096, 65_536, 1_000_000)))
        if not refused(clients):
            wrong.append(f"round {number}: a full disk refused nothing")
        if cluster is None:
            seen = clients.ledger.acknowledged[0]
            with urllib.request.urlopen(f"{server.url}/{seen.type}/{seen.id}/_history/{seen.version}") as got:
                assert got.status == 200
        killed = chance.random() < 0.4
        if killed:
            server.kill_all()
            clients.ask("")
        if cluster is not None and chance.random() < 0.3:
            cluster.stop_at_once()
        disk.free()
        if cluster is not None:
            cluster.ensure()
        if killed:
            site.running.remove(server)
            server = serve(site, clients)
        until(clients, 10)
    clients.ask("")
    clients.stop()
    wrong += site.stop()
    with Store.open(url) as store:
        wrong += differences(store, clients.ledger)
        wrong += wrong_alerts(store)
    wrong += damaged(site)
    ledger = clients.ledger
    print(f"{len(ledger.acknowledged)} acknowledged, {len(ledger.refused)} refused, {dict(ledger.statuses)}")
    assert wrong == [], f"seed {seed}"
    assert "Traceback" not in site.said()
