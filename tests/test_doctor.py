"""`doctor` finds what is wrong, says what to do, and tells nobody's secrets."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from starlette.responses import JSONResponse

from fhir_coprod import doctor
from fhir_coprod.accounts import BearerAuth, ClientCredentialsAuth, TlsSettings
from fhir_coprod.audit_settings import AuditSettings
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from fhir_coprod.sync import alone, runs
from fhir_coprod.sync.engine import run
from fhir_coprod.watch import sweep
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.worklist import desk
from tests.sync.conftest import settings_for
from tests.sync.ehr.certificates import Authority, secured
from tests.sync.guarded import GuardedEhr
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving
from tests.sync.test_cli import BAD, coprod

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
SECRET = "s3cret-token"
NAMES = ("Öst", "19700102")
"""What the records have of people."""


@pytest.fixture
def care() -> Iterator[GuardedEhr]:
    ehr = GuardedEhr()
    ehr.load(organization("care", "GP"), patient("p", "19700102"), referral("s", "Patient/p", "R1"))
    with serving(ehr):
        yield ehr


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(SECRET)
    file.chmod(0o600)
    return file


@pytest.fixture
def settings(store_url: str, care: Ehr, token: Path) -> Settings:
    made = settings_for(store_url, care=care)
    return _with(made, auth=BearerAuth(type="bearer", token_file=token))


def _with(settings: Settings, **more: Any) -> Settings:
    (ehr,) = settings.ehr
    return settings.model_copy(update={"ehr": (ehr.model_copy(update=more),)})


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'coprod.db'}"


@pytest.fixture
def healthy(settings: Settings) -> Settings:
    """Synced and watched just now."""
    with Store.open(settings.store.url) as store:
        run(store, settings)
        sweep(store, policies.load("default", settings.site), datetime.now(UTC), settings)
    return settings


def examined(settings: Settings, now: datetime | None = None) -> dict[str, doctor.Finding]:
    """What is not as it should be, by what it is about."""
    found = list(doctor.examine(settings, now or datetime.now(UTC), units=()))
    told = json.dumps([each.to_json() for each in found], ensure_ascii=False)
    assert SECRET not in told
    assert not [name for name in NAMES if name in told]
    # Errors that we raise anywhere say themselves what to do.
    own = [each for each in found if each.about.endswith(("answers", "sync", "known", "letters", "watch"))]
    assert all(each.cure for each in own if each.grade == "fault")
    return {each.about: each for each in found if each.grade in ("warn", "fault")}


def test_a_healthy_site_has_no_fault(healthy: Settings) -> None:
    assert examined(healthy) == {}


def test_everything_has_a_line(healthy: Settings) -> None:
    about = [each.about for each in doctor.examine(healthy, NOW, units=())]
    for each in ("versions", "settings", "store", "disk", "watch", "referrals", "service"):
        assert each in about
    for each in ("secrets", "answers", "sync", "known"):
        assert f"care: {each}" in about


def test_nothing_is_written_but_the_probe_of_the_disk(healthy: Settings) -> None:
    with Store.open(healthy.store.url) as store:
        before = store.head(), runs_of(store)
        examined(healthy)
        assert (store.head(), runs_of(store)) == before


def runs_of(store: Store) -> Any:
    with store.connect() as connection:
        return runs.last(connection, ["care"], 9)


# --- what may be wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audit", "grade"),
    [
        ({"on": True}, "warn"),
        ({"on": True, "syslog": True}, "ok"),
        ({"on": True, "heads_file": "heads.jsonl"}, "ok"),
        ({"on": False}, None),
        ({}, None),
    ],
)
def test_an_audit_on_postgresql_whose_end_could_be_cut_off_is_told(
    postgresql_store: str, audit: dict[str, Any], grade: str | None
) -> None:
    Store.open(postgresql_store).close()
    settings = Settings(store=StoreSettings(url=postgresql_store), audit=AuditSettings(**audit))
    found = [one.grade for one in doctor.examine(settings, NOW) if one.about == "audit"]
    assert found == ([grade] if grade else [])


def test_a_secret_that_others_can_read_or_that_is_gone(healthy: Settings, token: Path) -> None:
    token.chmod(0o644)
    found = examined(healthy)["care: secrets"]
    assert found.grade == "fault"
    assert "mode 0644" in found.words
    assert found.cure.endswith(f"chmod 600 {token}")
    token.unlink()
    assert "cannot be read" in examined(healthy)["care: secrets"].words


def test_a_secret_that_the_group_can_read_is_only_told_if_it_is_ours(
    healthy: Settings, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """root:coprod with 0640 is how many keep secrets: chmod 600 would take it from the account that syncs."""
    token.chmod(0o640)
    assert examined(healthy)["care: secrets"].grade == "warn"
    monkeypatch.setattr(os, "geteuid", lambda: token.stat().st_uid + 1)
    assert examined(healthy) == {}
    token.chmod(0o644)
    assert "chown" in examined(healthy)["care: secrets"].cure


def test_a_store_that_cannot_be_opened_on_a_full_disk_is_told_so(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(healthy.store.url.removeprefix("sqlite:///")).write_bytes(b"no database" * 1000)
    assert "disk" not in examined(healthy)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert "Make room" in examined(healthy)["disk"].cure


def test_a_token_that_has_run_out_is_found_before_a_sync_fails(healthy: Settings, token: Path) -> None:
    """The statement of what it can do is for anybody, with any token."""
    token.write_text("another-token")
    found = examined(healthy)
    assert list(found) == ["care: answers"]
    assert "refuses us (401)" in found["care: answers"].words
    with Store.open(healthy.store.url) as store:
        run(store, healthy)
    assert "refuses us" in examined(healthy)["care: sync"].words


def test_a_token_that_does_not_allow_all_types_names_them(
    healthy: Settings, care: GuardedEhr, token: Path
) -> None:
    care.scope = "system/Patient.rs system/ServiceRequest.rs"
    auth = ClientCredentialsAuth(
        type="client-credentials", client_id="us", secret_file=token, token_url=care.authority
    )
    found = examined(_with(healthy, auth=auth))
    assert list(found) == ["care: answers"]
    assert "does not allow us to read Organization, " in found["care: answers"].words
    assert "types" in found["care: answers"].cure


def test_no_record_is_read_to_find_out_whether_we_are_let_in(healthy: Settings, care: GuardedEhr) -> None:
    care.requests.clear()
    examined(healthy)
    assert [each.rsplit("/", 1)[-1] for each in care.requests] == ["metadata", "Organization?_summary=count"]


def test_a_secret_that_is_gone_is_one_fault_and_not_two(healthy: Settings, token: Path) -> None:
    token.unlink()
    assert list(examined(healthy)) == ["care: secrets"]


@pytest.mark.parametrize("software", ["HAPI", ["HAPI"], {"name": ["HAPI"]}, {"name": None}])
def test_a_statement_of_a_wrong_shape_stops_no_check(
    healthy: Settings, care: GuardedEhr, monkeypatch: pytest.MonkeyPatch, software: object
) -> None:
    statement = JSONResponse({"resourceType": "CapabilityStatement", "software": software})
    answer = care.answer
    monkeypatch.setattr(care, "answer", lambda r: statement if "metadata" in r.url.path else answer(r))
    assert examined(healthy) == {}


def certificate(file: Path, ends: datetime) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hospital")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(ends - 400 * DAY).not_valid_after(ends)
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return file


def test_the_certificate_of_an_ehr_that_runs_out(healthy: Settings, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    statement = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{"mode": "server"}]}
    with secured(authority.signs("server"), answers=statement) as server:
        ehr = _with(healthy, url=server.url, tls=TlsSettings(ca_file=authority.file))
        told = [each for each in doctor.examine(ehr, NOW, units=()) if each.about == "care: certificate"]
    assert [each.grade for each in told] == ["warn", "warn"], "ours, and theirs: both last a day"
    assert told[1].words.startswith("that of the EHR itself is valid until ")


@pytest.mark.parametrize(("days", "grade"), [(-1, "fault"), (10, "warn"), (100, None)])
def test_a_certificate_that_runs_out(healthy: Settings, tmp_path: Path, days: int, grade: str | None) -> None:
    file = certificate(tmp_path / "ca.pem", NOW + days * DAY)
    found = examined(_with(healthy, tls=TlsSettings(ca_file=file))).get("care: certificate")
    assert (found and found.grade) == grade


def test_a_file_that_is_no_certificate(healthy: Settings, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    found = examined(_with(healthy, tls=TlsSettings(ca_file=tmp_path / "ca.pem")))
    assert "cannot be read as certificates" in found["care: certificate"].words


def test_an_ehr_that_is_down(healthy: Settings) -> None:
    found = examined(_with(healthy, url="http://127.0.0.1:9/fhir"))
    assert list(found) == ["care: answers"]
    assert "ehr check care" in found["care: answers"].cure


def test_a_paused_ehr_is_not_asked_and_is_no_fault(healthy: Settings, care: Ehr, tmp_path: Path) -> None:
    config = tmp_path / "coprod.toml"
    config.write_text(f'[store]\nurl = "{healthy.store.url}"\n[[ehr]]\nname = "care"\nurl = "{care.url}"\n')
    coprod(config, "ehr", "pause", "care", "--because", "upgrade")
    care.requests.clear()
    result = coprod(config, "doctor")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.count("upgrade") == 2
    assert care.requests == []
    assert result.stdout.rstrip().endswith("Nothing is wrong.")
    assert coprod(config, "doctor", "--quiet").output == ""


@pytest.fixture
def late_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(seconds=90)

    monkeypatch.setattr(doctor, "datetime", Late)


@pytest.mark.usefixtures("late_clock")
def test_a_wrong_clock(healthy: Settings) -> None:
    found = examined(healthy)["care: clock"]
    assert found.grade == "warn"
    assert "seconds behind the EHR's" in found.words


@pytest.mark.usefixtures("late_clock")
def test_the_time_of_a_cache_between_us_is_not_called_the_ehr_s(
    healthy: Settings, care: GuardedEhr, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = JSONResponse({"resourceType": "CapabilityStatement"}, headers={"Age": "3600"})
    answer = care.answer
    monkeypatch.setattr(care, "answer", lambda r: cached if "metadata" in r.url.path else answer(r))
    assert "care: clock" not in examined(healthy)


def test_records_that_could_not_be_taken_in(healthy: Settings, care: Ehr) -> None:
    care.put({"resourceType": "Task", "id": "bad"})
    care.broken["Task/bad"] = BAD
    with Store.open(healthy.store.url) as store:
        run(store, _with(healthy, on_invalid="refuse"))
    found = examined(healthy)
    assert set(found) == {"care: dead letters"}
    assert "dead-letters list" in found["care: dead letters"].cure


def test_what_nobody_synced_or_watched_for_a_day(healthy: Settings) -> None:
    found = examined(healthy, NOW + 2 * DAY)
    assert found["care: known"].words == "only everything up to 2 days ago"
    assert found["watch"].words == "nobody has watched for 2 days"


def test_alerts_that_nobody_takes_and_patients_who_are_not_told(healthy: Settings, care: Ehr) -> None:
    care.put(task("t", "Patient/p", "ServiceRequest/s"))
    policy = policies.load("default", healthy.site)
    with Store.open(healthy.store.url) as store:
        run(store, healthy)
        sweep(store, policy, datetime.now(UTC), healthy)
        (alert,) = desk.worklist(store, healthy)
        found = {each.about: each for each in doctor.examine(healthy, NOW + 10 * DAY, units=())}
        assert found["alerts"].grade == "warn"
        assert "nobody has taken any" in found["alerts"].words
        assert found["letters"].words.endswith(": 1")
        desk.acknowledge(store, healthy, policy, alert["id"], "Karin Sand", datetime.now(UTC))
    assert "alerts" not in examined(healthy)


def test_it_reads_a_store_on_postgresql_too(postgresql_store: str, settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"store": StoreSettings(url=postgresql_store)})
    Store.open(postgresql_store).close()
    assert examined(elsewhere)["care: sync"].words == "never synced"
    with Store.open(postgresql_store) as store:
        run(store, elsewhere)
        sweep(store, policies.load("default", elsewhere.site), datetime.now(UTC), elsewhere)
    assert examined(elsewhere) == {}


def test_a_run_that_was_cut_off(healthy: Settings) -> None:
    with Store.open(healthy.store.url) as store:
        later = datetime.now(UTC) + timedelta(minutes=1)
        store.write(lambda t: runs.begin(t.connection, "20260101-000000-aaaa", ["care"], later))
        store.write(lambda t: runs.begin(t.connection, "20260101-000001-aaaa", [], later))
    assert "was cut off" in examined(healthy)["care: sync"].words


def test_a_run_that_was_killed_is_not_called_in_progress(healthy: Settings) -> None:
    """The next run would note it, and that one may be hours away."""
    with Store.open(healthy.store.url) as store:
        store.write(lambda t: runs.begin(t.connection, "20990101-000000-aaaa", ["care"], t.now))
        with alone.alone(store):
            assert examined(healthy) == {}
        found = examined(healthy)
    assert found["care: sync"].words == "run 20990101-000000-aaaa was cut off"


def test_a_first_read_that_takes_hours_is_no_fault(settings: Settings, care: GuardedEhr) -> None:
    with Store.open(settings.store.url) as store:
        care.failing.add("ServiceRequest")
        run(store, settings)
        sweep(store, policies.load("default", settings.site), datetime.now(UTC), settings)
        assert "never read whole: ServiceRequest" in examined(settings)["care: known"].words
        store.write(lambda t: runs.begin(t.connection, "20990101-000000-aaaa", ["care"], t.now))
        with alone.alone(store):
            assert examined(settings) == {}


def test_no_store_yet(settings: Settings) -> None:
    found = examined(settings)
    assert set(found) == {"store"}
    assert "fhir-coprod sync" in found["store"].cure
    assert not Path(settings.store.url.removeprefix("sqlite:///")).exists()


def test_a_store_that_is_none(settings: Settings) -> None:
    Path(settings.store.url.removeprefix("sqlite:///")).write_bytes(b"no database" * 1000)
    assert examined(settings)["store"].grade == "fault"


def test_never_synced_and_never_watched(settings: Settings) -> None:
    Store.open(settings.store.url).close()
    found = examined(settings)
    assert found["care: sync"].words == "never synced"
    assert found["watch"].words == "nobody has ever watched"


def test_a_policy_that_is_not_there(healthy: Settings) -> None:
    watch = healthy.watch.model_copy(update={"policy": "nowhere"})
    assert "nowhere" in examined(healthy.model_copy(update={"watch": watch}))["settings"].words


def test_a_store_made_by_another_version(healthy: Settings) -> None:
    with Store.open(healthy.store.url) as store:
        store.write(lambda t: t.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0012'"))
    found = examined(healthy)["store"]
    assert "an older version (schema 0012)" in found.words
    assert "db upgrade" in found.cure


def test_units_of_systemd_are_named(healthy: Settings, tmp_path: Path) -> None:
    (tmp_path / "fhir-coprod.service").touch()
    *_, last = doctor.examine(healthy, NOW, units=(str(tmp_path),))
    assert last.words == "systemd has fhir-coprod.service"


# --- the command ----------------------------------------------------------------------------------


def test_the_command_ends_with_1_for_a_fault_and_says_what_to_do(
    tmp_path: Path, care: Ehr, token: Path
) -> None:
    config = tmp_path / "coprod.toml"
    config.write_text(
        f'[store]\nurl = "sqlite:///none.db"\n[[ehr]]\nname = "care"\nurl = "{care.url}"\n'
        f'auth = {{ type = "bearer", token_file = "{token}" }}\n'
    )
    result = coprod(config, "doctor")
    assert result.exit_code == 1
    assert "FAULT store: there is none at" in result.stdout
    assert "→ fhir-coprod sync makes it" in result.stdout
    assert result.stdout.rstrip().endswith("1 fault.")
    found = json.loads(coprod(config, "doctor", "--json").stdout)
    assert [each["about"] for each in found if each["grade"] == "fault"] == ["store"]
    quiet = coprod(config, "doctor", "--quiet")
    assert quiet.stdout == ""
    assert len(quiet.stderr.splitlines()) == 1
    care.failing.add("Patient")
    coprod(config, "sync", "--quiet")
    for line in coprod(config, "doctor", "--quiet").stderr.splitlines():
        assert ".. " not in line
        assert line.count("care: ") <= 1


def test_settings_that_cannot_be_read_are_an_error_of_their_own(tmp_path: Path) -> None:
    config = tmp_path / "coprod.toml"
    config.write_text("[store]\nurll = 1\n")
    assert "unknown key" in str(coprod(config, "doctor").exception)
