"""A small hospital that nobody here wrote: clinosim makes it, and carebundle puts defects into it.

Both (MIT and Apache-2.0) are Python packages with an environment of their own, clinosim/. What they write
depends on the seed only, not on the machine or the day.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_coprod.watched import PULLED
from tests.peers.registry import Peer, register
from tests.peers.shared import PeerFailed, Run

_FOLDER = Path(__file__).parent / "clinosim"
_PYTHON = _FOLDER / "target" / "bin" / "python"
_SEED = 7
"""With it there are orders at work, done, revoked, and without a status or a category."""


def _version() -> str | None:
    if not _PYTHON.exists():
        return None
    pinned = dict(re.findall(r"^(\w+)==(\S+)", (_FOLDER / "requirements.txt").read_text(), re.MULTILINE))
    return f"{pinned['clinosim']} with defects of carebundle {pinned['carebundle']}"


PEER = register(Peer("clinosim", _version, "run: python scripts/install_peers.py"))


@dataclass(frozen=True, slots=True)
class Hospital:
    """The records of the types that a sync pulls, and what is wrong with them on purpose.

    defects: kind, as carebundle names it → references of the records that have it
    """

    records: tuple[dict[str, Any], ...]
    defects: dict[str, frozenset[str]]


def generate(run: Run) -> dict[str, str]:
    """Make the hospital; returns the files that `read` reads. PeerFailed if it cannot be made."""
    records = run.folder / "clinosim.ndjson"
    done = subprocess.run(
        [_PYTHON, "-I", _FOLDER / "generate.py", records, str(_SEED), *PULLED],
        capture_output=True,
        check=False,
        text=True,
        timeout=100,
    )
    if done.returncode:
        raise PeerFailed(f"clinosim made no hospital:\n{done.stderr[-3000:]}")
    return {"records": str(records), "defects": done.stdout}


def read(made: dict[str, str]) -> Hospital:
    """The hospital that `generate` made."""
    lines = Path(made["records"]).read_text(encoding="utf-8").split("\n")
    defects: dict[str, set[str]] = {}
    for defect in json.loads(made["defects"]):
        defects.setdefault(defect["kind"], set()).add(f"{defect['type']}/{defect['id']}")
    return Hospital(
        tuple(json.loads(line) for line in lines if line),
        {kind: frozenset(names) for kind, names in defects.items()},
    )
