"""Reads the records of a file one at a time: lines of NDJSON, or the file as a whole; also compressed (gzip).

What a file is, is told from its content and not from its name. Never more than one record is in memory, and a
record has a limit: what is longer is counted and told, and not held. Whatever goes wrong is told in the place
of a record, and stops nothing else.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

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
        with _opened(found, stdin) as (file, stream):
            yield from _texts(stream, file, limits, in_lines=found.path.lower().endswith(LINES))
    except (OSError, EOFError, zlib.error) as error:
        yield Text(b"", None, found.size, Issue("fatal", "exception", _said(error)))


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


class _Counted(io.RawIOBase):
    """The bytes of a file, the first of them once more, and how many have been read."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self.head = head
        self.rest = rest
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self.head:
            given, self.head = self.head[: len(buffer)], self.head[len(buffer) :]
        else:
            given = _read_some(self.rest, len(buffer))
        buffer[: len(given)] = given
        self.count += len(given)
        return len(given)


def _read_some(stream: BinaryIO, most: int) -> bytes:
    """What is there, at least one byte unless it ends: what somebody types is not held back."""
    return stream.read1(most) if isinstance(stream, io.BufferedReader) else stream.read(most)


@contextmanager
def _opened(found: Found, stdin: BinaryIO) -> Iterator[tuple[_Counted, BinaryIO]]:
    """The file as it is stored, which is counted, and its text, which may be packed in it."""
    with open_or_lend(found, stdin) as file:
        head = file.read(_HEAD)
        counted = _Counted(head, file)
        if head.startswith(b"\x1f\x8b"):
            packed = gzip.GzipFile(fileobj=io.BufferedReader(counted))
            yield counted, io.BufferedReader(packed, _PIECE)
        else:
            yield counted, io.BufferedReader(counted, _PIECE // 4)


@contextmanager
def open_or_lend(found: Found, stdin: BinaryIO) -> Iterator[BinaryIO]:
    """The file itself, or standard input, which stays open."""
    if found.path == STDIN:
        yield stdin
        return
    with Path(found.path).open("rb") as file:
        yield file


def _texts(stream: BinaryIO, file: _Counted, limits: Limits, *, in_lines: bool) -> Iterator[Text]:
    """Lines, if the name says so or if the first line is a whole JSON object and more lines follow."""
    stream, foreign = _looked_at(stream)
    if foreign:
        yield Text(b"", None, file.count, Issue("fatal", "not-supported", foreign))
        return
    lines = _lines(stream, limits)
    first = next(lines, None)
    if first is None:
        if not in_lines:
            yield Text(b"", None, file.count)
        return
    if not in_lines and not first.wrong and not _is_object(first.raw):
        raw, wrong = _whole(first.raw, stream, limits)
        yield Text(raw, None, file.count, wrong)
        return
    second = next(lines, None)
    if second is None and not in_lines:
        yield Text(first.raw, None, file.count, first.wrong)
        return
    yield Text(first.raw, first.number, file.count, first.wrong)
    if second is not None:
        yield Text(second.raw, second.number, file.count, second.wrong)
    for line in lines:
        yield Text(line.raw, line.number, file.count, line.wrong)


def _looked_at(stream: BinaryIO) -> tuple[BinaryIO, str]:
    """The text without a byte order mark, or what to do because it is no text of ours."""
    head = stream.read(_HEAD)
    if head[257:262] == b"ustar":
        return stream, f"The file is a tar archive; {_ARCHIVE}."
    for mark, told in _FOREIGN:
        if head.startswith(mark):
            return stream, told
    if head.startswith(_WIDE):
        return stream, "The file is UTF-16 or UTF-32; save it as UTF-8."
    return io.BufferedReader(_Counted(head.removeprefix(_BOM), stream), _PIECE // 4), ""


class _Line(NamedTuple):
    raw: bytes
    number: int
    wrong: Issue | None


def _lines(stream: BinaryIO, limits: Limits) -> Iterator[_Line]:
    """The lines that are not empty, with their ends."""
    number = 0
    while piece := stream.readline(_PIECE):
        number += 1
        if piece.endswith(b"\n") or len(piece) < _PIECE:
            raw, length = piece, len(piece)
        else:
            raw, length = _long_line(piece, stream, limits.bytes)
        wrong = _too_large(raw, length, limits)
        if wrong is None and (b"}\r{" in raw or b"}\r\r{" in raw):
            wrong = Issue("fatal", "structure", "Its lines end with CR alone; let them end with LF.")
        if wrong is not None:
            yield _Line(b"", number, wrong)
        elif not raw.isspace():
            yield _Line(raw, number, None)


def _long_line(piece: bytes, stream: BinaryIO, most: int) -> tuple[bytes, int]:
    """A line longer than a piece, and its length without blanks in front; no bytes if it is too long."""
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
    return b"".join(pieces) or b"\n", length


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
    """What is told about a record with more values and members than it may have."""
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
