"""What may be remembered of a query: which parameters were used, and no value that may say who somebody is.

IHE's BALP wants the whole query in an AuditEvent. Names, numbers and addresses of people would then stand in
the audit, which nobody may change and which is kept for ten years. So only the values of these parameters
are kept that take codes, times of care or numbers of rows; who was asked about stands in rows of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from urllib.parse import quote

from fhir_coprod import definitions

Pairs = Iterable[tuple[str, str]]

_KEPT = frozenset(
    (
        "_count",
        "_sort",
        "_include",
        "_revinclude",
        "_summary",
        "_elements",
        "_total",
        "_since",
        "_at",
        "_lastUpdated",
        "_format",
        "_pretty",
        "_type",
        "status",
        "category",
        "code",
        "type",
        "intent",
        "priority",
        "class",
        "date",
        "authored-on",
        "authored",
        "performer-type",
        "clinical-status",
        "verification-status",
        "action",
        "outcome",
        "since",
        "until",
        "now",
        "policy",
        "start",
        "end",
    )
)
_MORE = frozenset(
    (
        "exact",
        "contains",
        "missing",
        "text",
        "not",
        "not-in",
        "in",
        "above",
        "below",
        "of-type",
        "identifier",
        "iterate",
        "recurse",
        "_has",
        "_id",
        "_cursor",
        "_content",
        "_text",
        "_filter",
        "_tag",
        "_profile",
        "_security",
    )
)
"""Modifiers, and parameters of every type, whose values are not kept."""
_FREE_TEXT = ("text", "contains", "exact")
_PATIENT = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")
LONGEST = 1000


@cache
def _codes() -> frozenset[str]:
    return frozenset(
        code for type in definitions.resource_types() for code in definitions.search_parameters(type)
    )


def remembered(query: Pairs) -> str:
    """The query as it is kept, `name=*&_count=10`; "" for none."""
    parts = [f"{_name(name)}={_value(name, value)}" for name, value in query]
    return "&".join(parts)[:LONGEST]


def _name(name: str) -> str:
    words = re.split(r"[:.]", name)
    return name if all(_is_known(word) for word in words) else "*"


def _is_known(word: str) -> bool:
    return word in _KEPT or word in _MORE or word in _codes() or definitions.is_resource_type(word)


def _value(name: str, value: str) -> str:
    code, _, modifier = name.partition(":")
    is_kept = code in _KEPT and modifier not in _FREE_TEXT
    return quote(value, safe=":,/|-.") if is_kept else "*"


def patients_asked_for(type: str, query: Pairs) -> list[str]:
    """Ids of the patients whom a search names."""
    found = []
    for name, value in query:
        code, _, modifier = name.partition(":")
        own = code == "_id" and type == "Patient"
        if own or (code in ("patient", "subject") and modifier in ("", "Patient")):
            for one in value.split(","):
                named = _PATIENT.fullmatch(one.rpartition("/fhir/")[2])
                if named and (own or code == "patient" or modifier or one.startswith("Patient/")):
                    found.append(named[1])
    return found
