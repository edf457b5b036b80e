"""A client of exports, and what tests of them share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx

from fhir_coprod.jsontext import Json
from tests.api.conftest import Api, outcome

LATER = {"Prefer": "respond-async"}


class Export:
    """One export, from its kick-off on."""

    def __init__(self, api: Api, answer: httpx.Response) -> None:
        assert answer.status_code == 202, answer.text
        assert outcome(answer)["severity"] == "information"
        self.api = api
        self.place = answer.headers["content-location"]

    def wait(self) -> httpx.Response:
        """The answer when it is done."""
        for _ in range(4000):
            answer = self.api.get(self.place, Accept="application/json")
            if answer.status_code != 202:
                return answer
            assert len(answer.headers["x-progress"]) < 100
            assert answer.headers["retry-after"].isdecimal()
            self.api._runner.run(asyncio.sleep(0.005))
        raise AssertionError("the export is not done")

    def manifest(self) -> Json:
        answer = self.wait()
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        found: Json = answer.json()
        return found

    def files(self, kind: str = "output") -> list[tuple[str, Json]]:
        """Type of the file and record, of all lines of all files of a kind."""
        found = []
        for file in self.manifest()[kind]:
            answer = self.api.get(file["url"], Accept="application/fhir+ndjson")
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "application/fhir+ndjson"
            lines = answer.text.split("\n")
            assert lines.pop() == ""
            assert len(lines) == file["count"]
            found += [(file["type"], json.loads(line)) for line in lines]
        return found

    def records(self) -> dict[str, Json]:
        """The exported resources; each is there once, and in a file of its type."""
        found: dict[str, Json] = {}
        for type, record in self.files():
            name = f"{record['resourceType']}/{record['id']}"
            assert type == record["resourceType"]
            assert name not in found, f"{name} is exported twice"
            found[name] = record
        return found

    def deleted(self) -> set[str]:
        found = set()
        for type, bundle in self.files("deleted"):
            assert (type, bundle["resourceType"], bundle["type"]) == ("Bundle", "Bundle", "transaction")
            for entry in bundle["entry"]:
                assert entry["request"]["method"] == "DELETE"
                found.add(entry["request"]["url"])
        return found

    def told(self) -> list[str]:
        return [issue["diagnostics"] for _, each in self.files("error") for issue in each["issue"]]


def export(api: Api, path: str = "$export", **headers: str) -> Export:
    return Export(api, api.get(path, **{**LATER, **headers}))


def export_by_post(api: Api, path: str, *parameters: Mapping[str, Any], **headers: str) -> Export:
    body = {"resourceType": "Parameters", "parameter": list(parameters)}
    return Export(api, api.post(path, body, **{**LATER, **headers}))
