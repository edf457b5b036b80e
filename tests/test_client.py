"""The client: against our own server, and against servers that misbehave."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fhir.resources.R4B.humanname import HumanName
from fhir.resources.R4B.observation import Observation

from fhir_coprod import validate
from fhir_coprod.client import Client
from fhir_coprod.errors import (
    BadRequest,
    Conflict,
    EhrAnswer,
    EhrUnreachable,
    Gone,
    InvalidResource,
    NotAllowed,
    NotFound,
    NotJson,
    Overloaded,
    PreconditionFailed,
)
from fhir_coprod.outcome import Outcome
from fhir_coprod.profiles import CoproductionGoal
from tests.api.server import serving


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("client")
    with serving(f"sqlite:///{folder / 'store.db'}") as running, Client(running.url) as made:
        yield made


def patient(**members: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:test", "value": uuid.uuid4().hex}],
        "birthDate": "1912-12-12",
        **members,
    }


def test_reads_what_it_created(client: Client) -> None:
    stored = client.create(patient())
    assert client.read("Patient", stored["id"]) == stored
    assert client.read("Patient", stored["id"], version=1) == stored


def test_decimals_keep_their_precision_through_read_and_update(client: Client) -> None:
    value = Decimal("19.00")
    stored = client.create(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "valueQuantity": {"value": value},
        }
    )
    stored["status"] = "amended"
    updated = client.update(stored)
    assert str(updated["valueQuantity"]["value"]) == "19.00"


GOAL = (
    b'{ "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Walk"},'
    b' "subject": {"display": "somebody"}, "expressedBy": {"display": "somebody"},'
    b' "target": [{"measure": {"text": "A walk"}, "detailQuantity": {"value": 19.00, "unit": "min"}}] }'
)


def test_a_profile_class_is_stored_and_given_back_with_every_digit(client: Client) -> None:
    mine = client.create(CoproductionGoal.read(GOAL))
    assert isinstance(mine, CoproductionGoal)
    assert mine.words == "Walk"
    mine.lifecycleStatus = "on-hold"
    newer = client.update(mine)
    assert newer.meta.versionId == "2"
    assert b'"value": 19.00' in newer.write()
    again = client.read("Goal", newer.id, into=CoproductionGoal)
    assert again.lifecycleStatus == "on-hold"
    assert again.write() == newer.write()
    with pytest.raises(PreconditionFailed):
        client.update(mine)
    [found] = client.search("Goal", {"_id": newer.id}, into=CoproductionGoal)
    assert found.words == "Walk"
    assert b"19.00" in found.write()
    statuses = [each.lifecycleStatus for each in client.history("Goal", newer.id, into=CoproductionGoal)]
    assert statuses == ["on-hold", "active"]
    assert client.validate(newer) == client.validate(newer.write())


@pytest.mark.parametrize("kind", [bytes, str])
def test_json_is_stored_and_given_back_as_json(client: Client, kind: type[bytes] | type[str]) -> None:
    given: Any = GOAL if kind is bytes else GOAL.decode()
    stored = client.create(given)
    assert isinstance(stored, kind)
    id = json.loads(stored)["id"]
    assert "19.00" in (stored if isinstance(stored, str) else stored.decode())
    assert client.read("Goal", id, into=kind) == stored
    held: Any = (
        stored.replace(b'"active"', b'"on-hold"')
        if isinstance(stored, bytes)
        else stored.replace('"active"', '"on-hold"')
    )
    updated = client.update(held)
    assert json.loads(updated)["meta"]["versionId"] == "2"
    assert json.loads(updated)["lifecycleStatus"] == "on-hold"
    [found] = client.search("Goal", {"_id": id}, into=kind)
    assert json.loads(found) == json.loads(updated)
    assert "19.00" in (found if isinstance(found, str) else found.decode())


def test_any_model_of_fhir_resources_is_stored_with_its_digits(client: Client) -> None:
    made = Observation(
        status="final", code={"text": "x"}, valueQuantity={"value": Decimal("19.00"), "unit": "min"}
    )
    stored = client.create(made)
    assert isinstance(stored, Observation)
    assert str(stored.valueQuantity.value) == "19.00"
    assert b"19.00" in client.read("Observation", stored.id, into=bytes)
    stored.status = "amended"
    assert client.update(stored).meta.versionId == "2"


def test_a_dict_may_hold_models_and_what_programs_have_for_dates_and_decimals(client: Client) -> None:
    goal = CoproductionGoal.read(GOAL)
    weighed = Observation(status="final", code={"text": "x"}, valueQuantity={"value": Decimal("2.50")})
    entries = [
        {"resource": one, "request": {"method": "POST", "url": one.get_resource_type()}}
        for one in (goal, weighed)
    ]
    done = client.transaction({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    ids = [entry["response"]["location"].split("/")[1] for entry in done["entry"]]
    assert b'"value": 19.00' in client.read("Goal", ids[0], into=bytes)
    assert b"2.50" in client.read("Observation", ids[1], into=bytes)
    named = [HumanName(family="Berg")]
    stored = client.create({"resourceType": "Patient", "name": named, "birthDate": date(2001, 2, 3)})
    assert (stored["name"], stored["birthDate"]) == ([{"family": "Berg"}], "2001-02-03")
    with pytest.raises(NotJson, match="NaN or infinite"):
        client.create({"resourceType": "Observation", "valueQuantity": {"value": float("nan")}})
    with pytest.raises(TypeError, match="JSON has nothing for complex"):
        client.create({"resourceType": "Patient", "name": 1j})


def test_what_a_search_gave_becomes_a_class_with_every_digit(client: Client) -> None:
    stored = client.create(json.loads(GOAL, parse_float=Decimal))
    goal = CoproductionGoal.read(client.read("Goal", stored["id"]))
    assert goal.words == "Walk"
    assert b"19.00" in goal.write()


def test_what_is_of_another_class_is_refused(client: Client) -> None:
    stored = client.create(patient())
    with pytest.raises(InvalidResource, match="of type Patient, not a Goal"):
        client.read("Patient", stored["id"], into=CoproductionGoal)
    with pytest.raises(InvalidResource, match=r"not a fhir\.resources\.R4B\.observation\.Observation"):
        client.read("Patient", stored["id"], into=Observation)
    odd: Any
    for odd in (int, "dict", None):
        with pytest.raises(TypeError, match="`into` is dict, bytes, str, or a class"):
            client.read("Patient", stored["id"], into=odd)


def test_what_is_no_resource_is_told_before_anything_is_sent() -> None:
    with Client("http://127.0.0.1:9/fhir") as client:
        with pytest.raises(TypeError, match="create takes JSON as bytes or text, a dict, or a model"):
            client.create(7)
        with pytest.raises(NotJson):
            client.create(b"<Goal/>")
        with pytest.raises(BadRequest, match="id"):
            client.update(CoproductionGoal.read(GOAL))


def test_search_pages_by_itself(client: Client) -> None:
    family = f"F{uuid.uuid4().hex}"
    for _ in range(7):
        client.create(patient(name=[{"family": family}]))
    found = list(client.search("Patient", {"family": family, "_count": 3}))
    assert len({each["id"] for each in found}) == 7
    assert client.count("Patient", {"family": family}) == 7
    assert len(list(client.search("Patient", [("family", family), ("birthdate", "1912-12-12")]))) == 7


def test_search_leaves_out_what_was_only_included(client: Client) -> None:
    subject = client.create(patient())
    reference = {"reference": f"Patient/{subject['id']}"}
    client.create({"resourceType": "Basic", "code": {"text": "x"}, "subject": reference})
    wanted = {"subject": f"Patient/{subject['id']}", "_include": "Basic:subject"}
    assert [each["resourceType"] for each in client.search("Basic", wanted)] == ["Basic"]
    modes = [entry["search"]["mode"] for entry in client.search_entries("Basic", wanted)]
    assert modes == ["match", "include"]


def test_update_refuses_to_overwrite_somebody_elses_change(client: Client) -> None:
    mine = client.create(patient())
    client.update({**mine, "gender": "female"})
    with pytest.raises(PreconditionFailed, match="read it again"):
        client.update({**mine, "gender": "male"})
    assert client.update({**mine, "gender": "male"}, any_version=True)["meta"]["versionId"] == "3"


def test_conditional_create_gives_back_what_is_there(client: Client) -> None:
    wanted = patient()
    criteria = {"identifier": f"urn:test|{wanted['identifier'][0]['value']}"}
    first = client.create(wanted, if_none_exist=criteria)
    assert client.create(wanted, if_none_exist=criteria) == first


def test_deleted_is_gone_and_its_history_is_not(client: Client) -> None:
    stored = client.create(patient())
    client.delete("Patient", stored["id"], version="1")
    with pytest.raises(Gone):
        client.read("Patient", stored["id"])
    assert list(client.history("Patient", stored["id"])) == [stored]
    client.delete("Patient", stored["id"])


def test_patch_and_transaction(client: Client) -> None:
    stored = client.create(patient())
    operation = {"op": "replace", "path": "/birthDate", "value": "1913"}
    assert client.patch("Patient", stored["id"], [operation], version="1")["birthDate"] == "1913"
    with pytest.raises(PreconditionFailed):
        client.patch("Patient", stored["id"], [operation], version="1")
    entry = {"resource": patient(), "request": {"method": "POST", "url": "Patient"}}
    answer = client.transaction({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert answer["entry"][0]["response"]["status"] == "201 Created"


def test_validate_gives_an_outcome(client: Client) -> None:
    assert client.validate(patient())
    found = client.validate(patient(gender="f"))
    assert not found
    assert found.errors[0].expression == "Patient.gender"


def test_it_does_the_same_with_another_server(hapi_url: str) -> None:
    """HAPI: what a program does in a day, from the first record to the conflict."""
    with Client(hapi_url) as client:
        assert client.capabilities()["fhirVersion"] == "4.0.1"
        family = f"F{uuid.uuid4().hex}"
        wanted = [patient(name=[{"family": family}]) for _ in range(7)]
        criteria = {"identifier": f"urn:test|{wanted[0]['identifier'][0]['value']}"}
        stored = [client.create(each) for each in wanted]
        assert client.create(wanted[0], if_none_exist=criteria)["id"] == stored[0]["id"]

        pages = {"family": family, "_count": 3, "_sort": "_id"}
        assert {each["id"] for each in client.search("Patient", pages)} == {each["id"] for each in stored}
        assert client.count("Patient", {"family": family}) == 7

        mine = client.read("Patient", stored[0]["id"])
        theirs = client.update({**mine, "gender": "female"})
        assert theirs["meta"]["versionId"] == "2"
        with pytest.raises((PreconditionFailed, Conflict), match=r"[Rr]ead it again"):
            client.update({**mine, "gender": "male"})
        operation = {"op": "replace", "path": "/gender", "value": "other"}
        assert client.patch("Patient", mine["id"], [operation], version="2")["gender"] == "other"
        assert client.update({**mine, "gender": "male"}, any_version=True)["gender"] == "male"
        assert client.read("Patient", mine["id"], version=2)["gender"] == "female"
        genders = [each.get("gender") for each in client.history("Patient", mine["id"])]
        assert genders == ["male", "other", "female", None]

        quantity = {"value": Decimal("19.00")}
        seen = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
        entries = [
            {
                "fullUrl": "urn:uuid:a0d5ae8a-6b63-4a6a-9e0a-6c4b1f6c1d11",
                "resource": patient(),
                "request": {"method": "POST", "url": "Patient"},
            },
            {
                "resource": {
                    **seen,
                    "valueQuantity": quantity,
                    "subject": {"reference": "urn:uuid:a0d5ae8a-6b63-4a6a-9e0a-6c4b1f6c1d11"},
                },
                "request": {"method": "POST", "url": "Observation"},
            },
        ]
        done = client.transaction({"resourceType": "Bundle", "type": "transaction", "entry": entries})
        type, id = done["entry"][1]["response"]["location"].split("/")[-4:-2]
        observation = client.read(type, id)
        assert str(observation["valueQuantity"]["value"]) == "19.00"
        assert observation["subject"]["reference"].startswith("Patient/")

        client.delete("Patient", stored[6]["id"])
        with pytest.raises(Gone):
            client.read("Patient", stored[6]["id"])
        with pytest.raises(NotFound):
            client.read("Patient", "absent")
        assert isinstance(client.validate(patient()), Outcome)


def test_what_it_read_can_be_validated_here(client: Client) -> None:
    value = {"valueQuantity": {"value": Decimal("19.00")}}
    stored = client.create({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **value})
    assert validate(stored)


def test_errors_carry_what_the_server_said(client: Client) -> None:
    with pytest.raises(InvalidResource) as raised:
        client.create(patient(gender="f"))
    assert raised.value.outcome.errors[0].expression == "Patient.gender"
    with pytest.raises(NotFound, match="There is no Patient/absent"):
        client.read("Patient", "absent")
    with pytest.raises(BadRequest):
        list(client.search("Patient", {"birthdate": "nonsense"}))


def test_capabilities(client: Client) -> None:
    assert client.capabilities()["fhirVersion"] == "4.0.1"


@pytest.mark.parametrize("call", [lambda c: c.create({}), lambda c: c.update({"resourceType": "Patient"})])
def test_wrong_use_is_told_before_anything_is_sent(call: Callable[[Client], Any]) -> None:
    with pytest.raises(BadRequest):
        call(Client("http://127.0.0.1:9/fhir"))
    with pytest.raises(BadRequest):
        Client("coprod.example/fhir")


class Misbehaving:
    """A server that answers from a list, and remembers what it was asked; the body of a 3xx says whereto."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, float]] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.asked.append((self.command, self.path, dict(self.headers)))
                status, body, delay = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                time.sleep(delay)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", body.decode())
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  # the names http.server looks for

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/fhir"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def bad() -> Iterator[Misbehaving]:
    server = Misbehaving()
    yield server
    server.close()


