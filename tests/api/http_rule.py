"""What a rule of FHIR's page on HTTP is, and what its requests are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from fhir_coprod.jsontext import Json
from tests.api.conftest import Api, identifier_of, patient

Act = Callable[[Api, Json], httpx.Response]
"""A request about a Patient that was stored just before: version 1, with an identifier of its own."""


@dataclass(frozen=True)
class Rule:
    """section, words: where the page says what; act: a request to which it applies; status: the answer."""

    section: str
    words: str
    act: Act
    status: int
    headers: tuple[str, ...] = ()
    """Which the answer must have."""

    def __str__(self) -> str:
        return f"{self.section}: {self.words[:60]}"


def place(stored: Json) -> str:
    return f"Patient/{stored['id']}"


def gone(api: Api, stored: Json) -> str:
    """The place of a resource that was deleted."""
    assert api.delete(place(stored)).status_code == 204
    return place(stored)


def second(api: Api, stored: Json) -> Json:
    """Another Patient with the same identifier: criteria find two."""
    return api.create(patient(identifier=stored["identifier"], gender="other"))


def criteria(stored: Json) -> str:
    return f"identifier={identifier_of(stored)}"


def female(stored: Json) -> Json:
    return {**stored, "gender": "female"}


def without_id(stored: Json) -> Json:
    return {name: value for name, value in female(stored).items() if name != "id"}


GENDER = [{"op": "add", "path": "/gender", "value": "female"}]
FORM = {"content_type": "application/x-www-form-urlencoded"}


def bundle(type: str, *entries: tuple[str, str, Any]) -> Json:
    return {
        "resourceType": "Bundle",
        "type": type,
        "entry": [
            {"request": {"method": method, "url": url}, **({"resource": resource} if resource else {})}
            for method, url, resource in entries
        ],
    }


def basic(subject: str) -> Json:
    return {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": subject}}
