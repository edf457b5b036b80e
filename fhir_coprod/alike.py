"""Marks orders so that the store's index finds those of one patient that may be for the same thing.

A referral needs few of its patient's other orders: one that asks for the same shortly before (a duplicate),
one that answers the patient's own request, and one that replaces it. R4's search parameters would find these
only among all orders of the patient, and some patients have thousands. So the index holds more for a
ServiceRequest:

    ALIKE     what is asked for whom, and in which month: two orders with the same mark may be duplicates
    ASKING    the same without the month, for requests that the patient makes, and their requisition
    GROUPED   the requisition of the orders that may answer these
    SUPPORTS  what `supportingInfo` names, for which R4 has no search parameter
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from fhir_coprod.jsontext import Json

ALIKE: Final = "alike"
ASKING: Final = "asking"
GROUPED: Final = "grouped"
SUPPORTS: Final = "supports"
FURTHEST_APART: Final = 92
"""Days: two orders that were written further apart are not compared. A policy's window may be shorter."""

_FIRST: Final = 1900
_LAST: Final = 2200
_PERSONS: Final = ("Patient/", "RelatedPerson/")
_PARTS: Final = frozenset({"filler-order", "instance-order", "reflex-order", "option"})
"""Intents of what belongs to another order."""
_LABORATORY: Final = frozenset(
    {
        "http://snomed.info/sct|108252007",
        "http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
        "http://terminology.hl7.org/CodeSystem/v2-0074|LAB",
    }
)
"""Categories of laboratory orders, which are repeated on purpose."""


def thing(concept: Any) -> tuple[str, ...]:
    """What is asked for: `system|code` of every coding, or where there is none the text as `|text`, without
    regard to case and space. Empty if there is neither."""
    if not isinstance(concept, dict):
        return ()
    codings = [coding for coding in _list(concept.get("coding")) if isinstance(coding, dict)]
    found = tuple(f"{coding.get('system', '')}|{coding['code']}" for coding in codings if coding.get("code"))
    text = concept.get("text")
    if not found and isinstance(text, str) and text.strip():
        return ("|" + " ".join(text.split()).casefold(),)
    return found


def is_proposal(data: Json) -> bool:
    """Whether this is a ServiceRequest by which a patient, or a relative, asks for a referral."""
    return data.get("intent") == "proposal" and _named(data.get("requester")).startswith(_PERSONS)


def may_have_twin(data: Json) -> bool:
    """Whether the same order could be written twice by mistake: it is not a patient's request, not a part of
    another order, and not one for the laboratory."""
    if is_proposal(data) or data.get("intent") in _PARTS:
        return False
    return not any(name in _LABORATORY for one in _list(data.get("category")) for name in thing(one))


def rows(type: str, data: Json) -> Iterator[tuple[str, str]]:
    """The rows of the index that a resource has beside those of its search parameters: name and value."""
    if type != "ServiceRequest":
        return
    for name in supports(data):
        yield SUPPORTS, name
    if is_proposal(data):
        for value in (*marks(data), *grouped(data)):
            yield ASKING, value
        return
    for value in grouped(data):
        yield GROUPED, value
    for value in dated_marks(data):
        yield ALIKE, value


def marks(data: Json) -> list[str]:
    """One mark for each thing that an order asks for; none if it names no thing or no patient."""
    patient = _named(data.get("subject"))
    return [_digest(patient, name) for name in thing(data.get("code"))] if patient else []


def dated_marks(data: Json) -> list[str]:
    """The same with the month in which it was written; none if it may have no twin."""
    return [mark + month_of(data) for mark in marks(data)] if may_have_twin(data) else []


def grouped(data: Json) -> list[str]:
    """The mark of an order's requisition, if it has one."""
    requisition, patient = data.get("requisition"), _named(data.get("subject"))
    if not patient or not isinstance(requisition, dict) or not requisition.get("value"):
        return []
    return [_digest(patient, f"requisition {requisition.get('system', '')}|{requisition['value']}")]


def supports(data: Json) -> set[str]:
    """What `supportingInfo` names, as `Type/id`."""
    return {name for one in _list(data.get("supportingInfo")) if (name := _named(one))}


def month_of(data: Json) -> str:
    """The month in which an order was written, as 2026-03; "" if it does not say."""
    text = data.get("authoredOn")
    if not isinstance(text, str):
        return ""
    try:
        if len(text) > 10:
            at = datetime.fromisoformat(text.replace(":60", ":59"))
            return _month(at.astimezone(UTC)) if at.tzinfo else ""
        year, month, day = [*(int(part) for part in text.split("-")), 1, 1][:3]
        return _month(date(year, month, day))
    except ValueError:
        return ""
    except OverflowError:  # the first or the last day that Python knows, in another zone
        return _month(at)


def _month(day: date) -> str:
    """Times before 1900 and after 2200 are read as those (`watch/record/fhir.py`)."""
    if day.year < _FIRST:
        return f"{_FIRST}-01"
    return f"{_LAST}-01" if day.year >= _LAST else f"{day.year}-{day.month:02}"


def months_around(at: datetime, *, before: int = 0, after: int = 0) -> list[str]:
    """The months from so many days before a time to so many after it, and "" for orders without a date.

    A day more on each side: a date without a time has no time zone.
    """
    first, last = (at + timedelta(days=days) for days in (-before - 1, after + 1))
    months = [""]
    year, month = first.year, first.month
    while (year, month) <= (last.year, last.month):
        months.append(f"{year}-{month:02}")
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return months


def _digest(patient: str, what: str) -> str:
    return blake2b(f"{patient} {what}".encode(), digest_size=12).hexdigest() + "|"


def _named(reference: Any) -> str:
    literal = reference.get("reference") if isinstance(reference, dict) else None
    return literal.partition("/_history/")[0] if isinstance(literal, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def later_marks(mark: str) -> list[str]:
    """The marks of those of which an order with this dated mark may be the older twin.

    Empty if it is not dated: then it may be older than any of them.
    """
    what, _, month = mark.partition("|")
    if not month:
        return []
    first = datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)
    return [f"{what}|{later}" for later in months_around(first, after=31 + FURTHEST_APART)]
