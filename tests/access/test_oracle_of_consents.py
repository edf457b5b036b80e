"""The matrix of callers and searches once more, where patients refuse and the glass is broken."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fhir_coprod.access.rights import Rights
from fhir_coprod.access.sight import sight
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store
from tests.access.callers import CALLERS
from tests.access.hospital import HISTORY, fill
from tests.access.oracle import Oracle, Resource, _labels
from tests.access.test_objections import refusal
from tests.access.test_oracle import difference, searches
from tests.peers.fixtures import NewStore

OBSERVATIONS = [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]


def consent(patient: str, *actors: str, status: str = "active", **provision: Any) -> Json:
    data = {**refusal(patient, *actors, **provision), "status": status}
    return {name: value for name, value in data.items() if name != "resourceType"}


CONSENTS: tuple[tuple[str, Json], ...] = (
    ("Consent/k1", consent("Patient/p3", "Organization/C")),
    ("Consent/k2", consent("Patient/p4", status="draft")),
    ("Consent/k3", consent("Patient/p5", "Organization/B", **{"class": OBSERVATIONS})),
    ("Consent/k4", consent("Patient/p2", "PractitionerRole/rb")),  # nobody is in that role: department B
    ("Consent/k5", consent("Patient/p1", "Organization/A", period={"end": "2020-01-01"})),
    ("Consent/k6", consent("Patient/same", "Practitioner/doc")),
    ("Consent/k7", consent("Patient/alone", "Organization/A", status="inactive")),
    ("Consent/k2", consent("Patient/p4", "Organization/none")),
)
REFUSED = {
    "Patient/p1": [("B", "")],  # it is p2's other record
    "Patient/p2": [("B", "")],
    "Patient/p3": [("C", "")],
    "Patient/p4": [("none", "")],
    "Patient/p5": [("B", "Observation")],
    "Patient/same": [("doc", "")],
}
"""Who refuses what to whom, written down by hand."""
GLASS: dict[str, Rights] = {
    "person of A, glass p4": replace(CALLERS["person of A"], glass="p4"),
    "person of B, glass p1": replace(CALLERS["person of B"], glass="p1"),
    "person of none, glass p3": replace(CALLERS["person of none"], glass="p3"),
    "cleared person of A, glass p2": replace(CALLERS["person of A, cleared"], glass="p2"),
    "person of B who is known": replace(CALLERS["person of B"], practitioner="other"),
    "person of B who is refused": replace(CALLERS["person of B"], practitioner="doc"),
    "person of all who is known": replace(CALLERS["person of all"], practitioner="other"),
    "proxy with a glass": replace(CALLERS["proxy of p1"], glass="p4"),
    "program with a glass": replace(CALLERS["program of B"], glass="p4"),
}
EVERYBODY = {**CALLERS, **GLASS}


@dataclass
class Refusing(Oracle):
    """Knows what patients refuse, and for whom the glass is broken."""

    def _reaches(self, rights: Rights, one: Resource) -> bool:
        if super()._reaches(rights, one) and not self._is_refused(rights, one):
            return True
        if rights.kind != "person" or not rights.glass or not self._is_of(one, {f"Patient/{rights.glass}"}):
            return False
        found = _labels(one.data)
        return found is not None and "NOAUTH" not in found

    def _is_refused(self, rights: Rights, one: Resource) -> bool:
        if rights.kind not in ("person", "program") or rights.scopes[0].context != "user":
            return False
        named = {one.name} if one.type == "Patient" else set(_patients(one.data))
        for patient in named:
            for whom, type in REFUSED.get(patient, ()):
                if type not in ("", one.type):
                    continue
                if whom == "doc":
                    if rights.practitioner in ("", "doc"):
                        return True
                elif f"Organization/{whom}" in rights.departments or "*" in rights.departments:
                    return True
        return False


def _patients(data: Any) -> Iterator[str]:
    """The patients that a resource names anywhere."""
    if isinstance(data, list):
        for each in data:
            yield from _patients(each)
    elif isinstance(data, dict):
        named = data.get("reference")
        if isinstance(named, str) and named.startswith("Patient/"):
            yield named.partition("/_history/")[0]
        for each in data.values():
            yield from _patients(each)


ORACLE = Refusing.of((*HISTORY, *CONSENTS))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hospital(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Store]:
    with new_store(request.param) as url, Store.open(url) as store:
        fill(store, (*HISTORY, *CONSENTS))
        yield store


@pytest.mark.parametrize("who", EVERYBODY)
def test_every_resource_is_seen_by_whom_the_oracle_says(hospital: Store, who: str) -> None:
    limit = sight(EVERYBODY[who], "r")
    if limit is not None:
        assert hospital.seen(limit, ORACLE.versions) == ORACLE.seen(EVERYBODY[who], "r")


def test_what_is_refused_makes_a_difference() -> None:
    plain = Oracle.of((*HISTORY, *CONSENTS))
    for who in ("person of B", "person of C", "person of all", "program of B"):
        assert ORACLE.seen(EVERYBODY[who]) < plain.seen(EVERYBODY[who]), who
    for who in ("person of A", "patient p1", "proxy of p1", "program"):
        own = {name for name in plain.seen(EVERYBODY[who]) if "same" not in name}
        assert {name for name in ORACLE.seen(EVERYBODY[who]) if "same" not in name} == own, who
    assert "Observation/o4" in ORACLE.seen(EVERYBODY["person of A, glass p4"])


def test_a_part_of_all_searches_finds_what_the_oracle_finds(hospital: Store) -> None:
    everything = [(who, asked) for asked in searches() for who in EVERYBODY]
    chosen = random.Random(9).sample(everything, 600)
    wrong = [it for who, asked in chosen if (it := difference(hospital, who, asked, ORACLE, EVERYBODY))]
    assert not wrong, f"{len(wrong)} differences\n" + "\n".join(wrong[:10])


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_all_searches_find_what_the_oracle_finds(hospital: Store) -> None:
    everything = [(who, asked) for asked in searches() for who in EVERYBODY]
    if os.environ.get("PROOF_SIZE") == "ci":
        everything = random.Random(10).sample(everything, 20_000)
    wrong = [it for who, asked in everything if (it := difference(hospital, who, asked, ORACLE, EVERYBODY))]
    print(f"{len(everything):,} combinations of caller and search")
    assert not wrong, f"{len(wrong)} differences\n" + "\n".join(wrong[:10])
