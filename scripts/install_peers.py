"""Installs the real third-party servers and programs that tests talk to: tests/peers/.

    python scripts/install_peers.py            everything
        python scripts/install_peers.py NAME...    some of them

NAME is `debian` (PostgreSQL, Chromium, systemd), or a folder under tests/peers that has a pom.xml (built with
Maven, Java 17), a package.json (installed with npm ci, Node 20), a packages.json (FHIR packages from npm), or
a requirements.txt (Python packages, installed into an environment of their own).

Anything that is already there, built from the same sources, is left alone. Debian's packages need root;
without it they are named, and the rest goes on. The script needs only the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "tests" / "peers"
sys.path.insert(0, str(ROOT))


def debian() -> None:
    """Install PostgreSQL, Chromium and systemd from Debian's packages."""
    wanted = []
    if not (shutil.which("postgres") or list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))):
        wanted.append("postgresql")
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        wanted.append("chromium")
    if not shutil.which("systemd-analyze"):
        wanted.append("systemd")
    if not wanted:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"  not installed, needs root and apt-get: {' '.join(wanted)}", flush=True)
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-q"], env=environment)
    _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted], env=environment)


def maven(folder: Path) -> None:
    """Build a Maven project; everything it needs ends up in its target/."""
    target = folder / "target"
    if _unchanged(folder, target):
        return
    shutil.rmtree(target, ignore_errors=True)
    _run(["mvn", "-B", "-q", "package"], cwd=folder)
    if folder.name == "hapi":
        _archive_hapi_classes(target)
    if folder.name == "keycloak":
        _build_keycloak(target)
    _remember(folder, target)


def npm(folder: Path) -> None:
    """Install exactly what a package-lock.json names."""
    modules = folder / "node_modules"
    if _unchanged(folder, modules):
        return
    _run(["npm", "ci", "--no-progress"], cwd=folder)
    _remember(folder, modules)


def fhir_packages(folder: Path) -> None:
    """Fetch FHIR packages that HL7 also publishes with npm: only the .tgz, without its dependencies."""
    target = folder / "target"
    if _unchanged(folder, target):
        return
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name, wanted in json.loads((folder / "packages.json").read_text()).items():
        _run(["npm", "pack", "--silent", f"{name}@{wanted['version']}"], cwd=target)
        file = target / f"{name}-{wanted['version']}.tgz"
        digest = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
        if f"sha512-{digest}" != wanted["integrity"]:
            file.unlink()
            sys.exit(f"{file.name} is not the file that packages.json names; nothing was installed.")
    _remember(folder, target)


def python_packages(folder: Path) -> None:
    """Install exactly what a requirements.txt names, by its hashes, into an environment that is not ours."""
    target = folder / "target"
    if _unchanged(folder, target):
        return
    shutil.rmtree(target, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(target)])
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(folder / "requirements.txt")])
    _remember(folder, target)


def _archive_hapi_classes(target: Path) -> None:
    """Start HAPI once so that Java keeps its 30,000 classes parsed: later starts take 10 s instead of 15."""
    from tests.peers.servers import hapi_archiving_command
    from tests.peers.shared import answers, free_port

    port = free_port()
    url = f"http://127.0.0.1:{port}/fhir/DEFAULT/metadata"
    _start_once("HAPI FHIR", hapi_archiving_command(port, target / "hapi.jsa"), lambda: answers(url))


def _build_keycloak(_: Path) -> None:
    """Start Keycloak once so that it compiles itself for how tests start it: then two runs can share it."""
    from tests.peers import authority
    from tests.peers.shared import free_port

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    _start_once("Keycloak", authority.command(port), lambda: authority.is_ready(url), authority.ENVIRONMENT)


def _start_once(
    name: str, command: list[str], is_ready: Callable[[], bool], env: Mapping[str, str] | None = None
) -> None:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(env or {})}
    )
    try:
        deadline = time.monotonic() + 300
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{name} was built, but does not start.")
            time.sleep(0.2)
    finally:
        process.terminate()
        process.wait()


def _sources(folder: Path) -> str:
    """SHA-256 over everything in the folder that was not built there."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.is_file() and below.parts[0] not in ("target", "node_modules") and path.suffix != ".py":
            digest.update(f"{below}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _unchanged(folder: Path, product: Path) -> bool:
    stamp = product / ".installed-from"
    return stamp.exists() and stamp.read_text() == _sources(folder)


def _remember(folder: Path, product: Path) -> None:
    (product / ".installed-from").write_text(_sources(folder))


def _run(command: list[str], *, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    if shutil.which(command[0]) is None:
        sys.exit(f"This needs {command[0]}; install it and run this again.")
    done = subprocess.run(command, cwd=cwd, env=env, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed in {cwd} with exit code {done.returncode}.")


_INSTALLERS: dict[str, Callable[[Path], None]] = {
    "pom.xml": maven,
    "package.json": npm,
    "packages.json": fhir_packages,
    "requirements.txt": python_packages,
}
"""What to do with the folder that holds a file of this name."""


def _steps() -> dict[str, Callable[[], None]]:
    steps: dict[str, Callable[[], None]] = {"debian": debian}
    for name, install in _INSTALLERS.items():
        for named in sorted(PEERS.glob(f"*/{name}")):
            steps[named.parent.name] = partial(install, named.parent)
    return steps


def main(names: list[str]) -> None:
    steps = _steps()
    unknown = [name for name in names if name not in steps]
    if unknown:
        sys.exit(f"There is no peer {', '.join(unknown)}; there are {', '.join(steps)}.")
    for name, step in steps.items():
        if not names or name in names:
            started = time.monotonic()
            print(f"{name} …", flush=True)
            step()
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
