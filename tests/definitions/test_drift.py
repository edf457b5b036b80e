"""The committed package and pack are what their sources say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.registry import Peer, register, require

ROOT = Path(__file__).resolve().parents[2]


def _tools() -> str | None:
    """The build tools, where they have been installed: Node with SUSHI, and HL7's R4 text."""
    installed = (ROOT / ".cache" / "npm" / "installed").exists()
    fetched = any((ROOT / ".cache" / "maven").glob("*.jar"))
    return "" if installed and fetched and shutil.which("node") else None


PEER = register(Peer("SUSHI", _tools, "run: make profiles"))


def check(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(400)
def test_compiled_package_is_what_the_shorthand_says() -> None:
    require(PEER)
    check("build_profiles.py")


@pytest.mark.parametrize("kind", ["locale", "mappings", "policies"])
def test_compiled_data_is_what_its_sources_say(kind: str) -> None:
    check(f"build_{kind}.py")


@pytest.mark.proof
@pytest.mark.timeout(400)
def test_r4_pack_is_what_hl7_published() -> None:
    require(PEER)
    check("build_r4_pack.py")


@pytest.mark.proof
@pytest.mark.timeout(400)
def test_terminology_pack_is_what_hl7_published() -> None:
    require(PEER)
    check("build_terminology_pack.py")


def test_profiles_page_is_what_the_package_says() -> None:
    check("build_profile_docs.py")


def test_the_table_of_rules_is_what_code_system_and_policy_say() -> None:
    check("build_rule_table.py")
