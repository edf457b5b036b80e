"""Tells from a CapabilityStatement which bulk exports an EHR offers, and which of its types one would hold.

https://hl7.org/fhir/uv/bulkdata/STU2/export.html. Statements name the operation in many ways: `export`,
`group-export`, with HL7's definition or one of their own, beneath the type or at the top.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr.vendor import Find, Vendor

_NAMES = {"export": "", "bulk-export": "", "patient-export": "Patient", "group-export": "Group"}


@dataclass(frozen=True, slots=True)
class Exports:
    """How an EHR is exported, if it is.

    scope: "" for the whole server, `Patient`, or `Group/id`
    types: those that an export holds; None: every type of the server
    hours: from one export to the next
    """

    scope: str
    types: frozenset[str] | None
    hours: float

    @property
    def words(self) -> str:
        what = {"": "of the whole server", "Patient": "of all patients"}.get(self.scope, f"of {self.scope}")
        return f"bulk export {what}"

    def holds(self, type: str) -> bool:
        return self.types is None or type in self.types


def exports(ehr: EhrSettings, rest: Json, vendor: Vendor) -> tuple[Exports | None, str]:
    """The export to use, if any, and what a person should know of it, "" if nothing.

    rest: the part of the statement that describes the server
    """
    offered = levels(rest)
    if ehr.bulk == "never":
        return None, ""
    if ehr.group:
        scope = f"Group/{ehr.group}"
        if "Group" not in offered and ehr.bulk != "always":
            return None, 'the server offers no export of a group; to try it all the same, set bulk = "always"'
    elif ehr.patients and ehr.bulk != "always":
        return None, "it is not exported, since `patients` says whom to follow" if offered else ""
    elif "" in offered or (ehr.bulk == "always" and not offered):
        scope = ""
    elif "Patient" in offered:
        scope = "Patient"
    else:
        return None, "it can export groups of patients; to use that, name one in `group`" if offered else ""
    types = None if not scope else frozenset({"Patient", *definitions.compartment("Patient")})
    if vendor.bulk.types:
        types = frozenset(vendor.bulk.types) if types is None else types & frozenset(vendor.bulk.types)
    hours = vendor.bulk.every_hours if ehr.bulk_every_hours is None else ehr.bulk_every_hours
    return Exports(scope, types, hours), ""


def levels(rest: Json) -> frozenset[str]:
    """What can be exported: "" (everything), `Patient` and `Group` are those that there are."""
    found = {level for one in _operations(rest) if (level := _level(one)) is not None}
    for resource in rest["resource"] if isinstance(rest.get("resource"), list) else ():
        if isinstance(resource, dict) and resource.get("type") in ("Patient", "Group"):
            found |= {str(resource["type"]) for one in _operations(resource) if _level(one) is not None}
    return frozenset(found)


def is_better(find: Find, type: str, *, deviates: bool) -> bool:
    """Whether an export is better than to find changes in this way.

    deviates: a vendor's file says so, and not the statement
    """
    if find == "none":
        return not deviates
    return find in ("crawl", "by-patient", "bulk") or (find == "by-reference" and type == "Patient")


def _operations(part: Json) -> Iterable[Json]:
    operations = part.get("operation")
    return [one for one in operations if isinstance(one, dict)] if isinstance(operations, list) else []


def _level(operation: Json) -> str | None:
    """What an operation exports, by its definition or name; None if it is no export."""
    for key in ("definition", "name"):
        named = operation.get(key)
        last = named.split("|")[0].rstrip("/").rpartition("/")[2] if isinstance(named, str) else ""
        if last.lstrip("$") in _NAMES:
            return _NAMES[last.lstrip("$")]
    return None
