"""What clients and files write, in any way, is valid as it is stored, leads somewhere, and is found by it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_coprod import jsontext
from fhir_coprod.files.finding import find
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Transaction, Version, loading, taking
from tests.api.conftest import Api
from tests.api.written import (
    BASE,
    LINKS,
    SYSTEM,
    Here,
    Maker,
    check,
    fhirpath_patch,
    fresh,
    operations,
    value_of,
)

ROUNDS = 100 if os.environ.get("PROOF_SIZE") == "ci" else 3000
WAYS = ("transaction", "transaction", "transaction", "batch", "load", "alone")


class Story:
    """A few sendings one after another, each judged by what it stored."""

    def __init__(self, api: Api, draw: Any, folder: Path) -> None:
        self.api = api
        self.maker = Maker(draw)
        self.folder = folder
        self.waiting: set[str] = set()
        self.marked: set[str] = set()
        """What is kept although something is wrong in it."""
        self.done: Counter[str] = Counter()

    def send(self) -> None:
        before = self.api.store.head()
        way = self.maker.one(WAYS)
        if way == "load":
            self.load(self.maker.bundle("transaction"))
        elif way == "alone":
            self.alone()
        else:
            self.post(self.maker.bundle(way), before)
        if way == "batch":
            self.maker.planned = []  # the entries of a batch do not name each other
        self.judge(before, may_mark=way == "load")

    def post(self, bundle: Json, before: int) -> None:
        answer = self.api.post("", bundle)
        allowed = (200, 400, 412, 422) if bundle["type"] == "transaction" else (200,)
        assert answer.status_code in allowed, answer.text
        self.done[f"{bundle['type']} {answer.status_code}"] += 1
        if answer.status_code != 200:
            assert self.api.store.head() == before
            return
        for each in answer.json()["entry"]:
            assert int(each["response"]["status"][:3]) in (200, 201, 400, 404, 409, 412, 422), each

    def load(self, bundle: Json) -> None:
        file = self.folder / f"{fresh()}.json"
        # From a file nobody knows this server's address.
        file.write_text(json.dumps(bundle).replace(f"{BASE}/", ""))
        done = loading.load(self.api.store, find([file]), bury=self.bury)
        assert done.dead + done.created + done.updated + done.unchanged == len(bundle["entry"])
        self.done["load"] += 1

    def bury(self, _: Transaction, file: str, dead: Sequence[taking.Dead], afresh: bool) -> None:
        letters = [jsontext.parse(each.raw) for each in dead]
        self.waiting.update(f"{letter.type}/{taking.id_of(letter)}" for letter in letters)

    def alone(self) -> None:
        """One interaction, outside a Bundle."""
        patients = [each for each in self.maker.here if each.type == "Patient"]
        planned = self.maker.plan(1)[0]
        self.maker.planned = []  # there is nothing else that it could name
        way = self.maker.one(("POST", "If-None-Exist", "PUT", "PUT?", "JSON Patch", "FHIRPath Patch"))
        if way.endswith("Patch") and patients:
            answer = self.patch(way, self.maker.one(patients))
        else:
            resource, criteria = self.maker.resource(planned), f"identifier={SYSTEM}|{planned.value}"
            if way == "PUT":
                resource["id"] = planned.value
                answer = self.api.put(f"{planned.type}/{planned.value}", resource)
            elif way == "PUT?":
                answer = self.api.put(f"{planned.type}?{criteria}", resource)
            elif way == "If-None-Exist":
                answer = self.api.post(planned.type, resource, if_none_exist=criteria)
            else:
                answer = self.api.post(planned.type, resource)
        assert answer.status_code in (200, 201, 400, 412, 422), answer.text
        self.done[f"{way} {answer.status_code}"] += 1

    def patch(self, way: str, patient: Here) -> Any:
        reference = self.maker._reference("Practitioner", {})
        place = self.maker.one((patient.name, f"Patient?identifier={SYSTEM}|{patient.value}"))
        if way == "JSON Patch":
            return self.api.patch(place, operations(reference))
        body = jsontext.encode(fhirpath_patch(reference))
        return self.api.patch(place, body, content_type="application/fhir+json")

    def judge(self, before: int, *, may_mark: bool) -> None:
        # The entries of a batch may change one resource twice: the search knows the newest version.
        changes = [each for each in self.api.store.changes(before) if each.type in LINKS]
        versions = list({(each.type, each.id): each for each in changes}.values())
        for version in versions:
            name = f"{version.type}/{version.id}"
            here = [each for each in self.maker.here if each.name != name]
            self.maker.here = [*here, Here(version.type, version.id, value_of(version.data))]
        marked = self.api.store.write(lambda transaction: _marked(transaction, versions))
        # A client may leave a fault that was there, and bring none.
        assert may_mark or marked <= self.marked
        written = {f"{each.type}/{each.id}" for each in versions}
        self.marked = (self.marked - written) | marked
        for version in versions:
            told = f"{version.type}/{version.id}" in marked
            check(self.api, version, self.maker, told=told, waiting=self.waiting)


def _marked(transaction: Transaction, versions: Sequence[Version]) -> set[str]:
    return {f"{each.type}/{each.id}" for each in versions if transaction.marks(each.type, each.id)}


def tell(api: Api, folder: Path, rounds: int) -> Counter[str]:
    """Tell stories, and count what was answered in them."""
    done: Counter[str] = Counter()

    @settings(
        max_examples=rounds,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=rounds < ROUNDS,
    )
    @given(st.data())
    def told(data: st.DataObject) -> None:
        story = Story(api, data.draw, folder)
        for _ in range(data.draw(st.integers(1, 4))):
            story.send()
        done.update(story.done)

    told()
    return done


def test_what_is_stored_is_valid_leads_somewhere_and_is_found(api: Api, tmp_path: Path) -> None:
    assert tell(api, tmp_path, 8)


@pytest.mark.proof
@pytest.mark.timeout(7200)
def test_what_is_stored_is_so_in_thousands_of_stories(api: Api, tmp_path: Path) -> None:
    done = tell(api, tmp_path, ROUNDS)
    for each in ("transaction 200", "transaction 400", "batch 200", "load"):
        assert done[each] > ROUNDS // 50, done
