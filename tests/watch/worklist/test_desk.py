"""Alerts in the hands of people: taken by name, put aside within limits, asked for again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fhir_coprod import validate
from fhir_coprod.errors import Conflict, NotAllowed, NotFound
from fhir_coprod.settings import Settings, SiteSettings
from fhir_coprod.store import Store
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.calendar import Span
from fhir_coprod.watch.worklist import desk
from tests.watch.hospital import DAY, MONDAY, Hospital

NOW = MONDAY + 9 * DAY
SETTINGS = Settings()
POLICY = policies.load("default")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """On SQLite alone: what the databases do differently is tested with the sweep."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture
def hospital(store: Store) -> Hospital:
    hospital = Hospital(store)
    hospital.refer()
    hospital.tell("r", MONDAY + 8 * DAY)
    hospital.sweep(NOW)
    return hospital


def only(hospital: Hospital) -> dict[str, object]:
    (task,) = hospital.followups()
    return task


def test_an_acknowledgement_names_who_and_holds_for_a_while(hospital: Hospital) -> None:
    task = desk.acknowledge(hospital.store, SETTINGS, POLICY, "r", "Eva Lind", NOW)
    assert task["status"] == "accepted"
    assert task["note"][0]["authorString"] == "Eva Lind"
    assert validate(hospital.store.read("Task", task["id"]).body)
    hospital.sweep(NOW + DAY)
    assert only(hospital)["status"] == "accepted"


def test_an_acknowledgement_expires_and_the_alert_goes_one_step_up(hospital: Hospital) -> None:
    desk.acknowledge(hospital.store, SETTINGS, POLICY, "r", "Eva Lind", NOW)
    hospital.sweep(NOW + 8 * DAY)
    assert only(hospital)["status"] == "requested"
    assert desk.as_json(only(hospital))["step"] == 1
    assert only(hospital)["note"]


def test_resolving_beats_a_late_acknowledgement(hospital: Hospital) -> None:
    task = only(hospital)
    hospital.task("r", "received", NOW)
    hospital.sweep(NOW + timedelta(hours=1))
    with pytest.raises(Conflict, match="over already"):
        desk.acknowledge(hospital.store, SETTINGS, POLICY, str(task["id"]), "Eva Lind", NOW + 2 * DAY)


def test_nobody_acknowledges_without_a_name(hospital: Hospital) -> None:
    with pytest.raises(NotAllowed, match="by name"):
        desk.acknowledge(hospital.store, SETTINGS, POLICY, "r", " ", NOW)


def test_an_alert_is_found_by_what_people_have_at_hand(hospital: Hospital) -> None:
    task = only(hospital)
    issue = hospital.issues()["unacknowledged"]
    for name in ("r", "ServiceRequest/r", task["id"], str(task["id"])[:8], f"Task/{task['id']}", issue["id"]):
        found, issues = desk.find(hospital.store, SETTINGS, str(name))
        assert found["id"] == task["id"]
        assert [issue["id"] for issue in issues] == [hospital.issues()["unacknowledged"]["id"]]
    with pytest.raises(NotFound):
        desk.find(hospital.store, SETTINGS, "nothing")


def test_a_snoozed_alert_comes_back_at_its_time(hospital: Hospital) -> None:
    until = NOW + 3 * DAY
    task = desk.snooze(hospital.store, SETTINGS, POLICY, "r", "Eva Lind", until, NOW, "waiting for a call")
    assert task["status"] == "on-hold"
    hospital.sweep(NOW + 2 * DAY)
    assert only(hospital)["status"] == "on-hold"
    hospital.sweep(until)
    assert only(hospital)["status"] == "requested"


def test_a_snooze_is_capped(hospital: Hospital) -> None:
    with pytest.raises(NotAllowed, match="at the latest"):
        desk.snooze(hospital.store, SETTINGS, POLICY, "r", "Eva Lind", NOW + 20 * DAY, NOW)
    with pytest.raises(NotAllowed, match="future"):
        desk.snooze(hospital.store, SETTINGS, POLICY, "r", "Eva Lind", NOW - DAY, NOW)


