"""Functions that need more than the data: the clock, references, narrative rules, value sets, types."""

from __future__ import annotations

from typing import Any

from fhir_coprod import definitions
from fhir_coprod.validation import narrative
from fhir_coprod.validation.fhirpath import references
from fhir_coprod.validation.fhirpath.errors import UnsupportedFhirPath
from fhir_coprod.validation.fhirpath.model import DATE, DATE_TIME, TIME
from fhir_coprod.validation.fhirpath.nodes import EMPTY, Compiled, Node, Nodes, Scope, one, truth
from fhir_coprod.validation.fhirpath.syntax import Call, External, Literal

CONSTANTS = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
    "us-zip": "[0-9]{5}(-[0-9]{4}){0,1}",
}
"""%names that always mean the same text (https://hl7.org/fhir/R4/fhirpath.html#variables)."""


def constant(name: str) -> str:
    """The text of a %name. Raises UnsupportedFhirPath for one that is not defined."""
    if name.startswith("vs-"):
        return "http://hl7.org/fhir/ValueSet/" + name[3:]
    if name.startswith("ext-"):
        return "http://hl7.org/fhir/StructureDefinition/" + name[4:]
    if name in CONSTANTS:
        return CONSTANTS[name]
    raise UnsupportedFhirPath(f"FHIRPath: %{name} is not known here.")


def resolve(call: Call, of: Compiled) -> Compiled:
    """`resolve()`: finds only contained resources and entries of the surrounding Bundle."""
    return lambda scope: [
        target for node in of(scope) if (target := references.resolved(node, scope.env)) is not None
    ]


def html_checks(call: Call, of: Compiled) -> Compiled:

    def answer(scope: Scope) -> Nodes:
        node = one(of(scope))
        return EMPTY if node is None else truth(narrative.is_allowed(node.value))

    return answer


def moment(call: Call, of: Compiled) -> Compiled:
    match call.name:
        case "now":
            return lambda scope: [Node(scope.env.moment().isoformat(timespec="milliseconds"), DATE_TIME)]
        case "today":
            return lambda scope: [Node(scope.env.moment().date().isoformat(), DATE)]
    return lambda scope: [Node(scope.env.moment().time().isoformat(timespec="milliseconds"), TIME)]


def _address(call: Call) -> str:
    match call.arguments[0]:
        case Literal("String", value):
            return str(value)
        case External(name):
            return constant(name)
    raise UnsupportedFhirPath(f"FHIRPath: {call.name}() needs a constant address here.")


def member_of(call: Call, of: Compiled) -> Compiled:
    """Membership in a value set, if we hold it; about other value sets nothing can be said."""
    url = _address(call)
    codes = definitions.value_set(url)
    if codes is None:
        raise UnsupportedFhirPath(
            f"FHIRPath: the value set {url} is not held here, so memberOf() is not known."
        )
    any_system = frozenset().union(*codes.values())

    def is_member(coding: Any) -> bool:
        return isinstance(coding, dict) and coding.get("code") in codes.get(coding.get("system", ""), ())

    def answer(scope: Scope) -> Nodes:
        node = one(of(scope))
        if node is None or node.value is None:
            return EMPTY
        if isinstance(node.value, dict):
            codings = node.value.get("coding", ()) if node.type.fhir == "CodeableConcept" else (node.value,)
            return truth(any(is_member(coding) for coding in codings))
        return truth(node.value in any_system)

    return answer


def conforms_to(call: Call, of: Compiled) -> Compiled:
    """Conformance to a base type of R4 only needs the type; conformance to a profile needs a validator."""
    url = _address(call)
    name = url.removeprefix("http://hl7.org/fhir/StructureDefinition/")
    if name == url or not definitions.is_resource_type(name):
        raise UnsupportedFhirPath(f"FHIRPath: conformsTo() is known here for base types only, not for {url}.")

    def answer(scope: Scope) -> Nodes:
        node = one(of(scope))
        return EMPTY if node is None else truth(name in node.type.ancestors)

    return answer
