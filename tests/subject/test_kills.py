"""An erasure that is killed at any moment has happened whole or not at all, and the next one ends it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.errors import NotFound
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.soundness import check
from fhir_coprod.subject.erasure import erase
from fhir_coprod.sync import alone

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

ROUNDS = 4 if os.environ.get("PROOF_SIZE") == "ci" else 12
RECORDS = 1500


def fill(transaction: Transaction) -> None:
    transaction.put(jsontext.from_data({"resourceType": "Patient", "id": "eva"}), "eva")
    for number in range(RECORDS):
        id = f"o{number}"
        data = {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}}
        data["subject"] = {"reference": "Patient/eva" if number % 2 else "Patient/bo"}
        transaction.put(jsontext.from_data(data), id)


def state(store: Store) -> tuple[int, int]:
    """How many versions there are of the patient's records, and of others'."""
    bodies = [version.body for version in store.changes(0, 10 * RECORDS)]
    own = sum(b"Patient/eva" in body or b'"Patient"' in body for body in bodies)
    return own, len(bodies) - own


def test_a_killed_erasure_is_whole_or_not_at_all(store_url: str, tmp_path: Path) -> None:
    whole, left = (RECORDS // 2 + 1, RECORDS // 2), (0, RECORDS // 2)
    settings = Settings(store=StoreSettings(url=store_url))
    command = [sys.executable, "-m", "fhir_coprod", "patient", "erase", "eva", "--reason", "x", "--yes"]
    environment = {**os.environ, "COPROD_STORE__URL": store_url}
    dice, seen = random.Random(7), set[Any]()
    with Store.open(store_url) as store:
        store.write(fill)
    began = time.monotonic()
    subprocess.run(
        [*command[:-1], "--dry-run"], env=environment, cwd=tmp_path, check=True, capture_output=True
    )
    usual = time.monotonic() - began
    for _ in range(ROUNDS):
        with subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            time.sleep(usual * dice.uniform(0.5, 1.2))
            running.send_signal(signal.SIGKILL)
        with Store.open(store_url) as store:
            found = state(store)
            seen.add(found)
            assert found in (whole, left)
            faults: list[Any] = []
            check.run(store.database, faults.append)
            assert faults == []
            # The one that was killed may still hold the right to sync, for a minute.
            store.write(
                lambda transaction: transaction.session.run("DELETE FROM lease WHERE name = ?", (alone.NAME,))
            )
            try:
                erase(store, settings, "eva", reason="x")
            except NotFound:
                assert found == left
            assert state(store) == left
            _again(store)
    assert whole in seen


def _again(store: Store) -> None:
    """Fill it anew, without the others."""

    def work(transaction: Transaction) -> None:
        transaction.put(jsontext.from_data({"resourceType": "Patient", "id": "eva"}), "eva")
        for number in range(1, RECORDS, 2):
            data = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
            data["subject"] = {"reference": "Patient/eva"}
            transaction.put(jsontext.from_data(data), f"o{number}")

    store.write(work)
