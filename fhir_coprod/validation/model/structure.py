"""Turns a StructureDefinition's snapshot into a tree of `Element`s, which both tiers of the validator use.

The flat list of ElementDefinitions (https://hl7.org/fhir/R4/elementdefinition.html) becomes a tree: children
by name, and slices beside the element they divide. Nothing here knows about resources.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from fhir_coprod.jsontext import Json

MANY = sys.maxsize
"""`max` = "*"."""

FHIRPATH_SYSTEM = "http://hl7.org/fhirpath/System."
_FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
_MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"

PRIMITIVES = frozenset(
    {"base64Binary", "boolean", "canonical", "code", "date", "dateTime", "decimal", "id", "instant"}
    | {
        "integer",
        "markdown",
        "oid",
        "positiveInt",
        "string",
        "time",
        "unsignedInt",
        "uri",
        "url",
        "uuid",
        "xhtml",
    }
)


class Absent:
    """The value of `fixed` and `pattern` when the definition has none; JSON null would be a value."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


@dataclass(slots=True, frozen=True)
class TypeRef:
    """One allowed type: its code, its profiles, and for a reference the types it may point to."""

    code: str
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    aggregation: tuple[str, ...] = ()
    """contained | referenced | bundled; empty allows all."""


@dataclass(slots=True, frozen=True)
class Binding:
    strength: str
    """required | extensible | preferred | example"""
    value_set: str
    max_value_set: str = ""


@dataclass(slots=True, frozen=True)
class Constraint:
    key: str
    severity: str
    """error | warning"""
    human: str
    expression: str


@dataclass(slots=True, frozen=True)
class Discriminator:
    type: str
    """value | pattern | type | profile | exists"""
    path: str


@dataclass(slots=True, frozen=True)
class Slicing:
    discriminators: tuple[Discriminator, ...]
    rules: str
    """open | closed | openAtEnd"""
    ordered: bool = False


@dataclass(slots=True, eq=False)
class Element:
    """One ElementDefinition with everything below it."""

    id: str
    path: str
    name: str
    """The last part of the path; a choice without its [x]."""
    min: int = 0
    max: int = MANY
    types: tuple[TypeRef, ...] = ()
    choice: bool = False
    children: dict[str, Element] = field(default_factory=dict)
    """By name; empty when the snapshot leaves the details to the datatype's own definition."""
    slicing: Slicing | None = None
    slices: list[Element] = field(default_factory=list)
    slice_name: str = ""
    content: str = ""
    """Id of the element whose content this one repeats (contentReference)."""
    fixed: object = ABSENT
    pattern: object = ABSENT
    binding: Binding | None = None
    constraints: tuple[Constraint, ...] = ()
    max_length: int = MANY
    min_value: object = ABSENT
    max_value: object = ABSENT
    repeats: bool = True
    """Whether JSON writes it as an array: the base element's max says so, and no profile can change that."""
    modifier: bool = False

    def walk(self) -> Iterator[Element]:
        """This element and everything below it, slices included."""
        yield self
        for child in (*self.children.values(), *self.slices):
            yield from child.walk()


@dataclass(slots=True, eq=False)
class Structure:
    """One compiled StructureDefinition."""

    url: str
    version: str
    title: str
    """What messages call it."""
    type: str
    """The type it constrains or defines, such as CarePlan or HumanName."""
    kind: str
    """resource | complex-type | primitive-type | logical"""
    abstract: bool
    profile: bool
    """True for a constraint on another definition, False for the definition of a type."""
    base: str
    root: Element
    by_id: dict[str, Element]
    contexts: tuple[tuple[str, str], ...] = ()
    """Where an extension is allowed: (element | extension | fhirpath, expression)."""
    context_rules: tuple[str, ...] = ()
    """What must hold of an extension's owner, as FHIRPath (contextInvariant)."""


class NoSnapshot(ValueError):
    """The StructureDefinition has no snapshot to compile."""


def structure(definition: Json) -> Structure:
    """Compile one StructureDefinition. Raises NoSnapshot when it has none."""
    elements = definition.get("snapshot", {}).get("element", [])
    if not elements:
        raise NoSnapshot(definition.get("url", ""))
    by_id: dict[str, Element] = {}
    slice_at: dict[str, str] = {}
    for declared in elements:
        element = _element(declared, _identity(declared, slice_at))
        if element.id in by_id:
            continue
        by_id[element.id] = element
        _attach(element, by_id)
    return Structure(
        url=definition.get("url", ""),
        version=definition.get("version", ""),
        title=definition.get("title") or definition.get("name") or definition.get("url", ""),
        type=definition.get("type", ""),
        kind=definition.get("kind", ""),
        abstract=definition.get("abstract", False),
        profile=_is_profile(definition),
        base=definition.get("baseDefinition", ""),
        root=next(iter(by_id.values())),
        by_id=by_id,
        contexts=(
            *((c["type"], c["expression"]) for c in definition.get("context", ())),
            *(("element", path) for path in _ALSO_AT.get(definition.get("url", ""), ())),
        ),
        context_rules=tuple(definition.get("contextInvariant", ())),
    )


