"""Every error this package raises on purpose, and what each means to the three kinds of caller.

    CoprodError                 HTTP  issue code      exit
    ├── ConfigError              500  exception       2     a setting is wrong, or the program cannot start
    ├── BadRequest               400  invalid         2     the request itself cannot be understood
    │   ├── NotJson              400  structure       2     not one JSON object, or a key given twice
    │   ├── UnknownParameter     400  not-supported   2     a search parameter we do not have
    │   ├── Unsupported          400  not-supported   2     a part of R4 that would change what is found
    │   └── MissingVersion       400  required        2     If-Match is malformed
    ├── InvalidResource          422  (its own)       1     readable, but breaks FHIR R4 or a profile
    ├── UnknownType              404  not-supported   2     no such resource type in R4
    ├── UnknownDefinition        422  not-found       2     a profile or structure that nobody loaded
    ├── NotFound                 404  not-found       2     no resource of that id
    ├── Gone                     410  deleted         2     there was one; it was deleted
    ├── MethodNotAllowed         405  not-supported   2     that verb has no meaning at that place
    ├── NotAcceptable            406  not-supported   2     asked for a format other than JSON
    ├── Conflict                 409  conflict        1     cannot be done in the present state
    ├── PreconditionFailed       412  conflict        1     If-Match or a conditional names something else
    ├── TooLarge                 413  too-long        1     body, page or bundle above its limit
    ├── UnsupportedMediaType     415  not-supported   2     sent in a format other than JSON
    ├── NotSignedIn              401  login           2     nobody knows who calls
    ├── NotAllowed               403  forbidden       2     understood, and refused
    ├── Overloaded               503  transient       1     try again later
    │   └── TooMany              429  throttled       1     more than one caller may have or ask
    ├── Unwritable               503  no-store        1     the store takes no writes: no room, or read-only
    ├── Unrecorded               503  no-store        1     the audit cannot be written
    ├── Damaged                  500  exception       2     the store is damaged; a person has to see to it
    ├── IssuerError              502  transient       1     the identity provider could not be talked to
    └── EhrError                 502  transient       1     an EHR could not be talked to
        ├── EhrUnreachable       502  transient       1     no answer
        └── EhrAnswer            502  exception       1     an answer that is not FHIR, or refuses us

The message is the sentence a caller reads: it says what is wrong and what to do, and holds no personal data.
"""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from pathlib import Path

from fhir_coprod import faults
from fhir_coprod.outcome import Issue, Outcome


