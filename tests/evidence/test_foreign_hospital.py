"""Referrals planted among the orders of a hospital that nobody here wrote; and its records made dirty."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evidence.foreign import measure, report
from evidence.foreign.dirt import CUT, KINDS, spoil, spoilt
from evidence.foreign.judged import Verdict, name_of
from evidence.foreign.measure import World
from evidence.foreign.planted import Lost
from evidence.foreign.ways import WAYS
from tests.peers import ips, registry
from tests.peers.hospital import Hospital

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def world(foreign_hospital: Hospital) -> World:
    return World(foreign_hospital.records, seed=11)


@pytest.fixture(scope="module")
def clean(world: World) -> dict[str, Verdict]:
    return world.judged()


def test_the_lost_are_named_and_no_order_of_the_hospital_s_own_is_claimed(world: World) -> None:
    found = measure.planted(world)
    alerts, board, lost = report.named([found])
    assert lost == 100
    assert alerts + board >= 95
    assert alerts >= 90
    assert (found["in-house"] > 100, found["in-house claimed"]) == (True, 0)


def test_where_the_site_says_what_it_does_not_record_no_good_one_is_claimed(world: World) -> None:
    found = measure.planted(world, measure.as_the_site_says())
    alerts, board, _ = report.named([found])
    assert alerts + board >= 90
    assert (found["good claimed"], found["in-house claimed"]) == ({}, 0)


def test_what_is_planted_is_spread_over_all_stages_and_ways_and_depends_on_seed_and_now_only(
    foreign_hospital: Hospital, world: World
) -> None:
    stages = Counter(one.stage for one in world.planted if one.is_lost)
    assert stages.keys() == set(Lost)
    assert set(stages.values()) <= {12, 13}
    assert {one.way.name for one in world.planted if one.is_lost} == {way.name for way in WAYS}
    assert World(foreign_hospital.records, seed=11).records == world.records
    assert World(foreign_hospital.records, seed=12).records != world.records
    organizations = [record for record in world.records if record["resourceType"] == "Organization"]
    assert [record["id"] for record in organizations] == ["hospital-main"]
    assert not any(record["resourceType"] == "PractitionerRole" for record in world.records)


def test_two_percent_of_dirty_records_change_few_verdicts_and_only_of_those_they_concern(
    world: World, clean: dict[str, Verdict]
) -> None:
    every: Counter[str] = Counter()
    for seed in range(3):
        every += measure.noise(world, clean, spoilt(world.records, 0.02, seed))
    assert every["dirty"] > 60
    assert every["back"] == every["readable"] > 3_000
    assert every["same"] >= 0.96 * every["referrals"]  # over more seeds 97 %: the page
    assert every["stalls still"] >= 0.95 * every["stalls"]
    assert every["lost named"] >= 0.95 * 0.97 * every["lost"]
    assert (every["changed elsewhere"], every["not assessed"]) == (0, 0)


def test_a_dirty_record_alone_changes_the_verdicts_of_nobody_else(foreign_hospital: Hospital) -> None:
    small = World(foreign_hospital.records, seed=5, most=20)
    counts = measure.alone(small, small.judged(), times=9, seed=1)
    assert counts["runs that changed some"] > 0
    assert counts["changed elsewhere"] == 0


def test_through_the_sync_what_nobody_can_read_is_a_dead_letter_and_the_rest_is_judged(world: World) -> None:
    counts = measure.over_http(world, 0.02, 0)
    assert counts["unread"] == counts["letters"] > 0
    assert counts["here"] + counts["unread"] == counts["records"]
    assert counts["same"] >= 0.96 * counts["referrals"]
    assert (counts["changed elsewhere"], counts["not assessed"]) == (0, 0)


def test_published_examples_are_read_back_however_dirty() -> None:
    registry.require(ips.PEER)
    examples = measure.examples()
    assert len(examples) > 100
    for share in (0.02, 1.0):
        counts = measure.read_back(examples, share, 1)
        assert counts["back"] == counts["readable"] > 100


ORDER: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "s",
    "status": "active",
    "intent": "order",
    "code": {"coding": [{"system": "urn:c", "code": "knee"}]},
    "subject": {"reference": "Patient/p"},
    "authoredOn": "2026-03-02",
}


@pytest.mark.parametrize("kind", [*KINDS, CUT])
def test_a_record_is_made_dirty_in_one_way_and_says_still_which_one_it_is(kind: str) -> None:
    before = json.dumps(ORDER)
    for seed in range(20):
        dirty = spoil(ORDER, kind, random.Random(seed))
        assert dirty is not None
        assert dirty == spoil(ORDER, kind, random.Random(seed))
        if kind == CUT:
            with pytest.raises(json.JSONDecodeError):
                json.loads(dirty.raw)
        else:
            made = json.loads(dirty.raw)
            assert made != ORDER
            assert name_of(made) == dirty.name == "ServiceRequest/s"
    assert json.dumps(ORDER) == before


def test_the_published_page_of_the_foreign_hospital_is_what_was_counted() -> None:
    found = json.loads((ROOT / "evidence" / "results" / "foreign-hospital.json").read_text())
    assert (ROOT / "docs" / "foreign-hospital.md").read_text() == report.page(found)
    assert found["seeds"] >= 5
    alerts, board, lost = report.named(found["planted"])
    assert alerts + board >= 0.95 * lost
    assert sum(one["in-house claimed"] for one in found["planted"]) == 0
    dirty = found["shares"]["0.02"]
    assert dirty["back"] == dirty["readable"]
    assert dirty["same"] >= 0.97 * dirty["referrals"]
    assert dirty["stalls still"] >= 0.95 * dirty["stalls"]
    assert dirty["lost named"] >= 0.95 * (alerts + board)
    every = [found["alone"], *found["shares"].values(), *found["kinds"].values()]
    assert sum(each.get("changed elsewhere", 0) for each in every) == 0
