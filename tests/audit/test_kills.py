"""A server that is killed under load, again and again: every answer that left has its row."""

from __future__ import annotations

import http.client
import itertools
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fhir_coprod import jsontext
from fhir_coprod.audit import heads
from fhir_coprod.audit.finding import Wanted, every
from fhir_coprod.audit.places import Places
from fhir_coprod.audit.verify import Flaw, verify
from fhir_coprod.store import Store
from tests import programs
from tests.kills.disk import small_disk
from tests.kills.site import Running, listening
from tests.peers.fixtures import NewStore

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

ROUNDS = 5 if os.environ.get("PROOF_SIZE") == "ci" else 20
CLIENTS = 8
_numbers = itertools.count()


class Load:
    """Clients that read and write, each under an id that nobody else uses, until they are told to stop."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)
        self.answered: dict[str, int] = {}
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self, own: int) -> None:
        while not self._ends.is_set():
            connection = http.client.HTTPConnection(str(self._place.hostname), self._place.port, timeout=20)
            try:
                while not self._ends.is_set():
                    id = f"n{next(_numbers)}"
                    if own % 2:
                        connection.request("GET", f"/fhir/Patient/{id}")
                    else:
                        body = jsontext.encode({"resourceType": "Patient", "id": id})
                        kind = {"content-type": "application/fhir+json"}
                        connection.request("PUT", f"/fhir/Patient/{id}", body, kind)
                    answer = connection.getresponse()
                    answer.read()
                    self.answered[id] = answer.status
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            finally:
                connection.close()

    def stop(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()


def serve(url: str, folder: Path, number: int) -> Running:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("COPROD_")},
        "COPROD_STORE__URL": url,
        "COPROD_AUDIT__ON": "true",
        "COPROD_AUDIT__HEADS_FILE": str(folder / "heads"),
    }
    log = folder / f"log-{number}"
    with log.open("w") as out:
        process = programs.start(
            *("fhir_coprod", "serve", "--port", "0", "--no-jobs"),
            stdout=programs.PIPE,
            stderr=out,
            cwd=folder,
            env=environment,
            own_session=True,
        )
    running = Running("serve", process, log)
    assert listening(running), log.read_text()
    return running


def recorded(store: Store) -> dict[str, set[int]]:
    """The statuses with which each id is remembered."""
    places = Places(store.database)
    found: dict[str, set[int]] = {}
    for call in every(places, Wanted(), 5000):
        found.setdefault(call.event.id, set()).add(call.event.status)
    places.close()
    return found


def flaws(store: Store, folder: Path) -> list[Flaw]:
    places = Places(store.database)
    found: list[Flaw] = []
    verify(places, list(heads.read(folder / "heads")), found.append)
    places.close()
    return found


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_answer_that_left_has_its_row_when_the_server_is_killed(
    kind: str, new_store: NewStore, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(int(os.environ.get("KILL_SEED", "7")))
    answered: dict[str, int] = {}
    with new_store(kind, tmp_path) as url:
        for number in range(ROUNDS):
            running = serve(url, tmp_path, number)
            load = Load(running.url)
            time.sleep(chance.uniform(0.3, 1.5))
            running.kill_all()
            load.stop()
            answered |= load.answered
        with Store.open(url) as store:
            kept = recorded(store)
            missing = [id for id, status in answered.items() if status not in kept.get(id, ())]
            assert missing == []
            assert flaws(store, tmp_path) == []
            stored = {version.id for version in store.changes(0, 1_000_000) if version.type == "Patient"}
            assert {id for id in stored if 201 not in kept.get(id, ())} == set()
    record_property("told", f"{kind}: {len(answered):,} answers, {ROUNDS} kills, each answer has its row")
    assert len(answered) > 20 * ROUNDS


def test_on_a_full_disk_nothing_is_answered_that_is_not_recorded(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 160) as disk:
        url = f"sqlite:///{disk.folder / 'store.db'}"
        Store.open(url).close()
        running = serve(url, tmp_path, 0)
        load = Load(running.url)
        time.sleep(1)
        disk.fill()
        time.sleep(2)
        before = set(load.answered)
        time.sleep(1)
        refused = [load.answered[id] for id in set(load.answered) - before]
        assert set(refused) == {503}
        with pytest.raises(urllib.error.HTTPError) as told:
            urllib.request.urlopen(f"{running.url}/fhir/Patient/nobody", timeout=20)
        assert b"Nothing is answered that cannot be recorded" in told.value.read()
        disk.free()
        until = time.monotonic() + 30
        seen = set(load.answered)
        while {load.answered[id] for id in set(load.answered) - seen} <= {503} and time.monotonic() < until:
            time.sleep(0.2)
        load.stop()
        assert {load.answered[id] for id in set(load.answered) - seen} & {201, 404}
        running.process.terminate()
        running.process.wait(30)
        running.process.close()
        with Store.open(url) as store:
            kept = recorded(store)
            left = {id: status for id, status in load.answered.items() if status != 503}
            assert [id for id, status in left.items() if status not in kept.get(id, ())] == []
            assert flaws(store, tmp_path) == []
