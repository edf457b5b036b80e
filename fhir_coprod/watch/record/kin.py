"""Says which of a patient's other orders a referral can depend on. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fhir_coprod.alike import FURTHEST_APART
from fhir_coprod.watch.record.model import NOT_ACTIVE, Request, Sibling

_FURTHEST_APART: Final = timedelta(days=FURTHEST_APART + 1)


def may_matter(sibling: Sibling, request: Request) -> bool:
    """Whether a referral can depend on another order of its patient, at any time and by any policy.

    The order replaces the referral, or answers the patient's request, or was written shortly before it for
    the same thing.

    What does not matter is not kept: some patients have thousands of orders.
    """
    if sibling.by_patient:
        return False
    if request.id in sibling.replaces:
        return True
    if request.by_patient and request.intent == "proposal":
        return is_answer(sibling, request)
    return (
        request.authored - _FURTHEST_APART <= sibling.authored <= request.authored
        and not set(request.codes).isdisjoint(sibling.codes)
        # What was never active never asked for the same thing twice.
        and any(state.status not in NOT_ACTIVE for state in sibling.states)
    )


def is_answer(sibling: Sibling, request: Request) -> bool:
    """Whether an order is what a patient's request led to: linked, or later with the same code."""
    return (
        request.id in sibling.based_on
        or bool(request.requisition and request.requisition == sibling.requisition)
        or (sibling.authored >= request.authored and not set(request.codes).isdisjoint(sibling.codes))
    )
