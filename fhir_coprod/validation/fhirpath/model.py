"""FHIR's types as FHIRPath sees them: their children, data types and ancestors.

Read from the structures in `fhir_coprod.definitions`, once per type, on first use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath.errors import UnsupportedFhirPath

_TEXTS = (
    *("string", "uri", "url", "canonical", "code", "oid", "id", "uuid"),
    *("markdown", "base64Binary", "xhtml"),
)

SYSTEM_OF = {
    "boolean": "Boolean",
    "integer": "Integer",
    "unsignedInt": "Integer",
    "positiveInt": "Integer",
    "decimal": "Decimal",
    "date": "Date",
    "dateTime": "DateTime",
    "instant": "DateTime",
    "time": "Time",
    **dict.fromkeys(_TEXTS, "String"),
}
"""The FHIRPath system type that a FHIR primitive is converted to for computing."""

_FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
_SYSTEM_PREFIX = "http://hl7.org/fhirpath/System."


class Type:
    """A FHIR type, a backbone element (`Patient.contact`), or a FHIRPath system type (`System.Boolean`)."""

    __slots__ = ("__dict__", "ancestors", "fhir", "is_primitive", "is_resource", "name", "system")

    def __init__(self, name: str, fhir: str, ancestors: frozenset[str], system: str, primitive: bool) -> None:
        self.name = name
        """Where it is defined: "Patient", "Patient.contact", "System.Boolean"."""
        self.fhir = fhir
        """The type name as FHIR writes it: "Patient", "BackboneElement"; "Boolean" for a system type."""
        self.ancestors = ancestors
        """Every name that `is` answers yes to, plain and qualified, itself included."""
        self.system = system
        """The system type it counts as: "String", "Quantity"…; "" for other complex types."""
        self.is_primitive = primitive
        self.is_resource = "Resource" in ancestors

    @cached_property
    def elements(self) -> dict[str, Element]:
        """Children by FHIRPath name: `value` for `value[x]`, and `valueQuantity`, as some guides write it."""
        if self is TYPE_INFO:
            return {name: Element(name, ((name, "System.String"),), False) for name in ("namespace", "name")}
        return {} if self.name.startswith("System.") else _children(self.name)

    @cached_property
    def by_key(self) -> dict[str, tuple[Element, str]]:
        """Children by JSON key, with the data type that key has."""
        return {key: (element, type_) for element in self.elements.values() for key, type_ in element.keys}

    def __repr__(self) -> str:
        return f"Type({self.name})"


@dataclass(frozen=True, slots=True)
class Element:
    """A child element of a type."""

    name: str
    keys: tuple[tuple[str, str], ...]
    """(JSON key, type name) for each allowed data type: several for a choice."""
    is_list: bool


@dataclass
class _Known:
    types: dict[str, Type] = field(default_factory=dict)
    paths: dict[str, dict[str, list[Json]]] = field(default_factory=dict)


_known = _Known()


def type_named(name: str) -> Type:
    """A type by name ("Patient"), canonical URL, or element path ("Patient.contact", "Patient.name.given").

    A choice carries its type: "Observation.valueQuantity". Raises UnsupportedFhirPath for an unknown one.
    """
    found = _known.types.get(name)
    if found is None:
        found = _known.types[name] = _make(name)
    return found


def resource_type(value: Any) -> Type | None:
    """The type of a JSON resource; None when it does not name a type that R4 knows."""
    if isinstance(value, dict):
        name = value.get("resourceType")
        if isinstance(name, str) and definitions.is_resource_type(name):
            return type_named(name)
    return None


def _system(name: str, *also: str) -> Type:
    return Type(f"System.{name}", name, frozenset((name, f"System.{name}", *also)), name, primitive=True)


for _name in ("Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time"):
    _known.types[f"System.{_name}"] = _system(_name)
BOOLEAN = _known.types["System.Boolean"]
STRING = _known.types["System.String"]
INTEGER = _known.types["System.Integer"]
DECIMAL = _known.types["System.Decimal"]
DATE = _known.types["System.Date"]
DATE_TIME = _known.types["System.DateTime"]
TIME = _known.types["System.Time"]
QUANTITY = _known.types["System.Quantity"] = _system("Quantity", "FHIR.Quantity")
TYPE_INFO = Type("System.TypeInfo", "TypeInfo", frozenset({"System.TypeInfo"}), "", primitive=False)
"""What `type()` gives."""


def is_type(name: str) -> bool:
    """Whether `is`, `as` and `ofType` know the name: a FHIR type or a system type, plain or qualified.

    Every name may follow `System.`: nothing is of such a type if there is none.
    """
    space, _, plain = name.rpartition(".")
    if space == "System" or (not space and f"System.{plain}" in _known.types):
        return True
    return space in ("", "FHIR") and definitions.has_structure(plain)


def _make(name: str) -> Type:
    if "://" in name:
        return type_named(_structure(name)["type"])
    if "." in name:
        return _element_type(name)
    structure = _structure(name)
    ancestors = _ancestors(structure)
    primitive = structure["kind"] == "primitive-type" or name == "xhtml"
    if primitive:
        # R4's own rules write `answer is Boolean` about a boolean (que-7), and HL7's validator allows it.
        ancestors.append(name[0].upper() + name[1:])
    system = "Quantity" if "Quantity" in ancestors else SYSTEM_OF.get(name, "")
    return Type(name, name, _qualified(ancestors), system, primitive)


def _element_type(path: str) -> Type:
    """The type at the end of an element path."""
    parent, _, last = path.rpartition(".")
    owner = type_named(parent)
    if path != f"{owner.name}.{last}":
        return type_named(f"{owner.name}.{last}")
    if path in _paths(path.partition(".")[0]):
        snapshot_type = _own_element(path)["type"][0]["code"]
        return Type(path, snapshot_type, _qualified(_ancestors(_structure(snapshot_type))), "", False)
    element = owner.elements.get(last.removesuffix("[x]"))
    if element is None:
        raise UnsupportedFhirPath(f"FHIR R4 has no element {path}.")
    if len(element.keys) > 1:
        raise UnsupportedFhirPath(
            f"{path} may be of several data types; name one, as in {parent}.{element.keys[0][0]}."
        )
    return type_named(element.keys[0][1])


def _structure(name: str) -> Json:
    try:
        return definitions.structure(name)
    except definitions.UnknownDefinition:
        raise UnsupportedFhirPath(f"FHIR R4 has no type {name}.") from None


def _ancestors(structure: Json) -> list[str]:
    names = [structure["type"]]
    while base := structure.get("baseDefinition"):
        structure = _structure(base)
        if structure["type"] not in names:
            names.append(structure["type"])
    return names


def _qualified(names: list[str]) -> frozenset[str]:
    return frozenset(names) | {f"FHIR.{name}" for name in names}


def _paths(root: str) -> dict[str, list[Json]]:
    """Element definitions of a type, grouped by the path of their parent."""
    found = _known.paths.get(root)
    if found is None:
        found = {}
        for element in _structure(root)["snapshot"]["element"]:
            parent = element["path"].rpartition(".")[0]
            if parent:
                found.setdefault(parent, []).append(element)
        _known.paths[root] = found
    return found


def _own_element(path: str) -> Json:
    parent = path.rpartition(".")[0]
    return next(e for e in _paths(path.partition(".")[0])[parent] if e["path"] == path)


def _children(name: str) -> dict[str, Element]:
    paths = _paths(name.partition(".")[0])
    elements: dict[str, Element] = {}
    for definition in paths.get(name, ()):
        path: str = definition["path"]
        last = path.rpartition(".")[2]
        if last == "value" and name in SYSTEM_OF:
            continue
        is_list = definition["max"] not in ("0", "1")
        if last.endswith("[x]"):
            stem = last[:-3]
            keys = tuple((stem + code[0].upper() + code[1:], code) for code in _codes(definition))
            elements[stem] = Element(stem, keys, is_list)
            for key, code in keys:
                elements.setdefault(key, Element(key, ((key, code),), is_list))
        else:
            elements[last] = Element(last, ((last, _single_type(path, definition, paths)),), is_list)
    return elements


def _single_type(path: str, definition: Json, paths: dict[str, list[Json]]) -> str:
    if reference := definition.get("contentReference"):
        return str(reference).rpartition("#")[2]
    if path in paths:
        return path
    code = _codes(definition)[0]
    return (
        "id"
        if path.endswith(".id")
        and path.count(".") == 1
        and path[0].isupper()
        and (_is_resource(path.partition(".")[0]))
        else code
    )


def _is_resource(name: str) -> bool:
    return bool(_structure(name)["kind"] == "resource")


def _codes(definition: Json) -> list[str]:
    """Data type names of an element, each once; FHIRPath's system types as the FHIR types they represent."""
    codes: list[str] = []
    for entry in definition["type"]:
        code: str = entry["code"]
        if code.startswith(_SYSTEM_PREFIX):
            code = next(
                (
                    e["valueUrl"]
                    for e in entry.get("extension", ())
                    if e["url"] == _FHIR_TYPE and "valueUrl" in e
                ),
                "string",
            )
        if code not in codes:
            codes.append(code)
    return codes
