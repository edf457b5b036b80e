"""A small hospital that is hard to keep apart: people, departments and records that touch each other in every
way that has led from one patient to another on some server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def label(*codes: str) -> Json:
    return {
        "meta": {
            "security": [{"system": CONFIDENTIALITY if c in ("R", "V") else ACT, "code": c} for c in codes]
        }
    }


def ref(name: str) -> Json:
    return {"reference": name}


def coded(code: str) -> Json:
    return {"coding": [{"system": "urn:codes", "code": code}]}


def person(gender: str, family: str, **more: Any) -> Json:
    return {"gender": gender, "name": [{"family": family}], **more}


def observation(subject: str, code: str = "a", **more: Any) -> Json:
    return {"status": "final", "code": coded(code), "subject": ref(subject), **more}


def order(subject: str, requester: str = "", *performers: str, status: str = "active", **more: Any) -> Json:
    data: Json = {"status": status, "intent": "order", "subject": ref(subject), **more}
    if requester:
        data["requester"] = ref(requester)
    if performers:
        data["performer"] = [ref(name) for name in performers]
    return data


def task(focus: str = "", patient: str = "", owner: str = "", requester: str = "", **more: Any) -> Json:
    data: Json = {"status": "requested", "intent": "order", **more}
    for name, value in (("focus", focus), ("for", patient), ("owner", owner), ("requester", requester)):
        if value:
            data[name] = ref(value)
    return data


DELETED: Json = {"deleted": True}

HISTORY: tuple[tuple[str, Json], ...] = (
    ("Organization/A", {"name": "Alpha"}),
    ("Organization/B", {"name": "Beta", "partOf": ref("Organization/A")}),
    ("Organization/C", {"name": "Gamma", **label("V")}),
    ("Practitioner/doc", {"name": [{"family": "Doc"}]}),
    # The order comes before the role that it names.
    ("ServiceRequest/early", order("Patient/p1", "PractitionerRole/late", "Organization/B")),
    (
        "PractitionerRole/late",
        {"organization": ref("Organization/A"), "practitioner": ref("Practitioner/doc")},
    ),
    ("PractitionerRole/rb", {"organization": ref("Organization/B")}),
    ("PractitionerRole/none", {"practitioner": ref("Practitioner/doc")}),
    ("PractitionerRole/moved", {"organization": ref("Organization/A")}),
    ("PractitionerRole/gone", {"organization": ref("Organization/C")}),
    ("PractitionerRole/away", {"organization": ref("http://elsewhere.test/Organization/A")}),
    ("HealthcareService/hb", {"providedBy": ref("Organization/B"), "name": "Help"}),
    ("Location/la", {"managingOrganization": ref("Organization/A"), "name": "Lab"}),
    ("Patient/p1", person("female", "One", link=[{"other": ref("Patient/p2"), "type": "seealso"}])),
    ("Patient/p2", person("male", "Two", link=[{"other": ref("Patient/p1"), "type": "refer"}])),
    ("Patient/p3", person("female", "Three", managingOrganization=ref("Organization/C"))),
    ("Patient/p4", person("male", "Four", generalPractitioner=[ref("Organization/A")])),
    ("Patient/p5", person("other", "Five", **label("R"))),
    ("Patient/p6", person("female", "Six")),
    ("Patient/same", person("male", "Same")),
    ("Patient/alone", person("male", "Alone", **label("V"))),
    ("Group/same", {"type": "person", "actual": True, "member": [{"entity": ref("Patient/p1")}]}),
    (
        "Group/all",
        {
            "type": "person",
            "actual": True,
            "member": [{"entity": ref("Patient/p1")}, {"entity": ref("Patient/p2")}],
        },
    ),
    ("Person/both", {"link": [{"target": ref("Patient/p1")}, {"target": ref("Patient/p2")}]}),
    ("RelatedPerson/mother", {"patient": ref("Patient/p2"), "gender": "female"}),
    ("Device/d1", {"patient": ref("Patient/p1"), "status": "active"}),
    ("Device/d2", {"status": "active"}),
    ("Device/same", {"status": "inactive", "patient": ref("Patient/p3")}),
    # --- referrals
    ("ServiceRequest/s2", order("Patient/p2", "Organization/C", "HealthcareService/hb")),
    ("ServiceRequest/s3", order("Patient/p3", "Organization/C", "Organization/C", status="completed")),
    ("ServiceRequest/s4", order("Group/all", "Organization/A")),
    ("ServiceRequest/s5", order("Patient/p4", "http://elsewhere.test/Organization/A")),
    ("ServiceRequest/s6", order("Patient/p5", "PractitionerRole/rb", "Organization/C", **label("NOPAT"))),
    ("ServiceRequest/s7", order("Patient/p1", "Organization/A", "Organization/B", **label("V"))),
    ("ServiceRequest/s8", order("Patient/p1", "Organization/A", meta={"security": [{"code": 7}]})),
    ("ServiceRequest/s9", order("Patient/p4", "Organization/A")),
    ("ServiceRequest/s10", order("Patient/p1", "Organization/A")),
    ("ServiceRequest/s11", order("Patient/p6", "PractitionerRole/gone", "PractitionerRole/none")),
    ("ServiceRequest/s12", order("Patient/same", "PractitionerRole/moved")),
    ("ServiceRequest/s13", order("Patient/alone", "PractitionerRole/away", "CareTeam/none")),
    ("ServiceRequest/s14", order("Patient/p4", "Patient/p4", "Patient/p1")),
    ("Task/t1", task("ServiceRequest/s2", "Patient/p2", "Organization/A")),
    ("Task/t2", task("ServiceRequest/early", "Patient/p4", "PractitionerRole/rb", status="accepted")),
    ("Task/t3", task("", "Patient/p3", "Organization/C")),
    ("Task/t4", task("ServiceRequest/s3", "Patient/p3", "PractitionerRole/none")),
    ("Task/t5", task("http://elsewhere.test/ServiceRequest/s3", "Patient/p3", "Location/la")),
    ("Task/t6", task("ServiceRequest/s2", "", "", "Organization/B", **label("NOAUTH"))),
    ("Task/t7", task("ServiceRequest/s14", "Patient/p4", "Organization/C", status="rejected")),
    ("Task/t8", task("ServiceRequest/s9", "Patient/p2", "Organization/B")),
    (
        "DetectedIssue/i1",
        {"status": "final", "patient": ref("Patient/p1"), "implicated": [ref("ServiceRequest/early")]},
    ),
    ("DetectedIssue/i2", {"status": "final", "patient": ref("Patient/p2"), "implicated": [ref("Task/t1")]}),
    ("DetectedIssue/i3", {"status": "final", "patient": ref("Patient/p1")}),
    (
        "DetectedIssue/i4",
        {"status": "final", "patient": ref("Patient/p1"), "implicated": [ref("ServiceRequest/s3")]},
    ),
    (
        "DetectedIssue/i5",
        {
            "status": "final",
            "patient": ref("Patient/p1"),
            "implicated": [ref("http://elsewhere.test/ServiceRequest/early")],
        },
    ),
    (
        "DetectedIssue/i6",
        {
            "status": "final",
            "patient": ref("Patient/p3"),
            "implicated": [ref("Observation/o1")],
            **label("NOPAT"),
        },
    ),
    # --- the rest of the record
    ("Observation/o1", observation("Patient/p1", "a")),
    ("Observation/o2", observation("Patient/p2", "a", performer=[ref("Patient/p1")])),
    ("Observation/o3", observation("Patient/p3", "b", performer=[ref("Organization/A")])),
    ("Observation/o4", observation("Patient/p4", "a", status="amended")),
    ("Observation/o5", observation("Patient/p5", "b")),
    ("Observation/oR", observation("Patient/p1", "a", **label("R"))),
    ("Observation/oV", observation("Patient/p1", "a", **label("V"))),
    ("Observation/oSEX", observation("Patient/p1", "b", **label("SEX"))),
    ("Observation/oMST", observation("Patient/p1", "b", **label("MST"))),
    ("Observation/oPSY", observation("Patient/p1", "b", **label("PSY"))),
    ("Observation/oSDV", observation("Patient/p2", "b", **label("SDV"))),
    ("Observation/oHIV", observation("Patient/p2", "b", **label("HIV", "NOPAT"))),
    ("Observation/oETH", observation("Patient/p1", "b", **label("SUD"))),
    ("Observation/oNOPAT", observation("Patient/p1", "a", **label("NOPAT"))),
    ("Observation/oNOAUTH", observation("Patient/p1", "a", **label("NOAUTH"))),
    ("Observation/oTBOO", observation("Patient/p1", "a", **label("TBOO"))),
    (
        "Observation/oOWN",
        observation("Patient/p1", "a", meta={"security": [{"system": "urn:x", "code": "R"}]}),
    ),
    ("Observation/oBARE", observation("Patient/p1", "a", meta={"security": [{"code": "R"}]})),
    ("Observation/oBAD1", observation("Patient/p1", "a", meta={"security": "R"})),
    ("Observation/oBAD2", observation("Patient/p1", "a", meta={"security": []})),
    ("Observation/oBAD3", observation("Patient/p1", "a", meta=[{"security": []}])),
    ("Observation/oABS", observation("http://elsewhere.test/Patient/p1", "a")),
    ("Observation/oGRP", observation("Group/all", "a")),
    ("Observation/oSAME", observation("Group/same", "b")),
    ("Observation/oDEV", observation("Device/d1", "b")),
    ("Observation/oVERS", observation("Patient/p1/_history/1", "b")),
    (
        "Observation/oCONT",
        observation(
            "#in",
            "a",
            contained=[{"resourceType": "Patient", "id": "in", "gender": "male"}],
            performer=[ref("Patient/p3")],
        ),
    ),
    ("Observation/oMOVED", observation("Patient/p1", "a")),
    ("Observation/oBACK", observation("Patient/p1", "a")),
    ("Observation/oLABEL", observation("Patient/p1", "a", **label("V"))),
    ("Observation/oGONE", observation("Patient/p1", "a")),
    ("Observation/oNONE", {"status": "final", "code": coded("a")}),
    ("Condition/c1", {"subject": ref("Patient/p1"), "code": coded("x"), "asserter": ref("Patient/p2")}),
    ("Condition/c2", {"subject": ref("Patient/p3"), "code": coded("x"), **label("PSY")}),
    (
        "Encounter/e1",
        {
            "status": "finished",
            "subject": ref("Patient/p1"),
            "class": {"code": "AMB"},
            "basedOn": [ref("ServiceRequest/early")],
        },
    ),
    (
        "Encounter/e2",
        {
            "status": "planned",
            "subject": ref("Patient/p3"),
            "class": {"code": "AMB"},
            "basedOn": [ref("ServiceRequest/s3")],
        },
    ),
    (
        "Appointment/a1",
        {
            "status": "booked",
            "participant": [
                {"actor": ref("Patient/p1"), "status": "accepted"},
                {"actor": ref("Patient/p3"), "status": "accepted"},
            ],
        },
    ),
    (
        "List/l1",
        {
            "status": "current",
            "mode": "working",
            "subject": ref("Patient/p1"),
            "entry": [{"item": ref("Observation/o3")}],
        },
    ),
    ("List/l2", {"status": "current", "mode": "working", "entry": [{"item": ref("Patient/p1")}]}),
    (
        "Bundle/b1",
        {
            "type": "collection",
            "entry": [{"resource": {"resourceType": "Patient", "id": "p1", "gender": "female"}}],
        },
    ),
    ("Binary/x1", {"contentType": "text/plain", "data": "eA=="}),
    ("Questionnaire/q1", {"status": "active", "url": "urn:q1", "version": "1", "title": "Open"}),
    ("Questionnaire/q2", {"status": "draft", "url": "urn:q2", "title": "Hidden", **label("V")}),
    (
        "QuestionnaireResponse/r1",
        {
            "status": "completed",
            "questionnaire": "urn:q1|1",
            "subject": ref("Patient/p1"),
            "author": ref("Patient/p2"),
        },
    ),
    (
        "QuestionnaireResponse/r2",
        {"status": "completed", "questionnaire": "urn:q2", "subject": ref("Patient/p2")},
    ),
    # --- what has changed since
    ("PractitionerRole/moved", {"organization": ref("Organization/B")}),
    ("PractitionerRole/gone", DELETED),
    ("ServiceRequest/s9", DELETED),
    ("ServiceRequest/s10", order("Patient/p3", "Organization/C")),
    ("Observation/oMOVED", observation("Patient/p3", "a")),
    ("Observation/oBACK", observation("Patient/p2", "b")),
    ("Observation/oBACK", observation("Patient/p1", "b")),
    ("Observation/oLABEL", observation("Patient/p1", "a")),
    ("Observation/oGONE", DELETED),
    ("Patient/p6", DELETED),
    ("Task/t4", task("ServiceRequest/s3", "Patient/p3", "PractitionerRole/none", status="accepted")),
)
"""Type/id and content of each version, in the order in which they are written."""


def fill(store: Store, history: Iterable[tuple[str, Json]] = HISTORY) -> None:
    """Write all of it, each version in a transaction of its own."""
    for name, data in history:
        type, _, id = name.partition("/")
        if data is DELETED:
            store.write(lambda t, type=type, id=id: t.delete(type, id))
            continue
        document = jsontext.from_data({"resourceType": type, "id": id, **data})
        store.write(lambda t, document=document, id=id: t.put(document, id))
