"""What a client may change through the endpoint, beyond validity.

`writing.apply` asks here inside the write transaction, where the state before is known. What
arrives by sync does not come this way: a department's own record may say of its Tasks what it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from fhir_coprod import definitions
from fhir_coprod.errors import InvalidResource, NotAllowed
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store import Transaction, Version
from fhir_coprod.watch.record.fhir import is_referral_task, target

NEXT: Final[Mapping[str, tuple[str, ...]]] = {
    "draft": ("requested", "cancelled"),
    "requested": ("received", "accepted", "rejected", "cancelled"),
    "received": ("accepted", "rejected", "on-hold", "cancelled"),
    "accepted": ("in-progress", "rejected", "on-hold", "cancelled"),
    "ready": ("in-progress", "rejected", "on-hold", "cancelled"),
    "in-progress": ("completed", "failed", "on-hold"),
    "rejected": (),
    "cancelled": (),
    "completed": (),
    "failed": (),
    "entered-in-error": (),
}
"""Where the status of a referral's Task may go from each. Of on-hold: back to where it was.

The owner moves it, either side cancels before work has begun. Who is calling is not known without
authentication, so both sides' moves are open to everybody.
"""
ALWAYS: Final = "entered-in-error"
"""That a record was wrong can be said at any time."""
_HELD: Final = ("received", "accepted", "in-progress")
"""Where a hold may begin, for a Task of which nothing earlier is known."""


@cache
def package_ids() -> frozenset[tuple[str, str]]:
    """Type and id of the conformance resources that belong to this program."""
    return frozenset((resource["resourceType"], resource["id"]) for resource in definitions.own_resources())


def protect(type: str, id: str) -> None:
    """Raise NotAllowed for what clients may read but not change."""
    if (type, id) in package_ids():
        raise NotAllowed(
            f"{type}/{id} belongs to this program and is read-only; store your own under another id."
        )


def check_transition(transaction: Transaction, before: Version | None, after: Document) -> None:
    """Raise InvalidResource where the status of a referral's Task goes a way that is not open to it."""
    if before is None or before.type != "Task" or not _asks_a_department(before.data):
        return
    old, new = before.data.get("status"), after.data.get("status")
    if old == new or new == ALWAYS or not isinstance(old, str):
        return
    allowed = _where_it_was(transaction, before) if old == "on-hold" else NEXT.get(old, ())
    if new not in allowed:
        raise InvalidResource(
            f"A referral's Task that is {old} cannot become {str(new)[:32]}; {_advice(allowed)}.",
            expression="Task.status",
        )


def _asks_a_department(task: Json) -> bool:
    return is_referral_task(task) and target(task.get("focus")).startswith("ServiceRequest/")


def _where_it_was(transaction: Transaction, held: Version) -> tuple[str, ...]:
    for version in transaction.history(held.type, held.id):
        status = ALWAYS if version.deleted else str(version.data.get("status"))
        if status == ALWAYS:
            break
        if status != "on-hold":
            return (status,)
    return _HELD


def _advice(allowed: tuple[str, ...]) -> str:
    if not allowed:
        return f"it is closed: send a new Task, or mark this one {ALWAYS}"
    return f"it may become {', '.join(allowed)} or {ALWAYS}"
