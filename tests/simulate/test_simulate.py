"""The simulated hospital: its own truth, published rates, valid FHIR, the same each time."""

from __future__ import annotations

import ast
import csv
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from fhir_coprod import simulate, validate
from fhir_coprod.cli import app
from fhir_coprod.settings import SiteSettings
from fhir_coprod.simulate import rates
from fhir_coprod.simulate.hospital import BY_NAME, staff
from fhir_coprod.simulate.life import Life, live, lives
from fhir_coprod.simulate.noise import BAD, CLEAN, MODELS, USUAL, Feeds
from fhir_coprod.simulate.promises import ZONE, too_late
from fhir_coprod.simulate.thread import Thread
from fhir_coprod.simulate.truth import STORY, Happening, untold
from fhir_coprod.simulate.writing import delivered, feeds_of, newest, span, write
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.codes import LISTED, Rule

BEGIN, END = span(date(2026, 6, 30))


@pytest.fixture(scope="module")
def cohort() -> list[Life]:
    return list(lives(2500, 7, BEGIN, END))


def threads(cohort: list[Life]) -> list[Thread]:
    return [thread for life in cohort for thread in life.threads if thread.attempt]


def test_nothing_in_it_knows_the_watch() -> None:
    for path in Path(simulate.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("fhir_coprod.watch") for name in names), path.name


def test_every_rule_of_the_watch_has_a_truth() -> None:
    """But for what only lists show, and what is watched only where settings say that no Tasks are used: the
    simulated hospital uses them."""
    assert set(STORY) == {str(rule) for rule in Rule} - LISTED - {Rule.NO_TRACE}


def test_every_rule_happens(cohort: list[Life]) -> None:
    assert {stall.rule for life in cohort for stall in life.stalls} == set(STORY)


