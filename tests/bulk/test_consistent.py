"""An export is the state of one moment, whatever is written, killed or taken back while it runs."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_coprod import definitions, jsontext
from fhir_coprod.bulk import exporting, working
from fhir_coprod.bulk.folder import Folder
from fhir_coprod.bulk.wanted import Job, Wanted, decode, encode
from fhir_coprod.instants import now, to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store, bulk_jobs, snapshots
from fhir_coprod.store.bulk_jobs import EXPORT, BulkJob
from tests.kills.disk import small_disk
from tests.peers.fixtures import NewStore

BASE = "http://localhost/fhir"


def wanted(level: str = "", **more: Any) -> Wanted:
    return Wanted(level, definitions.resource_types(), BASE, f"{BASE}/$export", **more)  # type: ignore[arg-type]


def add(store: Store, what: Wanted) -> str:
    id = str(uuid.uuid4())
    job = BulkJob(id, "local:", to_milliseconds(now()) + 3_600_000, False, encode(Job(what)))
    store.write(lambda t: bulk_jobs.add(t, EXPORT, job, most=10**6, most_of_one=10**6))
    return id


def work(store: Store, folder: Folder, id: str, is_over: Callable[[], bool] = lambda: False) -> None:
    exporting.run(store, folder, id, cut=lambda body, _: body, zone=ZoneInfo("UTC"), hours=1, is_over=is_over)


def result(store: Store, folder: Folder, id: str) -> tuple[Job, dict[str, Json], set[str]]:
    """The job, its resources, and what was deleted; all files are named, and nothing else is there."""
    kept = bulk_jobs.find(store, EXPORT, id)
    assert kept is not None
    assert kept.ended
    job = decode(kept.body)
    assert not job.failed
    assert {path.name for path in folder.of(id).glob("*")} == {file.name for file in job.files}
    records: dict[str, Json] = {}
    gone: set[str] = set()
    for file in job.files:
        raw = (folder.of(id) / file.name).read_bytes()[: file.bytes]
        assert (folder.of(id) / file.name).stat().st_mode & 0o777 == 0o600
        lines = raw.splitlines()
        assert len(lines) == file.count
        for line in map(json.loads, lines):
            if file.kind == "deleted":
                gone |= {entry["request"]["url"] for entry in line["entry"]}
            else:
                name = f"{line['resourceType']}/{line['id']}"
                assert name not in records
                records[name] = line
    assert folder.of(id).stat().st_mode & 0o777 == 0o700
    return job, records, gone


def state(store: Store) -> dict[str, Json]:
    """All resources as they are now."""
    rows = store.ask(lambda s: s.rows("SELECT type, id FROM resource WHERE deleted = false"))
    return {f"{type}/{id}": store.read(type, id).data for type, id in rows}


def change(store: Store, step: tuple[str, str, int]) -> None:
    type, id, value = step
    if value == 0:
        store.write(lambda t: t.delete(type, id))
    else:
        members = {"birthDate": f"19{value:02}"} if type == "Patient" else {"description": f"{value}"}
        if type == "Task":
            members |= {"for": {"reference": f"Patient/{id}"}}  # type: ignore[dict-item]
        store.write(lambda t: t.put(jsontext.from_data({"resourceType": type, "id": id, **members}), id))


STEPS = st.lists(
    st.tuples(st.sampled_from(["Patient", "Task"]), st.sampled_from("abcdefgh"), st.integers(0, 5)),
    max_size=12,
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Store]:
    with new_store(request.param) as url, Store.open(url) as store:
        yield store


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PORTION", 3)
    monkeypatch.setattr(working, "SAVE_SECONDS", 0.0)


@given(
    rounds=st.lists(st.tuples(STEPS, STEPS), min_size=1, max_size=3), level=st.sampled_from(["", "Patient"])
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changes_while_it_runs_are_neither_lost_nor_doubled(
    shared: Store, small_portions: None, tmp_path: Path, rounds: list[tuple[Any, Any]], level: str
) -> None:
    """A mirror that takes an export, and then each time the changes, is the store at each of these times."""
    store, folder = shared, Folder(tmp_path / "bulk")
    mirror: dict[str, Json] = {}
    since: int | None = None
    for before, meanwhile in rounds:
        for step in before:
            change(store, step)
        expected = state(store)
        left = list(meanwhile)

        def is_over(left: list[Any] = left) -> bool:
            for _ in range(2):
                if left:
                    change(store, left.pop())
            return False

        id = add(store, wanted(level, since=since))
        work(store, folder, id, is_over)
        job, records, gone = result(store, folder, id)
        for name in gone:
            mirror.pop(name, None)
        assert not gone & records.keys()
        mirror |= records
        assert mirror == expected
        since = job.time * 1000
        for step in left:
            change(store, step)
        store.write(lambda t, id=id: bulk_jobs.forget(t, EXPORT, id))  # type: ignore[misc]
        folder.remove(id)


def filled(store: Store, count: int) -> None:
    for n in range(count):
        change(store, ("Patient", f"p{n}", 1 + n % 5))
        change(store, ("Task", f"p{n}", 1 + n % 5))


def test_taken_back_in_the_middle_leaves_nothing(shared: Store, small_portions: None, tmp_path: Path) -> None:
    store, folder = shared, Folder(tmp_path / "bulk")
    filled(store, 10)
    id = add(store, wanted())
    calls = 0

    def is_over() -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            store.write(lambda t: bulk_jobs.forget(t, EXPORT, id))
            folder.remove(id)
        return False

    work(store, folder, id, is_over)
    assert calls <= 4
    assert not folder.of(id).exists()


def test_who_lost_the_lease_harms_nothing(shared: Store, small_portions: None, tmp_path: Path) -> None:
    """A process that was stopped for long goes on after another has finished its export."""
    store, folder = shared, Folder(tmp_path / "bulk")
    filled(store, 10)
    expected = state(store)
    id = add(store, wanted())
    calls = 0

    def is_over() -> bool:
        nonlocal calls
        calls += 1
        if calls == 4:
            store.write(lambda t: t.session.run("DELETE FROM lease"))
            work(store, folder, id)
            assert result(store, folder, id)[1] == expected
        return False

    work(store, folder, id, is_over)
    assert result(store, folder, id)[1] == expected


def test_only_one_works_on_it(shared: Store, small_portions: None, tmp_path: Path) -> None:
    store, folder = shared, Folder(tmp_path / "bulk")
    filled(store, 10)
    id = add(store, wanted())
    seen = []

    def is_over() -> bool:
        if not seen:
            work(store, folder, id)
            kept = bulk_jobs.find(store, EXPORT, id)
            assert kept is not None
            seen.append(kept.ended)
        return False

    work(store, folder, id, is_over)
    assert seen == [False]
    result(store, folder, id)


def test_files_that_were_lost_are_written_again(shared: Store, small_portions: None, tmp_path: Path) -> None:
    store, folder = shared, Folder(tmp_path / "bulk")
    filled(store, 10)
    expected = state(store)
    id = add(store, wanted())
    calls = iter(range(5))
    work(store, folder, id, lambda: next(calls, 9) == 4)
    folder.remove(id)
    work(store, folder, id)
    assert result(store, folder, id)[1] == expected


def test_a_full_disk_ends_it_with_a_sentence(shared: Store, tmp_path: Path) -> None:
    store = shared
    filled(store, 10)
    with small_disk(tmp_path / "disk", 1) as disk:
        folder = Folder(disk.folder / "bulk")
        disk.fill(left=1_000)
        id = add(store, wanted())
        work(store, folder, id)
        kept = bulk_jobs.find(store, EXPORT, id)
        assert kept is not None
        assert kept.ended
        assert "full" in decode(kept.body).failed
        assert not folder.of(id).exists()


def test_room_is_spared(shared: Store, tmp_path: Path) -> None:
    store = shared
    folder = Folder(tmp_path / "bulk", spare=10**18)
    id = add(store, wanted())
    work(store, folder, id)
    kept = bulk_jobs.find(store, EXPORT, id)
    assert kept is not None
    assert "full" in decode(kept.body).failed
    assert not folder.of(id).exists()


def test_altered_outside_it_is_not_known(shared: Store, tmp_path: Path) -> None:
    id = add(shared, wanted())
    shared.write(lambda t: t.session.run("UPDATE export_job SET owner = ? WHERE id = ?", ("other", id)))
    assert bulk_jobs.find(shared, EXPORT, id) is None


# ------------------------------------------------------------------------------------------------- killed


def _doomed(url: str, path: str, id: str, call: int, delay: float) -> None:
    """Work on an export and be killed: at so many portions, or after so long."""
    snapshots.PORTION, working.SAVE_SECONDS = 3, 0.0
    if delay:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    calls = iter(range(10**6))

    def is_over() -> bool:
        if not delay and next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    with Store.open(url) as store:
        work(store, Folder(Path(path)), id, is_over)


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("level", ["", "Patient"])
def test_killed_anywhere_another_goes_on(
    kind: str, level: str, new_store: NewStore, tmp_path: Path, small_portions: None
) -> None:
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 10**6))
    print(f"KILL_SEED={seed}")
    chance = random.Random(seed)
    spawn = multiprocessing.get_context("spawn")
    with new_store(kind) as url, Store.open(url) as store:
        filled(store, 20)
        folder = Folder(tmp_path / "bulk")
        expected = state(store)
        id = add(store, wanted(level))
        kills = 0
        for turn in range(25):
            delay = 0.0 if turn % 2 else chance.uniform(0.3, 1.2)
            child = spawn.Process(target=_doomed, args=(url, str(folder.path), id, turn % 4, delay))
            child.start()
            child.join()
            kills += child.exitcode == -signal.SIGKILL
            change(store, ("Patient", f"p{chance.randrange(30)}", chance.randrange(6)))
            kept = bulk_jobs.find(store, EXPORT, id)
            assert kept is not None
            if kept.ended:
                break
            if turn == 0:
                # From the first note of its position on, the export is of that moment.
                head = decode(kept.body).head
                expected = expected if head >= 0 else state(store)
            elif decode(kept.body).head < 0:
                expected = state(store)
        assert kills
        work(store, folder, id)
        assert result(store, folder, id)[1] == expected
        shutil.rmtree(folder.path)
