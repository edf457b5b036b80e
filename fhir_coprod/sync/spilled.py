"""A set and a mapping of ids that take no more memory from some size on: what is in them goes to a file.

A pull has to know of every record whether it came already, and in the end which ones did not come. With a
million records that would be a hundred megabytes and more. The file is SQLite's own for temporary data, which
nobody else sees and which is gone with the process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, MutableMapping, MutableSet
from typing import Final, Generic, TypeVar

H = TypeVar("H", bound=Collection[str])
T = TypeVar("T")
V = TypeVar("V")

MOST = 20_000
"""Entries that are kept in memory."""
CACHE: Final = 2_000
"""Kilobytes of the file that stay in memory."""


def _file(columns: str) -> sqlite3.Connection:
    """A table of its own in a temporary file; several threads may use it, one after the other."""
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute(f"PRAGMA cache_size=-{CACHE}")
    connection.execute(f"CREATE TABLE held ({columns}) WITHOUT ROWID")
    connection.execute("BEGIN")  # and never the end of it: nothing of this has to outlive the process
    return connection


def _bytes(text: str) -> bytes:
    """A text as it stands in the file. Servers send halves of surrogate pairs, which no database takes."""
    return text.encode("utf-8", "surrogatepass")


def _names(file: sqlite3.Connection) -> Iterator[str]:
    return (name.decode("utf-8", "surrogatepass") for (name,) in file.execute("SELECT name FROM held"))


class _Spilled(Generic[H]):
    """What both have in common.

    held: the set or dict in memory; empty when all is in the file
    """

    def __init__(self, held: H) -> None:
        self._held = held
        self._file: sqlite3.Connection | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._held) if self._file is None else _names(self._file)

    def __contains__(self, text: object) -> bool:
        if self._file is None or not isinstance(text, str):
            return text in self._held
        return self._file.execute("SELECT 1 FROM held WHERE name = ?", (_bytes(text),)).fetchone() is not None

    def _delete(self, file: sqlite3.Connection, text: str) -> int:
        """How many were deleted, one or none."""
        return file.execute("DELETE FROM held WHERE name = ?", (_bytes(text),)).rowcount


class SpilledSet(_Spilled[set[str]], MutableSet[str]):
    """A set of texts. What is made of it by `-`, `&` and `|` is an ordinary set, in memory."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        super().__init__(set())
        self._number = 0
        """How many are in the file."""
        self.update(texts)

    @classmethod
    def _from_iterable(cls, it: Iterable[T]) -> set[T]:
        return set(it)

    def __len__(self) -> int:
        return len(self._held) if self._file is None else self._number

    def add(self, value: str) -> None:
        self.update((value,))

    def discard(self, value: str) -> None:
        if self._file is None:
            self._held.discard(value)
        else:
            self._number -= self._delete(self._file, value)

    def update(self, texts: Iterable[str]) -> None:
        """Add them all."""
        if self._file is None:
            texts = iter(texts)
            for text in texts:
                self._held.add(text)
                if len(self._held) > MOST:
                    break
            else:
                return
            self._file, spilling, self._held = _file("name BLOB PRIMARY KEY"), self._held, set()
            self._insert(self._file, spilling)
        self._insert(self._file, texts)

    def _insert(self, file: sqlite3.Connection, texts: Iterable[str]) -> None:
        before = file.total_changes
        file.executemany("INSERT OR IGNORE INTO held VALUES (?)", ((_bytes(text),) for text in texts))
        self._number += file.total_changes - before


class SpilledDict(_Spilled[dict[str, V]], MutableMapping[str, V]):
    """A mapping from texts.

    pack, unpack: a value as the text that stands for it in the file, and back
    """

    def __init__(self, pack: Callable[[V], str], unpack: Callable[[str], V]) -> None:
        super().__init__({})
        self._pack = pack
        self._unpack = unpack

    def __len__(self) -> int:
        if self._file is None:
            return len(self._held)
        return int(self._file.execute("SELECT count(*) FROM held").fetchone()[0])

    def __getitem__(self, text: str) -> V:
        if self._file is None:
            return self._held[text]
        row = self._file.execute("SELECT value FROM held WHERE name = ?", (_bytes(text),)).fetchone()
        if row is None:
            raise KeyError(text)
        return self._unpack(row[0])

    def __setitem__(self, text: str, value: V) -> None:
        if self._file is None:
            self._held[text] = value
            if len(self._held) <= MOST:
                return
            self._file, spilling, self._held = _file("name BLOB PRIMARY KEY, value TEXT"), self._held, {}
            rows = ((_bytes(name), self._pack(one)) for name, one in spilling.items())
            self._file.executemany("INSERT INTO held VALUES (?, ?)", rows)
        else:
            self._file.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (_bytes(text), self._pack(value)))

    def __delitem__(self, text: str) -> None:
        if self._file is None:
            del self._held[text]
        elif not self._delete(self._file, text):
            raise KeyError(text)
