"""Reads the records of a file one at a time: lines of NDJSON, or the file as a whole; also compressed (gzip).

What a file is, is told from its content and not from its name. Never more than one record is in memory, and a
record has a limit: what is longer is counted and told, and not held. Whatever goes wrong is told in the place
of a record, and stops nothing else.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from fhir_coprod import jsontext
from fhir_coprod.files.finding import LINES, STDIN, Found
from fhir_coprod.outcome import Issue


class Limits(NamedTuple):
    """What one record may have at most."""

    bytes: int = 100_000_000
    elements: int = jsontext.MAX_ELEMENTS


LIMITS = Limits()
"""Unless settings say otherwise."""
_PIECE = 1 << 20
_HEAD = 512
"""Bytes at the beginning of a file that tell what it is: the name of a tar archive's format is at 257."""

_ARCHIVE = "unpack it, and name the files or the folder"
_FOREIGN = (
    (b"PK\x03\x04", f"The file is a ZIP archive; {_ARCHIVE}."),
    (b"PK\x05\x06", "The file is an empty ZIP archive."),
    (b"7z\xbc\xaf\x27\x1c", f"The file is a 7z archive; {_ARCHIVE}."),
    (b"BZh", "The file is compressed with bzip2; unpack it, or use gzip."),
    (b"\xfd7zXZ", "The file is compressed with xz; unpack it, or use gzip."),
    (b"\x28\xb5\x2f\xfd", "The file is compressed with zstd; unpack it, or use gzip."),
    (b"\x1f\x8b", "The file is compressed with gzip twice; unpack it once."),
    (b"PAR1", "The file is Parquet; write the resources as NDJSON."),
    (b"SQLite format 3", "The file is a database; give NDJSON, Bundles or resources."),
    (b"%PDF", "The file is a PDF; give NDJSON, Bundles or resources."),
)
"""The first bytes of what people give by mistake, and what to do about it."""
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{", b"\0\0\0{", b"\0\0\xfe\xff")
_BOM = b"\xef\xbb\xbf"


class Text(NamedTuple):
    """The text of one record, or the reason why there is none.

    line: its line; None if the file is one record as a whole
    read: bytes of the file that have been read by now, as they are stored there
    """

    raw: bytes
    line: int | None
    read: int
    wrong: Issue | None = None


def texts(found: Found, stdin: BinaryIO, limits: Limits = LIMITS) -> Iterator[Text]:
    """The records of a file, without empty lines; what is larger than the limits is told with its size."""
    if found.wrong:
        yield Text(b"", None, 0, Issue("fatal", "exception", found.wrong))
        return
    try:
        with _file(found, stdin) as file:
            stored = text = _Stream(file)
            if stored.head.startswith(b"\x1f\x8b"):
                text = _Stream(gzip.GzipFile(fileobj=io.BufferedReader(stored)))
            yield from _texts(text, stored, limits, in_lines=found.path.lower().endswith(LINES))
            fault = stored.fault or text.fault
    except OSError as error:
        fault = error
    if fault is not None:
        yield Text(b"", None, found.size, Issue("fatal", "exception", _said(fault)))


def _said(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "The file is no longer there."
    if isinstance(error, PermissionError):
        return "The file cannot be opened (permission denied); check its rights."
    if isinstance(error, EOFError):
        return "The file cannot be read to its end: the compressed data (gzip) are cut off; fetch it again."
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return (
            "The file cannot be read to its end: from some place on its data are not gzip, or damaged; "
            "fetch it again."
        )
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return f"The file cannot be read to its end ({why})."


class _Stream(io.RawIOBase):
    """The bytes of a stream, the first of them also as `head`; it ends, too, where reading on is impossible.

    count: how many have been read
    fault: why it has ended too early
    """

    def __init__(self, rest: Any) -> None:
        self.rest = rest
        self.count = 0
        self.fault: Exception | None = None
        self.head = b""
        while len(self.head) < _HEAD and (more := self._more(_HEAD - len(self.head))):
            self.head += more
        self.ahead = self.head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        given, self.ahead = self.ahead[: len(buffer)], self.ahead[len(buffer) :]
        given = given or self._more(len(buffer))
        buffer[: len(given)] = given
        return len(given)

    def _more(self, most: int) -> bytes:
        """What is there: what came before a fault, or what somebody types, is not held back."""
        try:
            given: bytes = self.rest.read1(most)
        except (OSError, EOFError, zlib.error) as error:
            self.fault = error
            return b""
        self.count += len(given)
        return given


@contextmanager
def _file(found: Found, stdin: BinaryIO) -> Iterator[BinaryIO]:
    """The file, or standard input, which stays open."""
    if found.path == STDIN:
        yield stdin
        return
    with Path(found.path).open("rb") as file:
        yield file


def _texts(text: _Stream, stored: _Stream, limits: Limits, *, in_lines: bool) -> Iterator[Text]:
    """Lines, if the name says so or if the first line is a whole JSON object and more lines follow."""
    if foreign := _foreign(text.head):
        yield Text(b"", None, stored.count, Issue("fatal", "not-supported", foreign))
        return
    stream = io.BufferedReader(text, _PIECE // 4)
    if text.head.startswith(_BOM):
        stream.read(len(_BOM))

    def is_broken() -> bool:
        return stored.fault is not None or text.fault is not None

    lines = _lines(stream, limits, is_broken)
    first = next(lines, None)
    if first is None:
        if not in_lines and not is_broken():
            yield Text(b"", None, stored.count)
        return
    if not in_lines and not first.wrong and not _is_object(first.raw):
        raw, wrong = _whole(first.raw, stream, limits)
        if is_broken():
            return
        yield Text(raw, None, stored.count, wrong)
        return
    second = next(lines, None)
    if second is None and not in_lines:
        yield Text(first.raw, None, stored.count, first.wrong)
        return
    begun = [first] if second is None else [first, second]
    del first, second  # they may be long
    for line in chain(_emptied(begun), lines):
        yield Text(line.raw, line.number, stored.count, line.wrong)


def _emptied(begun: list[_Line]) -> Iterator[_Line]:
    while begun:
        yield begun.pop(0)


def _foreign(head: bytes) -> str:
    """What to do, if a file that begins so is none of ours."""
    if head[257:262] == b"ustar":
        return f"The file is a tar archive; {_ARCHIVE}."
    if head.startswith(_WIDE):
        return "The file is UTF-16 or UTF-32; save it as UTF-8."
    return next((told for mark, told in _FOREIGN if head.startswith(mark)), "")


class _Line(NamedTuple):
    raw: bytes
    number: int
    wrong: Issue | None


def _lines(stream: BinaryIO, limits: Limits, is_broken: Callable[[], bool]) -> Iterator[_Line]:
    """The lines that are not empty; long ones without their ends. A last one that is cut off is left out."""
    number = 0
    while piece := stream.readline(_PIECE):
        number += 1
        if piece.endswith(b"\n") or len(piece) < _PIECE:
            raw, length, ended = piece, 0 if piece.isspace() else len(piece), piece.endswith(b"\n")
        else:
            raw, length, ended = _long_line(piece, stream, limits.bytes)
        if not ended and is_broken():
            return
        wrong = _too_large(raw, length, limits)
        if wrong is None and (b"}\r{" in raw or b"}\r\r{" in raw):
            wrong = Issue("fatal", "structure", "Its lines end with CR alone; let them end with LF.")
        if wrong is not None:
            yield _Line(b"", number, wrong)
        elif not raw.isspace():
            yield _Line(raw, number, None)


def _long_line(piece: bytes, stream: BinaryIO, most: int) -> tuple[bytes, int, bool]:
    """A line longer than a piece, its length without blanks in front, and whether it has an end.

    Without bytes, if it is too long.
    """
    pieces: list[bytes] = []
    length = 0
    while piece:
        if length or not piece.isspace():
            length += len(piece)
            pieces.append(piece)
            if length > most:
                pieces = []
        if piece.endswith(b"\n"):
            break
        piece = stream.readline(_PIECE)
    ended = bool(piece)
    if pieces:
        pieces[-1] = pieces[-1].rstrip()  # here it costs no second copy of the line
    return b"".join(pieces) or b"\n", length, ended


def _whole(first: bytes, stream: BinaryIO, limits: Limits) -> tuple[bytes, Issue | None]:
    """The file as one record."""
    pieces, length = [first], len(first)
    while piece := stream.read(_PIECE):
        length += len(piece)
        pieces.append(piece)
        if length > limits.bytes:
            pieces = []
    raw = b"".join(pieces)
    wrong = _too_large(raw, length, limits)
    return (raw, None) if wrong is None else (b"", wrong)


def _too_large(raw: bytes, length: int, limits: Limits) -> Issue | None:
    if length > limits.bytes:
        return Issue(
            "fatal",
            "too-long",
            f"This record has {length:,} bytes, more than the {limits.bytes:,} that one may have; split it, "
            "or raise limits.record_bytes.",
        )
    if jsontext.has_more_elements(raw, limits.elements):
        return too_many(limits.elements, length)
    return None


def too_many(elements: int, length: int) -> Issue:
    """What is told about a record with more values and members than it may have (limits.elements)."""
    return Issue(
        "fatal",
        "too-long",
        f"This record of {length:,} bytes has more than the {elements:,} values and members that one may "
        "have; split it, or raise limits.elements.",
    )


_skip = msgspec.json.Decoder(msgspec.Raw).decode


def _is_object(line: bytes) -> bool:
    """Whether a line is a whole JSON object; nothing is built of it."""
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        _skip(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True
