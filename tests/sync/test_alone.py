"""Only one sync runs at a time; what happens to the lease of a sync that dies or is replaced."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import update

from fhir_coprod.errors import Conflict
from fhir_coprod.store import Store
from fhir_coprod.store.schema import core
from fhir_coprod.sync import alone
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.reading.shared import Progress
from tests import programs
from tests.sync.conftest import settings_for
from tests.sync.records import patient
from tests.sync.server import Ehr, serving

_DIES = """
import os, sys
from fhir_coprod.store import Store
from fhir_coprod.sync.alone import alone
with Store.open(sys.argv[1]) as store, alone(store):
    os._exit(0)
"""


def _hold(store: Store, holder: str) -> None:
    """As if somebody else had the right now."""
    store.write(lambda t: t.connection.execute(update(core.lease).values(holder=holder)).rowcount)


def test_a_sync_that_died_on_this_machine_does_not_stand_in_the_way(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    assert programs.run("-c", _DIES, url).returncode == 0
    with Store.open(url) as store, alone.alone(store):
        pass


def test_a_process_number_of_another_container_says_nothing(store: Store) -> None:
    with alone.alone(store):
        with store.connect() as connection:
            own = connection.execute(core.lease.select()).one().holder
        machine, _, place, name = own.split("/")
        never = "4999999"  # above the largest process number there is
        _hold(store, f"{machine}/{never}/elsewhere:1/{name}")
        with pytest.raises(Conflict, match="Another sync is at work"), alone.alone(store):
            pass
        _hold(store, f"{machine}/{never}/{place}/{name}")
        with alone.alone(store):
            pass


def test_a_sync_whose_right_was_taken_over_ends_between_two_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "HEARTBEAT", 0.02)
    told: list[Progress] = []

    def slowly(progress: Progress) -> None:
        if not told:
            _hold(store, "another/1/elsewhere:1/x")
        told.append(progress)
        time.sleep(0.02)

    ehr = Ehr(page_size=1).load(*(patient(str(n), str(n)) for n in range(60)))
    with serving(ehr), pytest.raises(Conflict, match="taken over"):
        run(store, settings_for(care=ehr), progress=slowly)
    assert 0 < len(told) < 60


def test_who_was_taken_over_leaves_the_right_to_whoever_has_it(store: Store) -> None:
    other = "another/1/elsewhere:1/x"
    with alone.alone(store):
        _hold(store, other)
    with store.connect() as connection:
        assert connection.execute(core.lease.select()).one().holder == other
