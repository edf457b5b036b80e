"""Makes a plan from an EHR's CapabilityStatement: how to find changes, what it accepts, what we cannot see.

The statement (https://hl7.org/fhir/R4/capabilitystatement.html) decides. The vendor's file corrects it if it
is known to be wrong, or if it says in prose what no field can say. The plan is pure data, made without I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fhir_coprod import definitions
from fhir_coprod.errors import ConfigError, EhrAnswer
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr import offers
from fhir_coprod.sync.ehr import vendor as vendors
from fhir_coprod.sync.ehr.offers import Exports
from fhir_coprod.sync.ehr.vendor import Find, Query, Vendor
from fhir_coprod.watched import PULLED, REACHED_BY_REFERENCE

_WRITES = ("create", "update", "patch", "delete")


@dataclass(frozen=True, slots=True)
class TypePlan:
    """How to read one resource type of one EHR."""

    type: str
    find: Find
    write: tuple[str, ...] = ()
    """Interactions by which the EHR accepts this type from us: create, update, patch, delete."""
    reason: str = ""
    """Why changes are found in this way; for "none", what cannot be observed."""
    queries: tuple[Query, ...] = ((),)
    """Searches that together return everything."""
    patient_parameter: str = "patient"
    by_id: bool = False
    """Whether several records can be asked for at once by `_id`."""
    otherwise: Find = "none"
    """For "bulk": how to find changes where an export cannot be had."""
    is_exported_first: bool = False
    """Whether the first time everything comes by an export, and then changes as `find` says."""

    @property
    def observable(self) -> bool:
        return self.find != "none"

    def to_json(self) -> Json:
        return {
            "type": self.type,
            "find": self.find,
            "write": list(self.write),
            "observable": self.observable,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class EhrPlan:
    """What one EHR can do, and how each of its types is read."""

    ehr: str
    url: str
    software: str
    """software.name and version from the statement, or else its implementation.description."""
    fhir_version: str
    vendor_name: str
    """The vendor file that is used; "" for none."""
    vendor: Vendor
    types: tuple[TypePlan, ...]
    exports: Exports | None = None
    """How it is exported; None if nothing is."""
    about_exports: str = ""
    """What a person should know about exports there; "" if nothing."""
    access: str = ""
    """How we sign in there, in words; "" if there is nothing to tell."""
    wrong: tuple[str, ...] = ()
    """What in the settings is wrong by the server's answers, one sentence each."""

    def of(self, type: str) -> TypePlan | None:
        return next((plan for plan in self.types if plan.type == type), None)

    def to_json(self) -> Json:
        """The plan as `ehr check --json` prints it."""
        return {
            "ehr": self.ehr,
            "url": self.url,
            "software": self.software,
            "fhirVersion": self.fhir_version,
            "vendor": self.vendor_name,
            "access": self.access,
            "exports": self.exports.words if self.exports else None,
            "about_exports": self.about_exports or None,
            "types": [plan.to_json() for plan in self.types],
            "wrong": list(self.wrong),
        }


def plan(ehr: EhrSettings, statement: Json) -> EhrPlan:
    """The plan for `ehr` that its CapabilityStatement allows.

    Raises EhrAnswer if it is not a CapabilityStatement, or not of FHIR version 4.0; ConfigError if the
    settings name a type that does not exist.
    """
    if statement.get("resourceType") != "CapabilityStatement":
        raise EhrAnswer(
            f"{ehr.name}: /metadata is no CapabilityStatement; is {ehr.url} the FHIR base address?"
        )
    version = str(statement.get("fhirVersion", ""))
    if not version.startswith("4.0"):
        raise EhrAnswer(
            f"{ehr.name}: the server speaks FHIR {version or 'of an unnamed version'}; only R4 (4.0.1) is "
            "understood, so set url to its R4 address."
        )
    software = _mapping(statement.get("software"))
    description = str(_mapping(statement.get("implementation")).get("description", ""))
    name = str(software.get("name", ""))
    if ehr.vendor:
        vendor_name, vendor = ehr.vendor, vendors.load(ehr.vendor)
    else:
        vendor_name, vendor = vendors.recognise(name, description, ehr.url)
    unknown = [type for type in ehr.types if not definitions.is_resource_type(type)]
    if unknown:
        raise ConfigError(f"ehr {ehr.name}: types names {', '.join(unknown)}, which FHIR R4 does not have.")
    rest = _server_part(statement)
    exports, about_exports = offers.exports(ehr, rest, vendor)
    everywhere = _names(rest.get("searchParam"))
    offered = {str(r.get("type")): r for r in _mappings(rest.get("resource"))}
    return EhrPlan(
        ehr=ehr.name,
        url=ehr.url,
        software=f"{name} {software.get('version', '')}".strip() or description or "unnamed",
        fhir_version=version,
        vendor_name=vendor_name,
        vendor=vendor,
        types=tuple(
            _exported(_type_plan(t, offered.get(t), everywhere, vendor), exports, ehr, vendor)
            for t in ehr.types or PULLED
        ),
        exports=exports,
        about_exports=about_exports,
    )


