"""What a person answers when asked whether two records are of the same person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import Version
from fhir_coprod.sync.merging.matches import _verdict


def answered(status: str, *outputs: dict[str, Any]) -> Version:
    task = {"resourceType": "Task", "status": status, "output": list(outputs)}
    now = to_milliseconds(datetime(2026, 3, 2, tzinfo=UTC))
    return Version("Task", "q", 2, 2, now, "update", jsontext.encode(task), "", "")


@pytest.mark.parametrize(
    "output",
    [
        {"valueCode": "same"},
        {"valueString": " Same "},
        {"valueCoding": {"code": "same"}},
        {"valueCodeableConcept": {"text": "same"}},
        {"valueCodeableConcept": {"coding": [{"code": "same"}], "text": "one person"}},
    ],
)
def test_same_is_understood_in_whatever_element_it_stands(output: dict[str, Any]) -> None:
    assert _verdict(answered("completed", output)) == "same"


@pytest.mark.parametrize(
    ("status", "outputs"),
    [
        ("requested", [{"valueCode": "same"}]),
        ("completed", []),
        ("completed", [{"valueString": "not sure"}]),
        ("completed", [{"valueCode": "same"}, {"valueCode": "different"}]),
    ],
)
def test_no_clear_word_decides_nothing(status: str, outputs: list[dict[str, Any]]) -> None:
    assert _verdict(answered(status, *outputs)) == ""


def test_turning_the_question_down_means_different() -> None:
    assert _verdict(answered("rejected")) == "different"