def test_the_noise_model_is_the_frozen_one() -> None:
    frozen = {
        "clean": (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        "usual": (4, 0.03, 3, 0.005, 0.01, 0.005, 0.005, 0.02, 5, 0.05, 0.05, 2, 3),
        "bad": (12, 0.10, 5, 0.02, 0.04, 0.02, 0.02, 0.10, 20, 0.15, 0.15, 6, 5),
    }
    assert {name: tuple(vars(noise).values())[1:] for name, noise in MODELS.items()} == frozen


def test_scheduling_attempts_end_as_published(cohort: list[Life]) -> None:
    ended = Counter(thread.attempt for thread in threads(cohort))
    total = sum(ended.values())
    assert ended["complete"] / total == pytest.approx(rates.COMPLETE, abs=0.025)
    assert ended["none"] / total == pytest.approx(rates.NO_DATE, abs=0.025)


def test_departments_do_nothing_for_a_month_as_often_as_published(cohort: list[Life]) -> None:
    """Unexplained inaction: at 30 days after it was sent (or accepted) the next step is still owed."""
    month = timedelta(days=rates.INACTION_DAYS)
    idle = {
        stall.referral
        for life in cohort
        for stall in life.stalls
        if stall.rule in ("unacknowledged", "undecided", "unscheduled")
        and stall.task.endswith("-task-1")
        and stall.stalled - stall.since < month  # later: it was put aside, which is no unexplained inaction
        and (stall.until is None or stall.until - stall.since >= month)
    }
    known = [thread for thread in threads(cohort) if thread.authored + 3 * month <= END]
    share = len(idle & {thread.reference for thread in known}) / len(known)
    assert share == pytest.approx(rates.INACTION, abs=0.015)


def test_the_same_seed_gives_the_same_life_whatever_else_is_made() -> None:
    alone = live(17, 3, BEGIN, END)
    among = list(lives(18, 3, BEGIN, END))[17]
    assert alone.versions == among.versions
    assert alone.stalls == among.stalls
    assert live(17, 4, BEGIN, END).versions != alone.versions


@pytest.mark.parametrize("noise", [CLEAN, USUAL, BAD], ids=lambda noise: noise.name)
def test_everything_that_reaches_us_is_valid(noise: object) -> None:
    feeds = feeds_of(MODELS[noise.name], 5, BEGIN, END)  # type: ignore[attr-defined]
    claimed = 0
    for life in lives(60, 5, BEGIN, END):
        for delivery in delivered(life, feeds, 5):
            claimed += "meta" in delivery.data
            outcome = validate(delivery.data)
            if noise is CLEAN or "meta" not in delivery.data:
                assert outcome, (delivery.data, [str(issue) for issue in outcome.issues])
    assert claimed > 50


def test_staff_are_valid() -> None:
    assert all(validate(resource) for _, resource in staff())


def test_noise_loses_shifts_and_hides(cohort: list[Life]) -> None:
    feeds = feeds_of(BAD, 7, BEGIN, END)
    clean = [v for life in cohort[:300] for v in life.versions]
    noisy = [d for life in cohort[:300] for d in delivered(life, feeds, 7)]
    ids = {v.data["id"] for v in clean}
    assert any(d.data["id"] not in ids for d in noisy), "doubles"
    assert any(v.data["id"] not in {d.data["id"] for d in noisy} for v in clean), "losses"
    assert any(feeds.hidden.values())
    for name, types in feeds.hidden.items():
        assert not any(d.ehr == name and d.data["resourceType"] in types for d in noisy)
    assert len(set(feeds.clocks.values())) > 3
    for name, outages in feeds.outages.items():
        for begin, end in outages:
            assert not any(d.ehr == name and begin <= d.at < end for d in noisy)


def test_clean_feeds_change_nothing(cohort: list[Life]) -> None:
    feeds = Feeds(CLEAN, BY_NAME, 7, BEGIN, END)
    life = cohort[0]
    delivered = [delivery[:4] for delivery in feeds.deliver(life.versions, Random(1))]
    assert delivered == sorted(life.versions, key=lambda v: v.at)


def test_its_promises_are_the_ones_the_watch_is_measured_by() -> None:
    """Said twice on purpose; should they drift apart, the figures would mean nothing."""
    policy = policies.load("se-vardgaranti", SiteSettings(timezone=ZONE.key, country="SE"))
    start = datetime(2026, 3, 26, 9, tzinfo=UTC)
    for priority in ("routine", "urgent", "asap", "stat"):
        for rule, length in policy.clocks[priority].items():
            if rule is Rule.NO_TRACE:
                continue
            assert too_late(rule, start, priority) == policy.calendar.due(start, length), (rule, priority)


def test_one_message_answers_for_all_before_it() -> None:
    day = timedelta(days=1)
    first = datetime(2026, 3, 2, 9, tzinfo=UTC)
    happened = [Happening(first, "imaging"), Happening(first + day, "imaging")]
    assert untold("r", happened, [first + 2 * day], "routine") == []
    [stall] = untold("r", happened, [first + day / 2], "routine")
    assert stall.since == first + day
    assert stall.until is None


def test_command_writes_fhir_and_truth_that_load_can_take(tmp_path: Path) -> None:
    out = tmp_path / "hospital"
    args = ["simulate", str(out), "--patients", "40", "--seed", "2", "--json"]
    ended = CliRunner().invoke(app, args)
    assert ended.exit_code == 0, ended.output
    counts = json.loads(ended.stdout)
    lines = (out / "ServiceRequest.ndjson").read_text().splitlines()
    assert counts["resources"]["ServiceRequest"] == len(lines) >= 40
    with (out / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(counts["stalls"].values()) == len(rows)
    env = {"COPROD_STORE__URL": f"sqlite:///{tmp_path / 'c.db'}"}
    loaded = CliRunner().invoke(app, ["load", str(out), "--json"], env=env)
    assert loaded.exit_code == 0, loaded.output
    assert json.loads(loaded.stdout)["created"] == sum(counts["resources"].values())


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ended = CliRunner().invoke(app, ["simulate", str(tmp_path), "--patients", "1"])
    assert ended.exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("args", [["--noise", "loud"], ["--until", "yesterday"], ["--until", "0001-01-01"]])
def test_wrong_use_says_what_to_write(tmp_path: Path, args: list[str]) -> None:
    ended = CliRunner().invoke(app, ["simulate", str(tmp_path / "new"), "--patients", "1", *args])
    assert ended.exit_code == 2


def test_the_export_holds_each_resource_once_as_last_known() -> None:
    feeds = feeds_of(CLEAN, 1, BEGIN, END)
    life = live(3, 1, BEGIN, END)
    resources = newest(delivered(life, feeds, 1), END)
    names = [(data["resourceType"], data["id"]) for data in resources]
    assert len(names) == len(set(names))


def test_writing_twice_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, 20, 9, USUAL, date(2026, 6, 30), lambda: None)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
