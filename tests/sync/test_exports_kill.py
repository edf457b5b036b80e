"""A sync that reads a bulk export and is killed (SIGKILL) anywhere goes on with the same export.

Killed when a request arrives at the EHR, before it is answered, and at moments spread over a run.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_coprod.settings import Settings
from fhir_coprod.sync.reading.fetching import AT_ONCE
from tests.sync.exporting import Exporting, settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import serving
from tests.sync.test_kill import ends_after_kills, in_child, new_postgresql, picture, sync_and_die

__all__ = ["new_postgresql"]

pytestmark = pytest.mark.proof

PATIENTS = 20


def hospital(polls: int = 0) -> Exporting:
    ehr = Exporting(polls=polls, per_file=10)
    ehr.load(organization("care", "GP"))
    for n in range(PATIENTS):
        ehr.load(
            patient(f"p{n}", f"{n}"),
            referral(f"s{n}", f"Patient/p{n}", f"R{n}"),
            task(f"t{n}", f"Patient/p{n}", f"ServiceRequest/s{n}"),
        )
    ehr.broken["Task/t4"] = b'{"resourceType":"Task","id":"t4","status":'
    return ehr


def change(ehr: Exporting) -> None:
    """What happens between the first export and the next."""
    for n in range(0, PATIENTS, 3):
        ehr.put({**ehr.resources[f"Task/t{n}"], "status": "accepted"})
    for n in range(0, PATIENTS, 4):
        ehr.delete(f"ServiceRequest/s{n}")


class Killing:
    """Kills a program when its n-th request of a kind has arrived."""

    def __init__(self, what: str, n: int) -> None:
        self.what, self.left, self.pid = what, n, 0

    def __call__(self, what: str) -> None:
        self.left -= what == self.what
        if self.left == 0 and self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = 0


def dies(settings: Settings, killing: Killing) -> None:
    """A run that ends by that."""
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=sync_and_die, args=(settings, False, None))
    process.start()
    killing.pid = process.pid or 0
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


POINTS = [("kick", 1), ("look", 2), ("file", 4), ("file", 7), ("clear", 1)]


@pytest.mark.parametrize(
    ("what", "n"),
    POINTS,
)
def test_a_run_killed_while_the_server_answers_goes_on_with_the_same_export(
    tmp_path: Path, what: str, n: int
) -> None:
    calm, disturbed = hospital(polls=1), hospital(polls=1)
    with serving(calm, disturbed):
        expected = settings_for(f"sqlite:///{tmp_path / 'calm'}.db", calm, bulk_every_hours=1)
        assert in_child(expected, False)[0] == 0
        disturbed.arrived = killing = Killing(what, n)
        settings = settings_for(f"sqlite:///{tmp_path / 'disturbed'}.db", disturbed, bulk_every_hours=1)
        dies(settings, killing)
        before = list(disturbed.fetched)
        assert in_child(settings, False)[0] == 0
    assert picture(settings) == picture(expected)
    assert len(disturbed.exports) == (2 if what == "kick" else 1), "our note of the first one is never lost"
    assert disturbed.exports[-1].is_cleared
    whole = set(before[:-AT_ONCE])
    assert not whole & set(disturbed.fetched[len(before) :]), "what is here is not fetched again"
    assert not list(tmp_path.rglob("*.ndjson"))
    assert not list(tmp_path.rglob("*.part"))


def test_a_first_run_killed_at_any_moment_ends_as_if_undisturbed(tmp_path: Path) -> None:
    ehr = hospital()

    def fresh(name: str) -> Settings:
        return settings_for(f"sqlite:///{tmp_path / name}.db", ehr, bulk_every_hours=1)

    with serving(ehr):
        ends, expected = ends_after_kills(6, fresh, full=False)
    assert all(end == expected for end in ends)
    assert not list(tmp_path.rglob("*.ndjson"))


@pytest.mark.parametrize("full", [False, True])
def test_a_later_run_killed_at_any_moment_ends_as_if_undisturbed(tmp_path: Path, full: bool) -> None:
    ehr = hospital()
    before = tmp_path / "before.db"

    def fresh(name: str) -> Settings:
        shutil.copy(before, tmp_path / f"{name}.db")
        return settings_for(f"sqlite:///{tmp_path / name}.db", ehr)

    with serving(ehr):
        assert in_child(settings_for(f"sqlite:///{before}", ehr), False)[0] == 0
        change(ehr)
        ends, expected = ends_after_kills(3, fresh, full=full)
    assert all(end == expected for end in ends)


def test_a_run_killed_on_postgresql_ends_as_if_undisturbed(
    tmp_path: Path, new_postgresql: Callable[[], str]
) -> None:
    ehr = hospital()

    def fresh(name: str) -> Settings:
        settings = settings_for(new_postgresql(), ehr, bulk_every_hours=1)
        sync = settings.sync.model_copy(update={"bulk_folder": str(tmp_path / name)})
        return settings.model_copy(update={"sync": sync})

    with serving(ehr):
        ends, expected = ends_after_kills(3, fresh, full=False)
    assert all(end == expected for end in ends)
    assert not list(tmp_path.rglob("*.ndjson"))
