"""The endpoint over the hospital of `hospital.py`, asked as whoever a test names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fhir_coprod import jsontext
from fhir_coprod.access.rights import EVERYTHING, Rights
from fhir_coprod.access_settings import AccessSettings
from fhir_coprod.api.answer import Answer, error_answer
from fhir_coprod.api.call import Call, Caller, pairs
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.failures import told
from fhir_coprod.api.formats import FHIR_JSON, FORM
from fhir_coprod.api.metrics import Metrics
from fhir_coprod.api.table import TABLE
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from tests.access.hospital import fill
from tests.access.programs import Program, register
from tests.api.conftest import Api
from tests.api.conftest import sqlite_api as sqlite_api
from tests.peers.fixtures import NewStore

BASE = "http://localhost/fhir"


@dataclass(frozen=True)
class Said:
    """An answer. `text` is all that it says, so that two answers can be compared."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Json:
        data: Json = jsontext.decode(self.text.encode())
        return data

    @property
    def names(self) -> list[str]:
        """Type/id of the resources in a Bundle."""
        return [
            f"{each['resource']['resourceType']}/{each['resource']['id']}"
            for each in self.json.get("entry", ())
            if each.get("resource", {}).get("resourceType") != "OperationOutcome"
        ]


class Hospital:
    """The endpoint in this process; calls go through its one door."""

    def __init__(self, store: Store, kind: str) -> None:
        self.store = store
        self._runner = asyncio.Runner()
        settings = Settings(store=StoreSettings(url=f"{kind}://"))
        self._endpoint = self._runner.run(self._open(settings))

    async def _open(self, settings: Settings) -> Endpoint:
        return Endpoint(self.store, settings, TABLE, Metrics())

    def close(self) -> None:
        self._runner.run(self._endpoint.close())
        self._runner.close()

    def ask(
        self, rights: Rights, method: str, url: str, body: Json | str | None = None, **headers: str
    ) -> Said:
        """What somebody with these rights is answered."""
        return self._runner.run(self._ask(rights, method, url, body, headers))

    async def _ask(
        self, rights: Rights, method: str, url: str, body: Json | str | None, headers: Mapping[str, str]
    ) -> Said:
        path, _, query = url.partition("?")
        kind = FORM if isinstance(body, str) else FHIR_JSON
        raw = body.encode() if isinstance(body, str) else jsontext.encode(body) if body is not None else b""
        try:
            row, named = self._endpoint.find(method, f"/{unquote(path)}".rstrip("/"))
            call = Call(
                interaction=row.name,
                method=method,
                base=BASE,
                type=named.get("type") or named.get("owner", ""),
                id=named.get("id", ""),
                version=named.get("version", ""),
                member=named.get("member", ""),
                query=pairs(query),
                headers={"content-type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}},
                body=raw,
                caller=Caller("", rights),
            )
            answer = await self._endpoint.in_time(self._endpoint.perform(call, row.handler))
        except Exception as error:  # noqa: BLE001 - as the endpoint does
            answer = error_answer(told(error, "test"))
        return Said(answer.status, _text(answer), answer.headers)


def _text(answer: Answer) -> str:
    if answer.outcome is not None and not answer.body:
        return jsontext.encode(answer.outcome.to_fhir()).decode()
    return bytes(answer.body).decode()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Hospital]:
    """The hospital, for tests that only read."""
    with new_store(request.param) as url, Store.open(url) as store:
        fill(store)
        hospital = Hospital(store, request.param)
        yield hospital
        hospital.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def changing(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Hospital]:
    """The hospital, for one test that changes it."""
    with new_store(request.param) as url, Store.open(url) as store:
        fill(store)
        hospital = Hospital(store, request.param)
        yield hospital
        hospital.close()


@pytest.fixture
def head(changing: Hospital) -> Callable[[], int]:
    """The newest position of the log: it moves if anything is written."""
    return changing.store.head


def local(hospital: Hospital, method: str, url: str, body: Any = None) -> Said:
    """What whoever sits at the machine is answered."""
    return hospital.ask(EVERYTHING, method, url, body)


@pytest.fixture(params=["sqlite", "postgresql"])
def guarded_api(request: pytest.FixtureRequest, new_store: NewStore, tmp_path: Path) -> Iterator[Api]:
    """A server of this test's own, which asks who calls."""
    with new_store(request.param) as url, Store.open(url) as store:
        access = AccessSettings(key_file=tmp_path / "key.json")
        api = Api(store, Settings(store=StoreSettings(url=f"{request.param}://"), access=access))
        yield api
        api.close()


@pytest.fixture
def program(guarded_api: Api) -> Program:
    return Program(guarded_api, register(guarded_api.store, "system/*.cruds"))
