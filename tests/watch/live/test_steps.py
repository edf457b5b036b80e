"""What each step of the watch does and says: whether there was anything to do, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, insert, update

from fhir_coprod import jsontext
from fhir_coprod.errors import Conflict
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.store.schema import sync as sync_tables
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.facts.rows import FOLLOWER
from fhir_coprod.watch.live import basis, loop, present
from fhir_coprod.watch.live.evaluate import LATEST, look_at
from fhir_coprod.watch.live.loop import AGAIN, Watch
from fhir_coprod.watch.record.followup import BACKFILL
from tests.watch.hospital import DAY, MONDAY, Hospital

LATE = MONDAY + 9 * DAY
HOUR = timedelta(hours=1)


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """On SQLite alone: what the databases do differently is tested with the sweep."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield Hospital(opened)


def watching(hospital: Hospital, version: str = "") -> Watch:
    policy = replace(hospital.policy, version=version) if version else hospital.policy
    return Watch(hospital.store, policy, hospital.settings)


def held(hospital: Hospital, referral: str = "ServiceRequest/r") -> rows.Held | None:
    with hospital.store.connect() as connection:
        return rows.held(connection, referral)


def rules(hospital: Hospital, now: datetime) -> set[str]:
    shown = present.look(hospital.store, hospital.policy, now, hospital.settings)
    return {stall.rule for standing in shown for stall in standing.stalls}


# -- one step ----------------------------------------------------------------------------------------------


def test_a_step_says_whether_there_was_anything_to_do(hospital: Hospital) -> None:
    watch = watching(hospital)
    watch.catch_up(MONDAY)
    assert not watch.step(MONDAY)
    hospital.refer()
    assert watch.follow(), "the referral is in the log"
    assert not watch.follow()
    assert watch.due(MONDAY), "it is marked"
    assert not watch.due(MONDAY)
    assert not watch.again(MONDAY), "nobody asked for a look at everything"
    assert not watch.step(MONDAY)
    hospital.task("r", "received", MONDAY)
    assert watch.step(MONDAY)
    assert not watch.step(MONDAY)


def test_following_what_concerns_nobody_is_something_done(hospital: Hospital) -> None:
    hospital.refer()
    watch = watching(hospital)
    watch.catch_up(MONDAY)
    hospital.put({"resourceType": "Basic", "id": "b", "code": {"text": "x"}})
    assert watch.step(MONDAY)
    assert not watch.step(MONDAY)
    assert hospital.store.cursor(FOLLOWER) == hospital.head()


def test_the_log_is_followed_to_its_end_whether_anything_in_it_concerns_a_referral(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "ENTRIES", 2)
    hospital.refer()
    watch = watching(hospital)
    watch.catch_up(MONDAY)
    hospital.put(*({"resourceType": "Basic", "id": f"b{n}", "code": {"text": "x"}} for n in range(5)))
    hospital.task("r", "rejected", MONDAY + HOUR)
    head = hospital.head()
    watch.catch_up(LATE)
    assert hospital.store.cursor(FOLLOWER) >= head
    assert set(hospital.issues()) == {"rejected-not-rerouted", "patient-not-informed"}


def test_an_empty_store_has_nothing_to_look_at_again(hospital: Hospital) -> None:
    watch = watching(hospital)
    assert watch.check_ground(MONDAY)
    assert hospital.store.cursor(AGAIN) == 1
    assert watch.again(MONDAY), "it sees that nothing is there"
    assert hospital.store.cursor(AGAIN) == 0
    assert not watch.again(MONDAY)


def test_a_look_at_everything_goes_on_after_the_last_referral_it_has_seen(hospital: Hospital) -> None:
    for id in ("a", "b", "c"):
        hospital.refer(id)
    watch = watching(hospital)
    watch.check_ground(MONDAY)
    assert watch.again(MONDAY)
    assert hospital.store.cursor(AGAIN) > 1
    assert all(held(hospital, f"ServiceRequest/{id}") for id in ("a", "b", "c"))
    assert watch.again(MONDAY)
    assert hospital.store.cursor(AGAIN) == 0


