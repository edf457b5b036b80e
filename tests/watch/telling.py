"""Referrals told in short lines, turned into FHIR resources with their versions, and what is expected.

The language of `scenarios/*.txt` (year 2026; `03-02` is 2 March 09:00 at the site, or `03-02T14:30`):

    # a title                                            begins a scenario
    referral 03-02 [key=value …] [then STATUS DATE …]    the ServiceRequest: status=, priority=, code=, …
    asks 03-02                                           a Communication by which the patient asks, instead
    task NAME [owner=ortho] [key=value …]: STATUS DATE [key=value …], …   one version per state
    appointment NAME made DATE for DATE [key=value …]: STATUS [DATE stored], …
    visit DATE [STATUS] [to DATE]                        an Encounter
    report|document DATE [STATUS] [id=…] [by=…]
    told patient|proxy|requester|DEPARTMENT DATE [STATUS] [about=…]
    side DATE owner=… [about=…] STATUS                   a Task about the referral that is no referral
    sibling DATE [key=value …]                           another ServiceRequest of the patient
    blind TYPE [DEPARTMENT]                              a type that cannot be seen
    silence DATE                                         the patient asks not to be contacted
    patient [born=1990-01-01] [died=DATE]                the Patient
    policy NAME · zone NAME · country CODE
    now DATE
    = STAGE [DATE]                                       expected stage, and since when
    ! RULE [since DATE] [due DATE] [owner=…] [task=…]    exactly these stalls; due DATE is the end of that day
    unused STEP [USE]                                    a step that is not in use (not-used, absent, mixed)
    & RULE [since DATE] [due DATE]                       exactly what is counted and raises no alert
    ~ RULE · ? TYPE · informed yes|no · due|guarantee|wake DATE|none · severity LEVEL
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from fhir_coprod.jsontext import Json
from fhir_coprod.watch.record.around import Held
from fhir_coprod.watch.record.model import Blind
from tests.watch.story import Story

SYSTEM = "https://example.org/codes"
REQUESTER = "PractitionerRole/gp"
PATIENT = "Patient/pat"
PEOPLE = {
    "patient": PATIENT,
    "proxy": "RelatedPerson/daughter",
    "stranger": "RelatedPerson/stranger",
    "requester": REQUESTER,
    "gp": "Organization/gp",
}


def read(path: Path) -> list[Story]:
    """All scenarios of a file."""
    stories: list[Story] = []
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        line = raw.strip()
        if line.startswith("##") or not line:
            continue
        if line.startswith("# "):
            stories.append(Story(line[2:]))
            continue
        try:
            _tell(stories[-1], line)
        except Exception as error:
            raise ValueError(f"{path.name}:{number}: {line!r}: {error}") from error
    return stories


def _tell(story: Story, line: str) -> None:
    word, _, rest = line.partition(" ")
    if word == "!":
        rule, *words = rest.split()
        story.expected.stalls.append((rule, _pairs(words)))
    elif word == "unused":
        step, _, use = rest.partition(" ")
        story.practice.append((step, use or "not-used"))
    elif word == "&":
        rule, *words = rest.split()
        story.expected.counted.append((rule, _pairs(words)))
    elif word == "=":
        story.expected.stage, _, story.expected.since = rest.partition(" ")
    elif word == "~":
        story.expected.notes.append(rest)
    elif word == "?":
        story.expected.unseen.append(rest)
    elif word in ("informed", "guarantee", "due", "wake", "severity"):
        story.expected.more[word] = rest
    elif word == "now":
        story.now = story.at(rest, 12)
    elif word == "zone":
        story.zone = ZoneInfo(rest)
    elif word == "country":
        story.country = rest
    elif word == "policy":
        story.policy_name = rest
    elif word == "blind":
        kind, *departments = rest.split()
        story.blind.append(Blind(kind, "ehr", tuple(_who(name) for name in departments)))
    else:
        _RESOURCES[word](story, rest)


def _pairs(words: list[str]) -> dict[str, str]:
    """key=value words, and `since DATE`, `due DATE`."""
    pairs: dict[str, str] = {}
    pending = ""
    for item in words:
        if pending:
            pairs[pending], pending = item, ""
        elif "=" in item:
            key, _, value = item.partition("=")
            pairs[key] = value
        else:
            pending = item
    return pairs


def _who(name: str) -> str:
    return PEOPLE.get(name) or (name if "/" in name else f"Organization/{name}")


def concept(code: str) -> Json:
    system, _, value = code.rpartition("|")
    return {"coding": [{"system": system or SYSTEM, "code": value}]}


def _split(rest: str) -> tuple[list[str], dict[str, str]]:
    words = rest.split()
    return [w for w in words if "=" not in w], dict(w.split("=", 1) for w in words if "=" in w)


def _service_request(story: Story, id: str, rest: str) -> tuple[Held, dict[str, str]]:
    words, keys = _split(rest)
    authored = words.pop(0)
    data: Json = {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": keys.get("status", "active"),
        "intent": keys.get("intent", "order"),
        "subject": {"reference": PATIENT},
        "requester": {"reference": _who(keys.get("requester", "requester"))},
        "priority": keys.get("priority", "routine"),
    }
    if authored != "unknown":
        data["authoredOn"] = story.fhir(authored)
    if "code" in keys:
        data["code"] = {"text": "back pain"} if keys["code"] == "text" else concept(keys["code"])
    for key, element in (("performer", "performer"), ("replaces", "replaces"), ("basedOn", "basedOn")):
        if key in keys:
            data[element] = [{"reference": _who(keys[key])}]
    if keys.get("category") != "none":
        data["category"] = [concept(keys.get("category", "http://snomed.info/sct|3457005"))]
    if "requisition" in keys:
        data["requisition"] = {"system": SYSTEM, "value": keys["requisition"]}
    if "doNotPerform" in keys:
        data["doNotPerform"] = True
    if "order" in keys:
        data["orderDetail"] = [concept(keys["order"])]
    stored = story.at(
        keys["stored"] if "stored" in keys else "01-01" if authored == "unknown" else _plain(authored)
    )
    if "for" in keys:
        data["occurrenceDateTime"] = story.fhir(keys["for"])
    versions = [(stored, data)]
    while words:
        _then, status, when = words[:3]
        words = words[3:]
        data = {**data, "status": status}
        if "why" in keys:
            reason = "http://hl7.org/fhir/StructureDefinition/request-statusReason"
            data["extension"] = [{"url": reason, "valueCodeableConcept": concept(keys["why"])}]
        versions.append((story.at(when), data))
    return Held(f"ServiceRequest/{id}", tuple(versions)), keys


def _plain(text: str) -> str:
    return text.removeprefix("day:")


def _referral(story: Story, rest: str) -> None:
    story.request, _ = _service_request(story, "ref", rest)


def _sibling(story: Story, rest: str) -> None:
    number = len(story.siblings)
    held, keys = _service_request(story, keys_id(rest) or f"older-{number}", rest)
    story.siblings.append((held, (_who(keys["owner"]),) if "owner" in keys else ()))


def keys_id(rest: str) -> str:
    found = re.search(r"\bid=(\S+)", rest)
    return found[1] if found else ""


def _asks(story: Story, rest: str) -> None:
    words, keys = _split(rest)
    data: Json = {
        "resourceType": "Communication",
        "id": "ask",
        "status": keys.get("status", "completed"),
        "category": [concept("referral-request")],
        "subject": {"reference": PATIENT},
        "sender": {"reference": _who(keys.get("sender", "patient"))},
        "recipient": [{"reference": _who(keys.get("to", "requester"))}],
        "sent": story.fhir(words[0]),
    }
    story.request = Held("Communication/ask", ((story.at(_plain(words[0])), data),))


def _task(story: Story, rest: str) -> None:
    head, _, states = rest.partition(": ")
    words, keys = _split(head)
    name = words[0]
    base: Json = {
        "resourceType": "Task",
        "id": name,
        "intent": "order",
        "focus": {"reference": "ServiceRequest/ref"},
        "requester": {"reference": _who(keys.get("requester", "requester"))},
    }
    if keys.get("code", "fulfill") != "none":
        base["code"] = concept(keys.get("code", "fulfill"))
    if keys.get("owner") != "none":
        base["owner"] = {"reference": _who(keys.get("owner", "ortho"))}
    if "authored" in keys:
        base["authoredOn"] = story.fhir(keys["authored"])
    if "partOf" in keys:
        base["partOf"] = [{"reference": f"Task/{keys['partOf']}"}]
    versions: list[tuple[datetime, Json]] = []
    for state in states.split(","):
        (status, when, *_), own = _split(state)
        data = {**base, "status": status}
        if when != "unknown":
            data["lastModified"] = story.fhir(when)
        if "owner" in own:
            data["owner"] = {"reference": _who(own["owner"])}
        for key, element in (("reason", "statusReason"), ("business", "businessStatus")):
            if key in own:
                data[element] = {"text": own[key][5:]} if own[key].startswith("text:") else concept(own[key])
        if "review" in own:
            data["restriction"] = {"period": {"end": story.fhir(own["review"])}}
        if "says" in own:
            data["output"] = [{"type": {"text": "answer"}, "valueCodeableConcept": {"text": own["says"]}}]
        if "output" in own:
            data["output"] = [{"type": {"text": "report"}, "valueReference": {"reference": own["output"]}}]
        stored = own.get("stored", _plain(when) if when != "unknown" else "01-01")
        versions.append((story.at(stored), data))
    story.related.append(Held(f"Task/{name}", tuple(versions)))


def _appointment(story: Story, rest: str) -> None:
    head, _, states = rest.partition(": ")
    words, keys = _split(head)
    name, _made, made, _for, start = words[:5]
    base: Json = {
        "resourceType": "Appointment",
        "id": name,
        "basedOn": [{"reference": "ServiceRequest/ref"}],
        "participant": [{"actor": {"reference": PATIENT}, "status": "accepted"}],
    }
    if made != "unknown":
        base["created"] = story.fhir(made)
    if "with" in keys:
        base["participant"].append({"actor": {"reference": keys["with"]}, "status": "accepted"})
    if "task" in keys:
        base["basedOn"].append({"reference": f"Task/{keys['task']}"})
    versions: list[tuple[datetime, Json]] = []
    for state in states.split(","):
        plain, own = _split(state)
        begins = own.get("for", start)
        data = {**base, "status": plain[0]}
        if begins != "unknown":
            data["start"] = story.fhir(begins)
            if "long" not in own:
                data["end"] = (story.at(begins) + timedelta(minutes=30)).isoformat()
        default = made if made != "unknown" else "01-01"
        versions.append((story.at(plain[1] if len(plain) > 1 else default), data))
    story.related.append(Held(f"Appointment/{name}", tuple(versions)))


def _visit(story: Story, rest: str) -> None:
    words, keys = _split(rest)
    start = words.pop(0)
    status = words.pop(0) if words and words[0] != "to" else "finished"
    end = words[1] if words else ("" if status != "finished" else start)
    period: Json = {}
    if start != "unknown":
        period["start"] = story.fhir(start)
    if end and end != "unknown":
        period["end"] = (story.at(end) + timedelta(hours=1)).isoformat() if end == start else story.fhir(end)
    data: Json = {
        "resourceType": "Encounter",
        "id": keys.get("id", f"visit-{len(story.related)}"),
        "status": status,
        "basedOn": [{"reference": "ServiceRequest/ref"}],
        "period": period,
    }
    if "at" in keys:
        data["serviceProvider"] = {"reference": _who(keys["at"])}
    stored = keys.get("stored", start if start != "unknown" else "01-01")
    story.related.append(Held(f"Encounter/{data['id']}", ((story.at(stored), data),)))


def _report(story: Story, rest: str) -> None:
    words, keys = _split(rest)
    id = keys.get("id", f"report-{len(story.related)}")
    data: Json = {
        "resourceType": "DiagnosticReport",
        "id": id,
        "basedOn": [{"reference": "ServiceRequest/ref"}],
        "performer": [{"reference": _who(keys.get("by", "ortho"))}],
    }
    if "code" in keys:
        data["code"] = concept(keys["code"])
    versions: list[tuple[datetime, Json]] = []
    states = [words[0], *(words[1:] or ["final"])]
    issued = states.pop(0)
    for status in states:
        version = {**data, "status": status}
        if issued != "unknown":
            version["issued"] = story.fhir(issued)
        versions.append((story.at(keys.get("stored", _plain(issued))), version))
    story.related.append(Held(f"DiagnosticReport/{id}", tuple(versions)))


def _document(story: Story, rest: str) -> None:
    words, keys = _split(rest)
    id = keys.get("id", f"document-{len(story.related)}")
    data: Json = {
        "resourceType": "DocumentReference",
        "id": id,
        "status": "current",
        "docStatus": words[1] if len(words) > 1 else "final",
        "type": concept(keys.get("type", "letter")),
        "date": story.fhir(words[0]),
        "author": [{"reference": _who(keys.get("by", "ortho"))}],
        "context": {"related": [{"reference": "ServiceRequest/ref"}]},
    }
    if data["docStatus"] == "none":
        del data["docStatus"]
    if "profile" in keys:
        data["meta"] = {"profile": [f"https://fhir-coprod.org/ig/StructureDefinition/{keys['profile']}"]}
    story.related.append(Held(f"DocumentReference/{id}", ((story.at(_plain(words[0])), data),)))


def _told(story: Story, rest: str) -> None:
    words, keys = _split(rest)
    id = f"message-{len(story.related)}"
    data: Json = {
        "resourceType": "Communication",
        "id": id,
        "status": words[2] if len(words) > 2 else "completed",
        "recipient": [{"reference": _who(words[0])}],
        "about": [{"reference": keys.get("about", story.request.reference if story.request else "")}],
    }
    if words[1] != "unknown":
        data["sent"] = story.fhir(words[1])
    if "from" in keys:
        data["sender"] = {"reference": _who(keys["from"])}
    if "topic" in keys:
        data["topic"] = concept(keys["topic"])
    if "reason" in keys:
        data["statusReason"] = concept(keys["reason"])
    stored = _plain(words[1]) if words[1] != "unknown" else "01-01"
    story.related.append(Held(f"Communication/{id}", ((story.at(stored), data),)))


def _side(story: Story, rest: str) -> None:
    words, keys = _split(rest)
    id = f"side-{len(story.related)}"
    data: Json = {
        "resourceType": "Task",
        "id": id,
        "intent": "order",
        "status": words[1],
        "code": concept(keys.get("code", "review")),
        "focus": {"reference": keys.get("about", "ServiceRequest/ref")},
        "lastModified": story.fhir(words[0]),
    }
    if "authored" in keys:
        data["authoredOn"] = story.fhir(keys["authored"])
    if "owner" in keys:
        data["owner"] = {"reference": _who(keys["owner"])}
    if "profile" in keys:
        data["meta"] = {"profile": [f"https://fhir-coprod.org/ig/StructureDefinition/{keys['profile']}"]}
    story.related.append(Held(f"Task/{id}", ((story.at(words[0]), data),)))


def _silence(story: Story, rest: str) -> None:
    data: Json = {
        "resourceType": "CommunicationRequest",
        "id": "silence",
        "status": "active",
        "doNotPerform": True,
        "subject": {"reference": PATIENT},
    }
    story.related.append(Held("CommunicationRequest/silence", ((story.at(rest), data),)))


def _patient(story: Story, rest: str) -> None:
    _, keys = _split(rest)
    data: Json = {"resourceType": "Patient", "id": "pat"}
    if "born" in keys:
        data["birthDate"] = keys["born"]
    if "died" in keys:
        data["deceasedDateTime"] = story.fhir(keys["died"])
    story.patient = Held(PATIENT, ((story.at("01-01"), data),))


_RESOURCES = {
    "referral": _referral,
    "asks": _asks,
    "sibling": _sibling,
    "task": _task,
    "appointment": _appointment,
    "visit": _visit,
    "report": _report,
    "document": _document,
    "told": _told,
    "side": _side,
    "silence": _silence,
    "patient": _patient,
}
