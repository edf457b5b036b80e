"""Bulk exports of servers that are hostile, odd or broken: what is asked where, and what is never lost."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import Response

from fhir_coprod.store import Store
from tests.sync.server import serving
from tests.sync.exporting import MANY, hospital, synced

# --- addresses ------------------------------------------------------------------------------------


def test_nothing_is_asked_of_another_host_about_the_state_of_an_export(store: Store, store_path: str) -> None:
    """Otherwise an EHR could have us read and delete at any address that this machine reaches."""
    ehr, inside = hospital(), hospital()
    ehr.kicks = lambda request: Response(
        status_code=202, headers={"Content-Location": f"{inside.url.removesuffix('/fhir')}/bulk/1"}
    )
    with serving(ehr, inside):
        report = synced(store, store_path, ehr)
    assert not inside.shown
    assert "bulk_hosts" in report.remarks["Task"]


def test_the_next_part_of_a_manifest_is_not_fetched_from_another_host(store: Store, store_path: str) -> None:
    ehr, inside = hospital(), hospital()
    with serving(ehr, inside):
        link = [{"relation": "next", "url": f"{inside.url.removesuffix('/fhir')}/bulk/1"}]
        ehr.manifest = lambda manifest: {**manifest, "link": link}
        report = synced(store, store_path, ehr)
    assert not inside.shown
    assert "bulk_hosts" in report.faults["Task"]


@pytest.mark.parametrize("url", ["http://[broken/x", "http://ehr.example:port/x", "//[", "https://a b/"])
def test_a_file_at_no_address_costs_its_type_and_ends_no_run(store: Store, store_path: str, url: str) -> None:
    ehr = hospital()

    def odd(manifest: dict[str, Any]) -> dict[str, Any]:
        for one in manifest["output"]:
            one["url"] = url if one["type"] == "Task" else one["url"]
        return manifest

    ehr.manifest = odd
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert set(report.faults) == {"Task"}
    assert report.counts["Patient"].created == MANY


def test_a_file_that_is_redirected_to_no_address_costs_its_type_only(store: Store, store_path: str) -> None:
    away = Response(status_code=302, headers={"Location": "http://[broken/x"})
    ehr = hospital(file=lambda e, name, nth: away if name == "Task.0" else None)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert set(report.faults) == {"Task"}
    assert report.counts["Patient"].created == MANY
