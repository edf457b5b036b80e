"""Makes what clients and files may send, rightly and wrongly, and judges what is stored of it."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from hypothesis import strategies as st

from fhir_coprod.jsontext import Json
from fhir_coprod.store import Version
from tests.api.conftest import Api

T = TypeVar("T")
SYSTEM = "http://a.example/id"
BASE = "http://localhost/fhir"


class Link(NamedTuple):
    """A reference element: what it leads to, the search parameter on it, and whether it is a list."""

    target: str
    parameter: str
    is_list: bool = False


LINKS: dict[str, dict[str, Link]] = {
    "Observation": {
        "subject": Link("Patient", "subject"),
        "encounter": Link("Encounter", "encounter"),
        "performer": Link("Practitioner", "performer", True),
        "hasMember": Link("Observation", "has-member", True),
    },
    "Encounter": {
        "subject": Link("Patient", "subject"),
        "serviceProvider": Link("Organization", "service-provider"),
    },
    "Patient": {
        "generalPractitioner": Link("Practitioner", "general-practitioner", True),
        "managingOrganization": Link("Organization", "organization"),
    },
    "Practitioner": {},
    "Organization": {"partOf": Link("Organization", "partof")},
    "Basic": {"subject": Link("Patient", "subject")},
    "QuestionnaireResponse": {"subject": Link("Patient", "subject")},
    "Questionnaire": {},
    "Bundle": {},
}
NEEDED: dict[str, Json] = {
    "Observation": {"status": "final", "code": {"text": "x"}},
    "Encounter": {"status": "planned", "class": {"code": "AMB"}},
    "Organization": {"name": "x"},
    "Basic": {"code": {"text": "x"}},
    "QuestionnaireResponse": {"status": "completed"},
    "Questionnaire": {"status": "active"},
    "Bundle": {"type": "collection"},
}
ONE_IDENTIFIER = frozenset({"QuestionnaireResponse", "Bundle"})


class Planned(NamedTuple):
    """An entry to be made: its type, fullUrl and identifier."""

    type: str
    url: str
    value: str


class Here(NamedTuple):
    """What is stored: its type, id and identifier."""

    type: str
    id: str
    value: str

    @property
    def name(self) -> str:
        return f"{self.type}/{self.id}"


def fresh() -> str:
    return str(uuid.uuid4())


def identifier(type: str, value: str) -> Any:
    own = {"system": SYSTEM, "value": value}
    return own if type in ONE_IDENTIFIER else [own]


@dataclass
class Maker:
    """Makes resources and Bundles; what it draws decides about everything but names.

    here: what of this example is stored
    sent: the resources that were sent, by their identifiers
    """

    draw: Callable[[st.SearchStrategy[Any]], Any]
    here: list[Here] = field(default_factory=list)
    sent: dict[str, Json] = field(default_factory=dict)
    planned: list[Planned] = field(default_factory=list)

    def one(self, options: Sequence[T]) -> T:
        found: T = self.draw(st.sampled_from(options))
        return found

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(0, 99)) >= 100 - percent)

    def plan(self, most: int) -> list[Planned]:
        """The entries of the next Bundle."""
        number = self.draw(st.integers(1, most))
        types = [self.one(list(LINKS)) for _ in range(number)]
        self.planned = [Planned(type, f"urn:uuid:{fresh()}", fresh()) for type in types]
        return self.planned

    def bundle(self, type: str) -> Json:
        entries = [self._entry(each) for each in self.plan(6)]
        patients = [each for each in self.here if each.type == "Patient"]
        if patients and self.chance(40):
            entries.append(self._patch_entry(self.one(patients)))
        if self.chance(50):
            entries.reverse()
        return {"resourceType": "Bundle", "type": type, "entry": entries}

    def resource(self, planned: Planned) -> Json:
        type = planned.type
        made = {"resourceType": type, "identifier": identifier(type, planned.value), **NEEDED.get(type, {})}
        for name, link in LINKS[type].items():
            if self.chance(60):
                reference = {"reference": self._reference(link.target, made)}
                made[name] = [reference] if link.is_list else reference
        if type == "Questionnaire":
            made["url"] = self.one((planned.url, f"http://a.example/q/{planned.value}"))
        elif type == "QuestionnaireResponse":
            self._answers(made)
        elif type == "Bundle":
            made["entry"] = self._inner()
        elif self.planned and self.chance(20):
            self._name_others(made)
        self.sent[planned.value] = made
        return made

    def _answers(self, made: Json) -> None:
        """To a Questionnaire by its canonical, whose form does not depend on where it is."""
        urls = [each["url"] for each in self.sent.values() if each["resourceType"] == "Questionnaire"]
        if urls and self.chance(90):
            made["questionnaire"] = self.one(urls)

    def _inner(self) -> list[Json]:
        """What is inside a Bundle, with addresses that also are those of entries around it."""
        url = self.one(self.planned).url if self.planned else f"urn:uuid:{fresh()}"
        inner = {"resourceType": "Observation", **NEEDED["Observation"], "subject": {"reference": url}}
        return [
            {"fullUrl": url, "resource": {"resourceType": "Patient"}},
            {"fullUrl": f"urn:uuid:{fresh()}", "resource": inner},
        ]

    def _name_others(self, made: Json) -> None:
        """Names and links that say the address of an entry, and are no references."""
        url = self.one(self.planned).url
        if self.chance(50):
            made["identifier"].append({"system": url, "value": "1"})
        if self.chance(50):
            made["extension"] = [
                {"url": "http://a.example/uuid", "valueUuid": url},
                {"url": "http://a.example/uri", "valueUri": url},
            ]
        if self.chance(50):
            div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{url}">x</a></div>'
            made["text"] = {"status": "generated", "div": div}

    def _entry(self, planned: Planned) -> Json:
        type, url, value = planned
        resource = self.resource(planned)
        known = [each for each in self.here if each.type == type]
        subject = resource.get("subject", {}).get("reference", "")
        kind = self.one(
            ("POST", "POST", "PUT", "PUT?", "own", "known", "known id", "subject", "PUT? subject")
        )
        request: Json = {"method": "POST", "url": type}
        if kind == "PUT":
            request = {"method": "PUT", "url": f"{type}/{value}"}
        elif kind == "PUT?":
            request = {"method": "PUT", "url": f"{type}?identifier={SYSTEM}|{value}"}
        elif kind == "known id" and known:
            request = {"method": "PUT", "url": self.one(known).name}
        elif kind == "known" and known:
            request["ifNoneExist"] = f"identifier={SYSTEM}|{self.one(known).value}"
        elif kind == "subject" and subject:
            request["ifNoneExist"] = f"subject={subject}&identifier={SYSTEM}|{value}"
        elif kind == "PUT? subject" and subject:
            request = {"method": "PUT", "url": f"{type}?subject={subject}&identifier={SYSTEM}|{value}"}
        elif kind == "own":
            request["ifNoneExist"] = f"identifier={SYSTEM}|{value}"
        id = request["url"].partition("/")[2]
        if request["method"] == "PUT" and id:
            resource["id"] = id
        return {"fullUrl": url, "resource": resource, "request": request}

    def _reference(self, target: str, made: Json) -> str:
        entries = [each for each in self.planned if each.type == target]
        known = [each for each in self.here if each.type == target]
        kind = self.draw(st.integers(0, 99))
        if entries and kind < 60:
            return self._to_entry(self.one(entries))
        if known and kind < 90:
            return self._to_known(self.one(known))
        if kind < 94:
            return self.one((f"{target}/later-{fresh()}", f"http://b.example/fhir/{target}/1"))
        if kind < 96:
            contained = {"resourceType": target, "id": "c", **NEEDED.get(target, {})}
            made["contained"] = [contained]
            return "#c"
        return self.one(
            (
                f"urn:uuid:{fresh()}",
                "urn:oid:1.2",
                f"/{target}/x",
                f"/{target}?identifier={SYSTEM}|none",
                f"{target}?identifier={SYSTEM}|none",
            )
        )

    def _to_entry(self, entry: Planned) -> str:
        type, url, value = entry
        right = (url, url, url, url.upper(), f"urn:uuid:{url[9:].upper()}")
        criteria = (
            f"{type}?identifier={SYSTEM}|{value}",
            f"{type}?identifier={quote(f'{SYSTEM}|{value}', '')}",
        )
        odd = [f"{url}/_history/1"]
        subjects = [each.url for each in self.planned if each.type == "Patient"]
        if subjects and "subject" in LINKS[type]:
            odd.append(f"{type}?subject={self.one(subjects)}")
        return self.one((*right, *criteria, *odd) if self.chance(60) else right)

    def _to_known(self, here: Here) -> str:
        criteria = f"{here.type}?identifier={SYSTEM}|{here.value}"
        spelt = (here.name, f"{BASE}/{here.name}", f"{here.name}/_history/1", criteria, f"{BASE}/{criteria}")
        return self.one(spelt)

    def _patch_entry(self, patient: Here) -> Json:
        form = self.one((json_patch, fhirpath_patch))
        reference = self._reference("Practitioner", {})
        place = self.one((patient.name, f"Patient?identifier={SYSTEM}|{patient.value}"))
        return {"resource": form(reference), "request": {"method": "PATCH", "url": place}}


def operations(reference: str) -> list[Json]:
    return [{"op": "add", "path": "/generalPractitioner", "value": [{"reference": reference}]}]


def json_patch(reference: str) -> Json:
    data = base64.b64encode(json.dumps(operations(reference)).encode()).decode()
    return {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}


def fhirpath_patch(reference: str) -> Json:
    parts = [
        {"name": "type", "valueCode": "add"},
        {"name": "path", "valueString": "Patient"},
        {"name": "name", "valueString": "generalPractitioner"},
        {"name": "value", "valueReference": {"reference": reference}},
    ]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


# -------------------------------------------------------------------------------------------- the judge


def value_of(data: Json) -> str:
    found = data["identifier"]
    first = found if isinstance(found, dict) else found[0]
    return str(first["value"])


def references(value: Any) -> Iterator[str]:
    """Every reference in a resource, but for what is inside a Bundle."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict) and value.get("resourceType") != "Bundle":
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for held in value.values():
            yield from references(held)


