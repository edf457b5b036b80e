"""`load` and `validate` as processes on odd files: one sentence each, the right exit code, nothing lost."""

from __future__ import annotations

import gzip
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import programs

A, B = b'{"resourceType":"Patient","id":"a"}\n', b'{"resourceType":"Patient","id":"b"}\n'
ESCAPES = "\x1b[31m\x1b]8;;http:\n\u202e[red]\udcff.ndjson"


def run(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COPROD_STORE__URL": f"sqlite:///{folder / 'store.db'}"}
    return programs.run("fhir_coprod", *arguments, input=stdin, cwd=folder, env=environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good file at each end and odd ones between."""
    made = tmp_path / "in"
    made.mkdir()
    (made / "a.ndjson").write_bytes(A)
    (made / "z.ndjson.gz").write_bytes(gzip.compress(B))
    (made / "again.ndjson").symlink_to("a.ndjson")
    (made / "cut.ndjson.gz").write_bytes(gzip.compress(A)[:-9])
    (made / "gone.ndjson").symlink_to("nowhere")
    (made / "long.ndjson").write_bytes(A + b'{"resourceType":"Patient","x":"' + b"x" * 5000 + b'"}\n')
    os.mkfifo(made / "pipe.ndjson")
    (made / ESCAPES).write_bytes(b"{not json\n")
    (made / "up").symlink_to("..")
    return made


@pytest.mark.parametrize("command", ["load", "validate"])
def test_odd_files_are_told_and_the_others_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COPROD_LIMITS__RECORD_BYTES", "1000")
    done = run(folder, command, ".")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert all(character == "\n" or character.isprintable() for character in said)
    assert "again.ndjson: the same file as" in done.stderr or "a.ndjson: the same file as" in done.stderr
    for words in (
        "compressed data (gzip) are cut off",
        "no such file",
        "more than the 1,000 that one may have",
        "a pipe and was left out",
        "\\x1b[31m\\x1b]8;;http:\\n\\u202e[red]\\xff.ndjson:1",
    ):
        assert said.count(words) == 1, (words, said)
    total = (
        "2 created, 1 unchanged, 5 dead" if command == "load" else "3 valid (3 with warnings), 5 not valid"
    )
    assert total in said


def test_dead_letters_of_odd_files_stay_apart_and_are_printed_clean(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPROD_LIMITS__RECORD_BYTES", "1000")
    for _ in range(2):
        told = json.loads(run(folder, "load", "--json", ".").stdout)
        assert (told["dead"], len(told["records"])) == (5, 5)
    letters = json.loads(run(folder, "dead-letters", "list", "--json").stdout)
    assert len({letter["position"] for letter in letters}) == 5
    monkeypatch.setenv("COLUMNS", "400")
    listed = run(folder, "dead-letters", "list").stdout
    shown = "".join(run(folder, "dead-letters", "show", str(letter["id"])).stdout for letter in letters)
    for said in (listed, shown):
        assert "\\x1b[31m\\x1b]8;;http:\\n\\u202e[red]\\xff.ndjson" in said
        assert all(character == "\n" or character.isprintable() for character in said)
    for name in ("gone.ndjson", "pipe.ndjson"):
        (folder / name).unlink()
    run(folder, "load", "a.ndjson")
    assert run(folder, "dead-letters", "replay").returncode == 1


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("command", ["load", "validate"])
def test_standard_input_is_read_by_both(tmp_path: Path, command: str, packed: bool) -> None:
    done = run(tmp_path, command, "-", stdin=gzip.compress(A + B) if packed else A + B)
    assert done.returncode == 0, done.stderr
    assert ("2 created" if command == "load" else "2 valid") in done.stdout


def test_json_of_validate_stays_whole_when_a_file_cannot_be_read(folder: Path) -> None:
    done = run(folder, "validate", "--format", "json", ".")
    outcomes = json.loads(done.stdout)
    assert len(outcomes) == 8
    assert done.returncode == 1


@pytest.mark.parametrize("command", ["load", "validate"])
def test_a_name_that_looks_like_an_option_is_not_repeated_raw(tmp_path: Path, command: str) -> None:
    (tmp_path / "-\x1b[31m.ndjson").write_bytes(A)
    done = run(tmp_path, command, "-\x1b[31m.ndjson")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "write ./ before it" in done.stderr
    assert run(tmp_path, command, "--", "-\x1b[31m.ndjson").returncode == 0


@pytest.mark.parametrize(
    ("way", "code", "command"),
    [
        pytest.param(signal.SIGTERM, 143, "load", id="SIGTERM-load"),
        pytest.param(signal.SIGTERM, 143, "validate", id="SIGTERM-validate", marks=pytest.mark.proof),
        pytest.param(signal.SIGINT, 130, "load", id="Ctrl-C-load", marks=pytest.mark.proof),
        pytest.param(signal.SIGINT, 130, "validate", id="Ctrl-C-validate"),
    ],
)
def test_somebody_stops_it_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, way: signal.Signals, code: int
) -> None:
    monkeypatch.setenv("COPROD_STORE__URL", f"sqlite:///{tmp_path / 'store.db'}")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "said").open("wb") as said:
        program = programs.start("fhir_coprod", command, "pipe", cwd=tmp_path, stdout=said, stderr=said)
        with (tmp_path / "pipe").open("wb") as pipe:
            pipe.write(A + b"".join(b'{"resourceType":"Patient","id":"p%d"}\n' % n for n in range(600)))
            pipe.flush()
            time.sleep(1.5)
            program.send_signal(way)
            assert program.wait(20) == code
    told = (tmp_path / "said").read_text()
    assert "Traceback" not in told
    assert ("stopped before it was done." in told) is (way == signal.SIGTERM)


def test_nobody_reads_its_output_any_more(tmp_path: Path) -> None:
    (tmp_path / "many.ndjson").write_bytes((A + b"{bad\n") * 20_000)
    command = [sys.executable, "-m", "fhir_coprod", "validate", "many.ndjson"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(30) == 1
    assert said == b""


def test_progress_is_drawn_on_a_terminal_only(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(A)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COPROD_STORE__URL": f"sqlite:///{tmp_path / 'store.db'}", "TERM": "xterm"}
    done = programs.run(
        "fhir_coprod",
        "load",
        "--json",
        "a.ndjson",
        stderr=theirs,
        cwd=tmp_path,
        env=environment,  # type: ignore[arg-type]
    )
    os.close(theirs)
    assert json.loads(done.stdout)["created"] == 1
    assert b"loading" in os.read(ours, 10_000)
    os.close(ours)
    assert run(tmp_path, "load", "a.ndjson").stderr == ""
