"""HTTP answers: the `Answer` that a handler returns, and how it is sent."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

import msgspec
from starlette.types import Send

from fhir_coprod import jsontext
from fhir_coprod.api.formats import FHIR_JSON, http_date
from fhir_coprod.errors import CoprodError
from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import Outcome
from fhir_coprod.store import Version

if TYPE_CHECKING:
    from fhir_coprod.api.call import Call


@dataclass(slots=True)
class Part:
    """Bytes of an open file, from `start` to before `end`; whoever sends them closes it."""

    file: BinaryIO
    start: int
    end: int


@dataclass(slots=True)
class Answer:
    """Status, body, and the version of a resource that the answer is about.

    body:    JSON bytes; b"" for an answer without a body
    version: the source of ETag and Last-Modified, or of `response` in an entry of a Bundle
    outcome: issues to report with an entry of a Bundle (warnings, or what went wrong)
    part:    of a file, which is sent instead of a body
    format:  its media type, whatever the caller has asked for; "": that
    shown:   all versions that the answer shows anything of, for the audit; empty: `version` alone
    patients: ids of those whom the file of `part` is about, for the audit
    parts:   of a Bundle: each entry as a call of its own, for the audit
    is_recorded: whether the audit has it already, in the transaction of the write itself
    """

    status: int = 200
    body: bytes = b""
    version: Version | None = None
    headers: dict[str, str] = field(default_factory=dict)
    outcome: Outcome | None = None
    part: Part | None = None
    format: str = ""
    shown: Sequence[Version] = ()
    patients: Sequence[str] = ()
    parts: Sequence[tuple[Call, Answer]] = ()
    is_recorded: bool = False

    @property
    def etag(self) -> str:
        return self.version.etag if self.version else ""


def json_answer(resource: Json, status: int = 200) -> Answer:
    """An answer with a resource that was made here."""
    return Answer(status, jsontext.encode(resource))


def outcome_answer(outcome: Outcome, status: int = 200) -> Answer:
    """An answer whose body is an OperationOutcome."""
    return Answer(status, jsontext.encode(outcome.to_fhir()), outcome=outcome)


def error_answer(error: CoprodError, headers: Mapping[str, str] | None = None) -> Answer:
    """The OperationOutcome of an error; errors come first, as many clients show only the first issue."""
    ranked = sorted(error.outcome.issues, key=lambda issue: issue.severity not in ("fatal", "error"))
    answer = outcome_answer(Outcome(tuple(ranked)), error.status)
    answer.headers.update(headers or {})
    return answer


GZIP_FROM = 1000
"""Size in bytes from which compression pays."""
_GZIP_LEVEL = 4
"""Takes a third of the time of level 9, for a few per cent more bytes."""
_INLINE = 100_000
_PRETTY = 2_000_000
"""No larger body is indented, whoever asks for it: deep ones grow to twenty times their size."""


async def send_answer(
    answer: Answer,
    send: Send,
    *,
    media_type: str = FHIR_JSON,
    pretty: bool = False,
    gzipped: bool = False,
    head: bool = False,
) -> None:
    """Write the answer as HTTP."""
    if answer.part is not None:
        await _send_part(answer, answer.part, send, gzipped=gzipped, head=head)
        return
    body = answer.body
    media_type = answer.format or media_type
    if pretty and 0 < len(body) <= _PRETTY:
        body = await _apart(_indented, body)
    packed = gzipped and len(body) >= GZIP_FROM
    if packed:
        body = await _apart(_packed, body)
    # Nobody is to keep records of patients, not even the browser in which they were opened from the board. A
    # program that keeps one on purpose may still ask with If-None-Match whether it has changed.
    headers = [(b"cache-control", b"no-store")]
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    if body:
        headers.append((b"content-type", _content_type(media_type)))
        headers.append((b"vary", b"accept, accept-encoding"))
    if packed:
        headers.append((b"content-encoding", b"gzip"))
    version = answer.version
    if version is not None:
        headers.append((b"etag", version.etag.encode()))
        headers.append((b"last-modified", http_date(version.milliseconds // 1000).encode()))
    for name, value in answer.headers.items():
        headers.append((name.encode(), value.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def _apart(work: Callable[[bytes], bytes], body: bytes) -> bytes:
    """Large bodies are worked on in a thread: here it would hold up all other requests."""
    return work(body) if len(body) < _INLINE else await asyncio.to_thread(work, body)


def _indented(body: bytes) -> bytes:
    return msgspec.json.format(body, indent=2)


@lru_cache(16)
def _content_type(media_type: str) -> bytes:
    return f"{media_type}; charset=utf-8".encode()


def _packed(body: bytes) -> bytes:
    # No time stamp: the same body gives the same bytes.
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


_PIECE = 262_144


async def _send_part(answer: Answer, part: Part, send: Send, *, gzipped: bool, head: bool) -> None:
    """Send a file piece by piece, each when the one before has been taken. A part that was asked for by its
    bytes is not packed: then they would be others."""
    packed = gzipped and answer.status == 200
    headers = [(b"cache-control", b"no-store"), (b"content-type", answer.format.encode())]
    if packed:
        headers += [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
    else:
        headers.append((b"content-length", b"%d" % (part.end - part.start)))
        headers.append((b"accept-ranges", b"bytes"))
    for name, value in answer.headers.items():
        headers.append((name.encode(), value.encode("latin-1", "replace")))
    packer = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS) if packed else None
    with part.file as file:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        at = part.end if head else part.start
        while at < part.end:
            piece = await asyncio.to_thread(_read, file, at, min(_PIECE, part.end - at))
            if not piece:
                raise OSError("the file is shorter than it was")
            at += len(piece)
            if packer is not None:
                piece = await asyncio.to_thread(packer.compress, piece)
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        last = packer.flush() if packer is not None and not head else b""
        await send({"type": "http.response.body", "body": last})


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