def test_reads_are_tried_again_and_writes_are_not(bad: Misbehaving) -> None:
    bad.answers = [(503, b"", 0), (502, b"", 0), (200, b'{"resourceType":"Patient"}', 0)]
    with Client(bad.url) as client:
        assert client.read("Patient", "a") == {"resourceType": "Patient"}
        assert len(bad.asked) == 3
        bad.answers = [(503, b"", 0)]
        with pytest.raises(Overloaded):
            client.create(patient())
        assert len(bad.asked) == 4


def test_answers_that_are_not_fhir_are_told_apart(bad: Misbehaving) -> None:
    with Client(bad.url) as client:
        for status, body in ((200, b"<html>login</html>"), (200, b"[]"), (500, b"oops")):
            bad.answers = [(status, body, 0)]
            with pytest.raises(EhrAnswer):
                client.read("Patient", "a")
        bad.answers = [(401, b"", 0)]
        with pytest.raises(NotAllowed):
            client.read("Patient", "a")


def test_silence_and_refusal_are_unreachable(bad: Misbehaving) -> None:
    bad.answers = [(200, b"{}", 1.0)]
    with Client(bad.url, timeout=0.1, retries=0) as client:
        with pytest.raises(EhrUnreachable, match=r"0\.1 seconds"):
            client.read("Patient", "a")
        with pytest.raises(EhrUnreachable, match="read before you repeat it"):
            client.create(patient())
    with (
        Client("http://127.0.0.1:9/fhir", retries=0) as client,
        pytest.raises(EhrUnreachable, match="could not be reached"),
    ):
        client.read("Patient", "a")