def test_the_first_look_at_everything_takes_the_log_so_far_as_seen(hospital: Hospital) -> None:
    hospital.refer()
    watch = watching(hospital)
    assert watch.check_ground(MONDAY)
    assert hospital.store.cursor(FOLLOWER) == hospital.head()
    hospital.task("r", "received", MONDAY)
    before = hospital.store.cursor(FOLLOWER)
    assert watching(hospital, "another").check_ground(MONDAY)
    assert hospital.store.cursor(FOLLOWER) == before, "a later one leaves what has not been followed"


def test_what_was_done_about_alerts_is_counted(hospital: Hospital) -> None:
    hospital.refer()
    watch = watching(hospital)
    watch.catch_up(MONDAY)
    assert watch.written == {}
    hospital.tell("r", MONDAY + DAY)
    watch.catch_up(LATE)
    assert watch.written == {"found": 1, "follow ups": 1}
    watch.written.clear()
    hospital.task("r", "received", LATE)
    hospital.tell("r", LATE)
    watch.catch_up(LATE + HOUR)
    assert watch.written["over"] == 1
    assert watch.written["follow ups"] == 1
    assert watch.written["found"] == 0


def test_what_the_watch_writes_is_made_by_a_device_that_is_written_once(hospital: Hospital) -> None:
    for id in ("a", "b"):
        hospital.refer(id)
    hospital.sweep(LATE)
    (device,) = hospital.all("Device")
    assert hospital.store.read("Device", device["id"]).version == 1
    assert hospital.store.read("Device", device["id"]).source == "watch"


# -- what standings rest on --------------------------------------------------------------------------------


def test_the_ground_is_laid_once_and_anew_when_anything_in_it_changes(hospital: Hospital) -> None:
    hospital.refer()
    watch = watching(hospital)
    with hospital.store.connect() as connection:
        assert basis.ground_of(connection) is None
        assert not watch.is_current(connection, MONDAY)
    watch.catch_up(MONDAY)
    assert not watch.check_ground(MONDAY)
    with hospital.store.connect() as connection:
        assert basis.ground_of(connection) == watch.site.ground(connection, MONDAY)
        assert watch.is_current(connection, MONDAY)
        assert not watching(hospital, "another").is_current(connection, MONDAY)
    assert watching(hospital, "another").check_ground(MONDAY)
    with hospital.store.connect() as connection:
        assert not watching(hospital, "another").is_current(connection, MONDAY), (
            "everything is to be looked at"
        )


def test_a_feed_that_fails_has_everything_looked_at_and_a_dead_letter_only_its_own(
    hospital: Hospital,
) -> None:
    hospital.settings = Settings(ehr=(EhrSettings(name="ortho", url="https://ortho.example/fhir"),))
    for id in ("r", "other"):
        hospital.refer(id)
    watch = watching(hospital)
    watch.catch_up(MONDAY)
    known = {"ehr": "ortho", "type": "Task", "foreign_id": "their-r"}
    taken = {"id": "task-r", "version": "", "updated": "", "hash": "", "deleted": False, "state": 0}
    letter = {"hash": "1", "position": "", "body": b"{", "outcome": "{}", "received": 0, "state": "open"}
    hospital.store.write(
        lambda t: (
            t.connection.execute(insert(sync_tables.crosswalk).values(**known, **taken))
            and t.connection.execute(insert(sync_tables.dead_letter).values(**known, **letter))
            and None
        )
    )
    assert not watch.check_ground(MONDAY)
    assert hospital.store.cursor(AGAIN) == 0
    marked = {id: one.due < 0 for id in ("r", "other") if (one := held(hospital, f"ServiceRequest/{id}"))}
    assert marked == {"r": True, "other": False}
    feed = {"ehr": "ortho", "type": "Task", "state": "failed", "since": 0, "reason": "time-out"}
    feed |= {"watermark": "", "first_success": 0, "last_success": 0}
    hospital.store.write(lambda t: t.connection.execute(insert(sync_tables.feed).values(**feed)) and None)
    assert watch.check_ground(MONDAY)
    assert hospital.store.cursor(AGAIN) == 1


