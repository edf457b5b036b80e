"""Makes HTTP load, and runs servers to put it on.

The client writes prepared requests on a few keep-alive connections and reads only status and length of each
answer, so that even a small machine measures the server and not the client. Servers run in their own
processes on a free loopback port.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.frame import Work

CONNECTIONS = 16


class UnexpectedStatus(Exception):
    """The server answered with a status that the benchmark does not expect."""


class _Connection(asyncio.Protocol):
    """One keep-alive connection that sends its next request when an answer has arrived."""

    def __init__(self, requests: Iterator[bytes], expected: bytes, finished: asyncio.Future[None]) -> None:
        self._requests = requests
        self._expected = expected
        self._finished = finished
        self._buffer = b""
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in every respect but ancestry.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            if not self._finished.done():
                self._finished.set_result(None)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        if head[9:12] != self._expected:
            self._fail(f"wanted {self._expected.decode()}, got {self._buffer[:400]!r}")
            return
        at = head.find(b"content-length:")
        if at >= 0:
            size = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        elif self._buffer.endswith(b"\r\n0\r\n\r\n"):
            size = len(self._buffer)  # chunked, and this was the last chunk
        else:
            return
        if len(self._buffer) >= size:
            self._buffer = self._buffer[size:]
            self.answers += 1
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._finished.done():
            self._fail(f"the server closed the connection: {error}")

    def _fail(self, reason: str) -> None:
        if not self._finished.done():
            self._finished.set_exception(UnexpectedStatus(reason))
        self._transport.close()


def request(method: str, url: str, body: bytes = b"", headers: str = "") -> bytes:
    """One HTTP/1.1 request as bytes; `headers` are further header lines, each with its line end."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = f"{method} {target} HTTP/1.1\r\nhost: {parts.netloc}\r\n{headers}"
    if body:
        head += f"content-type: application/fhir+json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def send_all(
    url: str,
    requests: Sequence[bytes],
    *,
    status: int,
    connections: int = CONNECTIONS,
    seconds: float = 120,
) -> Work:
    """Work that sends all the requests to the server of `url`, each answered with `status`."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80

    async def run() -> int:
        loop = asyncio.get_running_loop()
        waiting = iter(requests)
        finished: list[asyncio.Future[None]] = []
        opened: list[_Connection] = []
        for _ in range(min(connections, len(requests))):
            future: asyncio.Future[None] = loop.create_future()
            _, protocol = await loop.create_connection(
                lambda future=future: _Connection(waiting, str(status).encode(), future),  # type: ignore[misc]
                host,
                port,
            )
            finished.append(future)
            opened.append(protocol)
        async with asyncio.timeout(seconds):
            await asyncio.gather(*finished)
        return sum(connection.answers for connection in opened)

    return lambda: uvloop.run(run())


@contextmanager
def serving(command: Sequence[str], *, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run a server that prints a line with `listening on URL`; gives the URL, then ends the server."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "listening on " in line:
                yield line.split("listening on ", 1)[1].split()[0]
                return
        raise RuntimeError(f"{command[0]} ended before it listened")
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@contextmanager
def bare_starlette() -> Iterator[str]:
    """The reference: one Starlette route on uvicorn; GET gives 2.5 kB of JSON, POST echoes its body."""
    with serving([sys.executable, "-m", "benchmarks.load"]) as url:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{url}/Patient/1").close()
                break
            except OSError:
                time.sleep(0.05)
        yield url


def _serve_bare_starlette() -> None:
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    kept = b'{"resourceType":"Patient","id":"1","text":"' + b"x" * 2400 + b'"}'

    async def answer(incoming: Request) -> Response:
        if incoming.method == "POST":
            body = await incoming.body()
            return Response(body, 201, media_type="application/fhir+json")
        return Response(kept, media_type="application/fhir+json")

    app = Starlette(routes=[Route("/{type}/{id}", answer), Route("/{type}", answer, methods=["POST"])])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _serve_bare_starlette()
