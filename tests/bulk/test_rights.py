"""Who may export and import, and that nobody gets to know of what others have exported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from fhir_coprod.access.rights import Rights
from fhir_coprod.access.scopes import read_scopes
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call, Caller
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.metrics import Metrics
from fhir_coprod.api.table import TABLE
from fhir_coprod.bulk import allowed
from fhir_coprod.errors import CoprodError, NotAllowed, NotFound
from fhir_coprod.jsontext import decode
from tests.api.conftest import Api, patient
from tests.bulk.test_export import observation, put
from tests.bulk.test_patients import group, member


def program(name: str, *scopes: str) -> Rights:
    return Rights("program", name, read_scopes(scopes))


class Client:
    """Calls the endpoint with rights of its own."""

    def __init__(self, api: Api, rights: Rights) -> None:
        self.api = api
        self.rights = rights
        settings = api.http._transport.app._fhir.settings  # type: ignore[union-attr]
        self.endpoint = Endpoint(api.store, settings, TABLE, Metrics())

    def call(self, method: str, path: str, **more: object) -> Answer:
        row, named = self.endpoint.find(method, path)
        call = Call(row.name, method, "http://localhost/fhir", named.get("type", ""), named.get("id", ""))
        call.version = named.get("file", "")
        call.caller = Caller("127.0.0.1", self.rights)
        for name, value in more.items():
            setattr(call, name, value)
        return self.api._runner.run(self.endpoint.perform(call, row.handler))

    def export(self, path: str = "/$export", **more: object) -> str:
        answer = self.call("GET", path, **more)
        return answer.headers["content-location"].removeprefix("http://localhost/fhir")

    def manifest(self, place: str) -> dict[str, object]:
        for _ in range(2000):
            answer = self.call("GET", place)
            if answer.status == 200:
                found: dict[str, object] = decode(answer.body)
                return found
            self.api._runner.run(asyncio.sleep(0.005))
        raise AssertionError("not done")


Clients = Callable[..., Client]


@pytest.fixture
def client(api: Api) -> Clients:
    put(api, patient(id="a"), observation("o", "a"), group(member("Patient/a")))
    return lambda *scopes, name="one": Client(api, program(name, *scopes))


def types(manifest: dict[str, object]) -> set[str]:
    return {each["type"] for each in manifest["output"]}  # type: ignore[attr-defined, index]


def test_what_is_open_as_a_whole_is_exported_and_nothing_else(client: Clients) -> None:
    one = client("system/Patient.rs", "system/Observation.rs?category=laboratory", "system/Group.r")
    manifest = one.manifest(one.export())
    assert types(manifest) == {"Patient"}
    assert manifest["requiresAccessToken"] is True


@pytest.mark.parametrize(
    ("scopes", "path", "may"),
    [
        (["system/*.rs"], "/$export", True),
        (["system/*.read"], "/Group/g/$export", True),
        (["system/Patient.rs", "system/Group.rs"], "/Group/g/$export", True),
        (["system/Patient.rs"], "/Group/g/$export", False),
        (["system/Group.rs"], "/Group/g/$export", False),
        (["system/Observation.rs"], "/Patient/$export", False),
        (["system/Patient.rs?active=true"], "/Patient/$export", False),
        (["system/Patient.r"], "/Patient/$export", False),
        (["system/Patient.s"], "/Patient/$export", False),
        (["user/*.cruds"], "/Patient/$export", False),
        (["patient/*.cruds"], "/Patient/$export", False),
        (["system/*.cud"], "/Patient/$export", False),
    ],
)
def test_scopes(client: Clients, scopes: list[str], path: str, may: bool) -> None:
    one = client(*scopes)
    if may:
        one.export(path)
    else:
        with pytest.raises(NotAllowed):
            one.export(path)


def test_scopes_may_add_up(client: Clients) -> None:
    one = client("system/Patient.r", "system/*.s")
    assert types(one.manifest(one.export("/Patient/$export"))) == {"Patient"}


def test_no_scope_gives_nothing_and_takes_no_place(client: Clients) -> None:
    for one in (client(), client("user/*.cruds"), client("system/*.cud")):
        with pytest.raises(NotAllowed):
            one.export()


def test_a_type_that_is_not_open_is_refused(client: Clients) -> None:
    with pytest.raises(NotAllowed, match="Observation"):
        client("system/Patient.rs").export(query=(("_type", "Patient,Observation"),))


def test_another_client_finds_nothing(client: Clients) -> None:
    one, other = client("system/*.rs"), client("system/*.rs", name="other")
    place = one.export()
    manifest = one.manifest(place)
    url = manifest["output"][0]["url"].removeprefix("http://localhost/fhir")  # type: ignore[index]
    for method, path in (("GET", place), ("GET", url), ("DELETE", place)):
        with pytest.raises(NotFound):
            other.call(method, path, receive=object())
    local = Client(one.api, Rights("local", "one", read_scopes(["system/*.cruds"])))
    with pytest.raises(NotFound):
        local.call("GET", place)
    part = one.call("GET", url, receive=object()).part
    assert part is not None
    part.file.close()
    assert one.call("DELETE", place).status == 202


def test_rights_that_were_lost_are_asked_for_again(client: Clients) -> None:
    one = client("system/*.rs")
    place = one.export()
    url = one.manifest(place)["output"][0]["url"].removeprefix("http://localhost/fhir")  # type: ignore[index]
    one.rights = program("one", "system/Patient.rs")
    for method, path in (("GET", place), ("GET", url), ("DELETE", place)):
        with pytest.raises(NotAllowed):
            one.call(method, path, receive=object())


def test_imports_take_all_types() -> None:
    for scopes in (["system/*.cud"], ["system/*.cruds"], ["system/*.write"]):
        allowed.require_import(program("one", *scopes))
    for scopes in (["system/Patient.cu"], ["system/*.c"], ["user/*.cu"], ["system/*.rs"], []):
        with pytest.raises(NotAllowed):
            allowed.require_import(program("one", *scopes))


def test_an_owner_is_of_one_kind() -> None:
    one = program("one", "system/*.rs")
    assert allowed.owner(one) != allowed.owner(replace(one, kind="person"))
    assert issubclass(NotAllowed, CoprodError)
