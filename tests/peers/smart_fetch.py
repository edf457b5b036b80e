"""smart-fetch (Apache-2.0), which copies records out of EHRs: it exports from us, and benchmarks compare a
sync with it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.peers.registry import Peer, register

_FOLDER = Path(__file__).parent / "smartfetch"
PROGRAM = _FOLDER / "target" / "bin" / "smart-fetch"


def _version() -> str | None:
    if not PROGRAM.exists():
        return None
    found = re.search(r"^smart-fetch==(\S+)", (_FOLDER / "requirements.txt").read_text(), re.MULTILINE)
    return found[1] if found else None


PEER = register(Peer("smart-fetch", _version, "run: python scripts/install_peers.py"))
