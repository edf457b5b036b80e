"""`fhir-coprod ehr keys`: a key pair is made, shown for registration, and replaced without a gap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.errors import ConfigError
from fhir_coprod.sync.ehr import keys

EHR = '[[ehr]]\nname = "ward"\nurl = "https://ehr.example/fhir"\ntypes = ["Patient", "Task"]\n'


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    file = tmp_path / "coprod.toml"
    file.write_text(EHR)
    return file


def with_auth(config: Path, more: str) -> None:
    config.write_text(f'{EHR}auth = {{ type = "smart-backend", client_id = "c", {more} }}\n')


def made(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--config", str(config), "ehr", "keys", "ward", *arguments])


def printed(config: Path, *arguments: str) -> Any:
    result = made(config, "--algorithm", "ES384", "--json", *arguments)
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


def held(file: Path) -> list[str]:
    return [keys.key_id(key) for key in keys.read(file.read_text(), "it")]


def refusal(config: Path, *arguments: str) -> str:
    result = made(config, *arguments)
    assert isinstance(result.exception, ConfigError), result.exception
    return result.exception.message


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
def test_a_key_pair_is_made_before_the_ehr_has_given_a_client_id(
    config: Path, tmp_path: Path, algorithm: str
) -> None:
    result = made(config, "--algorithm", algorithm, "--json")
    registration = json.loads(result.stdout)
    private, public = Path(registration["privateKeys"]), Path(registration["jwkSet"])
    assert private.is_relative_to(tmp_path / "data")
    assert private.stat().st_mode & 0o777 == 0o600
    assert registration["keyIds"] == held(private)
    assert registration["algorithms"] == [algorithm]
    assert registration["scopes"] == ["system/Patient.read", "system/Task.read"]
    (key,) = json.loads(public.read_text())["keys"]
    assert (key["kid"], key["alg"], "d" in key) == (registration["keyIds"][0], algorithm, False)


def test_what_a_registration_asks_for_is_printed_and_nothing_of_the_private_key(config: Path) -> None:
    result = made(config, "--algorithm", "ES384")
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    for words in ("a new key", "private_key_jwt", "client_credentials", "system/Task.read", "JWK Set URL"):
        assert words in said
    assert "fhir-coprod ehr check ward" in said
    (file,) = config.parent.rglob("ward.pem")
    (key,) = keys.read(file.read_text(), "it")
    assert str(key.as_dict(private=True)["d"]) not in result.output
    assert "PRIVATE" not in result.output


def test_the_scopes_to_register_are_those_that_will_be_asked_for(config: Path) -> None:
    with_auth(config, 'scope = "system/Task.rs openid"')
    assert printed(config)["scopes"] == ["system/Task.rs", "openid"]
    with_auth(config, 'scope = ""')
    assert printed(config)["scopes"] == []


def test_a_key_that_is_there_stays_and_is_printed_again(config: Path) -> None:
    assert printed(config) == printed(config)
    assert "its key" in made(config).stdout


def test_a_key_is_replaced_in_three_steps_and_the_old_one_stays_until_the_last(config: Path) -> None:
    old = printed(config)["keyIds"]
    both = printed(config, "--rotate")
    assert both["keyIds"][1:] == old
    assert [key["kid"] for key in json.loads(Path(both["jwkSet"]).read_text())["keys"]] == both["keyIds"]
    assert "--drop-old" in refusal(config, "--rotate")
    assert held(Path(both["privateKeys"])) == both["keyIds"], "the key that the EHR knows is still there"
    last = printed(config, "--drop-old")
    assert last["keyIds"] == both["keyIds"][:1] == held(Path(both["privateKeys"]))


def test_a_key_file_of_the_settings_is_read_and_a_key_set_stays_one(config: Path, tmp_path: Path) -> None:
    with_auth(config, 'key_file = "own/keys.json"')
    (tmp_path / "own").mkdir()
    key = keys.new("ES384")
    (tmp_path / "own" / "keys.json").write_text(
        json.dumps({"keys": [{**key.as_dict(private=True), "kid": "ward-1"}]})
    )
    assert printed(config)["keyIds"] == ["ward-1"]
    both = printed(config, "--rotate")["keyIds"]
    assert both[1] == "ward-1"
    assert held(tmp_path / "own" / "keys.json") == both


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--algorithm", "HS256"), "write RS384 or ES384"),
        (("--rotate", "--drop-old"), "--drop-old comes after --rotate"),
    ],
)
def test_what_makes_no_sense_is_refused_and_makes_nothing(
    config: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refusal(config, *arguments)
    assert not (tmp_path / "data").exists()


def test_a_key_in_the_environment_is_not_ours_to_make(config: Path) -> None:
    with_auth(config, 'key_env = "WARD_KEY"')
    assert "name a key_file" in refusal(config)


@pytest.mark.parametrize(
    ("content", "said"),
    [("hunter2", "holds no private key"), ("\udcff", "it is no text"), (None, "is a dir")],
)
def test_a_file_that_holds_something_else_is_left_as_it_is(
    config: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    with_auth(config, 'key_file = "own.pem"')
    file = tmp_path / "own.pem"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content.encode(errors="surrogateescape"))
    told = refusal(config, "--rotate")
    assert said.casefold() in told.casefold()
    assert "hunter2" not in told
    assert content is None or file.read_bytes() == content.encode(errors="surrogateescape")


def test_an_ehr_that_is_not_in_the_settings_is_named(config: Path) -> None:
    result = CliRunner().invoke(app, ["--config", str(config), "ehr", "keys", "theatre"])
    assert "There is no EHR named 'theatre'; known: ward" in str(result.exception)
