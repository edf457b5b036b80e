"""A patient's copy and erasure, over a store that took the patient from an EHR."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner, Result

from fhir_coprod import jsontext
from fhir_coprod.audit.finding import Wanted, every
from fhir_coprod.audit.places import Places
from fhir_coprod.cli import app
from fhir_coprod.errors import BadRequest, Conflict, Gone, NotFound
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.store.schema import metadata
from fhir_coprod.store.soundness import check
from fhir_coprod.subject.copying import copy
from fhir_coprod.subject.erasure import Plan, erase
from fhir_coprod.sync import soundness as synced
from fhir_coprod.sync.engine import run
from fhir_coprod.watch import soundness as watched
from tests.sync.conftest import settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving

REASON = "decision 7-12/2026 of the authority"


class World(NamedTuple):
    ehr: Ehr
    store: Store
    settings: Settings
    eva: str
    """Id of the patient here."""
    bo: str

    def sync(self) -> None:
        run(self.store, self.settings)

    def put(self, kind: str, id: str, /, **content: Any) -> None:
        document = jsontext.from_data({"resourceType": kind, "id": id, **content})
        self.store.write(lambda transaction: transaction.put(document, id))

    def erase(self, **how: Any) -> Plan:
        return erase(self.store, self.settings, self.eva, **{"reason": REASON, **how})

    def faults(self) -> list[Any]:
        found: list[Any] = []
        check.run(self.store.database, found.append, more=(*synced.parts(self.settings), watched.Standings()))
        return found


def of(store: Store, foreign: str) -> str:
    with store.connect() as connection:
        row = connection.exec_driver_sql(
            f"SELECT id FROM crosswalk WHERE type = 'Patient' AND foreign_id = '{foreign}'"
        ).one()
    return str(row[0])


def rows(store: Store) -> dict[str, str]:
    """Every table, as one text: to look for what should not be there."""
    found = {}
    with store.connect() as connection:
        for table in metadata.sorted_tables:
            found[str(table.name)] = " ".join(
                bytes(value).decode(errors="replace") if isinstance(value, bytes) else str(value)
                for row in connection.execute(table.select())
                for value in row
            )
    return found


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    ehr = Ehr().load(
        organization("o", "OR"),
        patient("eva-there", "19700102-1111", name=[{"family": "Evasdotter", "given": ["Evangelina"]}]),
        patient("bo-there", "19800203-2222", name=[{"family": "Boson", "given": ["Bo"]}]),
        referral("s-eva", "Patient/eva-there", "R1", requester={"reference": "Organization/o"}),
        referral("s-bo", "Patient/bo-there", "R2", requester={"reference": "Organization/o"}),
        task("t-eva", "Patient/eva-there", "ServiceRequest/s-eva", number="T1"),
    )
    with serving(ehr):
        settings = settings_for(store_url, care=ehr)
        with Store.open(store_url) as store:
            run(store, settings)
            yield World(ehr, store, settings, of(store, "eva-there"), of(store, "bo-there"))


def test_nothing_of_the_patient_is_left_and_others_are_as_they_were(world: World) -> None:
    world.put(
        "Observation",
        "gone",
        status="final",
        code={"text": "x"},
        subject={"reference": f"Patient/{world.eva}"},
    )
    world.store.write(lambda transaction: transaction.delete("Observation", "gone"))
    bo = world.store.read("Patient", world.bo)
    plan = world.erase()
    assert plan.resources == {"Observation": 1, "Patient": 1, "ServiceRequest": 1, "Task": 1}
    assert plan.records == 3
    told = rows(world.store)
    for word in (world.eva, "eva-there", "19700102-1111", "Evasdotter", "s-eva", "t-eva"):
        assert [name for name, text in told.items() if word in text] == []
    assert world.store.read("Patient", world.bo) == bo
    assert world.faults() == []
    with pytest.raises(NotFound):
        world.store.read("Patient", world.eva)


def test_the_next_sync_does_not_bring_the_records_back(world: World) -> None:
    world.erase()
    world.ehr.put(patient("eva-there", "19700102-1111", name=[{"family": "Evasdotter"}]))
    world.ehr.put(referral("s-new", "Patient/eva-there", "R9", requester={"reference": "Organization/o"}))
    world.ehr.put(referral("s-bo2", "Patient/bo-there", "R8", requester={"reference": "Organization/o"}))
    world.sync()
    told = rows(world.store)
    assert "s-bo2" in told["crosswalk"]
    for word in ("eva-there", "Evasdotter", "s-new"):
        assert [name for name, text in told.items() if word in text] == []
    assert world.faults() == []


def test_with_again_the_next_sync_brings_them_back(world: World) -> None:
    world.erase(again=True)
    world.ehr.put(patient("eva-there", "19700102-1111"))
    world.sync()
    assert world.store.read("Patient", of(world.store, "eva-there")).data["birthDate"] == "1970-01-02"
    assert world.faults() == []


def test_it_is_refused_while_the_record_has_to_be_kept(world: World) -> None:
    before = rows(world.store)
    with pytest.raises(Conflict, match="has to be kept until"):
        world.erase(reason="")
    assert rows(world.store)["version"] == before["version"]
    kept = world.settings.model_copy(
        update={"retention": world.settings.retention.model_copy(update={"clinical_years": 0})}
    )
    erase(world.store, kept, world.eva)
    with pytest.raises(NotFound):
        world.store.read("Patient", world.eva)


@pytest.mark.parametrize("reason", ["Evasdotter asked for it", "for 19700102-1111"])
def test_a_reason_that_names_the_patient_is_refused(world: World, reason: str) -> None:
    with pytest.raises(BadRequest, match="names the patient"):
        world.erase(reason=reason)
    world.store.read("Patient", world.eva)


def test_what_is_about_others_too_is_named_and_then_unnamed(world: World) -> None:
    both = [{"entity": {"reference": f"Patient/{id}"}} for id in (world.eva, world.bo)]
    world.put("Group", "both", type="person", actual=True, member=both)
    world.put("Group", "earlier", type="person", actual=True, member=both)
    world.put("Group", "earlier", type="person", actual=True, member=both[1:])
    with pytest.raises(Conflict, match="About others too: Group/both"):
        world.erase()
    assert world.erase(dry_run=True).shared == ["Group/both"]
    world.store.read("Patient", world.eva)
    world.erase(unname=True)
    group = world.store.read("Group", "both")
    assert [member["entity"] for member in group.data["member"]] == [
        {"display": "erased"},
        {"reference": f"Patient/{world.bo}"},
    ]
    assert world.store.vread("Group", "earlier", 1).data["meta"]["security"][0]["code"] == "REDACTED"
    assert world.eva not in rows(world.store)["version"]
    assert world.faults() == []


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_no_file_of_sqlite_holds_what_was_erased(world: World) -> None:
    """PostgreSQL keeps old rows until VACUUM, which docs/subject-rights.md says."""
    url = world.settings.store.url
    file = Path(url.removeprefix("sqlite:///"))
    files = lambda: [path.read_bytes() for path in file.parent.glob(f"{file.name}*")]  # noqa: E731
    assert any(b"Evasdotter" in text for text in files())
    world.erase()
    assert [text.find(b"Evasdotter") for text in files() if b"Evasdotter" in text] == []
    assert not any(b"19700102-1111" in text for text in files())


def test_positions_of_the_log_are_not_given_again(world: World) -> None:
    world.put(
        "Observation",
        "last",
        status="final",
        code={"text": "x"},
        subject={"reference": f"Patient/{world.eva}"},
    )
    head = world.store.head()
    world.erase()
    assert world.store.head() == head
    world.put("Organization", "later", name="x")
    assert world.store.read("Organization", "later").position == head + 1
    assert world.faults() == []


def test_the_audit_keeps_the_reason_and_nothing_of_whom(world: World) -> None:
    world.erase()
    places = Places(world.store.database)
    try:
        found = [one.event for one in every(places, Wanted()) if one.event.interaction == "patient-erase"]
    finally:
        places.close()
    assert len(found) == 1
    assert REASON in found[0].query
    assert world.eva not in str(found[0])
    assert found[0].about == ()


def test_provenance_and_binaries_go_with_what_they_are_of(world: World) -> None:
    subject = {"subject": {"reference": f"Patient/{world.eva}"}}
    world.put("Observation", "lab", status="final", code={"text": "x"}, **subject)
    agent = [{"who": {"display": "x"}}]
    target = [{"reference": "Observation/lab"}]
    world.put("Provenance", "how", target=target, recorded="2026-01-01T00:00:00Z", agent=agent)
    for id in ("own", "other"):
        world.put("Binary", id, contentType="text/plain", data="eA==")
        content = [{"attachment": {"url": f"Binary/{id}"}}]
        world.put("DocumentReference", f"of-{id}", status="current", content=content, **subject)
    world.put("DocumentReference", "bos", status="current", content=[{"attachment": {"url": "Binary/other"}}])
    world.erase()
    for type, id in (("Provenance", "how"), ("Binary", "own")):
        with pytest.raises((NotFound, Gone)):
            world.store.read(type, id)
    world.store.read("Binary", "other")
    assert world.faults() == []


def test_a_copy_holds_everything_for_its_owner_only(world: World, tmp_path: Path) -> None:
    label = {"security": [{"code": "NOPAT"}]}
    subject = {"reference": f"Patient/{world.eva}"}
    world.put("Observation", "secret", meta=label, status="final", code={"text": "x"}, subject=subject)
    out = tmp_path / "copy"
    told = copy(world.store, world.settings, world.eva, out)
    assert told.resources == {"Observation": 1, "Patient": 1, "ServiceRequest": 1, "Task": 1}
    assert told.first == ["Observation/secret"]
    assert told.sync["received_base"] == 3
    record = json.loads((out / "resources/Patient.ndjson").read_text())
    assert record["name"][0]["family"] == "Evasdotter"
    page = (out / "index.html").read_text()
    assert "Evangelina Evasdotter" in page
    assert "<td>ServiceRequest</td><td>MRI</td><td>active</td>" in page
    assert "<td>2026-01-01T10:00:00Z</td><td>Task</td>" in page
    everything = "".join(path.read_text() for path in out.rglob("*") if path.is_file())
    assert "bo-there" not in everything
    assert {stat.S_IMODE(path.stat().st_mode) for path in (out, *out.rglob("*"))} == {0o700, 0o600}
    with pytest.raises(Exception, match="is there already"):
        copy(world.store, world.settings, world.eva, out)
    with pytest.raises(NotFound):
        copy(world.store, world.settings, "nobody", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy"]


def refusing(document: Document) -> Outcome:
    odd = document.data["id"].startswith("odd")
    return Outcome((Issue("error", "invariant", "no"),)) if odd else OK


def test_dead_letters_go_and_come_again_only_if_they_name_others(world: World, tmp_path: Path) -> None:
    bo = {"reference": "Patient/bo-there"}
    world.ehr.put(task("odd-eva", "Patient/eva-there", "ServiceRequest/s-eva"))
    world.ehr.put(task("odd-both", "Patient/eva-there", "ServiceRequest/s-eva", requester=bo))
    ehrs = tuple(one.model_copy(update={"on_invalid": "refuse"}) for one in world.settings.ehr)
    strict = world.settings.model_copy(update={"ehr": ehrs})
    run(world.store, strict, validate=refusing)
    assert "odd-eva" in rows(world.store)["dead_letter"]
    told = copy(world.store, strict, world.eva, tmp_path / "copy")
    assert [one.startswith("dead letter") for one in told.shared] == [True]
    assert "odd-both" not in (tmp_path / "copy" / "sync.ndjson").read_text()
    assert world.erase().letters == 2
    assert rows(world.store)["dead_letter"] == ""
    run(world.store, strict, validate=refusing, full=True)
    assert "odd-eva" not in rows(world.store)["dead_letter"]
    assert "odd-both" in rows(world.store)["dead_letter"]
    assert world.faults() == []


def test_a_patient_who_was_merged_is_erased_with_the_other(world: World) -> None:
    world.ehr.put(patient("eva-again", "19700102-9999", name=[{"family": "Evasdotter"}]))
    world.sync()
    other = of(world.store, "eva-again")
    assert other != world.eva
    world.ehr.put(
        patient("eva-again", "19700102-1111", name=[{"family": "Evasdotter", "given": ["Evangelina"]}])
    )
    world.sync()
    with world.store.connect() as connection:
        gone = [tuple(row) for row in connection.exec_driver_sql("SELECT id, successor FROM retired")]
    assert len(gone) == 1
    with pytest.raises(Conflict, match="was merged into"):
        erase(world.store, world.settings, gone[0][0], reason=REASON)
    erase(world.store, world.settings, gone[0][1], reason=REASON)
    told = rows(world.store)
    for word in (world.eva, other, "eva-there", "eva-again", "Evasdotter"):
        assert [name for name, text in told.items() if word in text] == []
    assert world.faults() == []


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_the_commands(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPROD_STORE__URL", world.settings.store.url)
    monkeypatch.setenv("COPROD_AUDIT__ON", "true")
    monkeypatch.setenv("COPROD_AUDIT__HEADS_FILE", str(tmp_path / "heads"))
    told = invoke("patient", "export", world.eva, "out", "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["audit"] == 1, "the copy tells of itself"
    told = invoke("patient", "erase", world.eva, "--dry-run", "--json")
    assert json.loads(told.stdout)["dryRun"] is True
    assert "--yes" in str(invoke("patient", "erase", world.eva, "--reason", REASON).exception)
    world.store.read("Patient", world.eva)
    told = invoke("patient", "erase", world.eva, "--reason", REASON, "--yes")
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("erased: 3 resources")
    assert isinstance(invoke("patient", "erase", world.eva, "--yes").exception, NotFound)
    assert invoke("audit", "verify").exit_code == 0


def test_the_page_runs_nothing_that_a_record_says(world: World, tmp_path: Path) -> None:
    subject = {"reference": f"Patient/{world.eva}"}
    odd = {"text": "<script>alert(1)</script>"}
    world.put("Observation", "odd", status="final", code=odd, subject=subject)
    world.put("Observation", "odder", status=["x"], code=[[]], effectiveDateTime=7, subject=subject)
    copy(world.store, world.settings, world.eva, tmp_path / "copy")
    page = (tmp_path / "copy" / "index.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
