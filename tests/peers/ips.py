"""The International Patient Summary of HL7: a FHIR package that nobody here wrote."""

from __future__ import annotations

import json
from pathlib import Path

from tests.peers.registry import Peer, register

_FOLDER = Path(__file__).parent / "packages"
_NAME = "hl7.fhir.uv.ips"
_WANTED: str = json.loads((_FOLDER / "packages.json").read_text())[_NAME]["version"]

FILE = _FOLDER / "target" / f"{_NAME}-{_WANTED}.tgz"
CANONICAL = "http://hl7.org/fhir/uv/ips/StructureDefinition/"


def _version() -> str | None:
    return _WANTED if FILE.exists() else None


PEER = register(Peer("IPS package", _version, "run: python scripts/install_peers.py"))
