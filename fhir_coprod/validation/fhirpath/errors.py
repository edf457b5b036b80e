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


class FhirPathError(CoprodError):
    """The expression cannot handle the data, such as two items where the rule expects one."""

    status = 422
    code = "invariant"
