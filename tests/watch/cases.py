"""Records of which the cases are made, and how the watch is asked about them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fhir_coprod import jsontext
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch import Standing
from fhir_coprod.watch.facts.reader import gather
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.assess import assess

NOW = datetime(2026, 4, 13, tzinfo=UTC)


MARCH = "2026-03-{:02}T09:00:00Z"


BSER = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"


CA = "https://fhir.infoway-inforoute.ca/CodeSystem/ca-referralbusinessstatus"


TASK_CODE = "http://hl7.org/fhir/CodeSystem/task-code"


Json = dict[str, Any]


NUMBER = {"system": "urn:hospital:referral", "value": "R-1"}


def at(name: str) -> Json:
    return {"reference": name}


def code(system: str, value: str) -> Json:
    return {"coding": [{"system": system, "code": value}]}


def resource(name: str, /, **says: Any) -> Json:
    type, _, id = name.partition("/")
    return {"resourceType": type, "id": id, **says}


def order(id: str = "s", **more: Any) -> Json:
    return resource(
        f"ServiceRequest/{id}",
        **{
            "status": "active",
            "intent": "order",
            "subject": at("Patient/p"),
            "authoredOn": MARCH.format(2),
            "requester": at("Organization/gp"),
            "performer": [at("Organization/clinic")],
            "code": {"text": "please see"},
        }
        | more,
    )


def task(id: str = "t", status: str = "accepted", **more: Any) -> Json:
    return resource(
        f"Task/{id}",
        **{
            "status": status,
            "intent": "order",
            "code": code(TASK_CODE, "fulfill"),
            "focus": at("ServiceRequest/s"),
            "for": at("Patient/p"),
            "requester": at("Organization/gp"),
            "owner": at("Organization/clinic"),
            "authoredOn": MARCH.format(2),
            "lastModified": MARCH.format(4),
        }
        | more,
    )


def told(id: str = "c", **more: Any) -> Json:
    return resource(
        f"Communication/{id}",
        **{
            "status": "completed",
            "subject": at("Patient/p"),
            "recipient": [at("Patient/p")],
            "about": [at("ServiceRequest/s")],
            "sent": "2026-04-10T09:00:00Z",
        }
        | more,
    )


def report(id: str, based_on: str, by: str = "Organization/clinic", **more: Any) -> Json:
    return resource(
        f"DiagnosticReport/{id}",
        **{
            "status": "final",
            "code": {"text": "please see"},
            "subject": at("Patient/p"),
            "basedOn": [at(based_on)],
            "performer": [at(by)],
            "issued": MARCH.format(20),
        }
        | more,
    )


BASE = [
    resource("Organization/gp", name="Practice"),
    resource("Organization/clinic", name="Clinic"),
    resource("Organization/hub", name="Hub"),
    resource("Patient/p", birthDate="1980-01-01"),
]


Watch = Callable[..., Standing]


def looking(store: Store) -> Watch:
    """A function that stores records beside the base and says what the watch holds of a referral."""

    def look(*resources: Json, now: datetime = NOW, referral: str = "ServiceRequest/s") -> Standing:
        given = {f"{one['resourceType']}/{one['id']}": one for one in (*BASE, *resources)}
        store.write(
            lambda transaction: [
                transaction.put(jsontext.from_data(one), one["id"]) for one in given.values()
            ]
        )
        return assess(gather(store, referral, Settings()), policies.load("default"), now)

    return look


def rules(standing: Standing) -> list[str]:
    return [str(stall.rule) for stall in standing.stalls]
