"""Runs the application under uvicorn: one process on SQLite, any number on PostgreSQL.

On other addresses than loopback it listens only where callers have to say who they are, and where nobody on
the way can read what they say.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_coprod import faults, logs, stopping, trimming
from fhir_coprod.addresses import is_near
from fhir_coprod.api.answer import error_answer, send_answer
from fhir_coprod.api.app import create_app
from fhir_coprod.api.certificate import Certificate, hsts
from fhir_coprod.api.conformance import publish
from fhir_coprod.api.connection import BoundedProtocol
from fhir_coprod.api.connections import ConnectionLimits, Connections
from fhir_coprod.api.gate import Gate
from fhir_coprod.api.workers import Beat, Workers
from fhir_coprod.errors import ConfigError, CoprodError, Overloaded
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store

log = logging.getLogger("fhir_coprod.api")

CLOSING_SECONDS = 3.0
"""How much of `stopping.GRACE_SECONDS` is not for requests under way, but for the store to close."""

CERTIFICATE_SECONDS = 10
"""How often the files of the certificate are looked at: a new one is used without a restart."""

TRIM_SECONDS = 30
"""How often memory that was freed is given back to the system, if there were requests since."""


def require_safe(host: str, settings: Settings) -> None:
    """Raise ConfigError for an address that others could reach, unless they have to say who they are and the
    connection is encrypted, by ourselves or by a proxy."""
    if is_near(host):
        return
    if not is_required(settings):
        raise ConfigError(
            f"serve --host {host}: as long as nobody has to say who they are, only this machine is served. "
            "Register a program first (fhir-coprod clients add), or leave --host out."
        )
    if not settings.tls.certificate_file and not settings.site.proxy:
        raise ConfigError(
            f"serve --host {host}: tokens and records would cross the network readable by others; set "
            "tls.certificate_file and tls.key_file, or name the proxy that has them in site.proxy."
        )


def is_required(settings: Settings) -> bool:
    """Whether callers have to say who they are."""
    with Store.open(settings.store.url) as store:
        gate = Gate(store, settings)
        gate.look()
        return gate.required


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


def address(listener: socket.socket, scheme: str = "http") -> str:
    """http://host:port of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def run(
    settings: Settings,
    listener: socket.socket,
    workers: int,
    on_ready: Callable[[], None],
    *,
    on_stop: Callable[[], None] = lambda: None,
    limits: ConnectionLimits | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then let requests under way end.

    on_ready: called once it answers
    on_stop:  called as soon as it is told to stop, in a thread of its own
    limits:   of connections, if not the usual ones
    """
    if workers > 1 and settings.store.url.startswith("sqlite"):
        raise ConfigError(
            "serve --workers: SQLite serves one process; leave --workers out, or set store.url to PostgreSQL."
        )
    logs.adopt(settings.log.format)
    Certificate(settings.tls).require()
    with Store.open(settings.store.url) as store:
        publish(store)
        if workers == 1:
            _Server(create_app(store, settings), settings, limits, on_ready, on_stop).serve_until_told(
                listener
            )
            return
    on_ready()
    Workers(partial(_work, settings, limits), listener, workers, on_stop).run()


def _work(settings: Settings, limits: ConnectionLimits | None, listener: socket.socket, beat: Beat) -> None:
    """One of several processes."""
    logs.adopt(settings.log.format)
    with Store.open(settings.store.url) as store:
        _Server(create_app(store, settings), settings, limits, on_beat=beat).serve_until_told(listener)


class _Server(uvicorn.Server):
    """uvicorn's server of one process."""

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        limits: ConnectionLimits | None,
        on_ready: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
        on_beat: Beat = lambda: None,
    ) -> None:
        # The endpoint ends its requests itself, in a way that tells more: the connection comes after it.
        limits = limits or ConnectionLimits(
            body_seconds=settings.limits.seconds + 5,
            bodies=max(128_000_000, 4 * settings.limits.body_bytes),
            answers=max(64_000_000, 2 * settings.limits.answer_bytes),
        )
        self._connections = Connections(limits)
        app.state.metrics.connections = lambda: len(self._connections.open)
        super().__init__(_config(_Guarded(app), partial(BoundedProtocol, self._connections), settings))
        self._certificate = Certificate(settings.tls)
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._on_beat = on_beat
        self._trimmed_at = 0

    def serve_until_told(self, listener: socket.socket) -> None:
        """Serve until SIGINT or SIGTERM."""
        # After a clean stop the server raises the signal it got again, and the store still has to be closed.
        before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self.run(sockets=[listener])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._certificate.use(self.config.ssl)
        await super().startup(sockets=sockets)
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        self._connections.look()
        if counter % 10 == 0:
            self._on_beat()
        if counter % (10 * CERTIFICATE_SECONDS) == 0:
            self._certificate.renew(self.config.ssl)
        if counter % (10 * TRIM_SECONDS) == 0 and self.server_state.total_requests != self._trimmed_at:
            self._trimmed_at = self.server_state.total_requests
            asyncio.get_running_loop().run_in_executor(None, trimming.give_back)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            stopping.end_in_time()
            _thread.start_new_thread(self._on_stop, ())
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets=sockets)
        for connection in list(self._connections.open):
            connection.abort()


def _config(app: ASGIApp, protocol: Callable[..., asyncio.Protocol], settings: Settings) -> uvicorn.Config:
    tls = settings.tls
    return uvicorn.Config(
        app,
        ssl_certfile=tls.certificate_file,
        ssl_keyfile=tls.key_file,
        headers=hsts(settings),
        loop="auto",  # uvloop where it is installed, which is everywhere but on Windows
        http=protocol,  # type: ignore[arg-type]  # any callable that makes one will do
        ws="none",
        log_level="critical",  # what it has to say is said here
        # Search URLs hold names and numbers of patients; they are never logged.
        access_log=False,
        # The connection decides who is calling, not a header that anybody can send.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=round(stopping.GRACE_SECONDS - CLOSING_SECONDS),
    )


class _Guarded:
    """The application, so that a request that ends otherwise than it should has an answer and a line in the
    log, which says where, and never what."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            await _answer(
                Overloaded(
                    "The server stops, and this request was not done in time. A write may have been stored "
                    "all the same: read before you repeat it."
                ),
                send,
            )
        except Exception as error:
            if scope["type"] != "http":
                raise
            log.error("fault: %s", faults.traced(error))
            await _answer(CoprodError("The server failed at this request; its log names the place."), send)


async def _answer(error: CoprodError, send: Send) -> None:
    """Answer with an error, unless an answer has begun."""
    with contextlib.suppress(RuntimeError):
        await send_answer(error_answer(error, {"connection": "close"}), send)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt
