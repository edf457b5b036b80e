"""The ends of the chains, written down outside the database: by these it shows that a chain was cut short,
taken away, or calculated anew.

One JSON object a line, such as {"at":1790000000000,"chain":"0f…","number":17,"hash":"ab…"}. Lines are only
ever added. In the system's log the same object follows `fhir-coprod audit: `.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import time_ns
from typing import Any, Final

from fhir_coprod import jsontext
from fhir_coprod.audit.chain import Head
from fhir_coprod.errors import ConfigError, CoprodError

log = logging.getLogger("fhir_coprod.audit")
SECONDS: Final = 1.0
"""How long the newest rows may be known to the database alone."""


class Heads:
    """Writes the ends of this process's chains to a file, or to the system's log, or to both."""

    def __init__(self, file: Path | None, *, syslog: bool = False) -> None:
        self._file = file
        self._syslog = syslog
        self._newest: dict[str, Head] = {}
        self._written: dict[str, int] = {}
        self._lock = threading.Lock()
        if file is not None:
            try:
                os.close(self._open())
            except OSError as error:
                raise ConfigError(
                    f"audit.heads_file: {file} cannot be written ({error.strerror}); name another file."
                ) from None

    def tell(self, head: Head) -> None:
        """Take note of the end of a chain, once its rows are on disk."""
        self._newest[head.chain] = head

    def write(self) -> None:
        """Write down what has moved since the last time. Logs it if that fails, and tries again next time."""
        with self._lock:
            moved = [
                head for head in list(self._newest.values()) if self._written.get(head.chain) != head.number
            ]
            if not moved:
                return
            now = time_ns() // 1_000_000
            lines = [line(head, now) for head in moved]
            try:
                self._append(b"".join(lines))
            except OSError as error:
                log.error("the ends of the audit's chains cannot be written down: %s", error.strerror)
                return
            self._written.update((head.chain, head.number) for head in moved)

    def _append(self, text: bytes) -> None:
        if self._syslog:
            import syslog

            for each in text.decode().splitlines():
                syslog.syslog(syslog.LOG_INFO | syslog.LOG_AUTH, f"fhir-coprod audit: {each}")
        if self._file is not None:
            file = self._open()
            try:
                os.write(file, text)
                os.fsync(file)
            finally:
                os.close(file)

    def _open(self) -> int:
        return os.open(str(self._file), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def line(head: Head, at: int) -> bytes:
    """One line of the file; `at` in milliseconds."""
    return (
        jsontext.encode({"at": at, "chain": head.chain, "number": head.number, "hash": head.hash.hex()})
        + b"\n"
    )


def read(file: Path) -> Iterator[Head]:
    """All ends that a file holds; lines of a system's log may have more before the object. A line that was
    cut off by a crash is passed over. Raises ConfigError if there is no such file."""
    try:
        with file.open("rb") as lines:
            for text in lines:
                begin = text.find(b"{")
                try:
                    found: Any = jsontext.decode(text[begin:]) if begin >= 0 else {}
                    yield Head(str(found["chain"]), int(found["number"]), bytes.fromhex(found["hash"]))
                except (CoprodError, ValueError, KeyError, TypeError):
                    continue
    except OSError as error:
        raise ConfigError(f"{file}: the ends of the chains cannot be read ({error.strerror}).") from None
