"""What is published works by itself: the wheel in a clean virtual environment, away from the repository."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.sync.records import organization, patient, referral
from tests.sync.server import Ehr, serving

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the working tree without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    built = _pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT))
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of a clean virtual environment that holds the wheel and what it asks for, and nothing else.

    What it asks for is lent by the environment of the tests, where pip has installed it: that needs no
    package registry, and nothing is compiled anew.
    """
    environment = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = str(environment / "bin" / "python")
    done = _pip("--python", python, "install", "-q", "--no-deps", "--no-index", str(wheel))
    assert done.returncode == 0, done.stderr
    site = next(environment.glob("lib/*/site-packages"))
    for lent in asked_for(wheel):
        for top in {file.parts[0] for file in lent.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():  # a namespace may be of several
                (site / top).symlink_to(Path(str(lent.locate_file(top))))
    return environment / "bin"


def asked_for(wheel: Path) -> list[Distribution]:
    """The distributions that the wheel requires, and those that they require, as they are installed here."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        told = email.message_from_bytes(archive.read(name))
    waiting = [(Requirement(line), "") for line in told.get_all("Requires-Dist", [])]
    found: dict[str, Distribution] = {}
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        lent = distribution(wanted.name)
        assert wanted.specifier.contains(lent.version, prereleases=True), f"{wanted}: {lent.version} is here"
        for asked in ("", *wanted.extras):
            key = f"{canonicalize_name(wanted.name)}[{asked}]"
            if key not in found:
                found[key] = lent
                waiting += [(Requirement(line), asked) for line in lent.requires or ()]
    return list(found.values())


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def _run(command: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run away from the repository, with an empty home and none of this environment's settings."""
    return subprocess.run(
        [command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        env={"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8", "COLUMNS": "160"},
        timeout=110,
    )


def test_wheel_holds_one_package_with_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"fhir_coprod", next(top for top in tops if top.endswith(".dist-info"))}
    for wanted in ("fhir_coprod/py.typed", "fhir_coprod/_data/r4.zip"):
        assert wanted in names
    for kind in ("locale", "mappings", "package", "policies"):
        folder = ROOT / "fhir_coprod" / "_data" / kind
        there = {str(file.relative_to(ROOT)) for file in folder.rglob("*") if file.is_file()}
        assert there
        assert there <= set(names)
    assert not [name for name in names if "test" in name.rpartition("/")[2] or name.endswith((".db", ".pyc"))]


def test_source_distribution_holds_what_is_compiled_and_what_it_is_compiled_from(tmp_path: Path) -> None:
    program = "import sys; from hatchling.build import build_sdist; print(build_sdist(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / done.stdout.strip()) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for kind in ("locale", "mappings", "policies", "profiles", "fhir_coprod/_data"):
        there = {str(file.relative_to(ROOT)) for file in (ROOT / kind).rglob("*") if file.is_file()}
        assert there
        assert there <= names


@pytest.mark.proof
def test_installed_wheel_runs_the_demo(installed: Path, tmp_path: Path) -> None:
    done = _run(installed / "fhir-coprod", "demo", "--once", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "referral" in done.stdout.lower()


def test_installed_wheel_validates(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "patient.json").write_text('{"resourceType": "Patient", "birthDate": "no date"}')
    done = _run(installed / "fhir-coprod", "validate", "patient.json", home=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Patient.birthDate" in done.stdout + done.stderr


def test_installed_wheel_does_a_first_sync_and_is_well(installed: Path, tmp_path: Path) -> None:
    ehr = Ehr().load(organization("care", "GP"), patient("p", "19700102"), referral("s", "Patient/p", "R1"))
    with serving(ehr):
        (tmp_path / "coprod.toml").write_text(
            f'[store]\nurl = "sqlite:///coprod.db"\n[[ehr]]\nname = "care"\nurl = "{ehr.url}"\n'
        )
        for command in ("sync", "watch", "doctor"):
            done = _run(installed / "fhir-coprod", command, home=tmp_path)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert done.stdout.rstrip().endswith("Nothing is wrong.")


def test_installed_wheel_answers_python(installed: Path, tmp_path: Path) -> None:
    program = (
        "import fhir_coprod\n"
        "assert fhir_coprod.validate({'resourceType': 'Patient', 'active': True})\n"
        "assert not fhir_coprod.validate({'resourceType': 'Patient', 'active': 'yes'})\n"
        "from fhir_coprod.sync.ehr import vendor\n"
        "from fhir_coprod.sync.merging import merge\n"
        "from fhir_coprod.watch.letters import drafts\n"
        "from fhir_coprod.watch.rules import policies\n"
        "assert 'epic' in vendor.names() and 'Patient' in merge.rules()\n"
        "assert policies.load('se-vardgaranti') and 'sv' in drafts.languages()\n"
    )
    done = _run(installed / "python", "-c", program, home=tmp_path)
    assert done.returncode == 0, done.stderr
