"""The strict verdict: for who sends records, and wants to know that a receiver will understand all of them.

R4 lets a record hold extensions that a reader does not know, and lets a text hold any characters; a receiver
has to bear both (https://hl7.org/fhir/R4/extensibility.html#exchange). A sender may ask for more of what
leaves the house, as HL7's own test suite does: every extension is known, and no text can be taken for a part
of a page (https://hl7.org/fhir/R4/security.html#narrative).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import MOST_ISSUES, Issue, Outcome, listed
from fhir_coprod.validation.explain.extensions import UNKNOWN

_TAG: Final = re.compile(r"<(!--|/?[a-z][\w-]*\s*/?>|[a-z][\w-]*[\s/][^<>]*[>=])", re.IGNORECASE)
"""What a browser takes for a tag or a comment, also where nobody closed it. Less than, `<5`, is none."""


def stricter(resource: Json, outcome: Outcome) -> Outcome:
    """The outcome of a resource, with errors for extensions that are not known and tags in texts."""
    issues = [_refused(issue) if issue.code == UNKNOWN and not issue.is_error else issue for issue in outcome]
    found = listed([*issues, *islice(_tags(resource), MOST_ISSUES + 1)])
    return Outcome(tuple(dict.fromkeys(found.issues)))  # that there is more to tell, only once


def _refused(issue: Issue) -> Issue:
    """The remark on an extension as an error."""
    message = f"{issue.message} Load the package that defines it, or leave it out."
    return replace(issue, severity="error", message=message)


def _tags(resource: Json) -> Iterator[Issue]:
    """An error for each text, narrative aside, in which a browser would see a tag of HTML."""
    waiting: list[tuple[Any, str]] = [(resource, str(resource.get("resourceType", "")))]
    while waiting:
        value, at = waiting.pop()
        if isinstance(value, dict):
            inside = [(held, f"{at}.{key}") for key, held in value.items() if not _is_narrative(value, key)]
            waiting += reversed(inside)
        elif isinstance(value, list):
            waiting += [(held, f"{at}[{index}]") for index, held in reversed([*enumerate(value)])]
        elif isinstance(value, str) and "<" in value and _TAG.search(value):
            message = "This text holds a tag of HTML, which a page might obey; write it without."
            yield Issue("error", "invalid", message, at)


def _is_narrative(value: Json, key: str) -> bool:
    """Whether it is the div of a Narrative, which is HTML by its definition, and checked as such."""
    return key == "div" and "status" in value
