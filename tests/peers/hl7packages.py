"""FHIR packages of HL7 that are on npm too: definitions and examples that nobody here wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.peers.registry import Peer, register

_FOLDER = Path(__file__).parent / "packages"
_PINNED: dict[str, dict[str, str]] = json.loads((_FOLDER / "packages.json").read_text())


@dataclass(frozen=True, slots=True)
class Published:
    """One package: its name at HL7, its file, and the peer that stands for it."""

    name: str
    file: Path
    peer: Peer


def _published(name: str, called: str) -> Published:
    version = _PINNED[name]["version"]
    file = _FOLDER / "target" / f"{name}-{version}.tgz"
    install = "run: python scripts/install_peers.py"
    return Published(name, file, register(Peer(called, lambda: version if file.exists() else None, install)))


IPS = _published("hl7.fhir.uv.ips", "IPS package")
GENOMICS = _published("hl7.fhir.uv.genomics-reporting", "genomics package")
SDC = _published("hl7.fhir.uv.sdc", "SDC package")
ALL = (IPS, GENOMICS, SDC)
