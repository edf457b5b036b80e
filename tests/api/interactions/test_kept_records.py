"""Records that break rules and are kept: whatever is in them, they can be read, and they hide nothing else.

A sync and `load` keep what an EHR has written, so any JSON value may stand in the place of any element.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.files.finding import find
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store, loading
from tests.api.conftest import Api

ODD: tuple[Any, ...] = (7, "x", None, [], ["x"], [{}], {"a": 1}, [[1]], {"reference": 7}, [{"coding": "x"}])
SOUND: dict[str, Json] = {
    "Observation": {"status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/kept"}},
    "ServiceRequest": {"status": "active", "intent": "order", "subject": {"reference": "Patient/kept"}},
    "Task": {"status": "requested", "intent": "order", "for": {"reference": "Patient/kept"}},
    "Questionnaire": {"status": "active"},
}
PLACES = {
    "Observation": (
        "meta",
        "meta.security",
        "meta.tag",
        "contained",
        "component",
        "effectiveDateTime",
        "text",
    ),
    "ServiceRequest": ("meta.security", "performer", "occurrencePeriod", "instantiatesCanonical", "basedOn"),
    "Task": ("focus", "basedOn", "status", "restriction", "output"),
    "Questionnaire": ("url", "version", "item", "useContext"),
}
OF_A_TYPE = (
    *(
        "",
        "?_summary=true",
        "?_summary=text",
        "?_summary=data",
        "?_elements=status",
        "?_include=*&_elements=id",
    ),
    *("?_revinclude=*", "?_tag=x", "?_security=x", "?subject.name=x", "/_history", "/_history?_at=2026"),
)


def records() -> Iterator[Json]:
    for type, places in PLACES.items():
        for number, (place, odd) in enumerate((place, odd) for place in places for odd in ODD):
            record: Json = {"resourceType": type, "id": f"kept-{number}", **deepcopy(SOUND[type])}
            *way, last = place.split(".")
            holder = record
            for name in way:
                holder = holder.setdefault(name, {})
            holder[last] = odd
            yield record


@pytest.fixture
def kept(api: Api, tmp_path: Path) -> list[Json]:
    """All of them, in the store; of one patient."""
    made = list(records())
    patient = {"resourceType": "Patient", "id": "kept"}
    load(api.store, tmp_path, [patient, *made])
    return made


def load(store: Store, folder: Path, lines: list[Json]) -> None:
    file = folder / "kept.ndjson"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert loading.load(store, find([file])).dead == 0


def test_every_interaction_answers_about_whatever_is_kept(api: Api, kept: list[Json]) -> None:
    asked = [f"{type}{query}" for type in PLACES for query in OF_A_TYPE]
    asked += [f"{one['resourceType']}/{one['id']}?_elements=status" for one in kept]
    asked += [
        "Patient/kept/$everything",
        "Patient/kept/$everything?_type=Practitioner&start=2020",
        "_history",
    ]
    failed = [url for url in asked if api.get(url).status_code not in (200, 400)]
    assert not failed


def test_a_patch_of_whatever_is_kept_is_done_or_refused(api: Api, kept: list[Json]) -> None:
    change = [{"op": "add", "path": "/language", "value": "en"}]
    for one in kept:
        answer = api.patch(f"{one['resourceType']}/{one['id']}", change)
        assert answer.status_code in (200, 422), one


@pytest.mark.parametrize("labels", ["x", 7, [7], [{}], [{"system": 7, "code": "NOPAT"}], {"code": "NOPAT"}])
def test_a_label_that_cannot_be_read_keeps_a_record_back_from_the_patient(
    api: Api, tmp_path: Path, labels: Any
) -> None:
    plain = {"resourceType": "Observation", "id": "seen", **SOUND["Observation"]}
    hidden = {**plain, "id": "labelled", "meta": {"security": labels}}
    plain["subject"] = hidden["subject"] = {"reference": "Patient/labelled"}
    load(api.store, tmp_path, [{"resourceType": "Patient", "id": "labelled"}, plain, hidden])
    found = api.get("Patient/labelled/$everything").json()
    ids = {
        entry["resource"]["id"]
        for entry in found["entry"]
        if entry["resource"]["resourceType"] == "Observation"
    }
    assert ids == {"seen"}
