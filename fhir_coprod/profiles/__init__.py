"""The coproduction profiles as typed Python classes on `fhir.resources`.

    goal = CoproductionGoal.in_own_words("Walk to the mailbox again", patient="Patient/1")
    plan = CoproductionCarePlan.build(patient="Patient/1", goals=["Goal/1"], phase="co-decide")
    if not plan.check():
        print(plan.check())

`read` keeps the text, and `write` gives it back with only your changes.
"""

from fhir_coprod.profiles.care_plan import CoproductionCarePlan, CoproductionGoal, PatientTask
from fhir_coprod.profiles.conversation import CoproductionCommunication
from fhir_coprod.profiles.extensions import (
    Accommodation,
    Agency,
    GoalAcceptance,
    Phase,
    PlanAgreement,
    ReferralStanding,
)
from fhir_coprod.profiles.model import Profiled
from fhir_coprod.profiles.referral import (
    CoproductionServiceRequest,
    ReferralTask,
    StalledReferral,
    StallFollowup,
)

__all__ = [
    "Accommodation",
    "Agency",
    "CoproductionCarePlan",
    "CoproductionCommunication",
    "CoproductionGoal",
    "CoproductionServiceRequest",
    "GoalAcceptance",
    "PatientTask",
    "Phase",
    "PlanAgreement",
    "Profiled",
    "ReferralStanding",
    "ReferralTask",
    "StallFollowup",
    "StalledReferral",
]
