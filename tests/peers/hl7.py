"""HL7's own validator as a process: resources in, verdicts out, in order."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
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
            stderr=None if os.environ.get("COPROD_PEER_LOG") else subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        if b"ready" not in ready:
            self.close()
            raise RuntimeError("HL7's validator did not start; set COPROD_PEER_LOG=1 to see why")

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
                stdin.write(resource + b"\n")
                stdin.flush()
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
                answer: dict[str, Any] = json.loads(stdout.readline())
                sent += 1
                window.release()
                yield Verdict(answer["ok"], answer["micros"], tuple(answer["messages"]))
        finally:
            done.set()
            window.release()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Hl7Validator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
