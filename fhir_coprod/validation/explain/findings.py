"""Collects the issues found in a resource: each one once, and no more than anybody would read."""

from __future__ import annotations

from fhir_coprod.outcome import MOST_ISSUES, Issue, Outcome, Severity, more_than


class Findings:
    """Collects issues. Remarks never push out an error: each kind has its own room."""

    def __init__(self) -> None:
        self.issues: dict[Issue, None] = {}
        """In the order they were found, each once."""
        self._room = {True: MOST_ISSUES, False: MOST_ISSUES}
        """How many more errors, and how many more other findings, still fit."""

    def report(self, severity: Severity, code: str, at: str, message: str) -> None:
        if self._room[severity in ("fatal", "error")] < 0:
            return  # 200,000 more remarks are not even looked at
        issue = Issue(severity, code, message, at)
        if issue not in self.issues:
            self._room[issue.is_error] -= 1
            if self._room[issue.is_error] >= 0:
                self.issues[issue] = None

    def error(self, code: str, at: str, message: str) -> None:
        self.report("error", code, at, message)

    @property
    def is_full(self) -> bool:
        """Whether the list of errors is full, so that it makes no sense to look for more."""
        return self._room[True] < 0

    def outcome(self) -> Outcome:
        """Everything that was found, errors first, and a note if it was too much to list."""
        issues = tuple(sorted(self.issues, key=lambda issue: not issue.is_error))
        if min(self._room.values()) < 0:
            issues += (more_than(MOST_ISSUES),)
        return Outcome(issues)
