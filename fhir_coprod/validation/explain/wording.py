"""Words for messages: shows names and values of definitions safely, and never personal data."""

from __future__ import annotations

from fhir_coprod import jsontext
from fhir_coprod.validation.model.content import Field
from fhir_coprod.validation.model.structure import MANY


def cardinality(field: Field) -> str:
    """Such as 1..*, as the definition states it."""
    low, high = field.stated or (field.min, field.max)
    return f"{low}..{'*' if high == MANY else high}"


def member(field: Field) -> str:
    """What a member is called in JSON: a choice by its types."""
    if not field.choice:
        return f"`{field.name}`"
    allowed = [key for key, code in field.keys if field.allowed is None or code in field.allowed]
    return choice([f"`{key}`" for key in allowed])


def slice_of(field: Field, name: str) -> str:
    """What a slice is called; one for a type of a choice by the name that JSON has, such as `startDate`."""
    if field.choice and any(name == key for key, _ in field.keys):
        return f"`{name}`"
    return f"The slice `{name}` of `{field.name}`"


def short(text: str) -> str:
    """A name or URL, shortened for a message."""
    cleaned = text[:120]
    if not cleaned.isprintable():
        cleaned = "".join(c if c.isprintable() else "?" for c in cleaned)
    return cleaned + ("…" if len(text) > 120 else "")


def stated(value: object) -> str:
    """A value that a definition states."""
    return short(jsontext.encode(value).decode())


def coded(value: object) -> str:
    """A coded value as code and system."""
    if isinstance(value, str):
        return f"The code {short(value)!r}"
    if isinstance(value, dict):
        codings = value.get("coding", [value])
        for coding in codings if isinstance(codings, list) else ():
            if isinstance(coding, dict) and isinstance(coding.get("code"), str):
                system = coding.get("system")
                where = f" of {short(system)}" if isinstance(system, str) else " without a system"
                return f"The code {short(coding['code'])!r}{where}"
    return "A value without a code"


_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def kind(value: object) -> str:
    """What kind of JSON value it is."""
    return _KINDS.get(type(value), "something else")


def choice(names: list[str]) -> str:
    """Names joined with "or"."""
    shown = [short(name) for name in names[:8]]
    if len(names) > 8:
        shown.append(f"{len(names) - 8} others")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}" if shown else "nothing"
