"""What the search for costs measures: inputs of any size, one kind for each way in which a record can grow.

Most kinds come from the definitions of R4: each element that repeats, in each resource and data type, grown to
so many bytes in an otherwise small resource. The others are written by hand: trees, references between things,
long texts, and whatever a rule asks of each element about all others.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from fhir_coprod import definitions, jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.model.structure import PRIMITIVES, Element
from fhir_coprod.validation.validator import default
from tests.validation.generator import NARRATIVE, Generator

Make = Callable[[int], Json]
"""From a number of items to a resource with so many of them."""

DEEPEST = 4
"""Levels of elements below a resource that are grown."""
SKIPPED = frozenset({"contained", "extension", "modifierExtension"})
"""Elements that every type has; they are grown once, by hand."""
_XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
_CORE = "http://hl7.org/fhir/StructureDefinition/"


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which a record grows."""

    name: str
    make: Make

    def sized(self, size: int) -> bytes:
        """A resource of about so many bytes."""
        few, more = len(jsontext.encode(self.make(2))), len(jsontext.encode(self.make(22)))
        each = max((more - few) / 20, 0.01)
        return jsontext.encode(self.make(max(2, round((size - few) / each) + 2)))


def kinds() -> Iterator[Kind]:
    """All of them, always the same."""
    yield from by_hand()
    yield from of_data_types()
    yield from of_resources()


# --- from the definitions -------------------------------------------------------------------------


def of_resources() -> Iterator[Kind]:
    library = default().library
    for name in definitions.resource_types():
        structure = library.structure(name)
        if structure is not None:
            base = _maker(name).resource(name)
            for path in _repeating(structure.root, ()):
                yield Kind(".".join((name, *(step.name for step in path))), _grown(base, path, name))


def of_data_types() -> Iterator[Kind]:
    library = default().library
    value = library.structure("Extension")
    for reference in value.root.children["value"].types if value is not None else ():
        code = reference.code
        structure = library.structure(code)
        if structure is None or code in PRIMITIVES:
            continue
        key = f"value{code[0].upper()}{code[1:]}"
        for path in _repeating(structure.root, ()):
            base = _maker(code)._object(structure.root, code, 1, 0.0)  # noqa: SLF001 (made for tests of its own)
            grown = _grown(base, path, code)
            yield Kind(".".join((code, *(step.name for step in path))), _carried(key, grown))


def _carried(key: str, grown: Make) -> Make:
    return lambda number: _basic(extension=[{"url": "http://example.org/carrier", key: grown(number)}])


def _maker(name: str) -> Generator:
    return Generator(default().library, Random(name), richness=0.0)


def _repeating(owner: Element, above: tuple[Element, ...]) -> Iterator[tuple[Element, ...]]:
    """The paths to all elements below that repeat."""
    for child in owner.children.values():
        if child.name in SKIPPED or child.max == 0:
            continue
        if child.repeats and not child.choice:
            yield (*above, child)
        if child.children and len(above) < DEEPEST - 1:
            yield from _repeating(child, (*above, child))


def _grown(base: Json, path: tuple[Element, ...], seed: str) -> Make:
    def make(number: int) -> Json:
        maker = _maker(seed)
        made = copy.deepcopy(base)
        owner = made
        for step in path[:-1]:
            owner = _below(owner, step, maker)
        last = path[-1]
        found = [_one(last, maker) for _ in range(number)]
        owner[last.name] = [value for value in found if value is not None]
        return made

    return make


def _below(owner: Json, step: Element, maker: Generator) -> Json:
    held = owner.get(step.name)
    if not held:
        held = owner[step.name] = [_one(step, maker) or {}] if step.repeats else _one(step, maker) or {}
    inner: Any = held[0] if step.repeats else held
    return inner if isinstance(inner, dict) else {}


def _one(element: Element, maker: Generator) -> Any:
    found = maker._value(element, 1, 0.0) or maker._value(element, 1, 1.0)  # noqa: SLF001 (see above)
    return found[0][1] if found else None


# --- by hand --------------------------------------------------------------------------------------


def by_hand() -> Iterator[Kind]:
    yield from _texts()
    yield from _everywhere()
    yield from _references()
    yield from _definitions()
    yield from _trees()
    yield from _bundles()


def _basic(**members: Any) -> Json:
    text = {"status": "generated", "div": NARRATIVE}
    return {"resourceType": "Basic", "id": "b", "text": text, "code": {"text": "x"}, **members}


def _told(div: str) -> Json:
    return _basic(text={"status": "generated", "div": f"<div {_XHTML}>{div}</div>"})


