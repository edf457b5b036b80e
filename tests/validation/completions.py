"""What a resource made by chance lacks for the invariants of our profiles, put in as a person would.

The generator meets structure, bindings, slices and R4's own rules; a sentence such as "one participant is the
patient" is beyond chance.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fhir_coprod import definitions

Json = dict[str, Any]

LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
PATIENT = {"reference": "Patient/1"}
WHY = {"text": "as agreed"}


def complete(profile: str, resource: Json) -> Json:
    """A copy of the resource, with what the profile's invariants ask for."""
    finish = _COMPLETIONS.get(profile.removeprefix(definitions.PROFILE))
    if finish is not None:
        finish(resource)
    # Who breaks one resource must not break what the next is made with.
    return copy.deepcopy(resource)


def _appointment(made: Json) -> None:
    made["participant"].append({"actor": PATIENT, "status": "accepted"})
    made |= {"start": "2026-01-05T10:00:00Z", "end": "2026-01-05T11:00:00Z"}
    made.pop("cancelationReason", None)
    if made["status"] == "cancelled":
        made["cancelationReason"] = WHY


def _care_plan(made: Json) -> None:
    if made["status"] in ("on-hold", "revoked"):
        url = definitions.PROFILE + "plan-status-reason"
        others = [one for one in made.get("extension", ()) if one["url"] != url]
        made["extension"] = [*others, {"url": url, "valueCodeableConcept": WHY}]
    if made["status"] in ("active", "completed"):
        made.setdefault("goal", [{"reference": "Goal/1"}])


def _care_team(made: Json) -> None:
    made.setdefault("participant", []).append({"member": PATIENT, "role": [{"text": "the patient"}]})


def _goal(made: Json) -> None:
    for note in made.get("note", ()):
        if not any(key.startswith("author") for key in note):
            note["authorReference"] = PATIENT
    made.setdefault("statusReason", "as agreed")
    made.setdefault("achievementStatus", WHY)


def _measure_report(made: Json) -> None:
    made["measure"] = f"{definitions.CANONICAL}/Measure/co-planning"
    if made["type"] == "individual":
        made["subject"] = PATIENT
    else:
        made.pop("subject", None)


def _referral(made: Json) -> None:
    asked = made.get("requester", {}).get("reference", "")
    if asked.startswith(("Patient/", "RelatedPerson/")):
        made["intent"] = "proposal"
    made.setdefault("authoredOn", "2026-01-05")
    if "reasonReference" not in made:
        made.setdefault("reasonCode", [WHY])


def _attached(made: Json) -> None:
    for content in made["content"]:
        content["attachment"].setdefault("url", "http://example.org/text")


def _labelled(made: Json) -> None:
    made.setdefault("meta", {})["security"] = [LABEL]


def _readiness(made: Json) -> None:
    made["performer"] = [PATIENT]
    if "valueInteger" in made:
        made["valueInteger"] = 7
    if any(key.startswith("value") for key in made):
        made.pop("dataAbsentReason", None)


def _task(made: Json) -> None:
    if made["status"] in ("rejected", "failed", "on-hold"):
        made.setdefault("statusReason", WHY)
    if made["status"] in ("accepted", "in-progress", "on-hold"):
        made.setdefault("restriction", {})["period"] = {"end": "2026-02-05"}
    if made["status"] in ("received", "accepted", "in-progress", "completed"):
        made.setdefault("owner", {"reference": "PractitionerRole/1"})
    # Before whenever it was modified.
    made.setdefault("authoredOn", "2001-01-05")


def _follow_up(made: Json) -> None:
    _task(made)
    made.setdefault("reasonReference", {"reference": "DetectedIssue/1"})


def _private_moment(made: Json) -> None:
    _task(made)
    _labelled(made)


def _stall(made: Json) -> None:
    made["implicated"] = [{"reference": "ServiceRequest/1"}]
    if made["status"] == "final":
        made.setdefault("mitigation", [{"action": WHY}])


def _answers(made: Json) -> None:
    if made["status"] == "completed":
        made["status"] = "in-progress"


def _communication(made: Json) -> None:
    made |= {
        "sent": "2026-01-05T10:00:00Z",
        "sender": PATIENT,
        "recipient": [{"reference": "Practitioner/1"}],
    }
    if "about" not in made and "basedOn" not in made:
        made.setdefault("topic", WHY)
    if made["status"] == "not-done":
        made.setdefault("statusReason", WHY)


def _patient(made: Json) -> None:
    made.setdefault(
        "communication", [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "sv"}]}}]
    )
    for language in made["communication"][1:]:
        language.pop("preferred", None)


def _person(made: Json) -> None:
    made.setdefault("name", [{"text": "Somebody"}])


_COMPLETIONS: dict[str, Callable[[Json], None]] = {
    "coproduction-appointment": _appointment,
    "coproduction-careplan": _care_plan,
    "coproduction-careteam": _care_team,
    "coproduction-communication": _communication,
    "coproduction-goal": _goal,
    "coproduction-measurereport": _measure_report,
    "coproduction-servicerequest": _referral,
    "coproduction-patient": _patient,
    "decision-option": _attached,
    "family-member": _labelled,
    "life-story": _labelled,
    "network-person": _person,
    "private-moment-task": _private_moment,
    "readiness": _readiness,
    "referral-task": _task,
    "plan-task": _task,
    "patient-task": _task,
    "respect-and-trust-response": _answers,
    "stall-followup": _follow_up,
    "stalled-referral": _stall,
    "written-information": _attached,
}
