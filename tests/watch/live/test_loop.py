"""Whatever happens, whoever stops on the way: the live watch holds what a look at everything says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import event, insert, select, update

from fhir_coprod import jsontext
from fhir_coprod.errors import CoprodError
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.settings import EhrSettings, Settings, SiteSettings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.schema import sync as sync_tables
from fhir_coprod.store.schema import watch as watch_tables
from fhir_coprod.watch.live.look import look_at
from fhir_coprod.watch.live.loop import AGAIN, Watch
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.worklist import desk
from tests.watch.happenings import (
    EVERYTHING,
    Resource,
    requests_that_turn_out_to_be_none,
    resource_named,
    resources,
)
from tests.watch.hospital import DAY, MONDAY, Hospital
from tests.watch.whole import (
    alerts_say_what_standings_say,
    looked_at_whole,
    newest,
    remembered,
    remembered_so_far,
    said,
)

pytestmark = pytest.mark.long

SWEDEN = SiteSettings(timezone="Europe/Stockholm", country="SE")
EHR = EhrSettings(name="ortho", url="https://ortho.example/fhir")
CLOCKS_CHANGE = tuple(datetime(2026, month, day, 1, tzinfo=UTC) for month, day in ((3, 29), (10, 25)))
"""In Sweden, forward and back."""


class Days(RuleBasedStateMachine):
    """A hospital, day after day."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="coprod-live-")
        self.url = f"sqlite:///{Path(self.folder.name) / 'store.db'}"
        self.store = Store.open(self.url, clock=lambda: self.now)
        self.site = Settings(site=SWEDEN, ehr=(EHR,))
        self.policy = policies.load("default")
        self.now = MONDAY
        self.watch = self.new_watch()

    def teardown(self) -> None:
        self.catch_up()
        self.store.close()
        self.folder.cleanup()

    def new_watch(self) -> Watch:
        return Watch(self.store, self.policy, self.site)

    def write(self, work: Callable[[Transaction], Any]) -> None:
        self.store.write(work)

    # -- what happens --------------------------------------------------------------------------------

    @initialize(start=st.sampled_from((MONDAY, *(change - 9 * DAY for change in CLOCKS_CHANGE))))
    def begin(self, start: datetime) -> None:
        self.now = start

    @rule(
        data=st.data(),
        source=st.sampled_from(("", "", "ehr:ortho")),
        number=st.integers(1, 4),
        seen=st.booleans(),
    )
    def something_is_written(self, data: st.DataObject, source: str, number: int, seen: bool) -> None:
        for _ in range(number):
            resource: Resource = data.draw(resources(self.now))
            self.write(lambda t, r=resource: t.put(jsontext.from_data(r), r["id"], source=source))
        if seen:
            self.catch_up()

    @rule(data=st.data(), name=st.sampled_from(EVERYTHING))
    def one_thing_becomes_another(self, data: st.DataObject, name: str) -> None:
        """It is looked at before and after, so that what it was must count."""
        for _ in range(2):
            resource = data.draw(resource_named(name, self.now))
            self.write(lambda t, r=resource: t.put(jsontext.from_data(r), r["id"]))
            self.catch_up()

    @rule(data=st.data())
    def a_late_request_turns_out_to_be_none(self, data: st.DataObject) -> None:
        """By chance alone it would seldom be late, unanswered and looked at before it changes."""
        asked, becomes = data.draw(requests_that_turn_out_to_be_none(self.now))
        self.write(lambda t: t.put(jsontext.from_data(asked), asked["id"]))
        self.catch_up()
        if becomes is None:
            self.write(lambda t: t.delete(asked["resourceType"], asked["id"]))
        else:
            self.write(lambda t: t.put(jsontext.from_data(becomes), asked["id"]))
        self.catch_up()

    @rule(name=st.sampled_from(EVERYTHING))
    def something_is_deleted(self, name: str) -> None:
        type, _, id = name.partition("/")
        self.write(lambda t: t.delete(type, id))
        self.catch_up()

    @rule(
        passed=st.one_of(
            st.integers(1, 90).map(lambda minutes: timedelta(minutes=minutes)),
            st.integers(1, 80).map(lambda hours: timedelta(hours=hours)),
            st.integers(1, 120).map(lambda days: timedelta(days=days)),
        )
    )
    def time_passes(self, passed: timedelta) -> None:
        self.now += passed

    @rule(before=st.integers(0, 2))
    def the_next_moment_comes(self, before: int) -> None:
        """Just before, at, or just after the first moment at which anything may change by itself."""
        dues = [due for _, due in remembered_so_far(self.store) if due > to_milliseconds(self.now)]
        if dues and min(dues) < to_milliseconds(self.now + 4000 * DAY):
            self.now = datetime.fromtimestamp((min(dues) - 1 + before) / 1000, UTC)

    @rule(change=st.sampled_from(CLOCKS_CHANGE), hours=st.integers(-2, 2))
    def the_clocks_change(self, change: datetime, hours: int) -> None:
        self.now = max(self.now, change + timedelta(hours=hours))

    @rule(
        name=st.sampled_from(("default", "se-vardgaranti", "dk-udredningsret", "us-closed-loop")),
        digest_over=st.sampled_from((0, 25)),
    )
    def another_policy_holds(self, name: str, digest_over: int) -> None:
        policy = policies.load(name)
        self.policy = replace(policy, alerts=replace(policy.alerts, digest_over=digest_over))
        self.watch = self.new_watch()

    @rule(
        zone=st.sampled_from(("Europe/Stockholm", "UTC", "Pacific/Auckland")),
        country=st.sampled_from(("", "SE")),
    )
    def another_site_holds(self, zone: str, country: str) -> None:
        self.site = Settings(site=SiteSettings(timezone=zone, country=country), ehr=(EHR,))
        self.watch = self.new_watch()

    @rule(
        type=st.sampled_from(("Task", "Appointment", "ServiceRequest", "Communication")),
        state=st.sampled_from(("observable", "failed", "behind", "not-observable")),
        age=st.integers(0, 6),
    )
    def a_feed_changes(self, type: str, state: str, age: int) -> None:
        at = to_milliseconds(self.now - age * DAY)
        values = {"state": state, "since": at, "reason": "time-out", "watermark": ""}
        values |= {"first_success": at, "last_success": at}
        feed = sync_tables.feed

        def work(transaction: Transaction) -> None:
            same = (feed.c.ehr == "ortho", feed.c.type == type)
            if transaction.connection.execute(select(feed.c.ehr).where(*same)).first():
                transaction.connection.execute(update(feed).where(*same).values(**values))
            else:
                transaction.connection.execute(insert(feed).values(ehr="ortho", type=type, **values))

        self.write(work)

    @rule(name=st.sampled_from(EVERYTHING))
    def a_newest_word_is_a_dead_letter(self, name: str) -> None:
        type, _, id = name.partition("/")
        letter = sync_tables.dead_letter

        def work(transaction: Transaction) -> None:
            same = (letter.c.type == type, letter.c.foreign_id == id)
            state = transaction.connection.execute(select(letter.c.state).where(*same)).scalar()
            if state is None:
                known = {"ehr": "ortho", "type": type, "foreign_id": id}
                taken = {"id": id, "version": "", "updated": "", "hash": "", "deleted": False, "state": 0}
                what = {"hash": "1", "position": "", "body": b"{", "outcome": "{}", "state": "open"}
                transaction.connection.execute(insert(sync_tables.crosswalk).values(**known, **taken))
                transaction.connection.execute(
                    insert(letter).values(**known, **what, received=to_milliseconds(self.now))
                )
            else:
                other = "resolved" if state == "open" else "open"
                transaction.connection.execute(update(letter).where(*same).values(state=other))

        self.write(work)

    @rule(what=st.sampled_from(("take", "put aside", "close", "end the issue")), hours=st.integers(1, 80))
    def somebody_acts_on_an_alert(self, what: str, hours: int) -> None:
        tasks = sorted(desk.worklist(self.store, self.site), key=lambda task: task["id"])
        if not tasks:
            return
        task = tasks[0]
        until = self.now + timedelta(hours=hours)
        try:
            if what == "take":
                desk.acknowledge(self.store, self.site, self.policy, task["id"], "Eva", self.now)
            elif what == "put aside":
                desk.snooze(self.store, self.site, self.policy, task["id"], "Eva", until, self.now)
            elif what == "close":
                self.write(lambda t: t.put(jsontext.from_data({**task, "status": "completed"}), task["id"]))
            else:
                for issue in newest(self.store, "DetectedIssue")[:1]:
                    ended = {**issue, "status": "final"}
                    self.write(lambda t, ended=ended: t.put(jsontext.from_data(ended), ended["id"]))
        except CoprodError:
            pass  # it says what is not allowed; nothing has happened

    # -- what the watch does -------------------------------------------------------------------------

    @rule(steps=st.lists(st.sampled_from(("ground", "follow", "due", "again")), min_size=1, max_size=3))
    def the_watch_does_a_little_and_is_killed(self, steps: list[str]) -> None:
        for step in steps:
            if step == "ground":
                self.watch.check_ground(self.now)
            elif step == "follow":
                self.watch.follow()
            elif step == "due":
                self.watch.due(self.now)
            else:
                self.watch.again(self.now)
        self.watch = self.new_watch()

    @rule()
    def everything_is_judged_again_from_what_is_kept(self) -> None:
        self.store.write(lambda t: t.set_cursor(AGAIN, 1))
        self.catch_up()

    @rule()
    def everything_starts_anew(self) -> None:
        self.store.close()
        self.store = Store.open(self.url, clock=lambda: self.now)
        self.watch = self.new_watch()

    @rule()
    def catch_up(self) -> None:
        self.watch.catch_up(self.now)
        policy = self.watch.site.policy
        rows = remembered(self.store)
        assert {name: said(standing) for name, (standing, _) in rows.items()} == looked_at_whole(
            self.store, policy, self.now, self.site
        )
        assert all(due > to_milliseconds(self.now) for _, due in rows.values())
        alerts_say_what_standings_say(self.store, [standing for standing, _ in rows.values()])
        head = self.store.head()

        def forget_facts(transaction: Transaction) -> None:
            transaction.connection.execute(update(watch_tables.standing).values(facts=None))
            transaction.set_cursor(AGAIN, 1)

        self.store.write(forget_facts)
        self.watch.catch_up(self.now)
        assert self.store.head() == head, "a look at everything finds nothing left to write"
        assert remembered(self.store).keys() == rows.keys()

    @rule()
    def somebody_asks_about_each(self) -> None:
        """However far the watch has come."""
        policy = self.watch.site.policy
        for name, standing in looked_at_whole(self.store, policy, self.now, self.site).items():
            assert said(look_at(self.store, name, policy, self.now, self.site)) == standing

    @invariant()
    def a_claim_is_never_made_for_the_future(self) -> None:
        for standing, _ in remembered_so_far(self.store):
            assert all(stall.due <= self.now for stall in standing.stalls)


