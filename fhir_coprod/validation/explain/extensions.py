"""The explaining tier for extensions: checks their form and the definition that their url names."""

from __future__ import annotations

import re
from typing import Final, Protocol

from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import Severity
from fhir_coprod.validation.explain import wording
from fhir_coprod.validation.explain.item import Item
from fhir_coprod.validation.fhirpath import (
    FhirPathError,
    Undecided,
    UnsupportedFhirPath,
    compile_invariant,
    compile_typed,
)
from fhir_coprod.validation.model.content import Content, Model
from fhir_coprod.validation.model.library import FHIR, Library
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import PRIMITIVES

_UNDECIDED = (FhirPathError, UnsupportedFhirPath, Undecided)
"""What FHIRPath raises when it has no answer: for the data, for the expression, or in the time there is."""

UNKNOWN: Final = "extension"
"""The code of the remark on an extension that is not known here."""
_MAY_BE_DEFINED: Final = re.compile(r"https?://(hl7\.org/fhir/|([^/]+\.)?example\.(org|com|net)/)")
"""Of these nobody here can say that they are wrong, so their code is another: HL7 goes on defining new ones,
and the others stand in examples (RFC 2606, 3)."""


class Reporter(Protocol):
    """The part of the walk that extensions need."""

    library: Library

    def report(self, severity: Severity, code: str, at: str, message: str) -> None: ...

    def error(self, code: str, at: str, message: str) -> None: ...

    def content(self, content: Content, item: Item, scope: Scope, *, strict: bool) -> None: ...


def has_value(extension: Json) -> bool:
    """Whether an extension has a value[x], or extensions in place of a primitive value."""
    return any(key.startswith(("value", "_value")) for key in extension)


def is_relative(extension: object) -> bool:
    """Whether an extension's url is the name of a part of another."""
    url = extension.get("url") if isinstance(extension, dict) else None
    return isinstance(url, str) and ":" not in url


def explain_extension(reporter: Reporter, item: Item, scope: Scope) -> None:
    """Check an extension's form, and check it against the definition that its url names."""
    value = item.value
    if not isinstance(value, dict):
        return
    if has_value(value) == ("extension" in value):
        message = (
            "An extension has either a value or extensions of its own, not both and not neither. (ext-1)"
        )
        reporter.error("invariant", item.at, message)
    url = value.get("url")
    if not isinstance(url, str) or not url:
        return
    model = reporter.library.profile_model(url)
    inside = item.owner is not None and item.owner.type == "Extension"
    modifier = item.field is not None and item.field.name == "modifierExtension"
    if ":" not in url:
        if not inside:
            reporter.error(
                "extension", item.at, "The url of an extension must be absolute; give the whole URL."
            )
    elif model is None or model.type != "Extension":
        _unknown(reporter, url, item, modifier)
    else:
        _defined(reporter, model, item, scope, modifier)


def _unknown(reporter: Reporter, url: str, item: Item, modifier: bool) -> None:
    if modifier:
        message = (
            f"The modifier extension {wording.short(url)} is not known here, so the record may not be "
            "understood; remove it or load its definition."
        )
        reporter.error("extension", item.at, message)
    else:
        message = f"The extension {wording.short(url)} is not known here."
        code = "informational" if _MAY_BE_DEFINED.match(url) else UNKNOWN
        reporter.report("information", code, item.at, message)


def _defined(reporter: Reporter, model: Model, item: Item, scope: Scope, modifier: bool) -> None:
    if modifier and not model.modifier:
        message = f"{model.title} does not change the meaning; move it to `extension`."
        reporter.error("extension", item.at, message)
    elif model.modifier and not modifier:
        message = f"{model.title} changes the meaning; move it to `modifierExtension`."
        reporter.error("extension", item.at, message)
    if item.owner is not None:
        _in_context(reporter, model, item, item.owner, scope)
    reporter.content(model.content, item, scope, strict=False)


def _in_context(reporter: Reporter, model: Model, item: Item, owner: Item, scope: Scope) -> None:
    """Report an extension whose definition does not allow it on that value: StructureDefinition.context."""
    found = [is_in_context(reporter.library, kind, at, owner, scope) for kind, at in model.contexts]
    if found and True not in found:
        places = wording.choice([expression for _, expression in model.contexts])
        if None in found:
            message = f"Whether {model.title} may stand here was not checked; it belongs to {places}."
            reporter.report("information", "not-supported", item.at, message)
        else:
            reporter.error("extension", item.at, f"{model.title} may not stand here; it belongs to {places}.")
    for rule in model.context_rules:
        holds = context_rule_holds(rule, owner, scope)
        if holds is None:
            message = f"The rule of {model.title} about where it may stand was not checked: {rule}"
            reporter.report("information", "not-supported", item.at, message)
        elif not holds:
            message = f"{model.title} may stand only where this holds: {wording.short(rule)}"
            reporter.error("extension", item.at, message)


def is_in_context(library: Library, kind: str, where: str, owner: Item, scope: Scope) -> bool | None:
    """Whether the value is of that context; None when that cannot be decided."""
    if kind == "extension":
        return where in (_url(owner), _url(owner.owner) if _is_value(owner) else None)
    if kind == "fhirpath":
        return _is_found(where, owner, scope)
    # Later guides write a profile's elements as canonical#path.
    named = where.rpartition("#")[2].removeprefix(FHIR).replace("[x]", "")
    return (
        named in ("Element", "*") or named in library.ancestors(owner.type) or named in _paths(library, owner)
    )


def _url(item: Item | None) -> object:
    return item.value.get("url") if item is not None and isinstance(item.value, dict) else None


def _is_value(item: Item) -> bool:
    """Whether it is the value of an extension, which HL7's validator counts as the extension, too."""
    return item.field is not None and item.field.name == "value"


def _paths(library: Library, owner: Item) -> set[str]:
    """The element paths that name a value: Patient.text is also DomainResource.text."""
    paths = owner.paths()
    if owner.owner is not None and owner.field is not None:
        paths |= {f"{type_}.{owner.field.name}" for type_ in library.ancestors(owner.owner.type)}
    return paths


def _is_found(path: str, owner: Item, scope: Scope) -> bool | None:
    """Whether a FHIRPath of the resource leads to the value. A primitive is known by its type and value."""
    if path not in scope.found:
        scope.found[path] = _found(path, scope.resource)
    found = scope.found[path]
    if found is None:
        return None
    return (owner.type, owner.beside) in found if owner.type in PRIMITIVES else id(owner.value) in found


def _found(path: str, resource: Json) -> frozenset[object] | None:
    """The objects where a path leads, by identity, and the primitives, by type and value; None: undecided."""
    try:
        values = compile_typed(path, str(resource.get("resourceType")))(resource)
    except _UNDECIDED:
        return None
    return frozenset(id(value) if isinstance(value, dict) else (type_, value) for type_, value in values)


def context_rule_holds(rule: str, owner: Item, scope: Scope) -> bool | None:
    """Whether a rule of StructureDefinition.contextInvariant holds of an extension's owner; None when that
    cannot be decided.
    """
    base = owner.type
    if base in ("BackboneElement", "Element") and owner.field is not None:
        base = owner.field.path.replace("[x]", "")
    try:
        test = compile_invariant(rule, base)
        if owner.type in PRIMITIVES:
            below = owner.value if isinstance(owner.value, dict) else None
            return test(owner.beside, scope.environment, below)
        return test(owner.value, scope.environment)
    except _UNDECIDED:
        return None
