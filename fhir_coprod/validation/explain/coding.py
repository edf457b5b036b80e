"""Explains what is wrong with a coded value: outside its value set, or not a code of its system.

A code is wrong only where the list is closed, by a required binding or by the version that the coding names.
Code systems grow, so anywhere else a code that is not held here is only told.
"""

from __future__ import annotations

from fhir_coprod.validation.explain import wording
from fhir_coprod.validation.explain.findings import Findings
from fhir_coprod.validation.explain.item import Item
from fhir_coprod.validation.model import codes
from fhir_coprod.validation.model.content import Bound


def explain_binding(found: Findings, bound: Bound, item: Item) -> None:
    """Report a value outside the value set of its place."""
    if item.value is None:
        return
    if not bound.codes.known and bound.strength == "required":
        message = f"Codes could not be checked: the value set {bound.value_set} is not held here."
        found.report("information", "not-supported", item.at, message)
    answer = bound.allows(item.value, item.type)
    if answer is True:
        return
    what = wording.coded(item.value)
    if answer is False and bound.strength == "required":
        message = f"{what} is not in the required value set {bound.value_set}; use a code from it."
        found.error("code-invalid", item.at, message)
    elif answer is False:
        message = (
            f"{what} is outside everything that {bound.value_set} may be extended to; use a code from it."
        )
        found.error("code-invalid", item.at, message)
    else:
        message = f"{what} is not in the value set {bound.value_set}; use one of its codes if one fits."
        found.report("warning", "code-invalid", item.at, message)


def explain_code(found: Findings, item: Item) -> None:
    """Report a code that its own code system does not have, as far as the system is held here."""
    missing = codes.missing(item.value)
    if missing is None:
        return
    what, version = wording.coded(item.value), wording.short(missing.version)
    if missing.named:
        message = f"{what} is not in version {version}, which the coding names; correct one of them."
        found.error("code-invalid", item.at, message)
        return
    where = f"version {version}, which is held here" if version else "the system as it is known here"
    message = f"{what} is not in {where}; correct it unless a later version has it."
    found.report("warning", "code-invalid", item.at, message)


def explain_missing_code(found: Findings, item: Item) -> None:
    """Report a coding that has no code although its code system is held in full."""
    if isinstance(item.value, dict) and codes.lacks_code(item.value):
        system = wording.short(item.value["system"])
        message = f"The coding names {system} and none of its codes; add the code, or leave it out."
        found.report("warning", "code-invalid", item.at, message)