@lru_cache(maxsize=64)
def readable(path: str | Path) -> str:
    """A path in a form that fits into a sentence, a table or JSON, and tells it from all others.

    File names may be bytes that are not text, or hold line ends and characters that control a terminal: those
    are written as escapes.
    """
    text = os.fsencode(path).decode(errors="backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        character if character == " " or character.isprintable() else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def plain(text: str, instead: str = "�") -> str:
    """One line of somebody else's text, without characters that could control a terminal or page.

    Those are control characters and overrides of writing direction. Joiners stay: names need them.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in _JOINERS
        else " "
        if unicodedata.category(character) == "Zs"
        else instead
        for character in text
    )


_JOINERS = "\u200c\u200d"


class CoprodError(Exception):
    """Root of all errors raised on purpose."""

    status: int = 500
    """The HTTP status the endpoint answers with."""
    code: str = "exception"
    """OperationOutcome.issue.code."""
    exit_code: int = 2
    """The command line's exit code: 2, nothing was done; 1, the data or the moment was at fault."""

    def __init__(self, message: str, *, expression: str = "", outcome: Outcome | None = None) -> None:
        super().__init__(message)
        self.message = message
        # An outcome with errors is falsy; do not mistake it for a missing one.
        own = Issue("error", self.code, message, expression)
        self.outcome = outcome if outcome is not None else Outcome((own,))

    def __str__(self) -> str:
        return self.message


def said(error: BaseException) -> str:
    """One sentence about any error: its own message if we raised it, else what `faults` may tell of it."""
    return error.message if isinstance(error, CoprodError) else faults.said(error)


class ConfigError(CoprodError):
    """A setting is wrong, or the program cannot start with what it was given."""


class BadRequest(CoprodError):
    """The request cannot be understood."""

    status = 400
    code = "invalid"


class NotJson(BadRequest):
    """The text is not one JSON object, holds a key twice, or nests too deep."""

    code = "structure"


class UnknownParameter(BadRequest):
    """A search parameter that R4 does not have either; under lenient handling it is left out."""

    code = "not-supported"


class Unsupported(BadRequest):
    """A modifier or a parameter of R4 that this server lacks: without it the search would give something
    else, so that it is refused under lenient handling, too."""

    code = "not-supported"


class MissingVersion(BadRequest):
    """If-Match is there but does not name a version as W/"n"."""

    code = "required"


class InvalidResource(CoprodError):
    """Readable, but breaks FHIR R4 or a profile; `outcome` lists every problem."""

    status = 422
    code = "invariant"
    exit_code = 1


class UnknownType(CoprodError):
    """FHIR R4 has no resource type of that name."""

    status = 404
    code = "not-supported"


class UnknownDefinition(CoprodError):
    """A profile, extension or type by a canonical that no loaded package defines."""

    status = 422
    code = "not-found"


class NotFound(CoprodError):
    """No resource of that type and id has ever been here."""

    status = 404
    code = "not-found"


class Gone(CoprodError):
    """The resource was deleted."""

    status = 410
    code = "deleted"


class MethodNotAllowed(CoprodError):
    """That verb has no meaning at that place."""

    status = 405
    code = "not-supported"


class NotAcceptable(CoprodError):
    """The caller accepts no format we speak."""

    status = 406
    code = "not-supported"


class Conflict(CoprodError):
    """The request cannot be carried out in the present state."""

    status = 409
    code = "conflict"
    exit_code = 1


class PreconditionFailed(CoprodError):
    """If-Match or a conditional criterion does not hold any more."""

    status = 412
    code = "conflict"
    exit_code = 1


class TooLarge(CoprodError):
    """Body, page or bundle above its limit."""

    status = 413
    code = "too-long"
    exit_code = 1


class UnsupportedMediaType(CoprodError):
    """The body came in a format other than JSON."""

    status = 415
    code = "not-supported"


class NotSignedIn(CoprodError):
    """Nobody knows who calls: there is no token, or none that holds."""

    status = 401
    code = "login"


class NotAllowed(CoprodError):
    """Understood, and refused."""

    status = 403
    code = "forbidden"


class Overloaded(CoprodError):
    """Too much at once; the same request may succeed later."""

    status = 503
    code = "transient"
    exit_code = 1


class TooMany(Overloaded):
    """The caller asks for more than its share.

    seconds: after which they may again
    """

    status = 429
    code = "throttled"

    def __init__(self, message: str, seconds: float = 5.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class Unwritable(CoprodError):
    """The store can be read and takes no writes. It does again once a person has seen to the disk.

    state: "disk-full" or "read-only", as /health says it
    """

    status = 503
    code = "no-store"
    exit_code = 1

    def __init__(self, message: str, state: str = "disk-full") -> None:
        super().__init__(message)
        self.state = state


class Unrecorded(CoprodError):
    """The audit cannot be written, so that nothing may be answered."""

    status = 503
    code = "no-store"
    exit_code = 1

    def __init__(self) -> None:
        super().__init__(
            "Nothing is answered that cannot be recorded, and the audit cannot be written just now: the"
            " server's log says why. A write may have been stored all the same: read before you repeat it."
        )


class Damaged(CoprodError):
    """The store is not as it was written. To try again does not help."""


class IssuerError(CoprodError):
    """The identity provider gave no answer, or one that cannot be trusted."""

    status = 502
    code = "transient"
    exit_code = 1


class EhrError(CoprodError):
    """An EHR could not be talked to."""

    status = 502
    code = "transient"
    exit_code = 1


class EhrUnreachable(EhrError):
    """The EHR gave no answer: name, port, TLS or time-out."""


class EhrAnswer(EhrError):
    """The EHR answered with something that is not FHIR, or refused."""

    code = "exception"
