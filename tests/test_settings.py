"""coprod.toml and the environment: what is read, which wins, and what a mistake gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_coprod.accounts import BearerAuth, SmartBackendAuth
from fhir_coprod.errors import ConfigError
from fhir_coprod.settings import Settings, StoreSettings


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COPROD_CONFIG", raising=False)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "given.toml"
    file.write_text(text)
    return file


def test_without_settings_the_store_is_sqlite_and_the_zone_is_utc() -> None:
    settings = Settings.load()
    assert settings.store.url.startswith("sqlite:///")
    assert settings.site.timezone == "UTC"
    assert settings.watch.policy == "default"
    assert settings.ehr == ()


def test_file_in_the_working_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "coprod.toml").write_text('[watch]\npolicy = "se-vardgaranti"\n')
    assert Settings.load().watch.policy == "se-vardgaranti"


def test_file_named_by_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPROD_CONFIG", str(written(tmp_path, '[site]\ncountry = "SE"\n')))
    assert Settings.load().site.country == "SE"


def test_environment_wins_over_the_file_and_leaves_its_other_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, '[site]\ncountry = "SE"\ntimezone = "Europe/Stockholm"\n')
    monkeypatch.setenv("COPROD_SITE__COUNTRY", "DK")
    site = Settings.load(file).site
    assert (site.country, site.timezone) == ("DK", "Europe/Stockholm")


def test_ehr_is_read_with_its_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, '[[ehr]]\nname = "imaging"\nurl = "https://ehr.example/fhir"\n')
    [ehr] = Settings.load(file).ehr
    assert (ehr.name, ehr.auth.type, ehr.timeout) == ("imaging", "none", 30.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[access.sign_in]\nissuer = "https://login.example"\nclient_id = "x"\nissuerr = 1\n',
            "access.sign_in.issuerr: unknown key; known keys here: ask, ca_file, client_id, departments",
        ),
        (
            '[access.sign_in]\nissuer = "http://login.example"\nclient_id = "x"\n',
            "access.sign_in.issuer: write an https address",
        ),
        (
            '[[access.issuer]]\nissuer = ""\naudience = "x"\n',
            "access.issuer.1.issuer: write an https address",
        ),
        (
            '[access.sign_in]\nissuer = "https://login.example"\nclient_id = "x"\nsecret = "y"\n',
            "access.sign_in: a secret is never a setting",
        ),
        (
            '[access.sign_in]\nissuer = "https://login.example"\nclient_id = "x"\n',
            "access.sign_in needs site.base_url",
        ),
        (
            '[access.sign_in]\nissuer = "https://login.example"\nclient_id = "x"\nroles = {a = "b"}\n',
            "sign_in.roles names 'b'",
        ),
        ('[access.roles.a]\nscopes = ["system/*.rs"]\n', "access.roles.a.scopes: a role is of people"),
        ('[access.roles.patient]\nscopes = ["user/*.rs"]\n', "patient is taken"),
        ('[watch]\npolicyy = "x"\n', "watch.policyy: unknown key; known keys here: policy, practice, words."),
        (
            "[wach]\n",
            "wach: unknown key; known keys here: access, audit, ehr, export, limits, log, retention, site,"
            " store, sync, tls, watch.",
        ),
        ('[site]\ntimezone = "Mars/Base"\n', "site.timezone: 'Mars/Base' is not an IANA time zone"),
        ('[[ehr]]\nname = "A B"\nurl = "https://x"\n', "ehr.1.name: write a short name"),
        ('[[ehr]]\nname = "a"\nurl = "ftp://x"\n', "ehr.1.url: write the FHIR base address"),
        ('[[ehr]]\nurl = "https://x"\n', "ehr.1.name: is missing."),
        (
            '[[ehr]]\nname = "a"\nurl = "http://x"\ndepartment = "ortho"\n',
            "ehr.1.department: write a reference as at that server, such as Organization/",
        ),
        (
            '[[ehr]]\nname = "a"\nurl = "http://x"\nauth = { type = "bearer", token = "s3cret" }\n',
            "ehr.1.auth: a secret is never a setting: token_env names the variable",
        ),
        (
            '[[ehr]]\nname = "a"\nurl = "http://x"\nauth = { type = "oauth" }\n',
            "ehr.1.auth: set type to one of none, basic, bearer",
        ),
        (
            '[[ehr]]\nname = "a"\nurl = "http://x"\n[[ehr]]\nname = "a"\nurl = "http://y"\n',
            "two [[ehr]] entries share the name 'a'",
        ),
        (
            '[[watch.practice]]\nstep = "task"\nused = false\ndepartment = "spine"\n',
            "watch.practice.1.department: write a reference as it is here, such as Organization/",
        ),
        (
            '[[watch.practice]]\nstep = "task"\nused = false\ncode = "183545006"\n',
            "watch.practice.1.code: write system|code",
        ),
        (
            '[[ehr]]\nname = "a"\nurl = "http://x"\n'
            '[[watch.practice]]\nstep = "task"\nused = false\nehr = "b"\n',
            "watch.practice: no [[ehr]] is called 'b'; there are a",
        ),
        ("[watch\n", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Settings.load(written(tmp_path, text))
    assert said in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "given.toml"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file"):
        Settings.load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    "name", ["COPROD_STORE__URI", "COPROD_STOR__URL", "COPROD_LIMITS", "COPROD_EHR__1__URL"]
)
def test_an_unknown_environment_variable_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigError, match=r"unknown|counted from 0"):
        Settings.load()


def test_a_secret_in_the_wrong_place_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '[[ehr]]\nname = "a"\nurl = "http://x"\nauth = { type = "basic", user = "u", pass = "hunter2" }\n',
    )
    with pytest.raises(ConfigError) as error:
        Settings.load(file)
    assert "hunter2" not in str(error.value)
    assert "pass: unknown key" in str(error.value)


def test_an_ehr_can_be_named_and_completed_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, '[[ehr]]\nname = "imaging"\nurl = "https://old.example/fhir"\n')
    monkeypatch.setenv("COPROD_EHR__0__URL", "https://new.example/fhir")
    monkeypatch.setenv("COPROD_EHR__0__AUTH__TYPE", "bearer")
    monkeypatch.setenv("COPROD_EHR__0__AUTH__TOKEN_ENV", "TOKEN")
    monkeypatch.setenv("COPROD_EHR__0__TYPES", "Patient,Task")
    [ehr] = Settings.load(file).ehr
    assert (ehr.name, ehr.url, ehr.auth.type) == ("imaging", "https://new.example/fhir", "bearer")
    assert ehr.types == ("Patient", "Task")


def test_what_is_known_of_a_site_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPROD_WATCH__WORDS", "ours.toml,theirs.toml")
    monkeypatch.setenv("COPROD_WATCH__PRACTICE__0__STEP", "told")
    monkeypatch.setenv("COPROD_WATCH__PRACTICE__0__USED", "false")
    watch = Settings.load().watch
    assert watch.words == (Path("ours.toml"), Path("theirs.toml"))
    assert [(one.step, one.used) for one in watch.practice] == [("told", False)]


def test_settings_made_by_hand_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPROD_STORE__URL", "postgresql://production.example/coprod")
    monkeypatch.setenv("COPROD_EHR__0__URL", "https://production.example/fhir")
    assert Settings(store=StoreSettings(url="sqlite:///demo.db")).store.url == "sqlite:///demo.db"
    assert Settings().ehr == ()


def test_relative_paths_in_a_file_are_meant_from_where_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    file = folder / "coprod.toml"
    file.write_text(
        '[store]\nurl = "sqlite:///data/coprod.db"\n[watch]\npolicy = "ours.toml"\n'
        '[[ehr]]\nname = "a"\nurl = "http://x"\nauth = { type = "bearer", token_file = "token" }\n'
        '[[ehr]]\nname = "b"\nurl = "http://y"\nvendor = "ward.toml"\n'
        '[[ehr]]\nname = "c"\nurl = "http://z"\nvendor = "epic"\n'
    )
    settings = Settings.load(file)
    assert [ehr.vendor for ehr in settings.ehr] == ["", str(folder / "ward.toml"), "epic"]
    assert settings.store.url == f"sqlite:///{folder / 'data' / 'coprod.db'}"
    assert settings.watch.policy == str(folder / "ours.toml")
    assert settings.ehr[0].auth == BearerAuth(type="bearer", token_file=folder / "token")


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@ehr.example/fhir", "https://ehr.example/fhir?key=hunter2"]
)
def test_a_url_that_carries_a_secret_is_refused_without_repeating_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as error:
        Settings.load(written(tmp_path, f'[[ehr]]\nname = "a"\nurl = "{url}"\n'))
    assert "hunter2" not in str(error.value)


EHR = '[[ehr]]\nname = "a"\nurl = "https://x.example/fhir"\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('auth = { type = "smart-backend" }', "client_id: is missing"),
        ('auth = { type = "smart-backend", client_id = "" }', "client_id"),
        ('auth = { type = "smart-backend", client_id = "c", key = "s3cret" }', "key_env names the variable"),
        (
            'auth = { type = "client-credentials", client_id = "c", secret = "s3cret" }',
            "secret_env names the variable",
        ),
        (
            'auth = { type = "smart-backend", client_id = "c", secret_file = "s3cret" }',
            "secret_file: unknown key",
        ),
        (
            'auth = { type = "client-credentials", client_id = "c", secret_in = "query" }',
            "secret_in",
        ),
        (
            'auth = { type = "smart-backend", client_id = "c", token_url = "login.example" }',
            "token_url: write an address",
        ),
        (
            'auth = { type = "smart-backend", client_id = "c", token_url = "https://u:s3cret@x.example/t" }',
            "token_url: write an address",
        ),
        (
            'auth = { type = "smart-backend", client_id = "c", jwks_url = "http://x.example/jwks.json" }',
            "jwks_url: write the https address",
        ),
        ('tls = { key_file = "k" }', "key_file needs certificate_file"),
        ("tls = { verify = false }", "verify: unknown key"),
    ],
)
def test_a_mistake_in_how_to_sign_in_is_told_without_repeating_a_secret(
    tmp_path: Path, line: str, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        Settings.load(written(tmp_path, EHR + line))
    assert said in error.value.message
    assert "s3cret" not in error.value.message


def test_a_token_endpoint_may_have_a_query(tmp_path: Path) -> None:
    url = "https://login.example/token?policy=b2c"
    auth = f'auth = {{ type = "smart-backend", client_id = "c", token_url = "{url}" }}'
    (ehr,) = Settings.load(written(tmp_path, EHR + auth)).ehr
    assert isinstance(ehr.auth, SmartBackendAuth)
    assert ehr.auth.token_url == url


@pytest.mark.parametrize(
    ("section", "key", "line"),
    [
        ("auth", "key_file", 'auth = { type = "smart-backend", client_id = "c", key_file = "x" }'),
        ("auth", "secret_file", 'auth = { type = "client-credentials", client_id = "c", secret_file = "x" }'),
        ("auth", "password_file", 'auth = { type = "basic", user = "u", password_file = "x" }'),
        ("tls", "ca_file", 'tls = { ca_file = "x" }'),
        ("tls", "certificate_file", 'tls = { certificate_file = "x" }'),
        ("tls", "key_file", 'tls = { certificate_file = "c", key_file = "x" }'),
    ],
)
def test_each_file_of_how_to_sign_in_is_meant_from_where_the_settings_stand(
    tmp_path: Path, section: str, key: str, line: str
) -> None:
    (tmp_path / "etc").mkdir()
    (ehr,) = Settings.load(written(tmp_path / "etc", EHR + line)).ehr
    assert getattr(getattr(ehr, section), key) == tmp_path / "etc" / "x"
    (ehr,) = Settings.load(written(tmp_path / "etc", EHR + line.replace('"x"', '"/run/x"'))).ehr
    assert getattr(getattr(ehr, section), key) == Path("/run/x")


def test_how_to_sign_in_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("NAME", "a"),
        ("URL", "https://x.example"),
        ("AUTH__TYPE", "smart-backend"),
        ("AUTH__CLIENT_ID", "c"),
        ("AUTH__KEY_ENV", "KEY"),
        ("TLS__CA_FILE", "/etc/ca.pem"),
    ):
        monkeypatch.setenv(f"COPROD_EHR__0__{name}", value)
    (ehr,) = Settings.load().ehr
    assert ehr.auth == SmartBackendAuth(type="smart-backend", client_id="c", key_env="KEY")
    assert ehr.tls.ca_file == Path("/etc/ca.pem")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("COPROD_STORE__URLL", "x", "unknown key; known keys here: url."),
        ("COPROD_EHR__0__NAME", "A B", "write a short name"),
        ("COPROD_EHR__0__AUTH__TYPE", "magic", "set type to one of"),
        ("COPROD_SYNC__EVERY_MINUTES", "often", "should be a valid number"),
    ],
)
def test_a_mistake_in_the_environment_is_blamed_on_the_variable_and_not_on_the_file(
    variable: str, value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "coprod.toml"
    file.write_text('[[ehr]]\nname = "a"\nurl = "https://a.example/fhir"\n')
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as error:
        Settings.load(file)
    assert error.value.message.startswith(f"environment variable {variable}: ")
    assert said in error.value.message
    assert "coprod.toml" not in error.value.message
