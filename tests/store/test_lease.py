"""A job has one holder; one that died on this machine gives way at once, any other when its time is up."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from fhir_coprod.store import Store, lease
from fhir_coprod.store.lease import Lease
from tests import programs

NEVER = "4999999"
"""Above the largest process number there is."""


def test_a_lease_has_one_holder_until_it_runs_out(store: Store) -> None:
    first, second = Lease("job", 60), Lease("job", 60)
    assert store.write(first.take) is None
    assert store.write(first.take) is None
    assert store.write(second.take) == first.holder
    assert not store.write(second.prolong)
    assert store.write(replace(first, seconds=-1).prolong)
    assert store.write(second.take) is None


def test_a_lease_is_given_up_by_its_holder_only(store: Store) -> None:
    first, second = Lease("job", 60), Lease("job", 60)
    store.write(first.take)
    store.write(second.give_up)
    assert store.write(second.take) == first.holder
    store.write(first.give_up)
    assert store.write(second.take) is None


def test_each_job_has_a_lease_of_its_own(store: Store) -> None:
    assert store.write(Lease("one job", 60).take) is None
    assert store.write(Lease("another", 60).take) is None


def test_a_process_that_died_on_this_machine_gives_way_at_once(store: Store) -> None:
    died = programs.run("-c", "from fhir_coprod.store.lease import Lease; print(Lease('job', 60).holder)")
    store.write(Lease("job", 60, died.stdout.strip()).take)
    mine = Lease("job", 60)
    assert not store.write(mine.prolong)
    assert store.write(mine.take) is None


@pytest.mark.parametrize(
    "holder",
    [f"machine/{NEVER}/elsewhere:1/x", f"machine/{NEVER}//x", f"machine/{NEVER}/x", "x"],
    ids=["another container", "no place", "an older release", "an older release's index"],
)
def test_a_process_number_of_another_place_says_nothing(
    store: Store, holder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "//" in holder:
        monkeypatch.setattr(lease, "_place", str)  # the system does not tell
    store.write(Lease("job", 60, holder).take)
    assert store.write(Lease("job", 60).take) == holder


def test_a_holder_tells_its_machine_and_process() -> None:
    said = lease.described(Lease("job", 60).holder)
    assert said.startswith("process ")
    assert said.endswith(f" on {socket.gethostname()}")
    assert lease.described("machine/17/x") == "process 17 on machine"