def test_two_watches_by_other_rules_give_up_after_twenty_tries(hospital: Hospital) -> None:
    hospital.refer()
    watching(hospital).catch_up(MONDAY)
    ours, theirs = watching(hospital, "ours"), watching(hospital, "theirs")
    theirs.check_ground(MONDAY)
    for _ in range(20):
        assert ours.again(MONDAY)
        theirs.check_ground(MONDAY)
    with pytest.raises(Conflict, match="the same settings"):
        ours.again(MONDAY)


def test_a_watch_that_has_its_way_again_is_patient_again(hospital: Hospital) -> None:
    hospital.refer()
    ours, theirs = watching(hospital, "ours"), watching(hospital, "theirs")
    for _ in range(2):
        theirs.catch_up(MONDAY)
        for _ in range(15):
            ours.check_ground(MONDAY)
            theirs.check_ground(MONDAY)
            assert ours.again(MONDAY)
        ours.catch_up(MONDAY)


# -- what is shown -----------------------------------------------------------------------------------------


def test_who_asks_about_an_earlier_time_sees_what_was_so_then(hospital: Hospital) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    assert "unacknowledged" in rules(hospital, LATE)
    assert rules(hospital, MONDAY + DAY) == set()
    assert hospital.store.cursor(LATEST) == to_milliseconds(LATE)
    hospital.sweep(MONDAY + DAY)
    assert hospital.store.cursor(LATEST) == to_milliseconds(LATE), "the latest moment stays the latest"


def test_what_was_closed_is_not_shown_whether_the_watch_knows_it_yet_or_not(hospital: Hospital) -> None:
    hospital.refer("open")
    hospital.refer("shut")

    def shown(now: datetime) -> list[str]:
        found = present.look(hospital.store, hospital.policy, now, hospital.settings)
        return sorted(standing.referral for standing in found)

    both = ["ServiceRequest/open", "ServiceRequest/shut"]
    assert shown(MONDAY + DAY) == both
    hospital.sweep(MONDAY + DAY)
    hospital.task("shut", "cancelled", MONDAY + DAY)
    data = hospital.store.read("ServiceRequest", "shut").data
    hospital.put({**data, "status": "revoked"})
    hospital.tell("shut", datetime.now(MONDAY.tzinfo) + HOUR)
    later = datetime.now(MONDAY.tzinfo) + 2 * HOUR
    assert shown(later) == both[:1]
    hospital.sweep(later)
    assert shown(later) == both[:1]


def test_a_referral_that_cannot_be_judged_is_shown_with_the_kind_of_fault_and_tried_again_in_an_hour(
    hospital: Hospital,
) -> None:
    hospital.refer()
    hospital.sweep(LATE)
    (task,) = hospital.followups()
    hospital.put({key: value for key, value in task.items() if key != "authoredOn"})
    hospital.task("r", "requested", MONDAY, description="a word more")
    (standing,) = hospital.sweep(LATE + DAY)
    assert standing.not_assessed == "KeyError"
    row = held(hospital)
    assert row is not None
    assert row.due == to_milliseconds(LATE + DAY + HOUR)


# -- a look at some ----------------------------------------------------------------------------------------


@dataclass
class Asked:
    """How often the database was asked for a connection to read, and how many transactions were written."""

    reads: int = 0
    writes: int = 0
    statements: list[str] = field(default_factory=list)


@contextmanager
def asked(store: Store) -> Iterator[Asked]:
    found = Asked()

    def read(*_: object) -> None:
        found.reads += 1

    def write(*_: object) -> None:
        found.writes += 1

    def say(_c: object, _k: object, statement: str, *_: object) -> None:
        found.statements.append(statement)

    engine, writing = store._database.engine, store._writer._engine
    heard = [(engine, "checkout", read), (writing, "commit", write), (engine, "before_cursor_execute", say)]
    for target, name, listener in heard:
        event.listen(target, name, listener)
    try:
        yield found
    finally:
        for target, name, listener in heard:
            event.remove(target, name, listener)


