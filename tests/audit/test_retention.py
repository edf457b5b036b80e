"""What is past its time goes, the chains go on, and it is remembered who removed it."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time_ns

import pytest

from fhir_coprod.audit import recorder, retention
from fhir_coprod.audit.retention import Past
from fhir_coprod.audit.trail import Trail, user_here
from fhir_coprod.store.opening import connect
from fhir_coprod.store.soundness import check
from tests.api.conftest import patient
from tests.audit.conftest import Audited

YEARS = 5 * 365 * 24 * 3600 * 10**9


def fill_then_and_now(audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of more than five years ago and of today, by one process that ran all the time."""
    started = time_ns()
    past = [started - YEARS - 40 * 24 * 3600 * 10**9]
    monkeypatch.setattr(recorder, "time_ns", lambda: past[0] if past else time_ns())
    monkeypatch.setattr("fhir_coprod.audit.trail.time_ns", lambda: past[0] if past else time_ns())
    audited.start()
    for round in range(2):
        for number in range(3):
            audited.api.put(f"Patient/p{number}-{round}", patient(id=f"p{number}-{round}"))
            audited.api.get(f"Patient/p{number}-{round}")
        if past:
            past.clear()
            # The server makes room for a month before it comes; here five years pass in a moment.
            audited.places.begin(audited.month)
    audited.stop()


def remove(audited: Audited) -> list[Past]:
    now = datetime.now(UTC)
    with Trail(audited.store, audited.settings.audit) as trail:
        trail.open()
        found = [each for each in retention.past(trail.places, now, 5) if each.calls]
        for each in found:
            retention.remove(audited.store, trail.places, each.month, user_here(), now)
    return found


def test_a_month_that_is_removed_leaves_chains_that_are_sound(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_then_and_now(audited, monkeypatch)
    assert audited.flaws() == []
    assert len(audited.calls()) == 12
    (removed,) = remove(audited)
    assert removed.calls == 6
    left = audited.calls()
    assert [found.event.interaction for found in left][-1] == "retain"
    assert len(left) == 7
    assert f"month={removed.month}&calls=6" in left[-1].event.query
    assert audited.flaws() == []
    assert retention.past(audited.places, datetime.now(UTC), 5) in ([], [Past(removed.month + 1, 0)])
    file = audited.places.file(removed.month)
    assert file is None or not file.exists()
    audited.store.close()
    assert check.damage(connect(audited.url)) == []


def test_a_month_that_somebody_takes_away_by_hand_shows(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_then_and_now(audited, monkeypatch)
    month = audited.places.months()[0]
    audited.places.drop_file(month)
    audited.tamper("writes", *(f"DELETE FROM {name} WHERE month = {month}" for name in TABLES))
    assert {flaw.kind for flaw in audited.flaws()} == {"missing"}


def test_a_removal_that_nobody_remembers_shows(audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_then_and_now(audited, monkeypatch)
    remove(audited)
    audited.tamper("writes", "UPDATE audit_checkpoint SET calls = calls + 1")
    assert "unsigned" in {flaw.kind for flaw in audited.flaws()}


TABLES = ("audit_call", "audit_resource")
