"""The whole web application: FHIR under /fhir, pages at /, health and metrics beside them.

FastAPI serves only what is not FHIR. FHIR requests bypass it and go straight to the endpoint's own route
table, which by measurement makes a read about twice as fast.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version as package_version
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from fhir_coprod import web
from fhir_coprod.access import sessions
from fhir_coprod.access.rights import EVERYTHING
from fhir_coprod.api.answer import Answer, error_answer, send_answer
from fhir_coprod.api.authorization import PATHS, Authorization
from fhir_coprod.api.call import Caller, headers_of
from fhir_coprod.api.endpoint import PREFIX, Endpoint
from fhir_coprod.api.failures import extra_headers
from fhir_coprod.api.interactions import bulk_files, exports, imports
from fhir_coprod.api.metrics import Metrics
from fhir_coprod.api.openapi import description
from fhir_coprod.api.security import HostCheck
from fhir_coprod.api.table import TABLE
from fhir_coprod.api.transport import Origins, Proxies, is_preflight
from fhir_coprod.errors import CoprodError, NotAllowed
from fhir_coprod.overview import overview
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, async_requests
from fhir_coprod.store.condition import State
from fhir_coprod.watch.live.loop import LEASE

log = logging.getLogger("fhir_coprod.api")


class Health(BaseModel):
    """What /health reports.

    status: ok, or why not: unavailable (the store cannot be read), read-only or disk-full (it can be read and
            takes no writes), damaged
    watch:  ok when some process watches the referrals, nobody when none does, which is right only where
            none is meant to; unknown when the store cannot be read
    """

    status: State
    version: str
    log_position: int
    watch: str


class Application(FastAPI):
    """The FastAPI application, with the FHIR endpoint in front of it."""

    def __init__(self, endpoint: Endpoint, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        self._fhir = endpoint
        self._authorization = Authorization(endpoint, endpoint.store)
        self._hosts = HostCheck(settings.site.base_url, settings.access.hosts)
        self._proxies = Proxies(settings.site.proxy)
        self._origins = Origins(settings.access.origins)
        self._local_metrics = settings.access.metrics == "local"
        self._people_sign_in = settings.access.sign_in is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        if self._proxies:
            self._proxies.believe(scope)
        if self._origins:
            send = self._origins.answering(scope, send)
            if is_preflight(scope):
                await send_answer(Answer(204), send)
                return
        path: str = scope["path"]
        if path in PATHS:
            await self._authorization(scope, receive, send)
            return
        if path.startswith(PREFIX) and path[len(PREFIX) : len(PREFIX) + 1] in ("", "/"):
            await self._fhir(scope, receive, send)
            return
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        try:
            self._hosts.check(host)
            if path != "/health":
                await self._admit(scope, path, host)
        except CoprodError as error:
            await send_answer(error_answer(error, extra_headers(error)), send)
            return
        await super().__call__(scope, receive, send)

    async def _admit(self, scope: Scope, path: str, host: str) -> None:
        """Raise NotSignedIn or NotAllowed if the caller may not have what is at this path."""
        if self._people_sign_in and path not in _FOR_PROGRAMS:
            return  # the pages ask by themselves (`web/door.py`)
        gate = self._fhir.gate
        await gate.fresh()
        if not gate.required:
            return
        if path == "/metrics" and self._local_metrics and _is_here(scope):
            return
        base = self._fhir.base(scope.get("scheme", "http"), host)
        address = (scope.get("client") or ("",))[0]
        rights = (await gate.caller(address, headers_of(scope), base)).rights
        if rights is EVERYTHING or path == "/openapi.json":
            return
        if path == "/metrics":
            if any(one.context == "system" for one in rights.scopes):
                return
            raise NotAllowed("Figures of the whole server are for programs; ask for a scope of system/.")
        # A page knows who asks by their sign-in alone: a token would open it as to whoever sits here.
        raise NotAllowed("The pages are for people who sign in; with a token call what is under /fhir.")


_FOR_PROGRAMS = ("/metrics", "/openapi.json")
"""What is no page and not under /fhir either."""


def _is_here(scope: Scope) -> bool:
    """Whether the caller is on this machine itself, and no proxy says otherwise."""
    if any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"]):
        return False
    return Caller((scope.get("client") or ("",))[0]).is_local


def create_app(store: Store, settings: Settings) -> FastAPI:
    """The ASGI application over an open store; the caller closes the store."""
    metrics = Metrics()
    endpoint = Endpoint(store, settings, TABLE, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        store.submit(async_requests.forget_old)
        store.submit(sessions.forget_old)
        endpoint.bulk.start("what is left to do", partial(_go_on, endpoint))
        yield
        await endpoint.close()

    app = Application(
        endpoint,
        settings,
        title="fhir-coprod",
        version=package_version("fhir-coprod"),
        lifespan=lifespan,
        # The interactive pages would load scripts from a foreign host next to patient data.
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics = metrics
    app.state.gate = endpoint.gate

    @app.get(
        "/health",
        tags=["operation"],
        summary="Whether the process answers, and its store can be read and written",
        responses={503: {"model": Health, "description": "It cannot; `status` says why"}},
    )
    async def health(response: Response) -> Health:
        condition = await asyncio.to_thread(store.condition)
        if condition.state != "ok":
            response.status_code = 503
        try:
            watch = "ok" if await asyncio.to_thread(store.is_held, LEASE) else "nobody"
        except CoprodError:
            watch = "unknown"
        return Health(
            status=condition.state,
            version=package_version("fhir-coprod"),
            log_position=condition.head,
            watch=watch,
        )

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Figures in Prometheus text format: of this process, and of the store",
        response_class=PlainTextResponse,
    )
    async def figures() -> PlainTextResponse:
        condition = await asyncio.to_thread(store.condition)
        try:
            faults = await asyncio.to_thread(store.fault_counts)
            seen = await asyncio.to_thread(overview, store, settings, datetime.now(UTC))
        except CoprodError:
            faults, seen = [], None  # the counters of this process do not need the store
        text = metrics.text(condition, faults, seen)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    app.router.routes.extend(
        web.routes(store, settings, endpoint.auditing.keep_look, endpoint.auditing.keep_entrance)
    )
    # FastAPI calls this method whenever /openapi.json is read.
    app.openapi = partial(description, app, TABLE)  # type: ignore[method-assign]
    return app


async def _go_on(endpoint: Endpoint) -> None:
    """Go on with exports and imports that a process has left when it ended."""
    try:
        await bulk_files.sweep(endpoint)
        await exports.begin_all(endpoint)
        await imports.begin_all(endpoint)
    except CoprodError as error:
        log.warning("exports and imports: %s Whoever asks for one goes on with it.", error)