def test_a_look_takes_one_transaction_for_alerts_and_one_for_what_raises_none(hospital: Hospital) -> None:
    watch = watching(hospital)
    for id in ("late", "late-too", "new", "new-too"):
        hospital.refer(id, authored=MONDAY if id.startswith("late") else LATE)
        hospital.tell(id, LATE)
    watch.catch_up(MONDAY)
    with asked(hospital.store) as nothing:
        assert not watch.due(MONDAY)
    assert (nothing.reads, nothing.writes) == (1, 0)
    hospital.refer("newest")
    watch.follow()
    with asked(hospital.store) as found:
        assert watch.due(MONDAY)
    assert (found.reads, found.writes) == (2, 1), "what is due, and then the look; the ground has not changed"
    counts = {}
    for names in (("late",), ("new",), ("late-too", "new-too")):
        marked = {f"ServiceRequest/{id}": held(hospital, f"ServiceRequest/{id}") for id in names}
        with asked(hospital.store) as found:
            assert look_at(watch.site, marked, LATE + HOUR, news=True, written=watch.written)
        counts[names] = found.reads, found.writes
    assert counts == {("late",): (1, 1), ("new",): (1, 1), ("late-too", "new-too"): (1, 2)}


def test_a_look_at_what_is_kept_asks_for_follow_ups_only_where_there_may_be_some(hospital: Hospital) -> None:
    hospital.refer()
    hospital.tell("r", MONDAY + DAY)
    watch = watching(hospital)
    watch.catch_up(MONDAY)
    with asked(hospital.store) as found:
        assert watch.due(MONDAY + DAY + HOUR)
    assert not [one for one in found.statements if "reference" in one.lower()]


def test_a_follow_up_is_remembered_through_looks_that_write_nothing_about_it(hospital: Hospital) -> None:
    """What is recorded ahead of its time changes the standing by itself, without the record being read."""
    hospital.refer()
    hospital.task("r", "received", LATE + 9 * HOUR)
    hospital.tell("r", MONDAY)
    hospital.put(
        {
            "resourceType": "Communication",
            "id": "to-nobody-who-waits",
            "status": "completed",
            "about": [{"reference": "ServiceRequest/r"}],
            "recipient": [{"reference": "Organization/elsewhere"}],
            "sent": (LATE + 3 * HOUR).isoformat(),
        }
    )
    watch = watching(hospital)
    watch.catch_up(MONDAY + HOUR)
    watch.catch_up(LATE)
    assert set(hospital.issues()) == {"unacknowledged"}
    (task,) = hospital.followups("requested")
    head = hospital.head()
    watch.catch_up(LATE + 4 * HOUR)
    assert hospital.head() == head
    watch.catch_up(LATE + 10 * HOUR)
    assert set(hospital.issues("final")) == {"unacknowledged"}
    assert [one["id"] for one in hospital.followups("completed")] == [task["id"]]


def test_another_worker_that_was_quicker_leaves_nothing_to_write(hospital: Hospital) -> None:
    hospital.refer()
    watch = watching(hospital)
    watch.catch_up(MONDAY)
    before = {"ServiceRequest/r": held(hospital)}
    watch.due(LATE)
    head, raised = hospital.head(), watch.written.copy()
    assert look_at(watch.site, before, LATE, news=True, written=watch.written)
    assert hospital.head() == head
    assert watch.written == raised


def ours(hospital: Hospital, id: str, priority: str = "routine") -> None:
    """A referral of the EHR, long stalled when that was first read."""
    hospital.refer(id, priority=priority)
    for type, name in (("ServiceRequest", id), ("Task", f"task-{id}")):
        data = hospital.store.read(type, name).data | {"language": "en"}
        hospital.store.write(lambda t, d=data, n=name: t.put(jsontext.from_data(d), n, source="ehr:ortho"))


def first_read(hospital: Hospital, at: datetime, digest_over: int) -> None:
    """The EHR was first read completely then; of more old stalls than so many one digest tells."""
    hospital.settings = Settings(ehr=(EhrSettings(name="ortho", url="https://ortho.example/fhir"),))
    hospital.policy = replace(
        hospital.policy,
        alerts=replace(hospital.policy.alerts, digest_over=digest_over),
        feeds_behind_after=999 * DAY,
    )
    read = to_milliseconds(at)
    feed = {"ehr": "ortho", "type": "ServiceRequest", "state": "observable", "since": read, "reason": ""}
    feed |= {"watermark": "", "first_success": read, "last_success": read}
    hospital.store.write(lambda t: t.connection.execute(insert(sync_tables.feed).values(**feed)) and None)


