"""systemd-analyze, which reads units as systemd does; no systemd has to run for it."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

from tests.peers.registry import Peer, register

PROGRAM = "systemd-analyze"


@cache
def _version() -> str | None:
    if shutil.which(PROGRAM) is None:
        return None
    told = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    return told.split()[1]


PEER = register(Peer("systemd", _version, "run: python scripts/install_peers.py debian"))
