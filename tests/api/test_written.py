"""Proof: what generated transactions and files store is valid, refers to what is here, and is found by it."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.files.finding import find
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Transaction, Version, loading, taking
from tests.api.conftest import Api

pytestmark = pytest.mark.proof

ROUNDS = 40 if os.environ.get("PROOF_SIZE") == "ci" else 1500
SYSTEM = "http://a.example/id"
LINKS = {
    "Observation": {"subject": "Patient", "encounter": "Encounter", "performer": "Practitioner"},
    "Encounter": {"subject": "Patient", "serviceProvider": "Organization"},
    "Patient": {"generalPractitioner": "Practitioner", "managingOrganization": "Organization"},
    "Practitioner": {},
    "Organization": {"partOf": "Organization"},
}
PARAMETERS = {
    "serviceProvider": "service-provider",
    "generalPractitioner": "general-practitioner",
    "managingOrganization": "organization",
    "partOf": "partof",
}
SEVERAL = frozenset({"performer", "generalPractitioner"})


class Maker:
    """Makes Bundles whose entries refer to each other and to what is here, rightly and wrongly."""

    def __init__(self, random: Random, base: str) -> None:
        self.random = random
        self.base = base
        self.here: list[tuple[str, str, str]] = []
        """Type, id and identifier of what is stored."""

    def bundle(self) -> Json:
        planned = [
            (self.random.choice(list(LINKS)), f"urn:uuid:{self._uuid()}", self._uuid())
            for _ in range(self.random.randint(1, 7))
        ]
        entries = [self._entry(type, url, value, planned) for type, url, value in planned]
        patients = [id for type, id, _ in self.here if type == "Patient"]
        if patients and self.random.random() < 0.3:
            entries.append(self._patch(self.random.choice(patients), planned))
        self.random.shuffle(entries)
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def _entry(self, type: str, url: str, value: str, planned: list[tuple[str, str, str]]) -> Json:
        resource = {"resourceType": type, "identifier": [{"system": SYSTEM, "value": value}]}
        resource |= self._needed(type)
        for name, target in LINKS[type].items():
            if self.random.random() < 0.7:
                reference = {"reference": self._reference(target, planned)}
                resource[name] = [reference] if name in SEVERAL else reference
        request: Json = {"method": "POST", "url": type}
        kind = self.random.random()
        if kind < 0.2:
            request = {"method": "PUT", "url": f"{type}/{self._own(resource, value)}"}
        elif kind < 0.3:
            request = {"method": "PUT", "url": f"{type}?identifier={SYSTEM}|{value}"}
        elif kind < 0.5:
            known = [found for found in self.here if found[0] == type]
            wanted = self.random.choice(known)[2] if known and kind < 0.4 else value
            request["ifNoneExist"] = f"identifier={SYSTEM}|{wanted}"
        elif kind < 0.55 and "subject" in resource:
            request["ifNoneExist"] = f"subject={resource['subject']['reference']}&status=final"
        return {"fullUrl": url, "resource": resource, "request": request}

    def _needed(self, type: str) -> Json:
        if type == "Observation":
            return {"status": "final", "code": {"text": "x"}}
        if type == "Encounter":
            return {"status": "planned", "class": {"code": "AMB"}}
        return {"name": "x"} if type == "Organization" else {}

    def _own(self, resource: Json, value: str) -> str:
        resource["id"] = value
        return value

    def _reference(self, target: str, planned: list[tuple[str, str, str]]) -> str:
        entries = [each for each in planned if each[0] == target]
        known = [each for each in self.here if each[0] == target]
        kind = self.random.random()
        if entries and kind < 0.55:
            _, url, value = self.random.choice(entries)
            spelt = (url, url.upper(), f"{target}?identifier={SYSTEM}|{value}", f"{url}/_history/1")
            return self.random.choices(spelt, (80, 10, 8, 2))[0]
        if known and kind < 0.97:
            _, id, value = self.random.choice(known)
            name = f"{target}/{id}"
            return self.random.choice((name, f"{self.base}/{name}", f"{target}?identifier={SYSTEM}|{value}"))
        lost = (
            f"urn:uuid:{self._uuid()}",
            f"/{target}/x",
            f"{target}?identifier={SYSTEM}|none",
            "urn:oid:1.2",
        )
        return self.random.choice(lost)

    def _patch(self, id: str, planned: list[tuple[str, str, str]]) -> Json:
        value = [{"reference": self._reference("Practitioner", planned)}]
        operations = [{"op": "add", "path": "/generalPractitioner", "value": value}]
        data = base64.b64encode(json.dumps(operations).encode()).decode()
        binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
        return {"resource": binary, "request": {"method": "PATCH", "url": f"Patient/{id}"}}


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for item in value for name in references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["reference"]] if isinstance(value.get("reference"), str) else []
    return own + [name for held in value.values() for name in references(held)]


def marked(api: Api) -> set[str]:
    """What is kept although something is wrong in it."""
    return {f"{version.type}/{version.id}" for _, version in api.store.marked(0, 10_000)}


def check(api: Api, version: Version, told: set[str], waiting: set[str]) -> None:
    """
    told:    records that are marked, so that somebody knows of their references
    waiting: dead letters, by the references that they will have when they are taken after all
    """
    name = f"{version.type}/{version.id}"
    said = api.post(f"{version.type}/$validate", version.body).json()["issue"]
    assert not [issue for issue in said if issue["severity"] in ("error", "fatal")], said
    if name in told:
        return
    for element in LINKS[version.type]:
        for reference in references(version.data.get(element)):
            type, _, id = reference.partition("/")
            assert reference in waiting or not api.store.read(type, id).deleted
            parameter = PARAMETERS.get(element, element)
            query = f"{version.type}?{parameter}={reference}&_id={version.id}"
            assert api.get(query).json()["total"] == 1, query


@pytest.mark.parametrize("seed", [13, 31])
def test_what_is_stored_is_valid_and_leads_somewhere(api: Api, seed: int, tmp_path: Path) -> None:
    maker = Maker(Random(f"{seed} {api.store.head()}"), "http://localhost/fhir")
    stored = refused = 0
    waiting: set[str] = set()

    def bury(_: Transaction, file: str, dead: Sequence[taking.Dead], afresh: bool) -> None:
        letters = [jsontext.parse(each.raw) for each in dead]
        waiting.update(f"{letter.type}/{taking.id_of(letter)}" for letter in letters)

    for round in range(ROUNDS):
        before = api.store.head()
        sent = maker.bundle()
        marked_before = marked(api)
        if round % 5 == 4:
            file = tmp_path / f"{round}.json"
            # From a file nobody knows this server's address.
            file.write_text(json.dumps(sent).replace(f"{maker.base}/", ""))
            done = loading.load(api.store, find([file]), bury=bury)
            assert done.dead + done.created + done.updated + done.unchanged == len(sent["entry"])
        else:
            answer = api.post("", sent)
            assert answer.status_code in (200, 400, 412), answer.text
            stored += answer.status_code == 200
            refused += answer.status_code != 200
            assert answer.status_code == 200 or api.store.head() == before
            # A client may leave a fault that was there, and bring none.
            assert marked(api) <= marked_before
        told = marked(api)
        for version in api.store.changes(before):
            if version.type not in LINKS:
                continue
            check(api, version, told, waiting)
            value = version.data["identifier"][0]["value"]
            maker.here = [each for each in maker.here if each[:2] != (version.type, version.id)]
            maker.here.append((version.type, version.id, value))
    assert min(stored, refused) > ROUNDS // 10
