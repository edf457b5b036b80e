"""Runs the application under uvicorn: one process on SQLite, any number on PostgreSQL, on loopback only."""

from __future__ import annotations

import contextlib
import errno
import re
import signal
import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from fhir_coprod.api.app import create_app
from fhir_coprod.api.conformance import publish
from fhir_coprod.errors import ConfigError
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store

GRACE_SECONDS = 10
"""How long requests under way may take to end once the server is told to stop."""


def require_loopback(host: str) -> None:
    """Raise ConfigError for an address that others could reach, as there is no authentication yet."""
    with contextlib.suppress(ValueError):
        if ip_address(host).is_loopback:
            return
    if host != "localhost":
        raise ConfigError(
            f"serve --host {host}: without authentication only this machine is served; leave --host out, "
            "and put a proxy that authenticates in front of 127.0.0.1."
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ConfigError with the reason in a sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {_reason(error)}") from None
    listener.set_inheritable(True)
    return listener


def _reason(error: OSError | OverflowError) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return "another program uses that port; stop it, or choose another with --port (0: any free one)."
        case errno.EACCES:
            return "that port needs more rights than this user has; choose one above 1023 with --port."
    return f"{error}; choose another address with --host or --port."


def address(listener: socket.socket) -> str:
    """http://host:port of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(settings: Settings, listener: socket.socket, workers: int, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then let requests under way end. Calls `on_ready` once it answers."""
    if workers > 1 and settings.store.url.startswith("sqlite"):
        raise ConfigError(
            "serve --workers: SQLite serves one process; leave --workers out, or set store.url to PostgreSQL."
        )
    with Store.open(settings.store.url) as store:
        publish(store)
        if workers == 1:
            _serve(_config(create_app(store, settings)), listener, on_ready)
            return
    config = _config(partial(_worker, settings), factory=True, workers=workers)
    on_ready()
    Multiprocess(config, sockets=[listener]).run()


def _worker(settings: Settings) -> FastAPI:
    """The application of one of several processes; its store lives as long as the process."""
    return create_app(Store.open(settings.store.url), settings)


def _config(
    app: FastAPI | Callable[[], FastAPI], *, factory: bool = False, workers: int = 1
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=factory,
        workers=workers,
        loop="auto",  # uvloop where it is installed, which is everywhere but on Windows
        http=_Protocol,
        ws="none",
        log_level="warning",
        # Search URLs hold names and numbers of patients; they are never logged.
        access_log=False,
        # The connection decides who is calling, not a header that anybody can send.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        # A worker that loads definitions on a busy machine may be silent for more than the default 5 s.
        timeout_worker_healthcheck=60,
    )


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1 that ignores offers to upgrade to another protocol.

    Java's own client offers HTTP/2 with the first request of a connection, before its body. The parser stops
    at the offer and would take the body for the next request, so the Upgrade header is hidden from it. If the
    header comes in two parts, or oddly spelt, the endpoint refuses the request and closes the connection.
    """

    _is_in_body = False

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if not self._is_in_body and (b"pgrade" in data or b"PGRADE" in data):
            head, blank, rest = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(rb"\1x-grade", head) + blank + rest
        super().data_received(data)


_UPGRADE = re.compile(rb"(\r?\n)upgrade(?=[ \t]*:)", re.IGNORECASE)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()


def _serve(config: uvicorn.Config, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    # After a clean stop the server raises the signal it got again, and the store still has to be closed then.
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config, on_ready).run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt
