"""The page about the endpoint names what is served, and what is served is on the page."""

from __future__ import annotations

import re
from pathlib import Path

from fhir_coprod.api.interactions import allowed
from fhir_coprod.api.table import TABLE
from fhir_coprod.client import Client
from fhir_coprod.settings import LimitSettings

PAGE = (Path(__file__).parents[2] / "docs" / "endpoint.md").read_text()


def test_every_interaction_is_documented_and_no_other() -> None:
    section = PAGE.partition("## What it does")[2].partition("\n`/fhir/metadata`")[0]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == {row.name for row in TABLE}


def test_every_limit_is_documented_with_its_default() -> None:
    for name, field in LimitSettings.model_fields.items():
        assert f"| `limits.{name}` | {field.default:,.0f} |" in PAGE


def test_every_move_of_a_task_is_documented_and_no_other() -> None:
    section = PAGE.partition("## The status of a referral's Task")[2].partition("\nAnything else")[0]
    told: dict[str, set[str]] = {}
    for row in section.splitlines():
        if row.startswith("| `"):
            _, old, new, _ = row.split("|")
            told |= {name: set(re.findall(r"`([^`]+)`", new)) for name in re.findall(r"`([^`]+)`", old)}
    told.pop("on-hold")
    assert told == {old: set(new) for old, new in allowed.NEXT.items() if new}


def test_every_method_of_the_client_is_documented() -> None:
    section = PAGE.partition("## A client")[2].partition("\n## ")[0]
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert methods <= set(re.findall(r"`(\w+)`", section))