@pytest.mark.parametrize("priority", ["asap", "stat"])
def test_asap_and_stat_cannot_be_put_aside(store: Store, priority: str) -> None:
    hospital = Hospital(store)
    hospital.refer(priority=priority)
    hospital.sweep(NOW)
    with pytest.raises(NotAllowed, match="acknowledge it instead"):
        desk.snooze(store, SETTINGS, POLICY, "r", "Eva Lind", NOW + DAY, NOW)


def test_a_snooze_never_reaches_past_the_guarantee_date(store: Store) -> None:
    hospital = Hospital(store, policies.load("se-vardgaranti"))
    hospital.refer()
    now = datetime(2026, 5, 28, 9, tzinfo=UTC)
    hospital.tell("r", now - timedelta(hours=1))
    hospital.sweep(now)
    with pytest.raises(NotAllowed, match="guarantee date"):
        desk.snooze(store, SETTINGS, hospital.policy, "r", "Eva Lind", now + 6 * DAY, now)
    desk.snooze(store, SETTINGS, hospital.policy, "r", "Eva Lind", now + 2 * DAY, now)
    hospital.sweep(now + 4 * DAY)
    assert only(hospital)["status"] == "requested"


@pytest.mark.parametrize(("seconds", "allowed"), [(-1, True), (0, False), (1, False)])
def test_a_snooze_ends_before_the_moment_of_the_guarantee(store: Store, seconds: int, allowed: bool) -> None:
    hospital = Hospital(store, policies.load("se-vardgaranti"))
    hospital.refer(authored=datetime(2026, 2, 2, 9, tzinfo=UTC))
    now = datetime(2026, 4, 30, 9, tzinfo=UTC)
    hospital.sweep(now)
    promised = desk.promised(only(hospital))
    assert promised == datetime(2026, 5, 4, tzinfo=UTC), "when the last day of the guarantee is over"
    until = promised + timedelta(seconds=seconds)

    def put_aside() -> object:
        return desk.snooze(store, SETTINGS, hospital.policy, "r", "Eva Lind", until, now)["status"]

    if allowed:
        assert put_aside() == "on-hold"
    else:
        with pytest.raises(NotAllowed, match="guarantee date is 3 May 2026"):
            put_aside()


def test_a_new_stall_wakes_a_snoozed_alert(hospital: Hospital) -> None:
    desk.snooze(hospital.store, SETTINGS, POLICY, "r", "Eva Lind", NOW + 13 * DAY, NOW)
    hospital.store.write(lambda t: t.delete("Communication", "told-r-031009"))
    hospital.sweep(NOW + 2 * DAY)
    assert set(hospital.issues()) == {"unacknowledged", "patient-not-informed"}
    assert only(hospital)["status"] == "requested"


def test_the_worklist_begins_with_the_most_urgent(store: Store) -> None:
    hospital = Hospital(store)
    hospital.refer("routine")
    hospital.refer("stat", priority="stat")
    hospital.refer("urgent", priority="urgent")
    hospital.sweep(NOW)
    order = [desk.as_json(task)["referral"] for task in desk.worklist(store, SETTINGS)]
    assert order == ["ServiceRequest/stat", "ServiceRequest/urgent", "ServiceRequest/routine"]


@pytest.mark.parametrize(("status", "days"), [("accepted", 5), ("on-hold", 10)])
@pytest.mark.parametrize("end", ["2099-01-01T00:00:00Z", None])
def test_a_client_of_the_endpoint_holds_an_alert_no_longer_than_a_person_here(
    hospital: Hospital, status: str, days: int, end: str | None
) -> None:
    task = only(hospital)
    restriction = {"period": {"end": end}} if end else None
    changed = {**task, "status": status, "lastModified": NOW.isoformat(), "restriction": restriction}
    hospital.put({key: value for key, value in changed.items() if value is not None})
    hospital.sweep(NOW)
    assert only(hospital)["status"] == status
    limit = POLICY.calendar.due(NOW, Span(days, "wd"))
    hospital.sweep(limit - timedelta(seconds=1))
    assert only(hospital)["status"] == status
    hospital.sweep(limit)
    assert only(hospital)["status"] == "requested"


