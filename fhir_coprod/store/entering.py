"""The one door for what clients and files bring: its links are rewritten first, and what results is judged.

So what a resource is judged by is what is stored, and a reference that leads nowhere is a fault like another:
clients are refused it, `load` keeps it with a mark. A new way in calls `links.settled` and then `judge`, and
stores the document that it got; the store itself rewrites nothing.

A relative reference may name what is not here yet, since records come in any order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from fhir_coprod import jsontext
from fhir_coprod.errors import InvalidResource
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.store.links import by_criteria
from fhir_coprod.validation import validate_to_store

Validate = Callable[[Document], Outcome]

_SUSPECT: Final = re.compile(rb'"reference"\s*:\s*"(?:[uU][rR][nN]:|/|[A-Za-z]*[?\\])').search
"""A backslash may hide any of these."""
_OF_A_REFERENCE: Final = frozenset(
    {"id", "extension", "reference", "_reference", "type", "_type", "identifier", "display", "_display"}
)
_NOT_SERVED: Final = "https://hl7.org/fhir/R4/subscription.html"


def judge(document: Document, validate: Validate = validate_to_store) -> Outcome:
    """What is wrong in a resource whose links are rewritten."""
    outcome = validate(document)
    lost = astray(document).issues
    return Outcome((*lost, *outcome.issues)) if lost else outcome


def astray(document: Document) -> Outcome:
    """An error for each reference that leads nowhere, wherever one looks.

    What is inside a Bundle is not looked at: it may be a transaction that somebody keeps.
    """
    raw = document.raw
    if document.type == "Bundle":
        return OK
    if not _SUSPECT(raw) and not jsontext.may_spell(raw):
        return OK
    return Outcome(
        tuple(
            Issue("error", "not-found", why, f"{place}.reference")
            for place, text in _references(document.data, document.type, "")
            if (why := _why_astray(text))
        )
    )


def is_astray(issue: Issue) -> bool:
    """Whether an issue is about a reference that leads nowhere."""
    return issue.code == "not-found" and issue.expression.endswith(".reference")


def refuse_unserved(document: Document) -> None:
    """Raise InvalidResource for a Subscription that asks for notices: nobody would send them."""
    if document.type == "Subscription" and document.data.get("status") not in ("off", "error"):
        raise InvalidResource(
            "Subscriptions are not served here, so nobody would be notified: ask again and again for"
            " `_lastUpdated=gt…`, or for `_history?_since=…`; to keep it all the same, store it with the"
            f" status off ({_NOT_SERVED}).",
            expression="Subscription.status",
        )


def _why_astray(text: str) -> str:
    if text[:4].lower() == "urn:":
        return (
            "Nothing here has this address, so the reference leads nowhere; send what it means in the same"
            " transaction under that fullUrl, or name its id."
        )
    if text[:1] == "/":
        return "A reference does not begin with a slash; write it relative, as in Patient/example."
    if by_criteria(text):
        return (
            "A reference by criteria (Patient?identifier=…) works in a transaction and in files only; name"
            " the id."
        )
    return ""


def _references(value: Any, place: str, under: str) -> Iterator[tuple[str, str]]:
    """The place and text of each literal reference outside Bundles."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _references(item, f"{place}[{number}]", under)
    elif isinstance(value, dict) and value.get("resourceType") != "Bundle":
        text = value.get("reference")
        # Immunization.education.reference, and the reference of an Expression or a DetectedIssue, are uris.
        if isinstance(text, str) and value.keys() <= _OF_A_REFERENCE and under != "education":
            yield place, text
        for key, held in value.items():
            yield from _references(held, f"{place}.{key}", key)