def _texts() -> Iterator[Kind]:
    """Single values that are long."""
    yield Kind("narrative: tags", lambda n: _told("<p>x</p>" * n))
    yield Kind("narrative: tags in tags", lambda n: _told("<b>" * n + "x" + "</b>" * n))
    yield Kind("narrative: one long attribute", lambda n: _told(f'<p title="{"x" * n}">x</p>'))
    yield Kind(
        "narrative: many attributes", lambda n: _told("<p " + "".join(f'a{i}="x" ' for i in range(n)) + "/>")
    )
    yield Kind(
        "narrative: namespaces",
        lambda n: _told("<p " + "".join(f'xmlns:a{i}="u:{i}" ' for i in range(n)) + ">x</p>"),
    )
    yield Kind("narrative: entities", lambda n: _told("&amp;&#xe5;" * n))
    yield Kind("narrative: links", lambda n: _told("".join(f'<a href="#p{i}">x</a>' for i in range(n))))
    yield Kind("narrative: never ends", lambda n: _told("<p title=" * n))
    yield Kind("narrative: quotes", lambda n: _told('"' * n))
    yield Kind("string: letters", lambda n: _basic(code={"text": "x" * n}))
    yield Kind("string: spaces", lambda n: _basic(code={"text": " " * n}))
    yield Kind("string: control characters", lambda n: _basic(code={"text": "\x01" * n}))
    yield Kind("string: escapes", lambda n: _basic(code={"text": '"\\' * n}))
    for code, text in _LONG.items():
        key = f"value{code[0].upper()}{code[1:]}"
        yield Kind(f"{code}: long", _valued(key, text))
    yield Kind("attachment: data", lambda n: _extended(valueAttachment=_attachment("x" * n)))
    yield Kind("attachment: its size is wrong", lambda n: _extended(valueAttachment=_sized("x" * n)))


def _valued(key: str, text: Callable[[int], Any]) -> Make:
    return lambda number: _extended(**{key: text(number)})


def _attachment(text: str) -> Json:
    return {"contentType": "text/plain", "data": base64.b64encode(text.encode()).decode()}


def _sized(text: str) -> Json:
    return {**_attachment(text), "size": 1}


_LONG: dict[str, Callable[[int], Any]] = {
    "base64Binary": lambda n: "QUJD" * n,
    "canonical": lambda n: "http://example.org/" + "a/" * n,
    "code": lambda n: "a " * n + "b",
    "date": lambda n: "2020-" * n,
    "dateTime": lambda n: "2020-01-01T10:20:30." + "1" * n + "Z",
    "decimal": lambda n: int("1" * min(n, 4000)),
    "id": lambda n: "a" * n,
    "instant": lambda n: "2020-01-01T10:20:30." + "1" * n + "!",
    "markdown": lambda n: "*x* " * n,
    "oid": lambda n: "urn:oid:1" + ".2" * n,
    "time": lambda n: "10:20:30." + "1" * n,
    "uri": lambda n: "urn:oid:1" + ".2" * n + "x",
    "url": lambda n: "http://example.org/" + "a b" * n,
    "uuid": lambda n: "urn:uuid:" + "a" * n,
}


def _extended(**value: Any) -> Json:
    return _basic(extension=[{"url": "http://example.org/any", **value}])


def _everywhere() -> Iterator[Kind]:
    """What every resource may have."""
    url = "http://example.org/e"
    yield Kind("meta.profile", lambda n: _basic(meta={"profile": [f"{url}/{i}" for i in range(n)]}))
    yield Kind(
        "meta.profile: one, again and again",
        lambda n: _basic(meta={"profile": [definitions.PROFILE + "coproduction-careplan"] * n}),
    )
    yield Kind("meta.tag", lambda n: _basic(meta={"tag": [_coding(i) for i in range(n)]}))
    yield Kind("meta.security", lambda n: _basic(meta={"security": [_coding(i) for i in range(n)]}))
    yield Kind(
        "extension", lambda n: _basic(extension=[{"url": f"{url}{i}", "valueInteger": i} for i in range(n)])
    )
    yield Kind("extension: no value", lambda n: _basic(extension=[{"url": url} for i in range(n)]))
    yield Kind(
        "extension: relative", lambda n: _basic(extension=[{"url": "x", "valueCode": "y"} for i in range(n)])
    )
    yield Kind(
        "modifierExtension",
        lambda n: _basic(modifierExtension=[{"url": url, "valueInteger": i} for i in range(n)]),
    )
    yield Kind(
        "extension: of one extension",
        lambda n: _extended(extension=[{"url": f"p{i}", "valueInteger": i} for i in range(n)]),
    )
    yield Kind("extensions of primitives", _beside_given)
    yield Kind("empty objects", lambda n: {**_patient(), "name": [{} for _ in range(n)]})
    yield Kind("empty lists", lambda n: {**_patient(), "name": [[] for _ in range(n)]})
    yield Kind("null", lambda n: {**_patient(), "name": [{"given": [None] * n}]})
    yield Kind("unknown members", lambda n: {**_patient(), **{f"x{i}": i for i in range(n)}})
    yield Kind("deep, and wide below", lambda n: _basic(**_deep(50, [0] * n)))


