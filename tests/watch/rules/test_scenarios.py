"""Every written scenario: exactly these stalls, this stage, these dates."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_coprod.watch import assess
from fhir_coprod.watch.rules.codes import Rule
from tests.watch.story import Story
from tests.watch.telling import read

STORIES = [
    pytest.param(story, id=f"{path.stem}: {story.title}")
    for path in sorted((Path(__file__).parents[1] / "scenarios").glob("*.txt"))
    for story in read(path)
]


def test_there_are_at_least_150_scenarios_with_distinct_titles() -> None:
    titles = [param.id for param in STORIES]
    assert len(titles) >= 150
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_is_told_of_in_several_scenarios(rule: Rule) -> None:
    told = 0
    for param in STORIES:
        (story,) = param.values
        assert isinstance(story, Story)
        found = {name for name, _ in (*story.expected.stalls, *story.expected.counted)}
        told += rule in found | {*story.expected.notes}
    assert told >= 3


@pytest.mark.parametrize("story", STORIES)
def test_scenario(story: Story) -> None:
    assert story.now is not None, "a scenario needs a now"
    standing = assess(story.facts(), story.policy(), story.now)
    expected = story.expected

    assert (standing.stage or "none") == expected.stage, standing.explanation
    found = sorted((stall.rule.value, stall.task) for stall in standing.stalls)
    wanted = sorted((rule, "") for rule, _ in expected.stalls)
    assert [rule for rule, _ in found] == [rule for rule, _ in wanted], standing.explanation
    if expected.since:
        assert standing.since == story.at(expected.since)
    for rule, detail in expected.stalls:
        candidates = [
            stall
            for stall in standing.stalls
            if stall.rule == rule and ("task" not in detail or stall.task == f"Task/{detail['task']}")
        ]
        assert candidates, f"{rule} for {detail}"
        stall = candidates[0]
        if "since" in detail:
            assert stall.since == story.at(detail["since"]), rule
        if "due" in detail:
            assert stall.due == story.end_of(detail["due"]), rule
        if "owner" in detail:
            wanted_owner = "" if detail["owner"] == "none" else detail["owner"]
            assert stall.owner == wanted_owner, rule
        if "severity" in detail:
            assert stall.severity == detail["severity"], rule
        if "stored" in detail:
            assert stall.since_stored == (detail["stored"] == "yes"), rule
    assert [note.rule.value for note in standing.notes] == expected.notes
    assert [each.rule.value for each in standing.counted] == [rule for rule, _ in expected.counted]
    for each, (_, detail) in zip(standing.counted, expected.counted, strict=True):
        if "since" in detail:
            assert each.since == story.at(detail["since"])
        if "due" in detail:
            assert each.due == story.end_of(detail["due"])
    assert list(standing.not_observable) == expected.unseen
    for key, value in expected.more.items():
        if key == "informed":
            assert standing.patient_informed == (value == "yes")
        elif key in ("guarantee", "due", "wake"):
            assert getattr(standing, key) == (None if value == "none" else story.end_of(value)), key
        else:
            assert {stall.severity for stall in standing.stalls} == {value}
