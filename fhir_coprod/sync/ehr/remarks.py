"""Reads the issues of an OperationOutcome from an EHR (https://hl7.org/fhir/R4/operationoutcome.html)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fhir_coprod import jsontext
from fhir_coprod.errors import NotJson
from fhir_coprod.jsontext import Json


@dataclass(frozen=True, slots=True)
class Remark:
    """One issue of an OperationOutcome."""

    severity: str
    codes: frozenset[str]
    """`code`, and the codes of `details.coding`, where vendors put their own."""

    def is_grave(self, ignored: Collection[str]) -> bool:
        """Whether something is wrong or missing: it is an error, and none of its codes is ignored."""
        return self.severity in ("fatal", "error") and self.codes.isdisjoint(ignored)


def read(raw: bytes) -> tuple[Remark, ...] | None:
    """The issues of the OperationOutcome in `raw`; None if it is something else, or cannot be read."""
    if b"OperationOutcome" not in raw:
        return None
    try:
        data = jsontext.decode(raw)
    except NotJson:
        return None
    if not isinstance(data, dict) or data.get("resourceType") != "OperationOutcome":
        return None
    return tuple(_remark(issue) for issue in _objects(data.get("issue")))


def _remark(issue: Json) -> Remark:
    details = issue.get("details")
    codings = _objects(details.get("coding")) if isinstance(details, dict) else []
    codes = {str(issue.get("code", "")), *(str(coding.get("code", "")) for coding in codings)}
    return Remark(str(issue.get("severity", "")), frozenset(codes - {""}))


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
