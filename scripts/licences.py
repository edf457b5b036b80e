"""Write the list of licences in docs/supply-chain.md, from the packages of requirements/ that are installed.

python scripts/licences.py                write
python scripts/licences.py --check        fail when the page differs
python scripts/licences.py --sbom FILE    fail when the SBOM lacks an installed package, or its licence

Each of them fails, too, when a package has a licence that nobody has agreed to, such as AGPL and GPL, or that
cannot be read in its metadata. What is agreed to is in this file.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "supply-chain.md"
BEGIN = "<!-- This table is written by scripts/licences.py; do not edit. -->\n"
END = "<!-- end of the table -->\n"

PERMISSIVE = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python"}
    | {"ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib"}
)
"""Licences that only ask to be passed on."""
AGREED = {
    "certifi": "MPL-2.0",
    "hypothesis": "MPL-2.0",
    "pathspec": "MPL-2.0",
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
}
"""Packages with another licence that somebody has agreed to; docs/supply-chain.md says what it means."""
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_WORDS = {
    "BSD": "BSD-3-Clause",
    "BSD license": "BSD-3-Clause",
    "MIT License": "MIT",
    "Apache 2.0": "Apache-2.0",
}
_READ = {"fhirpathpy": "MIT", "fhirpy": "MIT", "matplotlib": "PSF-2.0"}
"""Read by a person in the package's own licence file, where its metadata do not say it."""

WHY = {
    "alembic": "migrations of the store",
    "anyascii": "compares names across scripts",
    "babel": "dates and words in the patient's language",
    "cryptography": "when certificates run out",
    "editables": "installs a working tree (`make`), not needed to run",
    "fastapi": "the OpenAPI document and the application",
    "fhir-resources": "the Python classes of the profiles",
    "hatchling": "builds the package when it is installed, not needed to run",
    "holidays": "working days",
    "httptools": "reads HTTP in the server",
    "httpx": "talks to EHRs",
    "jinja2": "the pages",
    "joserfc": "keys and signed assertions, to sign in at EHRs",
    "jsonpatch": "PATCH",
    "msgspec": "reads and writes JSON",
    "platformdirs": "where your data are kept",
    "prometheus-client": "/metrics",
    "psycopg": "PostgreSQL",
    "pydantic": "settings",
    "rapidfuzz": "how alike two names are",
    "google-re2": "regular expressions of rules, in time that follows the text",
    "requests": "the blocking client",
    "rich": "tables in the terminal",
    "sqlalchemy": "the store",
    "structlog": "logs",
    "typer": "the command line",
    "tzdata": "time zones",
    "uvicorn": "the server",
    "uvloop": "the server's event loop",
}
"""What each package that pyproject.toml asks for is for."""
_BY_EXTRA = {"psycopg-binary": "psycopg's compiled part, with libpq"}


def main() -> None:
    options = argparse.ArgumentParser(description="Write the list of licences in docs/supply-chain.md.")
    options.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    options.add_argument("--sbom", type=Path, help="compare this SBOM instead")
    chosen = options.parse_args()
    refused = [line for name in FILES for line in not_agreed(installed(name))]
    if refused:
        sys.exit("\n".join(refused))
    if chosen.sbom:
        lacking = _lacking(json.loads(chosen.sbom.read_text(encoding="utf-8")))
        sys.exit(f"{chosen.sbom} lacks {', '.join(lacking)}." if lacking else 0)
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        sys.exit(f"docs/supply-chain.md has no place for the licences, between {BEGIN} and {END}")
    wanted = f"{before}{BEGIN}\n" + "\n".join(table()) + f"\n\n{END}{after}"
    if chosen.check and wanted != page:
        sys.exit("The licences in docs/supply-chain.md are not those of requirements/run.txt; run: make docs")
    if not chosen.check:
        PAGE.write_text(wanted, encoding="utf-8")


FILES = ("run", "test", "dev", "evidence")


@cache
def installed(name: str) -> list[Distribution]:
    """The packages of a file of requirements/ that are installed here; what is for other systems is not."""
    found = []
    for line in (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            try:
                found.append(distribution(line.partition("==")[0]))
            except PackageNotFoundError:
                continue
    return found


def licence(package: Distribution) -> str:
    """Its licence as SPDX writes it, or "" if its metadata do not say it."""
    told = package.metadata
    if expression := told.get("License-Expression"):
        return str(expression)
    if read := _READ.get(canonicalize_name(told["Name"])):
        return read
    words = (told.get("License") or "").strip()
    if words in PERMISSIVE or words in _WORDS:
        return _WORDS.get(words, words)
    classifiers = (line.split(" :: ") for line in told.get_all("Classifier", []))
    named = [parts[-1] for parts in classifiers if parts[0] == "License" and len(parts) > 2]
    return " OR ".join(_CLASSIFIERS[name] for name in named) if {*named} <= _CLASSIFIERS.keys() else ""


def not_agreed(packages: list[Distribution]) -> Iterator[str]:
    """What is wrong with the licences of these packages."""
    for package in packages:
        name, found = canonicalize_name(package.metadata["Name"]), licence(package)
        if AGREED.get(name) == found:
            continue
        if not found or not set(re.findall(r"[\w.+-]+", found)) - {"AND", "OR"} <= PERMISSIVE:
            yield (
                f"{name} {package.version}: its licence is {found or 'not in its metadata'}, and nobody has "
                "agreed to that; use another package, or write it down in scripts/licences.py and "
                "docs/supply-chain.md."
            )


def table() -> Iterator[str]:
    packages = {canonicalize_name(package.metadata["Name"]): package for package in installed("run")}
    asking: dict[str, set[str]] = {name: set() for name in packages}
    for name, package in packages.items():
        for requirement in map(Requirement, package.requires or ()):
            # Not what is only for an extra, or for another system.
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                asking.setdefault(canonicalize_name(requirement.name), set()).add(name)
    yield "| package | version | licence | what for |"
    yield "|---|---|---|---|"
    for name, package in packages.items():
        why = WHY.get(name) or _BY_EXTRA.get(name) or f"for {', '.join(sorted(asking[name]))}"
        yield f"| {name} | {package.version} | {licence(package)} | {why} |"


def unexplained() -> set[str]:
    """What pyproject.toml asks for, and this file does not say why."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {canonicalize_name(Requirement(line).name) for line in project["dependencies"]} - WHY.keys()


def _lacking(sbom: dict[str, list[dict[str, object]]]) -> list[str]:
    told = {
        (canonicalize_name(str(part["name"])), part["version"])
        for part in sbom["components"]
        if part.get("licenses")
    }
    return [
        f"{package.metadata['Name']} {package.version}"
        for package in installed("run")
        if (canonicalize_name(package.metadata["Name"]), package.version) not in told
    ]


if __name__ == "__main__":
    main()
