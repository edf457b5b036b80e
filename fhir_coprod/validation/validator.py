"""The validator: a library of models and the two tiers that check resources against them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from fhir_coprod import definitions, jsontext, models
from fhir_coprod.definitions.terminology import bare
from fhir_coprod.errors import NotJson, UnknownDefinition
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.models import Model
from fhir_coprod.outcome import OK, Issue, Outcome, Remarks
from fhir_coprod.validation.explain.walk import Explainer, conforms
from fhir_coprod.validation.fast.checks import FALTERS, Pass
from fhir_coprod.validation.fast.remarks import NARRATIVE, placed
from fhir_coprod.validation.fast.types import Fast
from fhir_coprod.validation.model.library import Library
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.strict import stricter


class _WithoutNarrative(dict[str, Outcome]):
    """The most common outcome, made once per type."""

    def __missing__(self, name: str) -> Outcome:
        self[name] = Outcome((replace(NARRATIVE, expression=name),))
        return self[name]


WITHOUT_NARRATIVE = _WithoutNarrative()


class Validator:
    """Checks resources against R4, the profiles they claim, and one more profile if the caller names one."""

    def __init__(self, structures: Iterable[Json] = ()) -> None:
        """structures: StructureDefinitions to know besides those of R4 and of the loaded packages."""
        self.library = Library(structures, conforms)
        self.fast = Fast(self.library)

    def validate(
        self,
        resource: bytes | str | Mapping[str, Any] | Model,
        profile: str | None = None,
        *,
        strict: bool = False,
    ) -> Outcome:
        """Everything that is wrong with a resource. Raises UnknownDefinition when `profile` is not known.

        Text that is not a JSON object gives an Outcome too, with one fatal issue.
        """
        decoded = not isinstance(resource, Mapping)
        try:
            if isinstance(resource, Mapping):
                data = dict(resource)
                if strict and not models.is_json(data):
                    data = jsontext.decode(models.encode(data))
            else:
                data = jsontext.parse(models.json_of(resource, "validate")).data
            outcome = self.check(data, profile, decoded=decoded)
        except RecursionError:
            return Outcome((Issue("fatal", NotJson.code, jsontext.TOO_DEEP),))
        except NotJson as error:
            return Outcome((Issue("fatal", error.code, error.message),))
        return stricter(data, outcome) if strict else outcome

    def validate_document(self, document: Document, profile: str | None = None) -> Outcome:
        """The same for a document that is already parsed."""
        return self.check(document.data, profile)

    def check(self, data: Json, profile: str | None = None, *, decoded: bool = False) -> Outcome:
        """The same for JSON values.

        decoded: whether they were just read from a text, so that no object stands at two places
        """
        if profile:
            self.require(profile)
        state = self.passes(data, profile)
        if state is None or state.soft:
            if not decoded and not models.is_json(data):
                # Programs hold decimals, dates and models; the rules speak of what JSON has for them.
                return self.check(jsontext.decode(models.encode(data)), profile, decoded=True)
            return self.explain(data, profile, skipping=True)
        bare = WITHOUT_NARRATIVE[data["resourceType"]] if state.bare else OK
        if not state.remarks:
            return bare

        def tell() -> tuple[Issue, ...]:
            remarks = placed(self.library, data, state.remarks, decoded=decoded)
            if remarks is None:
                return self.explain(data, profile, skipping=True).issues
            return (*bare.issues, *remarks)

        # Values that the caller holds may be others by the time that somebody asks.
        return Remarks(tell) if decoded else Outcome(tell())

    def passes(self, data: Json, profile: str | None = None) -> Pass | None:
        """The fast tier: None when something is wrong or only the explaining tier can tell."""
        state = Pass(Scope(data))
        try:
            self.fast.resource(data, None, state)
            if profile and self.library.profile_model(profile) is not None:
                self.fast.profile_check(bare(profile))(data, None, state)
            elif profile and not self.library.is_of_type(data, profile):
                return None
        except FALTERS:
            return None
        return state

    def explain(self, data: Json, profile: str | None = None, *, skipping: bool = False) -> Outcome:
        """The explaining tier.

        skipping: pass over the parts that the fast tier finds clean
        """
        explainer = Explainer(self.library, self.fast.is_clean if skipping else None)
        explainer.resource(data, "", Scope(data), profile=profile or "")
        return explainer.outcome()

    def require(self, profile: str) -> None:
        """Raises UnknownDefinition unless the profile, or definition of a type, is known."""
        if self.library.profile_model(profile) is None and not self.library.is_base(profile):
            if definitions.has_structure(profile):
                definitions.structure(profile)  # raises when it has no snapshot
            raise UnknownDefinition(
                f"The profile {profile[:200]} is not known; correct its URL or load the package that has it."
            )


@lru_cache(maxsize=1)
def _validator(generation: int) -> Validator:
    return Validator()


def default() -> Validator:
    """The validator for R4, our own package, and whatever `definitions.load_package` has added so far."""
    return _validator(definitions.generation())


def validate(
    resource: bytes | str | Mapping[str, Any] | Model, profile: str | None = None, *, strict: bool = False
) -> Outcome:
    """Check one resource against FHIR R4, the known profiles it claims in meta.profile, and `profile`.

    resource: JSON as bytes or text, parsed values, or a model of `fhir.resources` (our classes are such)
    profile:  a canonical, or the id of one of our profiles, such as coproduction-goal
    strict:   refuse also what R4 allows and a receiver may not understand: extensions and claimed profiles
              that are not known here, and texts with tags of HTML
    Returns an Outcome, truthy when nothing in it is an error. Raises UnknownDefinition when `profile` is
    not known, and TypeError for anything else that is given as a resource or a profile.
    """
    return default().validate(resource, profile and definitions.profile_url(profile), strict=strict)


def validate_document(document: Document, profile: str | None = None) -> Outcome:
    """The same for a document that is already parsed."""
    return default().validate_document(document, profile)


def is_part(document: Document) -> bool:
    """Whether a server says that it cut this resource down: the tag SUBSETTED."""
    if b'"SUBSETTED"' not in document.raw:
        return False
    meta = document.data.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else ()
    return isinstance(tags, list) and any(
        isinstance(tag, dict) and tag.get("code") == "SUBSETTED" for tag in tags
    )


def validate_to_store(document: Document) -> Outcome:
    """The same for a resource that will replace the stored one: it must also be whole.

    A server tags a resource that it cut down for `_summary` or `_elements`; storing that would lose the rest
    (https://hl7.org/fhir/R4/search.html#elements).
    """
    outcome = validate_document(document)
    if not is_part(document):
        return outcome
    message = "This is a part of a resource (tag SUBSETTED); storing it would lose the rest. Read it whole."
    issue = Issue("error", "business-rule", message, f"{document.type}.meta.tag")
    return Outcome((issue, *outcome.issues))
