"""Compiles a snapshot into a model: a complete one for a type, an overlay of additions for a profile."""

from __future__ import annotations

from fhir_coprod.definitions.terminology import UNKNOWN, bare
from fhir_coprod.validation.model import invariants
from fhir_coprod.validation.model.content import Bound, Content, Field, Model, Slice
from fhir_coprod.validation.model.discriminators import is_certain, matcher, url_of
from fhir_coprod.validation.model.lookup import Lookup
from fhir_coprod.validation.model.structure import (
    ABSENT,
    MANY,
    PRIMITIVES,
    Binding,
    Constraint,
    Element,
    Structure,
    TypeRef,
)

CODED = frozenset({"Coding", "Quantity", "Age", "Count", "Distance", "Duration"})
"""Types that hold a code and its system."""
ANYTHING = frozenset(
    {
        "http://hl7.org/fhir/StructureDefinition/Resource",
        "http://hl7.org/fhir/StructureDefinition/DomainResource",
    }
)
"""Targets that every reference satisfies; the few resources that are no DomainResource pass as well."""


def compile_type(structure: Structure, lookup: Lookup) -> Model:
    """The complete model of a resource or data type."""
    return Model(
        structure.url,
        structure.title,
        structure.type,
        structure.kind,
        structure.abstract,
        _TypeCompiler(structure, lookup).content(),
    )


def compile_profile(structure: Structure, lookup: Lookup) -> Model:
    """What a profile adds to the definition of its type."""
    base = lookup.type_model(structure.type)
    if base is None:
        raise LookupError(structure.type)
    compiler = _OverlayCompiler(structure, lookup)
    content = compiler.content(structure.root, TypeRef(structure.type), base.content)
    return Model(
        structure.url,
        structure.title,
        structure.type,
        structure.kind,
        structure.abstract,
        content,
        structure.contexts,
        structure.context_rules,
        structure.root.modifier,
    )


def json_keys(element: Element) -> tuple[tuple[str, str], ...]:
    """(JSON key, type) for each way to write the element."""
    if element.choice:
        return tuple((element.name + code[:1].upper() + code[1:], code) for code in _codes(element))
    return ((element.name, element.types[0].code if element.types else ""),)


def _codes(element: Element) -> list[str]:
    return list(dict.fromkeys(reference.code for reference in element.types))


def _bound(binding: Binding | None, lookup: Lookup) -> Bound | None:
    if binding is None:
        return None
    if binding.strength not in ("required", "extensible") and not binding.max_value_set:
        return None
    largest = lookup.value_set(binding.max_value_set) if binding.max_value_set else None
    return Bound(
        binding.strength if binding.strength in ("required", "extensible") else "preferred",
        bare(binding.value_set),
        lookup.value_set(binding.value_set) or UNKNOWN,
        largest,
    )


def _targets(reference: TypeRef) -> tuple[str, ...]:
    """The canonicals a reference may point to; empty when it may point to anything."""
    return () if any(bare(target) in ANYTHING for target in reference.targets) else reference.targets


def _target_types(targets: tuple[str, ...], lookup: Lookup) -> frozenset[str]:
    """The resource types a reference may point to; empty when any is allowed or one target is unknown."""
    if not targets:
        return frozenset()
    types = [lookup.resource_type_of(target) for target in targets]
    return frozenset(types) if all(types) else frozenset()


class _TypeCompiler:
    def __init__(self, structure: Structure, lookup: Lookup) -> None:
        self.structure = structure
        self.lookup = lookup
        self.contents: dict[str, Content] = {}

    def content(self) -> Content:
        root = self.structure.root
        content = Content(self.structure.type, root.path, resource=self.structure.kind == "resource")
        self.contents[root.id] = content
        self._rules(content, root.constraints)
        url = root.children.get("url") if content.resource else None
        canonical = url is not None and [t.code for t in url.types] == ["uri"]
        content.rules += invariants.of_type(self.structure.type, canonical=canonical)
        content.coded = self.structure.type in CODED
        self._fill(content, root)
        return content

    def _fill(self, content: Content, element: Element) -> None:
        if self.structure.kind == "primitive-type" or self.structure.type == "xhtml":
            return
        for child in element.children.values():
            if child.max == 0:
                continue
            field = self._field(child)
            content.fields[child.name] = field
            for key, code in field.keys:
                content.keys[key] = (field, code)

    def _field(self, element: Element) -> Field:
        field = Field(
            element.name,
            element.path,
            json_keys(element),
            array=element.repeats,
            min=element.min,
            max=element.max,
            choice=element.choice,
            modifier=element.modifier,
        )
        if element.content:
            repeated = self.contents[element.content]
            field.keys = ((element.name, repeated.type),)
            field.by_type[repeated.type] = repeated
            return field
        if element.path in (f"{self.structure.type}.id",) and self.structure.kind == "resource":
            # R4 declares Resource.id as a string in its snapshots; its format is that of `id`.
            field.keys = ((element.name, "id"),)
            field.by_type["id"] = Content("id", element.path, datatype=True)
            return field
        for code in _codes(element):
            field.by_type[code] = self._value(element, code)
        return field

    def _value(self, element: Element, code: str) -> Content:
        references = [r for r in element.types if r.code == code]
        targets = _targets(_merged(references)) if references else ()
        content = Content(
            code,
            element.path,
            datatype=not element.children,
            fixed=element.fixed,
            pattern=element.pattern,
            bound=_bound(element.binding, self.lookup),
            max_length=element.max_length,
            min_value=element.min_value,
            max_value=element.max_value,
            targets=targets,
            target_types=_target_types(targets, self.lookup),
            profiles=tuple(profile for r in references for profile in r.profiles),
        )
        content.needs_code = element.path == "CodeableConcept.coding"
        if code == "Coding" and content.bound is None and not content.needs_code:
            content.rules.append(invariants.ABSOLUTE_CODED)
        self._rules(content, element.constraints)
        if element.children:
            self.contents[element.id] = content
            self._fill(content, element)
        return content

    def _rules(self, content: Content, constraints: tuple[Constraint, ...]) -> None:
        for constraint in constraints:
            invariants.add(content, constraint)


