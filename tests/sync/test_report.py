"""What a run says it did, and what a dry run says it would do."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import Store, Version, Written
from fhir_coprod.sync.diff import Difference, Line, difference
from fhir_coprod.sync.merging.change import Change
from fhir_coprod.sync.pace import Pace
from fhir_coprod.sync.report import EhrReport, Reports
from fhir_coprod.sync.settle import Settled
from fhir_coprod.sync.staging.sinks import StoreSink
from fhir_coprod.sync.staging.stage import Batch, Counts

NOW = to_milliseconds(datetime(2026, 3, 2, tzinfo=UTC))


def a_change(
    before: dict[str, Any], after: dict[str, Any], word: Any = "updated", ehr: str = "care"
) -> Change:
    body = jsontext.encode(after) if after else b""
    version = Version("Task", "t", 2, 0, NOW, "update" if after else "delete", body, "", f"ehr:{ehr}")
    return Change(ehr, Written(version, word), before)


def lines(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(line.path, line.before, line.after) for line in difference(a_change(before, after)).lines]


def test_one_sentence_tells_what_is_wrong_with_many_types() -> None:
    types = ["Patient", "Organization", "ServiceRequest", "Task"]
    report = EhrReport("care", counts={type: Counts() for type in types})
    report.faults = dict.fromkeys(types, "care: the server refuses us (401)")
    assert report.wrong == ["care: all 4 types: the server refuses us (401)"]
    del report.faults["Task"]
    assert report.wrong == ["care: Patient, Organization, ServiceRequest: the server refuses us (401)"]


def test_each_element_that_differs_is_a_line_with_its_place() -> None:
    before = {"status": "requested", "note": [{"text": "a"}, {"text": "b"}], "code": {"text": "x"}}
    after = {"status": "accepted", "note": [{"text": "a"}], "code": {"text": "x"}, "priority": "stat"}
    assert lines(before, after) == [
        ("status", "requested", "accepted"),
        ("note[1].text", "b", None),
        ("priority", None, "stat"),
    ]


def test_a_value_that_becomes_false_or_empty_is_no_absence() -> None:
    assert lines({"active": True, "n": 0}, {"active": False}) == [("active", True, False), ("n", 0, None)]
    assert lines({}, {"x": None}) == [("x", None, None)]


def test_stamps_of_the_store_are_no_difference_but_the_rest_of_meta_is() -> None:
    before = {"meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z", "source": "a"}}
    after = {"meta": {"versionId": "2", "lastUpdated": "2026-01-02T00:00:00Z", "source": "b"}}
    assert lines(before, after) == [("meta.source", "a", "b")]


def test_a_difference_says_which_resource_and_what_would_become_of_it() -> None:
    found = difference(a_change({"status": "requested"}, {}, "deleted"))
    assert found == Difference("Task/t", "deleted", (Line("status", "requested", None),))
    assert found.to_json() == {
        "resource": "Task/t",
        "change": "deleted",
        "diff": [{"path": "status", "before": "requested", "after": None}],
    }


@pytest.mark.parametrize(
    ("report", "ok"),
    [
        (EhrReport("care"), True),
        (EhrReport("care", counts={"Task": Counts(read=2, created=1, conflicts=1)}), True),
        (EhrReport("care", error="no answer"), False),
        (EhrReport("care", faults={"Task": "behind"}), False),
        (EhrReport("care", counts={"Patient": Counts(), "Task": Counts(dead=1)}), False),
        (EhrReport("care", counts={"Task": Counts(unchanged=1)}, dead_letters=1), False),
        (EhrReport("care", counts={"Task": Counts(created=1, not_valid=1)}), True),
    ],
)
def test_a_run_is_ok_when_all_was_seen_and_nothing_is_left_out(report: EhrReport, ok: bool) -> None:
    assert report.ok is ok
    assert report.to_json()["ok"] is ok


def test_a_report_as_json_has_no_error_where_there_is_none() -> None:
    assert EhrReport("care").to_json() == {
        "ehr": "care",
        "run": None,
        "ok": True,
        "left_out": None,
        "error": None,
        "types": {},
        "faults": {},
        "remarks": {},
        "unread": {},
        "dead_letters": 0,
        "feeds": {},
        "identifiers": [],
        "changes": [],
    }
    change = difference(a_change({}, {"status": "draft"}))
    told = EhrReport("care", "no answer", {"Task": Counts(read=1)}, {"Task": "why"}, [change]).to_json()
    assert (told["error"], told["types"]["Task"]["read"], told["faults"]) == ("no answer", 1, {"Task": "why"})
    assert told["changes"] == [change.to_json()]


def test_counts_of_all_pages_of_a_type_are_added() -> None:
    reports = Reports(["care"])
    reports.staged(Batch("care", "Task"), Counts(read=2, created=2))
    reports.staged(Batch("care", "Task"), Counts(read=3, updated=1, unchanged=1, dead=1, deleted=4))
    reports.staged(Batch("care", "Patient"), Counts(read=1))
    assert reports.of("care").counts == {
        "Task": Counts(read=5, created=2, updated=1, unchanged=1, dead=1, deleted=4),
        "Patient": Counts(read=1),
    }


def test_conflicts_add_up_and_what_is_merged_is_a_state() -> None:
    reports = Reports(["care", "ortho"])
    reports.staged(Batch("care", "Task"), Counts())
    for _ in range(2):
        found = Settled(Counter({("care", "Task"): 2, ("gone", "Task"): 1}))
        found.merged = {("care", "Task"): 3, ("ortho", "Patient"): 1}
        reports.settled(found)
    assert reports.of("care").counts["Task"] == Counts(conflicts=4, merged=3)
    assert [report.ehr for report in reports.all()] == ["care", "gone"], "ortho was not asked in this run"


def test_a_fault_of_a_type_is_not_told_beside_the_error_that_stopped_all(store: Store) -> None:
    reports = Reports(["care", "away"])
    reports.of("away").error = "no answer"
    sink = StoreSink(store, reports.staged, Pace(store))
    sink.faults = {("away", "Task"): "no answer", ("care", "Task"): "behind"}
    reports.told(sink)
    assert reports.of("away").faults == {}
    assert reports.of("care").faults == {"Task": "behind"}


def test_reports_come_in_the_order_of_the_settings_and_others_by_name_at_the_end() -> None:
    reports = Reports(["z", "a"])
    for name in ("y", "a", "b", "z"):
        reports.of(name)
    assert [report.ehr for report in reports.all()] == ["z", "a", "b", "y"]


def test_what_a_dry_run_would_write_is_told_at_the_ehr_it_comes_from() -> None:
    reports = Reports(["care", "ortho"])
    change = a_change({}, {"status": "draft"}, "created", "ortho")
    reports.would([change])
    assert [(report.ehr, report.changes) for report in reports.all()] == [("ortho", [difference(change)])]
