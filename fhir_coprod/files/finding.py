"""Which files are behind the paths that somebody names: files, folders of them, pipes, standard input.

A path that is named and is not there stops everything, before anything is done. What cannot be read inside a
folder is told and stops nothing. Each file is read once, however many paths and links lead to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fhir_coprod.errors import ConfigError, readable

STDIN = "-"
LINES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")
"""How the names of files end that hold one record in each line."""
SUFFIXES = (*LINES, ".json", ".json.gz")
"""How the names of those files of a folder end that are read."""
_NO_RESOURCE = frozenset({"package.json", ".index.json"})
"""JSON files of a FHIR package that are not resources."""

_Identity = tuple[int, int]
"""Device and number of a file: the same for all links to it."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file.

    path:       as it was named or found; `-` for standard input
    size:       in bytes; 0 if that is not known
    is_regular: not a pipe or the like, which can be read only once and from its beginning
    wrong:      why it cannot be read; empty if it can
    same_as:    another name of the same file, by which it is read already
    """

    path: str
    size: int = 0
    is_regular: bool = True
    wrong: str = ""
    same_as: str = ""

    @property
    def name(self) -> str:
        """Its name in a message."""
        return "stdin" if self.path == STDIN else readable(self.path)


def find(paths: Sequence[str | Path], *, empty: bool = False) -> list[Found]:
    """The files behind the paths, those of a folder by name. Raises ConfigError if a path leads nowhere.

    empty: whether a folder may hold none
    """
    search = _Search(empty=empty)
    found: list[Found] = []
    for path in paths:
        found += search.named(os.fspath(path))
    return found


def size(found: Sequence[Found]) -> int | None:
    """Bytes of all files together; None if that is not known."""
    if all(one.is_regular for one in found):
        return sum(one.size for one in found)
    return None


class _Search:
    """The files found so far, by what they are and not by their names."""

    def __init__(self, *, empty: bool) -> None:
        self.empty = empty
        self.files: dict[_Identity, Found] = {}
        self.folders: set[_Identity] = set()

    def named(self, path: str) -> Iterator[Found]:
        if path == STDIN:
            yield from self._once((-1, -1), Found(path, is_regular=False))
            return
        try:
            status = Path(path).stat()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{readable(path)}: {_why(error)}; correct the path.") from None
        if stat.S_ISDIR(status.st_mode):
            inside = list(self._folder(path))
            if not inside and not self.empty:
                endings = ", ".join(SUFFIXES)
                raise ConfigError(
                    f"{readable(path)}: the folder holds no file ending with {endings}; name another."
                )
            yield from inside
        elif stat.S_ISREG(status.st_mode):
            yield from self._once(_identity(status), Found(path, status.st_size))
        elif stat.S_ISFIFO(status.st_mode) or _ends(path, status):
            yield from self._once(_identity(status), Found(path, is_regular=False))
        else:
            raise ConfigError(f"{readable(path)}: this is {_kind(status)}; name a file, a folder, or -.")

    def _once(self, identity: _Identity, found: Found) -> Iterator[Found]:
        first = self.files.setdefault(identity, found)
        yield found if first is found else Found(found.path, same_as=first.name)

    def _folder(self, folder: str) -> Iterator[Found]:
        """What is in it and below, without recursion: a tree may be deeper than Python's stack."""
        waiting = [folder]
        while waiting:
            path = waiting.pop()
            name = path.rpartition(os.sep)[2]
            try:
                status = Path(path).stat()
                if stat.S_ISDIR(status.st_mode):
                    if _identity(status) not in self.folders:
                        self.folders.add(_identity(status))
                        inside = sorted(os.listdir(path), reverse=True)  # noqa: PTH208 - may be bytes that are no text
                        waiting += [os.path.join(path, below) for below in inside]  # noqa: PTH118 - a file name
                    continue
            except OSError as error:
                if _is_wanted(name) or not _is_file(error, path):
                    yield Found(path, wrong=f"It cannot be read: {_why(error)}.")
                continue
            if not _is_wanted(name):
                continue
            if stat.S_ISREG(status.st_mode):
                yield from self._once(_identity(status), Found(path, status.st_size))
            else:
                pipe = "; to read it, name it itself" if stat.S_ISFIFO(status.st_mode) else ""
                yield Found(path, wrong=f"It is {_kind(status)} and was left out{pipe}.")


def _is_wanted(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and name not in _NO_RESOURCE


def _is_file(error: OSError, path: str) -> bool:
    """Whether what failed is an entry that is not a folder, and so of no interest unless its name says so."""
    try:
        return not stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _ends(path: str, status: os.stat_result) -> bool:
    """Whether a device ends: others, such as /dev/zero, would be read for ever."""
    if not stat.S_ISCHR(status.st_mode):
        return False
    if os.path.samestat(status, Path(os.devnull).stat()):
        return True
    try:
        with Path(path).open("rb", buffering=0) as device:
            return device.isatty()
    except OSError:
        return False


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _kind(status: os.stat_result) -> str:
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((kind for test, kind in kinds if test(status.st_mode)), "a device")


def _why(error: OSError | ValueError) -> str:
    """Why a path cannot be followed."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return "this is no name of a file"
