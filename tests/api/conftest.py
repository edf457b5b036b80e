"""The endpoint in this process, on each database; one per module, so tests make their own names."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_coprod.api import create_app
from fhir_coprod.api.conformance import publish
from fhir_coprod.api.gate import Gate
from fhir_coprod.export_settings import ExportSettings
from fhir_coprod.jsontext import Json, encode
from fhir_coprod.settings import LimitSettings, Settings, StoreSettings
from fhir_coprod.store import Store
from tests.peers.fixtures import NewStore

FHIR = {"content-type": "application/fhir+json"}


class Api:
    """A blocking client of the application, without a network."""

    def __init__(self, store: Store, settings: Settings, base: str = "http://localhost/fhir/") -> None:
        self.store = store
        self.settings = settings
        self._runner = asyncio.Runner()
        app = create_app(store, settings)
        self.gate: Gate = app.state.gate
        # httpx's transport does not do this: connections that belong to the event loop end with it.
        self._lifespan = app.router.lifespan_context(app)
        self._runner.run(self._lifespan.__aenter__())
        transport = httpx.ASGITransport(app=app)
        self.http = httpx.AsyncClient(transport=transport, base_url=base)

    def close(self) -> None:
        self._runner.run(self.http.aclose())
        self._runner.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self._runner.run(self.http.request(method, url, **options))

    def together(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        """All at once."""

        async def send() -> list[httpx.Response]:
            return await asyncio.gather(
                *(self.http.request(m, url, **options) for m, url, options in requests)
            )

        return self._runner.run(send())

    def get(self, url: str, **headers: str) -> httpx.Response:
        return self.request("GET", url, headers=_headers(headers))

    def delete(self, url: str, **headers: str) -> httpx.Response:
        return self.request("DELETE", url, headers=_headers(headers))

    def post(self, url: str, body: Json | bytes, **headers: str) -> httpx.Response:
        return self._send("POST", url, body, headers)

    def put(self, url: str, body: Json | bytes, **headers: str) -> httpx.Response:
        return self._send("PUT", url, body, headers)

    def patch(self, url: str, body: list[Json] | bytes, **headers: str) -> httpx.Response:
        return self._send("PATCH", url, body, {"content_type": "application/json-patch+json", **headers})

    def _send(self, method: str, url: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        content = body if isinstance(body, bytes) else encode(body)
        return self.request(method, url, content=content, headers={**FHIR, **_headers(headers)})

    def create(self, resource: Json) -> Json:
        """Store it; what was stored comes back."""
        answer = self.post(resource["resourceType"], resource)
        assert answer.status_code == 201, answer.text
        created: Json = answer.json()
        return created


def _headers(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_store(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Store]:
    """An empty store on each database, with our conformance resources in it."""
    with new_store(request.param) as url, Store.open(url) as store:
        publish(store)
        yield store


@pytest.fixture(scope="module")
def api(
    module_store: Store, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    kind = request.node.callspec.params["module_store"] if hasattr(request.node, "callspec") else "sqlite"
    settings = Settings(
        store=StoreSettings(url=f"{kind}://"),
        limits=LimitSettings(body_bytes=1_000_000, page=100, bundle_entries=200),
        export=ExportSettings(folder=str(tmp_path_factory.mktemp("bulk"))),
    )
    api = Api(module_store, settings)
    yield api
    api.close()


@pytest.fixture
def sqlite_api(new_store: NewStore, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Makes an endpoint over an empty SQLite store of this test's own, with settings of its own."""
    with new_store("sqlite") as url, Store.open(url) as store:
        made: list[Api] = []

        def make(**settings: Any) -> Api:
            own = {"export": ExportSettings(folder=str(tmp_path / "bulk")), **settings}
            made.append(Api(store, Settings(store=StoreSettings(url="sqlite://"), **own)))
            return made[-1]

        yield make
        for each in made:
            each.close()


def patient(**members: Any) -> Json:
    """A valid Patient with an identifier of its own."""
    identifier = [{"system": "urn:test", "value": uuid.uuid4().hex}]
    return {"resourceType": "Patient", "identifier": identifier, "birthDate": "1912-12-12", **members}


def identifier_of(resource: Json) -> str:
    """system|value of its first identifier."""
    first = resource["identifier"][0]
    return f"{first['system']}|{first['value']}"


def outcome(answer: httpx.Response) -> Json:
    """The first issue of an OperationOutcome, having checked that it is one a caller can use."""
    body: Json = answer.json()
    assert body["resourceType"] == "OperationOutcome", answer.text
    assert answer.headers["content-type"].startswith("application/fhir+json")
    issue: Json = body["issue"][0]
    assert issue["diagnostics"].strip()
    return issue
