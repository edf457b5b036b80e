"""What all profile classes share: the claim in meta.profile, the kept text, the check."""

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

    The wire is FHIR R4. The Python classes beneath are those of R4B in `fhir.resources`, which for these
    resource types describe the same elements; a test compares them with the R4 definitions.
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
        """From JSON, remembering the text, so that `write` can give back what nobody touched. A resource that
        did not claim the profile is written back without the claim.

        Raises NotJson, or InvalidResource when it is no such resource at all. Profile rules are for `check`.
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
        """JSON as it came, with only what was changed here changed: lexemes of numbers, spelling of dates,
        order and unknown layout of everything else stay."""
        now = document_view(self)
        if self._document is None or self._view is None:
            return jsontext.encode(now)
        return jsontext.patched(self._document, self._view, now)

    def check(self) -> Outcome:
        """What base R4 and the profile say to it; truthy when there is no error."""
        return validate(self.write(), self.profile_url())


def _claiming(data: dict[str, Any], profile: str) -> dict[str, Any]:
    """The same data with the profile among those of meta.profile."""
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
    """A Reference to `Type/id`, an absolute URL or a contained `#id`; a Reference stays what it is."""
    return to if isinstance(to, Reference) else Reference(reference=to)


def referred(element: Reference | None) -> str:
    """What a Reference names; "" when it names nothing."""
    return (element.reference or "") if element else ""
