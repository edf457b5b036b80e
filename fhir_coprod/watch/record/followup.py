"""What the watch itself writes: Tasks that ask staff to act, and how the log tells them from other news."""

from __future__ import annotations

from typing import Final

SOURCE: Final = "watch"
"""What the log names as the source of all that the watch writes of itself, and so need not follow. What a
person does (takes an alert, releases a letter) bears another: it is news."""

FOLLOWUP: Final = "stall-followup"
"""Code of the Task that asks a department to move a referral."""
FEED_DOWN: Final = "feed-down"
"""Code of the Task that tells hospital IT of an EHR that cannot be read."""
BACKFILL: Final = "backfill"
"""Code of the Task that sums up the stalls that an EHR came with."""
CLOSED: Final = frozenset({"completed", "cancelled", "failed", "rejected", "entered-in-error"})
"""Statuses in which such a Task asks for nothing any more."""
