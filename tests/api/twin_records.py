"""Records for two servers at once: invented, valid R4, and full of what searches trip over.

Partial dates, open periods, zones, accents and punctuation, identifiers with commas and bars, codes with and
without system, quantities of every precision, references that only name an identifier or another server. The
same seed gives the same records.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

Json = dict[str, Any]

SCT = "http://snomed.info/sct"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
LOCAL = "urn:local:codes"

FAMILIES = (
    *("Åkesson", "ÅKESSON", "Akesson-Berg", "O'Hara", "Ohara", "van der Berg", "Berg", "Bergström"),
    *("Müller", "Muller", "Straße", "Strasse", "Łukasz", "D,Angelo", "Ng", "Nguyễn", "李", "Öberg", "Oberg"),
)
GIVEN = ("Anna", "anna", "Ann-Marie", "Bo", "José", "Jose", "Karl Erik", "Zoë", "Zoe", "Ivo")
CITIES = ("Malmö", "Malmo", "Lund", "Göteborg", "St. Ives", "s-Hertogenbosch")
CODES = (
    (SCT, "241648009", "Magnetic resonance imaging of lumbar spine"),
    (SCT, "183545006", "Referral to orthopaedic service"),
    (SCT, "279039007", "Low back pain"),
    (LOINC, "8867-4", "Heart rate"),
    (LOINC, "29463-7", "Body weight"),
    (LOCAL, "8867-4", "Pulse, locally"),
    ("", "8867-4", "Pulse without a system"),
    (LOCAL, "A,B|C", "A code with signs in it"),
)
DAYS = tuple(f"20{y:02}-{m:02}-{d:02}" for y in (19, 20, 23) for m in (1, 2, 12) for d in (1, 14, 28))
ZONES = ("Z", "+01:00", "-05:00", "+14:00")
NUMBERS = ("100", "100.0", "100.00", "99.6", "5.4", "5.40", "0.05", "0", "-3", "1000", "1e2", "37.25")
UNITS = (("mg", UCUM, "mg"), ("g", UCUM, "g"), ("kg", UCUM, "kg"), ("tablets", "", ""), ("", "", ""))
TAGS = (("urn:tag", "t1"), ("urn:tag", "t2"), ("urn:other", "t1"))
PROFILES = ("http://x.example/StructureDefinition/one", "http://x.example/StructureDefinition/two")
URIS = ("http://x.example/vs/a", "http://x.example/vs/a/b", "http://x.example/vs/A", "urn:oid:1.2.3.4")

FORMS = ("http://x.example/q/a", "http://x.example/q/b")

SHARES: tuple[tuple[str, float], ...] = (
    ("Organization", 0.01),
    ("Practitioner", 0.015),
    ("Location", 0.015),
    ("ValueSet", 0.01),
    ("Questionnaire", 0.005),
    ("Medication", 0.01),
    ("Patient", 0.16),
    ("Encounter", 0.1),
    ("Condition", 0.1),
    ("Observation", 0.33),
    ("ServiceRequest", 0.12),
    ("Task", 0.1),
    ("CarePlan", 0.02),
    ("RiskAssessment", 0.02),
    ("QuestionnaireResponse", 0.03),
    ("MedicationRequest", 0.03),
)
"""Type and its share of all records. What is referred to comes first: HAPI wants targets to be there."""


def records(size: int, seed: int = 1) -> list[Json]:
    """About `size` resources, each with its id, in an order in which they can be stored."""
    return list(_Maker(random.Random(seed)).all(size))


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.made: dict[str, list[str]] = {}

    def all(self, size: int) -> Iterator[Json]:
        for type, share in SHARES:
            make: Callable[[], Json] = getattr(self, f"_{type.lower()}")
            for number in range(max(3, round(size * share))):
                id = f"{type.lower()[:4]}-{number}"
                resource: Json = {"resourceType": type, "id": id, **self._meta(), **make()}
                yield {name: value for name, value in resource.items() if value not in (None, [], {})}
                self.made.setdefault(type, []).append(id)

    # ------------------------------------------------------------------------------------------ chances

    def _sometimes(self, value: Any, often: float = 0.5) -> Any:
        return value if self.chance.random() < often else None

    def _one(self, values: Any) -> Any:
        return self.chance.choice(values)

    def _some(self, make: Callable[[], Any], most: int = 2) -> list[Any]:
        return [make() for _ in range(self.chance.randint(0, most))]

    # --------------------------------------------------------------------------------------- data types

    def _meta(self) -> Json:
        meta: Json = {}
        if self.chance.random() < 0.2:
            system, code = self._one(TAGS)
            meta["tag"] = [{"system": system, "code": code}]
        if self.chance.random() < 0.15:
            meta["profile"] = [self._one(PROFILES)]
        if self.chance.random() < 0.1:
            meta["security"] = [{"system": "urn:sec", "code": self._one(("R", "N"))}]
        return {"meta": meta} if meta else {}

    def _identifier(self) -> Json:
        value = self._one((f"{self.chance.randrange(60)}", f"A,{self.chance.randrange(5)}|x", "a b", "x$y"))
        identifier: Json = {"value": value}
        if self.chance.random() < 0.8:
            identifier["system"] = self._one(("urn:mrn", "urn:pnr"))
        if self.chance.random() < 0.3:
            identifier["type"] = {
                "coding": [{"system": V2, "code": self._one(("MR", "SS"))}],
                "text": "Record no",
            }
        return identifier

    def _concept(self) -> Json:
        if self.chance.random() < 0.1:
            return {"text": "only words"}
        codings = []
        for system, code, display in self.chance.sample(CODES, self.chance.choice((1, 1, 2))):
            coding = {"code": code, "display": display}
            codings.append({"system": system, **coding} if system else coding)
        concept: Json = {"coding": codings}
        if self.chance.random() < 0.2:
            concept["text"] = "Said in other words"
        return concept

    def _date(self) -> str:
        day = self._one(DAYS)
        return self._one((day, day, day[:7], day[:4]))

    def _instant(self) -> str:
        second = f"{self._one(DAYS)}T{self._one(('00:00:00', '09:30:00', '23:59:59', '12:00:00.500'))}"
        return second + self._one(ZONES)

    def _date_time(self) -> str:
        return self._one((self._date, self._instant))()

    def _period(self) -> Json:
        start, end = sorted((self._one(DAYS), self._one(DAYS)))
        period: Json = {}
        if self.chance.random() < 0.8:
            period["start"] = start
        if self.chance.random() < 0.6 or not period:
            period["end"] = end
        return period

    def _quantity(self) -> Json:
        unit, system, code = self._one(UNITS)
        quantity: Json = {"value": Decimal(self._one(NUMBERS))}
        quantity |= {"unit": unit} if unit else {}
        quantity |= {"system": system, "code": code} if system else {}
        return quantity

    def _name(self) -> Json:
        name: Json = {"family": self._one(FAMILIES), "given": [self._one(GIVEN)]}
        if self.chance.random() < 0.2:
            name["prefix"] = ["Dr."]
        return name

    def _to(self, *types: str) -> Json:
        """A reference to one of what has been made."""
        type = self._one([type for type in types if self.made.get(type)] or types)
        return {"reference": f"{type}/{self._one(self.made[type])}"}

    def _person(self) -> Json:
        """The patient, mostly; or what real records have instead."""
        return self._one(
            (
                *[self._to("Patient") for _ in range(9)],
                {"identifier": {"system": "urn:mrn", "value": f"{self.chance.randrange(60)}"}},
                {"display": "somebody"},
            )
        )

    # -------------------------------------------------------------------------------------------- types

    def _organization(self) -> Json:
        return {
            "name": self._one(("Clinic", "clinic north", "Hospital", "Överläkarna")),
            "identifier": self._some(self._identifier, 1),
            "active": self._one((True, False)),
            "partOf": self._sometimes(self._to("Organization")) if self.made.get("Organization") else None,
        }

    def _practitioner(self) -> Json:
        return {"name": [self._name()], "identifier": self._some(self._identifier, 1)}

    def _location(self) -> Json:
        position = {
            "latitude": Decimal(self._one(("59.35", "59.36", "57.70"))),
            "longitude": Decimal("18.03"),
        }
        return {
            "name": self._one(("Ward 1", "Ward 10", "Theatre")),
            "status": self._one(("active", "suspended")),
            "position": self._sometimes(position),
            "managingOrganization": self._to("Organization"),
        }

    def _valueset(self) -> Json:
        return {
            "status": self._one(("active", "draft", "retired")),
            "url": self._one(URIS),
            # HAPI holds one ValueSet of a url and version.
            "version": f"{len(self.made.get('ValueSet', ()))}.0",
            "name": "Invented",
            "title": self._one(("Invented things", "Things, invented")),
        }

    def _patient(self) -> Json:
        telecom = {"system": self._one(("phone", "email")), "value": self._one(("070-123", "a@b.example"))}
        address = {"city": self._one(CITIES), "postalCode": self._one(("211 20", "21120")), "country": "SE"}
        return {
            "active": self._sometimes(self._one((True, False)), 0.8),
            "identifier": self._some(self._identifier),
            "name": self._some(self._name),
            "gender": self._sometimes(self._one(("male", "female", "other", "unknown")), 0.9),
            "birthDate": self._sometimes(self._date(), 0.9),
            "deceasedBoolean": self._sometimes(True, 0.1),
            "telecom": self._some(lambda: telecom, 1),
            "address": self._some(lambda: address, 1),
            "generalPractitioner": self._some(lambda: self._to("Practitioner", "Organization"), 2),
            "managingOrganization": self._sometimes(self._to("Organization")),
        }

    def _encounter(self) -> Json:
        return {
            "status": self._one(("planned", "in-progress", "finished")),
            "class": {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
                "code": self._one(("AMB", "IMP")),
            },
            "subject": self._person(),
            "period": self._sometimes(self._period(), 0.8),
            "partOf": self._sometimes(self._to("Encounter"), 0.2) if self.made.get("Encounter") else None,
            "serviceProvider": self._sometimes(self._to("Organization")),
            "length": self._sometimes(
                {"value": Decimal(self._one(("30", "45"))), "unit": "min", "system": UCUM, "code": "min"}, 0.3
            ),
        }

    def _condition(self) -> Json:
        status = "http://terminology.hl7.org/CodeSystem/condition-clinical"
        onset = self._one(
            (
                {"onsetDateTime": self._date_time()},
                {"onsetPeriod": self._period()},
                {"onsetString": "long ago"},
                {"onsetAge": {"value": Decimal("37"), "unit": "a", "system": UCUM, "code": "a"}},
                {},
            )
        )
        return {
            "clinicalStatus": {"coding": [{"system": status, "code": self._one(("active", "resolved"))}]},
            "code": self._concept(),
            "subject": self._person(),
            "encounter": self._sometimes(self._to("Encounter"), 0.3),
            "recordedDate": self._sometimes(self._date_time()),
            **onset,
        }

    def _observation(self) -> Json:
        value = self._one(
            (
                {"valueQuantity": self._quantity()},
                {"valueQuantity": self._quantity()},
                {"valueCodeableConcept": self._concept()},
                {"valueString": self._one(("High", "Very high", "low"))},
                {"valueDateTime": self._date_time()},
                {},
            )
        )
        effective = self._one(
            (
                {"effectiveDateTime": self._date_time()},
                {"effectiveDateTime": self._date_time()},
                {"effectivePeriod": self._period()},
                {"effectiveInstant": self._instant()},
                {},
            )
        )
        code = self._one(("8480-6", "8462-4"))
        component = {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueQuantity": self._quantity()}
        return {
            "status": self._one(("final", "amended", "preliminary")),
            "code": self._concept(),
            "category": self._some(self._concept, 1),
            "subject": self._person(),
            "encounter": self._sometimes(self._to("Encounter"), 0.3),
            "performer": self._some(lambda: self._to("Practitioner", "Organization"), 2),
            "component": self._some(lambda: component, 1),
            "hasMember": self._some(lambda: self._to("Observation"), 1)
            if self.made.get("Observation") and self.chance.random() < 0.2
            else None,
            **effective,
            **value,
        }

    def _servicerequest(self) -> Json:
        return {
            "identifier": self._some(self._identifier, 1),
            "status": self._one(("active", "draft", "completed", "revoked")),
            "intent": self._one(("order", "proposal")),
            "priority": self._sometimes(self._one(("routine", "urgent"))),
            "code": self._concept(),
            "subject": self._to("Patient"),
            "authoredOn": self._sometimes(self._date_time(), 0.8),
            "occurrencePeriod": self._sometimes(self._period(), 0.3),
            "requester": self._sometimes(self._to("Practitioner", "Organization")),
            "performer": self._some(lambda: self._to("Practitioner", "Organization"), 2),
            "basedOn": self._some(lambda: self._to("ServiceRequest"), 1)
            if self.made.get("ServiceRequest")
            else None,
            "instantiatesCanonical": self._some(
                lambda: self._one(("http://x.example/plan|1.0", "http://x.example/plan")), 1
            ),
            "instantiatesUri": self._some(lambda: self._one(URIS), 1),
        }

    def _task(self) -> Json:
        return {
            "status": self._one(("requested", "accepted", "in-progress", "completed", "rejected")),
            "intent": "order",
            "code": self._sometimes(self._concept()),
            "businessStatus": self._sometimes({"text": "waiting for a slot"}, 0.3),
            "focus": self._sometimes(self._to("ServiceRequest"), 0.8),
            "for": self._person(),
            "owner": self._sometimes(self._to("Organization", "Practitioner")),
            "requester": self._sometimes(self._to("Practitioner")),
            "authoredOn": self._sometimes(self._date_time(), 0.8),
            # Not before authoredOn: Task's inv-1.
            "lastModified": self._sometimes("21" + self._instant()[2:]),
            "executionPeriod": self._sometimes(self._period(), 0.3),
            "identifier": self._some(self._identifier, 1),
        }

    def _careplan(self) -> Json:
        return {
            "status": self._one(("active", "draft", "completed")),
            "intent": "plan",
            "subject": self._to("Patient"),
            "period": self._sometimes(self._period()),
            "title": "A plan",
            "category": self._some(self._concept, 1),
        }

    def _riskassessment(self) -> Json:
        probability = self._one(("0.8", "0.80", "0.75", "0.1", "0.805", "1"))
        return {
            "status": self._one(("final", "registered")),
            "subject": self._to("Patient"),
            "prediction": self._some(lambda: {"probabilityDecimal": Decimal(probability)}, 2),
            "occurrenceDateTime": self._sometimes(self._date_time()),
        }

    def _questionnaire(self) -> Json:
        return {
            "status": self._one(("active", "retired")),
            "url": self._one(FORMS),
            "version": f"{len(self.made.get('Questionnaire', ()))}.0",
            "title": self._one(("Before the visit", "After the visit")),
        }

    def _questionnaireresponse(self) -> Json:
        version = self._one(("", "", "|0.0", "|1.0", "|9.9"))
        return {
            "status": self._one(("completed", "in-progress")),
            "questionnaire": self._one(FORMS) + version,
            "subject": self._to("Patient"),
        }

    def _medication(self) -> Json:
        return {"code": self._concept(), "manufacturer": self._sometimes(self._to("Organization"))}

    def _medicationrequest(self) -> Json:
        """The medication in a record of its own, in this one, or only its code."""
        inside = {"resourceType": "Medication", "id": "med", **self._medication()}
        inside = {name: value for name, value in inside.items() if value is not None}
        medication = self._one(
            (
                {"medicationReference": self._to("Medication")},
                {"medicationReference": {"reference": "#med"}, "contained": [inside]},
                {"medicationCodeableConcept": self._concept()},
            )
        )
        return {
            "status": self._one(("active", "stopped")),
            "intent": "order",
            "subject": self._to("Patient"),
            **medication,
        }
