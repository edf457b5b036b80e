"""The explaining tier for extensions: checks their form and the definition that their url names."""

from __future__ import annotations

from typing import Protocol

from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import Severity
from fhir_coprod.validation.explain import wording
from fhir_coprod.validation.explain.item import Item
from fhir_coprod.validation.model.content import Content, Model
from fhir_coprod.validation.model.library import Library
from fhir_coprod.validation.model.scope import Scope


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
        reporter.report("information", "extension", item.at, message)


def _defined(reporter: Reporter, model: Model, item: Item, scope: Scope, modifier: bool) -> None:
    if modifier and not model.modifier:
        message = f"{model.title} does not change the meaning; move it to `extension`."
        reporter.error("extension", item.at, message)
    elif model.modifier and not modifier:
        message = f"{model.title} changes the meaning; move it to `modifierExtension`."
        reporter.error("extension", item.at, message)
    if item.owner is not None and not _allows_context(reporter.library, model, item.owner):
        places = wording.choice([expression for _, expression in model.contexts])
        reporter.error("extension", item.at, f"{model.title} may not stand here; it belongs to {places}.")
    reporter.content(model.content, item, scope, strict=False)


def _allows_context(library: Library, model: Model, owner: Item) -> bool:
    """Whether the extension is allowed on that value, by StructureDefinition.context."""
    return not model.contexts or any(_is_in_context(library, kind, at, owner) for kind, at in model.contexts)


def _is_in_context(library: Library, kind: str, where: str, owner: Item) -> bool:
    if kind == "extension":
        return isinstance(owner.value, dict) and owner.value.get("url") == where
    if kind != "element":
        return True
    # Later guides write a profile's elements as canonical#path.
    named = where.rpartition("#")[2].replace("[x]", "")
    return named in ("Element", "*") or named in library.ancestors(owner.type) or named in owner.paths()
