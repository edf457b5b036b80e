"""Inputs of the search for costs, written by hand: definitions, whose rules ask of each element something
about all others, and trees and Bundles.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.cost_kinds import NARRATIVE, Kind, Make, care_plan, coding, inner
from fhir_coprod import definitions
from fhir_coprod.jsontext import Json

_CORE = "http://hl7.org/fhir/StructureDefinition/"


def structures() -> Iterator[Kind]:
    """Definitions, trees and Bundles."""
    yield from _definitions()
    yield from _trees()
    yield from _bundles()


def _definitions() -> Iterator[Kind]:
    """Resources whose rules ask of each element something about the others."""
    yield Kind("StructureDefinition: differential", lambda n: _structure(differential=_elements(n)))
    yield Kind("StructureDefinition: snapshot", lambda n: _structure(snapshot=_elements(n, whole=True)))
    yield Kind(
        "StructureDefinition: both",
        lambda n: _structure(snapshot=_elements(n, whole=True), differential=_elements(n)),
    )
    yield Kind("StructureDefinition: ids twice", lambda n: _structure(differential=_elements(n, id="x")))
    yield Kind("StructureDefinition: long path", lambda n: _structure(differential=_long_path(n)))
    yield Kind("ImplementationGuide: groupingId", _guide)
    yield Kind("ImplementationGuide: fhirVersion", _versions)
    yield Kind("Observation: components with the code", _components)
    yield Kind("Observation: coded like its components", _coded_alike)
    yield Kind("Questionnaire: enableWhen", lambda n: _questionnaire([_asked(i, n) for i in range(n)]))
    yield Kind(
        "Questionnaire: enableWhen of nothing", lambda n: _questionnaire([_asked(i, 0) for i in range(n)])
    )
    yield Kind(
        "Questionnaire: one linkId", lambda n: _questionnaire([{"linkId": "1", "type": "display"}] * n)
    )
    yield Kind("NamingSystem: unique ids", _naming_system)
    yield Kind("CapabilityStatement: resources", _capabilities)
    yield Kind("ValueSet: concepts", lambda n: _value_set([{"code": f"c{i}"} for i in range(n)]))


def _elements(number: int, *, whole: bool = False, id: str = "") -> Json:
    needed = {"definition": "x", "min": 0, "max": "*", "base": {"path": "Patient.name", "min": 0, "max": "*"}}
    first = {"id": "Patient", "path": "Patient", **(needed if whole else {})}
    more = [
        {"id": id or f"Patient.name:{i}", "path": "Patient.name", **(needed if whole else {})}
        for i in range(number)
    ]
    return {"element": [first, *more]}


def _long_path(number: int) -> Json:
    path = "Patient" + ".a" * number
    return {"element": [{"id": "Patient", "path": "Patient"}, {"id": path, "path": path}]}


def _structure(**members: Any) -> Json:
    return {
        "resourceType": "StructureDefinition",
        "id": "s",
        "text": {"status": "generated", "div": NARRATIVE},
        "url": "http://example.org/StructureDefinition/s",
        "name": "Grown",
        "status": "draft",
        "fhirVersion": "4.0.1",
        "kind": "resource",
        "abstract": False,
        "type": "Patient",
        "baseDefinition": _CORE + "Patient",
        "derivation": "constraint",
        **members,
    }


def _canonical(type: str, **members: Any) -> Json:
    return {
        "resourceType": type,
        "text": {"status": "generated", "div": NARRATIVE},
        "url": f"http://example.org/{type}/x",
        "name": "Grown",
        "status": "draft",
        **members,
    }


def _guide(number: int) -> Json:
    resources = [{"reference": {"reference": f"Patient/{i}"}, "groupingId": f"g{i}"} for i in range(number)]
    groups = [{"id": f"g{i}", "name": f"n{i}"} for i in range(number)]
    return _of_guide(definition={"grouping": groups, "resource": resources})


def _versions(number: int) -> Json:
    versions = [("4.0.1", "4.0.0", "3.0.1")[i % 3] for i in range(number)]
    resources = [
        {"reference": {"reference": f"Patient/{i}"}, "fhirVersion": [version]}
        for i, version in enumerate(versions)
    ]
    return _of_guide(definition={"resource": resources}, fhirVersion=versions)


def _of_guide(**members: Any) -> Json:
    return _canonical(
        "ImplementationGuide", packageId="x.y", license="MIT", **{"fhirVersion": ["4.0.1"], **members}
    )


def _observation(**members: Any) -> Json:
    return {
        "resourceType": "Observation",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "final",
        "code": {"text": "x"},
        **members,
    }


def _components(number: int) -> Json:
    components = [{"code": {"coding": [coding(i)]}, "valueInteger": i} for i in range(number)]
    code = {"coding": [coding(-i - 1) for i in range(number)]}
    return _observation(code=code, component=components, valueInteger=1)


def _coded_alike(number: int) -> Json:
    codings = [coding(i) for i in range(number)]
    return _observation(code={"coding": codings}, component=[{"code": {"coding": codings}}], valueInteger=1)


def _questionnaire(items: list[Json]) -> Json:
    return _canonical("Questionnaire", item=items)


def _asked(number: int, known: int) -> Json:
    question = f"q{(number + 1) % known}" if known else "nothing"
    when = [{"question": question, "operator": "exists", "answerBoolean": True}]
    return {"linkId": f"q{number}", "type": "string", "text": "x", "enableWhen": when}


def _naming_system(number: int) -> Json:
    ids = [{"type": "uri", "value": f"http://example.org/{i}", "preferred": True} for i in range(number)]
    made = _canonical("NamingSystem", kind="identifier", date="2020-01-01", uniqueId=ids)
    return {key: value for key, value in made.items() if key != "url"}


def _capabilities(number: int) -> Json:
    types = definitions.resource_types()
    resources = [{"type": types[i % 7], "searchParam": []} for i in range(number)]
    for resource in resources:
        resource["searchParam"] = [{"name": "x", "type": "token"}, {"name": "y", "type": "token"}]
    rest = [{"mode": "server", "resource": resources}]
    return _canonical(
        "CapabilityStatement",
        date="2020-01-01",
        kind="requirements",
        description="x",
        fhirVersion="4.0.1",
        format=["json"],
        rest=rest,
    )


def _value_set(concepts: list[Json]) -> Json:
    return _canonical(
        "ValueSet", compose={"include": [{"system": "http://example.org/s", "concept": concepts}]}
    )


TREES: dict[str, tuple[str, Callable[[int], Json], Json]] = {
    "Questionnaire": ("item", lambda i: {"linkId": f"q{i}", "type": "group"}, {}),
    "CodeSystem": ("concept", lambda i: {"code": f"c{i}"}, {"content": "complete"}),
    "Composition": (
        "section",
        lambda i: {"title": f"t{i}"},
        {"type": {"text": "x"}, "date": "2020-01-01", "title": "x", "author": [{"display": "x"}]},
    ),
    "PlanDefinition": ("action", lambda i: {"title": f"t{i}"}, {}),
    "QuestionnaireResponse": ("item", lambda i: {"linkId": f"q{i}"}, {"status": "completed"}),
    "RequestGroup": ("action", lambda i: {"title": f"t{i}"}, {"status": "active", "intent": "plan"}),
    "Parameters": ("parameter", lambda i: {"name": f"p{i}"}, {}),
}
"""Types that hold themselves: the element, one of it, and what the resource needs besides."""
_LEVELS = 12
"""How deep a tree goes; the whole is bounded by `jsontext.MAX_DEPTH`."""


def _trees() -> Iterator[Kind]:
    for type, (name, leaf, needed) in TREES.items():
        yield Kind(f"{type}: broad", _tree(type, name, leaf, needed, levels=1))
        yield Kind(f"{type}: deep", _tree(type, name, leaf, needed, levels=_LEVELS))
    yield Kind("ConceptMap: targets", _concept_map)
    yield Kind("Parameters: resources", _parameters)
    yield Kind("List: entries", _list)


def _tree(type: str, name: str, leaf: Callable[[int], Json], needed: Json, *, levels: int) -> Make:
    below = "part" if name == "parameter" else name

    def make(number: int) -> Json:
        made = {"resourceType": type, **needed} if needed else _canonical(type)
        if type == "Parameters":
            made = {"resourceType": type}
        roots: list[Json] = []
        for begin in range(0, number, levels):
            chain = [leaf(i) for i in range(begin, min(begin + levels, number))]
            for upper, lower in itertools.pairwise(chain):
                upper[below] = [lower]
            roots.append(chain[0])
        return {**made, name: roots}

    return make


def _concept_map(number: int) -> Json:
    elements = [
        {"code": f"c{i}", "target": [{"code": f"d{i}", "equivalence": "equal"}]} for i in range(number)
    ]
    return _canonical(
        "ConceptMap", group=[{"source": "http://a.org", "target": "http://b.org", "element": elements}]
    )


def _parameters(number: int) -> Json:
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": f"p{i}", "resource": inner(i)} for i in range(number)],
    }


def _list(number: int) -> Json:
    entries = [{"item": {"reference": f"Patient/{i}"}} for i in range(number)]
    return {"resourceType": "List", "status": "current", "mode": "working", "entry": entries}


def _bundles() -> Iterator[Kind]:
    yield Kind("Bundle: urn:uuid, each referring to the next", lambda n: bundle("collection", n))
    yield Kind("Bundle: of care teams", _teams)
    yield Kind("Bundle: one fullUrl", lambda n: bundle("collection", n, url="urn:uuid:x"))
    yield Kind("Bundle: of our profile, referring to one another", _plans)
    yield Kind("Bundle: transaction", lambda n: bundle("transaction", n))
    yield Kind("Bundle: message", lambda n: bundle("message", n))
    yield Kind("Bundle: in a Bundle", lambda n: _nested(bundle("collection", n), 8))


def uuid_of(number: int) -> str:
    return f"urn:uuid:00000000-0000-0000-0000-{number:012x}"


def bundle(type: str, number: int, *, url: str = "") -> Json:
    """Tasks, each part of the next one."""
    entries = []
    for i in range(number):
        task = {
            "resourceType": "Task",
            "text": {"status": "generated", "div": NARRATIVE},
            "status": "requested",
            "intent": "order",
            "partOf": [{"reference": uuid_of((i + 1) % number)}],
        }
        entry: Json = {"fullUrl": url or uuid_of(i), "resource": task}
        if type == "transaction":
            entry["request"] = {"method": "POST", "url": "Task"}
        entries.append(entry)
    if type == "message":
        header = {
            "resourceType": "MessageHeader",
            "eventUri": "http://example.org/event",
            "source": {"endpoint": "http://example.org/sender"},
            "focus": [{"reference": uuid_of(0)}],
        }
        entries.insert(0, {"fullUrl": uuid_of(number), "resource": header})
    return {"resourceType": "Bundle", "type": type, "entry": entries}


def _teams(number: int) -> Json:
    entries = []
    for i in range(number):
        member = {
            "member": {"reference": f"Practitioner/p{i}"},
            "onBehalfOf": {"reference": "Organization/o"},
        }
        team = {"resourceType": "CareTeam", "id": f"t{i}", "participant": [member]}
        person = {"resourceType": "Practitioner", "id": f"p{i}"}
        entries += [
            {"fullUrl": f"http://a.org/{one['resourceType']}/{one['id']}", "resource": one}
            for one in (team, person)
        ]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _plans(number: int) -> Json:
    """Care plans of our profile, each of which replaces the two before it."""
    entries = []
    for i in range(number):
        plan = {
            **care_plan(),
            "id": f"c{i}",
            "meta": {"profile": [definitions.PROFILE + "coproduction-careplan"]},
        }
        plan["replaces"] = [{"reference": f"CarePlan/c{max(i - back, 0)}"} for back in (1, 2)]
        entries.append({"fullUrl": f"http://a.org/CarePlan/c{i}", "resource": plan})
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _nested(inner: Json, levels: int) -> Json:
    for level in range(levels):
        entry = {"fullUrl": f"http://a.org/Bundle/b{level}", "resource": {**inner, "id": f"b{level}"}}
        inner = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    return inner
