"""Each vendor's server by its own statement, and with what contradicts it: the store ends as with an honest
one, or the fault is told and nothing is claimed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.sync.ehr.sending import Politeness
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.feed import feeds
from tests.peers.fixtures import NewStore
from tests.sync.scripted import hospitals, servers
from tests.sync.scripted.contradictions import ALL, Contradiction, entries
from tests.sync.scripted.ehr import Ask, Reply, ScriptedEhr
from tests.sync.scripted.records import drawn
from tests.sync.scripted.scripts import SCRIPTS
from tests.sync.scripted.syncing import PATIENTS, Picture, life_goes_on, picture, settings_of
from tests.sync.server import serving


async def no_time(seconds: float) -> None:
    await asyncio.sleep(0)


QUICK = Politeness(attempts=4, sleep=no_time)
VENDORS = list(SCRIPTS)


def hospital(vendor: str) -> ScriptedEhr:
    return ScriptedEhr(SCRIPTS[vendor]).load(drawn(PATIENTS))


def synced(store: Store, settings: Settings, *, full: bool = False) -> EhrReport:
    (report,) = run(store, settings, full=full, politeness=QUICK)
    return report


Honest = Callable[[str], tuple[Picture, Picture]]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, new_store: NewStore) -> Honest:
    """Gives what the store holds after a first sync with an honest server, and after what happens then."""

    @cache
    def ends(vendor: str) -> tuple[Picture, Picture]:
        ehr = hospital(vendor)
        folder = tmp_path_factory.mktemp(vendor)
        with serving(ehr), new_store("sqlite", folder) as url, Store.open(url) as store:
            first = synced(store, settings_of(ehr, folder))
            before = picture(store)
            life_goes_on(ehr)
            second = synced(store, settings_of(ehr, folder), full=True)
            assert (first.ok, second.ok, second.faults) == (True, True, {})
            return before, picture(store)

    return ends


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_honest_server_is_read_as_a_whole(honest: Honest, vendor: str) -> None:
    before, after = honest(vendor)
    served = {ref for ref in hospital(vendor).records if ref.startswith(("Patient", "ServiceRequest"))}
    assert served <= before.keys()
    assert "Encounter/visit-2" in before.keys() - after.keys()
    assert "ServiceRequest/new" in after


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_plan_names_the_vendor_and_what_cannot_be_seen(tmp_path: Path, vendor: str) -> None:
    ehr = hospital(vendor)
    with serving(ehr):
        plan = check(settings_of(ehr, tmp_path).ehr[0], politeness=QUICK)
    assert plan.vendor_name == vendor
    assert plan.wrong == ()
    unseen = {row.type for row in plan.types if not row.observable}
    offered = {type for type, offer in ehr.script.types.items() if "search-type" in offer.interactions}
    assert not unseen & (offered - {"Appointment"})
    assert all(row.reason for row in plan.types if not row.observable)


def cases() -> Iterator[Any]:
    """Every contradiction; beyond the first three of each vendor they are proofs, as they take time."""
    before: Counter[str] = Counter()
    for case in ALL:
        marks = [pytest.mark.proof] if before[case.vendor] >= 3 else []
        before[case.vendor] += 1
        yield pytest.param(case, id=f"{case.vendor}-{case.name}", marks=marks)


@pytest.mark.parametrize("case", [*cases()])
def test_a_server_that_contradicts_itself(
    honest: Honest, tmp_path: Path, store: Store, case: Contradiction
) -> None:
    ehr = replace(hospital(case.vendor), contradicts=case.make(), signed_in=case.signed_in)
    vendor = ""
    if case.vendor_file:
        (tmp_path / "ours.toml").write_text(case.vendor_file)
        vendor = str(tmp_path / "ours.toml")
    with serving(ehr):
        settings = settings_of(ehr, tmp_path, vendor)
        first = synced(store, settings)
        before, states = picture(store), states_of(store)
        life_goes_on(ehr)
        last = synced(store, settings)
        if not (last.ok and ehr.script.types["Patient"].needs):
            last = synced(store, settings, full=True)
        assert (ehr.contradicted == 0) is case.averted
        if case.ends == "equal":
            assert first.ok, "it costs nothing, not even a second run"
            assert (last.ok, last.faults) == (True, {})
            assert picture(store) == honest(case.vendor)[1]
            return
    assert not first.ok
    assert case.told in f"{first.error} {first.faults} {first.unread}"
    claimed = {type for type, state in states.items() if state == "observable"} - first.unread.keys()
    assert case.told not in claimed, "something is claimed from what is absent"
    assert claimed < states.keys() or first.error
    assert before.keys() <= honest(case.vendor)[0].keys()
    assert before.keys() - picture(store).keys() <= {"Encounter/visit-2"}, "what is not shown is not gone"


@pytest.mark.parametrize("case", [case for case in ALL if case.averted], ids=lambda case: case.name)
def test_what_a_vendor_file_averts_is_met_without_it(
    tmp_path: Path, store: Store, case: Contradiction
) -> None:
    ehr = replace(hospital(case.vendor), contradicts=case.make())
    (tmp_path / "plain.toml").write_text("page_size = 200\n")
    with serving(ehr):
        synced(store, settings_of(ehr, tmp_path, str(tmp_path / "plain.toml")))
    assert ehr.contradicted


def test_an_appointment_that_is_only_proposed_is_seen_where_a_search_by_date_leaves_it_out(
    tmp_path: Path, store: Store
) -> None:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if "date" in ask.parameters and reply.status == 200:
            shown = [entry for entry in entries(reply) if entry["resource"]["status"] != "proposed"]
            reply.data.update(entry=shown, total=len(shown))
        return reply

    ehr = replace(hospital("oracle-health"), contradicts=answer)
    reference = next(ref for ref in ehr.records if ref.startswith("Appointment/"))
    ehr.put({**ehr.records[reference], "status": "proposed"})
    with serving(ehr):
        report = synced(store, settings_of(ehr, tmp_path))
    assert report.ok
    assert '"status": "proposed"' in picture(store)[reference]


def states_of(store: Store) -> dict[str, str]:
    """What is known of each type."""
    with store.connect() as connection:
        return {row.type: row.state for row in feeds(connection, "ward")}


def test_each_vendor_has_five_contradictions_or_more_each_with_its_source() -> None:
    made = {make.__module__ for make in (case.make for case in ALL)}
    assert made == {hospitals.__name__, servers.__name__}
    assert set(Counter(case.vendor for case in ALL)) == set(SCRIPTS)
    assert min(Counter(case.vendor for case in ALL).values()) >= 5
    assert all("http" in case.source for case in ALL)
    assert len({(case.vendor, case.name) for case in ALL}) == len(ALL)
