"""A standing in words, as JSON, and in the order in which people should see it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from fhir_coprod.watch.alerts.resources import detail
from fhir_coprod.watch.rules.codes import Rule, Stage
from fhir_coprod.watch.rules.standing import (
    Stall,
    Standing,
    explain,
    just_before,
    spoken,
    spoken_end,
    spoken_time,
    urgency,
)

STOCKHOLM = ZoneInfo("Europe/Stockholm")
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 3, 9, 23, tzinfo=UTC)
"""The end of 9 March in Stockholm."""
STALL = Stall(Rule.UNACKNOWLEDGED, MONDAY, MIDNIGHT, "Organization/ortho", "Task/a", "high")
SENT = Standing(
    "ServiceRequest/r",
    "Patient/p",
    Stage.SENT,
    MONDAY,
    due=MIDNIGHT,
    owner="Organization/ortho",
    zone="Europe/Stockholm",
)


def standing(**changed: Any) -> Standing:
    return msgspec.structs.replace(SENT, **changed)


TOLD = "the patient has not been told anything"


@pytest.mark.parametrize(
    ("said", "of"),
    [
        (
            "sent on 2 March 2026 to Organization/ortho; next, the department acknowledging it: "
            f"due 9 March 2026; {TOLD}",
            SENT,
        ),
        (f"sent on 2 March 2026; {TOLD}", standing(owner="", due=None)),
        (
            f"received on 2 March 2026 by Organization/ortho; {TOLD}",
            standing(stage=Stage.RECEIVED, due=None),
        ),
        (f"received on 2 March 2026; {TOLD}", standing(stage=Stage.RECEIVED, due=None, owner="")),
        (
            f"sent on 2 March 2026 (first stored then; it may be older); {TOLD}",
            standing(owner="", due=None, since_stored=True),
        ),
        (
            "sent on 2 March 2026; no word from the department since, due 9 March 2026; " + TOLD,
            standing(owner="", stalls=(STALL,)),
        ),
        (
            "sent on 2 March 2026; no word from the department since (first stored then), due 9 March 2026; "
            "next, the department acknowledging it: due 10 March 2026; " + TOLD,
            standing(
                owner="", due=MIDNIGHT + DAY, stalls=(msgspec.structs.replace(STALL, since_stored=True),)
            ),
        ),
        (
            f"sent on 2 March 2026; sent back and forth, last on 2 March 2026; {TOLD}",
            standing(owner="", due=None, stalls=(Stall(Rule.BOUNCED, MONDAY, MONDAY),)),
        ),
        (
            f"sent on 2 March 2026; still a draft, due 9 March 2026; {TOLD}",
            standing(owner="", due=None, notes=(Stall(Rule.DRAFT_LEFT, MONDAY, MIDNIGHT),)),
        ),
        (
            f"sent on 2 March 2026; cannot be watched further: Encounter, Task not visible here; {TOLD}",
            standing(owner="", due=None, not_observable=("Encounter", "Task")),
        ),
        (
            f"sent on 2 March 2026; guarantee date 9 March 2026 (first visit); {TOLD}",
            standing(owner="", due=None, guarantee=MIDNIGHT, guarantee_name="first visit"),
        ),
        (
            "sent on 2 March 2026; the patient was last told on 10 March 2026; "
            "the patient asked not to be contacted",
            standing(owner="", due=None, last_informed=MIDNIGHT, do_not_contact=True),
        ),
        (
            "sent on 2 March 2026; cannot be watched further: Communication not visible here; "
            "whether the patient has been told anything cannot be seen",
            standing(
                owner="",
                due=None,
                not_observable=("Communication",),
                not_claimed=(Rule.PATIENT_NOT_INFORMED,),
            ),
        ),
        ("There is no referral at this time.", standing(stage=None)),
        ("There is no referral at this time.", standing(since=None)),
    ],
)
def test_a_standing_is_one_sentence_with_dates_of_the_site(said: str, of: Standing) -> None:
    assert of.explanation == said


def test_an_alert_does_not_deny_that_the_patient_was_told_where_nobody_can_see_it() -> None:
    unseen = standing(not_claimed=(Rule.PATIENT_NOT_INFORMED,))
    assert detail(unseen, STALL, {}).endswith("Whether the patient has been told cannot be seen.")
    assert detail(SENT, STALL, {}).endswith("The patient has not been told.")


def test_departments_are_said_by_name_where_it_is_known() -> None:
    assert "to Orthopaedics;" in explain(SENT, {"Organization/ortho": "Orthopaedics"})
    assert "to Organization/ortho;" in explain(SENT, {"Organization/neuro": "Neurology"})


def test_a_stall_is_told_as_json_with_its_task_and_owner_or_null() -> None:
    note = Stall(Rule.DRAFT_LEFT, MONDAY, MIDNIGHT)
    nobody = Stall(Rule.NOT_SENT, MONDAY, MIDNIGHT)
    told = standing(
        stalls=(STALL, nobody),
        notes=(note, msgspec.structs.replace(note, owner="PractitionerRole/gp")),
        not_observable=("Encounter",),
        patient_informed=True,
        guarantee=MIDNIGHT,
    ).to_json({"Organization/ortho": "Orthopaedics"})
    since, due = "2026-03-02T09:00:00Z", "2026-03-09T23:00:00Z"
    assert "Orthopaedics" in told.pop("explanation")
    assert told == {
        "referral": "ServiceRequest/r",
        "patient": "Patient/p",
        "stage": "sent",
        "since": since,
        "due": due,
        "stalls": [
            {
                "rule": "unacknowledged",
                "since": since,
                "due": due,
                "owner": "Organization/ortho",
                "task": "Task/a",
                "severity": "high",
            },
            {
                "rule": "not-sent",
                "since": since,
                "due": due,
                "owner": None,
                "task": None,
                "severity": "moderate",
            },
        ],
        "notes": [
            {"rule": "draft-left", "since": since, "due": due, "owner": None},
            {"rule": "draft-left", "since": since, "due": due, "owner": "PractitionerRole/gp"},
        ],
        "scope": "referral",
        "in_scope": "",
        "counted": [],
        "not_observable": ["Encounter"],
        "patient_informed": True,
        "guarantee": due,
        "deceased": None,
        "unknown_states": [],
    }


def test_a_standing_is_open_until_it_is_closed_and_stalled_while_something_is_missing() -> None:
    assert SENT.is_open
    assert not standing(stage=Stage.CLOSED).is_open
    assert not standing(stage=None).is_open
    assert not SENT.is_stalled
    assert standing(stalls=(STALL,)).is_stalled
    assert SENT.next_step == "the department acknowledging it"
    assert standing(stage=None).next_step == ""
    assert STALL.missing.startswith("word from the department")


def test_the_end_of_a_day_is_said_as_that_day() -> None:
    assert just_before(MIDNIGHT) == MIDNIGHT - timedelta(microseconds=1)
    assert spoken(date(2026, 3, 2)) == "2 March 2026"
    assert spoken_time(MONDAY, STOCKHOLM) == "2 March 2026, 10:00"
    second = timedelta(seconds=1)
    for end, said in (
        (MIDNIGHT, "9 March 2026"),
        (MIDNIGHT - second, "9 March 2026"),
        (MIDNIGHT - 2 * second, "9 March 2026, 23:59"),
        (MIDNIGHT + 60 * second, "10 March 2026, 00:01"),
        (MONDAY, "2 March 2026, 10:00"),
    ):
        assert spoken_end(end, STOCKHOLM) == said


def test_the_most_urgent_comes_first() -> None:
    def stalled(*severities: Any, due: datetime = MIDNIGHT, **more: Any) -> Standing:
        stalls = tuple(Stall(Rule.UNDECIDED, MONDAY, due, severity=severity) for severity in severities)
        return standing(stalls=stalls, **more)

    earlier = MIDNIGHT - DAY
    in_order = [
        stalled("low", "high", priority="stat"),
        stalled("high", priority="asap"),
        stalled("high", priority="urgent"),
        stalled("high", priority="routine", due=earlier),
        stalled("high", priority="routine"),
        stalled("moderate", priority="stat"),
        stalled("low", priority="stat"),
        standing(priority="stat", due=None),
        standing(priority="routine", due=earlier),
        standing(priority="routine", stage=Stage.RECEIVED),
        standing(priority="routine", stage=Stage.SENT),
        standing(priority="routine", stage=None),
        standing(priority="routine", due=None, referral="ServiceRequest/q"),
        standing(priority="routine", due=None),
    ]
    keys = [urgency(one) for one in in_order]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
