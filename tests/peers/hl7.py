"""Runs HL7's own validator as a process: resources in, verdicts out, in order."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.peers.registry import Peer, register

_FOLDER = Path(__file__).parent / "hl7validator"
_JAR = _FOLDER / "target" / "hl7validator-peer.jar"


def _version() -> str | None:
    if not (_JAR.exists() and shutil.which("java")):
        return None
    match = re.search(r"<hapi.version>(.+?)</hapi.version>", (_FOLDER / "pom.xml").read_text())
    return match[1] if match else ""


PEER = register(Peer("HL7 validator", _version, "run: python scripts/install_peers.py"))


@dataclass(frozen=True, slots=True)
class Verdict:
    ok: bool
    micros: int
    """How long the validator took."""
    messages: tuple[dict[str, str], ...]
    """severity, location, id, text"""

    @property
    def errors(self) -> list[dict[str, str]]:
        return [m for m in self.messages if m["severity"] in ("error", "fatal")]


class Hl7Validator:
    """One running validator; a context manager that ends it."""

    def __init__(self, folders: Sequence[Path] = (), *, heap: str = "1500m") -> None:
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            [
                "java",
                f"-Xmx{heap}",
                "-Xss16m",
                "-XX:+UseSerialGC",
                "-cp",
                f"{_JAR}:{_FOLDER / 'target' / 'lib'}/*",
                "org.fhircoprod.peers.Hl7Validator",
                *map(str, folders),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("COPROD_PEER_LOG") else self._told,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if b"ready" not in line:
            raise self._ended(line)

    def _ended(self, line: bytes = b"") -> RuntimeError:
        """What to raise when the validator is gone, with its last words."""
        code = self._process.wait()
        self._told.seek(0)
        told = (line + self._told.read()[-4000:]).decode(errors="replace")
        self.close()
        return RuntimeError(f"HL7's validator ended with {code} and said: {told}")

    def verdicts(self, resources: Iterable[bytes]) -> Iterator[Verdict]:
        """One verdict per resource, each given as one line of JSON."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        sent = 0
        window = threading.Semaphore(256)
        done = threading.Event()
        counts: list[int] = []

        def feed() -> None:
            number = 0
            for resource in resources:
                window.acquire()
                if done.is_set():
                    break
                try:
                    stdin.write(resource + b"\n")
                    stdin.flush()
                except OSError:
                    pass  # it is gone, and whoever reads its answers is told so
                number += 1
                lines.release()
            counts.append(number)
            lines.release()

        lines = threading.Semaphore(0)
        writer = threading.Thread(target=feed, daemon=True)
        writer.start()
        try:
            while True:
                lines.acquire()
                if counts and sent == counts[0]:
                    return
                line = stdout.readline()
                if not line:
                    raise self._ended()
                answer: dict[str, Any] = json.loads(line)
                sent += 1
                window.release()
                yield Verdict(answer["ok"], answer["micros"], tuple(answer["messages"]))
        finally:
            done.set()
            window.release()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._told):
            if stream is not None:
                with suppress(BrokenPipeError):  # what was written to a process that is gone
                    stream.close()

    def __enter__(self) -> Hl7Validator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
