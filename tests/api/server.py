"""`fhir-coprod serve` as a process of its own, for tests that need the real thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Served:
    """A running server: its FHIR root and its process."""

    url: str
    process: subprocess.Popen[str]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fhir_coprod", "serve", *arguments]


@contextmanager
def serving(store_url: str, *arguments: str, stops: bool = True, **environment: str) -> Iterator[Served]:
    """Start it on a free port, without jobs, then stop it; `stops`: see that it ends in good order."""
    process = subprocess.Popen(
        command("--port", "0", "--no-jobs", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "COPROD_STORE__URL": store_url, **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://"), (
            line,
            process.stderr.read() if process.stderr else "",
        )
        yield Served(line.removeprefix("listening on ").strip(), process)
        process.terminate()
        assert process.wait(60) == 0 or not stops
    finally:
        # The whole session: workers of a server that did not end would hold the pipes open.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
