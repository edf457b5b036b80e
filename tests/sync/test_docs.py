"""The page about the sync says what the program does."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from fhir_coprod.sync.ehr import vendor
from fhir_coprod.sync.staging.stage import Counts

PAGE = (Path(__file__).parents[2] / "docs" / "sync.md").read_text()


def test_every_way_of_finding_changes_is_explained() -> None:
    assert not [find for find in get_args(vendor.Find) if find != "none" and f"| `{find}` |" not in PAGE]


def test_every_vendor_file_is_named() -> None:
    assert not [name for name in vendor.names() if f"`{name}`" not in PAGE]


def test_every_number_of_the_report_is_named() -> None:
    assert not [name for name in Counts().to_json() if f'"{name}"' not in PAGE]
