"""How often things go wrong in the simulated hospital, and where each number comes from.

Three published figures set the frame; docs/simulator.md says how they are used. All other numbers are
assumptions. Numbers without another unit in their name are shares of 1.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

INACTION: Final = 0.063
"""Referrals on which the department unexplainedly does nothing for 30 days (Singh 2011, PMC3024094)."""
INACTION_DAYS: Final = 30
RETURNED: Final = 0.364
"""Referrals that the first department sends back (Singh 2011: 22,535 of 61,931)."""
RETURNED_AND_FORGOTTEN: Final = 0.074
"""Share of those on which the requester unexplainedly does nothing (Singh 2011)."""
COMPLETE: Final = 0.348
"""Scheduling attempts that end in a documented complete appointment (Patel 2018, PMC5910374: 36,072 of
103,737)."""
NO_DATE: Final = 0.389
"""Scheduling attempts without an appointment date (Patel 2018)."""

KEPT: Final = COMPLETE / (1 - NO_DATE)
"""First bookings that are kept and recorded at once."""
CANCELLED: Final = 0.22
NO_SHOW: Final = 0.14
"""The rest of the first bookings: held, and not recorded."""

NEVER: Final = 0.25
"""Forgotten steps that nobody ever finds out about; the others are found, after FOUND_DAYS on average."""
FOUND_DAYS: Final = 15

FORGOTTEN: Final = MappingProxyType(
    {
        "request-unanswered": 0.15,
        "not-sent": 0.015,
        "draft-left": 0.2,
        "unclaimed": 0.1,
        "awaiting-information": 0.15,
        "no-show-open": 0.2,
        "cancelled-not-rebooked": 0.15,
        "appointment-passed": 0.7,
        "results-missing": 0.05,
        "report-not-returned": 0.04,
        "not-reviewed": 0.05,
        "half-closed": 0.08,
        "rejected-not-rerouted": RETURNED_AND_FORGOTTEN,
        "on-hold-without-review": 0.2,
        "cancellation-unanswered": 0.2,
        "withdrawal-undecided": 0.3,
    }
)
"""How often each step is forgotten. INACTION covers acknowledging, deciding and booking, shared between the
three. Half-closed: how often the other side is not ended with the first."""

SLOW: Final = 0.01
"""Steps that are done late without having been forgotten, up to half as long again as was promised."""

PRIORITIES: Final = MappingProxyType({"routine": 0.85, "urgent": 0.12, "asap": 0.025, "stat": 0.005})
ASKED_FOR: Final = 0.08
"""Referrals that the patient asks for first; a third of them by message."""
DRAFTED: Final = 0.02
POOLED: Final = 0.04
"""Referrals sent to a pool: nobody is named as owner."""
AWAITING: Final = 0.06
HELD: Final = 0.03
"""Referrals put aside by the department after it accepted them."""
PATIENT_WAITS: Final = 0.02
"""Referrals put aside because the patient chose to wait."""
WITHDRAWN: Final = 0.036
"""Referrals that are revoked before anything is booked, among those that the first department accepted.
Closes the gap to NO_DATE."""
BY_PATIENT: Final = 0.3
"""Of these: the patient says no to the department, and the one who asked has to decide."""
ASKED_TO_CANCEL: Final = 0.3
"""Of these: the one who asked asks the department to cancel it, and waits for the answer."""
DECEASED: Final = 0.02
"""Patients who die on the way."""
MOVED: Final = 0.06
REBOOKED_AT_ONCE: Final = 0.6
GIVEN_UP: Final = 0.1
"""After a missed or cancelled visit the referral is revoked."""
LATE_BOOKING: Final = 0.03
"""Bookings beyond the care guarantee."""
HANDED_ON: Final = 0.015
"""The department passes it to another one, which passes it back."""
AFTER_RETURN: Final = MappingProxyType({"elsewhere": 0.5, "again": 0.15, "given up": 0.35})
RETURNED_AGAIN: Final = 0.2
TWO_AT_ONCE: Final = 0.02
"""Referrals that ask two departments at once."""
SENT_ON: Final = 0.08
"""The department that saw the patient refers to a third."""
SECOND: Final = 0.05
"""Patients with another referral for something else."""
DUPLICATED: Final = 0.01
SILENT: Final = 0.01
"""Patients who asked not to be contacted."""
PROXY: Final = 0.05
"""Patients whose relative is told in their place."""
TOLD_OF_DELAY: Final = 0.15
