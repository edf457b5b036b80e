"""Writes the records of a small synthetic hospital, with defects: python generate.py FILE SEED TYPE...

It runs in the environment that requirements.txt describes, not in ours. clinosim makes the hospital: its
patients, and the orders that it works on in its own house. carebundle's defects are then put into it: a field
left out, a date in the future, a code system of the site, a record sent twice under another id.

FILE gets the records of these types, one a line. What was done to them is printed, as a JSON array of
{kind, type, id}.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

from carebundle import Imperfection, inject_defects
from clinosim.simulator.cli import main as clinosim

HABITS = Imperfection(
    missing_field=0.1,
    duplicate_entry=0.03,
    out_of_order_timestamp=0.05,
    unknown_code_system=0.05,
)


def main(file: Path, seed: int, types: list[str]) -> list[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = ["clinosim", "simulate", "--country", "US", "--format", "fhir-r4", "--output", folder]
        # Both dates are named, since the year that ends today would be another hospital tomorrow.
        sys.argv += ["--start", "2026-04-01", "--end", "2026-06-30"]
        sys.argv += ["--population", "40", "--seed", str(seed)]
        with contextlib.redirect_stdout(sys.stderr):
            clinosim()
        files = [path for type in types if (path := Path(folder, "fhir_r4", f"{type}.ndjson")).exists()]
        texts = [path.read_text(encoding="utf-8") for path in files]
        records = [json.loads(line) for text in texts for line in text.split("\n") if line]
    # carebundle takes `code` for an object; a PractitionerRole has a list, and stays as it is.
    plain = [record for record in records if isinstance(record.get("code"), list)]
    rest = [record for record in records if not isinstance(record.get("code"), list)]
    clean = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in rest]}
    dirty, defects = inject_defects(clean, HABITS, seed=seed)
    made = [entry["resource"] for entry in dirty["entry"]]
    file.write_text(
        "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in (*plain, *made)), encoding="utf-8"
    )
    return [
        {"kind": defect.kind, "type": defect.resource_type, "id": made[defect.entry_index]["id"]}
        for defect in defects
    ]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
