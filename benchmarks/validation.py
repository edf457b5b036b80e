"""Validation in this process, beside parsing the same resource with fhir.resources."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from fhir.resources.R4B import get_fhir_model_class

from benchmarks.frame import Pair, for_seconds
from benchmarks.sample import care_plan, care_plan_bytes
from fhir_coprod import definitions, validate

SECONDS = 0.7


def pairs() -> Iterator[Pair]:
    raw = care_plan_bytes()
    yield _pair("a CarePlan of 2.5 kB: base R4", raw)
    wrong = care_plan()
    wrong["status"] = "running"
    wrong["activity"][1]["detail"]["code"] = "exercise"
    yield Pair(
        "the same with two errors, each explained",
        "validations",
        for_seconds(SECONDS, _validating(json.dumps(wrong).encode())),
        "fhir.resources parse, valid",
        for_seconds(SECONDS, _parsing(raw)),
    )
    for example in definitions.examples():
        if example["resourceType"] == "CarePlan":
            yield _pair(
                "our example of coproduction-careplan: base R4 and its profile", json.dumps(example).encode()
            )
            break


def _pair(what: str, raw: bytes) -> Pair:
    assert validate(raw), f"{what} is not valid: {validate(raw)}"
    return Pair(
        what,
        "validations",
        for_seconds(SECONDS, _validating(raw)),
        "fhir.resources parse",
        for_seconds(SECONDS, _parsing(raw)),
    )


def _validating(raw: bytes) -> Callable[[], int]:
    def step() -> int:
        for _ in range(50):
            validate(raw)
        return 50

    return step


def _parsing(raw: bytes) -> Callable[[], int]:
    model = get_fhir_model_class(json.loads(raw)["resourceType"])

    def step() -> int:
        for _ in range(50):
            model.model_validate_json(raw)
        return 50

    return step
