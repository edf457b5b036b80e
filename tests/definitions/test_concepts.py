"""The table of concepts in docs/profiles.md: each one is carried by the example that the table names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fhir_coprod import definitions, validate
from fhir_coprod.validation.fhirpath import Env, compile_invariant
from tests.definitions.invalid import cases

PAGE = Path(__file__).resolve().parents[2] / "docs" / "profiles.md"
_ROW = re.compile(r"^\| ([^|]+) \| `([a-z-]+)` \| `([A-Za-z]+/[a-z0-9-]+)` \| `([^`]+)` \|$", re.MULTILINE)
ROWS: list[tuple[str, str, str, str]] = _ROW.findall(PAGE.read_text(encoding="utf-8"))
EXAMPLES = {f"{e['resourceType']}/{e['id']}": e for e in definitions.examples()}


@pytest.mark.parametrize(("concept", "profile", "example", "carrier"), ROWS, ids=[row[0] for row in ROWS])
def test_the_concept_stands_where_the_table_says(
    concept: str, profile: str, example: str, carrier: str
) -> None:
    resource = EXAMPLES[example]
    assert definitions.PROFILE + profile in resource["meta"]["profile"]
    assert validate(resource)
    assert compile_invariant(carrier, resource["resourceType"], "")(resource, Env(resource))
    assert any(case.profile == definitions.PROFILE + profile for case in cases())


def test_every_profile_carries_a_concept() -> None:
    own = definitions.own_resources("StructureDefinition")
    assert {profile for _, profile, _, _ in ROWS} == {s["id"] for s in own if s["type"] != "Extension"}
