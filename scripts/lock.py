"""Write requirements/: every package that is installed, with its version and the hashes of all its files.

python scripts/lock.py                     for what changed in pyproject.toml; other versions stay
python scripts/lock.py --upgrade           the newest version of each
python scripts/lock.py --upgrade NAME...   the newest version of these
python scripts/lock.py --check             write nothing; exit 1 if the files are not what it would write

One resolution serves Python 3.11 to 3.13 on Linux and macOS, x86-64 and arm64, and each
package has to have a wheel for each of them: building from source would run what nobody has pinned. Run it by
`make lock`. It uses the package index that pip is configured for.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = (
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
)
FILES = {
    "run": ("", "what fhir-coprod needs to run, and to be built and installed"),
    "test": ("run", "what its tests need besides"),
    "dev": ("test", "what checks of its code need besides"),
    "evidence": ("run", "what draws the plots of the documentation"),
    "tools": ("", "tools for this folder and the SBOM, in an environment of their own"),
}
"""Each file: the file that it builds on, and what it is for. All but `run` and `tools` are extras in
pyproject.toml."""

CAPPED = {"cryptography": "<49"}
"""Versions without a wheel for one of the platforms are left out; cryptography 49 has none for Intel Macs."""

Blocks = dict[str, str]
"""From the name of a package to its lines: version, condition and hashes."""


def main() -> None:
    options = argparse.ArgumentParser(description="Write requirements/ from pyproject.toml.")
    options.add_argument("--upgrade", nargs="*", metavar="NAME", help="newer versions, of all or of these")
    options.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    chosen = options.parse_args()
    found = lock(chosen.upgrade)
    for name, text in found.items():
        file = FOLDER / f"{name}.txt"
        if chosen.check:
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                sys.exit(f"requirements/{name}.txt is not what pyproject.toml asks for; run: make lock")
            continue
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    if not chosen.check:
        for python, platform in product((PYTHONS[0], PYTHONS[-1]), PLATFORMS):
            _has_wheels(python, platform)


def lock(upgrade: list[str] | None = None) -> dict[str, str]:
    """The text of each file. `upgrade`: None keeps all versions, an empty list none, else all but these."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = project["project"]
    extras = asked["optional-dependencies"]
    # `editables` is what hatchling asks for to install a working tree.
    build = [*project["build-system"]["requires"], "editables"]
    wanted = {
        "run": [*asked["dependencies"], *build],
        **extras,
        "tools": project["dependency-groups"]["tools"],
    }
    if unknown := wanted.keys() ^ FILES.keys():
        sys.exit(f"Say in scripts/lock.py what requirements/ gets for {', '.join(sorted(unknown))}.")
    kept = {} if upgrade == [] else _kept(upgrade or ())
    together = [line for name in FILES if name != "tools" for line in wanted[name]]
    ours = _resolve(together, kept)
    versions = {name: block.split()[0].partition("==")[2] for name, block in ours.items()}
    texts: dict[str, str] = {}
    whole: dict[str, Blocks] = {"": {}}
    for name, (base, purpose) in FILES.items():
        if name == "tools":
            blocks = _resolve(wanted[name], kept)
        else:
            lines, at = list(wanted[name]), base
            while at:
                lines, at = lines + wanted[at], FILES[at][0]
            blocks = _resolve(lines, versions)
        whole[name] = blocks
        texts[name] = _text(purpose, base, {n: b for n, b in blocks.items() if n not in whole[base]})
    return texts


def _text(purpose: str, base: str, blocks: Blocks) -> str:
    first = f"-r {base}.txt" if base else "--only-binary :all:"
    head = f"# {purpose[0].upper()}{purpose[1:]}. Written by scripts/lock.py (make lock); do not edit."
    return "\n".join([head, first, *(block for _, block in sorted(blocks.items()))]) + "\n"


def _kept(upgrade: Sequence[str]) -> dict[str, str]:
    """The versions that the files have now, without those of `upgrade`."""
    kept: dict[str, str] = {}
    for name in FILES:
        file = FOLDER / f"{name}.txt"
        for block in _blocks(file.read_text(encoding="utf-8") if file.exists() else "").values():
            package, _, version = block.split()[0].partition("==")
            if canonicalize_name(package) not in map(canonicalize_name, upgrade):
                kept.setdefault(package, version)
    return kept


def _resolve(wanted: Iterable[str], versions: dict[str, str]) -> Blocks:
    """Everything that `wanted` needs on any platform, in these versions where one is given."""
    with tempfile.TemporaryDirectory() as folder:
        asked, fixed = Path(folder, "asked.in"), Path(folder, "fixed.txt")
        asked.write_text("\n".join(wanted))
        limits = [f"{name}=={version}" for name, version in versions.items()]
        fixed.write_text("\n".join([*limits, *map("".join, CAPPED.items())]))
        options = ("--universal", "--python-version", PYTHONS[0], "--generate-hashes", "--no-header")
        return _blocks(_uv("compile", *options, "--no-annotate", str(asked), "-c", str(fixed)))


def _blocks(text: str) -> Blocks:
    blocks: Blocks = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("    --hash="):
            blocks[name] += f"\n{line}"
        elif line and line[0] not in "#-":
            name = canonicalize_name(line.partition("==")[0])
            blocks[name] = line
    return blocks


def _has_wheels(python: str, platform: str) -> None:
    files = ("-r", str(FOLDER / "dev.txt"), "-r", str(FOLDER / "evidence.txt"))
    with tempfile.TemporaryDirectory() as folder:
        where = ("--target", folder, "--python-platform", platform, "--python-version", python)
        _uv("install", "--dry-run", *where, "--require-hashes", *files)


def _uv(command: str, *arguments: str) -> str:
    """Run `uv pip`, with the package index of pip's own configuration."""
    environment = {**os.environ, "UV_NO_CONFIG": "1"}
    for ours, theirs in _CONFIGURED.items():
        if theirs not in environment and (value := _configured(ours)):
            environment[theirs] = value
    uv = str(Path(sys.executable).parent / "uv")
    done = subprocess.run(
        [uv, "pip", command, "-q", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"uv pip {command} failed: {done.stderr.strip()}")
    return done.stdout


_CONFIGURED = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "cert": "SSL_CERT_FILE"}


def _configured(key: str) -> str:
    """What pip uses for an option: from its configuration files or the environment; "" for its default."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    values = dict(line.partition("=")[::2] for line in listed.splitlines())
    scopes = (f"{scope}.{key}" for scope in (":env:", "install", "global"))
    return next((values[scope].strip("'") for scope in scopes if scope in values), "")


if __name__ == "__main__":
    main()
