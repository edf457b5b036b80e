"""A sync that is killed (SIGKILL) at any moment and started again ends as if nothing had happened.

The undisturbed run takes some time. The other runs are killed at twenty moments spread over that time: ten in
a first run, and ten in a run that finds changes, deletions and a merge.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.store.schema.sync import crosswalk
from fhir_coprod.sync import dead_letters
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.staging.stage import holdings
from tests.peers.postgresql import Databases
from tests.sync.conftest import settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving

pytestmark = pytest.mark.long

PATIENTS = 30

Picture = list[tuple[str, str, str, str, int]]


def departments() -> tuple[Ehr, Ehr]:
    care, ortho = Ehr(last_updated=True, page_size=15), Ehr(history=True, page_size=15)
    care.load(organization("care", "GP"), organization("o", "OR"))
    ortho.load(organization("ortho", "OR"))
    for n in range(PATIENTS):
        care.load(
            patient(f"p{n}", f"{n}" if n % 3 else "", birthDate=f"1970-01-{n % 28 + 1:02}"),
            referral(f"s{n}", f"Patient/p{n}", f"R{n}", requester={"reference": "Organization/care"}),
            task(f"t{n}", f"Patient/p{n}", f"ServiceRequest/s{n}", owner={"reference": "Organization/o"}),
        )
    for n in range(0, PATIENTS, 2):
        ortho.load(
            patient(f"q{n}", f"{n}", birthDate=f"1970-01-{n % 28 + 1:02}"),
            referral(f"s{n}", f"Patient/q{n}", f"R{n}"),
            task(f"u{n}", f"Patient/q{n}", f"ServiceRequest/s{n}", "accepted"),
        )
    ortho.broken["Task/u4"] = b'{"resourceType":"Task","id":"u4","status":"?","intent":"order"}'
    return care, ortho


def change(care: Ehr, ortho: Ehr) -> None:
    """What happens between the first run and the second."""
    for n in range(0, PATIENTS, 5):
        ortho.put({**care.resources[f"Task/t{n}"], "id": f"new{n}", "for": {"reference": f"Patient/q{n}"}})
        care.put({**care.resources[f"Task/t{n}"], "status": "in-progress"})
    for n in range(0, PATIENTS, 6):
        care.put(
            {**care.resources[f"Patient/p{n}"], "identifier": ortho.resources[f"Patient/q{n}"]["identifier"]}
        )
        ortho.delete(f"Task/u{n}")


def picture(settings: Settings) -> Picture:
    """(EHR, type, id there, hash, number of versions here) of every record, and of each dead letter."""
    with Store.open(settings.store.url) as store, store.connect() as connection:
        held = holdings(connection)
        found = [(h.ehr, h.type, h.foreign_id, h.hash, store.read(h.type, h.id).version) for h in held]
        found += [(d.ehr, d.type, d.position, d.reason, 1) for d in dead_letters.read(connection)]
        waiting = connection.execute(select(crosswalk.c.foreign_id).where(crosswalk.c.state > 0)).all()
        return [
            *found,
            ("log", "", "", "", len(store.changes(0, 10**6))),
            ("waiting", "", "", "", len(waiting)),
        ]


def sync_and_die(settings: Settings, full: bool, after: float | None) -> None:
    """The child: a whole run, cut off by SIGKILL after so many seconds."""
    if after is not None:
        threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
    with Store.open(settings.store.url) as store:
        run(store, settings, full=full)
    os._exit(0)


def in_child(settings: Settings, full: bool, after: float | None = None) -> tuple[int, float]:
    """Exit code and duration of a run in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.sync.test_kill", "tests.sync.warm"])
    process = context.Process(target=sync_and_die, args=(settings, full, after))
    started = time.monotonic()
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode, time.monotonic() - started


def ends_after_kills(
    moments: int, fresh: Callable[[str], Settings], full: bool
) -> tuple[list[Picture], Picture]:
    """What a run killed at each moment comes to after its second try, and what it should come to."""
    in_child(fresh("warm"), full)
    calm = fresh("calm")
    code, duration = in_child(calm, full)
    assert code == 0
    ends = []
    for moment in range(moments):
        after = duration * (moment + 0.5) / moments
        disturbed = fresh(f"{moment}")
        while in_child(disturbed, full, after)[0] != -signal.SIGKILL:
            after *= 0.7  # it was faster this time, and had ended before the signal
            disturbed = fresh(f"{moment}-{after}")
        assert in_child(disturbed, full)[0] == 0
        ends.append(picture(disturbed))
    return ends, picture(calm)


@pytest.fixture
def new_postgresql(databases: Databases) -> Iterator[Callable[[], str]]:
    """Gives a fresh database each time it is called."""
    urls: list[str] = []

    def create() -> str:
        urls.append(databases.new())
        return urls[-1]

    yield create
    for url in urls:
        databases.drop(url)


SOME, TEN = pytest.param(2, id="2"), pytest.param(10, id="10", marks=pytest.mark.proof)


@pytest.mark.parametrize("moments", [SOME, TEN])
def test_a_first_run_killed_anywhere_ends_as_if_undisturbed(tmp_path: Path, moments: int) -> None:
    care, ortho = departments()

    def fresh(name: str) -> Settings:
        return settings_for(f"sqlite:///{tmp_path / name}.db", care=care, ortho=ortho)

    with serving(care, ortho):
        ends, expected = ends_after_kills(moments, fresh, full=False)
    assert all(end == expected for end in ends)


@pytest.mark.parametrize("moments", [SOME, TEN])
def test_a_later_run_killed_anywhere_ends_as_if_undisturbed(tmp_path: Path, moments: int) -> None:
    care, ortho = departments()
    before = tmp_path / "before.db"

    def fresh(name: str) -> Settings:
        shutil.copy(before, tmp_path / f"{name}.db")
        return settings_for(f"sqlite:///{tmp_path / name}.db", care=care, ortho=ortho)

    with serving(care, ortho):
        assert in_child(settings_for(f"sqlite:///{before}", care=care, ortho=ortho), False)[0] == 0
        change(care, ortho)
        ends, expected = ends_after_kills(moments, fresh, full=True)
    assert all(end == expected for end in ends)


@pytest.mark.proof
def test_a_run_killed_on_postgresql_ends_as_if_undisturbed(new_postgresql: Callable[[], str]) -> None:
    care, ortho = departments()
    with serving(care, ortho):
        ends, expected = ends_after_kills(
            5, lambda name: settings_for(new_postgresql(), care=care, ortho=ortho), full=False
        )
    assert all(end == expected for end in ends)
