"""The folder for files of exports and imports: one folder in it for each, for this user only.

Nobody who is served names a file in it: names are made here, cannot be guessed, and are looked up in the
database.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from fhir_coprod.bulk.wanted import File, Kind
from fhir_coprod.errors import Unwritable
from fhir_coprod.settings import Settings, data_folder

FILE_BYTES = 100_000_000
"""A file that has grown so long is followed by another one."""
_OURS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def place(settings: Settings) -> Path:
    """The folder, of this store alone: what else is in it is removed."""
    own = f"bulk-{hashlib.sha256(settings.store.url.encode()).hexdigest()[:16]}"
    if settings.export.folder:
        return Path(settings.export.folder) / own
    file = settings.store.url.removeprefix("sqlite:///")
    return Path(f"{file}-bulk") if file != settings.store.url else data_folder() / own


def no_room(error: OSError | None = None) -> Unwritable:
    """What is said where the disk does not take any more."""
    if error is None or error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unwritable(
            "The disk for the files of exports and imports is full, so this one was given up and its files"
            " were removed; make room there (setting export.folder), and ask again.",
            "disk-full",
        )
    return Unwritable(
        f"The folder for the files of exports and imports cannot be used ({error.strerror}); correct its"
        " rights, or set export.folder to another place.",
        "read-only",
    )


class Folder:
    """The files of all exports and imports of a store.

    spare: bytes that are left free on the disk
    """

    def __init__(self, path: Path, spare: int = 0) -> None:
        self.path = path
        self._spare = spare

    def of(self, id: str) -> Path:
        """The folder of one; `id` comes from the database."""
        return self.path / id

    def make(self, id: str) -> None:
        """Make the folder of one. Raises Unwritable."""
        try:
            for folder in (self.path, self.of(id)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise no_room(error) from None

    def require_room(self) -> None:
        """Raise Unwritable if the disk has less room left than is to be spared."""
        if self._spare and shutil.disk_usage(self.path).free < self._spare:
            raise no_room()

    def remove(self, id: str) -> None:
        """Remove all files of one. Who is reading one goes on to read it."""
        shutil.rmtree(self.of(id), ignore_errors=True)

    def keep_only(self, id: str, names: Iterable[str]) -> None:
        """Remove the files of one that do not count: of a process that has ended, for instance."""
        kept = set(names)
        for file in self.of(id).glob("*"):
            if file.name not in kept:
                with suppress(OSError):
                    file.unlink()

    def sweep(self, known: Callable[[], set[str]]) -> None:
        """Remove what belongs to none that is known. Those are asked for after the folder was read: what is
        made later is not among what is removed."""
        if not self.path.exists():
            return
        found = [entry.name for entry in self.path.iterdir() if _OURS.fullmatch(entry.name)]
        kept = known()
        for name in found:
            if name not in kept:
                self.remove(name)


class Files:
    """The files that one process adds to an export. It never goes on with a file of another process, which
    may not know yet that it has lost its lease."""

    def __init__(self, folder: Path, files: list[File], most: int = FILE_BYTES) -> None:
        self._folder = folder
        self._files = files
        self._most = most
        self._open: dict[tuple[Kind, str], File] = {}
        self._touched: set[str] = set()

    def add(self, kind: Kind, type: str, lines: list[bytes]) -> None:
        """Write lines, each of which ends with a line break. Raises Unwritable."""
        if not lines:
            return
        file = self._open.get((kind, type))
        if file is None or file.bytes >= self._most:
            file = self._open[kind, type] = File(kind, type, f"{secrets.token_hex(16)}.ndjson")
            self._files.append(file)
        data = b"".join(lines)
        try:
            descriptor = os.open(self._folder / file.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
        except OSError as error:
            raise no_room(error) from None
        file.bytes += len(data)
        file.count += len(lines)
        self._touched.add(file.name)

    def make_lasting(self) -> None:
        """Return when all that was written is on the disk. Raises Unwritable."""
        try:
            for path in (*(self._folder / name for name in self._touched), self._folder):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise no_room(error) from None
        self._touched.clear()
