"""`fhir-coprod load`: files into the store, faults named, kills survived."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fhir_coprod import jsontext
from fhir_coprod.cli import app
from fhir_coprod.errors import ConfigError
from fhir_coprod.files.finding import find
from fhir_coprod.store import Query, Store, loading, opening, taking
from fhir_coprod.store.recheck import recheck
from fhir_coprod.store.soundness import check
from fhir_coprod.validation import validate_to_store
from tests import programs


def patient(id: str | None, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **({"id": id} if id else {}), "active": True, **more}


def ndjson(path: Path, *resources: Any) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in resources))
    return path


def test_lines_go_in_with_their_ids_and_a_second_load_changes_nothing(store: Store, tmp_path: Path) -> None:
    file = ndjson(tmp_path / "p.ndjson", patient("a"), "", patient("b"), patient(None, gender="male"))
    first = loading.load(store, find([file]))
    assert (first.created, first.dead) == (3, 0)
    assert store.read("Patient", "a").data["active"] is True
    again = loading.load(store, find([file]))
    assert (again.created, again.unchanged) == (0, 3)
    assert store.head() == 3
    assert store.cursor(loading.cursor_name(file)) == 0


def test_a_line_that_looks_like_a_bundle_and_is_none_stops_nothing(store: Store, tmp_path: Path) -> None:
    deep = b'{"resourceType":"Bundle","entry":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    no_text = b'{"resourceType":"Bundle\xff"}'
    lines = [json.dumps(patient("a")).encode(), deep, no_text, json.dumps(patient("b")).encode()]
    file = tmp_path / "p.ndjson"
    file.write_bytes(b"\n".join(lines))
    done = loading.load(store, find([file]))
    assert done.created == 2
    assert [dead.place.rpartition(":")[2] for dead in done.named] == ["2", "3"]


def test_a_file_whose_name_is_no_text_is_loaded_and_named(store: Store, tmp_path: Path) -> None:
    file = ndjson(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.ndjson")), patient("a"), "{not json")
    done = loading.load(store, find([file]))
    assert done.created == 1
    assert done.named[0].place.encode().endswith(b"\\xff.ndjson:2")


def test_faulty_lines_are_named_and_stop_nothing(store: Store, tmp_path: Path) -> None:
    file = ndjson(
        tmp_path / "p.ndjson",
        patient("a"),
        "{not json",
        patient("b", gender="other than that"),
        {"resourceType": "Nobody"},
        patient("not/an/id"),
        '["a list"]',
        patient("c"),
    )
    done = loading.load(store, find([file]))
    assert (done.created, done.not_valid) == (3, 1)
    assert [dead.place.rpartition(":")[2] for dead in done.named] == ["2", "4", "5", "6"]
    assert all(dead.outcome.errors for dead in done.named)


def test_bundle_entries_find_each_other(store: Store, tmp_path: Path) -> None:
    anna, task = (
        "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
        "urn:uuid:1c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
    )
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": anna, "resource": patient(None)},
            {
                "fullUrl": task,
                "resource": {
                    "resourceType": "Task",
                    "id": "t",
                    "status": "requested",
                    "intent": "order",
                    "for": {"reference": anna},
                },
            },
            {"fullUrl": "http://x.example/fhir/Patient/bo", "resource": patient("bo")},
        ],
    }
    (tmp_path / "b.json").write_text(json.dumps(bundle, indent=1))
    assert loading.load(store, find([tmp_path / "b.json"])).created == 3
    target = store.read("Task", "t").data["for"]["reference"]
    assert store.read("Patient", target.removeprefix("Patient/")).version == 1
    assert loading.load(store, find([tmp_path / "b.json"])).unchanged == 3


def test_folder_with_every_kind_of_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    ndjson(tmp_path / "a.ndjson", patient("a"))
    ndjson(tmp_path / "b.json", patient("b1"), patient("b2"))
    (tmp_path / "sub" / "c.json").write_text(json.dumps(patient("c"), indent=2))
    (tmp_path / "d.ndjson.gz").write_bytes(gzip.compress(json.dumps(patient("d")).encode()))
    (tmp_path / "notes.txt").write_text("nothing to do with it")
    (tmp_path / "empty.json").write_text("")
    document = {
        "resourceType": "Bundle",
        "id": "doc",
        "type": "collection",
        "entry": [{"resource": patient("e")}],
    }
    ndjson(tmp_path / "f.jsonl", document)
    done = loading.load(store, find([tmp_path]))
    assert (done.created, done.dead) == (6, 0)
    found = store.search(Query.parse("Patient", [("_sort", "_id")])).matches
    assert [version.id for version in found] == ["a", "b1", "b2", "c", "d", "e"]


def test_broken_archive_is_reported(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(json.dumps(patient("a")).encode() * 50)[:-12])
    (tmp_path / "b.ndjson").write_text(json.dumps(patient("b")))
    done = loading.load(store, find([tmp_path]))
    assert done.created == 1
    assert "cannot be read" in str(done.named[0].outcome)


def test_missing_path_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        find([tmp_path / "none"])


def test_load_goes_on_after_kill_9(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3000
    lines: list[Any] = [patient(f"p{number}") for number in range(count)]
    lines[1] = "{faulty"
    file = ndjson(tmp_path / "many.ndjson", *lines)
    monkeypatch.setenv("COPROD_STORE__URL", store_url)
    monkeypatch.chdir(tmp_path)
    process = programs.start("fhir_coprod", "load", str(file))
    with Store.open(store_url) as store:
        while store.head() < 300 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        part = store.head()
        assert 300 <= part < count
        assert check.damage(opening.connect(store_url)) == []
        resumed = CliRunner().invoke(app, ["load", "--json", str(file)])
        assert resumed.exit_code == 1
        result = json.loads(resumed.stdout)
        assert (result["skipped"], result["created"]) == (part, count - 1 - part)
        assert [record["place"].rpartition(":")[2] for record in result["records"]] == ["2"]
        assert store.head() == count - 1
        assert [version.position for version in store.changes(0, limit=count)] == list(range(1, count))


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_load_killed_again_and_again_loses_and_doubles_nothing(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, kills = (6_000, 4) if os.environ.get("PROOF_SIZE") == "ci" else (40_000, 25)
    file = ndjson(tmp_path / "many.ndjson", *(patient(f"p{number}") for number in range(count)))
    monkeypatch.setenv("COPROD_STORE__URL", store_url)
    chance = random.Random(7)
    command = ("fhir_coprod", "load", str(file))
    with Store.open(store_url) as store:
        for _ in range(kills):
            process = programs.start(*command, cwd=tmp_path, stdout=programs.DEVNULL)
            # From a little later than the last one got to; sometimes in the middle of a commit.
            before = store.head()
            while store.head() == before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2))
            process.kill()
            process.wait()
        ran = programs.run(*command, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert [(v.position, v.version) for v in store.changes(0, limit=count + 1)] == [
            (position, 1) for position in range(1, count + 1)
        ]
        assert (
            store.search(Query.parse("Patient", [("active", "true"), ("_summary", "count")])).total == count
        )
        assert store.cursor(loading.cursor_name(file)) == 0
    assert check.damage(opening.connect(store_url)) == []


def test_command_names_faults_and_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPROD_STORE__URL", f"sqlite:///{tmp_path / 'store.db'}")
    file = ndjson(tmp_path / "p.ndjson", patient("a"), patient("b", gender="x"), patient(7))
    ran = CliRunner().invoke(app, ["load", str(file)])
    assert ran.exit_code == 1
    assert "2 created, 1 dead, 1 not valid" in ran.stdout
    assert "p.ndjson:3" in ran.stderr
    assert "1 record breaks a rule and was kept; see: fhir-coprod quality" in ran.stderr
    whole = ndjson(tmp_path / "q.ndjson", patient("a"))
    assert CliRunner().invoke(app, ["load", str(whole)]).exit_code == 0
    assert CliRunner().invoke(app, ["load", str(tmp_path / "none")]).exit_code == 1


def test_a_history_and_a_part_of_a_resource_are_named_and_not_loaded(store: Store, tmp_path: Path) -> None:
    part = {**patient("a"), "meta": {"tag": [{"code": "SUBSETTED"}]}}
    entries = [{"resource": patient("b", gender="female")}, {"resource": patient("b", gender="male")}]
    history = {"resourceType": "Bundle", "type": "history", "entry": entries}
    done = loading.load(store, find([ndjson(tmp_path / "p.ndjson", part, history, patient("c"))]))
    assert done.created == 1
    assert ["lose the rest" in done.named[0].outcome.errors[0].message, done.dead] == [True, 2]
    assert "A history is not loaded" in done.named[1].outcome.errors[0].message


def test_a_run_that_goes_on_reports_the_faults_before_it(store: Store, tmp_path: Path) -> None:
    file = ndjson(tmp_path / "p.ndjson", "{not json", patient("a"), patient("b"))
    store.write(lambda transaction: transaction.set_cursor(loading.cursor_name(file), 2))
    done = loading.load(store, find([file]))
    assert (done.skipped, done.created, [dead.place.rpartition(":")[2] for dead in done.named]) == (
        1,
        1,
        ["1"],
    )


def test_a_file_that_was_changed_since_is_loaded_from_its_beginning(store: Store, tmp_path: Path) -> None:
    file = ndjson(tmp_path / "p.ndjson", patient("a"), patient("b"))
    store.write(lambda transaction: transaction.set_cursor(loading.cursor_name(file), 2))
    os.utime(file, ns=(0, 0))
    assert loading.load(store, find([file])).created == 2
    store.write(lambda transaction: transaction.set_cursor(loading.cursor_name(file), 2))
    ndjson(file, patient("c"), patient("d"), patient("e"))
    os.utime(file, ns=(0, 0))
    assert loading.load(store, find([file])).created == 3


def test_a_resource_without_id_gets_the_same_id_from_any_file(store: Store, tmp_path: Path) -> None:
    one = ndjson(tmp_path / "a.ndjson", patient(None, gender="male"), patient(None, gender="female"))
    assert loading.load(store, find([one])).created == 2
    two = ndjson(tmp_path / "b.ndjson", patient(None, gender="female"))
    assert loading.load(store, find([two])).unchanged == 1


def message(number: int, *resources: dict[str, Any]) -> dict[str, Any]:
    header = {
        "resourceType": "MessageHeader",
        "id": f"m{number}",
        "eventUri": "http://example.org/event",
        "source": {"endpoint": "http://example.org"},
    }
    base = "http://gp.example/fhir"
    entries = [
        {"fullUrl": f"{base}/{r['resourceType']}/{r['id']}", "resource": r} for r in (header, *resources)
    ]
    time = f"2026-01-0{number}T00:00:00Z"
    return {
        "resourceType": "Bundle",
        "id": f"b{number}",
        "type": "message",
        "timestamp": time,
        "entry": entries,
    }


def test_a_folder_of_messages_loaded_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    ndjson(tmp_path / "1.ndjson", message(1, patient("a", gender="male")))
    ndjson(tmp_path / "2.ndjson", message(2, patient("a", gender="unknown")))
    done = loading.load(store, find([tmp_path]))
    assert (done.created, done.updated) == (5, 1)
    again = loading.load(store, find([tmp_path]))
    assert (again.created, again.updated, again.unchanged) == (0, 0, 2)
    assert store.read("Patient", "a").version == 2


def test_a_record_in_a_message_that_breaks_a_rule_is_counted(store: Store, tmp_path: Path) -> None:
    file = ndjson(tmp_path / "1.ndjson", message(1, patient("a", gender="man")))
    assert loading.load(store, find([file])).not_valid == 2
    assert {version.id for _, version in store.marked(0, 10)} == {"b1", "a"}


def test_a_message_that_could_not_be_loaded_before_is_unpacked_when_it_can(store: Store) -> None:
    raw = json.dumps(message(1, patient("a"))).encode()
    assert store.write(lambda transaction: taking.take(transaction, raw, validate_to_store))
    assert store.read("Patient", "a").data["active"] is True


@pytest.mark.parametrize("type", ["document", "message"])
def test_a_bundle_that_is_one_thing_is_kept_whole(store: Store, tmp_path: Path, type: str) -> None:
    first = {
        "document": {
            "resourceType": "Composition",
            "status": "final",
            "type": {"text": "Note"},
            "date": "2026-01-01",
            "title": "Note",
            "author": [{"display": "somebody"}],
        },
        "message": {
            "resourceType": "MessageHeader",
            "eventUri": "http://example.org/event",
            "source": {"endpoint": "http://example.org"},
        },
    }
    bundle = {
        "resourceType": "Bundle",
        "id": "whole",
        "identifier": {"system": "http://example.org/bundles", "value": "1"},
        "timestamp": "2026-01-01T00:00:00Z",
        "type": type,
        "entry": [{"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "resource": first[type]}],
    }
    done = loading.load(store, find([ndjson(tmp_path / "b.ndjson", bundle)]))
    assert (done.created, done.dead) == (2, 0)
    assert store.read("Bundle", "whole").data == bundle | {"meta": store.read("Bundle", "whole").data["meta"]}
    own = first[type]["resourceType"]
    assert store.read(own, "c757873d-ec9a-4326-a141-556f43239520").data["resourceType"] == own


def practitioner(value: str) -> dict[str, Any]:
    return {
        "resourceType": "Practitioner",
        "id": value,
        "identifier": [{"system": "http://a.example/id", "value": value}],
    }


def performed_by(id: str, reference: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "x"},
        "performer": [{"reference": reference}],
    }


def transaction(*resources: dict[str, Any]) -> str:
    entries = [
        {
            "fullUrl": f"urn:uuid:00000000-0000-4000-8000-{number:012x}",
            "resource": one,
            "request": {"method": "POST", "url": one["resourceType"]},
        }
        for number, one in enumerate(resources, 0xA)
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries})


BY = "Practitioner?identifier=http://a.example/id|"


def test_references_by_criteria_are_looked_up_also_in_files_that_come_later(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(
        transaction(performed_by("o1", f"{BY}early"), performed_by("o2", f"{BY}late"))
    )
    (tmp_path / "b.ndjson").write_text(json.dumps(practitioner("late")))
    document = jsontext.from_data(practitioner("early"))
    store.write(lambda transaction: transaction.put(document, "early"))
    done = loading.load(store, find([tmp_path]))
    assert (done.created, done.dead) == (3, 0)
    for id, of in (("o1", "early"), ("o2", "late")):
        query = Query.parse("Observation", [("performer", f"Practitioner/{of}")])
        assert [each.id for each in store.search(query).matches] == [id]


def test_a_reference_by_criteria_that_finds_nothing_is_named_and_can_be_taken_later(
    store: Store, tmp_path: Path
) -> None:
    sent = performed_by("o", f"{BY}never")
    sent["subject"] = {"reference": "URN:UUID:00000000-0000-4000-8000-00000000000B"}
    (tmp_path / "a.json").write_text(transaction(sent, {"resourceType": "Patient", "id": "p"}))
    buried: list[taking.Dead] = []
    done = loading.load(store, find([tmp_path]), bury=lambda _, file, dead, afresh: buried.extend(dead))
    assert (done.created, done.dead) == (1, 1)
    assert [dead.place.rpartition("/")[2] for dead in buried] == ["a.json:1"]
    assert not store.write(lambda transaction: taking.take(transaction, buried[0].raw, validate_to_store))
    document = jsontext.from_data(practitioner("never"))
    store.write(lambda transaction: transaction.put(document, "never"))
    assert store.write(lambda transaction: taking.take(transaction, buried[0].raw, validate_to_store))
    stored = store.read("Observation", "o").data
    assert stored["performer"] == [{"reference": "Practitioner/never"}]
    assert stored["subject"] == {"reference": "Patient/p"}


def test_a_reference_that_leads_nowhere_is_kept_with_a_mark(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(json.dumps(performed_by("o", "urn:uuid:1")))
    done = loading.load(store, find([tmp_path]))
    assert (done.created, done.not_valid) == (1, 1)
    assert [fault.element for fault in store.faults()] == ["Observation.performer.reference"]
    assert recheck(store).sound == 0


def test_a_subscription_is_a_dead_letter(store: Store, tmp_path: Path) -> None:
    asked = {"resourceType": "Subscription", "status": "active", "reason": "x", "criteria": "Task"}
    (tmp_path / "a.ndjson").write_text(json.dumps({**asked, "channel": {"type": "rest-hook"}}))
    done = loading.load(store, find([tmp_path]))
    assert (done.created, done.dead) == (0, 1)
    assert "_lastUpdated" in done.named[0].outcome.errors[0].message
