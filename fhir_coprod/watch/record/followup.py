"""Codes and statuses of the follow-up Tasks that the watch itself writes, and their source in the log."""

from __future__ import annotations

from typing import Final

SOURCE: Final = "watch"
"""The source that the log has for everything the watch writes by itself, and so need not follow. What a
person does (take an alert, release a letter) has another source: it is news."""

FOLLOWUP: Final = "stall-followup"
"""Code of the Task that asks a department to move a referral."""
FEED_DOWN: Final = "feed-down"
"""Code of the Task that tells hospital IT of an EHR that cannot be read."""
BACKFILL: Final = "backfill"
"""Code of the Task that sums up the stalls that existed when an EHR was first read."""
CLOSED: Final = frozenset({"completed", "cancelled", "failed", "rejected", "entered-in-error"})
"""Statuses in which such a Task no longer asks for anything."""
