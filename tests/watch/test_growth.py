"""What following the log makes the database do depends on what happened, not on how much there is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.fill import filled, id_of, referral
from fhir_coprod import jsontext
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, sqlite
from fhir_coprod.watch.live.look import look_at
from fhir_coprod.watch.live.loop import Watch
from fhir_coprod.watch.rules import policies

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
