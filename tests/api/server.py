"""`fhir-coprod serve` as a process of its own, for tests that need the real thing."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from tests import programs
from tests.programs import PIPE, Program


@dataclass(frozen=True)
class Served:
    """A running server: its FHIR root and its process."""

    url: str
    process: Program


def _all_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@contextmanager
def serving(store_url: str, *arguments: str, stops: bool = True, **environment: str) -> Iterator[Served]:
    """Start it on a free port, without jobs, then stop it; `stops`: see that it ends in good order."""
    with tempfile.TemporaryFile() as said:
        process = programs.start(
            *("fhir_coprod", "serve", "--port", "0", "--no-jobs", *arguments),
            stdout=PIPE,
            stderr=said,
            own_session=True,
            env={**os.environ, "COPROD_STORE__URL": store_url, **environment},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on http://"), line + _all_of(said)
            yield Served(line.removeprefix("listening on ").strip(), process)
            process.terminate()
            assert process.wait(60) == 0 or not stops
        finally:
            # The whole session: workers of a server that did not end would hold the pipe open.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.close()