@pytest.mark.parametrize(("before", "raised"), [(0, 0), (1, 1)])
def test_a_stall_that_was_due_when_its_ehr_was_first_read_is_old_and_a_later_one_is_news(
    hospital: Hospital, before: int, raised: int
) -> None:
    ours(hospital, "r")
    later = LATE + 9 * DAY
    (standing,) = present.look(hospital.store, hospital.policy, later, hospital.settings)
    *earlier, latest = sorted({stall.due for stall in standing.stalls})
    assert earlier, "one is old whether the other is or not"
    first_read(hospital, latest - before * timedelta(milliseconds=1), digest_over=0)
    hospital.sweep(later)
    assert len(hospital.followups("requested")) == raised


@pytest.mark.parametrize(("over", "digests"), [(1, 1), (2, 0)])
def test_old_stalls_are_told_by_one_digest_when_they_are_more_than_so_many(
    hospital: Hospital, over: int, digests: int
) -> None:
    first_read(hospital, LATE, over)
    for id in ("a", "b"):
        ours(hospital, id)
    ours(hospital, "now", "stat")
    hospital.sweep(LATE + HOUR)
    assert len(hospital.followups("requested")) == (1 if digests else 3)
    kinds = [task.get("code", {}).get("coding", [{}])[0].get("code") for task in hospital.all("Task")]
    assert kinds.count(BACKFILL) == digests


def test_once_so_few_old_stalls_are_left_that_no_digest_is_needed_each_asks_for_itself(
    hospital: Hospital,
) -> None:
    first_read(hospital, LATE, digest_over=1)
    for id in ("a", "b"):
        ours(hospital, id)
    hospital.sweep(LATE + HOUR)
    assert len(hospital.followups("draft")) == 2
    hospital.task("a", "completed", LATE + 2 * HOUR)
    hospital.put({**hospital.store.read("ServiceRequest", "a").data, "status": "revoked"})
    hospital.tell("a", LATE + 3 * HOUR)
    hospital.sweep(LATE + 4 * HOUR)
    assert [task["focus"]["reference"] for task in hospital.followups("requested")] == ["ServiceRequest/b"]
    assert not hospital.followups("draft")
    head = hospital.head()
    hospital.sweep(LATE + 5 * HOUR)
    assert hospital.head() == head


def test_if_another_time_counts_as_the_first_read_what_was_old_is_judged_again(hospital: Hospital) -> None:
    """A type that was read last may be gone from the plan of its EHR."""
    first_read(hospital, LATE, digest_over=0)
    ours(hospital, "r")
    hospital.sweep(LATE + HOUR)
    assert len(hospital.followups("draft")) == 1
    earlier = to_milliseconds(MONDAY)
    hospital.store.write(
        lambda t: t.connection.execute(update(sync_tables.feed).values(first_success=earlier)) and None
    )
    hospital.sweep(LATE + 2 * HOUR)
    assert len(hospital.followups("requested")) == 1


def test_what_more_an_ehr_does_not_give_for_one_patient_is_seen_as_missing_too(hospital: Hospital) -> None:
    ours(hospital, "r")
    own = {"ehr": "ortho", "type": "Patient", "foreign_id": "7", "id": "of-r", "version": "", "updated": ""}
    row = own | {"hash": "", "deleted": False, "state": 0}
    hospital.store.write(lambda t: t.connection.execute(insert(sync_tables.crosswalk).values(**row)) and None)
    for missing in ("Communication", "Task"):
        gap = {"ehr": "ortho", "type": missing, "what": "Patient/7", "reason": "", "since": 1}
        hospital.store.write(
            lambda t, gap=gap: t.connection.execute(insert(sync_tables.unread).values(**gap)) and None
        )
        (standing,) = hospital.sweep(LATE)
        assert missing in standing.not_observable
