"""Others export from us: smart-fetch, and our own sync, which was written for the servers of others."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from fhir_coprod.settings import EhrSettings, Settings, StoreSettings, SyncSettings
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.report import EhrReport
from tests.api.server import serving
from tests.peers import registry, smart_fetch
from tests.peers.fixtures import NewStore
from tests.sync.exporting import QUICK, alive, left_behind
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Json

TYPES = ("Organization", "Patient", "ServiceRequest", "Task")
PATIENTS = 5


def put(url: str, resource: Json) -> None:
    address = f"{url}/{resource['resourceType']}/{resource['id']}"
    headers = {"Content-Type": "application/fhir+json"}
    httpx.put(address, json=resource, headers=headers, timeout=60).raise_for_status()


def fill(url: str) -> None:
    put(url, organization("care", "GP"))
    for n in range(PATIENTS):
        put(url, patient(f"p{n}", f"{n}"))
        put(url, referral(f"s{n}", f"Patient/p{n}", f"R{n}"))
        put(url, task(f"t{n}", f"Patient/p{n}", f"ServiceRequest/s{n}"))


def group(url: str, *patients: str) -> None:
    member = [{"entity": {"reference": f"Patient/{id}"}} for id in patients]
    put(url, {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": member})


def synced(store: Store, path: str, url: str, *, full: bool = False, **more: object) -> EhrReport:
    own = {"types": TYPES, "bulk": "always", "bulk_every_hours": 0, "requests_per_second": 1000, **more}
    settings = Settings(
        store=StoreSettings(url=path),
        sync=SyncSettings(bulk_wait_minutes=600),
        ehr=(EhrSettings(name="care", url=url, **own),),  # type: ignore[arg-type]
    )
    plan = check(settings.ehr[0])
    assert plan.exports is not None
    [report] = run(store, settings, full=full, politeness=QUICK)
    assert report.ok, report.to_json()
    return report


class TestOurOwnSync:
    def test_takes_everything_then_changes_and_deletions(
        self, store_url: str, new_store: NewStore, tmp_path: Path
    ) -> None:
        environment = {"COPROD_EXPORT__FOLDER": str(tmp_path / "bulk"), "COPROD_EXPORT__SPARE_BYTES": "0"}
        with (
            serving(store_url, **environment) as served,
            new_store("sqlite") as path,
            Store.open(path) as own,
        ):
            url = served.url
            fill(url)
            counts = synced(own, path, url).counts
            assert {type: each.created for type, each in counts.items()} == {
                "Organization": 1,
                "Patient": PATIENTS,
                "ServiceRequest": PATIENTS,
                "Task": PATIENTS,
            }
            assert not left_behind(own, path)
            put(url, task("t1", "Patient/p1", "ServiceRequest/s1", "accepted"))
            httpx.delete(f"{url}/Task/t2", timeout=60).raise_for_status()
            counts = synced(own, path, url, overlap_seconds=0).counts
            assert (counts["Task"].updated, counts["Task"].deleted) == (1, 1)
            assert "t2" not in alive(own, "Task")
            assert not [file for file in (tmp_path / "bulk").rglob("*") if file.is_file()], (
                "DELETE at the end"
            )

    def test_takes_who_joins_a_group_whole(self, store_url: str, new_store: NewStore, tmp_path: Path) -> None:
        environment = {"COPROD_EXPORT__FOLDER": str(tmp_path / "bulk"), "COPROD_EXPORT__SPARE_BYTES": "0"}
        of_group = {"group": "g", "types": ("Patient", "ServiceRequest")}
        with (
            serving(store_url, **environment) as served,
            new_store("sqlite") as path,
            Store.open(path) as own,
        ):
            fill(served.url)
            group(served.url, "p0", "p1")
            synced(own, path, served.url, **of_group)
            assert alive(own, "ServiceRequest") == {"s0", "s1"}
            group(served.url, "p0", "p2")
            report = synced(own, path, served.url, overlap_seconds=0, **of_group)
            assert alive(own, "ServiceRequest") == {"s0", "s1", "s2"}
            assert report.unread["ServiceRequest"] == {"Patient/p1": "is not in Group/g any more"}


def test_smart_fetch_gets_all_records_as_they_are(store_url: str, tmp_path: Path) -> None:
    registry.require(smart_fetch.PEER)
    environment = {"COPROD_EXPORT__FOLDER": str(tmp_path / "bulk"), "COPROD_EXPORT__SPARE_BYTES": "0"}
    with serving(store_url, **environment) as served:
        fill(served.url)
        httpx.delete(f"{served.url}/Task/t2", timeout=60).raise_for_status()
        for since in ((), ("--since", "2020-01-01T00:00:00Z")):
            folder = tmp_path / f"fetched{len(since)}"
            wanted = ("--fhir-url", served.url, "--type", "Patient,ServiceRequest", "--no-default-filters")
            command = (str(smart_fetch.PROGRAM), "bulk", *wanted, *since, str(folder))
            done = subprocess.run(
                command, capture_output=True, check=False, timeout=120, env=os.environ, cwd=tmp_path
            )
            assert done.returncode == 0, done.stdout + done.stderr
            records = [
                json.loads(line)
                for file in folder.rglob("*.ndjson.gz")
                if file.name.startswith(("Patient", "ServiceRequest"))
                for line in gzip.decompress(file.read_bytes()).splitlines()
            ]
            assert len(records) == 2 * PATIENTS
            for record in records:
                read = httpx.get(f"{served.url}/{record['resourceType']}/{record['id']}", timeout=60)
                assert record == read.json()


def test_a_server_that_is_killed_goes_on_when_it_is_started_again(store_url: str, tmp_path: Path) -> None:
    environment = {"COPROD_EXPORT__FOLDER": str(tmp_path / "bulk"), "COPROD_EXPORT__SPARE_BYTES": "0"}
    lines = b"".join(
        json.dumps(
            {**patient(f"p{n}", f"{n}"), "text": None} | {"text": {"status": "empty", "div": _DIV}}
        ).encode()
        + b"\n"
        for n in range(3_000)
    )
    with serving(store_url, stops=False, **environment) as served:
        headers = {"Content-Type": "application/fhir+ndjson"}
        answer = httpx.post(f"{served.url}/$import", content=lines, headers=headers, timeout=60)
        place = answer.headers["content-location"].removeprefix(served.url)
        os.killpg(served.process.pid, 9)
        served.process.wait(20)
    with serving(store_url, **environment) as served:
        manifest = _done(f"{served.url}{place}")
        [counts] = manifest["extension"].values()
        assert sum(counts[name] for name in ("created", "unchanged", "skipped")) == 3_000
        found = httpx.get(f"{served.url}/Patient?_summary=count", timeout=60).json()
        assert found["total"] == 3_000


_DIV = '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'


def _done(url: str) -> Json:
    import time

    for _ in range(600):
        answer = httpx.get(url, timeout=60)
        if answer.status_code != 202:
            assert answer.status_code == 200, answer.text
            found: Json = answer.json()
            return found
        time.sleep(0.05)
    raise AssertionError("not done")


def test_the_statement_offers_it(store_url: str) -> None:
    with serving(store_url) as served:
        rest = httpx.get(f"{served.url}/metadata", timeout=60).json()["rest"][0]
        offered = {each["name"]: each["definition"] for each in rest["operation"]}
        base = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
        assert offered["export"] == f"{base}/export"
        assert "import" in offered
        for type in ("Patient", "Group"):
            [own] = [each for each in rest["resource"] if each["type"] == type]
            assert {"name": "export", "definition": f"{base}/{type.lower()}-export"} in own["operation"]


pytestmark = pytest.mark.long
