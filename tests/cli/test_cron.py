"""The crontab of the docs, run as cron runs it: a bare environment, and a mail if anything is printed."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.responses import Response

from fhir_coprod.store import Store
from fhir_coprod.sync import alone
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving
from tests.sync.test_cli import BAD, coprod
from tests.test_docs import cron_line


@pytest.fixture
def care() -> Iterator[Ehr]:
    ehr = Ehr().load(
        organization("care", "GP"),
        patient("p", "19700102"),
        referral("s", "Patient/p", "R1"),
        task("t", "Patient/p", "ServiceRequest/s"),
    )
    with serving(ehr):
        yield ehr


class Machine:
    """The places that the docs name, below one folder."""

    def __init__(self, root: Path, ehr: Ehr) -> None:
        self.root = root
        for folder in ("opt/fhir-coprod/bin", "etc/fhir-coprod", "var/lib/fhir-coprod"):
            (root / folder).mkdir(parents=True)
        program = root / "opt/fhir-coprod/bin/fhir-coprod"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fhir_coprod "$@"\n')
        program.chmod(0o755)
        self.config = root / "etc/fhir-coprod/coprod.toml"
        self.config.write_text(
            f'[store]\nurl = "sqlite:///{root}/var/lib/fhir-coprod/coprod.db"\n'
            f'[[ehr]]\nname = "care"\nurl = "{ehr.url}"\non_invalid = "refuse"\n'
            'types = ["Organization", "Patient", "ServiceRequest", "Task", "Communication"]\n'
        )
        self.last_sync = root / "var/lib/fhir-coprod/last-sync.json"
        self.last_watch = root / "var/lib/fhir-coprod/last-watch.json"

    def cron(self) -> str:
        """Run the line as cron does; returns what would be mailed."""
        command = cron_line().split(maxsplit=5)[5]
        for place in ("/opt/", "/etc/", "/var/"):
            command = command.replace(f" {place}", f" {self.root}{place}")
            command = command.removeprefix(" ") if not command.startswith(place) else f"{self.root}{command}"
        bare = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "HOME": str(self.root), "LOGNAME": "coprod"}
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env=bare | {"PYTHONPATH": os.environ.get("PYTHONPATH", os.getcwd())},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=110,
        )
        return done.stdout


@pytest.fixture
def machine(tmp_path: Path, care: Ehr) -> Machine:
    return Machine(tmp_path, care)


@pytest.mark.long
def test_the_line_of_the_docs_works_as_it_stands_and_sends_no_mail(machine: Machine) -> None:
    assert machine.cron() == ""
    (report,) = json.loads(machine.last_sync.read_text())
    assert report["ok"]
    assert report["types"]["Task"]["created"] == 1
    (stalled,) = json.loads(machine.last_watch.read_text())
    assert stalled["stalls"]
    for file in (machine.last_sync, machine.last_watch):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_quiet_sync_says_one_sentence_for_each_fault_and_nothing_else(machine: Machine, care: Ehr) -> None:
    care.broken["Task/t"] = BAD
    care.odd["ServiceRequest"] = Response(status_code=404)
    result = coprod(machine.config, "sync", "--quiet", "--json")
    assert result.exit_code == 1
    (report,) = json.loads(result.stdout)
    assert not report["ok"]
    down, letter = result.stderr.splitlines()
    assert down.startswith("care: ServiceRequest: ")
    assert letter == "care: 1 record could not be taken in; see: fhir-coprod dead-letters list"


def test_a_quiet_sync_of_an_ehr_that_is_down_says_one_sentence(machine: Machine) -> None:
    with_wrong_port = machine.config.read_text().replace("[[ehr]]", "[[ehr]]\ntimeout = 0.2")
    machine.config.write_text(with_wrong_port.replace('/fhir"', '/nowhere"'))
    result = coprod(machine.config, "sync", "--quiet")
    assert result.exit_code == 1
    (said,) = result.stderr.splitlines()
    assert "care" in said


def test_the_old_result_stays_whole_when_a_sync_cannot_start(machine: Machine) -> None:
    machine.last_sync.write_text("[]")
    machine.config.write_text("[store]\nurll = 1\n")
    assert coprod(machine.config, "sync", "--quiet", "--output", str(machine.last_sync)).exit_code != 0
    assert machine.last_sync.read_text() == "[]"
    assert [file.name for file in machine.last_sync.parent.iterdir()] == ["last-sync.json"]


def test_a_result_that_could_not_be_written_is_said_before_anything_is_read(
    machine: Machine, care: Ehr
) -> None:
    for place in (machine.root / "no such folder" / "a.json", machine.root):
        for command in ("sync", "watch"):
            result = coprod(machine.config, command, "--output", str(place))
            assert "cannot be written" in str(result.exception), place
    assert care.requests == []


def test_a_quiet_sync_beside_another_leaves_it_at_the_exit_code(machine: Machine) -> None:
    assert coprod(machine.config, "sync").exit_code == 0
    with Store.open(f"sqlite:///{machine.root}/var/lib/fhir-coprod/coprod.db") as store, alone.alone(store):
        quiet = coprod(machine.config, "sync", "--quiet")
        loud = coprod(machine.config, "sync")
    assert (quiet.exit_code, quiet.output) == (1, "")
    assert "Another sync is at work" in str(loud.exception)
