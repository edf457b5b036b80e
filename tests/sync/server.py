"""A small FHIR server for tests: real HTTP, in memory, with the quirks that a test asks for."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fhir_coprod.watched import PULLED

Json = dict[str, Any]


@dataclass
class Ehr:
    """Resources of one department, and how its server answers."""

    history: bool = False
    last_updated: bool = False
    search: bool = True
    by_id: bool = False
    """The statement offers the search parameter `_id`."""
    page_size: int = 50
    next_style: str = "absolute"
    """absolute, relative, rooted, or the address of another host."""
    types: tuple[str, ...] = PULLED
    software: str = "Test server"
    delay: float = 0.0
    """Seconds before each answer."""
    hidden: set[str] = field(default_factory=set)
    """References that are answered 403."""
    failing: set[str] = field(default_factory=set)
    """Types whose search answers 500."""
    odd: dict[str, Response] = field(default_factory=dict)
    """Type, or reference → what its search, or its read, answers whatever is asked."""
    loops: bool = False
    """The second page leads back to the first."""
    broken: dict[str, bytes] = field(default_factory=dict)
    """Reference → bytes that are served in its place."""
    resources: dict[str, Json] = field(default_factory=dict)
    log: list[tuple[str, Json | None, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    clock: datetime = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    url: str = ""

    def put(self, resource: Json) -> None:
        """Creates or changes a resource, as if somebody at the department had."""
        self.clock += timedelta(minutes=10)
        reference = f"{resource['resourceType']}/{resource['id']}"
        before = self.resources.get(reference)
        number = int(before["meta"]["versionId"]) + 1 if before else 1
        meta = {
            **resource.get("meta", {}),
            "versionId": str(number),
            "lastUpdated": self.clock.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        }
        stored = {**resource, "meta": meta}
        self.resources[reference] = stored
        self.log.append((reference, stored, meta["lastUpdated"]))

    def load(self, *resources: Json) -> Ehr:
        for resource in resources:
            self.put(resource)
        return self

    def delete(self, reference: str) -> None:
        self.clock += timedelta(minutes=10)
        del self.resources[reference]
        self.log.append((reference, None, self.clock.strftime("%Y-%m-%dT%H:%M:%S.000Z")))

    # --- HTTP ---

    def app(self) -> Starlette:
        routes = [
            Route("/fhir/metadata", self._metadata),
            Route("/fhir/html/metadata", self._html),
            Route("/fhir/{type}", self._search),
            Route("/fhir/{type}/_history", self._history),
            Route("/fhir/{type}/{id}", self._read),
        ]
        return Starlette(routes=routes)

    async def _note(self, request: Request) -> None:
        self.requests.append(str(request.url).split("/fhir/", 1)[1])
        self.headers.append(dict(request.headers))
        if self.delay:
            await asyncio.sleep(self.delay)

    async def _metadata(self, request: Request) -> Response:
        await self._note(request)
        interactions = [{"code": "read"}]
        if self.search:
            interactions.append({"code": "search-type"})
        if self.history:
            interactions.append({"code": "history-type"})
        parameters = [{"name": "_lastUpdated", "type": "date"}] if self.last_updated else []
        if self.by_id:
            parameters.append({"name": "_id", "type": "token"})
        resource = [{"type": t, "interaction": interactions, "searchParam": parameters} for t in self.types]
        return JSONResponse(
            {
                "resourceType": "CapabilityStatement",
                "status": "active",
                "kind": "instance",
                "fhirVersion": "4.0.1",
                "format": ["json"],
                "software": {"name": self.software, "version": "1"},
                "rest": [{"mode": "server", "resource": resource}],
            }
        )

    async def _html(self, request: Request) -> Response:
        return Response("<!doctype html><title>Log in</title>", media_type="text/html")

    async def _search(self, request: Request) -> Response:
        await self._note(request)
        type = request.path_params["type"]
        if type in self.odd:
            return self.odd[type]
        if type in self.failing:
            return JSONResponse({"resourceType": "OperationOutcome", "issue": [{"code": "exception"}]}, 500)
        found = [(ref, r) for ref, r in self.resources.items() if ref.startswith(f"{type}/")]
        found = [(ref, r) for ref, r in found if ref not in self.hidden]
        since = request.query_params.get("_lastUpdated", "")
        if since and self.last_updated:
            found = [(ref, r) for ref, r in found if r["meta"]["lastUpdated"] >= since.removeprefix("ge")]
        ids = request.query_params.get("_id", "")
        if ids:
            found = [(ref, r) for ref, r in found if r["id"] in ids.split(",")]
        patient = request.query_params.get("patient")
        if patient:
            found = [(ref, r) for ref, r in found if f'"Patient/{patient}"' in json.dumps(r)]
        return self._page(request, "searchset", [self._entry(ref, r) for ref, r in found])

    def _entry(self, reference: str, resource: Json) -> str:
        body = self.broken[reference].decode() if reference in self.broken else json.dumps(resource)
        return f'{{"fullUrl":"{self.url}/{reference}","resource":{body},"search":{{"mode":"match"}}}}'

    async def _history(self, request: Request) -> Response:
        await self._note(request)
        type = request.path_params["type"]
        since = request.query_params.get("_since", "")
        entries = []
        for reference, resource, when in reversed(self.log):
            if reference.startswith(f"{type}/") and when >= since:
                if resource is None:
                    entries.append(
                        json.dumps({"request": {"method": "DELETE", "url": f"{reference}/_history/9"}})
                    )
                else:
                    entries.append(
                        json.dumps({"resource": resource, "request": {"method": "PUT", "url": reference}})
                    )
        return self._page(request, "history", entries)

    def _page(self, request: Request, kind: str, entries: list[str]) -> Response:
        start = int(request.query_params.get("_offset", "0"))
        size = min(int(request.query_params.get("_count", "50")), self.page_size)
        link = []
        if start + size < len(entries):
            offset = 0 if self.loops and start else start + size
            following = request.url.include_query_params(_offset=offset)
            path = f"{following.path}?{following.query}"
            text = {
                "absolute": str(following),
                "rooted": path,
                "relative": path.removeprefix("/fhir/"),
            }.get(self.next_style, f"{self.next_style}{path}")
            link = [{"relation": "next", "url": text}]
        head = json.dumps({"resourceType": "Bundle", "type": kind, "total": len(entries), "link": link})
        body = f'{head[:-1]},"entry":[{",".join(entries[start : start + size])}]}}'
        return Response(body, media_type="application/fhir+json")

    async def _read(self, request: Request) -> Response:
        await self._note(request)
        reference = f"{request.path_params['type']}/{request.path_params['id']}"
        if reference in self.odd:
            return self.odd[reference]
        if reference in self.hidden:
            return Response('{"resourceType":"OperationOutcome"}', 403, media_type="application/fhir+json")
        if reference not in self.resources:
            status = 410 if any(r == reference for r, _, _ in self.log) else 404
            return Response('{"resourceType":"OperationOutcome"}', status, media_type="application/fhir+json")
        return JSONResponse(self.resources[reference], media_type="application/fhir+json")


class _Server(uvicorn.Server):
    """Ends when it is told to. uvicorn's own looks ten times a second whether it should, and then waits."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._serves = threading.Event()
        self._ends = asyncio.Event()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._serves.set()
        await self.on_tick(0)
        await self._ends.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for task in list(self.server_state.tasks):
            task.cancel()

    def end(self) -> None:
        if self._serves.wait(10):
            self._loop.call_soon_threadsafe(self._ends.set)


@contextmanager
def serving(*ehrs: Ehr) -> Iterator[None]:
    """Serves each EHR on a free port of the loopback; its `url` is set."""
    servers: list[_Server] = []
    threads: list[threading.Thread] = []
    try:
        for ehr in ehrs:
            config = uvicorn.Config(ehr.app(), host="127.0.0.1", port=0, log_level="error", lifespan="off")
            server = _Server(config)
            listener = config.bind_socket()
            listener.listen(128)  # who asks before the thread runs waits, and is not refused
            ehr.url = f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
            thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
            thread.start()
            servers.append(server)
            threads.append(thread)
        yield
    finally:
        for server in servers:
            server.end()
        for thread in threads:
            thread.join(10)
