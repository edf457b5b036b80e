"""Builds and reads the FHIR resources of an alert: DetectedIssue, follow-up Task, Provenance, and the Device.

Pure: builds a resource from a standing and from the previous version of the resource. Ids come from what an
alert is about, so that two workers that find the same stall write the same resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from fhir_coprod.definitions import CANONICAL, PROFILE
from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.record.fhir import moment
from fhir_coprod.watch.record.followup import CLOSED, FOLLOWUP, TASK_KIND_SYSTEM
from fhir_coprod.watch.rules.codes import NEXT_STEP, Rule, Stage
from fhir_coprod.watch.rules.standing import Stall, Standing, explain, just_before

ISSUE_PROFILE: Final = f"{PROFILE}stalled-referral"
FOLLOWUP_PROFILE: Final = f"{PROFILE}stall-followup"
STANDING_EXTENSION: Final = f"{PROFILE}referral-standing"
RULE_SYSTEM: Final = f"{CANONICAL}/CodeSystem/stall-rule"
STAGE_SYSTEM: Final = f"{CANONICAL}/CodeSystem/referral-stage"
STALL_SYSTEM: Final = f"{CANONICAL}/stall"
FOLLOWUP_SYSTEM: Final = f"{CANONICAL}/follow-up"
DEVICE: Final = "Device/referral-watch"

STAFF_ONLY: Final[Json] = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "code": "NOPAT",
}
_OWNERS: Final = (
    "Organization/",
    "PractitionerRole/",
    "Practitioner/",
    "HealthcareService/",
    "CareTeam/",
)
_STEP: Final = "step"
_UTC: Final = ZoneInfo("UTC")
_GRAVITY: Final = {"high": 0, "moderate": 1, "low": 2}


def device() -> Json:
    """The Device that is the author of what the watch writes."""
    return {
        "resourceType": "Device",
        "id": DEVICE.partition("/")[2],
        "status": "active",
        "deviceName": [{"name": "fhir-coprod referral watch", "type": "user-friendly-name"}],
    }


def issue_key(referral: str, stall: Stall) -> str:
    """The business identifier of a stall: referral, rule, when it began, and its Task if it has one."""
    parts = [_plain(referral), stall.rule, instant(stall.since) or ""]
    return "/".join([*parts, _plain(stall.task)] if stall.task else parts)


def issue_id(referral: str, stall: Stall) -> str:
    """The id of a stall's DetectedIssue."""
    return id_of(STALL_SYSTEM, issue_key(referral, stall))


def followup_key(referral: str, stage: Stage) -> str:
    """The business identifier of a follow-up: referral and stage."""
    return f"{_plain(referral)}/{stage}"


def followup_id(referral: str, stage: Stage) -> str:
    """The id of a follow-up Task."""
    return id_of(FOLLOWUP_SYSTEM, followup_key(referral, stage))


def looked_at_id(referral: str, by: str, at: datetime) -> str:
    """The id of the Task that says who has looked at a referral, and when."""
    return id_of(FOLLOWUP_SYSTEM, f"looked-at/{_plain(referral)}/{by}/{instant(at)}")


def _plain(name: str) -> str:
    """The id without the type for a ServiceRequest or Task, so that keys are easy to read; other types keep
    it."""
    return name.removeprefix("ServiceRequest/").removeprefix("Task/")


def id_of(system: str, value: str) -> str:
    """The id of what has this business identifier: whoever makes it, it is the same resource."""
    return str(uuid5(NAMESPACE_URL, f"{system}|{value}"))


def reference(name: str) -> Json:
    """`Type/id` as a literal reference, `system|value` as a logical one."""
    system, bar, value = name.rpartition("|")
    if bar:
        return {"identifier": {"system": system, "value": value} if system else {"value": value}}
    return {"reference": name}


def gravest_first(stalls: Iterable[Stall]) -> list[Stall]:
    """The stalls in the order in which to show them: by severity, then by due time."""
    return sorted(stalls, key=lambda stall: (_GRAVITY[stall.severity], stall.due, stall.rule, stall.task))


def issue(standing: Standing, stall: Stall, id: str, found: str | None, names: Mapping[str, str]) -> Json:
    """A present stall as a DetectedIssue (profile stalled-referral).

    names: names of departments, by reference.
    found: when it was first found, as an instant; taken from the existing DetectedIssue if there is one.
    """
    implicated = [standing.referral, *([stall.task] if stall.task else [])]
    data: Json = {
        "resourceType": "DetectedIssue",
        "id": id,
        "meta": {"profile": [ISSUE_PROFILE], "security": [STAFF_ONLY]},
        "extension": [_standing(standing, stall)],
        "identifier": [{"system": STALL_SYSTEM, "value": issue_key(standing.referral, stall)}],
        "status": "preliminary",
        "code": {"coding": [{"system": RULE_SYSTEM, "code": stall.rule}]},
        "severity": stall.severity,
        "patient": reference(standing.patient),
        "identifiedDateTime": found,
        "author": {"reference": DEVICE},
        "implicated": [reference(name) for name in implicated],
    }
    if stall.evidence:
        data["evidence"] = [{"detail": [reference(stall.evidence)]}]
    data["detail"] = detail(standing, stall, names)
    return data


