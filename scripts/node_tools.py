"""Installs the pinned npm packages that the build scripts need into .cache/ of the repository."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
_WANTED = ROOT / "scripts" / "npm"


def node_modules() -> Path:
    """The node_modules folder with the packages of scripts/npm/package-lock.json, installed if missing."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("This needs Node.js 18 or newer with npm; install them and run it again.")
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
