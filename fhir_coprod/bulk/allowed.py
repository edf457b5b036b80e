"""Who may take things out or bring things in as a whole. One place, so that it can become narrower."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from fhir_coprod.access.rights import Kind, Rights
from fhir_coprod.errors import NotAllowed

_EXPORT, _IMPORT = "rs", "cu"


def is_whole(rights: Rights, actions: str, type: str) -> bool:
    """Whether all resources of a type are open to a program: by `system/` scopes without criteria."""
    return all(
        any(
            scope.context == "system" and not scope.criteria and scope.allows(action, type)
            for scope in rights.scopes
        )
        for action in actions
    )


def exportable(rights: Rights, types: Iterable[str]) -> tuple[str, ...]:
    """Those of the types that the caller may export: what is exported has to be open as a whole."""
    return tuple(type for type in types if is_whole(rights, _EXPORT, type))


def require_any(types: Iterable[str]) -> None:
    """Raise NotAllowed if nothing is open to the caller: an empty export would take the place of another."""
    if not tuple(types):
        raise NotAllowed(
            f"An export holds types that are open as a whole, by a scope such as system/Task.{_EXPORT}"
            " without search parameters in it; you have none."
        )


def require_export(rights: Rights, types: Iterable[str], scope: str) -> None:
    """Raise NotAllowed unless the caller may export all these types.

    scope: of the export: "", Patient or Group; for the members of a Group it takes both of these types
    """
    also = {"Patient": ("Patient",), "Group": ("Group", "Patient")}.get(scope, ())
    for type in dict.fromkeys((*also, *types)):
        if not is_whole(rights, _EXPORT, type):
            raise NotAllowed(
                f"To export {type} takes the scope system/{type}.{_EXPORT}, without search parameters in it;"
                " leave the type out of _type, or ask for a token with that scope."
            )


def require_import(rights: Rights) -> None:
    """Raise NotAllowed unless the caller may bring in whatever there is."""
    if not is_whole(rights, _IMPORT, "*"):
        raise NotAllowed(
            f"$import takes the scope system/*.{_IMPORT}, as its lines may be of any type; ask for a token"
            " with that scope, or write resource by resource."
        )


def owner(rights: Rights) -> str:
    """The caller as it is kept with an export: only the same one may ask for it again."""
    return f"{rights.kind}:{rights.name}"


def asked_by(owner: str) -> Rights:
    """Who it was, for the audit: without any scope, whatever they had then."""
    kind, _, name = owner.partition(":")
    kinds: tuple[Kind, ...] = get_args(Kind)
    return Rights(next((each for each in kinds if each == kind), "program"), name)