def detail(standing: Standing, stall: Stall, names: Mapping[str, str]) -> str:
    """A stall in words: what is missing, since when, who can move it, the guarantee date, and whether the
    patient was told."""
    parts = [
        f"Missing: {stall.missing}.",
        f"Since {standing.local_day(stall.since)}, due {standing.local_day(just_before(stall.due))}.",
        f"Can be moved by: {names.get(stall.owner) or stall.owner or 'nobody is named'}.",
    ]
    if standing.guarantee is not None:
        by = standing.local_day(just_before(standing.guarantee))
        parts.append(f"Guarantee date: {by} ({standing.guarantee_name}).")
    if stall.since_stored:
        parts.append("The start is when it was first stored here; it may be older.")
    parts.append(
        "The patient has been told." if standing.patient_informed else "The patient has not been told."
    )
    if standing.do_not_contact:
        parts.append("The patient asked not to be contacted.")
    return " ".join(parts)


def _standing(standing: Standing, stall: Stall) -> Json:
    """Where the referral stood (extension referral-standing)."""
    parts: list[Json] = [
        {"url": "stage", "valueCode": standing.stage},
        {"url": "since", "valueDateTime": instant(stall.since)},
        {"url": "due", "valueDateTime": instant(stall.due)},
    ]
    if standing.guarantee is not None:
        parts.append({"url": "guarantee", "valueDateTime": instant(standing.guarantee)})
    if may_own(stall.owner):
        parts.append({"url": "owner", "valueReference": reference(stall.owner)})
    parts.append({"url": "patientInformed", "valueBoolean": standing.patient_informed})
    parts.append({"url": "policy", "valueString": standing.policy.replace(" ", "|")})
    return {"url": STANDING_EXTENSION, "extension": parts}


def may_own(owner: str) -> bool:
    return owner.startswith(_OWNERS) or "|" in owner


def over(was: Json, status: str, why: str, now: datetime) -> Json:
    """A DetectedIssue that is over: `final` if resolved by itself, `cancelled` if the referral is gone.

    It has no mitigation author: nobody did it by hand (R4 would want a Practitioner here).
    """
    return {**was, "status": status, "mitigation": [{"action": {"text": why}, "date": instant(now)}]}


def provenance(was: Json, why: str, now: datetime, fact: str = "") -> Json:
    """A Provenance that says why a DetectedIssue ended.

    fact: the resource that ended it by appearing, if one can be named.
    """
    data: Json = {
        "resourceType": "Provenance",
        "id": id_of(STALL_SYSTEM, f"{was['id']}/over/{instant(now)}"),
        "meta": {"security": [STAFF_ONLY]},
        "target": [{"reference": f"DetectedIssue/{was['id']}"}],
        "recorded": instant(now),
        "reason": [{"text": why}],
        "agent": [{"who": {"reference": DEVICE}}],
    }
    if fact:
        data["entity"] = [{"role": "source", "what": reference(fact)}]
    return data