QUICK = settings(
    max_examples=5, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestDays = Days.TestCase
TestDays.settings = QUICK


@pytest.mark.proof
@pytest.mark.timeout(3600)
class TestManyDays(Days.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(QUICK, max_examples=30 if os.environ.get("PROOF_SIZE") == "ci" else 500)


# -- a day at a time, by hand --------------------------------------------------------------------------


@pytest.fixture
def hospital(store: Store) -> Hospital:
    hospital = Hospital(store)
    hospital.settings = Settings(site=SiteSettings(timezone="Europe/Stockholm"))
    return hospital


def watching(hospital: Hospital) -> Watch:
    return Watch(hospital.store, hospital.policy, hospital.settings)


class Statements:
    """What is asked of the database while it is open."""

    def __init__(self, store: Store) -> None:
        self.engines = [store._database.engine, store._writer._engine]
        self.seen: list[str] = []

    def __enter__(self) -> Statements:
        for engine in self.engines:
            event.listen(engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self.engines:
            event.remove(engine, "before_cursor_execute", self._note)

    def _note(self, _c: Any, _k: Any, statement: str, *_: Any) -> None:
        self.seen.append(statement)


def test_a_sweep_with_nothing_due_writes_nothing_and_asks_the_same_of_ten_as_of_two_hundred(
    hospital: Hospital,
) -> None:
    asked = []
    for size in (10, 200):
        for number in range(size):
            hospital.refer(f"r{number}")
        watching(hospital).catch_up(MONDAY + DAY)
        watch = watching(hospital)
        watch.catch_up(MONDAY + DAY)
        with Statements(hospital.store) as statements:
            watch.catch_up(MONDAY + DAY + timedelta(seconds=1))
        assert not [one for one in statements.seen if not one.lstrip().upper().startswith("SELECT")]
        assert not [one for one in statements.seen if "ServiceRequest" in one]
        asked.append(statements.seen)
    assert asked[0] == asked[1]


@pytest.mark.parametrize("change", CLOCKS_CHANGE, ids=("forward", "back"))
def test_a_deadline_falls_at_the_end_of_the_local_day_across_a_change_of_the_clocks(
    hospital: Hospital, change: datetime
) -> None:
    """Sent on the Friday before; due after five working days: at the midnight that ends the next Friday."""
    friday = change - timedelta(hours=1) - 2 * DAY + timedelta(hours=10)
    hospital.refer(authored=friday)
    zone = hospital.settings.site.zone
    midnight = datetime.combine(friday.date() + 8 * DAY, datetime.min.time(), zone).astimezone(UTC)
    watch = watching(hospital)
    for now in (friday, change, change + timedelta(hours=1), midnight - timedelta(milliseconds=1)):
        watch.catch_up(now)
        assert "unacknowledged" not in hospital.issues()
    watch.catch_up(midnight)
    assert "unacknowledged" in hospital.issues()


def test_what_happens_while_nobody_watches_is_found_afterwards(hospital: Hospital) -> None:
    hospital.refer("old")
    watching(hospital).catch_up(MONDAY)
    for number in range(30):
        hospital.refer(f"new{number}", authored=MONDAY + DAY)
    hospital.task("old", "received", MONDAY + DAY)
    watching(hospital).catch_up(MONDAY + 12 * DAY)
    stalled = {issue["implicated"][0]["reference"] for issue in hospital.all("DetectedIssue")}
    assert stalled == {f"ServiceRequest/{id}" for id in ("old", *(f"new{n}" for n in range(30)))}


def test_whoever_asks_hears_of_news_that_the_watch_has_not_followed_yet(hospital: Hospital) -> None:
    hospital.refer()
    hospital.task("r", "requested", MONDAY)
    watch = watching(hospital)
    watch.catch_up(MONDAY)

    def asked() -> str | None:
        return look_at(hospital.store, "r", watch.site.policy, MONDAY + DAY, hospital.settings).stage

    assert asked() == "sent"
    hospital.task("r", "accepted", MONDAY + timedelta(hours=1))
    assert asked() == "accepted"
    assert watch.follow()
    assert asked() == "accepted"
    watch.catch_up(MONDAY + DAY)
    with Statements(hospital.store) as statements:
        assert asked() == "accepted"
    assert not any("FROM reference" in statement for statement in statements.seen), "by what its row keeps"


def test_a_watch_killed_after_marking_looks_at_what_was_marked(hospital: Hospital) -> None:
    hospital.refer()
    watching(hospital).catch_up(MONDAY)
    hospital.task("r", "rejected", MONDAY + timedelta(hours=1))
    assert watching(hospital).follow()
    watching(hospital).catch_up(MONDAY + 9 * DAY)
    assert "rejected-not-rerouted" in hospital.issues()


def test_a_task_that_changes_hands_makes_a_twin_of_another_referral(hospital: Hospital) -> None:
    same = {"subject": {"reference": "Patient/p"}, "code": {"coding": [{"system": "urn:c", "code": "knee"}]}}
    hospital.refer("older", **same)
    hospital.task("older", "requested", MONDAY, owner={"reference": "Organization/heart"})
    hospital.refer("younger", authored=MONDAY + DAY, **same)
    watching(hospital).catch_up(MONDAY + 2 * DAY)
    assert "duplicate" not in hospital.issues()
    hospital.task("older", "requested", MONDAY + 2 * DAY)
    watching(hospital).catch_up(MONDAY + 2 * DAY)
    assert "duplicate" in hospital.issues()
