"""Rules for writes beyond validity: what is read-only, and how the status of a referral's Task may move.

`writing.apply` checks them inside the write transaction, where the previous state is known. Records that
arrive by sync are not checked: a department decides what its own record says of its Tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from fhir_coprod import definitions
from fhir_coprod.errors import InvalidResource, NotAllowed
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.readable import readable
from fhir_coprod.store import Transaction, Version
from fhir_coprod.watch.record.around import Surroundings
from fhir_coprod.watch.record.fhir import targets, task_request
from fhir_coprod.watch.record.tasks import asks

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
"""The statuses that a referral's Task may move to from each; from on-hold it goes back to where it was.

The owner moves it; either side may cancel before work has begun. Without authentication nobody knows who is
calling, so both sides' moves are open to everybody.
"""
ALWAYS: Final = "entered-in-error"
"""A record can be marked as wrong at any time."""
_HELD: Final = ("received", "accepted", "in-progress")
"""Where a Task may go from on-hold if its earlier status is not known."""


@cache
def package_ids() -> frozenset[tuple[str, str]]:
    """Type and id of the conformance resources that belong to this program."""
    return frozenset((resource["resourceType"], resource["id"]) for resource in definitions.own_resources())


def protect(type: str, id: str) -> None:
    """Raise NotAllowed for a resource that clients may read but not change."""
    if (type, id) in package_ids():
        raise NotAllowed(
            f"{type}/{id} belongs to this program and is read-only; store your own under another id."
        )


def check_transition(transaction: Transaction, before: Version | None, after: Document) -> None:
    """Raise InvalidResource if the status of a referral's Task makes a move that is not allowed."""
    if before is None or before.type != "Task" or not _asks_a_department(transaction, before.data):
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


def _asks_a_department(transaction: Transaction, task: Json) -> bool:
    """Whether it asks a department to take a referral on, by the same question that the watch asks."""
    around = Surroundings()
    task = readable(task).data
    for name in task_request(task):
        type, _, id = name.partition("/")
        if type == "ServiceRequest" and id:
            order = transaction.get(type, id)
            held = readable(order.data).data if order and not order.deleted else {}
            performers = held.get("performer") or ()
            if asks(task, targets(performers), around):
                return True
    return False


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
