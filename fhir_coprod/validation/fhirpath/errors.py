"""What can go wrong with a FHIRPath expression, before and while it runs."""

from __future__ import annotations

from fhir_coprod.errors import CoprodError


class UnsupportedFhirPath(CoprodError):
    """The expression cannot be decided here: bad syntax, an unknown function, or knowledge we do not have.

    Raised when the expression is compiled, never when it is evaluated: a rule that raised this is reported as
    not checked.
    """

    status = 422
    code = "not-supported"


class FhirPathError(CoprodError):
    """The expression met data it has no answer for, such as two items where the rule speaks of one."""

    status = 422
    code = "invariant"
