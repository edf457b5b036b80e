"""Tells what belongs to a referral itself from what belongs to referrals that are based on it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from fhir_coprod.alike import is_proposal
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.record.around import Held
from fhir_coprod.watch.record.fhir import message_about, names, own_names, task_request

Child = tuple[Held, list[Held]]
"""A ServiceRequest based on another one, and all that belongs to it."""
_DEEPEST = 6


def parted(request: Held, related: Sequence[Held]) -> tuple[list[Held], list[Child]]:
    """The related resources that are the referral's own, and those of each ServiceRequest based on it."""
    based = [held for held in related if held.type == "ServiceRequest"]
    if not based:
        return list(related), []
    mine = frozenset(own_names(request.data, request.reference))
    children = [
        held
        for held in based
        if not mine.isdisjoint(names(held.data.get("basedOn"))) and held.data.get("status") not in _GONE
    ]
    if request.type != "ServiceRequest" or is_proposal(request.data):
        children = []  # the referral that answers a patient's request is no part of it
    owner = dict.fromkeys(mine, 0)
    for number, child in enumerate(children, 1):
        for name in own_names(child.data, child.reference):
            owner.setdefault(name, number)
    held_by: list[list[Held]] = [[] for _ in range(len(children) + 1)]
    left = [held for held in related if held not in children]
    for _ in range(_DEEPEST):
        still = []
        for held in left:
            whose = _owner(held.data, owner)
            if whose is None:
                whose = owner.get(held.reference)  # a Task's output names it
            if whose is None:
                still.append(held)
                continue
            held_by[whose].append(held)
            produced = names(output.get("valueReference") for output in held.data.get("output") or ())
            for name in (*own_names(held.data, held.reference), *produced):
                owner.setdefault(name, whose)
        if len(still) == len(left):
            break
        left = still
    # What names neither (a patient's wish, a document in a Task's output) is the referral's own.
    held_by[0] += [held for held in left if held.type != "ServiceRequest"]
    return held_by[0], list(zip(children, held_by[1:], strict=True))


_GONE = frozenset({"revoked", "entered-in-error", "draft"})


def _owner(data: Json, owner: dict[str, int]) -> int | None:
    """Which referral it names, by the elements that say most; None if it names none."""
    for said in (_first(data), _then(data)):
        whose = [owner[name] for name in said if name in owner]
        if whose:
            return max(whose) if data.get("resourceType") == "ServiceRequest" else min(whose)
    return None


def _first(data: Json) -> tuple[str, ...]:
    if data.get("resourceType") == "Task":
        return task_request(data)
    return names(data.get("basedOn"))


def _then(data: Json) -> tuple[str, ...]:
    kind = data.get("resourceType")
    if kind == "Task":
        return names([*(data.get("partOf") or ()), data.get("reasonReference") or {}])
    if kind == "Communication":
        return message_about(data)
    context = data.get("context")
    return names(
        chain(
            data.get("supportingInformation") or (),
            data.get("appointment") or () if kind == "Encounter" else (),
            [data["encounter"]] if kind == "DiagnosticReport" and "encounter" in data else (),
            (*(context.get("related") or ()), *(context.get("encounter") or ()))
            if isinstance(context, dict)
            else (),
        )
    )
