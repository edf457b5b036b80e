"""Keeps writes within the rights of their caller, inside their transaction.

What a limited caller changes or deletes has to be in sight before, else it is as if it were not there; so an
update creates nothing under an id of the caller's choice. What is stored has to be in sight after, by the
same query that would find it. And a referral may name only a patient and an order that were in sight before,
or that come with it: otherwise whoever knows the id of a patient could open the record by a referral. No
other record names a further patient who was not in sight either, or it would be a part of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from fhir_coprod.access.admission import LETTERS, allows, allows_all
from fhir_coprod.access.rights import ALL_DEPARTMENTS, EVERYTHING, Rights
from fhir_coprod.access.scopes import Scope
from fhir_coprod.access.sight import sight, sight_on
from fhir_coprod.errors import NotAllowed, NotFound
from fhir_coprod.jsontext import Document
from fhir_coprod.store import Store, Transaction, Version, index, relations


class Planned(Protocol):
    """A write that is not yet done; see `writing.PlannedWrite`."""

    is_hidden: bool

    @property
    def kind(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def rights(self) -> Rights: ...


class Result(Protocol):
    """What a write has done; see `writing.Done`."""

    @property
    def version(self) -> Version | None: ...
    @property
    def change(self) -> str: ...


def before(transaction: Transaction, changes: Iterable[Planned]) -> None:
    """Note which of the resources to be changed are not in sight; before the first write."""
    for change in changes:
        limit = sight_on(change.rights, LETTERS[change.kind], change.type)
        if limit is None or change.kind == "create" or not change.id:
            continue
        name = f"{change.type}/{change.id}"
        change.is_hidden = name not in transaction.seen(limit, (name,))


def refuse_new(change: Planned) -> None:
    """Raise an error if this update, which finds nothing to change, may not create anything.

    An answer to whoever is limited does not tell whether something is there.
    """
    if change.rights is EVERYTHING:
        return
    if change.id and sight_on(change.rights, "u", change.type) is not None:
        raise NotFound(f"There is no {change.type}/{change.id}.")
    if not allows(change.rights, "c", change.type):
        raise NotAllowed(
            f"There is none yet, and none of your scopes lets you create {change.type}; ask for"
            f" {change.rights.scopes[0].context}/{change.type}.c."
        )


def refuse_unpacking(change: Planned, document: Document) -> None:
    """Raise NotAllowed unless the caller may store each entry of a message or document by itself."""
    if change.rights is EVERYTHING or document.type != "Bundle":
        return
    entries = document.data.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        held = entry.get("resource") if isinstance(entry, dict) else None
        type = held.get("resourceType") if isinstance(held, dict) else None
        if isinstance(type, str) and not all(allows_all(change.rights, each, type) for each in "cu"):
            raise NotAllowed(
                f"This Bundle brings a {type[:64]}, and none of your scopes lets you create and update any;"
                f" ask for system/{type[:64]}.cu."
            )


def after(transaction: Transaction, store: Store, done: Sequence[tuple[Planned, Result]]) -> None:
    """Raise NotAllowed, so that nothing remains, unless all that was stored is in sight."""
    stored = [
        (change, result.version, "c" if result.change == "created" else "u")
        for change, result in done
        if change.rights is not EVERYTHING and result.version and result.change in ("created", "updated")
    ]
    if not stored:
        return
    rights = stored[0][0].rights
    new = {version.reference for _, version, letter in stored if letter == "c"}
    for letter in "cu":
        limit = sight(rights, letter)
        names = [version.reference for _, version, its in stored if its == letter]
        if limit is not None and names and len(transaction.seen(limit, names)) < len(names):
            raise NotAllowed(_NOT_YOURS)
    if _is_of_some(rights):
        named = {name for _, version, _ in stored for name in _named(version)}
        named |= {
            name for _, version, _ in stored for name in _patients(version) - _before(transaction, version)
        }
        named -= new
        if named and len(store.seen(sight(_reading(rights), "r"), named)) < len(named):
            raise NotAllowed(_NOT_YOURS)


_NOT_YOURS = (
    "What you send is not within what you may write: it has to be about your own patient, or a referral that"
    " your department sends or receives, for a patient whom it knows or who comes with it."
)


def _is_of_some(rights: Rights) -> bool:
    """Whether they reach only what is of some departments, or of one patient."""
    context = rights.scopes[0].context
    return context == "patient" or (context == "user" and ALL_DEPARTMENTS not in rights.departments)


def _reading(rights: Rights) -> Rights:
    """The same reach, whatever the scopes: what one may name need not be read by the same program. What is
    seen through a broken glass opens nothing for later."""
    return replace(rights, scopes=(Scope(rights.scopes[0].context, "*", "r"),), glass="")


def _patients(version: Version) -> set[str]:
    """All patients that a record names anywhere: whoever is the performer of an Observation about somebody
    else would else write into that record."""
    if version.deleted:
        return set()
    found = index.rows(version.type, version.data, is_sound=False)["reference"]
    return {f"Patient/{id}" for _, id, type in found if type == "Patient"}


def _before(transaction: Transaction, version: Version) -> set[str]:
    """Those that the version before named: they may stay, whoever changes the rest."""
    if version.version == 1:
        return set()
    versions = transaction.history(version.type, version.id)
    return next((_patients(one) for one in versions if one.version < version.version), set())


def _named(version: Version) -> Iterable[str]:
    """The patients and orders that a referral would open."""
    if version.type not in relations.KEPT:
        return
    params = relations.looked_at(version.type)
    for param, id, type in index.rows(version.type, version.data, is_sound=False)["reference"]:
        if param in params and type in ("Patient", "ServiceRequest"):
            yield f"{type}/{id}"
