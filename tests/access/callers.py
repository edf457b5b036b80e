"""Callers of every kind, for tests of what they see."""

from __future__ import annotations

from fhir_coprod.access.rights import EVERYTHING, Kind, Rights
from fhir_coprod.access.scopes import read_scopes


def caller(
    kind: Kind, scopes: str, *departments: str, patient: str = "", cleared: tuple[str, ...] = ()
) -> Rights:
    """One with these scopes, separated by blanks; departments are ids of Organizations, or *."""
    names = tuple(each if each == "*" else f"Organization/{each}" for each in departments)
    return Rights(
        kind, "somebody", read_scopes(scopes.split()), patient, names, frozenset(cleared), "", "session"
    )


CALLERS: dict[str, Rights] = {
    "local": EVERYTHING,
    "program": caller("program", "system/*.cruds"),
    "program of observations": caller("program", "system/Observation.rs"),
    "program of code a": caller("program", "system/Observation.rs?code=a system/Patient.rs"),
    "program of either": caller(
        "program", "system/Observation.rs?code=b system/Observation.rs?status=amended system/Task.rs"
    ),
    "program by a chain": caller(
        "program", "system/Observation.rs?subject:Patient.gender=male system/*.r system/Task.s"
    ),
    "program of orders of women": caller(
        "program", "system/ServiceRequest.rs?subject:Patient.gender=female system/Patient.rs system/Task.rs"
    ),
    "program that cannot search": caller("program", "system/*.r"),
    "person of A": caller("person", "user/*.cruds", "A"),
    "person of B": caller("person", "user/*.cruds", "B"),
    "person of C": caller("person", "user/*.cruds", "C"),
    "person of A and B": caller("person", "user/*.cruds", "A", "B"),
    "person of all": caller("person", "user/*.cruds", "*"),
    "person of none": caller("person", "user/*.cruds"),
    "person of A, cleared": caller("person", "user/*.rs", "A", cleared=("V", "NOAUTH")),
    "person of A, active orders": caller(
        "person", "user/Observation.rs user/Patient.rs user/ServiceRequest.rs?status=active", "A"
    ),
    "program of B": caller("program", "user/*.rs", "B"),
    "patient p1": caller("patient", "patient/*.cruds", patient="p1"),
    "patient p2": caller("patient", "patient/*.rs", patient="p2"),
    "patient p3": caller("patient", "patient/*.rs", patient="p3"),
    "patient p5": caller("patient", "patient/*.rs", patient="p5"),
    "patient alone": caller("patient", "patient/*.rs", patient="alone"),
    "patient p1, code a": caller("patient", "patient/Observation.rs?code=a patient/Patient.r", patient="p1"),
    "patient p1, cleared": caller("patient", "patient/*.rs", patient="p1", cleared=("NOPAT",)),
    "patient of nobody": caller("patient", "patient/*.rs", patient="unknown"),
    "patient without a launch": caller("patient", "patient/*.rs"),
    "patient of a department": caller("patient", "patient/*.rs", "*", patient="p2"),
    "program of p1": caller("program", "patient/*.rs", patient="p1"),
    "proxy of p1": caller("proxy", "patient/*.rs", patient="p1"),
    "proxy of p5": caller("proxy", "patient/*.rs", patient="p5"),
    "proxy of p1, cleared": caller("proxy", "patient/*.rs", patient="p1", cleared=("R", "SEX", "ETH")),
}
