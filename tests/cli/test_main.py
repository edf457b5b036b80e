"""The command itself: help, version, where --config may stand, and how faults end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fhir_coprod import cli, stopping
from fhir_coprod.cli.commands import COMMANDS, whole
from fhir_coprod.errors import ConfigError, Conflict, NotFound, plain
from tests import programs


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return programs.run("fhir_coprod", *arguments, cwd=cwd)


def test_help_lists_every_command_with_the_words_of_its_own_help() -> None:
    said = " ".join(run("--help").stdout.split())
    for name, place in COMMANDS.items():
        own = whole(place)
        assert own.help
        assert place.help == " ".join(own.help.split("\n\n")[0].split())
        assert f" {name} {place.help}" in said


@pytest.mark.parametrize("arguments", [("--version",), ("--help",)])
def test_what_needs_no_command_imports_none(arguments: tuple[str, ...]) -> None:
    loaded = modules_of(*arguments)
    commands = {place.module for place in COMMANDS.values()}
    assert not loaded & {f"fhir_coprod.cli.{module}" for module in commands}
    assert not loaded & (HEAVY | {"fhir_coprod.jsontext", "msgspec", "pydantic", "rich"})


HELP_OF_EACH = """
import json, os, sys
import rich.console, rich.table, typer.main  # which each of them needs, and which take most of the time
from fhir_coprod.cli import main
for command in sys.argv[1:]:
    if os.fork() == 0:
        sys.argv = ["fhir-coprod", command, "--help"]
        try:
            main()
        finally:
            print(json.dumps([command, *sys.modules]), file=sys.stderr, flush=True)
            os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def loaded_by_help() -> dict[str, set[str]]:
    """What the help of each command has imported; each in a process that had nothing but the list of them."""
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_EACH, *COMMANDS], capture_output=True, text=True, check=True
    )
    told = [json.loads(line) for line in done.stderr.splitlines()]
    return {command: set(modules) for command, *modules in told}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_loads_neither_store_nor_endpoint(
    loaded_by_help: dict[str, set[str]], command: str
) -> None:
    loaded = loaded_by_help[command]
    assert f"fhir_coprod.cli.{COMMANDS[command].module}" in loaded
    assert not loaded & (HEAVY | {"fhir_coprod.settings", "fhir_coprod.validation", "rich.markdown"})


def test_validating_loads_neither_store_nor_endpoint(tmp_path: Path) -> None:
    (tmp_path / "patient.json").write_text('{"resourceType":"Patient"}')
    loaded = modules_of("validate", str(tmp_path / "patient.json"))
    assert "fhir_coprod.validation" in loaded
    assert not loaded & HEAVY


def test_the_package_itself_loads_nothing_until_validate_is_asked_for() -> None:
    code = "import sys, fhir_coprod; before = {*sys.modules}; fhir_coprod.validate; print(*before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"fhir_coprod.validation", "fhir_coprod.jsontext", "msgspec"}


HEAVY = {"sqlalchemy", "psycopg", "fastapi", "uvicorn", "fhir.resources", "httpx", "structlog", "holidays"}
"""What takes from a tenth of a second to a whole one to load."""


def modules_of(*arguments: str) -> set[str]:
    """What the command has imported when it ends."""
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        "from fhir_coprod.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    return set(done.stderr.splitlines()[-1].split())


def test_version_is_printed() -> None:
    """By an interpreter that has loaded nothing before, as a person starts it."""
    command = [sys.executable, "-m", "fhir_coprod", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"


def test_unknown_command_is_wrong_use() -> None:
    ended = run("walk")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("before", [True, False])
def test_config_may_stand_before_or_after_the_command(tmp_path: Path, before: bool) -> None:
    (tmp_path / "bad.toml").write_text('[watch]\npolicyy = "x"\n')
    option = ("--config", "bad.toml")
    arguments = (*option, "db", "check") if before else ("db", "check", *option)
    ended = run(*arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert "watch.policyy: unknown key" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("Set it."), 2),
        (NotFound("Not here."), 2),
        (Conflict("Not now."), 1),
    ],
)
def test_each_error_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith("fhir-coprod: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_one_sentence_and_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    armed: list[int] = []
    monkeypatch.setattr(stopping, "end_in_time", armed.append)  # which would end this process
    monkeypatch.setattr(cli, "app", lambda: signal.raise_signal(number))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 128 + number
    assert set(armed) == {128 + number}
    assert capsys.readouterr().err.count("\n") == 1


def test_a_fault_of_ours_tells_its_kind_and_place_and_nothing_of_the_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError("Anna Lindqvist 1958-03-14")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "ValueError" in said
    assert "Lindqvist" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", [("watch",), ("alerts", "list"), ("dead-letters", "list")])
def test_looking_at_a_store_that_is_not_there_is_said_and_makes_none(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "coprod.toml").write_text('[store]\nurl = "sqlite:///nowhere/coprod.db"\n')
    ended = run(*command, cwd=tmp_path)
    assert ended.returncode == 2
    assert "There is no store at" in ended.stderr
    assert not (tmp_path / "nowhere").exists()


def test_what_an_ehr_says_cannot_write_to_the_terminal() -> None:
    assert plain("\x1b]0;own\x07Epic\n\x9b31m") == "�]0;own�Epic��31m"


def test_letters_that_a_bare_locale_lacks_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "coprod.toml").write_text("[site]\ntimezone = 'Mårs'\n")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "fhir_coprod", "watch"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 2
    assert "IANA time zone" in done.stderr


def test_output_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = programs.run(
            *("fhir_coprod", "load", "--json", str(tmp_path)),
            stdout=full,
            cwd=tmp_path,
            env={**os.environ, "COPROD_STORE__URL": f"sqlite:///{tmp_path / 'coprod.db'}"},
        )
    assert done.returncode == 2
    assert "The output cannot be written (No space left on device)." in " ".join(done.stderr.split())


@pytest.mark.parametrize("url", ["://x", "a b://x:y", "postgresql://u@h:port/x"])
def test_a_store_url_that_is_none_is_a_sentence(tmp_path: Path, url: str) -> None:
    (tmp_path / "coprod.toml").write_text(f'[store]\nurl = "{url}"\n')
    done = run("alerts", "list", cwd=tmp_path)
    assert done.returncode == 2
    assert "store.url is not a URL" in done.stderr
