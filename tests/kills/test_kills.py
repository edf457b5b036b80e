"""Whatever is killed with -9, and whenever: nothing acknowledged is lost, nothing is doubled.

A story is one store through ten kills. Each time some of server, worker, sync and load are running, beside
clients that note what they were told; then one of them, a child of theirs, all of them, or PostgreSQL itself
is killed. In the end everything is done once more in peace, and the store must hold what an undisturbed one
would.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from fhir_coprod.settings import Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.store.schema.sync import crosswalk
from fhir_coprod.sync import dead_letters
from fhir_coprod.sync.staging.stage import holdings
from fhir_coprod.watch.live.loop import Watch
from fhir_coprod.watch.rules import policies
from tests import programs
from tests.kills.cluster import Cluster
from tests.kills.ledger import Clients, differences
from tests.kills.site import Running, Site, listening
from tests.peers import postgresql, registry
from tests.peers.fixtures import NewStore
from tests.peers.shared import Run
from tests.sync.conftest import settings_for
from tests.sync.server import Ehr, serving
from tests.sync.test_kill import change, departments
from tests.watch.whole import alerts_say_what_standings_say, looked_at_whole, remembered, said

pytestmark = [pytest.mark.proof, pytest.mark.timeout(7200)]

CI = os.environ.get("PROOF_SIZE") == "ci"
KILLS = 10
"""In each story."""
STORIES = 1 if CI else 10
LOADED = 1_500 if CI else 6_000
CLIENTS = 6

Picture = list[tuple[str, str, str, str, int]]


def synced(store: Store) -> Picture:
    """(EHR, type, id there, hash, number of versions here) of every record from an EHR, each dead letter, and
    how many are not yet written."""
    with store.connect() as connection:
        held = holdings(connection)
        found = [(h.ehr, h.type, h.foreign_id, h.hash, store.read(h.type, h.id).version) for h in held]
        found += [(d.ehr, d.type, d.position, d.reason, 1) for d in dead_letters.read(connection)]
        waiting = connection.execute(select(crosswalk.c.foreign_id).where(crosswalk.c.state > 0)).all()
    return [*sorted(found), ("waiting", "", "", "", len(waiting))]


def calm(url: str, folder: Path, care: Ehr, ortho: Ehr) -> Site:
    """A store whose programs nobody kills."""
    folder.mkdir()
    return Site(folder, settings_for(url, care=care, ortho=ortho))


class Story:
    """One store, what is to happen to it, and what has."""

    def __init__(self, site: Site, seed: int, cluster: Cluster | None) -> None:
        self.site = site
        self.cluster = cluster
        self.chance = random.Random(seed)
        self.clients = Clients(CLIENTS, seed)
        self.killed: Counter[str] = Counter()
        self.wrong: list[str] = []

    def rounds(self, kills: int, sync: str) -> None:
        while kills:
            kills -= self._round(sync)

    def _round(self, sync: str) -> bool:
        """Whether anything was killed."""
        chance = self.chance
        serve = "two-workers" if self.cluster and chance.random() < 0.5 else "serve"
        names = [
            name
            for name, share in ((serve, 0.85), ("worker", 0.3), ("load", 0.5), (sync, 0.5))
            if chance.random() < share
        ]
        cast = [self.site.start(name) for name in names]
        for server in cast:
            if server.name == serve and (chance.random() < 0.1 or listening(server)):
                self.clients.ask(server.url)
        self._wait_for_answers(chance.randrange(100) if self.clients.url else 0)
        time.sleep(chance.uniform(0, 0.5))
        target = self._kill(cast)
        time.sleep(chance.uniform(0, 0.6))
        self.clients.ask("")
        self.site.end(chance)
        if self.cluster:
            self.cluster.ensure()
        if target:
            self.killed[target] += 1
        return bool(target)

    def _wait_for_answers(self, number: int) -> None:
        """So many more, but no longer than a few seconds."""
        known = self.clients.ledger.acknowledged
        enough, deadline = len(known) + number, time.monotonic() + 6
        while len(known) < enough and time.monotonic() < deadline:
            time.sleep(0.01)

    def _kill(self, cast: list[Running]) -> str:
        """Kill something; its name, "" if it was not there any more."""
        chance = self.chance
        living = [running for running in cast if running.lives]
        kinds = ["one", "one", "child", "all"] + (
            ["backend", "postmaster", "restart"] if self.cluster else []
        )
        kind = chance.choice(kinds)
        if kind == "backend":
            assert self.cluster
            return "a PostgreSQL backend" if self.cluster.kill_backend(chance.randrange(99)) else ""
        if kind == "postmaster":
            assert self.cluster
            self.cluster.kill()
            return "PostgreSQL itself"
        if kind == "restart":
            assert self.cluster
            self.cluster.restart_at_once()
            return "PostgreSQL, restarted at once"
        if not living:
            return ""
        chosen = chance.choice(living)
        if kind == "child":
            children = chosen.children()
            if children:
                os.kill(chance.choice(children), signal.SIGKILL)
                return f"a child of {chosen.name}"
        if kind == "all":
            for running in living:
                running.kill_all()
            return "all at once"
        os.kill(chosen.process.pid, signal.SIGKILL)
        return chosen.name

    def end(self) -> list[str]:
        """Everything once more, in peace; what is wrong then."""
        self.clients.stop()
        for name in ("load", "full-sync"):
            code = self.site.finish(name)
            if code not in (0, 1):
                self.wrong.append(f"{name} ended with {code}")
        with Store.open(self.site.settings.store.url) as store:
            self.wrong += differences(store, self.clients.ledger)
            self.wrong += not_loaded(store)
            self.wrong += wrong_alerts(store)
        self.wrong += damaged(self.site)
        said = self.site.said()
        if "Traceback" in said:
            self.wrong.append(said[said.index("Traceback") :][:2000])
        return self.wrong


def not_loaded(store: Store) -> list[str]:
    found = []
    query = Query.parse("Organization", [("identifier", "urn:loaded|"), ("_summary", "count")])
    if store.search(query).total != LOADED:
        found.append(f"{store.search(query).total} of {LOADED} loaded")
    some = (f"loaded-{number}" for number in range(0, LOADED, 97))
    doubled = [id for id in some if store.read("Organization", id).version != 1]
    return [*found, *(f"{id} has more than one version" for id in doubled)]


def wrong_alerts(store: Store) -> list[str]:
    """Each stall has one alert, each row says what a look at everything says."""
    watch = Watch(store, policies.load("default"), Settings())
    watch.catch_up(datetime.now(UTC))
    now = datetime.now(UTC)
    watch.catch_up(now)
    rows = {name: standing for name, (standing, _) in remembered(store).items()}
    whole = looked_at_whole(store, watch.site.policy, now, watch.site.settings)
    found = [] if {n: said(s) for n, s in rows.items()} == whole else ["a row says something else"]
    assert rows
    try:
        alerts_say_what_standings_say(store, rows.values())
    except AssertionError as error:
        found.append(f"alerts: {error}")
    return found


def damaged(site: Site) -> list[str]:
    ran = programs.run("fhir_coprod", "db", "check", "--config", str(site.folder / "coprod.toml"))
    return [] if ran.returncode == 0 else [f"db check: {ran.stdout} {ran.stderr}"]


def loaded_file(path: Path) -> Path:
    with path.open("w") as out:
        for number in range(LOADED):
            identifier = [{"system": "urn:loaded", "value": str(number)}]
            resource = {
                "resourceType": "Organization",
                "id": f"loaded-{number}",
                "identifier": identifier,
                "name": f"Place {number}",
            }
            out.write(json.dumps(resource) + "\n")
    return path


@pytest.fixture(scope="module")
def cluster(peer_run: Run) -> Iterator[Cluster]:
    registry.require(postgresql.PEER)
    made = Cluster(peer_run, peer_run.folder / "killed-cluster")
    yield made
    made.close()


@pytest.mark.parametrize("story", range(STORIES))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_acknowledged_is_lost_or_doubled_by_kills(
    request: pytest.FixtureRequest, tmp_path: Path, new_store: NewStore, kind: str, story: int
) -> None:
    seed = int(os.environ.get("KILL_SEED", story if CI else random.randrange(2**32)))
    print(f"seed {seed}")
    cluster: Cluster | None = request.getfixturevalue("cluster") if kind == "postgresql" else None
    url = cluster.new_database() if cluster else f"sqlite:///{tmp_path / 'killed.db'}"
    care, ortho = departments()
    (tmp_path / "killed").mkdir()
    with serving(care, ortho), new_store("sqlite") as calm_url:
        undisturbed = calm(calm_url, tmp_path / "calm", care, ortho)
        site = Site(
            tmp_path / "killed",
            settings_for(url, care=care, ortho=ortho),
            loaded_file(tmp_path / "loaded.ndjson"),
        )
        told = Story(site, seed, cluster)
        told.rounds(KILLS // 2, "sync")
        for each in (undisturbed, site):
            assert each.finish("full-sync") in (0, 1)
        change(care, ortho)
        told.rounds(KILLS - KILLS // 2, "full-sync")
        assert undisturbed.finish("full-sync") in (0, 1)
        wrong = told.end()
        with Store.open(url) as store, Store.open(calm_url) as other:
            if synced(store) != synced(other):
                wrong.append(f"synced {set(synced(store)) ^ set(synced(other))}")
    ledger = told.clients.ledger
    print(f"killed {dict(told.killed)}; {len(ledger.acknowledged)} acknowledged, {dict(ledger.statuses)}")
    assert wrong == [], f"seed {seed}"
