"""Other people's servers that ours is compared with; each gives None when it is not installed."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from benchmarks.load import serving
from tests.peers import postgresql, servers
from tests.peers.shared import Run, answers, free_port

FHIRSTARTER = "fhirstarter==4.2.0"
_FHIRSTARTER_VENV = Path(__file__).parent / ".fhirstarter"
SLOW_TO_START = True
"""Whether those that take a minute to start or to install are measured beside, too."""
_JAVA = ("-Xmx4g", "-XX:+UseParallelGC")
"""How to run HAPI fast; its tests use a small heap and the quick compiler."""


@contextmanager
def fhirstarter() -> Iterator[str | None]:
    """Base URL of a fhirstarter server; it is installed at first use, beside this file."""
    if not SLOW_TO_START:
        yield None
        return
    python = _FHIRSTARTER_VENV / "bin" / "python"
    try:
        if not python.exists():
            venv.create(_FHIRSTARTER_VENV, with_pip=True)
            wanted = [FHIRSTARTER, "uvicorn", "uvloop", "httptools"]
            subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"left out: fhirstarter cannot be installed ({error})", file=sys.stderr)
        yield None
        return
    with serving([str(python), str(Path(__file__).with_name("fhirstarter_app.py"))]) as url:
        yield url


@contextmanager
def hapi(run: Run, administrator: str | None) -> Iterator[tuple[str, str] | None]:
    """Base URL of an empty HAPI server, and its database: that PostgreSQL server, else H2 in memory."""
    if not SLOW_TO_START:
        yield None
        return
    if servers.HAPI.find() is None:
        print(f"left out: HAPI FHIR ({servers.HAPI.install})", file=sys.stderr)
        yield None
        return
    jdbc, name = "", "H2 in memory"
    if administrator:
        url = make_url(postgresql.new_database(administrator))
        jdbc = f"jdbc:postgresql://{url.host}:{url.port}/{url.database}?user={url.username}"
        name = "PostgreSQL"
    port = free_port()
    base = f"http://127.0.0.1:{port}/fhir"
    guard = run.spawn("hapi", servers.hapi_command(port, java=_JAVA, database=jdbc))
    try:
        run.wait_until("hapi", guard, lambda: answers(f"{base}/DEFAULT/metadata"), 180)
        yield servers.new_hapi_partition(base), name
    finally:
        run.end(guard)
