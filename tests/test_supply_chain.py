"""What is installed is what requirements/ names, by its hashes, and its licences are known."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PathDistribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import licences  # noqa: E402

FILES = ("run", "test", "dev", "evidence", "tools")


def locked(name: str) -> dict[str, str]:
    """The packages of one file: what stands behind the name of each."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.partition("\n")[2])
    return {block.partition("==")[0]: block.partition("==")[2] for block in blocks if "==" in block}


@pytest.mark.parametrize("name", FILES)
def test_every_package_has_one_version_and_hashes(name: str) -> None:
    for package, rest in locked(name).items():
        assert re.fullmatch(r"[\w.]+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n?", rest), package


def test_no_package_index_and_no_source_is_named() -> None:
    for name in FILES:
        text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        options = [line for line in text.splitlines() if line.startswith("-")]
        assert options in (["--only-binary :all:"], ["-r run.txt"], ["-r test.txt"])
        assert "://" not in text


def test_what_pyproject_asks_for_is_locked_and_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = project["project"]
    run = locked("run")
    wanted = {
        "run": (asked["dependencies"] + project["build-system"]["requires"], run),
        "test": (asked["optional-dependencies"]["test"], run | locked("test")),
        "dev": (asked["optional-dependencies"]["dev"], run | locked("test") | locked("dev")),
        "evidence": (asked["optional-dependencies"]["evidence"], run | locked("evidence")),
        "tools": (project["dependency-groups"]["tools"], locked("tools")),
    }
    for lines, found in wanted.values():
        for line in lines:
            requirement = Requirement(line)
            pinned = found[canonicalize_name(requirement.name)].split()[0]
            assert requirement.specifier.contains(pinned, prereleases=True), line


@pytest.mark.parametrize("name", ["run", "test"])
def test_the_tests_run_with_what_is_locked(name: str) -> None:
    packages = licences.installed(name)
    assert len(packages) > 20
    pinned = locked(name)
    for package in packages:
        own = canonicalize_name(package.metadata["Name"])
        assert pinned[own].split()[0] == version(own), own


def test_each_package_that_is_asked_for_says_what_for() -> None:
    assert licences.unexplained() == set()


def test_the_licences_of_what_is_installed_are_agreed_to() -> None:
    for name in ("run", "test"):
        assert list(licences.not_agreed(licences.installed(name))) == []


@pytest.mark.parametrize(
    ("metadata", "found", "agreed"),
    [
        ("License-Expression: MIT OR Apache-2.0", "MIT OR Apache-2.0", True),
        ("License: BSD license", "BSD-3-Clause", True),
        ("Classifier: License :: OSI Approved :: MIT License", "MIT", True),
        ("License-Expression: AGPL-3.0-only", "AGPL-3.0-only", False),
        ("License-Expression: MIT AND GPL-2.0-or-later", "MIT AND GPL-2.0-or-later", False),
        ("License-Expression: LGPL-3.0-only", "LGPL-3.0-only", False),
        ("Classifier: License :: OSI Approved :: GNU Affero General Public License v3", "", False),
        ("License: see the file LICENSE", "", False),
        ("Summary: says nothing", "", False),
    ],
)
def test_a_newcomer_with_another_licence_is_refused(
    tmp_path: Path, metadata: str, found: str, agreed: bool
) -> None:
    (tmp_path / "METADATA").write_text(f"Metadata-Version: 2.4\nName: newcomer\nVersion: 1\n{metadata}\n")
    package = PathDistribution(tmp_path)
    assert licences.licence(package) == found
    assert (list(licences.not_agreed([package])) == []) is agreed


def test_the_page_lists_every_package_that_runs() -> None:
    page = (ROOT / "docs" / "supply-chain.md").read_text(encoding="utf-8")
    for line in licences.table():
        assert line in page, "run: make docs"
