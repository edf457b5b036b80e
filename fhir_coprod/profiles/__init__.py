"""The coproduction profiles as typed Python classes on `fhir.resources`.

    goal = CoproductionGoal.in_own_words("Walk to the mailbox again", patient="Patient/1")
    plan = CoproductionCarePlan.build(patient="Patient/1", goals=["Goal/1"], phase="co-decide")
    if not plan.check():
        print(plan.check())

`read` keeps the text, and `write` gives it back with only your changes. A class is imported when it is first
asked for, with the resource type that it is built on and no other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fhir_coprod.profiles.care_plan import (
        CoproductionCarePlan,
        CoproductionGoal,
        PatientTask,
        PlanTask,
    )
    from fhir_coprod.profiles.conversation import CoproductionCommunication, DoNotContact
    from fhir_coprod.profiles.documents import DecisionOption, LifeStory, WrittenInformation
    from fhir_coprod.profiles.extensions import (
        Accommodation,
        Agency,
        GoalAcceptance,
        Phase,
        PlanAgreement,
        PrivateMoment,
        ReferralStanding,
    )
    from fhir_coprod.profiles.model import Profiled
    from fhir_coprod.profiles.network import (
        CoproductionCareTeam,
        CoproductionEpisode,
        NetworkPerson,
        TeamMember,
    )
    from fhir_coprod.profiles.observations import Barrier, EverydayLife, Readiness, TeachBack
    from fhir_coprod.profiles.person import (
        CoproductionPatient,
        FamilyMember,
        PatientConcern,
        PatientProblemList,
        RespectAndTrustResponse,
    )
    from fhir_coprod.profiles.referral import (
        CoproductionServiceRequest,
        ReferralTask,
        StalledReferral,
        StallFollowup,
    )
    from fhir_coprod.profiles.visits import CoproductionAppointment, PrivateMomentTask

_MODULES = {
    "care_plan": ("CoproductionCarePlan", "CoproductionGoal", "PatientTask", "PlanTask"),
    "conversation": ("CoproductionCommunication", "DoNotContact"),
    "documents": ("DecisionOption", "LifeStory", "WrittenInformation"),
    "extensions": (
        "Accommodation",
        "Agency",
        "GoalAcceptance",
        "Phase",
        "PlanAgreement",
        "PrivateMoment",
        "ReferralStanding",
    ),
    "model": ("Profiled",),
    "network": ("CoproductionCareTeam", "CoproductionEpisode", "NetworkPerson", "TeamMember"),
    "observations": ("Barrier", "EverydayLife", "Readiness", "TeachBack"),
    "person": (
        "CoproductionPatient",
        "FamilyMember",
        "PatientConcern",
        "PatientProblemList",
        "RespectAndTrustResponse",
    ),
    "referral": ("CoproductionServiceRequest", "ReferralTask", "StallFollowup", "StalledReferral"),
    "visits": ("CoproductionAppointment", "PrivateMomentTask"),
}

__all__ = [
    "Accommodation",
    "Agency",
    "Barrier",
    "CoproductionAppointment",
    "CoproductionCarePlan",
    "CoproductionCareTeam",
    "CoproductionCommunication",
    "CoproductionEpisode",
    "CoproductionGoal",
    "CoproductionPatient",
    "CoproductionServiceRequest",
    "DecisionOption",
    "DoNotContact",
    "EverydayLife",
    "FamilyMember",
    "GoalAcceptance",
    "LifeStory",
    "NetworkPerson",
    "PatientConcern",
    "PatientProblemList",
    "PatientTask",
    "Phase",
    "PlanAgreement",
    "PlanTask",
    "PrivateMoment",
    "PrivateMomentTask",
    "Profiled",
    "Readiness",
    "ReferralStanding",
    "ReferralTask",
    "RespectAndTrustResponse",
    "StallFollowup",
    "StalledReferral",
    "TeachBack",
    "TeamMember",
    "WrittenInformation",
]

_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """One of the classes, imported on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
