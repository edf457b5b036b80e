"""`Issue` and `Outcome`: validation results and error details as data.

An `Outcome` is FHIR's OperationOutcome (https://hl7.org/fhir/R4/operationoutcome.html) for Python: truthy
when nothing in it is an error. Every floor uses it: the validator answers with one, every exception in
`fhir_coprod.errors` carries one, the endpoint and the dead letters write it down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Severity = Literal["fatal", "error", "warning", "information"]
_ERRORS: Final = ("error", "fatal")


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding.

    severity:   OperationOutcome.issue.severity
    code:       OperationOutcome.issue.code, from https://hl7.org/fhir/R4/valueset-issue-type.html
    message:    a sentence that tells the reader what to do; never personal data
    expression: FHIRPath location such as `CarePlan.activity[0].detail.status`; "" when there is no place
    """

    severity: Severity
    code: str
    message: str
    expression: str = ""

    @property
    def is_error(self) -> bool:
        return self.severity in _ERRORS

    def to_fhir(self) -> dict[str, Any]:
        """This finding as an OperationOutcome.issue."""
        issue: dict[str, Any] = {
            "severity": self.severity,
            "code": self.code,
            "diagnostics": self.message,
        }
        if self.expression:
            issue["expression"] = [self.expression]
        return issue

    def __str__(self) -> str:
        place = f"{self.expression}: " if self.expression else ""
        return f"{self.severity}: {place}{self.message} [{self.code}]"


@dataclass(frozen=True, slots=True)
class Outcome:
    """All findings about one thing; truthy when none of them is an error."""

    issues: tuple[Issue, ...] = ()

    def __bool__(self) -> bool:
        for issue in self.issues:  # noqa: SIM110 - asked of every resource, and any() takes far longer
            if issue.severity in _ERRORS:
                return False
        return True

    def __iter__(self) -> Iterator[Issue]:
        return iter(self.issues)

    @property
    def errors(self) -> tuple[Issue, ...]:
        return tuple(issue for issue in self.issues if issue.is_error)

    def to_fhir(self) -> dict[str, Any]:
        """An OperationOutcome resource; R4 requires at least one issue, so a clean one gets an issue."""
        issues = self.issues or (Issue("information", "informational", "No issues found."),)
        return {"resourceType": "OperationOutcome", "issue": [issue.to_fhir() for issue in issues]}

    def __str__(self) -> str:
        return "\n".join(str(issue) for issue in self.issues) or "no issues"


class Remarks(Outcome):
    """An outcome without errors whose remarks are put into words when somebody asks for them.

    Most who validate only want to know whether there is an error, and nearly every real record has remarks.
    """

    __slots__ = ("_tell", "_told")
    _tell: Callable[[], tuple[Issue, ...]]
    _told: tuple[Issue, ...] | None

    def __init__(self, tell: Callable[[], tuple[Issue, ...]]) -> None:
        """tell: makes the remarks; called once, or more often if several threads ask at the same moment"""
        object.__setattr__(self, "_tell", tell)
        object.__setattr__(self, "_told", None)

    @property
    def issues(self) -> tuple[Issue, ...]:
        told = self._told
        if told is None:
            told = self._tell()
            object.__setattr__(self, "_told", told)
        return told

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self.issues == other.issues if isinstance(other, Outcome) else NotImplemented

    def __hash__(self) -> int:
        return hash(Outcome(self.issues))

    def __reduce__(self) -> tuple[type[Outcome], tuple[tuple[Issue, ...]]]:
        return Outcome, (self.issues,)


MOST_ISSUES: Final = 1000
"""How many errors, and how many other findings, are listed: nobody repairs a longer list one by one."""


def listed(issues: Sequence[Issue], most: int = MOST_ISSUES) -> Outcome:
    """The first so many errors and as many other findings, and a word if there are more."""
    errors = [issue for issue in issues if issue.is_error]
    others = [issue for issue in issues if not issue.is_error]
    if max(len(errors), len(others)) <= most:
        return Outcome(tuple(issues))
    return Outcome((*errors[:most], *others[:most], more_than(most)))


def more_than(most: int) -> Issue:
    """Says that a list of findings is not whole."""
    said = f"There is more to tell: the first {most:,} errors, and as many remarks, are listed."
    return Issue("information", "too-long", said)


OK = Outcome()
"""The outcome without any finding."""