def _deep(levels: int, inside: Any) -> Json:
    return {"x": _deep(levels - 1, inside)} if levels else {"y": inside}


def _beside_given(number: int) -> Json:
    beside = [{"extension": [{"url": "http://example.org/x", "valueInteger": i}]} for i in range(number)]
    return {**_patient(), "name": [{"given": [f"n{i}" for i in range(number)], "_given": beside}]}


def _coding(number: int) -> Json:
    return {"system": "http://example.org/codes", "code": f"c{number}"}


def _patient(**members: Any) -> Json:
    return {
        "resourceType": "Patient",
        "id": "p",
        "text": {"status": "generated", "div": NARRATIVE},
        **members,
    }


def _references() -> Iterator[Kind]:
    """Contained resources and what refers to them."""
    yield Kind("contained, each referred to", lambda n: _care_plan(n, "{}"))
    yield Kind("contained, referring to one another", lambda n: _care_plan(n, "next"))
    yield Kind("contained, referring to the container", lambda n: _care_plan(n, "home"))
    yield Kind("contained, unused", lambda n: _basic(contained=[_inner(i) for i in range(n)]))
    yield Kind(
        "contained, in contained",
        lambda n: _basic(contained=[_basic(contained=[_inner(i) for i in range(n)])]),
    )
    yield Kind("references to nothing", lambda n: _care_plan(0, "") | {"goal": _to("#g", n)})
    yield Kind("references to one contained goal", _to_one_goal)
    yield Kind("care team members who are contained", _care_team)


def _to(address: str, number: int) -> list[Json]:
    return [{"reference": f"{address}{i}"} for i in range(number)]


def _inner(number: int, **members: Any) -> Json:
    return {"resourceType": "Basic", "id": f"g{number}", "code": {"text": "x"}, **members}


def _care_plan(number: int, how: str) -> Json:
    plan = {
        "resourceType": "CarePlan",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "active",
        "intent": "plan",
        "subject": {"reference": "Patient/p"},
    }
    if not number:
        return plan
    target = {"next": "#g{}", "home": "#"}.get(how)
    goals = [
        _inner(i, **({"subject": {"reference": target.format((i + 1) % number)}} if target else {}))
        for i in range(number)
    ]
    return {**plan, "contained": goals, "supportingInfo": _to("#g", number)}


def _to_one_goal(number: int) -> Json:
    goal = {
        "resourceType": "Goal",
        "id": "g",
        "lifecycleStatus": "active",
        "description": {"text": "x" * number},
        "subject": {"reference": "Patient/p"},
        "note": [{"text": f"n{i}"} for i in range(number)],
    }
    profile = {"profile": [definitions.PROFILE + "coproduction-careplan"]}
    return {
        **_care_plan(0, ""),
        "meta": profile,
        "contained": [goal],
        "goal": _to("#g", 0) or [{"reference": "#g"}] * number,
    }


def _care_team(number: int) -> Json:
    people = [{"resourceType": "Practitioner", "id": f"g{i}"} for i in range(number)]
    members = [
        {"member": {"reference": f"#g{i}"}, "onBehalfOf": {"reference": "Organization/o"}}
        for i in range(number)
    ]
    return {"resourceType": "CareTeam", "contained": people, "participant": members}


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
    guide = _canonical(
        "ImplementationGuide", packageId="x.y", license="MIT", **{"fhirVersion": ["4.0.1"], **members}
    )
    return guide


def _observation(**members: Any) -> Json:
    return {
        "resourceType": "Observation",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "final",
        "code": {"text": "x"},
        **members,
    }


def _components(number: int) -> Json:
    components = [{"code": {"coding": [_coding(i)]}, "valueInteger": i} for i in range(number)]
    code = {"coding": [_coding(-i - 1) for i in range(number)]}
    return _observation(code=code, component=components, valueInteger=1)


def _coded_alike(number: int) -> Json:
    codings = [_coding(i) for i in range(number)]
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
    resources = [{"type": types[i % len(types)], "searchParam": []} for i in range(number)]
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
            for upper, lower in zip(chain, chain[1:], strict=False):
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
        "parameter": [{"name": f"p{i}", "resource": _inner(i)} for i in range(number)],
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
            **_care_plan(0, ""),
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
