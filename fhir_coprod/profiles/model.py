"""The base of all profile classes: the claim in meta.profile, reading and writing JSON, the check."""

from __future__ import annotations

from reprlib import Repr
from typing import Any, ClassVar, Self

from fhir.resources.R4B.domainresource import DomainResource
from pydantic import BaseModel, PrivateAttr, ValidationError

from fhir_coprod import jsontext, models
from fhir_coprod.definitions import PROFILE
from fhir_coprod.errors import InvalidResource
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.validation import validate, validate_document

_SHORT = Repr()
_SHORT.maxstring = 60


class Profiled(DomainResource):
    """A resource that claims a profile: one of ours, or any that a loaded package defines.

        class SiteGoal(CoproductionGoal):
            profile_id = "https://hospital.example/fhir/StructureDefinition/site-goal"

    Such a class claims and checks its own profile only, so that profile has to be derived from ours as the
    class is. On a plain resource type: `class SitePatient(Profiled, Patient)`.

    On the wire it is FHIR R4. The Python base classes are those for R4B in `fhir.resources`, which describe
    the same elements for these resource types; a test compares them with the R4 definitions.
    """

    profile_id: ClassVar[str] = ""
    """The profile: its canonical, or the last part of it if the profile is ours."""

    _document: Document | None = PrivateAttr(default=None)
    _view: Json | None = PrivateAttr(default=None)

    def __init__(self, /, **data: Any) -> None:
        super().__init__(**_claiming(data, self.profile_url()))

    @classmethod
    def profile_url(cls) -> str:
        """Canonical URL of the profile. Raises TypeError for a class that names none."""
        if not cls.profile_id:
            raise TypeError(f"{cls.__name__} names no profile; give it a `profile_id`.")
        return cls.profile_id if ":" in cls.profile_id else PROFILE + cls.profile_id

    @classmethod
    def read(cls, raw: bytes | str | Json) -> Self:
        """Read JSON, or a dict such as `Client` gives, and remember the text, so that `write` can give back
        unchanged whatever nobody touched. A resource that did not claim the profile is written back without
        the claim.

        Raises NotJson, or InvalidResource when it is no such resource at all. Use `check` for profile rules.
        """
        document = jsontext.parse(models.json_of(raw, f"{cls.__name__}.read"))
        wanted = cls.get_resource_type()
        if document.type != wanted:
            here = (
                f"a resource of type {document.type[:64]}" if document.type else "JSON without `resourceType`"
            )
            raise InvalidResource(f"This is {here}, not a {wanted}.")
        try:
            resource = cls.model_validate(jsontext.decode_decimals(document.raw))
        except ValidationError as error:
            raise _refusal(document, error) from None
        resource._document = document
        resource._view = models.view(resource)
        return resource

    def write(self) -> bytes:
        """The JSON that was read, with only the changes that were made here: the text of numbers, the way
        dates are written, the order and layout of everything else stay."""
        now = models.view(self)
        if self._document is None or self._view is None:
            return jsontext.encode(now)
        return jsontext.patched(self._document, self._view, now)

    def check(self) -> Outcome:
        """Check it against base R4 and the profile; the Outcome is truthy when there is no error.

        Raises UnknownDefinition when the profile is not ours and its package is not loaded
        (`fhir_coprod.definitions.load_package`).
        """
        return validate(self.write(), self.profile_url())

    def __repr__(self) -> str:
        """What is set, long texts and lists cut short."""
        shown = {name: value for name, value in models.view(self).items() if name not in _KNOWN}
        return f"{type(self).__name__}({', '.join(f'{k}={_SHORT.repr(v)}' for k, v in shown.items())})"

    __str__ = __repr__


_KNOWN = ("resourceType", "meta")
"""What the name of the class says already."""


def _claiming(data: dict[str, Any], profile: str) -> dict[str, Any]:
    """The same data with the profile added to meta.profile."""
    meta = data.get("meta")
    if isinstance(meta, BaseModel):
        meta = meta.model_dump()
    if meta is not None and not isinstance(meta, dict):
        return data
    claimed = list((meta or {}).get("profile") or [])
    if profile not in claimed:
        claimed.append(profile)
    return {**data, "meta": {**(meta or {}), "profile": claimed}}


def _refusal(document: Document, error: ValidationError) -> InvalidResource:
    """The error for a resource that the model does not take: the first place and reason, and how many more.

    R4's own rules say it best. The model's words are for what only the model refuses.
    """
    outcome = validate_document(document)
    if outcome:
        outcome = Outcome(tuple(_issue(document.type, problem) for problem in error.errors()))
    first, *others = outcome.errors
    sentence = f"This is not a {document.type}: at {first.expression}: {first.message}"
    more = f" There are {len(others)} more; `outcome` has them all." if others else ""
    return InvalidResource(sentence + more, outcome=outcome)


def _issue(type: str, problem: Any) -> Issue:
    place = ".".join(str(part) for part in problem["loc"])
    return Issue("error", "structure", f"{problem['msg']}.", f"{type}.{place}" if place else type)
