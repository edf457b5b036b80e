"""What a pass over a resource has found so far: each finding once, and no more than anybody reads."""

from __future__ import annotations

from fhir_coprod.outcome import Issue, Outcome, Severity

MAX_ISSUES = 1000
"""Errors, and as many other findings, that are listed: what has more is not mended by reading on."""


class Findings:
    """Collects issues. An error is never lost for the sake of a remark: each has room of its own."""

    def __init__(self) -> None:
        self.issues: dict[Issue, None] = {}
        """In the order they were found, each once."""
        self._room = {True: MAX_ISSUES, False: MAX_ISSUES}
        """How many errors, and how many other findings, are still taken in."""

    def report(self, severity: Severity, code: str, at: str, message: str) -> None:
        issue = Issue(severity, code, message, at)
        if issue not in self.issues:
            self._room[issue.is_error] -= 1
            if self._room[issue.is_error] >= 0:
                self.issues[issue] = None

    def error(self, code: str, at: str, message: str) -> None:
        self.report("error", code, at, message)

    @property
    def is_full(self) -> bool:
        """Whether there are more errors than are listed: there is no use in looking for others."""
        return self._room[True] < 0

    def outcome(self) -> Outcome:
        """Everything that was found; where it was too much to list, that is said."""
        issues = tuple(self.issues)
        if min(self._room.values()) < 0:
            message = f"There is more to tell: the first {MAX_ISSUES} errors and as many remarks are listed."
            issues += (Issue("information", "too-long", message),)
        return Outcome(issues)
