"""Says which of a patient's other orders a referral can depend on. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fhir_coprod.alike import FURTHEST_APART
from fhir_coprod.watch.record.model import Request, Sibling

NEVER_A_TWIN: Final = frozenset({"draft", "on-hold", "completed", "revoked", "entered-in-error"})
"""An order that has only had these statuses was never active, and so never asked for something twice."""
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
        return (
            request.id in sibling.based_on
            or bool(request.requisition and request.requisition == sibling.requisition)
            or (sibling.authored >= request.authored and not set(request.codes).isdisjoint(sibling.codes))
        )
    return (
        request.authored - _FURTHEST_APART <= sibling.authored <= request.authored
        and not set(request.codes).isdisjoint(sibling.codes)
        and any(state.status not in NEVER_A_TWIN for state in sibling.states)
    )