class _OverlayCompiler:
    def __init__(self, structure: Structure, lookup: Lookup) -> None:
        self.structure = structure
        self.lookup = lookup

    def content(self, element: Element, reference: TypeRef, base: Content) -> Content:
        """What `element` requires of a value of that type beyond `base`."""
        own = self.lookup.type_model(reference.code) if base.datatype or reference.code != base.type else None
        detailed = own.content if own is not None else base
        content = Content(
            reference.code,
            element.path,
            fixed=element.fixed if element.fixed != base.fixed else ABSENT,
            pattern=element.pattern if element.pattern != base.pattern else ABSENT,
            max_length=element.max_length if element.max_length != base.max_length else MANY,
            min_value=element.min_value if element.min_value != base.min_value else ABSENT,
            max_value=element.max_value if element.max_value != base.max_value else ABSENT,
            aggregation=reference.aggregation,
        )
        bound = _bound(element.binding, self.lookup)
        if bound is not None and (
            base.bound is None
            or base.bound.value_set != bound.value_set
            or base.bound.strength != bound.strength
        ):
            content.bound = bound
        targets = _targets(reference)
        if set(targets) != set(base.targets):
            content.targets = targets
            content.target_types = _target_types(targets, self.lookup)
        # An extension is always checked against the definition that its url names.
        if reference.code != "Extension" and set(reference.profiles) != set(base.profiles):
            content.profiles = reference.profiles
        known = {
            (c.key, c.expression)
            for part in (base, detailed)
            for c in (*(rule.constraint for rule in part.rules), *part.unchecked)
        }
        # A later publisher may reword a rule of the base (dom-3, ref-1); the profile still inherits it.
        inherited = {key for key, _ in known} & invariants.NATIVE.keys()
        for constraint in element.constraints:
            if (constraint.key, constraint.expression) not in known and constraint.key not in inherited:
                invariants.add(content, constraint)
        for child in element.children.values():
            self._child(content, child, detailed)
        return content

    def _child(self, content: Content, child: Element, base: Content) -> None:
        if child.name == "id":
            # Snapshots call a resource's id a string; profiles have nothing to add to it.
            return
        field = base.fields.get(child.name)
        if field is not None:
            overlay = self._field(child, field)
        elif child.name in base.keys:
            # A snapshot may name a choice by its type: Observation.valueQuantity.
            choice, code = base.keys[child.name]
            narrowed = Field(
                choice.name, choice.path, ((child.name, code),), choice.array, by_type=choice.by_type
            )
            overlay = self._field(child, narrowed)
        elif child.name == "extension" and base.type in PRIMITIVES:
            element = self.lookup.type_model("Element")
            if element is None:
                return
            overlay = self._field(child, element.content.fields["extension"])
        else:
            return
        if not overlay.trivial:
            content.fields[child.name] = overlay

    def _field(self, element: Element, base: Field, *, whole: bool = True) -> Field:
        """What `element` requires of a member.

        whole: False for a slice, whose counts are independent of the element's
        """
        field = Field(
            base.name,
            element.path,
            base.keys,
            base.array,
            min=element.min if not whole or element.min > base.min else 0,
            max=element.max if element.max < base.max else MANY,
            choice=base.choice,
            modifier=base.modifier,
            stated=(element.min, element.max),
        )
        if element.content:
            # What the element repeats is what the type's definition has there, not what a profile adds to it.
            return field
        codes = _codes(element)
        base_codes = {code for _, code in base.keys}
        if codes and not base_codes <= set(codes) and "Resource" not in codes:
            field.allowed = frozenset(codes)
        for code in codes:
            reference = _merged([r for r in element.types if r.code == code])
            below = base.by_type.get(code) or Content(code, base.path, datatype=True)
            content = self.content(element, reference, below)
            if not content.trivial:
                field.by_type[code] = content
        if element.slices:
            field.slices = tuple(self._slice(element, part, base) for part in element.slices)
            if element.slicing is not None:
                field.rules, field.ordered = element.slicing.rules, element.slicing.ordered
        return field

    def _slice(self, sliced: Element, part: Element, base: Field) -> Slice:
        return Slice(
            part.slice_name or part.id.rpartition(":")[2],
            matcher(sliced, part, self.lookup),
            self._field(part, base, whole=False),
            url_of(sliced, part, self.lookup),
            is_certain(sliced, part, self.lookup),
        )


def _merged(references: list[TypeRef]) -> TypeRef:
    """Merge several entries for one type code: any of their profiles, any of their targets."""
    return TypeRef(
        references[0].code,
        tuple(profile for r in references for profile in r.profiles),
        tuple(target for r in references for target in r.targets),
        tuple(way for r in references for way in r.aggregation),
    )
