"""What board and command show is of this moment, and they say when alerts are not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fhir_coprod.store import Store
from fhir_coprod.watch.letters import drafts
from fhir_coprod.watch.live import present
from tests.watch.hospital import DAY, MONDAY, Hospital

LATE = MONDAY + 9 * DAY
SECOND = timedelta(seconds=1)


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """On SQLite alone: what the databases do differently is tested with the sweep."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield Hospital(opened)


def behind(hospital: Hospital, now: datetime) -> str:
    return present.behind(hospital.store, hospital.policy, now, hospital.settings)


def test_alerts_that_came_due_are_behind_after_a_minute_and_not_before(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(MONDAY)
    hospital.tell("r", MONDAY)
    hospital.sweep(MONDAY + DAY)
    moment = datetime(2026, 3, 10, tzinfo=UTC)  # the fifth working day is over
    assert behind(hospital, moment) == ""
    assert behind(hospital, moment + 59 * SECOND) == ""
    assert "nobody watches" in behind(hospital, moment + 60 * SECOND)
    hospital.sweep(moment + 60 * SECOND)
    assert behind(hospital, moment + 60 * SECOND) == ""


def test_alerts_that_news_concerns_are_behind_after_a_minute_and_not_before(hospital: Hospital) -> None:
    hospital.refer()
    for _ in range(2):  # the second follows what the first has written
        hospital.sweep(datetime.now(UTC))
    hospital.task("r", "received", LATE)
    changed = hospital.store.read("Task", "task-r").updated
    assert behind(hospital, changed + 60 * SECOND) == ""
    assert "nobody watches" in behind(hospital, changed + 61 * SECOND)


def test_alerts_by_other_rules_may_be_out_of_date(hospital: Hospital) -> None:
    assert behind(hospital, LATE) == "", "there is nothing to watch"
    hospital.refer()
    assert "out of date" in behind(hospital, LATE)
    hospital.sweep(LATE)
    assert behind(hospital, LATE) == ""


def test_what_is_shown_is_of_this_moment_though_nobody_has_watched_since(hospital: Hospital) -> None:
    for id in ("still", "news"):
        hospital.refer(id)
    hospital.sweep(MONDAY)
    hospital.task("news", "accepted", MONDAY + DAY)
    early = present.look(hospital.store, hospital.policy, MONDAY + DAY, hospital.settings)
    assert {s.stage for s in early} == {"sent", "accepted"}, "news counts before anything comes due"
    shown = {s.referral: s for s in present.look(hospital.store, hospital.policy, LATE, hospital.settings)}
    assert {name: standing.stage for name, standing in shown.items()} == {
        "ServiceRequest/still": "sent",
        "ServiceRequest/news": "accepted",
    }
    assert "unacknowledged" in [stall.rule for stall in shown["ServiceRequest/still"].stalls]
    assert hospital.issues() == {}, "only shown"


def test_a_draft_never_counts_as_having_told_the_patient(hospital: Hospital) -> None:
    hospital.refer()
    (standing,) = hospital.sweep(LATE)
    draft = {**drafts.communication(standing, "en"), "id": "draft", "sent": LATE.isoformat()}
    hospital.put(draft)
    (standing,) = hospital.sweep(LATE + DAY)
    assert standing.last_informed is None
    hospital.put({**draft, "status": "completed"})
    (standing,) = hospital.sweep(LATE + DAY)
    assert standing.last_informed == LATE
