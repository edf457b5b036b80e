"""What following the log makes the database do depends on what happened, not on how much there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fill import filled, id_of, referral
from fhir_coprod import jsontext
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, sqlite
from fhir_coprod.watch.live.look import look_at
from fhir_coprod.watch.live.loop import Watch
from fhir_coprod.watch.rules import policies

pytestmark = pytest.mark.long

EVENTS = 20


def test_news_of_some_referrals_take_no_more_steps_in_a_larger_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = (_steps(tmp_path, size, monkeypatch) for size in (1_000, 5_000))
    assert small.keys() == large.keys()
    for name, steps in large.items():
        assert steps <= 1.2 * small[name], (name, small[name], steps)


def _steps(folder: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Steps of SQLite's machine, in tens, that each thing takes in a store of so many open referrals."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    connect = sqlite.SqliteDatabase._connect

    def watched(self: sqlite.SqliteDatabase, mode: str) -> object:
        connection = connect(self, mode)
        connection.set_progress_handler(count, 10)
        return connection

    now = datetime.now(UTC)
    policy = policies.load("default")
    url = f"sqlite:///{folder / f'{size}.db'}"
    filled(url, size, policy, now).close()
    found: dict[str, int] = {}
    with monkeypatch.context() as patch:
        patch.setattr(sqlite.SqliteDatabase, "_connect", watched)
        with Store.open(url) as store:
            watch = Watch(store, policy, Settings())
            watch.catch_up(now)

            def steps(name: str, begin: int) -> None:
                found[name] = counted - begin

            begin = counted
            watch.catch_up(now)
            steps("nothing due", begin)
            for part in range(3):  # a referral, its Task, a message
                news = [list(referral(id_of(5 * n + 1), now, late=False))[part] for n in range(EVENTS)]
                news = [one | {"language": "sv"} for one in news]
                store.write(lambda t, news=news: [t.put(jsontext.from_data(one), one["id"]) for one in news])
                begin = counted
                while watch.step(now):
                    pass
                steps(f"news of {news[0]['resourceType']}", begin)
            begin = counted
            look_at(store, f"ServiceRequest/s-{id_of(7)}", policy, now, Settings())
            steps("one question", begin)
    return found


# -- orders of one patient ---------------------------------------------------------------------------------

NOW = datetime(2026, 3, 20, 9, tzinfo=UTC)


def test_a_patient_with_a_hundred_times_the_orders_costs_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (_steps_of_patient(tmp_path, number, monkeypatch) for number in (12, 1_200))
    assert few.keys() == many.keys()
    for name, steps in many.items():
        assert steps <= 1.2 * few[name] + 20, (name, few[name], steps)


def _steps_of_patient(folder: Path, orders: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The same steps for things that happen to a patient who has so many orders already."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    connect = sqlite.SqliteDatabase._connect

    def watched(self: sqlite.SqliteDatabase, mode: str) -> object:
        connection = connect(self, mode)
        connection.set_progress_handler(count, 10)
        return connection

    found: dict[str, int] = {}
    with monkeypatch.context() as patch:
        patch.setattr(sqlite.SqliteDatabase, "_connect", watched)
        with Store.open(f"sqlite:///{folder / f'orders-{orders}.db'}") as store:
            watch = Watch(store, policies.load("default"), Settings())
            put(store, *(order(f"old-{n}", n // 10) for n in range(orders)))
            put(store, *(part for n in range(3) for part in asked(f"r{n}", n)))
            watch.catch_up(NOW)
            store.write(lambda transaction: transaction.connection.exec_driver_sql("ANALYZE") and None)
            happens = {
                "a laboratory order": [order("new", 0)],
                "an order of another kind": [order("scan", 0, "363679005")],
                "a referral": asked("r9", 0),
                "a referral's Task": [asked("r1", 1)[1] | {"status": "accepted"}],
            }
            for name, resources in happens.items():
                put(store, *resources)
                begin = counted
                while watch.step(NOW):
                    pass
                found[name] = counted - begin
            with store.connect() as connection:
                kept = "SELECT max(length(facts)) FROM standing WHERE referral LIKE 'ServiceRequest/r%'"
                found["bytes kept for a referral"] = connection.exec_driver_sql(kept).scalar_one()
    return found


def order(id: str, days: int, category: str = "108252007") -> dict[str, Any]:
    """A finished order of the patient, written so many days ago; of ten kinds, each again and again."""
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "completed",
        "intent": "order",
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": category}]}],
        "code": {"coding": [{"system": "urn:codes", "code": f"k{len(id) % 10}{days % 10}"}]},
        "subject": {"reference": "Patient/p"},
        "authoredOn": (NOW - timedelta(days=days)).isoformat(),
    }


def asked(id: str, days: int) -> list[dict[str, Any]]:
    """A referral of the patient and its Task."""
    at = (NOW - timedelta(days=days)).isoformat()
    request = {
        **order(id, days, "3457005"),
        "status": "active",
        "code": {"coding": [{"system": "urn:codes", "code": "knee"}]},
        "requester": {"reference": "Organization/gp"},
    }
    return [
        request,
        {
            "resourceType": "Task",
            "id": f"t-{id}",
            "status": "requested",
            "intent": "order",
            "focus": {"reference": f"ServiceRequest/{id}"},
            "owner": {"reference": "Organization/ortho"},
            "authoredOn": at,
            "lastModified": at,
        },
    ]


def put(store: Store, *resources: dict[str, Any]) -> None:
    documents = [jsontext.from_data(one) for one in resources]
    store.write(lambda t: [t.put(one, one.data["id"]) for one in documents])
