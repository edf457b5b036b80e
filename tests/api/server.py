"""`fhir-coprod serve` as a process of its own, for tests that need the real thing."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tests import programs
from tests.programs import PIPE, Program


@dataclass(frozen=True)
class Served:
    """A running server: its FHIR root and its process."""

    url: str
    process: Program
    said: IO[bytes]

    def log(self) -> str:
        """What it has said on stderr so far."""
        return os.pread(self.said.fileno(), 1_000_000, 0).decode()

    def memory(self) -> int:
        """The bytes that it has in memory now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def connect(self) -> socket.socket:
        """A connection of one's own."""
        address = urlsplit(self.url)
        made = socket.create_connection((address.hostname or "", address.port or 0), timeout=20)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def _all_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@contextmanager
def serving(
    store_url: str,
    *arguments: str,
    stops: bool = True,
    limits: dict[str, float] | None = None,
    files: int | None = None,
    grace: float | None = None,
    **environment: str,
) -> Iterator[Served]:
    """Start it on a free port, without jobs, then stop it.

    stops:  see that it ends in good order
    limits: of connections, other than the usual ones; then there are no arguments
    files:  how many it may have open
    grace:  seconds in which it ends once it is told to stop
    """
    command: tuple[str, ...] = ("fhir_coprod", "serve", "--port", "0", "--no-jobs", *arguments)
    own = {"limits": limits or {}, "files": files, "grace": grace}
    if any(own.values()):
        command = ("tests.api.limited", json.dumps(own))
    with tempfile.TemporaryFile() as said:
        process = programs.start(
            *command,
            stdout=PIPE,
            stderr=said,
            own_session=True,
            env={**os.environ, "COPROD_STORE__URL": store_url, **environment},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on http://"), line + _all_of(said)
            yield Served(line.removeprefix("listening on ").strip(), process, said)
            process.terminate()
            assert process.wait(60) == 0 or not stops
        finally:
            # The whole session: workers of a server that did not end would hold the pipe open.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.close()
