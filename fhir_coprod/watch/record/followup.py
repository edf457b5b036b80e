"""Codes and statuses of the follow-up Tasks that the watch itself writes, and their source in the log."""

from __future__ import annotations

from typing import Final

from fhir_coprod.definitions import CANONICAL
from fhir_coprod.jsontext import Json

SOURCE: Final = "watch"
"""The source that the log has for everything the watch writes by itself, and so need not follow. What a
person does (take an alert, release a letter) has another source: it is news."""

FOLLOWUP: Final = "stall-followup"
"""Code of the Task that asks a department to move a referral."""
FEED_DOWN: Final = "feed-down"
"""Code of the Task that tells hospital IT of an EHR that cannot be read."""
BACKFILL: Final = "backfill"
"""Code of the Task that sums up the stalls that existed when an EHR was first read."""
SILENCE: Final = "silence"
"""Code of the Task that lists a department's referrals of which nothing is heard."""
SCOPE_SHIFT: Final = "scope-shift"
"""Code of the Task that tells of an EHR of whose orders far more than before are not watched."""
PRACTICE: Final = "practice"
"""Code of the Task that asks why an EHR records a step far less often than it did."""
LOOKED_AT: Final = "looked-at"
"""Code of the Task that says that a named person has looked at a referral."""
TASK_KIND_SYSTEM: Final = f"{CANONICAL}/CodeSystem/task-kind"
OPEN: Final = ("requested", "received", "accepted", "in-progress", "on-hold")
"""Statuses in which such a Task asks for something; one that waits as a draft does not."""
CLOSED: Final = frozenset({"completed", "cancelled", "failed", "rejected", "entered-in-error"})
"""Statuses in which such a Task no longer asks for anything."""


def is_kind(task: Json, *kinds: str) -> bool:
    """Whether it is one of the watch's own Tasks, of one of these kinds."""
    codings = (task.get("code") or {}).get("coding") or ()
    return any(coding.get("system") == TASK_KIND_SYSTEM and coding.get("code") in kinds for coding in codings)
