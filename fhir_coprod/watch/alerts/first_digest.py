"""Makes one digest of the stalls that existed when an EHR was first read, instead of many alerts.

Every such stall is on the board and has its DetectedIssue. Its follow-up waits as a draft; it is opened as
soon as its referral has a new stall, or once so few are left that no digest is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fhir_coprod.jsontext import Json
from fhir_coprod.watch.alerts import gathered
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.rules.calendar import Span
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Standing

_LASTS: Final = Span(5, "wd")


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
        return gathered.ended(was, now)
    parts = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
    words = (
        f"{referrals} referrals were stalled already when the EHR {ehr} was first read, and still are: "
        f"{parts}. They are on the board; each asks for itself as soon as anything new is wrong with it."
    )
    return gathered.task(followup.BACKFILL, ehr, words, was, policy.calendar.due(now, _LASTS), now)
