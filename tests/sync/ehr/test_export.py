"""How exports are asked for, and what is read in the answers: pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.errors import ConfigError
from fhir_coprod.jsontext import encode
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr import export, offers, vendor
from fhir_coprod.sync.ehr.export import File, NotAManifest, Wanted
from fhir_coprod.sync.ehr.plan import plan
from fhir_coprod.sync.ehr.sending import Answer, retry_after
from fhir_coprod.sync.ehr.vendor import Bulk
from fhir_coprod.sync.reading.members import patients
from tests.sync.ehr.test_plan import found_by, offer, statement

HERE = "https://ehr.example/bulk/7"


def answer(status: int, body: Any = "", **headers: str) -> Answer:
    content = body.encode() if isinstance(body, str) else encode(body)
    return Answer(HERE, status, httpx.Headers({k.replace("_", "-"): v for k, v in headers.items()}), content)


# --- asking ---------------------------------------------------------------------------------------


def test_a_kick_off_by_get_parts_types_with_commas() -> None:
    url = Wanted("Group/g", ("Patient", "Task"), "2026-03-01T08:00:00.000Z").by_get
    assert urlsplit(url).path == "Group/g/$export"
    assert parse_qs(urlsplit(url).query) == {
        "_type": ["Patient,Task"],
        "_since": ["2026-03-01T08:00:00.000Z"],
    }


def test_a_kick_off_by_post_repeats_parameters() -> None:
    assert json.loads(Wanted("", ("Patient", "Task"), "2026-03-01T08:00:00.000Z").by_post)["parameter"] == [
        {"name": "_type", "valueString": "Patient"},
        {"name": "_type", "valueString": "Task"},
        {"name": "_since", "valueInstant": "2026-03-01T08:00:00.000Z"},
    ]


def test_some_patients_are_asked_for_with_all_their_types() -> None:
    [named] = json.loads(Wanted("Patient", ("Task",), "", ("p1",)).by_post)["parameter"]
    assert named == {"name": "patient", "valueReference": {"reference": "Patient/p1"}}


# --- looking --------------------------------------------------------------------------------------

OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (answer(202), "under way"),
        (answer(200, {"output": []}), "complete"),
        (answer(200, "", X_Export_Status="202 Accepted"), "under way"),
        (answer(200, {"output": []}, X_Export_Status="200 OK"), "complete"),
        (answer(200, OUTCOME, X_Export_Status="500 Internal Server Error"), "failed"),
        (answer(404), "lost"),
        (answer(410), "lost"),
        (answer(500, OUTCOME), "failed"),
        (answer(400, OUTCOME), "failed"),
        (answer(500), "unanswered"),
        (answer(500, {**OUTCOME, "issue": [{"code": "transient"}]}), "unanswered"),
        (answer(200, "<html>", Content_Type="text/html"), "unanswered"),
        (answer(401), "unanswered"),
        (answer(429), "unanswered"),
        (answer(302), "unanswered"),
    ],
)
def test_what_a_look_says(given_: Answer, expected: str) -> None:
    assert export.state(given_) == expected


def test_progress_is_one_short_line() -> None:
    words = export.progress(answer(202, X_Progress=" 50% of Eva's records\x1b[2J" + "." * 200))
    assert words.startswith("50% of Eva's records")
    assert "\x1b" not in words
    assert len(words) == 100
    assert export.portion(words) == "50%"
    assert export.portion("Eva's records") == ""


@pytest.mark.parametrize(
    ("text", "seconds"), [("120", 120), ("1.5", 1.5), (" 7 ", 7), ("soon", None), ("-1", None), ("", None)]
)
def test_retry_after_may_have_parts_of_seconds(text: str, seconds: float | None) -> None:
    assert retry_after(text) == seconds


# --- the manifest ---------------------------------------------------------------------------------


def test_a_manifest_is_read_in_both_editions() -> None:
    stu2 = {
        "transactionTime": "2026-03-01T10:00:00+02:00",
        "requiresAccessToken": True,
        "output": [{"type": "Task", "url": "files/1", "count": 3}],
        "deleted": [{"type": "Bundle", "url": "https://files.example/2"}],
        "error": [{"type": "OperationOutcome", "url": "/bulk/e"}],
    }
    read = export.manifest(encode(stu2), HERE)
    assert read.files == (
        File("output", "Task", "https://ehr.example/bulk/files/1", 3),
        File("deleted", "Bundle", "https://files.example/2"),
        File("outcome", "OperationOutcome", "https://ehr.example/bulk/e"),
    )
    assert read.time == datetime(2026, 3, 1, 8, tzinfo=UTC)
    assert read.needs_token
    ballot = {**{k: v for k, v in stu2.items() if k != "error"}, "outcome": stu2["error"]}
    ballot["link"] = [{"relation": "next", "url": "7?part=2"}]
    again = export.manifest(encode(ballot), HERE)
    assert again.files == read.files
    assert again.next == "https://ehr.example/bulk/7?part=2"


def test_an_output_without_an_address_has_none() -> None:
    read = export.manifest(b'{"output":[{"type":"Task"}]}', HERE)
    assert read.files[0].url == ""


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"output":7}', b'{"output":[7]}', b'{"resourceType":"X"}']
)
def test_what_may_hide_files_is_no_manifest(raw: bytes) -> None:
    with pytest.raises(NotAManifest):
        export.manifest(raw, HERE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "transactionTime",
    "requiresAccessToken",
    "output",
    "deleted",
    "error",
    "outcome",
    "link",
    "resourceType",
)
files = st.lists(
    st.fixed_dictionaries({"type": json_values, "url": json_values, "count": json_values}), max_size=3
)


@given(st.dictionaries(st.sampled_from(KEYS), json_values | files, max_size=6))
def test_no_file_of_a_manifest_is_ever_passed_over(data: dict[str, Any]) -> None:
    try:
        read = export.manifest(encode(data), HERE)
    except NotAManifest:
        return
    named = [one for key in ("output", "deleted", "error", "outcome") for one in data.get(key) or ()]
    assert len(read.files) == len(named)


@given(json_values)
def test_deletions_are_read_whatever_a_bundle_holds(value: Any) -> None:
    assert export.deletions({"resourceType": "Bundle", "entry": value}) == []


@pytest.mark.parametrize(
    "url", ["Task/t1", "https://ehr.example/fhir/Task/t1", "Task/t1/_history/3", "/Task/t1"]
)
def test_a_deletion_names_its_record_in_any_form(url: str) -> None:
    bundle = {
        "entry": [{"request": {"method": "DELETE", "url": url}}, {"request": {"method": "PUT", "url": url}}]
    }
    assert export.deletions(bundle) == [("Task", "t1")]


# --- who is in a group ----------------------------------------------------------------------------


def test_members_are_the_patients_that_are_active() -> None:
    def member(reference: str, **more: Any) -> dict[str, Any]:
        return {"entity": {"reference": reference}, **more}

    group = {"resourceType": "Group", "member": [member("Patient/a"), member("https://x.example/Patient/b")]}
    group["member"] += [
        member("Patient/c", inactive=True),
        member("Practitioner/d"),
        member("Patient/e/_history/2"),
    ]
    assert patients(group) == {"a", "b", "e"}


@pytest.mark.parametrize(
    "group",
    [
        {"resourceType": "Group"},
        {"resourceType": "Group", "member": []},
        {"resourceType": "Group", "quantity": 9, "member": [{"entity": {"reference": "Patient/a"}}]},
        {"resourceType": "Group", "member": [{"entity": {"display": "Eva"}}]},
        {"resourceType": "OperationOutcome", "member": [{"entity": {"reference": "Patient/a"}}]},
    ],
)
def test_a_group_that_does_not_show_all_its_members_shows_none(group: dict[str, Any]) -> None:
    assert patients(group) is None


# --- the plan -------------------------------------------------------------------------------------


def with_exports(*levels: str, name: str = "export") -> dict[str, Any]:
    made = statement(
        offer("Patient", "search-type"),
        offer("Task", "search-type"),
        offer("Goal", "search-type"),
        offer("Communication", "read"),
        offer("Condition", "search-type", parameters=("_lastUpdated",)),
        *([offer("Group", "read")] if "Group" in levels else []),
    )
    rest = made["rest"][0]
    if "" in levels:
        rest["operation"] = [{"name": name}]
    for resource in rest["resource"]:
        if resource["type"] in levels:
            resource["operation"] = [{"name": name}]
    return made


def made(*levels: str, **settings: Any) -> Any:
    ehr = EhrSettings(name="surgery", url="https://ehr.example/fhir", **settings)
    return plan(ehr, with_exports(*levels))


def finds(*levels: str, **settings: Any) -> dict[str, str]:
    made_ = made(*levels, **settings)
    return {type: found_by(made_, type) for type in ("Patient", "Task", "Goal", "Communication", "Condition")}


def test_a_whole_server_is_exported_but_for_types_that_tell_changes() -> None:
    assert finds("") == {
        "Patient": "bulk",
        "Task": "bulk",
        "Goal": "bulk",
        "Communication": "bulk",
        "Condition": "last-updated",
    }
    assert made("").of("Condition").is_exported_first
    assert "the first time, by bulk export" in made("").of("Condition").reason


def test_of_patients_only_what_is_in_their_compartment_is_exported() -> None:
    found = finds("Patient")
    assert (found["Task"], found["Goal"]) == ("crawl", "bulk"), "R4's Patient compartment has no Task"


def test_a_group_is_exported_if_the_settings_name_it() -> None:
    assert finds("Group")["Goal"] == "crawl"
    assert "name one in `group`" in made("Group").about_exports
    assert made("Group", group="g").exports.scope == "Group/g"
    assert finds("Group", group="g")["Goal"] == "bulk"
    assert "offers no export of a group" in made("", group="g").about_exports


def test_the_settings_have_the_last_word() -> None:
    assert "bulk" not in finds("", bulk="never").values()
    assert set(finds("", bulk="always").values()) == {"bulk"}
    assert finds(bulk="always")["Goal"] == "bulk", "although the statement says nothing"
    assert "bulk" not in finds("", patients=("p1",)).values()


def test_the_files_of_a_vendor_say_what_its_exports_hold(tmp_path: Any) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(
        '[bulk]\ntypes = ["Patient", "Goal"]\nevery_hours = 24\n[types.Condition]\nfind = "bulk"\n'
    )
    found = made("", vendor=str(file))
    assert found_by(found, "Goal") == "bulk"
    assert found_by(found, "Task") == "crawl"
    assert found_by(found, "Condition") == "last-updated", "its exports do not hold it"
    assert found.exports.hours == 24
    assert "every 24 hours" in found.of("Goal").reason


@pytest.mark.parametrize(
    ("operation", "level"),
    [
        ({"name": "export"}, ""),
        ({"name": "$export"}, ""),
        (
            {
                "name": "x",
                "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export|2.0.0",
            },
            "Group",
        ),
        ({"name": "patient-export"}, "Patient"),
        ({"name": "export-poll-status"}, None),
        ({"name": 7, "definition": None}, None),
    ],
)
def test_an_operation_is_recognised_by_its_definition_or_name(
    operation: dict[str, Any], level: str | None
) -> None:
    assert offers.levels({"operation": [operation]}) == (set() if level is None else {level})


def test_a_vendor_file_may_say_how_its_exports_differ() -> None:
    read = vendor.read(b'[bulk]\ntypes = ["Patient"]\nsince = false\nevery_hours = 24\n', "x.toml")
    assert read.bulk == Bulk(("Patient",), since=False, every_hours=24)
    with pytest.raises(ConfigError, match="Pateint"):
        vendor.read(b'[bulk]\ntypes = ["Pateint"]\n', "x.toml")
