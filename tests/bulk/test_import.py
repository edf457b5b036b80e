"""`$import`: lines of NDJSON become resources, what cannot be stored is told by its line."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_coprod.api.interactions.imports import COUNTS
from tests.api.conftest import Api, outcome, patient
from tests.bulk.conftest import Make
from tests.bulk.test_export import observation

NDJSON = "application/fhir+ndjson"


def lines(*resources: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in resources)


def send(api: Api, body: bytes, **headers: str) -> httpx.Response:
    given = {"content-type": NDJSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return api.request("POST", "$import", content=body, headers=given)


def done(api: Api, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    place = answer.headers["content-location"]
    for _ in range(4000):
        answer = api.get(place)
        if answer.status_code != 202:
            assert answer.status_code == 200, answer.text
            return {"place": place, **answer.json()}
        assert len(answer.headers["x-progress"]) < 100
        api._runner.run(asyncio.sleep(0.005))
    raise AssertionError("not done")


def counts(manifest: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in manifest["extension"][COUNTS].items() if count}


def wrongs(api: Api, manifest: dict[str, Any]) -> list[str]:
    found = []
    for file in manifest["error"]:
        answer = api.get(file["url"])
        assert answer.headers["content-type"] == NDJSON
        for line in answer.text.splitlines():
            each = json.loads(line)
            assert each["resourceType"] == "OperationOutcome"
            found.append(each["issue"][0]["diagnostics"])
    return found


def test_lines_of_several_types_are_stored_and_a_repeat_changes_nothing(api: Api) -> None:
    body = lines(observation("o", "a"), patient(id="a"), patient())
    assert counts(done(api, send(api, body))) == {"created": 3}
    assert api.get("Observation/o").status_code == 200
    assert counts(done(api, send(api, body))) == {"unchanged": 3}
    changed = lines(patient(id="a", gender="female"))
    assert counts(done(api, send(api, changed))) == {"updated": 1}


def test_what_cannot_be_stored_is_told_by_its_line_and_stops_nothing(api: Api) -> None:
    body = lines(patient(id="a"), {"resourceType": "Unicorn"}) + b"{nonsense\n\n" + lines(patient(id="b"))
    manifest = done(api, send(api, body))
    assert counts(manifest) == {"created": 2, "failed": 2}
    told = wrongs(api, manifest)
    assert [each.partition(":")[0] for each in told] == ["Line 2", "Line 3"]
    assert not any("/" + "bulk" in each for each in told)


def test_what_breaks_a_rule_is_kept_and_counted(api: Api) -> None:
    manifest = done(api, send(api, lines({**patient(id="a"), "gender": "purple"})))
    assert counts(manifest) == {"created": 1, "notValid": 1}


def test_comes_packed(api: Api) -> None:
    manifest = done(api, send(api, gzip.compress(lines(patient(id="a"))), content_encoding="gzip"))
    assert counts(manifest) == {"created": 1}


def test_a_body_that_is_longer_than_others_may_be(make_api: Make) -> None:
    from fhir_coprod.settings import LimitSettings

    api = make_api(limits=LimitSettings(body_bytes=1000))
    body = lines(*(patient(id=f"p{n}") for n in range(100)))
    assert len(body) > 1000
    assert counts(done(api, send(api, body))) == {"created": 100}


def test_a_limit_of_its_own(make_api: Make, tmp_path: Path) -> None:
    api = make_api({"import_bytes": 100})
    refused = send(api, lines(*(patient(id=f"p{n}") for n in range(10))))
    assert refused.status_code == 413
    assert not list((tmp_path / "bulk").glob("*/*"))
    assert counts(done(api, send(api, b'{"resourceType":"Basic","id":"b","code":{"text":"x"}}'))) == {
        "created": 1
    }


@pytest.mark.parametrize("kind", ["application/fhir+json", "text/csv", ""])
def test_another_format_is_refused(api: Api, kind: str) -> None:
    answer = send(api, b"{}", content_type=kind)
    assert answer.status_code == 415
    assert "not fetched" in outcome(answer)["diagnostics"]


def test_an_empty_body_is_an_import_of_nothing(api: Api) -> None:
    assert counts(done(api, send(api, b""))) == {}


def test_not_in_a_bundle(api: Api) -> None:
    entry = {"request": {"method": "POST", "url": "$import"}, "resource": patient()}
    answer = api.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]}).json()
    assert answer["entry"][0]["response"]["status"].startswith("400")


def test_delete_forgets_it_and_its_files(api: Api, tmp_path: Path) -> None:
    manifest = done(api, send(api, lines({"resourceType": "Unicorn"}, patient(id="a"))))
    assert list((tmp_path / "bulk").rglob("*.ndjson"))
    assert api.delete(manifest["place"]).status_code == 202
    assert not list((tmp_path / "bulk").rglob("*.ndjson"))
    assert api.get(manifest["place"]).status_code == 404
    assert api.get(manifest["error"][0]["url"]).status_code == 404
    assert api.get("Patient/a").status_code == 200


def test_a_disk_without_room_is_told(make_api: Make, tmp_path: Path) -> None:
    api = make_api({"spare_bytes": 10**18})
    answer = send(api, lines(patient(id="a")))
    assert answer.status_code == 503
    assert outcome(answer)["code"] == "no-store"
    assert not list((tmp_path / "bulk").glob("*/*"))


def test_what_a_put_is_refused_is_refused_here(api: Api) -> None:
    referral = {
        "resourceType": "ServiceRequest",
        "id": "s",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/a"},
        "performer": [{"reference": "Organization/x"}],
    }
    task = {
        "resourceType": "Task",
        "id": "t",
        "status": "requested",
        "intent": "order",
        "focus": {"reference": "ServiceRequest/s"},
        "for": {"reference": "Patient/a"},
        "owner": {"reference": "Organization/x"},
    }
    organization = {"resourceType": "Organization", "id": "x", "name": "X"}
    assert counts(done(api, send(api, lines(organization, patient(id="a"), referral, task)))) == {
        "created": 4
    }
    completed = {**task, "status": "completed"}
    refused = api.put("Task/t", completed)
    assert refused.status_code == 422
    manifest = done(api, send(api, lines(completed)))
    assert counts(manifest) == {"failed": 1}
    assert wrongs(api, manifest) == [f"Line 1: {outcome(refused)['diagnostics']}"]
    assert api.get("Task/t").json()["status"] == "requested"


def test_our_own_definitions_are_not_replaced(api: Api) -> None:
    from fhir_coprod import definitions

    own = definitions.own_resources("CodeSystem")[0]
    manifest = done(api, send(api, lines({**own, "status": "retired"})))
    assert counts(manifest) == {"failed": 1}
    assert "read-only" in wrongs(api, manifest)[0]
