"""Makes one digest of the stalls that existed when an EHR was first read, instead of many alerts.

Every such stall is on the board and has its DetectedIssue. Its follow-up waits as a draft; it is opened as
soon as its referral has a new stall, or once so few are left that no digest is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.rules.calendar import Span
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Standing

_LASTS: Final = Span(5, "wd")


def is_over(was: Json | None, now: datetime) -> bool:
    """Whether there is no digest, or its time has run out, so that a new one with new numbers is due."""
    end = resources.act_by(was) if was is not None else None
    return was is None or not resources.is_open(was) or end is None or end <= now


def digest(ehr: str, old: Iterable[Standing], was: Json | None, policy: Policy, now: datetime) -> Json | None:
    """The Task that sums up the stalls one EHR came with; None if there is nothing to write.

    old: the standings of those referrals; empty if no digest is needed (any more).
    was: the present Task.
    """
    rules: Counter[str] = Counter()
    referrals = 0
    for standing in old:
        referrals += 1
        rules.update({stall.rule for stall in standing.stalls})
    if not referrals:
        if was is None or not resources.is_open(was):
            return None
        return resources.touched({**was, "status": "completed"}, now)
    parts = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
    data: Json = {
        "resourceType": "Task",
        "id": resources.backfill_id(ehr),
        "meta": {"security": [resources.STAFF_ONLY]},
        "identifier": [{"system": resources.FOLLOWUP_SYSTEM, "value": resources.backfill_key(ehr)}],
        "status": "requested",
        "intent": "order",
        "priority": "routine",
        "code": {"coding": [{"system": followup.TASK_KIND_SYSTEM, "code": followup.BACKFILL}]},
        "description": (
            f"{referrals} referrals were stalled already when the EHR {ehr} was first read, and still are: "
            f"{parts}. They are on the board; each asks for itself as soon as anything new is wrong with it."
        ),
        "authoredOn": was["authoredOn"] if was else instant(now),
        "requester": {"reference": resources.DEVICE},
        "restriction": {"period": {"end": instant(policy.calendar.due(now, _LASTS))}},
    }
    if was and was.get("note"):
        data["note"] = was["note"]
    return resources.touched(data, now)
