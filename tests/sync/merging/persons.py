"""Records of people to compare, and what comes of comparing them."""

from __future__ import annotations

from typing import Any

from fhir_coprod.sync.merging.people import Resolution, Trust
from fhir_coprod.sync.staging.identity import Candidate, Decisions, keys
from fhir_coprod.sync.staging.numbers import KINDS
from fhir_coprod.sync.staging.references import Bases, Record
from tests.sync.merging import at_once
from tests.sync.merging.at_once import NOTHING_SAID

SSN = "http://hl7.org/fhir/sid/us-ssn"
ONE, TWO, THREE = "123456780", "223456701", "333456790"
BASES = Bases({ehr: f"https://{ehr}.example" for ehr in "abc"})
TODAY = Trust(today="2026-11-30")


def patient(
    ehr: str,
    id: str = "1",
    number: str = ONE,
    *,
    family: str = "Öst",
    given: str = "Eva",
    birth: str = "1970-03-02",
    **more: Any,
) -> Candidate:
    data: dict[str, Any] = {"resourceType": "Patient", "id": id, **more}
    if number:
        data.setdefault("identifier", [{"system": SSN, "value": number}])
    if family or given:
        data.setdefault("name", [{"family": family, "given": given.split()}])
    if birth:
        data["birthDate"] = birth
    return Candidate(Record(ehr, "Patient", id), keys(data, ehr, BASES))


def numbered(value: str, kind: str = "", system: str = "urn:number", **more: Any) -> dict[str, Any]:
    type = {"type": {"coding": [{"system": KINDS, "code": kind}]}} if kind else {}
    return {"system": system, "value": value, **type, **more}


def resolve(
    candidates: list[Candidate], trust: Trust = TODAY, decisions: Decisions = NOTHING_SAID
) -> Resolution:
    return at_once.resolve(candidates, trust, decisions)


def groups(resolution: Resolution) -> list[set[str]]:
    return [{f"{record.ehr}{record.id}" for record in group} for group in resolution.groups]


def found(a: Candidate, b: Candidate, trust: Trust = TODAY) -> str:
    """one, ask or two; the same in either order."""
    verdicts = set()
    for pair in ([a, b], [b, a]):
        resolution = resolve(pair, trust)
        verdicts.add("one" if len(resolution.groups) == 1 else "ask" if resolution.doubts else "two")
    assert len(verdicts) == 1
    return verdicts.pop()


def why(a: Candidate, b: Candidate, trust: Trust = TODAY) -> str:
    (said,) = resolve([a, b], trust).doubts.values()
    return said