def test_its_repr_says_which_server_without_a_password() -> None:
    with Client("https://ann:secret@coprod.example:8443/fhir/?key=secret") as client:
        assert repr(client) == "Client('https://coprod.example:8443/fhir/')"


def test_credentials_follow_no_link_to_another_host(bad: Misbehaving) -> None:
    page = {
        "resourceType": "Bundle",
        "link": [{"relation": "next", "url": "http://evil.example/fhir?page=2"}],
    }
    bad.answers = [(200, json.dumps(page).encode(), 0)]
    with Client(bad.url, auth="secret") as client, pytest.raises(EhrAnswer, match=r"evil\.example"):
        list(client.search("Patient"))
    assert bad.asked[0][2]["Authorization"] == "Bearer secret"


def test_links_in_a_circle_end(bad: Misbehaving) -> None:
    page = {"resourceType": "Bundle", "link": [{"relation": "next", "url": "Patient?page=2"}]}
    bad.answers = [(200, json.dumps(page).encode(), 0)]
    with Client(bad.url) as client, pytest.raises(EhrAnswer, match="circle"):
        list(client.search("Patient"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_write_that_is_sent_elsewhere_was_not_done(bad: Misbehaving, status: int) -> None:
    """`requests` would ask the new place by GET, and what it answers would seem to have been stored."""
    elsewhere = bad.url.replace("http://", "http://user:geheim@") + "/moved"
    bad.answers = [(status, elsewhere.encode(), 0), (200, b'{"resourceType":"Patient","id":"x"}', 0)]
    with Client(bad.url) as client:
        for write in (
            lambda: client.create(patient()),
            lambda: client.update(patient(id="a")),
            lambda: client.delete("Patient", "a"),
            lambda: client.transaction({"resourceType": "Bundle", "type": "transaction"}),
        ):
            bad.answers = [(status, elsewhere.encode(), 0), (200, b'{"resourceType":"Patient"}', 0)]
            with pytest.raises(EhrAnswer, match="correct base_url") as error:
                write()
            assert "geheim" not in str(error.value)
        assert [method for method, _, _ in bad.asked] == ["POST", "PUT", "DELETE", "POST"]
        bad.answers = [(status, f"{bad.url}/moved".encode(), 0), (200, b'{"resourceType":"Patient"}', 0)]
        assert client.read("Patient", "a") == {"resourceType": "Patient"}


def test_a_password_in_the_address_stays_out_of_errors() -> None:
    with (
        Client("http://user:geheim@127.0.0.1:9/fhir", retries=0) as client,
        pytest.raises(EhrUnreachable) as error,
    ):
        client.read("Patient", "a")
    assert "127.0.0.1:9" in str(error.value)
    assert "geheim" not in str(error.value)
