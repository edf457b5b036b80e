"""The explaining tier on extensions: in themselves, and against the definition that their url names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_coprod.jsontext import Json
from fhir_coprod.validation.explain import wording
from fhir_coprod.validation.explain.item import Item
from fhir_coprod.validation.model.content import Model
from fhir_coprod.validation.model.scope import Scope

if TYPE_CHECKING:
    from fhir_coprod.validation.explain.walk import Explainer


def has_value(extension: Json) -> bool:
    """Whether an extension has a value[x], or extensions in the place of a primitive one."""
    return any(key.startswith(("value", "_value")) for key in extension)


def is_relative(extension: object) -> bool:
    """Whether an extension's url is the name of a part of another."""
    url = extension.get("url") if isinstance(extension, dict) else None
    return isinstance(url, str) and ":" not in url


def explain_extension(explainer: Explainer, item: Item, scope: Scope) -> None:
    """An extension in itself, and against the definition that its url names."""
    value = item.value
    if not isinstance(value, dict):
        return
    if has_value(value) == ("extension" in value):
        message = (
            "An extension has either a value or extensions of its own, not both and not neither. (ext-1)"
        )
        explainer.error("invariant", item.at, message)
    url = value.get("url")
    if not isinstance(url, str) or not url:
        return
    model = explainer.library.profile_model(url)
    inside = item.owner is not None and item.owner.type == "Extension"
    modifier = item.field is not None and item.field.name == "modifierExtension"
    if ":" not in url:
        if not inside:
            explainer.error(
                "extension", item.at, "The url of an extension must be absolute; give the whole URL."
            )
    elif model is None or model.type != "Extension":
        _unknown(explainer, url, item, modifier)
    else:
        _defined(explainer, model, item, scope, modifier)


def _unknown(explainer: Explainer, url: str, item: Item, modifier: bool) -> None:
    if modifier:
        message = (
            f"The modifier extension {wording.short(url)} is not known here, so the record may not be "
            "understood; remove it or load its definition."
        )
        explainer.error("extension", item.at, message)
    else:
        message = f"The extension {wording.short(url)} is not known here."
        explainer.report("information", "extension", item.at, message)


def _defined(explainer: Explainer, model: Model, item: Item, scope: Scope, modifier: bool) -> None:
    if modifier and not model.modifier:
        message = f"{model.title} does not change the meaning; move it to `extension`."
        explainer.error("extension", item.at, message)
    elif model.modifier and not modifier:
        message = f"{model.title} changes the meaning; move it to `modifierExtension`."
        explainer.error("extension", item.at, message)
    if item.owner is not None and not explainer.library.allows_context(model, item.owner):
        places = wording.choice([expression for _, expression in model.contexts])
        explainer.error("extension", item.at, f"{model.title} may not stand here; it belongs to {places}.")
    explainer.content(model.content, item, scope, strict=False)
