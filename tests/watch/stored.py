"""Stories written into a real store, each under ids of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fhir_coprod import jsontext
from fhir_coprod.store import Store, Transaction
from fhir_coprod.watch.record.around import Held
from tests.watch.story import BEHIND, Story
from tests.watch.telling import read

_OWN = re.compile(
    r'"((?:ServiceRequest|Task|Appointment|Encounter|DiagnosticReport|DocumentReference|Communication'
    r'|CommunicationRequest|Patient|RelatedPerson)/)([^"/]+)"'
)


def all_stories() -> list[Story]:
    folder = Path(__file__).parent / "scenarios"
    return [story for path in sorted(folder.glob("*.txt")) for story in read(path)]


def renamed(held: Held, prefix: str) -> Held:
    """The same resource under ids that no other story has."""
    type, _, id = held.reference.partition("/")
    versions = []
    for stored, data in held.versions:
        text = _OWN.sub(rf'"\g<1>{prefix}-\g<2>"', json.dumps(data))
        versions.append((stored, {**json.loads(text), "id": f"{prefix}-{id}"}))
    return Held(f"{type}/{prefix}-{id}", tuple(versions))


def staff() -> list[dict[str, Any]]:
    """The roles, services and places that the stories name."""
    people: list[dict[str, Any]] = []
    for reference, behind in BEHIND.items():
        type, _, id = reference.partition("/")
        if type == "PractitionerRole":
            detail: dict[str, Any] = {
                "practitioner": {"reference": behind[0]},
                "organization": {"reference": behind[1]},
            }
        elif type == "HealthcareService":
            detail = {"providedBy": {"reference": behind[0]}}
        else:
            detail = {"managingOrganization": {"reference": behind[0]}}
        people.append({"resourceType": type, "id": id, **detail})
    return people


def relatives(prefix: str) -> list[dict[str, Any]]:
    patient = {"reference": f"Patient/{prefix}-pat"}
    return [
        {"resourceType": "RelatedPerson", "id": f"{prefix}-daughter", "patient": patient},
        {"resourceType": "RelatedPerson", "id": f"{prefix}-stranger", "patient": patient, "active": False},
    ]


def put_all(transaction: Transaction, resources: list[dict[str, Any]]) -> None:
    for data in resources:
        transaction.put(jsontext.from_data(data), data["id"])


def tell(
    store: Store, story: Story, prefix: str
) -> tuple[Held, list[Held], list[tuple[Held, tuple[str, ...]]]]:
    """Write a story; its resources with the times at which the store really stored them."""

    def write(held: Held) -> Held:
        own = renamed(held, prefix)
        versions = []
        for _, data in own.versions:
            written = store.write(lambda t, data=data: t.put(jsontext.from_data(data), data["id"]))
            if written.change != "unchanged":
                versions.append((written.version.updated, data))
        return Held(own.reference, tuple(versions))

    store.write(lambda t: put_all(t, relatives(prefix)))
    assert story.request is not None
    request = write(story.request)
    related = [write(held) for held in story.related]
    siblings = []
    for held, departments in story.siblings:
        siblings.append((write(held), departments))
        if departments:
            owned = {
                "resourceType": "Task",
                "id": f"{prefix}-task-of-{held.reference.partition('/')[2]}",
                "status": "requested",
                "intent": "order",
                "focus": {"reference": siblings[-1][0].reference},
                "owner": {"reference": departments[0]},
            }
            store.write(lambda t, owned=owned: t.put(jsontext.from_data(owned), owned["id"]))
    return request, related, siblings
