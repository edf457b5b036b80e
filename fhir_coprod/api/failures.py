"""What becomes of an error: what the caller is told, which headers go along, and what the log says."""

from __future__ import annotations

import logging
import math
import uuid
from typing import Final

from fhir_coprod import faults
from fhir_coprod.access.words import Untrusted
from fhir_coprod.errors import ConfigError, CoprodError, Damaged, NotSignedIn, Overloaded, TooMany, Unwritable

log = logging.getLogger("fhir_coprod.api")

RETRY_SECONDS: Final = 5
"""After how many seconds a caller may try again, unless the error knows better."""
MAYBE: Final = " A write may have been stored all the same: read before you repeat it."


def extra_headers(error: CoprodError) -> dict[str, str]:
    """The headers that belong to an error: when to try again, or how to say who one is."""
    if isinstance(error, TooMany):
        return {"retry-after": str(max(1, math.ceil(error.seconds)))}
    if isinstance(error, Overloaded):
        return {"retry-after": str(RETRY_SECONDS)}
    if isinstance(error, Untrusted):
        return {"www-authenticate": f'Bearer error="{error.kind}"'}
    return {"www-authenticate": "Bearer"} if isinstance(error, NotSignedIn) else {}


def too_slow(seconds: float, stored: str = "") -> Overloaded:
    """The error where an answer has taken too long; stored: what may have been written (`MAYBE`)."""
    return Overloaded(
        f"The answer took longer than {seconds:g} seconds; ask for less at once, or try again later.{stored}"
    )


def told(error: Exception, name: str) -> CoprodError:
    """The error that a caller is told when an interaction fails.

    For a fault of ours the log gets its type and place, never its message, which may quote a record.
    """
    if isinstance(error, ConfigError):
        # The store was there at the start and is not now. Only the log says which store, and why.
        log.error("%s: %s", name, error)
        return Overloaded("The store cannot be reached just now; try again later.")
    if isinstance(error, Damaged | Unwritable):
        log.error("%s: %s", name, error)
    if isinstance(error, CoprodError):
        return error
    incident = uuid.uuid4().hex[:12]
    log.error("incident %s in %s: %s", incident, name, faults.traced(error))
    return CoprodError(
        f"The server failed at this request; its log names the cause under incident {incident}."
    )
