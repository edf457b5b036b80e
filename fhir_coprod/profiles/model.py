"""The base of all profile classes: the claim in meta.profile, reading and writing JSON, the check."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Self

from fhir.resources.R4B.domainresource import DomainResource
from fhir.resources.R4B.reference import Reference
from pydantic import BaseModel, PrivateAttr, ValidationError

from fhir_coprod import jsontext
from fhir_coprod.definitions import PROFILE
from fhir_coprod.errors import InvalidResource
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.validation import validate


class Profiled(DomainResource):
    """A resource that claims one of our profiles.

    On the wire it is FHIR R4. The Python base classes are those for R4B in `fhir.resources`, which describe
    the same elements for these resource types; a test compares them with the R4 definitions.
    """

    profile_id: ClassVar[str] = ""
    """Last part of the profile's canonical URL."""

    _document: Document | None = PrivateAttr(default=None)
    _view: Json | None = PrivateAttr(default=None)

    def __init__(self, /, **data: Any) -> None:
        super().__init__(**_claiming(data, self.profile_url()))

    @classmethod
    def profile_url(cls) -> str:
        """Canonical URL of the profile."""
        return PROFILE + cls.profile_id

    @classmethod
    def read(cls, raw: bytes | str) -> Self:
        """Read JSON and remember the text, so that `write` can give back unchanged whatever nobody touched. A
        resource that did not claim the profile is written back without the claim.

        Raises NotJson, or InvalidResource when it is no such resource at all. Use `check` for profile rules.
        """
        document = jsontext.parse(raw)
        try:
            resource = cls.model_validate(document.data)
        except ValidationError as error:
            raise InvalidResource(
                f"This is not a {cls.get_resource_type()}: {error.error_count()} elements do not fit.",
                outcome=Outcome(
                    tuple(_issue(cls.get_resource_type(), problem) for problem in error.errors())
                ),
            ) from None
        resource._document = document
        resource._view = document_view(resource)
        return resource

    def write(self) -> bytes:
        """The JSON that was read, with only the changes that were made here: the text of numbers, the way
        dates are written, the order and layout of everything else stay."""
        now = document_view(self)
        if self._document is None or self._view is None:
            return jsontext.encode(now)
        return jsontext.patched(self._document, self._view, now)

    def check(self) -> Outcome:
        """Check it against base R4 and the profile; the Outcome is truthy when there is no error."""
        return validate(self.write(), self.profile_url())


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


def _issue(type: str, problem: Any) -> Issue:
    place = ".".join(str(part) for part in problem["loc"])
    return Issue("error", "structure", f"{problem['msg']}.", f"{type}.{place}" if place else type)


def document_view(model: BaseModel) -> Json:
    """The resource as JSON values, with decimals as they were given."""
    view: Json = jsontext.decode(model.model_dump_json())
    _keep_decimals(model, view)
    return view


def _keep_decimals(model: BaseModel, view: Json) -> None:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        key = field.alias or name
        if isinstance(value, Decimal) and key in view:
            view[key] = value
        elif isinstance(value, BaseModel) and isinstance(view.get(key), dict):
            _keep_decimals(value, view[key])
        elif isinstance(value, list):
            for item, shown in zip(value, view.get(key, ()), strict=False):
                if isinstance(item, BaseModel) and isinstance(shown, dict):
                    _keep_decimals(item, shown)


def reference(to: str | Reference) -> Reference:
    """A Reference to `Type/id`, an absolute URL or a contained `#id`; a Reference is returned unchanged."""
    return to if isinstance(to, Reference) else Reference(reference=to)


def referred(element: Reference | None) -> str:
    """The target that a Reference names; "" when it names none."""
    return (element.reference or "") if element else ""
