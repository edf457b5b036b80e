"""What is in deploy/: units that systemd takes, and a container file, as far as a machine without a container
engine can tell: its steps, what it copies, who runs, and that its health check works. No image is built here.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fhir_coprod.cli.commands import COMMANDS
from tests.api.server import serving
from tests.peers import registry, systemd
from tests.test_docs import cron_line

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
PROGRAM = "/opt/fhir-coprod/bin/fhir-coprod"
EXPOSED = 2.0
"""What `systemd-analyze security` may find at most; 10 is unprotected."""


@pytest.fixture
def systemd_analyze() -> str:
    registry.require(systemd.PEER)
    return systemd.PROGRAM


# --- systemd --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("systemd_analyze")
def test_systemd_takes_each_unit_without_a_word(tmp_path: Path) -> None:
    """With another program in the place of ours, as ours is not installed there."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("systemd_analyze")
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_each_service_has_no_more_rights_than_it_needs(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSED


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_each_service_starts_a_command_that_there_is_and_holds_no_secret(unit: Path) -> None:
    text = unit.read_text()
    lines = re.findall(r"^Exec(?:Start|StopPost)=(.+)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        program, option, config, command, *_ = shlex.split(line)
        assert (program, option, config) == (PROGRAM, "--config", "/etc/fhir-coprod/coprod.toml")
        assert command in COMMANDS
    assert "User=fhir-coprod" in text
    assert not re.search(r"(?i)(token|secret|password)\s*=\s*\S", text)


def test_the_timer_runs_what_cron_would() -> None:
    """The same commands as the crontab of the docs, and the watch whatever the sync ended with."""
    text = (DEPLOY / "systemd" / "fhir-coprod-sync.service").read_text()
    sync, watch = cron_line().split(maxsplit=5)[5].split("; ")
    assert f"\nExecStart={sync}\n" in text
    assert f"\nExecStopPost={watch}\n" in text


# --- the container file ---------------------------------------------------------------------------


def steps() -> list[tuple[str, str]]:
    """(instruction, arguments), with continued lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", CONTAINERFILE, flags=re.MULTILINE))
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(instruction, " ".join(rest.split())) for instruction, _, rest in found]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in steps() if name == instruction]


def test_the_container_file_has_only_steps_that_it_may_have() -> None:
    assert {name for name, _ in steps()} <= {
        *("FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "HEALTHCHECK"),
        *("STOPSIGNAL", "ENTRYPOINT", "CMD"),
    }
    assert not re.search(r"(?i)\b(token|secret|password)\w*=", CONTAINERFILE)


def test_the_container_runs_as_nobody_in_particular() -> None:
    (user,) = arguments("USER")
    assert user == "10001:10001"
    assert [name for name, _ in steps()].index("USER") > [name for name, _ in steps()].index("RUN")


def test_what_the_container_file_copies_is_here_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for line in arguments("COPY"):
        if line.startswith("--from"):
            continue
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored


def test_the_container_installs_by_hash_what_was_tested() -> None:
    installs = [each for line in arguments("RUN") for each in line.split(" && ") if "pip install" in each]
    assert "--require-hashes -r requirements/run.txt" in installs[0]
    assert "--no-deps --no-build-isolation" in installs[1]
    assert len(installs) == 2


def test_the_container_starts_a_command_that_there_is() -> None:
    assert json.loads(arguments("ENTRYPOINT")[0]) == ["fhir-coprod"]
    assert json.loads(arguments("CMD")[0])[0] in COMMANDS


def test_the_health_check_of_the_container_tells_whether_it_answers(tmp_path: Path) -> None:
    (check,) = arguments("HEALTHCHECK")
    _, option, program = json.loads(check.partition("CMD ")[2])
    with serving(f"sqlite:///{tmp_path / 'coprod.db'}") as server:
        address = server.url.removesuffix("/fhir")
        assert "http://127.0.0.1:8000/" in program
        there = program.replace("http://127.0.0.1:8000", address)
        assert subprocess.run([sys.executable, option, there], check=False).returncode == 0
    gone = subprocess.run([sys.executable, option, there], check=False, capture_output=True)
    assert gone.returncode != 0


def test_the_compose_file_gives_no_rights_and_opens_no_port() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    (service,) = compose["services"].values()
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"]
    assert "ports" not in service
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert set(service["secrets"]) == set(compose["secrets"])
    assert {volume.partition(":")[0] for volume in service["volumes"]} == {"data", "./coprod.toml"}
    assert arguments("VOLUME") == ["/var/lib/fhir-coprod"]
