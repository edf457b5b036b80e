"""Errors in FHIRPath expressions: those raised while compiling, and those raised while running."""

from __future__ import annotations

from fhir_coprod.errors import CoprodError


class UnsupportedFhirPath(CoprodError):
    """The expression cannot be decided here: bad syntax, an unknown function, or knowledge that we lack.

    Raised when the expression is compiled, never when it is evaluated. A rule that raised this is reported as
    not checked.
    """

    status = 422
    code = "not-supported"


class Undecided(CoprodError):
    """The expression would take too long on this data, so nobody knows whether the rule holds.

    Raised after so many steps, never after so much time: whether it is raised depends on the data alone. The
    message is the reason, as half a sentence.
    """

    status = 422
    code = "too-costly"


class FhirPathError(CoprodError):
    """The expression cannot handle the data, such as two items where the rule expects one."""

    status = 422
    code = "invariant"
