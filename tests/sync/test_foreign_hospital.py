"""A hospital that nobody here wrote, with defects, from its own records to the watch.

It works on its orders in its own house: no department asks another, so nothing of it is a stalled referral.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from fhir_coprod import jsontext, validate
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Query, Store, opening
from fhir_coprod.store.soundness import check
from fhir_coprod.sync import dead_letters
from fhir_coprod.sync import soundness as synced_parts
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.stage import content_hash, holdings
from fhir_coprod.watch import soundness as watched_parts
from fhir_coprod.watch import sweep
from fhir_coprod.watch.facts.reader import gather
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.assess import assess
from fhir_coprod.watch.rules.codes import Stage
from fhir_coprod.watch.rules.scope import Scope
from fhir_coprod.watch.worklist.apart import orders_apart
from tests.peers.hospital import Hospital
from tests.sync.departments import QUICK
from tests.sync.records import Json
from tests.sync.server import Ehr, serving

pytestmark = pytest.mark.timeout(240)

NOW = datetime(2026, 8, 1, tzinfo=UTC)
"""A month after the last day of its records: what can be late is late."""
POLICY = policies.load("default")
WAIT = 60
FHIR_JSON = {"content-type": "application/fhir+json"}
DEFECTS = {"missing_field", "duplicate_entry", "out_of_order_timestamp", "unknown_code_system"}
NEEDS_A_STATUS = frozenset(
    ("DiagnosticReport", "DocumentReference", "Encounter", "FamilyMemberHistory", "ServiceRequest")
)
"""The types of this hospital whose status is 1..1 in R4."""


def test_what_hapi_takes_of_it_is_here_as_it_is_there(
    store: Store, store_path: str, foreign_hospital: Hospital, hapi_url: str
) -> None:
    refused = put(hapi_url, foreign_hospital.records)
    there = {name_of(record): record for record in listed(hapi_url, foreign_hospital.records)}
    assert there.keys() | refused.keys() == {name_of(record) for record in foreign_hospital.records}
    assert not there.keys() & refused.keys()
    report = synced(store, hapi_url)
    assert report.ok
    assert sum(counts.created for counts in report.counts.values()) == len(there) > 400
    assert_same(store, there, hapi_url)
    assert_marked(store, there.values(), report)
    assert_judged(store, there, hapi_url)
    assert_sound(store_path, hapi_url)


def test_all_of_it_is_here_or_a_dead_letter_and_the_watch_claims_nothing(
    store: Store, store_path: str, foreign_hospital: Hospital
) -> None:
    """Also what HAPI refuses, since it names records that are not there. One record is cut off on its way."""
    ehr = Ehr().load(*foreign_hospital.records)
    assert foreign_hospital.defects.keys() == DEFECTS
    assert all(names <= ehr.resources.keys() for names in foreign_hospital.defects.values())
    cut = next(name for name in ehr.resources if name.startswith("CareTeam/"))
    ehr.broken[cut] = json.dumps(ehr.resources[cut]).encode()[:-20]
    there = {name: record for name, record in ehr.resources.items() if name != cut}
    with serving(ehr):
        report = synced(store, ehr.url)
        with store.connect() as connection:
            (letter,) = dead_letters.read(connection)
        assert cut.partition("/")[2].encode() in letter.body
        counts = report.counts.values()
        assert sum(each.read for each in counts) == len(foreign_hospital.records)
        assert (sum(each.created for each in counts), sum(each.dead for each in counts)) == (len(there), 1)
        assert_same(store, there, ehr.url)
        assert_marked(store, there.values(), report)
        assert_judged(store, there, ehr.url)
        assert_sound(store_path, ehr.url)


# --- the servers ----------------------------------------------------------------------------------


def name_of(record: Mapping[str, Any]) -> str:
    return f"{record['resourceType']}/{record['id']}"


def settings_of(url: str) -> Settings:
    return Settings(ehr=(EhrSettings(name="hospital", url=url, requests_per_second=1000),))


def synced(store: Store, url: str) -> EhrReport:
    (report,) = run(store, settings_of(url), politeness=QUICK)
    assert (report.error, report.unread) == ("", {})
    return report


def put(url: str, records: Iterable[Json]) -> dict[str, str]:
    """Put them on the server, what is referred to first; what it refuses, by reference, with its status."""
    refused = {}
    waiting = list(in_order(records))
    for start in range(0, len(waiting), 200):
        some = waiting[start : start + 200]
        entries = [{"resource": r, "request": {"method": "PUT", "url": name_of(r)}} for r in some]
        batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        answer = requests.post(url, json=batch, headers=FHIR_JSON, timeout=WAIT)
        assert answer.ok, answer.text[:1000]
        for record, entry in zip(some, answer.json()["entry"], strict=True):
            if not entry["response"]["status"].startswith("2"):
                refused[name_of(record)] = entry["response"]["status"]
    return refused


def in_order(records: Iterable[Json]) -> Iterator[Json]:
    """Each after those that it refers to, but for circles."""
    waiting = {name_of(record): record for record in records}

    def with_targets(name: str) -> Iterator[Json]:
        record = waiting.pop(name, None)
        if record is not None:
            for target in jsontext.from_data(record).references():
                yield from with_targets(target)
            yield record

    for name in tuple(waiting):
        yield from with_targets(name)


def listed(url: str, records: Iterable[Json]) -> Iterator[Json]:
    """What the server shows of these types, by following its own pages."""
    for type in sorted({record["resourceType"] for record in records}):
        page: str | None = f"{url}/{type}?_count=200"
        while page:
            answer = requests.get(page, headers={"cache-control": "no-cache"}, timeout=WAIT).json()
            yield from (entry["resource"] for entry in answer.get("entry", ()))
            page = next((link["url"] for link in answer["link"] if link["relation"] == "next"), None)


# --- what holds of its records here ---------------------------------------------------------------


def assert_same(store: Store, there: Mapping[str, Json], url: str) -> None:
    """Each was taken with its whole content, and our resource says the same of the same things."""
    with store.connect() as connection:
        held = {f"{one.type}/{one.foreign_id}": one for one in holdings(connection)}
    assert held.keys() == there.keys()
    ours = {name: f"{one.type}/{one.id}" for name, one in held.items()}
    shared: dict[str, set[str]] = {}
    for name, our in ours.items():
        shared.setdefault(our, set()).add(name)
    for name, record in there.items():
        assert held[name].hash == content_hash(jsontext.from_data(record)), name
        type, _, id = ours[name].partition("/")
        found = said(store.read(type, id).data, {}, url)
        if len(shared[ours[name]]) > 1:  # a patient sent twice is one, and links to both records
            assert {link["other"]["reference"] for link in found.pop("link")} == shared[ours[name]]
        assert found == said(record, ours, url), name


def said(record: Any, ours: Mapping[str, str], url: str) -> Any:
    """The content without id and meta, every reference by our name where there is one, else by its EHR's."""
    content = {key: value for key, value in record.items() if key not in ("id", "meta")}
    return _named(content, ours, f"{url}/")


