"""Valid resources out of StructureDefinitions: base types and profiles, as small or as rich as asked.

Structure, formats, bindings, slices and fixed values come from the snapshot. Invariants are met by trying: an
object that breaks one is made again, with less in it each time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

from fhir_coprod import definitions
from fhir_coprod.validation.fhirpath import Undecided
from fhir_coprod.validation.model.content import Rule
from fhir_coprod.validation.model.library import Library
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import ABSENT, PRIMITIVES, Element, Structure, TypeRef

NARRATIVE = '<div xmlns="http://www.w3.org/1999/xhtml">Made for a test</div>'
_UNDECIDABLE = {
    "http://hl7.org/fhir/ValueSet/mimetypes": ("urn:ietf:bcp:13", "text/plain"),
    "http://hl7.org/fhir/ValueSet/all-languages": ("urn:ietf:bcp:47", "en"),
    "http://hl7.org/fhir/ValueSet/languages": ("urn:ietf:bcp:47", "en"),
    "http://hl7.org/fhir/ValueSet/currencies": ("urn:iso:std:iso:4217", "SEK"),
    "http://hl7.org/fhir/ValueSet/ucum-units": ("http://unitsofmeasure.org", "mg"),
    "http://hl7.org/fhir/ValueSet/age-units": ("http://unitsofmeasure.org", "a"),
    "http://hl7.org/fhir/ValueSet/distance-units": ("http://unitsofmeasure.org", "m"),
    "http://hl7.org/fhir/ValueSet/duration-units": ("http://unitsofmeasure.org", "h"),
}
_SKIPPED = frozenset({"contained", "modifierExtension", "implicitRules"})


class Generator:
    """Makes resources from a Random; the same seed makes the same resources."""

    def __init__(self, library: Library, random: Random, *, richness: float = 0.4) -> None:
        """richness: how likely an optional element is there, 0 to 1, less the deeper it lies."""
        self.library = library
        self.random = random
        self.richness = richness
        self._number = 0

    def resource(self, name: str, profile: str = "") -> dict[str, Any]:
        """A resource of that type, or of a profile on it."""
        structure = self.library.structure(profile or name)
        assert structure is not None, profile or name
        made = self._valid(
            lambda richness: self._resource(structure, richness),
            lambda r: self._rules_hold(structure.type, r, Scope(r)),
        )
        if profile:
            made.setdefault("meta", {})["profile"] = [profile]
        return made

    # ------------------------------------------------------------------ structure

    def _resource(self, structure: Structure, richness: float) -> dict[str, Any]:
        content = self._object(structure.root, structure.type, 0, richness)
        content.pop("meta", None)
        return {"resourceType": structure.type, **content}

    def _object(self, element: Element, code: str, depth: int, richness: float) -> dict[str, Any]:
        """A complex value with its children."""
        children = element.children
        if not children or (element.path != code and set(children) <= {"id", "extension"}):
            own = self.library.structure(code)
            assert own is not None, code
            children = {**own.root.children, **children}
        made: dict[str, Any] = {}
        for child in children.values():
            if self._wanted(child, depth, richness):
                self._member(child, made, depth, richness)
        return made

    def _wanted(self, child: Element, depth: int, richness: float) -> bool:
        if child.max == 0 or child.name in _SKIPPED:
            return False
        if child.min > 0:
            return True
        if any(part.min > 0 for part in child.slices):
            return True
        if child.name in ("id", "extension") and depth > 0:
            return False
        if (child.fixed is not ABSENT or child.pattern is not ABSENT) and depth > 0 and ":" in child.id:
            return True
        return self.random.random() < richness / (1 + depth)

    def _member(self, child: Element, made: dict[str, Any], depth: int, richness: float) -> None:
        if child.name == "id" and depth == 0:
            self._number += 1
            made["id"] = f"made-{self._number}-{self.random.randrange(10**9)}"
            return
        values: list[tuple[str, Any]] = []
        for part in child.slices:
            number = part.min
            if number == 0 and part.max > 0 and self.random.random() < richness / 2:
                number = 1
            for _ in range(number):
                values += self._value(part, depth, richness)
        plain = child.min - len(values)
        if not child.slices and plain < 1:
            plain = 1
        if child.repeats and not child.slices and self.random.random() < 0.2:
            plain += 1
        if child.name == "extension":
            plain = 0
        for _ in range(min(plain, child.max - len(values))):
            values += self._value(child, depth, richness)
        if not values:
            return
        key, value = values[0]
        if child.repeats:
            made[key] = [v for k, v in values if k == key]
        else:
            made[key] = value

    def _value(self, element: Element, depth: int, richness: float) -> list[tuple[str, Any]]:
        """[(JSON key, value)], or nothing when no valid value can be thought of."""
        if element.content:
            return self._repeated(element, depth, richness)
        types = [t for t in element.types if t.code not in ("Resource", "Extension") or not element.choice]
        if not types:
            return []
        reference = self.random.choice(types)
        key = element.name
        if element.choice:
            key += reference.code[0].upper() + reference.code[1:]
        value = self._typed(element, reference, depth, richness)
        return [] if value is None else [(key, value)]

    def _repeated(self, element: Element, depth: int, richness: float) -> list[tuple[str, Any]]:
        structure = self.library.structure(element.path.partition(".")[0])
        if structure is None or (depth > 2 and element.min == 0):
            return []
        repeated = structure.by_id[element.content]
        value = self._typed(repeated, repeated.types[0], depth + 1, richness)
        return [] if value is None else [(element.name, value)]

    def _typed(self, element: Element, reference: TypeRef, depth: int, richness: float) -> Any:
        if element.fixed is not ABSENT:
            return copy.deepcopy(element.fixed)
        code = reference.code
        if code in PRIMITIVES:
            if element.pattern is not ABSENT:
                return element.pattern
            return self._primitive(element, code)
        if code in ("Resource", "DomainResource") or definitions.is_resource_type(code):
            return self._inner_resource(code, reference)
        if reference.profiles and code != "Reference":
            own = self.library.structure(self.random.choice(reference.profiles))
            if own is not None and own.profile:
                element = own.root if not element.children else element
        value = self._valid(
            lambda less: self._complex(element, reference, depth, less),
            lambda made: bool(made) and self._rules_hold_at(element, code, made),
            richness,
        )
        if element.pattern is not ABSENT:
            value = _merge(value, element.pattern)
        return value or None

    def _complex(self, element: Element, reference: TypeRef, depth: int, richness: float) -> dict[str, Any]:
        code = reference.code
        if code == "Reference":
            return self._reference(reference)
        if code in ("CodeableConcept", "Coding") and not element.children:
            return self._coded(element, code)
        made = self._object(element, code, depth + 1, richness)
        if code in ("Quantity", "Age", "Duration", "Distance", "Count", "Money") or code == "SimpleQuantity":
            made = self._quantity(element, code, made)
        if code == "Ratio" and not element.children:
            # Both or none (rat-1), and none is nothing: chance alone seldom makes one deep down.
            made = {part: self._quantity(element, "Quantity", {}) for part in ("numerator", "denominator")}
        if code == "Identifier" and "system" in made:
            made["system"] = "http://example.org/identifiers"
        if code == "Attachment":
            made.pop("size", None)
            made.pop("hash", None)
        return made

    def _quantity(self, element: Element, code: str, made: dict[str, Any]) -> dict[str, Any]:
        stated = {
            k: c.fixed if c.fixed is not ABSENT else c.pattern
            for k, c in element.children.items()
            if c.fixed is not ABSENT or c.pattern is not ABSENT
        }
        units = {"Age": "a", "Duration": "h", "Distance": "m", "Count": "1"}
        if code == "Money":
            return {"value": 12.5, "currency": "SEK"}
        number: float = self.random.randrange(1, 90)
        return {
            "value": number,
            "system": "http://unitsofmeasure.org",
            "code": units.get(code, "mg"),
            **stated,
        }

    def _reference(self, reference: TypeRef) -> dict[str, Any]:
        names = [n for t in reference.targets if (n := self.library.resource_type_of(t)) and n != "Resource"]
        name = self.random.choice(names or ["Patient"])
        return {"reference": f"{name}/{self.random.randrange(1, 10**6)}"}

    def _coded(self, element: Element, code: str) -> dict[str, Any]:
        coding = self._code_of(element)
        if code == "Coding":
            return {"system": coding[0], "code": coding[1]} if coding else {"display": "some code"}
        if coding is None:
            return {"text": "some concept"}
        return {"coding": [{"system": coding[0], "code": coding[1]}]}

    def _code_of(self, element: Element) -> tuple[str, str] | None:
        """A code that the element's binding allows; None when any will do."""
        if element.binding is None or element.binding.strength not in ("required", "extensible"):
            return None
        url = element.binding.value_set.partition("|")[0]
        if url in _UNDECIDABLE:
            return _UNDECIDABLE[url]
        held = self.library.value_set(url)
        if held is None:
            return None
        systems = [s for s, codes in sorted(held.codes.items()) if codes]
        if not systems:
            return None
        system = self.random.choice(systems)
        return system, self.random.choice(sorted(held.codes[system]))

    def _inner_resource(self, code: str, reference: TypeRef) -> dict[str, Any]:
        if reference.profiles:
            return self.resource(code, self.random.choice(reference.profiles))
        name = code if definitions.is_resource_type(code) else "Basic"
        return {"resourceType": name, "id": "inner", "code": {"text": "inner"}}

    # ------------------------------------------------------------------ primitives

    def _primitive(self, element: Element, code: str) -> Any:
        number = self.random.randrange(1, 10**6)
        month, date = self.random.randrange(1, 13), self.random.randrange(1, 29)
        day = f"20{self.random.randrange(10, 30)}-{month:02}-{date:02}"
        if (
            code == "code"
            and element.path.endswith(".language")
            and not element.path.startswith("Expression")
        ):
            return self.random.choice(("en", "sv", "sv-SE", "de"))
        if code in ("code", "string", "uri"):
            coding = self._code_of(element)
            if coding is not None:
                return coding[1]
        if element.path.endswith(".url") and element.path.count(".") > 1 and code == "uri":
            return f"http://example.org/{number}"
        if element.path in ("OperationDefinition.inputProfile", "OperationDefinition.outputProfile"):
            # It has to constrain Parameters, so HL7's validator looks it up.
            return "http://hl7.org/fhir/StructureDefinition/Parameters"
        made: dict[str, Callable[[], Any]] = {
            "base64Binary": lambda: "aGVsbG8=",
            "boolean": lambda: self.random.random() < 0.5,
            "canonical": lambda: f"http://example.org/canonical/{number}",
            "code": lambda: f"code-{number}",
            "date": lambda: day[: self.random.choice((4, 7, 10))],
            "dateTime": lambda: self.random.choice(
                (day[:4], day[:7], day, f"{day}T10:20:30Z", f"{day}T10:20:30.5+02:00")
            ),
            "decimal": lambda: self.random.choice((number, number / 8)),
            "id": lambda: f"id-{number}",
            "instant": lambda: f"{day}T10:20:30.123+02:00",
            "integer": lambda: number,
            "markdown": lambda: f"Some *text* {number}\n",
            "oid": lambda: f"urn:oid:1.2.840.{number}",
            "positiveInt": lambda: number,
            "string": lambda: f"text {number}",
            "time": lambda: "10:20:30",
            "unsignedInt": lambda: number,
            "uri": lambda: f"http://example.org/{number}",
            "url": lambda: f"http://example.org/{number}",
            "uuid": lambda: f"urn:uuid:c757873d-ec9a-4326-a141-{number:012x}",
            "xhtml": lambda: NARRATIVE,
        }
        return made[code]()

    # ------------------------------------------------------------------ invariants

    def _valid(
        self,
        make: Callable[[float], dict[str, Any]],
        holds: Callable[[dict[str, Any]], bool],
        richness: float | None = None,
    ) -> dict[str, Any]:
        """What `make` makes, made again with less and less until the rules hold."""
        richness = self.richness if richness is None else richness
        made = make(richness)
        for attempt in range(24):
            if holds(made):
                return made
            made = make(richness * (1 - attempt / 24) if attempt % 3 else 1.0)
        return made

    def _rules_hold(self, code: str, made: dict[str, Any], scope: Scope) -> bool:
        model = self.library.type_model(code)
        return model is None or all(_holds(rule, made, scope) for rule in model.content.rules)

    def _rules_hold_at(self, element: Element, code: str, made: dict[str, Any]) -> bool:
        scope = Scope({"resourceType": element.path.partition(".")[0]})
        if code not in ("BackboneElement", "Element"):
            return self._rules_hold(code, made, scope)
        rules = _backbone_rules(self.library, element.path)
        return all(_holds(rule, made, scope) for rule in rules)


def _holds(rule: Rule, made: dict[str, Any], scope: Scope) -> bool:
    """Whether nothing breaks a rule, as far as anybody can tell: answers to an unknown Questionnaire fit."""
    try:
        return rule.test(made, scope)
    except Undecided:
        return True


def _backbone_rules(library: Library, path: str) -> list[Any]:
    names = path.split(".")
    model = library.type_model(names[0])
    content = model.content if model else None
    for name in names[1:]:
        if content is None or name not in content.fields:
            return []
        content = next(iter(content.fields[name].by_type.values()), None)
    return content.rules if content else []


def _merge(value: Any, pattern: Any) -> Any:
    """`value` with what the pattern states put in."""
    if isinstance(pattern, dict) and isinstance(value, dict):
        return {**value, **{k: _merge(value.get(k), v) for k, v in pattern.items()}}
    return copy.deepcopy(pattern)
