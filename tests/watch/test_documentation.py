"""The page on the watch names every stage, rule, policy and command, with the numbers of the policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fhir_coprod import definitions
from fhir_coprod.cli import alerts
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.codes import ABOUT, Rule, Stage

PAGE = (Path(__file__).parents[2] / "docs" / "watch.md").read_text()


@pytest.mark.parametrize("word", [*Stage, *Rule, *policies.names()])
def test_the_page_names(word: str) -> None:
    assert f"| `{word}` |" in PAGE


@pytest.mark.parametrize("rule", policies.load("default").clocks["routine"])
def test_the_page_gives_the_default_number(rule: Rule) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{rule}` |"))
    assert f"| {policies.load('default').clocks['routine'][rule]} |" in row


def test_the_page_names_every_command() -> None:
    for command in alerts.app.registered_commands:
        assert re.search(rf"fhir-coprod alerts {command.name}\b", PAGE)


def test_rules_and_stages_are_those_of_the_code_systems() -> None:
    base = f"{definitions.CANONICAL}/CodeSystem"
    assert definitions.code_system(f"{base}/stall-rule") == set(Rule)
    assert definitions.code_system(f"{base}/referral-stage") == set(Stage)


def test_every_rule_says_what_is_missing() -> None:
    assert set(ABOUT) == set(Rule)
