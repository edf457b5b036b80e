"""Nothing is answered that cannot be recorded; what is off costs nothing and leaves nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fhir_coprod.audit.events import Event, by
from fhir_coprod.audit.trail import Trail, user_here
from fhir_coprod.audit_settings import AuditSettings
from fhir_coprod.errors import Unrecorded
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from tests.api.conftest import Api, outcome, patient
from tests.audit.conftest import Audited


def test_a_read_that_cannot_be_recorded_is_not_answered(audited: Audited) -> None:
    audited.api.put("Patient/p", patient(id="p"))
    assert audited.api.get("Patient/p").status_code == 200
    audited.tamper("reads", "ALTER TABLE audit_call RENAME TO elsewhere")
    answer = audited.api.get("Patient/p")
    assert answer.status_code == 503
    assert "cannot be recorded" in outcome(answer)["diagnostics"]
    assert "birthDate" not in answer.text
    audited.tamper("reads", "ALTER TABLE elsewhere RENAME TO audit_call")
    assert audited.api.get("Patient/p").status_code == 200


def test_a_write_whose_row_cannot_be_written_is_not_done(audited: Audited) -> None:
    audited.api.put("Patient/p", patient(id="p"))
    audited.tamper("writes", "ALTER TABLE audit_resource RENAME TO elsewhere")
    assert audited.api.put("Patient/q", patient(id="q")).status_code >= 500
    audited.tamper("writes", "ALTER TABLE elsewhere RENAME TO audit_resource")
    assert audited.api.get("Patient/q").status_code == 404
    assert audited.api.put("Patient/q", patient(id="q")).status_code == 201
    audited.stop()
    assert audited.flaws() == []


def test_without_the_setting_the_machine_itself_leaves_no_rows(store_url: str, tmp_path: Path) -> None:
    with Store.open(store_url) as store:
        api = Api(store, Settings(store=StoreSettings(url=store_url)))
        api.put("Patient/p", patient(id="p"))
        api.get("Patient/p")
        api.close()
        assert store.database.read("SELECT count(*) FROM audit_call") == [(0,)]
        assert not list(tmp_path.glob("*audit*"))


def test_many_at_once_and_several_processes_each_have_their_chain(audited: Audited) -> None:
    event = Event(*by(user_here(), ""), "read", "Patient", "p")
    trails = [Trail(audited.store, audited.settings.audit) for _ in range(3)]

    def send(trail: Trail) -> None:
        for future in [trail.submit([event]) for _ in range(50)]:
            future.result()

    threads = [threading.Thread(target=send, args=(trail,)) for trail in trails for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for trail in trails:
        trail.close()
    assert len(audited.calls()) == 300
    assert len({found.chain for found in audited.calls()}) == 3
    assert audited.flaws() == []


def test_a_heads_file_that_cannot_be_written_is_said_at_once(audited: Audited, tmp_path: Path) -> None:
    settings = AuditSettings(on=True, heads_file=tmp_path / "nowhere" / "heads")
    with pytest.raises(Exception, match=r"audit\.heads_file"):
        Trail(audited.store, settings).open()


def test_an_audit_that_is_full_says_so(audited: Audited) -> None:
    with Trail(audited.store, audited.settings.audit) as trail:
        trail.open()
        audited.tamper("reads", "ALTER TABLE audit_call RENAME TO elsewhere")
        with pytest.raises(Unrecorded):
            trail.submit([Event(*by(user_here(), ""), "read")]).result()
        audited.tamper("reads", "ALTER TABLE elsewhere RENAME TO audit_call")
