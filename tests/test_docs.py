"""The pages tell the truth: examples run, links lead somewhere, commands and settings are all described."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from fhir_coprod.cli.commands import COMMANDS, whole
from fhir_coprod.settings import Settings
from tests.api.server import serving

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "mappings" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def test_python_of_the_developers_page_runs_as_printed(tmp_path: Path) -> None:
    """In a process of its own, since it loads a package; with a server at an address of its own."""
    with serving(f"sqlite:///{tmp_path / 'store.db'}") as server:
        page = (ROOT / "docs" / "developers.md").read_text()
        assert page.count("http://127.0.0.1:8000/fhir") == 1
        (tmp_path / "page.md").write_text(page.replace("http://127.0.0.1:8000/fhir", server.url))
        program = (
            "import doctest, sys\n"
            "from tests.site_package import written\n"
            "given = {'site_package': written(sys.argv[2])}\n"
            "failed, tried = doctest.testfile(sys.argv[1], module_relative=False, globs=given)\n"
            "sys.exit(failed or tried <= 40)\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "page.md"), str(tmp_path)],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_commands_of_the_developers_page_print_what_stands_there(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "developers.md").read_text()
    [block] = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    (_, content), (command, expected) = (
        step.split("\n", 1) for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    )
    (tmp_path / "plans.ndjson").write_text(content)
    ended = subprocess.run(
        command.split(),
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"},
    )
    assert ended.returncode == 1
    assert expected.strip() in ended.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def commands() -> list[str]:
    named = []
    for name, place in COMMANDS.items():
        below = getattr(whole(place), "commands", {})
        named += [f"{name} {each}" for each in below] or [name]
    return named


@pytest.mark.parametrize("command", commands())
def test_every_command_is_described(command: str) -> None:
    described = "\n".join(page.read_text() for page in PAGES)
    assert re.search(rf"fhir-coprod {command}\b", described), f"no page tells of `fhir-coprod {command}`"


def settings_keys() -> list[str]:
    keys = []
    for section, field in Settings.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        model = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
        keys += [f"{section}.{key}" for key in model.model_fields]
    return keys


@pytest.mark.parametrize("key", settings_keys())
def test_every_setting_is_described(key: str) -> None:
    assert f"`{key}`" in (ROOT / "docs" / "operations.md").read_text()


def cron_line() -> str:
    """The one line of the crontab, as docs/operations.md has it."""
    [job] = re.findall(r"```cron\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL)
    [line] = job.splitlines()
    return str(line)


def test_night_job_watches_whatever_the_sync_ended_with() -> None:
    job = cron_line()
    assert re.search(r"; /\S+/fhir-coprod --config \S+ watch ", job)
    assert "&&" not in job


def test_readme_shows_both_commands_of_a_fresh_machine() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text
