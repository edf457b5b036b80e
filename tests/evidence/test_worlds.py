"""The worlds at a small size: false alerts before and after, and what each kind of silence hides."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from evidence import report
from evidence.figures import figures
from evidence.hidden import Hidden, hidden_in
from evidence.measure import measure
from evidence.silence import Look
from evidence.watching import Watched, Way, morning, policy, surroundings, watch
from evidence.world_figures import PER_DAY, hidden_table, world_figures, worlds_table
from evidence.worlds import (
    WAYS,
    Count,
    hospital,
    learn,
    measure_world,
    one_pass,
    way_to_watch,
    without_learning,
)
from fhir_coprod.settings import PracticeSettings
from fhir_coprod.simulate.hospital import ALL
from fhir_coprod.simulate.life import Life, lives
from fhir_coprod.simulate.noise import CLEAN, Delivery
from fhir_coprod.simulate.truth import Stall
from fhir_coprod.simulate.worlds import WORLDS, lived, received
from fhir_coprod.simulate.writing import feeds_of, span
from fhir_coprod.watch.facts.habits import Habit, Practices
from fhir_coprod.watch.rules.steps import Step

BEGIN, END = span(date(2026, 6, 30))
MORNING = datetime(2026, 3, 2, 5, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, Count]]:
    """The last two with what a larger hospital would have learned."""
    some = {"orders": 40, "dirty": 100}
    found = {world: dict(measure_world(world, size, 11, 1)) for world, size in some.items()}
    for world, step in {"no-task": Step.TASK, "silent-to-patients": Step.TOLD}.items():
        habits = tuple(Habit(one.name, "", "", step, 200, 0, "absent", False) for one in ALL)
        learned = ((morning(BEGIN), habits),)
        ways = WAYS if world == "no-task" else WAYS[:2]
        found[world] = {way: one_pass(way, world, 120, 11, learned=learned) for way in ways}
    return found


@pytest.mark.proof
def test_in_house_orders_are_alerted_about_before_and_hardly_after(
    measured: dict[str, dict[str, Count]],
) -> None:
    before, after = measured["orders"]["before"], measured["orders"]["after"]
    assert before.orders == after.orders > 40 * before.referrals
    assert sum(before.on_orders.values()) > 500
    assert sum(after.on_orders.values()) < sum(before.on_orders.values()) / 50
    assert after.found == before.found > 5
    assert after.right / after.alerts > 0.8 > before.right / before.alerts


@pytest.mark.proof
def test_nobody_is_alerted_about_what_is_never_recorded_once_that_is_learned(
    measured: dict[str, dict[str, Count]],
) -> None:
    before, after = measured["silent-to-patients"]["before"], measured["silent-to-patients"]["after"]
    wrong = (before.told_alerts - before.told_right, after.told_alerts - after.told_right)
    assert wrong[0] > 30
    assert wrong[1] < wrong[0] / 5  # asap and stat count as in use
    assert (after.found, after.right) == (before.found, before.right)
    sent = [measured["no-task"][way].false["not-sent"] for way in WAYS]
    assert sent[0] > 20
    assert sent[1] < sent[0] / 5
    assert sent[2] == 0
    assert measured["no-task"]["settings"].found > 0


@pytest.mark.proof
def test_what_is_silent_is_ended_by_an_alert_a_list_or_the_step(
    measured: dict[str, dict[str, Count]],
) -> None:
    hidden = measured["no-task"]["after"].hidden
    assert Counter(one.kind for one in hidden).most_common(1)[0][0] == "not in use"
    assert {one.end for one in hidden} >= {"list", "over"}
    assert all(one.days >= 1 for one in hidden)


@pytest.mark.proof
def test_refusing_invalid_records_finds_less_than_keeping_them(
    measured: dict[str, dict[str, Count]],
) -> None:
    before, after = measured["dirty"]["before"], measured["dirty"]["after"]
    assert after.found >= before.found
    assert after.found / after.true > 0.9
    assert after.right / after.alerts > 0.9


@pytest.mark.proof
def test_a_department_that_stops_answering_is_alerted_about_as_before() -> None:
    count = one_pass("after", "stops", 120, 11)
    assert count.found / count.true > 0.98
    assert count.right / count.alerts > 0.98
    assert not [one for one in count.hidden if one.kind == "not in use"]


@pytest.mark.proof
def test_the_page_says_what_was_counted(measured: dict[str, dict[str, Count]]) -> None:
    worlds = {name: world_figures(name, 11, ways) for name, ways in measured.items()}
    *_, tally = measure(30, "clean", 11)  # the last one is the whole
    page = report.page({"clean": figures(tally, 11)}, worlds)
    assert worlds_table(worlds) in page
    assert hidden_table(worlds) in page
    assert f"write {PER_DAY} referrals a day" in page
    assert "{{" not in page
    orders = measured["orders"]["before"]
    scaled = worlds["orders"]["ways"]["before"]["false a day"]
    # 25 a day for 10 departments over 400 days are 100,000 referrals, and 180 days were counted
    assert scaled == pytest.approx((orders.alerts - orders.right) / 1800 * 100_000 / orders.referrals)


# -- the ways to watch --------------------------------------------------------------------------------------


def test_before_takes_every_order_for_a_referral_and_keeps_every_number() -> None:
    shipped, bare = policy(), without_learning(policy())
    assert [row.scope for row in bare.scopes] == ["referral"]
    assert bare.clocks == shipped.clocks
    assert bare.hold_reviewed_within.number > 10_000
    way = way_to_watch("before", BEGIN, END, ())
    assert way.refuse
    assert not way.practices


def test_the_watch_learns_by_its_own_code_from_what_was_noted_each_morning() -> None:
    step = Counter({("linden", "Organization/imaging", "", "task-"): 29})
    more = step + Counter({("linden", "Organization/imaging", "", "task-"): 1})
    first, second = learn({MORNING + 14 * DAY: more, MORNING: step})
    assert first == (MORNING, ())  # 29 referrals say nothing
    assert second[0] == MORNING + 14 * DAY
    assert {(one.ehr, one.asked, one.use) for one in second[1]} == {
        ("linden", "Organization/imaging", "absent"),
        ("linden", "", "absent"),
    }


def test_what_was_learned_holds_from_its_morning_on_and_a_person_s_word_at_once() -> None:
    habit = Habit("linden", "", "", Step.TASK, 200, 0, "absent", False)
    learned = ((MORNING, ()), (MORNING + 14 * DAY, (habit,)), (MORNING + 28 * DAY, (habit,)))
    way = way_to_watch("after", BEGIN, END, learned)
    assert [at for at, _ in way.practices] == [MORNING, MORNING + 14 * DAY]  # the third says nothing new
    assert way.practices[1][1].of("linden", (), "") == (("task", "absent"),)
    said = way_to_watch("settings", BEGIN, END, learned)
    assert said.practices[0][1].of("linden", (), "") == (("task", "not-used"),)


def test_a_look_only_when_something_concerns_a_referral_finds_what_a_look_every_morning_finds() -> None:
    world = WORLDS["together"]
    feeds = feeds_of(world.noise, 5, BEGIN, END)
    said = (PracticeSettings(step="told", used=False, ehr="mill"),)
    every = tuple(END - day * DAY for day in range(399, -1, -1))
    for number in range(2, 5):
        life = lived(world, number, 5, BEGIN, END)
        life.versions = [v for v in life.versions if "-o" not in v.data["id"] or v.data["id"][-1] == "1"]
        deliveries = received(world, life, feeds, 5)
        seldom = Way(policy(), ((every[150], Practices.learned((), said)),))
        # Something new to learn each morning makes the watch look at everything.
        often = Way(
            policy(), tuple((at, Practices.learned((), said if at >= every[150] else ())) for at in every)
        )
        found = [watch(deliveries, feeds, hospital(), way, END).found for way in (seldom, often)]
        assert {n: one.alerts for n, one in found[0].items()} == {
            n: one.alerts for n, one in found[1].items()
        }
        assert sum(one.assessments for one in found[0].values()) < sum(
            one.assessments for one in found[1].values()
        )


def test_a_dead_letter_leaves_in_doubt_what_it_is_about_until_a_sound_version_comes() -> None:
    feeds = feeds_of(CLEAN, 5, BEGIN, END)
    life = next(
        life
        for life in lives(50, 5, BEGIN, END)
        if [thread.priority for thread in life.threads] == ["routine"]
        and any(v.data["resourceType"] == "Task" and "owner" in v.data for v in life.versions)
    )
    sent = next(version for version in life.versions if version.data["resourceType"] == "Task")
    first = [v for v in life.versions if v.data["resourceType"] in ("Patient", "ServiceRequest")][:2]
    broken = Delivery(sent.at + DAY, sent.ehr, sent.referral, sent.data, "unreadable")
    ends = sent.at + 30 * DAY

    def rules(*deliveries: Delivery) -> tuple[set[str], set[str]]:
        known = sorted([*(Delivery(*v) for v in (*first, sent)), *deliveries])
        watching = watch(known, feeds, surroundings(), Way(policy()), ends)
        [one] = watching.found.values()
        now = {alert.rule for alert in one.alerts if alert.ended is None}
        return now & {"unacknowledged"}, {one.looks[-1].kind("unacknowledged")}

    assert "unacknowledged" in rules()[0]
    assert rules(broken) == (set(), {"dead letter"})
    assert "unacknowledged" in rules(broken, Delivery(sent.at + 2 * DAY, *sent[1:]))[0]


# -- what silence hides -------------------------------------------------------------------------------------


def look(day: float, *, alert: bool = False, listed: bool = False, scope: str = "referral") -> Look:
    nothing = frozenset[str]()
    return Look(MORNING + day * DAY, scope, alert, listed, nothing, "", nothing, False, False)


def hidden(*looks: Look, until: float | None = None, end: float = 100) -> list[Hidden]:
    over = None if until is None else MORNING + until * DAY
    life = Life("Patient/p")
    life.stalls = [
        Stall("ServiceRequest/r", "unscheduled", MORNING - 9 * DAY, MORNING, over, "Organization/x")
    ]
    watched = Watched("ServiceRequest/r", looks=list(looks))
    return list(hidden_in(life, {watched.referral: watched}, MORNING - DAY, MORNING + end * DAY))


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (hidden(look(-5, scope="unclear")), [("scope unclear", 100, "never")]),
        (hidden(look(-5, scope="unclear"), until=30), [("scope unclear", 30, "over")]),
        (hidden(look(-5, scope="out"), look(20, alert=True)), [("scope out", 20, "alert")]),
        (
            hidden(look(-5, scope="unclear"), look(60, scope="unclear", listed=True)),
            [("scope unclear", 60, "list")],
        ),
        (hidden(look(40, alert=True)), [("no record", 40, "alert")]),
        (hidden(look(-5), look(0.5, alert=True)), []),
        (hidden(look(-5, alert=True)), []),
        (hidden(look(-5, alert=True), look(10), until=15), [("other", 5, "over")]),
    ],
    ids=[
        "for ever",
        "until done",
        "until an alert",
        "until listed",
        "never arrived",
        "a night",
        "not at all",
        "later",
    ],
)
def test_a_true_stall_is_hidden_until_something_ends_the_silence(
    found: list[Hidden], what: list[tuple[str, int, str]]
) -> None:
    assert [(one.kind, round(one.days), one.end) for one in found] == what


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ({"scope": "diagnostic"}, "scope diagnostic"),
        ({"not_claimed": frozenset({"unscheduled"}), "blind": "feed behind"}, "feed behind"),
        ({"not_claimed": frozenset({"undecided"}), "blind": "feed not shown"}, "feed not shown"),
        ({"counted": frozenset({"not-sent"})}, "not in use"),
        ({"unused": True}, "not in use"),
        ({"held": True}, "hold"),
        ({"is_alert": True, "held": True}, ""),
        ({}, "other"),
    ],
)
def test_the_kind_of_silence_is_what_keeps_the_stall_from_being_claimed(
    says: dict[str, Any], kind: str
) -> None:
    assert look(0)._replace(**says).kind("unscheduled") == kind
