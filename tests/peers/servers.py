"""Runs HAPI FHIR and the Medplum router: two real FHIR servers that are not ours.

Both hold many separate sets of data behind one process (HAPI by partition, the Medplum launcher by
repository), so each test gets a base URL of its own, and nothing it does is seen by another.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from tests.peers.registry import Peer, register
from tests.peers.shared import PeerFailed, Run, answers, free_port

FOLDER = Path(__file__).parent
INSTALL = "run: python scripts/install_peers.py"

_HAPI = FOLDER / "hapi"
_HAPI_JAR = _HAPI / "target" / "hapi-peer.jar"
_MEDPLUM = FOLDER / "medplum"
_MEDPLUM_ROUTER = _MEDPLUM / "node_modules" / "@medplum" / "fhir-router" / "package.json"
_FHIRKIT = FOLDER / "fhirkit"
_FHIRKIT_CLIENT = _FHIRKIT / "node_modules" / "fhir-kit-client" / "package.json"
_LOADER = FOLDER / "packageloader"
_LOADER_PACKAGE = _LOADER / "node_modules" / "fhir-package-loader" / "package.json"


def _hapi_version() -> str | None:
    if not (_HAPI_JAR.exists() and shutil.which("java")):
        return None
    match = re.search(r"<hapi.version>(.+?)</hapi.version>", (_HAPI / "pom.xml").read_text())
    return f"{match[1] if match else ''} (JPA on H2)"


def _node_version(package: Path) -> str | None:
    if not (package.exists() and shutil.which("node")):
        return None
    return str(json.loads(package.read_text())["version"])


HAPI = register(Peer("HAPI FHIR", _hapi_version, INSTALL))
MEDPLUM = register(Peer("Medplum router", lambda: _node_version(_MEDPLUM_ROUTER), INSTALL))
FHIRKIT = register(Peer("fhir-kit-client", lambda: _node_version(_FHIRKIT_CLIENT), INSTALL))
LOADER = register(Peer("fhir-package-loader", lambda: _node_version(_LOADER_PACKAGE), INSTALL))


_LIGHT = ("-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Small heap and quick start: no test of ours runs it for hours."""
# Classes parsed at installation; the JVM goes on without when the file is missing or not its own.
_ARCHIVED = f"-XX:SharedArchiveFile={_HAPI / 'target' / 'hapi.jsa'}"


def hapi_command(port: int, *, java: tuple[str, ...] = (*_LIGHT, _ARCHIVED), database: str = "") -> list[str]:
    """How HAPI is started; `database`: JDBC URL of an empty PostgreSQL database, "" for H2 in memory."""
    return [
        "java",
        *java,
        "-cp",
        f"{_HAPI_JAR}:{_HAPI / 'target' / 'lib'}/*",
        "org.fhircoprod.peers.Hapi",
        str(port),
        *([database] if database else []),
    ]


def hapi_archiving_command(port: int, archive: Path) -> list[str]:
    """As in tests, but it leaves its classes in `archive` when it ends."""
    return hapi_command(port, java=(*_LIGHT, f"-XX:ArchiveClassesAtExit={archive}"))


def hapi_client_command() -> list[str]:
    """How the script with HAPI's generic client is started; the server's base address and a mark follow."""
    libraries = f"{_HAPI_JAR}:{_HAPI / 'target' / 'lib'}/*"
    quick = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:disable", "-Xshare:auto")
    return ["java", *quick, "-cp", libraries, "org.fhircoprod.peers.HapiClient"]


def fhirkit_command() -> list[str]:
    """How the script with fhir-kit-client is started; the server's base address and a mark follow."""
    return ["node", str(_FHIRKIT / "client.mjs")]


def package_loader_command() -> list[str]:
    """How the script with fhir-package-loader is started; a package's file, name and version follow."""
    return ["node", str(_LOADER / "load.mjs")]


def hapi_package_command(package: Path) -> list[str]:
    """How HAPI's own loader of packages is started, with HL7's validator; canonicals to look up follow."""
    libraries = f"{package.parent}:{FOLDER / 'hl7validator' / 'target' / 'lib'}/*"
    quick = ("-Xmx1g", "-Xss16m", "-XX:+UseSerialGC")
    return ["java", *quick, "-cp", libraries, str(_LOADER / "LoadPackage.java"), package.name]


def start_hapi(run: Run, *, all_searches: bool = False, exports: bool = False) -> dict[str, str]:
    """Start HAPI; returns `url`, under which each partition is a server of its own.

    all_searches: also those that HAPI leaves off out of the box, at the price of a larger index
    exports:      it gives bulk exports
    """
    extra = {"-Dcoprod.search.all=true": all_searches, "-Dcoprod.bulk=true": exports}
    java = (*_LIGHT, _ARCHIVED, *(option for option, is_wanted in extra.items() if is_wanted))
    for attempt in range(3):
        port = free_port()
        url = f"http://127.0.0.1:{port}/fhir"
        guard = run.spawn("hapi", hapi_command(port, java=java))
        try:
            run.wait_until("hapi", guard, lambda: answers(f"{url}/DEFAULT/metadata"), 110)  # noqa: B023
        except PeerFailed:
            if (
                attempt == 2
                or guard.poll() is None
                or "Address already in use" not in run.log("hapi").read_text()
            ):
                raise
        else:
            return {"url": url}
    raise AssertionError("unreachable")


def new_hapi_partition(url: str) -> str:
    """Base URL of a fresh, empty HAPI server."""
    number = random.randrange(1, 2**31)
    name = f"P{number}"
    _post(
        f"{url}/DEFAULT/$partition-management-create-partition",
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "id", "valueInteger": number}, {"name": "name", "valueCode": name}],
        },
    )
    return f"{url}/{name}"


def start_medplum(run: Run) -> dict[str, str]:
    """Start the Medplum router; returns `url`, under which each NAME/fhir is a server of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    guard = run.spawn("medplum", ["node", str(_MEDPLUM / "server.mjs"), str(port)])
    run.wait_until("medplum", guard, lambda: answers(f"{url}/start/fhir/metadata"), 60)
    return {"url": url}


def new_medplum_repository(url: str) -> str:
    """Base URL of a fresh, empty Medplum router."""
    return f"{url}/r{random.randrange(2**63):x}/fhir"


def _post(url: str, resource: dict[str, object]) -> None:
    request = urllib.request.Request(
        url,
        data=json.dumps(resource).encode(),
        headers={"content-type": "application/fhir+json"},
        method="POST",
    )
    try:
        urllib.request.urlopen(request, timeout=60).close()
    except urllib.error.HTTPError as error:
        with error:
            raise PeerFailed(f"POST {url}: {error.code} {error.read().decode(errors='replace')}") from None
