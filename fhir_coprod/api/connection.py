"""One HTTP/1.1 connection: uvicorn's, with bounds on what a client may send, leave out or not read.

uvicorn hands a request to the application once its headers have ended, so it has no bound on headers that do
not end, nor on the time they take. What must hold before that is here, beside what RFC 9112 wants refused and
the parser lets pass. A refusal is an OperationOutcome, comes after the answers to the requests before it, and
ends the connection: what else has come cannot be told apart any more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from fhir_coprod.api.answer import error_answer
from fhir_coprod.api.connections import Connections, Stage
from fhir_coprod.api.formats import FHIR_JSON
from fhir_coprod.errors import BadRequest, CoprodError, Overloaded

PIECE = 4_096
"""Bytes that are parsed at once: between two pieces one can stop, but not within one."""


class HeadTooLarge(BadRequest):
    """The headers are longer than is read."""

    status = 431
    code = "too-long"


class UrlTooLong(BadRequest):
    """The URL is longer than is read."""

    status = 414
    code = "too-long"


class TooSlow(BadRequest):
    """The request has not come in time."""

    status = 408
    code = "timeout"


class NotImplementedHere(BadRequest):
    """A method or a coding of HTTP that this server does not have."""

    status = 501
    code = "not-supported"


class WrongVersion(BadRequest):
    """Another version of HTTP."""

    status = 505
    code = "not-supported"


class BoundedProtocol(HttpToolsProtocol):
    """A connection as uvicorn's server wants it; `connections` are all of this process, and their limits."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = connections
        self._limits = connections.limits
        self.stage = Stage.NEW
        self.since = connections.now
        self.stuck_since = 0.0
        self.body_bytes = 0
        self._held = b""
        """What has come and has to wait until the requests before it are answered."""
        self._unframed = 0
        """Bytes since the last end of headers or piece of a body: what has no end does not grow for ever."""
        self._refusal = b""
        """What is still to be said before the connection ends."""
        self._hosts: list[bytes] = []
        self._codings: list[bytes] = []
        self._is_stopping = False
        self._running: RequestResponseCycle | None = None

    # ------------------------------------------------------------------------------------ the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._socket = transport
        self.transport = _Outward(transport, self._end)  # type: ignore[assignment]
        self.flow = _Flow(transport, self._go_on)
        if not self._all.add(self):
            full = Overloaded("This server has no connection left just now; try again in a moment.")
            transport.write(self._refusing(full))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        self.stage = Stage.OVER
        self._held = b""
        self.pipeline.clear()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.stuck_since = self._all.now
        super().pause_writing()
        self._all.bound_answers()

    def resume_writing(self) -> None:
        self.stuck_since = 0.0
        super().resume_writing()
        if self.pipeline and self._running is not None and self._running.response_complete:
            self._start_asgi_task(*self.pipeline.pop())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def unsent(self) -> int:
        return self._socket.get_write_buffer_size()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self._held = b""
        self.pipeline.clear()
        if self._running is not None:
            self._running.disconnected = True  # it writes nothing any more
        self._socket.abort()

    def expire(self) -> None:
        """Its time is over: say so, if the client is in the middle of saying something."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self.stuck_since:
            self.abort()
        elif self.flow.read_paused or (self.stage is Stage.HEAD and is_answering):
            return  # what keeps it waiting is the request before
        elif self.stage is Stage.HEAD:
            seconds = self._limits.head_seconds
            self.refuse(TooSlow(f"The headers have not ended within {seconds:g} seconds; send them at once."))
        elif self.stage is Stage.BODY and is_answering:
            seconds = self._limits.body_seconds
            self.refuse(TooSlow(f"The body has not ended within {seconds:g} seconds; send it faster."))
        else:
            self.abort()

    def shutdown(self) -> None:
        """The server stops: end now, or with the answer under way."""
        self._is_stopping = True
        if self.cycle is None or self.cycle.response_complete:
            self._socket.close()
        else:
            self.cycle.keep_alive = False

    def _end(self) -> None:
        """Close when everything is sent. Somebody who is still sending would only see that the connection
        broke, so what still comes is read and dropped for a moment."""
        if self.stage is Stage.OVER:
            return
        is_whole = self.stage not in (Stage.HEAD, Stage.BODY) and not self._held and not self._refusal
        self._enter(Stage.OVER)
        self._held = b""
        self.pipeline.clear()
        if is_whole or self._socket.is_closing():
            self._socket.close()
            return
        if self._socket.can_write_eof():  # TLS cannot; its client sees from the headers that this is all
            self._socket.write_eof()
        self.flow.resume_reading()

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.since = self._all.now

    # ----------------------------------------------------------------------------------- what is refused

    def refuse(self, error: CoprodError) -> None:
        """Answer with an error once the requests before are answered, and end the connection."""
        if self.stage is Stage.OVER or self._refusal:
            return
        self._held = b""
        self._refusal = self._refusing(error)
        cycle = self.cycle
        if self.stage is Stage.BODY and not cycle.response_complete:
            # It is the answer to this one, whose handler will never see the rest.
            cycle.disconnected = True
            cycle.message_event.set()
            if self.pipeline and self.pipeline[0][0] is cycle:
                self.pipeline.popleft()
                return
            if cycle.response_started:
                self.abort()
                return
            self._say_refusal()
        elif cycle is None or cycle.response_complete:
            self._say_refusal()

    def _refusing(self, error: CoprodError) -> bytes:
        answer = error_answer(error)
        lines = [STATUS_LINE[answer.status]]
        for name, value in (
            *self.server_state.default_headers,
            (b"content-type", f"{FHIR_JSON}; charset=utf-8".encode()),
            (b"content-length", b"%d" % len(answer.body)),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ):
            lines.append(b"%b: %b\r\n" % (name, value))
        return b"".join((*lines, b"\r\n", answer.body))

    def _say_refusal(self) -> None:
        if not self._socket.is_closing():
            self._socket.write(self._refusal)
        self._end()

    # ------------------------------------------------------------------------------------- what comes in

    def data_received(self, data: bytes) -> None:
        if self.stage is Stage.OVER or self._refusal:
            return
        if self._held or self.flow.read_paused:
            self._held += data
        else:
            self._take(data)

    def _go_on(self) -> None:
        """Read on with what has been waiting."""
        data, self._held = self._held, b""
        if data and self.stage is not Stage.OVER and not self._refusal:
            self._take(data)

    def _take(self, data: bytes) -> None:
        if len(data) <= PIECE:
            self._parse(data)
            return
        at = 0
        while at < len(data):
            self._parse(data[at : at + PIECE])
            at += PIECE
            if self.stage is Stage.OVER or self._refusal:
                return
            if self.flow.read_paused:
                self._held = data[at:]
                return

    def _parse(self, piece: bytes) -> None:
        self._unframed += len(piece)
        if self.stage is not Stage.BODY and (b"pgrade" in piece or b"PGRADE" in piece):
            head, blank, rest = piece.partition(b"\r\n\r\n")
            piece = _UPGRADE.sub(rb"\1x-grade", head) + blank + rest
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserError as error:
            self.refuse(_explained(error))
        else:
            if self._unframed > self._limits.head_bytes:
                self.refuse(self._too_large())

    def _too_large(self) -> CoprodError:
        most = f"{self._limits.head_bytes:,} bytes"
        if self.stage is Stage.BODY:
            return HeadTooLarge(f"Between the pieces of the body there are more than {most}; leave them out.")
        if self.stage is Stage.HEAD and not self.headers:
            return UrlTooLong(f"The URL is longer than {most}; ask for less, or send a search by POST.")
        return HeadTooLarge(f"URL and headers are longer than {most}; send fewer and shorter ones.")

    # ------------------------------------------------------------------------ called by the parser, in turn

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._hosts = []
        self._codings = []
        if self.stage is Stage.NEW:
            self.stage = (
                Stage.HEAD
            )  # the time of the first request has been running since the connection began
        else:
            self._enter(Stage.HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.stage is Stage.BODY:
            return  # a trailer: the handler has the headers already
        name = name.lower()
        value = value.rstrip(b" \t")
        if name in _WATCHED:
            if name == b"host":
                self._hosts.append(value)
            elif name == b"transfer-encoding":
                self._codings.append(value)
            else:
                self.expect_100_continue = value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._unframed > self._limits.head_bytes and self._head_bytes() > self._limits.head_bytes:
            raise self._too_large()
        self._require_sound_head()
        super().on_headers_complete()
        self._unframed = 0
        self._enter(Stage.BODY)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _require_sound_head(self) -> None:
        """Raise a CoprodError for what RFC 9112 wants refused and the parser lets pass."""
        version = self.parser.get_http_version()
        if version != "1.1":
            if version != "1.0":
                raise WrongVersion("This server speaks HTTP/1.1; send the request so.")
            if self._codings:
                raise BadRequest("HTTP/1.0 has no Transfer-Encoding; send HTTP/1.1, or Content-Length.")
            self.expect_100_continue = False
        if self._codings and (len(self._codings) > 1 or self._codings[0].lower() != b"chunked"):
            raise NotImplementedHere(
                "Of the transfer codings this server has only chunked; send Transfer-Encoding: chunked alone."
            )
        if self.url[:1] != b"/":
            self._read_other_target()
        if self.parser.should_upgrade():
            # The parser stops here, so the body would be taken for the next request.
            raise BadRequest("This server speaks HTTP/1.1 only; send the request without Upgrade.")
        if b"#" in self.url:
            raise BadRequest("A request has no fragment (#…); leave it out, or write %23.")
        if len(self._hosts) != 1 or not _is_host(self._hosts[0]):
            if not self._hosts and version == "1.0":
                return
            raise BadRequest("Send one Host header with the name of this server, and a port if need be.")

    def _read_other_target(self) -> None:
        """A target that is no path: a whole URL takes the place of the Host header (RFC 9112, 3.2.2)."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise NotImplementedHere("This server is no proxy; it has no CONNECT.")
        whole = _WHOLE_URL.fullmatch(self.url)
        if whole is None:
            if self.url == b"*" and method == b"OPTIONS":
                return
            raise BadRequest("The target of the request is neither a path nor an http URL.")
        host, self.url = whole[1], whole[2] if whole[2][:1] == b"/" else b"/" + whole[2]
        if len(self._hosts) == 1:
            self._hosts = [host]
            self.headers[:] = [(name, host if name == b"host" else value) for name, value in self.headers]

    def on_chunk_header(self) -> None:
        self._unframed = 0

    def on_body(self, body: bytes) -> None:
        self._unframed = 0
        if not self.cycle.response_complete:
            self._all.body_came(self, len(body))
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._unframed = 0
        if self.body_bytes:
            self._all.body_came(self, -self.body_bytes)
        if self.cycle.response_complete:
            self._enter(Stage.IDLE)
        else:
            self._enter(Stage.BUSY)
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, if it is here already."""
        self.server_state.total_requests += 1
        if self.stage is Stage.OVER:
            return
        if self._is_stopping:
            self._end()
        elif self.pipeline:
            if not self.flow.write_paused:  # else once this answer is taken: two would fill the memory
                self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal:
            self._say_refusal()
        else:
            if self.stage is Stage.BUSY:
                self._enter(Stage.IDLE)
            elif self.stage is Stage.BODY and self.expect_100_continue and not self.body_bytes:
                self._end()  # the client may never send the body: what comes next could be either
            elif self.stage is Stage.HEAD:
                self.since = self._all.now
            self.flow.resume_reading()


class _Outward:
    """What a request's cycle may do with the connection: to close it is to end it in good order."""

    __slots__ = ("close", "get_extra_info", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.close = close
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.write = transport.write


class _Flow(FlowControl):
    """Stops and resumes reading; what has come already and waits goes before what is still to come."""

    def __init__(self, transport: asyncio.Transport, go_on: Callable[[], None]) -> None:
        super().__init__(transport)
        self._go_on = go_on
        self._is_stopped = False

    def pause_reading(self) -> None:
        self.read_paused = True
        if not self._is_stopped:
            self._is_stopped = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._go_on()
            if not self.read_paused and not self._transport.is_closing():
                self._is_stopped = False
                self._transport.resume_reading()


def _explained(error: httptools.HttpParserError) -> CoprodError:
    """What the client is told when the parser stops: our own reason, if that is why."""
    if isinstance(error.__context__, CoprodError):
        return error.__context__
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return NotImplementedHere("The request begins with a method that this server does not know.")
    if isinstance(error, httptools.HttpParserCallbackError):
        return BadRequest("The URL of the request cannot be read; encode it again.")
    return BadRequest(f"This is not HTTP/1.1 as RFC 9112 wants it: {error}.")


_WATCHED = frozenset({b"host", b"transfer-encoding", b"expect"})
_UPGRADE = re.compile(rb"(\r?\n)upgrade(?=[ \t]*:)", re.IGNORECASE)
_WHOLE_URL = re.compile(rb"(?i:https?)://([^/?#@]+)([/?].*|)")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]*)?")


def _is_host(value: bytes) -> bool:
    """Whether a Host header is a host, with or without a port: no user, no path, and not nothing."""
    return _HOST.fullmatch(value) is not None