_ALSO_AT = {
    "http://hl7.org/fhir/StructureDefinition/regex": ("ElementDefinition.type",),
    "http://hl7.org/fhir/StructureDefinition/capabilitystatement-expectation": (
        "CapabilityStatement.format",
        "CapabilityStatement.patchFormat",
        "CapabilityStatement.implementationGuide",
        "CapabilityStatement.rest",
        "CapabilityStatement.rest.resource",
        "CapabilityStatement.rest.resource.operation",
        "CapabilityStatement.rest.resource.supportedProfile",
    ),
}
"""Where extensions of R4 stand and their definitions in R4 forget it: R4 itself and its guides do that."""


def _is_profile(definition: Json) -> bool:
    """Whether it constrains a type. Some call themselves specializations, of the very type that they have."""
    base = definition.get("baseDefinition", "").rpartition("/")[2]
    return definition.get("derivation") == "constraint" or (bool(base) and base == definition.get("type"))


def _identity(declared: Json, slice_at: dict[str, str]) -> str:
    """The element's id, worked out from path and sliceName if an old package gives none."""
    if "id" in declared:
        return str(declared["id"])
    path: str = declared["path"]
    parent, _, name = path.rpartition(".")
    identity = f"{slice_at.get(parent, parent)}.{name}" if parent else path
    if "sliceName" in declared:
        identity = f"{identity}:{declared['sliceName']}"
    slice_at[path] = identity
    return identity


def _attach(element: Element, by_id: dict[str, Element]) -> None:
    """Hang the element below its parent, or beside the element that it slices."""
    if "." not in element.id:
        return
    parent_id, _, last = element.id.rpartition(".")
    if ":" in last:
        # `a:b/c` slices the slice `a:b` again; otherwise `a:b` slices `a`.
        head, slash, _ = element.id.rpartition("/")
        sliced = head if slash and head in by_id else f"{parent_id}.{last.partition(':')[0]}"
        owner = by_id.get(sliced)
        if owner is not None:
            owner.slices.append(element)
            return
    parent = by_id.get(parent_id)
    if parent is not None:
        parent.children[element.name] = element


def _element(declared: Json, identity: str) -> Element:
    path: str = declared["path"]
    last = path.rpartition(".")[2]
    base_max = declared.get("base", {}).get("max", declared.get("max", "*"))
    element = Element(
        id=identity,
        path=path,
        name=last.removesuffix("[x]"),
        min=declared.get("min", 0),
        max=_maximum(declared.get("max", "*")),
        types=tuple(_type(t) for t in declared.get("type", ())),
        choice=last.endswith("[x]"),
        slicing=_slicing(declared.get("slicing")),
        slice_name=declared.get("sliceName", ""),
        content=declared.get("contentReference", "").rpartition("#")[2],
        binding=_binding(declared.get("binding")),
        constraints=tuple(_constraint(c) for c in declared.get("constraint", ())),
        max_length=declared.get("maxLength", MANY),
        repeats=base_max not in ("0", "1"),
        modifier=declared.get("isModifier", False),
    )
    for key, value in declared.items():
        if key.startswith("fixed"):
            element.fixed = value
        elif key.startswith("pattern"):
            element.pattern = value
        elif key.startswith("minValue"):
            element.min_value = value
        elif key.startswith("maxValue"):
            element.max_value = value
    return element


def _maximum(text: str) -> int:
    return MANY if text == "*" else int(text)


def _type(declared: Json) -> TypeRef:
    code: str = declared.get("code", "")
    if code.startswith(FHIRPATH_SYSTEM):
        # ids and primitive values: the FHIR type is in an extension, except in early packages.
        named = (e for e in declared.get("extension", ()) if e.get("url") == _FHIR_TYPE)
        fhir_type: Json = next(named, {})
        code = fhir_type.get("valueUrl") or fhir_type.get("valueUri") or "string"
    return TypeRef(
        code=code,
        profiles=tuple(declared.get("profile", ())),
        targets=tuple(declared.get("targetProfile", ())),
        aggregation=tuple(declared.get("aggregation", ())),
    )


def _slicing(declared: Json | None) -> Slicing | None:
    if declared is None:
        return None
    return Slicing(
        tuple(Discriminator(d["type"], d["path"]) for d in declared.get("discriminator", ())),
        declared.get("rules", "open"),
        declared.get("ordered", False),
    )


def _binding(declared: Json | None) -> Binding | None:
    if declared is None or not declared.get("valueSet"):
        return None
    largest: Json = next((e for e in declared.get("extension", ()) if e.get("url") == _MAX_VALUE_SET), {})
    return Binding(
        declared.get("strength", "example"),
        declared["valueSet"],
        largest.get("valueCanonical") or largest.get("valueUri") or "",
    )


def _constraint(declared: Json) -> Constraint:
    return Constraint(
        declared.get("key", ""),
        declared.get("severity", "error"),
        declared.get("human", ""),
        declared.get("expression", ""),
    )
