"""Inputs of the search for costs, written by hand: long texts, what every resource may have, references."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.cost_kinds import Kind, Make, basic, care_plan, coding, inner, patient
from fhir_coprod import definitions
from fhir_coprod.jsontext import Json

_XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def records() -> Iterator[Kind]:
    """Long texts, what every resource may have, and references."""
    yield from _texts()
    yield from _everywhere()
    yield from _references()


def _told(div: str) -> Json:
    return basic(text={"status": "generated", "div": f"<div {_XHTML}>{div}</div>"})


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
    yield Kind("string: letters", lambda n: basic(code={"text": "x" * n}))
    yield Kind("string: spaces", lambda n: basic(code={"text": " " * n}))
    yield Kind("string: control characters", lambda n: basic(code={"text": "\x01" * n}))
    yield Kind("string: escapes", lambda n: basic(code={"text": '"\\' * n}))
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
    return basic(extension=[{"url": "http://example.org/any", **value}])


def _everywhere() -> Iterator[Kind]:
    """What every resource may have."""
    url = "http://example.org/e"
    yield Kind("meta.profile", lambda n: basic(meta={"profile": [f"{url}/{i}" for i in range(n)]}))
    yield Kind(
        "meta.profile: one, again and again",
        lambda n: basic(meta={"profile": [definitions.PROFILE + "coproduction-careplan"] * n}),
    )
    yield Kind("meta.tag", lambda n: basic(meta={"tag": [coding(i) for i in range(n)]}))
    yield Kind("meta.security", lambda n: basic(meta={"security": [coding(i) for i in range(n)]}))
    yield Kind(
        "extension", lambda n: basic(extension=[{"url": f"{url}{i}", "valueInteger": i} for i in range(n)])
    )
    yield Kind("extension: no value", lambda n: basic(extension=[{"url": url} for i in range(n)]))
    yield Kind(
        "extension: relative", lambda n: basic(extension=[{"url": "x", "valueCode": "y"} for i in range(n)])
    )
    yield Kind(
        "modifierExtension",
        lambda n: basic(modifierExtension=[{"url": url, "valueInteger": i} for i in range(n)]),
    )
    yield Kind(
        "extension: of one extension",
        lambda n: _extended(extension=[{"url": f"p{i}", "valueInteger": i} for i in range(n)]),
    )
    yield Kind("extensions of primitives", _beside_given)
    yield Kind("empty objects", lambda n: {**patient(), "name": [{} for _ in range(n)]})
    yield Kind("empty lists", lambda n: {**patient(), "name": [[] for _ in range(n)]})
    yield Kind("null", lambda n: {**patient(), "name": [{"given": [None] * n}]})
    yield Kind("unknown members", lambda n: {**patient(), **{f"x{i}": i for i in range(n)}})
    yield Kind("deep, and wide below", lambda n: basic(**_deep(50, [0] * n)))


def _deep(levels: int, inside: Any) -> Json:
    return {"x": _deep(levels - 1, inside)} if levels else {"y": inside}


def _beside_given(number: int) -> Json:
    beside = [{"extension": [{"url": "http://example.org/x", "valueInteger": i}]} for i in range(number)]
    return {**patient(), "name": [{"given": [f"n{i}" for i in range(number)], "_given": beside}]}


def _references() -> Iterator[Kind]:
    """Contained resources and what refers to them."""
    yield Kind("contained, each referred to", lambda n: _care_plan(n, "{}"))
    yield Kind("contained, referring to one another", lambda n: _care_plan(n, "next"))
    yield Kind("contained, referring to the container", lambda n: _care_plan(n, "home"))
    yield Kind("contained, unused", lambda n: basic(contained=[inner(i) for i in range(n)]))
    yield Kind(
        "contained, in contained",
        lambda n: basic(contained=[basic(contained=[inner(i) for i in range(n)])]),
    )
    yield Kind("references to nothing", lambda n: care_plan() | {"goal": _to("#g", n)})
    yield Kind("references to one contained goal", _to_one_goal)
    yield Kind("care team members who are contained", _care_team)


def _to(address: str, number: int) -> list[Json]:
    return [{"reference": f"{address}{i}"} for i in range(number)]


def _care_plan(number: int, how: str) -> Json:
    plan = care_plan()
    target = {"next": "#g{}", "home": "#"}.get(how)
    goals = [
        inner(i, **({"subject": {"reference": target.format((i + 1) % number)}} if target else {}))
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
        **care_plan(),
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


def requests() -> Iterator[Kind]:
    """What is sent to the endpoint besides records; the placeholders are filled by `cost_ways`."""
    first, last = "/name/0/given/0", "/name/0/given/-"
    add = {"op": "add", "path": first, "value": "x"}
    yield Kind("patch: add at the front", lambda n: [add] * n, "patch")
    yield Kind("patch: add at the end", lambda n: [{**add, "path": last}] * n, "patch")
    yield Kind("patch: remove", lambda n: [{"op": "remove", "path": first}] * n, "patch")
    yield Kind(
        "patch: move", lambda n: [{"op": "move", "from": first, "path": "/name/0/given/500"}] * n, "patch"
    )
    yield Kind("patch: copy", lambda n: [{"op": "copy", "from": first, "path": last}] * n, "patch")
    yield Kind("patch: test", lambda n: [{"op": "test", "path": first, "value": "n0"}] * n, "patch")
    yield Kind("patch: one large value", lambda n: [{**add, "value": "x" * n}], "patch")
    yield Kind("query: values", lambda n: {"q": "name=" + ",".join(f"n{i}" for i in range(n))}, "query")
    yield Kind("query: codes", lambda n: {"q": "identifier=" + ",".join(f"s|{i}" for i in range(n))}, "query")
    yield Kind("query: ids", lambda n: {"q": "_id=" + ",".join(f"i{i}" for i in range(n))}, "query")
    yield Kind(
        "query: dates",
        lambda n: {"q": "birthdate=" + ",".join(f"ge19{i % 100:02}" for i in range(n))},
        "query",
    )
    yield Kind("query: parameters", lambda n: {"q": "&".join(f"name=n{i}" for i in range(n))}, "query")
    yield Kind("query: unknown parameters", lambda n: {"q": "&".join(f"x{i}=1" for i in range(n))}, "query")
    yield Kind(
        "query: chains",
        lambda n: {"q": "&".join(f"general-practitioner:Practitioner.name=n{i}" for i in range(n))},
        "query",
    )
    yield Kind(
        "query: reversed chains",
        lambda n: {"q": "&".join(f"_has:Task:patient:identifier=n{i}" for i in range(n))},
        "query",
    )
    yield Kind(
        "query: includes", lambda n: {"q": "&".join(["_include=Patient:general-practitioner"] * n)}, "query"
    )
    yield Kind("query: sorted", lambda n: {"q": "_sort=" + ",".join(["name", "-birthdate"] * n)}, "query")
    yield Kind(
        "query: elements", lambda n: {"q": "_elements=" + ",".join(f"e{i}" for i in range(n))}, "query"
    )
    yield Kind("query: a long text", lambda n: {"q": "name=" + "n" * n}, "query")
    yield Kind("query: escapes", lambda n: {"q": "name=" + "%5C%2C" * n}, "query")
    yield Kind("lines: patients", lambda n: [patient(id=f"l{i}") for i in range(n)], "lines")
    yield Kind("lines: wrong", lambda n: [patient(id=f"l{i}", zz=1) for i in range(n)], "lines")
    yield Kind("lines: no JSON", lambda n: ["x"] * n, "lines")