def _exported(made: TypePlan, exports: Exports | None, ehr: EhrSettings, vendor: Vendor) -> TypePlan:
    """The plan of a type that is read by bulk export, where that is the best way."""
    deviation = vendor.types.get(made.type)
    deviates = deviation is not None and deviation.find is not None
    is_meant = made.find == "bulk"
    if is_meant:  # by the vendor's file
        made = replace(made, find=made.otherwise, reason=_WHY[made.otherwise])
    if exports is None or not exports.holds(made.type) or made.reason == _not_offered(made.type):
        return made
    is_best = offers.is_better(made.find, made.type, deviates=deviates)
    # Searches would also find who is not in the group.
    is_meant |= ehr.bulk == "always" or (bool(ehr.group) and made.find != "none")
    if is_meant or is_best:
        instead = f" instead of: {_WHY[made.find]}" if _WHY[made.find] else ", since it cannot be searched"
        often = f"; every {exports.hours:g} hours" if exports.hours != 1 else "; every hour"
        reason = f"{exports.words}{instead}{often}"
        return replace(made, find="bulk", otherwise=made.find, reason=reason)
    if made.find in ("history", "last-updated") and not exports.scope:
        # After another export the searches for changes would not bring what was not in it.
        return replace(
            made, is_exported_first=True, reason=f"{made.reason}; all, the first time, by {exports.words}"
        )
    return made


def _not_offered(type: str) -> str:
    return f"the server does not offer {type}"


def _type_plan(type: str, offer: Json | None, everywhere: frozenset[str], vendor: Vendor) -> TypePlan:
    if offer is None:
        return TypePlan(type, "none", reason=_not_offered(type))
    interactions = [str(i.get("code")) for i in _mappings(offer.get("interaction"))]
    write = tuple(w for w in _WRITES if w in interactions)
    deviation = vendor.types.get(type)
    queries: tuple[Query, ...] = ((),)
    patient_parameter = "patient"
    reason = ""
    parameters = everywhere | _names(offer.get("searchParam"))
    by_id = "_id" in parameters and "search-type" in interactions
    find: Find
    if deviation is not None and deviation.find is not None:
        find, reason = deviation.find, deviation.reason
    else:
        find, reason = _find(type, interactions, parameters)
    otherwise = _find(type, interactions, parameters)[0] if find == "bulk" else "none"
    if deviation is not None:
        queries = deviation.queries or queries
        patient_parameter = deviation.patient_parameter
    return TypePlan(type, find, write, reason or _WHY[find], queries, patient_parameter, by_id, otherwise)


def _find(type: str, interactions: Sequence[str], parameters: frozenset[str]) -> tuple[Find, str]:
    """How to find changes with what the statement offers, and the reason if one is needed."""
    if "search-type" in interactions:
        if "history-type" in interactions:
            return "history", ""
        return ("last-updated", "") if "_lastUpdated" in parameters else ("crawl", "")
    if "read" in interactions and type in REACHED_BY_REFERENCE:
        return "by-reference", f"the server does not let {type} be searched"
    return "none", f"the server does not let {type} be searched"


_WHY: dict[Find, str] = {
    "history": "type history since the last time",
    "last-updated": "search by _lastUpdated since the last time",
    "crawl": "everything each time, compared by content",
    "by-patient": "everything of each known patient, compared by content",
    "by-reference": "those that something refers to, each time, compared by content",
    "bulk": "bulk export",
    "none": "",
}


def _server_part(statement: Json) -> Json:
    parts = _mappings(statement.get("rest"))
    return next((part for part in parts if part.get("mode", "server") == "server"), {})


def _names(parameters: object) -> frozenset[str]:
    return frozenset(str(p.get("name")) for p in _mappings(parameters))


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> Iterable[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