def check(api: Api, version: Version, maker: Maker, *, told: bool, waiting: set[str]) -> None:
    """
    told:    whether somebody was told of what is wrong in it
    waiting: dead letters, by the references that they will have when they are taken after all
    """
    said = api.post(f"{version.type}/$validate", version.body).json()["issue"]
    assert not [issue for issue in said if issue["severity"] in ("error", "fatal")] or told, said
    if told:
        return
    for reference in references(version.data):
        check_reference(api, reference, version.data, waiting)
    for element, link in LINKS[version.type].items():
        for reference in references(version.data.get(element)):
            if not reference.startswith("#"):
                asked = reference.partition("/_history/")[0]
                query = f"{version.type}?{link.parameter}={quote(asked, '')}&_id={version.id}"
                assert api.get(query).json()["total"] == 1, query
    check_names(api, version, maker)


def check_reference(api: Api, reference: str, data: Json, waiting: set[str]) -> None:
    if reference.startswith("#"):
        assert reference[1:] in [each["id"] for each in data.get("contained", ())]
        return
    if reference.startswith("http://b.example/") or "/later-" in reference or reference in waiting:
        return
    type, id = reference.partition("/_history/")[0].split("/")
    assert not api.store.read(type, id).deleted


def check_names(api: Api, version: Version, maker: Maker) -> None:
    """What is no reference of this resource stays, but for links to what came with it."""
    data, sent = version.data, maker.sent[value_of(version.data)]
    for name in ("identifier", "url", "questionnaire", "entry"):
        assert data.get(name) == sent.get(name)
    urls = {each.url for each in maker.planned}
    for before, after in zip(sent.get("extension", ()), data.get("extension", ()), strict=True):
        assert before.get("valueUuid") == after.get("valueUuid")
        assert after.get("valueUri") not in urls
    assert not any(url in data.get("text", {}).get("div", "") for url in urls)
    if "questionnaire" in data:
        canonical = quote(data["questionnaire"], "")
        query = f"QuestionnaireResponse?questionnaire={canonical}&_id={version.id}"
        found = api.get(f"{query}&_include=QuestionnaireResponse:questionnaire").json()
        assert found["total"] == 1
        held = api.get(f"Questionnaire?url={canonical}&_summary=count").json()["total"]
        assert len(found["entry"]) == 1 + held
