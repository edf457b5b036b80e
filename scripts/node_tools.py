"""Fetches the pinned npm packages that the build scripts need into .cache/ of the repository."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
_WANTED = ROOT / "scripts" / "npm"


def node_modules() -> Path:
    """The node_modules folder with the packages of scripts/npm/package-lock.json, installed if missing."""
    npm = _npm()
    lock = (_WANTED / "package-lock.json").read_bytes()
    folder = CACHE / "npm"
    stamp = folder / "installed"
    digest = hashlib.sha256(lock).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(_WANTED / name, folder / name)
        subprocess.run([npm, "ci", "--no-progress"], cwd=folder, check=True)
        stamp.write_text(digest)
    return folder / "node_modules"


def fhir_package(name: str) -> Path:
    """The .tgz of a FHIR package that scripts/npm/packages.json pins, fetched without its dependencies."""
    wanted = json.loads((_WANTED / "packages.json").read_text())[name]
    file = CACHE / "packages" / f"{name}-{wanted['version']}.tgz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        command = [_npm(), "pack", "--silent", f"{name}@{wanted['version']}"]
        subprocess.run(command, cwd=file.parent, check=True, stdout=subprocess.DEVNULL)
    digest = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != wanted["integrity"]:
        file.unlink()
        sys.exit(f"{file.name} is not the file that scripts/npm/packages.json names; nothing was built.")
    return file


def _npm() -> str:
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("This needs Node.js 18 or newer with npm; install them and run it again.")
    return npm
