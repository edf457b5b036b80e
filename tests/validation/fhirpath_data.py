"""Random values of FHIR types for comparing FHIRPath engines: small, well-shaped, full of what rules ask."""

from __future__ import annotations

import random
import re
from functools import cache
from typing import Any

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath import compile_typed
from fhir_coprod.validation.fhirpath.model import Type, type_named


def values(expression: str, base: str, resource: Json) -> list[Any]:
    """What the path leads to, without the types."""
    return [value for _, value in compile_typed(expression, base)(resource)]


_STRING = re.compile(r"'((?:[^'\\]|\\.)*)'")
_ELEMENT = re.compile(r"[a-z][A-Za-z]+")

_SAMPLES: dict[str, tuple[Any, ...]] = {
    "Boolean": (True, False),
    "Integer": (0, 1, 2, 5, 101),
    "Decimal": (0, 1, 0.5, 99.5, 100.25),
    "Date": ("2020", "2020-03", "2020-03-14", "2021-01-01"),
    "DateTime": ("2020", "2020-03", "2020-03-14", "2020-03-14T10:00:00Z", "2020-03-14T12:00:00+01:00"),
    "Time": ("10:00:00", "10:30:00", "23:59:59"),
    "String": ("a", "B1", "#p1", "http://unitsofmeasure.org", "1", "*"),
}
_BY_TYPE: dict[str, tuple[Any, ...]] = {
    "instant": ("2020-03-14T10:00:00Z", "2020-03-14T12:00:00.500+01:00"),
    "xhtml": ('<div xmlns="http://www.w3.org/1999/xhtml">Text</div>', "<div>no namespace</div>"),
    "positiveInt": (1, 2, 3),
    "id": ("p1", "p2", "x"),
}
RESOURCES = definitions.resource_types()
DATA_TYPES = (
    *("Address", "Age", "Annotation", "Attachment", "CodeableConcept", "Coding", "ContactPoint", "Count"),
    *("DataRequirement", "Distance", "Dosage", "Duration", "ElementDefinition", "Expression", "Extension"),
    *(
        "HumanName",
        "Identifier",
        "Money",
        "MoneyQuantity",
        "Narrative",
        "Period",
        "Quantity",
        "Range",
        "Ratio",
    ),
    *("Reference", "RelatedArtifact", "SampledData", "Signature", "SimpleQuantity", "Timing"),
    *("TriggerDefinition", "UsageContext"),
)

_PLAIN = ("Identifier", "Period", "Reference", "Coding", "CodeableConcept", "Quantity", "string", "boolean")


@cache
def rules(type_name: str) -> tuple[tuple[str, str, str], ...]:
    """(path, key, expression) of each rule in the snapshot of a type."""
    return tuple(
        (element["path"], rule["key"], rule["expression"])
        for element in definitions.structure(type_name)["snapshot"]["element"]
        for rule in element.get("constraint", ())
        if "expression" in rule
    )


@cache
def _told(type_name: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Constants and element names in the rules of a type: what is worth generating."""
    texts = [expression for _, key, expression in rules(type_name) if key != "ele-1"]
    constants = {match for text in texts for match in _STRING.findall(text) if "\\" not in match}
    return tuple(sorted(constants)), frozenset(name for text in texts for name in _ELEMENT.findall(text))


def at_path(value: Any, type_: Type, path: str) -> list[tuple[Any, Type]]:
    """The values at an element path below a value of the type the path begins with, each with its type."""
    found = [(value, type_)]
    for name in path.split(".")[1:]:
        below: list[tuple[Any, Type]] = []
        for owner, owner_type in found:
            element = owner_type.elements.get(name.removesuffix("[x]"))
            if element is None or not isinstance(owner, dict):
                continue
            for key, code in element.keys:
                held = owner.get(key)
                items = held if isinstance(held, list) else [held]
                below += [(item, type_named(code)) for item in items if item is not None]
        found = below
    return found


class Grower:
    """Makes values; the same seed makes the same values."""

    def __init__(self, seed: int, root: str, *, extensions: bool = True) -> None:
        """extensions: whether primitives may have extensions beside them, or instead of a value."""
        self.random = random.Random(seed)
        self.extensions = extensions
        self.constants, self.names = _told(root)

    def value(self, type_: Type, depth: int = 0) -> Any:
        """A value of the type; complex ones are never empty."""
        if type_.is_primitive:
            return self._primitive(type_)
        if type_.is_resource:
            name = type_.name
            if name in ("Resource", "DomainResource"):
                name = self.random.choice(("Patient", "Basic", "Composition", "MessageHeader"))
            return {"resourceType": name, **self._members(type_named(name), depth)}
        return self._members(type_, depth) or {"id": "only"}

    def _primitive(self, type_: Type) -> Any:
        if (
            type_.system == "String"
            and self.constants
            and type_.name != "xhtml"
            and self.random.random() < 0.6
        ):
            return self.random.choice(self.constants)
        return self.random.choice(_BY_TYPE.get(type_.name) or _SAMPLES[type_.system])

    def _members(self, type_: Type, depth: int) -> Json:
        out: Json = {}
        for name, element in type_.elements.items():
            if any(name in dict(other.keys) for stem, other in type_.elements.items() if stem != name):
                continue  # `valueQuantity`, which `value` has already
            wanted = name in self.names
            likely = (0.55 if wanted else 0.12) / (1 + max(depth - 1, 0))
            if self.random.random() > likely or depth > 4:
                continue
            keys = [k for k in element.keys if k[1] in _PLAIN] or element.keys
            key, code = self.random.choice(keys if self.random.random() < 0.8 else element.keys)
            self._fill(out, key, type_named(code), element.is_list, depth)
        return out

    def _fill(self, out: Json, key: str, type_: Type, is_list: bool, depth: int) -> None:
        count = self.random.choice((1, 1, 2, 3)) if is_list else 1
        values = [self.value(type_, depth + 1) for _ in range(count)]
        if self.extensions and type_.is_primitive and type_.name != "xhtml" and self.random.random() < 0.15:
            beside = [self._beside() if self.random.random() < 0.6 else None for _ in values]
            if any(beside):
                out["_" + key] = beside if is_list else beside[0]
                values = [
                    None if by and self.random.random() < 0.5 else v
                    for v, by in zip(values, beside, strict=True)
                ]
        if any(value is not None for value in values):
            out[key] = values if is_list else values[0]

    def _beside(self) -> Json:
        return {"extension": [{"url": "http://example.org/x", "valueString": "y"}]}