def test_limits_are_told_as_the_clinic_s_own_days(store: Store) -> None:
    zone = ZoneInfo("Europe/Stockholm")
    settings = Settings(site=SiteSettings(timezone=zone.key))
    hospital = Hospital(store)
    hospital.settings = settings
    hospital.refer()
    hospital.sweep(NOW)
    with pytest.raises(NotAllowed, match="until 25 March 2026 at the latest"):
        desk.snooze(store, settings, POLICY, "r", "Eva", desk.end_of_day(date(2026, 3, 26), zone), NOW)
    task = desk.snooze(store, settings, POLICY, "r", "Eva", desk.end_of_day(date(2026, 3, 25), zone), NOW)
    assert task["note"][-1]["text"] == "Put aside until 25 March 2026."


def test_nobody_puts_an_alert_aside_without_a_name(hospital: Hospital) -> None:
    with pytest.raises(NotAllowed, match="by name"):
        desk.snooze(hospital.store, SETTINGS, POLICY, "r", "", NOW + DAY, NOW)


def test_a_new_stall_asks_again_for_what_somebody_has_taken(hospital: Hospital) -> None:
    desk.acknowledge(hospital.store, SETTINGS, POLICY, "r", "Eva Lind", NOW)
    hospital.store.write(lambda t: t.delete("Communication", "told-r-031009"))
    hospital.sweep(NOW + 2 * DAY)
    assert set(hospital.issues()) == {"unacknowledged", "patient-not-informed"}
    assert only(hospital)["status"] == "requested"


def test_the_end_of_the_ladder_does_not_remind_again_and_again(hospital: Hospital) -> None:
    """Each reminder lowers what the next one is worth."""
    for week in range(1, 5):
        hospital.sweep(NOW + week * 7 * DAY)
    before = hospital.store.read("Task", str(only(hospital)["id"])).version
    for day in range(1, 15):
        hospital.sweep(NOW + 28 * DAY + day * DAY)
    assert hospital.store.read("Task", str(only(hospital)["id"])).version == before


@pytest.mark.parametrize(("priority", "steps"), [("stat", 2), ("asap", 2), ("routine", 0)])
def test_nights_and_weekends_hold_up_no_stat_or_asap_alert(store: Store, priority: str, steps: int) -> None:
    """Found on a Friday evening and left alone, it is at the top of the ladder by Monday morning."""
    hospital = Hospital(store)
    friday = datetime(2026, 3, 20, 20, tzinfo=UTC)
    hospital.refer(priority=priority)
    hospital.tell("r", friday)
    for hours in range(0, 60, 6):
        hospital.sweep(friday + timedelta(hours=hours))
    assert desk.as_json(only(hospital))["step"] == steps


def test_an_alert_says_what_since_when_who_by_when_and_whether_the_patient_knows(store: Store) -> None:
    hospital = Hospital(store, policies.load("se-vardgaranti"))
    hospital.refer()
    hospital.put({"resourceType": "Organization", "id": "ortho", "name": "Orthopaedics"})
    hospital.sweep(NOW)
    detail = hospital.issues()["unacknowledged"]["detail"]
    assert detail == (
        "Missing: word from the department that it has received the referral. "
        "Since 2 March 2026, due 9 March 2026. Can be moved by: Orthopaedics. "
        "Guarantee date: 31 May 2026 (first specialist visit). The patient has not been told."
    )


def test_each_stall_is_asked_of_whoever_can_move_it(store: Store) -> None:
    """The department for what it owes, the requester for a referral that was rejected."""
    hospital = Hospital(store)
    hospital.refer("sent")
    hospital.refer("rejected")
    hospital.task("rejected", "rejected", MONDAY + DAY)
    hospital.sweep(NOW)
    owners = {task["focus"]["reference"]: task["owner"]["reference"] for task in hospital.followups()}
    assert owners == {
        "ServiceRequest/sent": "Organization/ortho",
        "ServiceRequest/rejected": "PractitionerRole/gp",
    }