def _named(value: Any, ours: Mapping[str, str], base: str) -> Any:
    if isinstance(value, dict):
        return {key: _named(each, ours, base) for key, each in value.items()}
    if isinstance(value, list):
        return [_named(each, ours, base) for each in value]
    return ours.get(value, value.removeprefix(base)) if isinstance(value, str) else value


def assert_marked(store: Store, records: Iterable[Json], report: EhrReport) -> None:
    """`quality` lists each that breaks a rule, and with them all that lack the status that R4 asks for."""
    bare: Counter[str] = Counter()
    invalid: Counter[str] = Counter()
    for record in records:
        type = record["resourceType"]
        invalid[type] += not validate(record)
        bare[type] += "status" not in record and type in NEEDS_A_STATUS
    faults = [(fault.ehr, fault.type, fault.element, fault.resources) for fault in store.faults()]
    wanted = {("hospital", type, f"{type}.status", number) for type, number in bare.items() if number}
    assert wanted
    assert wanted <= set(faults)
    assert Counter({type: counts.not_valid for type, counts in report.counts.items()}) == invalid
    for type, number in invalid.items():
        query = Query.parse(type, [("quality", "not-valid"), ("_total", "accurate")], strict=True)
        assert store.search(query).total == number, type


def assert_sound(store_path: str, url: str) -> None:
    """`db check` takes nothing in records of others for damage."""
    more = (*synced_parts.parts(settings_of(url)), watched_parts.Standings())
    assert check.damage(opening.connect(store_path), more=more) == []


def assert_judged(store: Store, there: Mapping[str, Json], url: str) -> None:
    """The watch judges every order, takes none for a referral, and raises, asks and tells nothing."""
    site = settings_of(url)
    assert sweep(store, POLICY, NOW, site) == []
    for kind in ("DetectedIssue", "Communication", "Task"):
        assert store.search(Query.parse(kind, [])).matches == []
    with store.connect() as connection:
        orders = [one.id for one in holdings(connection) if one.type == "ServiceRequest"]
    assert len(orders) == sum(record["resourceType"] == "ServiceRequest" for record in there.values()) > 50
    standings = [assess(gather(store, id), POLICY, NOW) for id in orders]
    assert {standing.scope for standing in standings} == {Scope.OUT, Scope.DIAGNOSTIC}
    assert [standing for standing in standings if standing.stalls or standing.not_assessed] == []
    going = [standing for standing in standings if standing.stage is not Stage.CLOSED]
    assert sum(group.orders for group in orders_apart(store, site, NOW)) == len(going) > 0