def followup(
    standing: Standing,
    issues: Sequence[tuple[Stall, str]],
    unseen: Sequence[Json],
    was: Json | None,
    now: datetime,
    names: Mapping[str, str],
) -> Json:
    """The follow-up Task (profile stall-followup) for a referral in one stage, with all its present stalls.

    issues: each stall with the id of its DetectedIssue, gravest first.
    unseen: DetectedIssues that stay because we cannot see at present what would end them.
    was:    the present Task; its state (acknowledged, snoozed, step of the ladder) is kept.

    The caller decides `restriction`. `lastModified` is not changed: see `touched`.
    """
    first, first_id = issues[0]
    assert standing.stage is not None
    data: Json = {
        "resourceType": "Task",
        "id": followup_id(standing.referral, standing.stage),
        "meta": {"profile": [FOLLOWUP_PROFILE], "security": [STAFF_ONLY]},
        "extension": [_standing(standing, first)],
        "identifier": [{"system": FOLLOWUP_SYSTEM, "value": followup_key(standing.referral, standing.stage)}],
        "status": was["status"] if was else "requested",
        "businessStatus": {"coding": [{"system": STAGE_SYSTEM, "code": standing.stage}]},
        "intent": "order",
        "priority": standing.priority if standing.priority in ("urgent", "asap", "stat") else "routine",
        "code": {"coding": [{"system": TASK_KIND_SYSTEM, "code": FOLLOWUP}]},
        "description": description(standing, [stall for stall, _ in issues], names),
        "focus": reference(standing.referral),
        "for": reference(standing.patient),
        "authoredOn": was["authoredOn"] if was else instant(now),
        "requester": {"reference": DEVICE},
    }
    if was and "lastModified" in was:
        data["lastModified"] = was["lastModified"]
    if may_own(first.owner):
        data["owner"] = reference(first.owner)
    data["reasonReference"] = {"reference": f"DetectedIssue/{first_id}"}
    if was and was.get("note"):
        data["note"] = was["note"]
    if was and was.get("restriction"):
        data["restriction"] = was["restriction"]
    data["input"] = [
        {
            "type": {"coding": [{"system": RULE_SYSTEM, "code": stall.rule}]},
            "valueReference": {"reference": f"DetectedIssue/{id}"},
        }
        for stall, id in issues
    ]
    data["input"] += [
        {"type": kept["code"], "valueReference": {"reference": f"DetectedIssue/{kept['id']}"}}
        for kept in unseen
    ]
    step = ladder_step(was) if was else 0
    if step:
        data["input"].append({"type": {"text": _STEP}, "valuePositiveInt": step})
    return data


def description(standing: Standing, stalls: Sequence[Stall], names: Mapping[str, str]) -> str:
    """What is missing and what would move it on, in a sentence a person can check."""
    missing = "; ".join(stall.missing for stall in stalls)
    assert standing.stage is not None
    return f"Missing: {missing}. Next step: {NEXT_STEP[standing.stage]}. {_upper(explain(standing, names))}."


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def ladder_step(task: Json) -> int:
    """How far up the ladder a follow-up has gone; 0 is the owner, who can move the referral."""
    for entry in task.get("input") or ():
        if (entry.get("type") or {}).get("text") == _STEP:
            return int(entry["valuePositiveInt"])
    return 0


def with_step(task: Json, step: int) -> Json:
    """The Task at another step of the ladder."""
    inputs = [entry for entry in task.get("input") or () if (entry.get("type") or {}).get("text") != _STEP]
    if step:
        inputs.append({"type": {"text": _STEP}, "valuePositiveInt": step})
    return {**task, "input": inputs}


def issues_of(task: Json) -> list[str]:
    """Ids of the DetectedIssues that a follow-up gathers."""
    names = [(entry.get("valueReference") or {}).get("reference", "") for entry in task.get("input") or ()]
    return [name.partition("/")[2] for name in names if name.startswith("DetectedIssue/")]


def rules_of(task: Json) -> list[str]:
    """Codes of the rules whose stalls a follow-up gathers, gravest first."""
    return [
        coding["code"]
        for entry in task.get("input") or ()
        for coding in (entry.get("type") or {}).get("coding") or ()
        if coding.get("system") == RULE_SYSTEM and "code" in coding
    ]


def rule_of(issue: Json) -> Rule | None:
    """The rule that a DetectedIssue is about; None if the DetectedIssue is not ours."""
    for coding in (issue.get("code") or {}).get("coding") or ():
        if coding.get("system") == RULE_SYSTEM and coding.get("code") in list(Rule):
            return Rule(coding["code"])
    return None


def task_of(issue: Json) -> str:
    """The Task that a DetectedIssue implicates; "" if it is about the referral as a whole."""
    names = [item.get("reference", "") for item in issue.get("implicated") or ()]
    return next((name for name in names if name.startswith("Task/")), "")


def stage_of(task: Json) -> str:
    """The stage whose stalls a follow-up gathers."""
    for coding in (task.get("businessStatus") or {}).get("coding") or ():
        if coding.get("system") == STAGE_SYSTEM:
            return str(coding.get("code", ""))
    return ""


def is_open(task: Json) -> bool:
    """Whether it still asks somebody to act."""
    return task.get("status") not in CLOSED


def act_by(task: Json) -> datetime | None:
    """The time by which somebody has to act, or at which the Task asks again."""
    return moment(((task.get("restriction") or {}).get("period") or {}).get("end"), _UTC)


def noted(task: Json, who: str, words: str, now: datetime) -> Json:
    """The Task with a note of who did what."""
    note = {"authorString": who, "time": instant(now), "text": words}
    return {**task, "note": [*(task.get("note") or ()), note]}


def touched(task: Json, now: datetime) -> Json:
    """The Task with `lastModified` set to now."""
    return {**task, "lastModified": instant(now)}