@pytest.mark.parametrize("many", [True, False])
def test_the_old_stalls_of_an_ehr_come_as_one_digest_and_a_few_of_them_each_alone(
    store: Store, many: bool
) -> None:
    from sqlalchemy import insert

    from fhir_coprod import jsontext
    from fhir_coprod.store.schema import sync as sync_tables

    hospital = Hospital(store)
    count = POLICY.alerts.digest_over + 1 if many else POLICY.alerts.digest_over
    first = int(NOW.timestamp() * 1000)
    row = {"ehr": "ortho", "type": "ServiceRequest", "state": "observable", "since": first, "reason": ""}
    row |= {"watermark": "", "first_success": first, "last_success": first}
    store.write(lambda t: t.connection.execute(insert(sync_tables.feed).values(**row)) and None)
    for number in range(count):
        hospital.refer(f"old{number}")
        data = store.read("ServiceRequest", f"old{number}").data | {"note": [{"text": "as it came"}]}
        store.write(lambda t, d=data: t.put(jsontext.from_data(d), d["id"], source="ehr:ortho"))
    found = hospital.sweep(NOW)
    assert sum(standing.is_stalled for standing in found) == count, "on the board at once"
    listed = [desk.as_json(task) for task in desk.worklist(store, SETTINGS)]
    if many:
        assert [row["ehr_backfill"] for row in listed] == ["ortho"]
        assert f"{count} referrals were stalled already" in listed[0]["description"]
    else:
        assert [row["ehr_backfill"] for row in listed] == [None] * count


@pytest.mark.parametrize("priority", ["asap", "stat"])
def test_an_old_stall_that_is_asap_or_stat_never_waits_in_a_digest(store: Store, priority: str) -> None:
    from sqlalchemy import insert

    from fhir_coprod import jsontext
    from fhir_coprod.store.schema import sync as sync_tables

    hospital = Hospital(store)
    first = int(NOW.timestamp() * 1000)
    row = {"ehr": "ortho", "type": "ServiceRequest", "state": "observable", "since": first, "reason": ""}
    row |= {"watermark": "", "first_success": first, "last_success": first}
    store.write(lambda t: t.connection.execute(insert(sync_tables.feed).values(**row)) and None)
    for number in range(POLICY.alerts.digest_over + 2):
        hospital.refer(f"old{number}", priority="routine" if number else priority)
        data = store.read("ServiceRequest", f"old{number}").data | {"note": [{"text": "as it came"}]}
        store.write(lambda t, d=data: t.put(jsontext.from_data(d), d["id"], source="ehr:ortho"))
    hospital.sweep(NOW)
    listed = [desk.as_json(task) for task in desk.worklist(store, SETTINGS)]
    assert [row["referral"] for row in listed if not row["ehr_backfill"]] == ["ServiceRequest/old0"]
    assert [row["ehr_backfill"] for row in listed if row["ehr_backfill"]] == ["ortho"]


def test_an_acknowledgement_expires_at_the_end_of_the_ladder_too(hospital: Hospital) -> None:
    for week in range(1, 4):
        hospital.sweep(NOW + week * 7 * DAY)
    top = NOW + 22 * DAY
    assert desk.as_json(only(hospital))["step"] == 2
    desk.acknowledge(hospital.store, SETTINGS, POLICY, "r", "Eva Lind", top)
    hospital.sweep(top + 8 * DAY)
    assert only(hospital)["status"] == "requested"


def test_a_guarantee_date_that_passes_wakes_a_snoozed_alert(store: Store) -> None:
    """Put aside while no date was promised; by the rules that hold now, one was, and is past."""
    hospital = Hospital(store)
    hospital.refer()
    now = datetime(2026, 5, 28, 9, tzinfo=UTC)
    hospital.tell("r", now - timedelta(hours=1))
    hospital.sweep(now)
    desk.snooze(store, SETTINGS, POLICY, "r", "Eva Lind", now + 12 * DAY, now)
    hospital.sweep(now + 5 * DAY)
    assert only(hospital)["status"] == "on-hold"
    hospital.policy = policies.load("se-vardgaranti")
    hospital.sweep(now + 6 * DAY)
    assert only(hospital)["status"] == "requested"
