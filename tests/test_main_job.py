"""The main job, end to end, against servers that are not ours: HAPI FHIR and the Medplum router.

Three departments' records stand on real servers, `fhir-coprod sync` brings them in, `watch` finds what is
stalled, and anybody reads the alerts at our endpoint. Then something happens at a department.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from fhir_coprod import validate
from fhir_coprod.definitions import PROFILE
from fhir_coprod.demo.hospital import ORDER, PERSON, departments
from fhir_coprod.store import Store
from fhir_coprod.sync.staging.stage import holdings
from tests import programs

Json = dict[str, Any]
FHIR_JSON = {"content-type": "application/fhir+json"}
WAIT = 60

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


class Department:
    """One department's EHR: a third-party server, and what stands on it."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self._http = requests.Session()

    def put(self, resource: Json) -> None:
        answer = self._http.put(
            f"{self.url}/{resource['resourceType']}/{resource['id']}",
            json=resource,
            headers=FHIR_JSON,
            timeout=WAIT,
        )
        assert answer.ok, answer.text

    def fill(self, resources: list[Json]) -> None:
        """All in one transaction where the server checks references, one by one where it need not."""
        if "/fhir/P" not in self.url:
            for resource in resources:
                self.put(resource)
            return
        entries = [
            {"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}}
            for r in resources
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = self._http.post(self.url, json=bundle, headers=FHIR_JSON, timeout=WAIT)
        assert answer.ok, answer.text[:2000]

    def read(self, reference: str) -> Json:
        answer: Json = self._http.get(f"{self.url}/{reference}", timeout=WAIT).json()
        return answer

    def ids(self, type: str) -> set[str]:
        """Every id of the type on the server, by following its own pages."""
        found: set[str] = set()
        url: str | None = f"{self.url}/{type}?_count=50"
        while url:
            page = self._http.get(url, headers={"cache-control": "no-cache"}, timeout=WAIT).json()
            found |= {entry["resource"]["id"] for entry in page.get("entry", ())}
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
        return found

    def close(self) -> None:
        self._http.close()


class Layer:
    """Our side: the command line as a person uses it, and the endpoint in a process of its own."""

    def __init__(self, folder: Path, ehrs: list[Department]) -> None:
        self.folder = folder
        self.store_url = f"sqlite:///{folder / 'coprod.db'}"
        lines = [
            f'[store]\nurl = "{self.store_url}"',
            '[site]\ntimezone = "Europe/Stockholm"\ncountry = "SE"',
            '[watch]\npolicy = "se-vardgaranti"',
        ]
        lines += [
            f'[[ehr]]\nname = "{ehr.name}"\nurl = "{ehr.url}"\nrequests_per_second = 1000\n'
            f'department = "Organization/{ehr.name[:2]}-org-{ehr.name}"'
            for ehr in ehrs
        ]
        (folder / "coprod.toml").write_text("\n".join(lines))

    def command(self, *arguments: str, exit_code: int = 0) -> Any:
        """Run `fhir-coprod ARGUMENTS --json`; what it printed."""
        done = programs.run(
            *("fhir_coprod", *arguments, "--json"), cwd=self.folder, env=self.environment(), timeout=120
        )
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        assert done.returncode == exit_code, f"{arguments}: exit {done.returncode}\n{done.stderr[-3000:]}"
        assert done.stdout, f"{arguments}: {done.stderr[-3000:]}"
        return json.loads(done.stdout)

    @staticmethod
    def environment() -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith("COPROD_")}

    def sync(self, *arguments: str, exit_code: int = 0) -> dict[str, Json]:
        """Run a sync; its report by EHR."""
        return {report["ehr"]: report for report in self.command("sync", *arguments, exit_code=exit_code)}

    def stalls(self) -> dict[str, set[str]]:
        """Run the watch; the rules that each stalled referral breaks, by its order number."""
        found: dict[str, set[str]] = {}
        for standing in self.command("watch"):
            rules = {stall["rule"] for stall in standing["stalls"]}
            found.setdefault(self.order_number(standing["referral"]), set()).update(rules)
        return found

    def order_number(self, referral: str) -> str:
        type, _, id = referral.partition("/")
        with Store.open(self.store_url) as store:
            identifiers = store.read(type, id).data["identifier"]
        return next(str(i["value"]) for i in identifiers if i["system"] == ORDER)


class Hospital:
    """The demo's three departments on HAPI (twice) and Medplum, and a layer that has synced them once."""

    def __init__(self, folder: Path, new_hapi: Callable[[], str], new_medplum: Callable[[], str]) -> None:
        records = departments(datetime.now(UTC))
        self.ehrs = {
            "primary-care": Department("primary-care", new_hapi()),
            "orthopaedics": Department("orthopaedics", new_hapi()),
            "imaging": Department("imaging", new_medplum()),
        }
        for name, ehr in self.ehrs.items():
            ehr.fill(records[name])
        self.layer = Layer(folder, list(self.ehrs.values()))
        self.first_sync = self.layer.sync()

    def close(self) -> None:
        for ehr in self.ehrs.values():
            ehr.close()


@pytest.fixture(scope="module")
def hospital(
    new_hapi: Callable[[], str], new_medplum: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hospital]:
    """A hospital that tests look at and leave as it is."""
    made = Hospital(tmp_path_factory.mktemp("hospital"), new_hapi, new_medplum)
    yield made
    made.close()


@pytest.fixture
def own_hospital(
    new_hapi: Callable[[], str], new_medplum: Callable[[], str], tmp_path: Path
) -> Iterator[Hospital]:
    """A hospital in which the test may act."""
    made = Hospital(tmp_path, new_hapi, new_medplum)
    yield made
    made.close()


@contextmanager
def endpoint_of(layer: Layer) -> Iterator[str]:
    """Base URL of our endpoint, a process on the layer's store."""
    process = programs.start(
        *("fhir_coprod", "serve", "--port", "0", "--no-jobs"),
        stdout=programs.PIPE,
        stderr=programs.DEVNULL,
        cwd=layer.folder,
        env=layer.environment(),
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "listening on " in line, line
        yield line.split("listening on ")[1].split()[0]
    finally:
        process.terminate()
        process.wait(20)
        process.close()


def alerts(endpoint: str, rule: str, referral: str) -> list[Json]:
    """The DetectedIssues of that rule about that referral, as anybody reads them."""
    found = []
    url: str | None = f"{endpoint}/DetectedIssue?implicated={referral}"
    while url:
        page = requests.get(url, timeout=WAIT).json()
        found += [entry["resource"] for entry in page.get("entry", ())]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    return [issue for issue in found if issue["code"]["coding"][0]["code"] == rule]


def one(endpoint: str, type: str, identifier: str) -> Json:
    """The one resource of that business identifier at our endpoint."""
    page = requests.get(f"{endpoint}/{type}", params={"identifier": identifier}, timeout=WAIT).json()
    assert len(page.get("entry", ())) == 1, page
    resource: Json = page["entry"][0]["resource"]
    return resource


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def test_counts_here_are_the_counts_there(hospital: Hospital) -> None:
    layer, ehrs, reports = hospital.layer, hospital.ehrs, hospital.first_sync
    assert all(report["ok"] for report in reports.values())
    with Store.open(layer.store_url) as store, store.connect() as connection:
        held = holdings(connection)
        people = [version.data for version in store.changes(0, 10_000) if version.type == "Patient"]
    assert layer.command("dead-letters", "list") == []
    faults = layer.command("quality")
    assert {(one["ehr"], one["type"], one["resources"]) for one in faults} == {
        ("imaging", "DiagnosticReport", 1)
    }
    for name, ehr in ehrs.items():
        for type, counts in reports[name]["types"].items():
            there = ehr.ids(type)
            here = {holding.foreign_id for holding in held if (holding.ehr, holding.type) == (name, type)}
            assert here == there, f"{name} {type}"
            assert (counts["read"], counts["created"]) == (len(there), len(here)), f"{name} {type}: {counts}"

    records = Counter(holding.id for holding in held if holding.type == "Patient")
    merged = {id: number for id, number in records.items() if number > 1}
    assert Counter(merged.values()) == {2: 9, 3: 2}, "Carin and Karin are known to three departments"
    assert len(records) == 13, "twelve people, and one who is possibly Lars"
    assert {data["id"] for data in people} == set(records)
    lars = [data for data in people if any(i.get("value") == "demo-lars" for i in data["identifier"])]
    assert len({data["id"] for data in lars}) == 2, "another name and birth date: stays two"


def test_second_run_changes_nothing(hospital: Hospital) -> None:
    layer = hospital.layer
    with Store.open(layer.store_url) as store:
        head = store.head()
    for arguments in ((), ("--full",)):
        reports = layer.sync(*arguments)
        for name, report in reports.items():
            for type, counts in report["types"].items():
                changed = {key: counts[key] for key in ("created", "updated", "deleted") if counts[key]}
                assert not changed, f"{name} {type} {arguments}"
        with Store.open(layer.store_url) as store:
            assert store.head() == head, f"a run {arguments} wrote versions"


def test_alert_appears_and_resolves_when_the_department_acts(own_hospital: Hospital) -> None:
    with endpoint_of(own_hospital.layer) as endpoint:
        _alert_appears_and_resolves(own_hospital.layer, own_hospital.ehrs, endpoint)


def _alert_appears_and_resolves(layer: Layer, ehrs: dict[str, Department], endpoint: str) -> None:
    stalled = layer.stalls()
    assert "unacknowledged" in stalled["1002"], "Bertil's referral lies unopened on HAPI"
    assert "results-missing" in stalled["2002"], "David's scan has no report on Medplum"

    bertil = one(endpoint, "ServiceRequest", f"{ORDER}|1002")
    david = one(endpoint, "ServiceRequest", f"{ORDER}|2002")
    for referral, rule in ((bertil, "unacknowledged"), (david, "results-missing")):
        (alert,) = alerts(endpoint, rule, f"ServiceRequest/{referral['id']}")
        read = requests.get(f"{endpoint}/DetectedIssue/{alert['id']}", timeout=WAIT)
        outcome = validate(read.content, profile=f"{PROFILE}stalled-referral")
        assert outcome, str(outcome)
        assert alert["status"] == "preliminary"
        assert alert["patient"] == referral["subject"] or alert["patient"]["reference"].startswith("Patient/")

    # The departments act: orthopaedics' acceptance is written down at primary care, imaging reports.
    task = ehrs["primary-care"].read("Task/pr-task-1002")
    ehrs["primary-care"].put({**task, "status": "accepted", "lastModified": now()})
    ehrs["imaging"].put(
        {
            "resourceType": "DiagnosticReport",
            "id": "im-report-2002",
            "status": "final",
            "basedOn": [{"reference": "ServiceRequest/im-order-2002"}],
            "code": {"text": "Magnetic resonance imaging of lumbar spine"},
            "subject": {"reference": "Patient/im-david"},
            "performer": [{"reference": "Organization/im-org-imaging"}],
            "issued": now(),
        }
    )
    reports = layer.sync()
    assert reports["primary-care"]["types"]["Task"]["updated"] == 1
    assert reports["imaging"]["types"]["DiagnosticReport"]["created"] == 1
    assert one(endpoint, "Task", "https://fhir-coprod.org/demo/task|1002")["status"] == "accepted"

    stalled = layer.stalls()
    assert "unacknowledged" not in stalled.get("1002", set())
    assert "results-missing" not in stalled.get("2002", set())
    for referral, rule in ((bertil, "unacknowledged"), (david, "results-missing")):
        (alert,) = alerts(endpoint, rule, f"ServiceRequest/{referral['id']}")
        assert alert["status"] == "final"
        assert alert["mitigation"]
        assert validate(json.dumps(alert), profile=f"{PROFILE}stalled-referral")

    layer.command("watch")
    again = alerts(endpoint, "unacknowledged", f"ServiceRequest/{bertil['id']}")
    assert [issue["status"] for issue in again] == ["final"], "a resolved alert is written once"


def test_person_of_several_departments_is_one_at_the_endpoint(hospital: Hospital) -> None:
    with endpoint_of(hospital.layer) as endpoint:
        karin = one(endpoint, "Patient", f"{PERSON}|demo-karin")
        subject = {"subject": f"Patient/{karin['id']}"}
        bundle = requests.get(f"{endpoint}/ServiceRequest", params=subject, timeout=WAIT).json()
    identifiers = [i for entry in bundle["entry"] for i in entry["resource"]["identifier"]]
    assert {i["value"] for i in identifiers if i["system"] == ORDER} == {"2006", "3004"}
