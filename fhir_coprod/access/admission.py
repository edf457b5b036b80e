"""Which scope an interaction takes. Only who has none for it is refused; all else is a matter of sight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_coprod.access.rights import EVERYTHING, Rights
from fhir_coprod.errors import NotAllowed

LETTERS: Final[Mapping[str, str]] = {
    "read": "r",
    "vread": "r",
    "history-instance": "r",
    "history-type": "s",
    "history-system": "s",
    "search-type": "s",
    "search-system": "s",
    "create": "c",
    "update": "u",
    "patch": "ru",  # its answer shows the record, and its tests ask what is in it
    "delete": "d",
    "$everything": "r",
    "$standing": "r",
}
"""The actions out of `cruds` that an interaction takes, each on its own type."""
OTHERWISE: Final = frozenset(
    {
        *("capabilities", "unknown", "$validate"),  # shows nothing of the store by itself
        "transaction",  # a Bundle is its entries, each by its own right
        *("async-status", "async-cancel"),  # an answer that comes later is its caller's alone
        # Whole types and files: `bulk/allowed.py` asks for more than a letter, each time.
        *("$export", "export-status", "export-cancel", "export-file"),
        *("$import", "import-status", "import-cancel", "import-file"),
    }
)
"""Interactions whose rights are asked elsewhere. What is neither here nor in `LETTERS` is nobody's."""
STANDING: Final = (
    *("ServiceRequest", "Task", "Appointment", "Encounter"),
    *("DiagnosticReport", "DocumentReference", "Communication"),
)
"""What the watch reads of a referral: only who reads all of these is told where it stands."""
_WORDS: Final = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}
UNCHANGEABLE: Final = frozenset({"AuditEvent"})
"""Types that nobody creates, changes or deletes by an interaction."""


def demand(rights: Rights, interaction: str, type: str, *, is_conditional: bool = False) -> None:
    """Raise NotAllowed, with the scope that is missing, if no scope has this interaction on this type.

    type: "" or "*" for any
    is_conditional: whether the write looks for its resource by criteria, which is a search as well
    """
    if rights is EVERYTHING:
        return
    if interaction == "$standing" and any(scope.context == "patient" for scope in rights.scopes):
        raise NotAllowed("$standing is for the staff: it tells what the patient has not been told yet.")
    if interaction == "$standing":
        _demand_whole_record(rights)
    letters = LETTERS.get(interaction)
    if letters is None:
        if interaction not in OTHERWISE:
            raise NotAllowed(f"No scope reaches {interaction}.")
        letters = ""
    if type in UNCHANGEABLE and set(letters) & set("cud"):
        raise NotAllowed(f"{type} is written by this server alone; it can be read and searched.")
    if rights.kind == "proxy" and set(letters) & set("cud"):
        raise NotAllowed("Who speaks for a patient reads the record, and writes nothing into it.")
    for letter in letters + ("s" if is_conditional else ""):
        if not allows(rights, letter, type):
            context = rights.scopes[0].context if rights.scopes else "user"
            name = type.strip("*") or "*"
            raise NotAllowed(
                f"None of your scopes lets you {_WORDS[letter]} {name if name != '*' else 'anything'}; ask"
                f" for {context}/{name}.{letter}."
            )


def _demand_whole_record(rights: Rights) -> None:
    """Raise NotAllowed unless the caller reads all that a standing is made of: it tells what is in it."""
    for type in STANDING:
        if not any(scope.allows("r", type) and not scope.criteria for scope in rights.scopes):
            context = rights.scopes[0].context if rights.scopes else "user"
            raise NotAllowed(
                f"$standing tells what {', '.join(STANDING)} say, and none of your scopes lets you read"
                f" any {type}; ask for {context}/{type}.r."
            )


def allows(rights: Rights, letter: str, type: str) -> bool:
    """Whether some scope has this action on this type, or on any with "" or "*"."""
    if type in ("", "*"):
        return any(letter in scope.actions for scope in rights.scopes)
    return any(scope.allows(letter, type) for scope in rights.scopes)


def allows_all(rights: Rights, letter: str, type: str) -> bool:
    """Whether some scope has this action on every resource of a type: of `system/`, and without criteria."""
    return any(
        scope.context == "system" and not scope.criteria and scope.allows(letter, type)
        for scope in rights.scopes
    )
