"""Finds out for whom somebody in between wrote a referral: whoever asked for the one that it is based on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import Connection

from fhir_coprod import watched
from fhir_coprod.alike import is_proposal
from fhir_coprod.store import index
from fhir_coprod.watch.facts import queries
from fhir_coprod.watch.facts.newest import Newest, Row
from fhir_coprod.watch.record.around import Surroundings
from fhir_coprod.watch.record.fhir import batches, names, split, task_request
from fhir_coprod.watch.record.tasks import asks

_OVER: Final = frozenset({"completed", "revoked", "entered-in-error", "draft"})
_BELONGS: Final = tuple(
    index.number(type, code)
    for type, code in (
        ("Task", "focus"),
        ("Task", "based-on"),
        ("Encounter", "based-on"),
        ("DiagnosticReport", "based-on"),
        ("DocumentReference", "related"),
    )
)


def orders_above(connection: Connection, newest: Newest, roots: Collection[Row]) -> dict[int, list[Row]]:
    """The referrals that each root is based on, if any, with their Tasks, visits and results, by the root's
    key."""
    based = {root.key: names(root.data.get("basedOn")) for root in roots if root.type == "ServiceRequest"}
    wanted = {split(name) for found in based.values() for name in found if "|" not in name}
    if not wanted:
        return {}
    orders = {row.reference: row for row in newest.by_name(wanted) if row.type == "ServiceRequest"}
    keys: set[int] = set()
    for some in batches({row.id for row in orders.values()}, queries.AT_ONCE):
        values = {"params": _BELONGS, "ids": some, "types": ["ServiceRequest"]}
        keys |= {key for key, _, _ in connection.execute(queries.NAMING, values)}
    belonging: dict[str, list[Row]] = {}
    for row in newest.by_key(keys):
        related = (row.data.get("context") or {}).get("related")
        for name in (*task_request(row.data), *names(related)):
            belonging.setdefault(name, []).append(row)
    return {
        key: [row for name in found if name in orders for row in (orders[name], *belonging.get(name, ()))]
        for key, found in based.items()
        if not orders.keys().isdisjoint(found)
    }


def ordered_for(
    root: Row, own: Iterable[Row], above: Collection[Row], around: Surroundings
) -> tuple[str, ...]:
    """Who asked for the referral that this one helps to carry out: its author was asked for that one, and
    only passes it on. Whoever has seen the patient in it asks on their own account.

    own:   what belongs to the referral: a Task of its own that is a part of one above tells its author, too.
    above: see `orders_above`.
    """
    if not above:
        return ()
    authors = {*around.parties(root.data.get("requester"))}
    tasks = {row.reference for row in above if row.type == "Task"}
    for row in own:
        if row.type == "Task" and not tasks.isdisjoint(names(row.data.get("partOf"))):
            authors.update(around.parties(row.data.get("requester")))
    if any(_has_acted(row, authors, around) for row in above):
        return ()
    orders = {row.reference: row.data for row in above if row.type == "ServiceRequest"}
    found: dict[str, None] = {}
    for row in above:
        if row.type != "Task" or authors.isdisjoint(around.parties(row.data.get("owner"))):
            continue
        for order in (orders[name] for name in task_request(row.data) if name in orders):
            performers = around.parties(*(order.get("performer") or ()))
            live = order.get("status") not in _OVER and not is_proposal(order)
            if live and asks(row.data, performers, around):
                found |= dict.fromkeys(around.parties(order.get("requester")))
    return tuple(found)


def _has_acted(row: Row, authors: Iterable[str], around: Surroundings) -> bool:
    """Whether this is a visit or a result of theirs."""
    if row.type in ("ServiceRequest", "Task"):
        return False
    if row.data.get("status") in ("planned", "cancelled", "entered-in-error"):
        return False
    return not {*authors}.isdisjoint(around.parties(*watched.parties(row.data)))
