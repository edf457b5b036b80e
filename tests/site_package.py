"""The package of one hospital: a goal of ours that also says when it began."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from fhir_coprod import definitions

GOAL = "https://hospital.example/fhir/StructureDefinition/site-goal"


def site_goal() -> dict[str, Any]:
    """Its profile, derived from coproduction-goal: Goal.start[x] 1..1."""
    ours = definitions.structure(definitions.profile_url("coproduction-goal"))
    elements = [
        element | {"min": 1} if element["path"] == "Goal.start[x]" else element
        for element in ours["snapshot"]["element"]
    ]
    told = {"id": "site-goal", "url": GOAL, "name": "SiteGoal", "baseDefinition": ours["url"]}
    only = {"id": "Goal.start[x]", "path": "Goal.start[x]", "min": 1}
    return {**ours, **told, "snapshot": {"element": elements}, "differential": {"element": [only]}}


def written(folder: str | Path) -> Path:
    """Write the package as a .tgz; returns its path."""
    file = Path(folder) / "hospital.example-1.0.0.tgz"
    manifest = {"name": "hospital.example", "version": "1.0.0", "fhirVersions": ["4.0.1"]}
    with tarfile.open(file, "w:gz") as archive:
        for name, content in (
            ("package.json", manifest),
            ("StructureDefinition-site-goal.json", site_goal()),
        ):
            raw = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return file
