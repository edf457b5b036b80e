"""Alerts follow the facts: once, valid, and resolved by themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_coprod import validate
from fhir_coprod.store import Store
from fhir_coprod.watch import sweep
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.worklist import desk
from tests.watch.hospital import DAY, MONDAY, Hospital


@pytest.fixture
def hospital(store: Store) -> Hospital:
    return Hospital(store)


LATE = MONDAY + 9 * DAY  # Wednesday of the week after: unacknowledged is due since Monday


def test_a_stall_raises_one_issue_and_one_followup(hospital: Hospital) -> None:
    hospital.refer()
    standings = hospital.sweep(LATE)
    assert [standing.referral for standing in standings] == ["ServiceRequest/r"]
    issue = hospital.issues()["unacknowledged"]
    assert [item["reference"] for item in issue["implicated"]] == ["ServiceRequest/r", "Task/task-r"]
    assert issue["patient"] == {"reference": "Patient/of-r"}
    (followup,) = hospital.followups("requested")
    assert followup["owner"] == {"reference": "Organization/ortho"}
    assert followup["reasonReference"] == {"reference": f"DetectedIssue/{issue['id']}"}
    assert "no word from the department since" in followup["description"]


def test_nothing_is_raised_before_it_is_due(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(MONDAY + 7 * DAY)
    assert hospital.issues() == {}
    assert hospital.followups() == []


def test_sweeping_again_writes_nothing(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    head = hospital.head()
    hospital.sweep(LATE)
    hospital.sweep(LATE + timedelta(minutes=5))
    assert hospital.head() == head


def test_what_is_written_is_valid(hospital: Hospital) -> None:
    hospital.refer("r", priority="urgent")
    hospital.refer("s", replaces=[{"reference": "ServiceRequest/old"}])
    hospital.task("s", "rejected", MONDAY + DAY)
    hospital.sweep(LATE)
    hospital.task("r", "accepted", LATE)
    hospital.sweep(LATE + DAY)
    written = [
        resource
        for type in ("DetectedIssue", "Task", "Provenance", "Device")
        for resource in hospital.all(type)
        if not resource["id"].startswith("task-")
    ]
    assert {resource["resourceType"] for resource in written} == {
        "DetectedIssue",
        "Task",
        "Provenance",
        "Device",
    }
    for resource in written:
        outcome = validate(resource)
        assert outcome, (resource, [str(issue) for issue in outcome.issues])


def test_all_stalls_of_a_stage_share_one_followup(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE + 10 * DAY)
    assert set(hospital.issues()) == {"unacknowledged", "patient-not-informed"}
    (followup,) = hospital.followups()
    named = {item["valueReference"]["reference"] for item in followup["input"] if "valueReference" in item}
    assert named == {f"DetectedIssue/{issue['id']}" for issue in hospital.issues().values()}


def test_a_stall_resolves_by_itself_and_says_why(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    (followup,) = hospital.followups()
    hospital.task("r", "received", LATE)
    hospital.sweep(LATE + timedelta(hours=1))
    issue = hospital.issues("final")["unacknowledged"]
    assert "author" not in issue["mitigation"][0]
    (provenance,) = hospital.all("Provenance")
    assert provenance["target"] == [{"reference": f"DetectedIssue/{issue['id']}"}]
    assert provenance["reason"][0]["text"].startswith("Resolved by itself: received on 11 March 2026")
    assert hospital.store.read("Task", followup["id"]).data["status"] == "completed"


def test_the_next_stage_has_its_own_followup(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    hospital.task("r", "received", LATE)
    hospital.sweep(LATE + 8 * DAY)
    assert set(hospital.issues()) == {"undecided"}
    stages = {task["businessStatus"]["coding"][0]["code"]: task["status"] for task in hospital.followups()}
    assert stages == {"sent": "completed", "received": "requested"}


def test_a_stall_that_comes_back_opens_the_same_alert_again(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    first = hospital.issues()["unacknowledged"]
    hospital.task("r", "entered-in-error", LATE)
    hospital.sweep(LATE + timedelta(hours=1))
    hospital.task("r", "requested", MONDAY)
    hospital.store.write(lambda t: t.delete("Task", "task-r"))
    hospital.task("r", "requested", MONDAY)
    hospital.sweep(LATE + timedelta(hours=2))
    again = hospital.issues()["unacknowledged"]
    assert again["id"] == first["id"]
    assert "mitigation" not in again
    (followup,) = hospital.followups("requested")
    assert followup["businessStatus"]["coding"][0]["code"] == "sent"


def test_an_alert_closed_by_hand_is_open_again_while_the_stall_stands(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    (followup,) = hospital.followups()
    hospital.put({**followup, "status": "completed"})
    issue = hospital.issues()["unacknowledged"]
    hospital.put({**issue, "status": "final", "mitigation": [{"action": {"text": "done"}}]})
    hospital.sweep(LATE + timedelta(hours=1))
    assert set(hospital.issues()) == {"unacknowledged"}
    assert len(hospital.followups("requested")) == 1


def test_an_alert_closed_by_hand_just_before_its_stall_is_over_leaves_nothing_open(
    hospital: Hospital,
) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    (followup,) = hospital.followups()
    hospital.put({**followup, "status": "completed"})
    hospital.task("r", "received", LATE)
    hospital.sweep(LATE + timedelta(hours=1))
    assert hospital.issues() == {}
    assert set(hospital.issues("final")) == {"unacknowledged"}


def test_a_referral_leaves_the_alerts_about_a_message_that_belongs_to_it_alone(hospital: Hospital) -> None:
    hospital.refer(status="entered-in-error")
    message = {
        "resourceType": "Communication",
        "id": "asks",
        "status": "completed",
        "category": [{"coding": [{"code": "referral-request"}]}],
        "basedOn": [{"reference": "ServiceRequest/r"}],
        "subject": {"reference": "Patient/of-r"},
        "sender": {"reference": "Patient/of-r"},
        "sent": MONDAY.isoformat(),
    }
    hospital.put(message)
    for days in (20, 21):
        hospital.sweep(MONDAY + days * DAY)
        hospital.refer(status="entered-in-error", note=[{"text": f"seen on day {days}"}])
    hospital.sweep(MONDAY + 22 * DAY)
    assert "request-unanswered" in hospital.issues()
    assert hospital.all("Provenance") == [], "none was ever closed"


def test_a_referral_entered_in_error_withdraws_its_alerts(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    hospital.refer(status="entered-in-error")
    hospital.sweep(LATE + timedelta(hours=1))
    assert set(hospital.issues("cancelled")) == {"unacknowledged"}
    assert len(hospital.followups("cancelled")) == 1


def test_a_deleted_referral_withdraws_its_alerts(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    hospital.store.write(lambda t: t.delete("ServiceRequest", "r"))
    hospital.sweep(LATE + timedelta(hours=1))
    assert set(hospital.issues("cancelled")) == {"unacknowledged"}
    assert len(hospital.followups("cancelled")) == 1


def test_an_alert_goes_up_the_ladder_and_stays_at_its_end(hospital: Hospital) -> None:
    hospital.refer(priority="urgent")
    hospital.tell("r", MONDAY + 7 * DAY)
    now = LATE
    steps = []
    for _ in range(6):
        hospital.sweep(now)
        (followup,) = hospital.followups()
        steps.append(next((i["valuePositiveInt"] for i in followup["input"] if "valuePositiveInt" in i), 0))
        now += 7 * DAY
    assert steps == [0, 1, 2, 2, 2, 2]


def test_an_older_sweep_does_not_undo_a_newer_one(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    head = hospital.head()
    hospital.sweep(MONDAY + DAY)
    assert hospital.head() == head


def test_an_older_sweep_that_meets_news_does_not_undo_what_a_newer_one_has_found(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    hospital.task("r", "requested", MONDAY, description="said again")
    head = hospital.head()
    hospital.sweep(MONDAY + DAY)
    assert hospital.head() == head


YEAR_2099 = "2099-12-31T00:00:00Z"


def test_an_alert_that_a_client_dates_far_ahead_ends_with_its_stall(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    (followup,) = hospital.followups()
    hospital.put({**followup, "lastModified": YEAR_2099})
    hospital.task("r", "received", LATE)
    hospital.sweep(LATE + timedelta(hours=1))
    assert set(hospital.issues("final")) == {"unacknowledged"}
    (followup,) = hospital.followups()
    assert followup["status"] == "completed"
    assert followup["lastModified"].startswith("2026-03-11")


def test_an_alert_dated_far_ahead_ends_with_its_stall_also_where_there_was_an_earlier_one(
    hospital: Hospital,
) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    hospital.task("r", "received", LATE)
    hospital.tell("r", LATE)
    hospital.sweep(LATE + 30 * DAY)
    (followup,) = hospital.followups("requested")
    assert len(hospital.followups("completed")) == 1
    hospital.put({**followup, "lastModified": YEAR_2099})
    hospital.task("r", "accepted", LATE + 30 * DAY)
    hospital.tell("r", LATE + 30 * DAY)
    hospital.sweep(LATE + 30 * DAY + timedelta(hours=1))
    assert not hospital.issues()
    assert len(hospital.followups("completed")) == 2


def test_whoever_takes_an_alert_far_ahead_holds_it_as_long_as_anybody(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    (followup,) = hospital.followups()
    far = {"period": {"end": YEAR_2099}}
    hospital.put({**followup, "status": "accepted", "lastModified": YEAR_2099, "restriction": far})
    hospital.sweep(LATE + timedelta(hours=1))
    (held,) = hospital.followups("accepted")
    assert held["restriction"]["period"]["end"] < "2026-04"
    hospital.sweep(LATE + 30 * DAY)
    assert len(hospital.followups("requested")) == 1


def test_the_alerts_of_a_deleted_referral_are_withdrawn_whatever_a_client_dates_them(
    hospital: Hospital,
) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    (followup,) = hospital.followups()
    hospital.put({**followup, "lastModified": YEAR_2099})
    hospital.store.write(lambda t: t.delete("ServiceRequest", "r"))
    hospital.sweep(LATE + timedelta(hours=1))
    assert len(hospital.followups("cancelled")) == 1


def test_an_alert_from_a_clock_that_is_a_little_ahead_waits_until_ours_is_there(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    (followup,) = hospital.followups()
    hospital.put({**followup, "lastModified": (LATE + timedelta(hours=20)).isoformat()})
    hospital.task("r", "received", LATE)
    hospital.sweep(LATE + timedelta(hours=19))
    assert set(hospital.issues()) == {"unacknowledged"}
    hospital.sweep(LATE + timedelta(hours=20))
    assert set(hospital.issues("final")) == {"unacknowledged"}


def test_concurrent_sweeps_raise_each_alert_once(hospital: Hospital) -> None:
    for number in range(40):
        hospital.refer(f"r{number}")
    times = [LATE + timedelta(seconds=seconds) for seconds in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(hospital.sweep, times))
    assert len(hospital.all("DetectedIssue")) == 40
    assert len(hospital.followups()) == 40
    versions = {issue["meta"]["versionId"] for issue in hospital.all("DetectedIssue")}
    assert versions == {"1"}


def test_staff_only_and_no_patient_s_name(hospital: Hospital) -> None:
    hospital.put({"resourceType": "Patient", "id": "of-r", "name": [{"family": "Secret"}]})
    hospital.refer()
    hospital.sweep(LATE)
    for resource in (*hospital.issues().values(), *hospital.followups()):
        assert resource["meta"]["security"][0]["code"] == "NOPAT"
        assert "Secret" not in str(resource)


def test_a_feed_that_fails_keeps_alerts_as_they_are(store: Store) -> None:
    from sqlalchemy import insert

    from fhir_coprod.settings import EhrSettings, Settings
    from fhir_coprod.store.schema import sync as sync_tables

    hospital = Hospital(store)
    hospital.settings = Settings(ehr=(EhrSettings(name="ortho", url="https://ortho.example/fhir"),))
    hospital.refer()
    hospital.store.write(
        lambda t: t.put(
            __import__("fhir_coprod.jsontext", fromlist=["from_data"]).from_data(
                hospital.store.read("Task", "task-r").data | {"description": "from the EHR"}
            ),
            "task-r",
            source="ehr:ortho",
        )
    )
    hospital.sweep(LATE)
    assert set(hospital.issues()) == {"unacknowledged"}
    row = {"ehr": "ortho", "type": "Task", "state": "failed", "since": 0, "reason": "time-out"}
    row |= {"watermark": "", "first_success": 0, "last_success": 0}
    store.write(lambda t: t.connection.execute(insert(sync_tables.feed).values(**row)) and None)
    (standing,) = hospital.sweep(LATE + timedelta(hours=1))
    assert standing.not_observable == ("Task",)
    assert set(hospital.issues()) == {"unacknowledged"}
    assert len(hospital.followups("requested")) == 1


def test_the_default_policy_knows_no_holidays_until_the_site_names_its_country(store: Store) -> None:
    from fhir_coprod.settings import Settings, SiteSettings

    thursday = datetime(2026, 4, 2, 9, tzinfo=UTC)
    settings = Settings(site=SiteSettings(country="SE", timezone="Europe/Stockholm"))
    hospital = Hospital(store)
    hospital.put(
        {
            "resourceType": "ServiceRequest",
            "id": "r",
            "status": "active",
            "intent": "order",
            "subject": {"reference": "Patient/p"},
            "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}],
            "authoredOn": thursday.isoformat(),
        }
    )

    def stalls(now: datetime) -> list[Any]:
        return [standing.stalls for standing in sweep(store, policies.load("default"), now, settings)]

    assert stalls(thursday + 5 * DAY) == [()]
    assert stalls(thursday + 7 * DAY) != [()]


def test_a_feed_that_is_down_raises_one_alert_which_ends_with_it(store: Store) -> None:
    from sqlalchemy import insert, update

    from fhir_coprod.settings import EhrSettings, Settings
    from fhir_coprod.store.schema import sync as sync_tables

    hospital = Hospital(store)
    hospital.settings = Settings(ehr=(EhrSettings(name="ortho", url="https://ortho.example/fhir"),))
    last = int((LATE - timedelta(hours=1)).timestamp() * 1000)
    for type, state in (("Task", "failed"), ("Appointment", "behind"), ("Flag", "not-observable")):
        row = {"ehr": "ortho", "type": type, "state": state, "since": last, "reason": "time-out"}
        row |= {"watermark": "", "first_success": last, "last_success": last}
        store.write(lambda t, row=row: t.connection.execute(insert(sync_tables.feed).values(**row)) and None)

    def reported() -> list[dict[str, Any]]:
        return [task for task in hospital.all("Task") if followup.is_kind(task, "feed-down")]

    hospital.sweep(LATE)
    (task,) = reported()
    assert validate(task)
    assert "Appointment (time-out)" in task["description"]
    (listed,) = desk.worklist(store, hospital.settings)
    assert desk.as_json(listed)["ehr_down"] == "ortho"
    assert "Flag" not in task["description"]
    head = hospital.head()
    hospital.sweep(LATE + timedelta(hours=1))
    assert hospital.head() == head
    store.write(lambda t: t.connection.execute(update(sync_tables.feed).values(since=last + 60_000)) and None)
    hospital.sweep(LATE + timedelta(hours=2))
    assert hospital.head() == head, "a time that moves on is no news"
    desk.acknowledge(store, hospital.settings, hospital.policy, task["id"], "Eva Lind", LATE)
    hospital.sweep(LATE + timedelta(hours=3))
    assert [task["status"] for task in reported()] == ["accepted"]
    hospital.sweep(LATE + 9 * DAY)
    (again,) = reported()
    assert again["status"] == "requested"
    assert resources.act_by(again) > LATE + 9 * DAY, "it ran out, and asks anew"
    well = int((LATE + 9 * DAY).timestamp() * 1000)
    store.write(
        lambda t: (
            t.connection.execute(
                update(sync_tables.feed).values(state="observable", reason="", last_success=well)
            )
            and None
        )
    )
    hospital.sweep(LATE + 9 * DAY + timedelta(hours=1))
    assert [task["status"] for task in reported()] == ["completed"]


def test_alerts_that_somebody_mangled_stop_no_other(hospital: Hospital) -> None:
    hospital.refer("r")
    hospital.sweep(LATE)
    (task,) = hospital.followups()
    hospital.put({key: value for key, value in task.items() if key != "authoredOn"})
    hospital.refer("s")
    hospital.task("r", "requested", MONDAY, description="a word more")
    standings = {standing.referral: standing for standing in hospital.sweep(LATE + DAY)}
    assert standings["ServiceRequest/r"].not_assessed == "KeyError"
    assert standings["ServiceRequest/r"].is_stalled
    assert standings["ServiceRequest/s"].not_assessed == ""
    assert len(hospital.followups("requested")) == 2


def dead_letter(store: Store, type: str, id: str, state: str = "open") -> None:
    """The newest word of an EHR on a resource of ours could not be taken in; the feed itself goes well."""
    from sqlalchemy import insert

    from fhir_coprod.store.schema import sync as sync_tables

    known = {"ehr": "ortho", "type": type, "foreign_id": f"their-{id}"}
    taken = {"id": id, "version": "", "updated": "", "hash": "", "deleted": False, "state": 0}
    letter = {"hash": "1", "position": "", "body": b"{", "outcome": "{}", "received": 0, "state": state}

    def write(t: Any) -> None:
        t.connection.execute(insert(sync_tables.crosswalk).values(**known, **taken))
        t.connection.execute(insert(sync_tables.dead_letter).values(**known, **letter))

    store.write(write)


def test_a_task_whose_newest_word_is_a_dead_letter_claims_no_stall(hospital: Hospital) -> None:
    hospital.refer("r")
    hospital.refer("other")
    hospital.task("r", "accepted", MONDAY + timedelta(hours=1))
    hospital.tell("r", MONDAY + timedelta(hours=2))
    dead_letter(hospital.store, "Task", "task-r")
    standings = {standing.referral: standing for standing in hospital.sweep(MONDAY + 60 * DAY)}
    assert standings["ServiceRequest/r"].not_observable == ("Task",)
    assert standings["ServiceRequest/r"].stalls == ()
    assert [stall.rule for stall in standings["ServiceRequest/other"].stalls] != []


def test_alerts_stay_while_a_record_s_newest_word_is_a_dead_letter(hospital: Hospital) -> None:
    hospital.refer()
    hospital.task("r", "accepted", MONDAY + timedelta(hours=1))
    hospital.sweep(MONDAY + 20 * DAY)
    assert "unscheduled" in hospital.issues()
    dead_letter(hospital.store, "Task", "task-r")
    hospital.sweep(MONDAY + 21 * DAY)
    assert "unscheduled" in hospital.issues()


def test_a_dead_letter_that_is_settled_hides_nothing(hospital: Hospital) -> None:
    hospital.refer()
    dead_letter(hospital.store, "Task", "task-r", state="resolved")
    (standing,) = hospital.sweep(LATE)
    assert [stall.rule for stall in standing.stalls] == ["unacknowledged"]


def test_a_dead_letter_on_the_referral_itself_silences_all_of_it(hospital: Hospital) -> None:
    from fhir_coprod.watch.worklist.unwatched import what_cannot_be_watched

    hospital.refer()
    dead_letter(hospital.store, "ServiceRequest", "r")
    now = LATE + 20 * DAY
    (standing,) = standings = hospital.sweep(now)
    assert standing.stalls == ()
    (said,) = what_cannot_be_watched(hospital.store, hospital.policy, hospital.settings, standings, now)
    assert "ortho: ServiceRequest (the newest word on a record could not be taken in)" in said.sentence
