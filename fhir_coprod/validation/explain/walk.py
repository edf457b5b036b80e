"""The explaining tier: walks the model and a resource side by side and reports everything that is wrong.

It is the reference: the fast tier may only say yes where this one finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fhir_coprod import deadline
from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import Severity
from fhir_coprod.validation.explain import wording
from fhir_coprod.validation.explain.coding import explain_binding, explain_code, explain_missing_code
from fhir_coprod.validation.explain.extensions import explain_extension
from fhir_coprod.validation.explain.findings import Findings
from fhir_coprod.validation.explain.item import Item
from fhir_coprod.validation.explain.slices import explain_slices
from fhir_coprod.validation.fhirpath import Undecided, quantity
from fhir_coprod.validation.model import formats
from fhir_coprod.validation.model.content import Content, Field, Rule
from fhir_coprod.validation.model.element_ids import repeated_ids
from fhir_coprod.validation.model.library import FHIR, Library
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import ABSENT, PRIMITIVES, Constraint
from fhir_coprod.validation.model.values import equal, has_pattern

RESOURCE = ("Resource", "DomainResource")

IsClean = Callable[[Content, str, Any, Any, Scope], bool]
"""Whether there is nothing at all to report about a value: (content, its type, value, its owner, scope)."""
_EMPTY = "An element has a value, children or extensions; remove the empty one. (ele-1)"


class Explainer(Findings):
    """One pass over one resource, nested resources included."""

    def __init__(self, library: Library, is_clean: IsClean | None = None) -> None:
        """is_clean: asked first about each value; the walk skips the values that it finds clean."""
        super().__init__()
        self.library = library
        self._asked_first = is_clean

    # ------------------------------------------------------------------ resources

    def resource(self, value: object, at: str, scope: Scope, profile: str = "") -> None:
        """A whole resource: its type, the profiles it claims, and `profile`."""
        if not isinstance(value, dict):
            self.error("structure", at, f"A resource is a JSON object, not {wording.kind(value)}.")
            return
        name = value.get("resourceType")
        if not isinstance(name, str) or not name:
            self.error("structure", at, "`resourceType` is missing; name the type of the resource.")
            return
        model = self.library.resource_model(name)
        if model is None:
            message = f"{wording.short(name)} is no resource type of FHIR R4; correct `resourceType`."
            self.error("structure", at, message)
            return
        item = Item(value, None, name, at or name)
        self.content(model.content, item, scope, strict=True)
        for repeated in repeated_ids(value):
            message = f"The id {wording.short(repeated)} stands twice inside this resource; make it unique."
            self.error("invariant", item.at, message)
        for url in self.claimed(value, item.at):
            self.profile(url, item, scope)
        if profile:
            self.profile(profile, item, scope)

    def claimed(self, resource: Json, at: str) -> Iterator[str]:
        """The profiles in meta.profile that are known here; each unknown one is reported."""
        meta = resource.get("meta")
        profiles = meta.get("profile") if isinstance(meta, dict) else None
        seen: set[str] = set()
        for index, url in enumerate(profiles if isinstance(profiles, list) else ()):
            if not isinstance(url, str) or url in seen:
                continue
            seen.add(url)
            if self.library.profile_model(url) is not None:
                yield url
            elif self.library.is_base(url):
                self.base(url, resource, f"{at}.meta.profile[{index}]")
            else:
                message = self.library.why_unknown(url) or (
                    f"The profile {wording.short(url)} is not known here and was not checked; "
                    "load its package to check it."
                )
                self.report("warning", "not-found", f"{at}.meta.profile[{index}]", message)

    def base(self, url: str, resource: Json, at: str) -> None:
        """The definition of a type is a profile of that type only."""
        if not self.library.is_of_type(resource, url):
            name = wording.short(url.removeprefix(FHIR))
            self.error("structure", at, f"This is the definition of {name}, and the resource is no {name}.")

    def profile(self, url: str, item: Item, scope: Scope) -> None:
        """Check a resource, which already fits its type, against one more profile."""
        model = self.library.profile_model(url)
        if model is None:
            if isinstance(item.value, dict):
                self.base(url, item.value, item.at)
            return
        if model.type != item.type:
            message = f"The profile {model.title} is for {model.type}, but this is a {item.type}."
            self.error("structure", item.at, message)
            return
        self.content(model.content, item, scope, strict=False)

    # ------------------------------------------------------------------ one value

    def content(self, content: Content, item: Item, scope: Scope, *, strict: bool) -> None:
        """Check one value against what its place requires.

        strict: True for the definition of a type, False for an overlay
        """
        deadline.check()
        if item.type in PRIMITIVES:
            if strict and not self.primitive(item, scope):
                return
            self.limits(content, item)
        elif not isinstance(item.value, dict):
            if strict:
                message = f"A {item.type} is a JSON object, not {wording.kind(item.value)}."
                self.error("structure", item.at, message)
            return
        elif strict and is_empty(item.value):
            self.error("invariant", item.at, _EMPTY)
            return
        else:
            self.measured(content, item)
        self.stated(content, item)
        if content.bound is not None:
            explain_binding(self, content.bound, item)
        if content.coded:
            explain_code(self, item)
        if content.needs_code:
            explain_missing_code(self, item)
        if content.targets or content.aggregation:
            self.reference(content, item, scope)
        for rule in content.rules:
            self.rule(rule, item, scope)
        for constraint in content.unchecked:
            self.unchecked(constraint, item.at)
        # The rules of a place are about the resource around it; what is inside a resource is about that one.
        inner = scope.of(item.value)
        if strict and content.datatype and item.type not in PRIMITIVES:
            self.datatype(item, scope)
        elif item.type not in PRIMITIVES:
            self.members(content, item, inner, strict)
        elif content.fields and isinstance(item.below, dict):
            self.members(content, item.beneath(), scope, strict=False)
        if content.profiles:
            self.one_of(content.profiles, item, inner)

    def datatype(self, item: Item, scope: Scope) -> None:
        """Check a value against the definition of its own type."""
        if item.type in RESOURCE or self.library.is_resource(item.type):
            if isinstance(item.value, dict):
                contained = item.field is not None and item.field.name == "contained"
                self.resource(item.value, item.at, scope.within(item.value, contained=contained))
            return
        model = self.library.type_model(item.type)
        if model is not None:
            self.content(model.content, item, scope, strict=True)
        if item.type == "Extension":
            explain_extension(self, item, scope)

    def primitive(self, item: Item, scope: Scope) -> bool:
        """Check a primitive's format and what is under `_name`; False when it makes no sense to go on."""
        if item.below is not None:
            self.below(item, scope)
        value = item.value
        if value is None:
            return True
        if not formats.ACCEPTS[item.type](value):
            expected = formats.EXPECTED[item.type]
            self.error("value", item.at, f"This is not a valid {item.type}; give {expected}.")
            return False
        if isinstance(value, str) and formats.is_doubtful(value):
            message = "The text holds only spaces, or control characters; give words, or leave it out."
            self.report("warning", "value", item.at, message)
        return True

    def below(self, item: Item, scope: Scope) -> None:
        """Check a primitive's id and extensions, under `_name`; beside a value, an id alone is enough."""
        if not isinstance(item.below, dict) or not item.below:
            message = (
                "The member with _ before its name holds an object with an id or extensions; correct it."
            )
            self.error("structure", item.at, message)
            return
        if item.value is None and is_empty(item.below):
            self.error("invariant", item.at, _EMPTY)
            return
        element = self.library.type_model("Element")
        if element is not None:
            self.members(element.content, item.beneath(), scope, strict=True)

    def limits(self, content: Content, item: Item) -> None:
        value = item.value
        if isinstance(value, str) and len(value) > content.max_length:
            message = f"The text is longer than {content.max_length} characters; shorten it."
            self.error("too-long", item.at, message)
        if content.min_value is not ABSENT and _less(value, content.min_value):
            self.error("value", item.at, f"The value is below the smallest allowed, {content.min_value}.")
        if content.max_value is not ABSENT and _less(content.max_value, value):
            self.error("value", item.at, f"The value is above the largest allowed, {content.max_value}.")

    def measured(self, content: Content, item: Item) -> None:
        """Check a quantity against the limits of its place; they may be given in another unit."""
        limits = ((content.min_value, -1, "below the smallest"), (content.max_value, 1, "above the largest"))
        for limit, wrong, words in limits:
            if not isinstance(limit, dict) or not isinstance(item.value, dict) or "value" not in item.value:
                continue
            found = quantity.order(item.value, limit)
            allowed = wording.stated(limit)
            if found is None:
                message = f"The quantity could not be compared with {allowed}, the limit here."
                self.report("information", "not-supported", item.at, message)
            elif found == wrong:
                self.error("value", item.at, f"The quantity is {words} allowed, {allowed}.")

    def stated(self, content: Content, item: Item) -> None:
        if content.fixed is not ABSENT and not equal(item.value, content.fixed):
            self.error("value", item.at, f"The value must be exactly {wording.stated(content.fixed)}.")
        if content.pattern is not ABSENT and not has_pattern(item.value, content.pattern):
            self.error("value", item.at, f"The value must contain {wording.stated(content.pattern)}.")

    # ------------------------------------------------------------------ references

    def reference(self, content: Content, item: Item, scope: Scope) -> None:
        value = item.value
        if item.type != "Reference" or not isinstance(value, dict):
            return
        wrong = [
            t for t in scope.target_types(value) if content.target_types and t not in content.target_types
        ]
        if wrong:
            message = (
                f"The reference points to a {wording.short(wrong[0])}; "
                f"it may point to {wording.choice(sorted(content.target_types))}."
            )
            self.error("value", item.at, message)
            return
        literal = value.get("reference")
        if not isinstance(literal, str):
            return
        target = scope.resolve(literal)
        if content.aggregation:
            self.aggregation(content.aggregation, literal, target is not None, item.at)
        if target is not None:
            self.target(content, item, target, scope.within(target, contained=literal.startswith("#")))

    def target(self, content: Content, item: Item, target: Json, inner: Scope) -> None:
        """Check the target of a reference, if we have it, against the profiles it must satisfy."""
        named = target.get("resourceType")
        profiles = [t for t in content.targets if self.library.resource_type_of(t) == named]
        if not profiles or any(self.library.is_base(t) for t in profiles):
            return
        if not any(conforms(self.library, target, profile, inner) for profile in profiles):
            titles = wording.choice([self.library.title(profile) for profile in profiles])
            message = f"The referenced {named} does not satisfy {titles}; correct it or refer to another."
            self.error("value", item.at, message)

    def aggregation(self, ways: tuple[str, ...], literal: str, resolved: bool, at: str) -> None:
        way = "contained" if literal.startswith("#") else "bundled" if resolved else "referenced"
        if way not in ways and not (way == "bundled" and "referenced" in ways):
            self.error("value", at, f"The target must be {wording.choice(list(ways))}, but it is {way}.")

    # ------------------------------------------------------------------ rules and profiles on a value

    def rule(self, rule: Rule, item: Item, scope: Scope) -> None:
        constraint = rule.constraint
        what = f"The rule {constraint.key}" if constraint.key else "This"
        try:
            if rule.faults is not None:
                for place, message in rule.faults(item.value, scope):
                    self.error("invariant", f"{item.at}{place}", message)
                return
            if rule.holds(item.value, scope):
                return
        except Undecided as error:
            message = f"{what} was not checked: {error.message}."
            self.report("information", error.code, item.at, message)
            return
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError):
            # Rules are written for values of the right form, and some part of this value has the wrong form.
            message = f"{what} could not be checked: it does not have the form that R4 prescribes."
            self.report("information", "not-supported", item.at, message)
            return
        severity: Severity = "error" if constraint.severity == "error" else "warning"
        key = f" ({constraint.key})" if constraint.key else ""
        self.report(severity, "invariant", item.at, f"{constraint.human.rstrip('. ')}.{key}")

    def unchecked(self, constraint: Constraint, at: str) -> None:
        message = f"The rule {constraint.key} cannot be checked here: {constraint.human}"
        self.report("information", "not-supported", at, message)

    def one_of(self, profiles: tuple[str, ...], item: Item, scope: Scope) -> None:
        """Check that the value satisfies one of the profiles on its type; if there is only one, in detail."""
        bases = [profile for profile in profiles if self.library.is_base(profile)]
        if bases and not self.library.is_resource(item.type):
            return  # it asks for nothing more than the type
        known = [p for p in profiles if p in bases or self.library.profile_model(p) is not None]
        if len(known) == len(profiles) == 1:
            self.profile(known[0], item, scope)
        elif not any(conforms(self.library, item.value, profile, scope) for profile in known):
            self.none_of(profiles, [profile for profile in profiles if profile not in known], item)

    def none_of(self, profiles: tuple[str, ...], unknown: list[str], item: Item) -> None:
        """Report a value that satisfies no profile that is known."""
        if unknown:
            message = f"This was not checked against {wording.choice(unknown)}, which is not known here."
            self.report("information", "not-supported", item.at, message)
        else:
            titles = wording.choice([self.library.title(profile) for profile in profiles])
            self.error("structure", item.at, f"The value satisfies none of {titles}.")

    # ------------------------------------------------------------------ members

    def members(self, content: Content, owner: Item, scope: Scope, strict: bool) -> None:
        value = owner.value
        if not isinstance(value, dict):
            return
        if strict:
            self.unknown(content, value, owner.at)
        for field in content.fields.values():
            if self.is_full:
                return
            self.field(field, list(self.items(field, owner, strict)), owner, scope, strict)

    def unknown(self, content: Content, value: Json, at: str) -> None:
        for key in value:
            if self.is_full:
                return
            if key in content.keys or (content.resource and key == "resourceType"):
                continue
            known = content.keys.get(key[1:]) if key[:1] == "_" else None
            if known is None:
                message = (
                    f"FHIR R4 has no element `{wording.short(key)}` here; remove it or correct its name."
                )
            elif known[1] not in PRIMITIVES or known[1] == "xhtml":
                message = f"`{wording.short(key)}` is for primitive values only; remove it."
                self.error("structure", f"{at}.{known[0].name}", message)
                continue
            else:
                continue
            self.error("structure", at, message)

    def items(self, field: Field, owner: Item, strict: bool) -> Iterator[Item]:
        """The values of a member; with `strict`, also report what is wrong with their JSON form."""
        value = owner.value
        if not isinstance(value, dict):
            return
        place = f"{owner.at}.{field.name}"
        for key, code in field.keys:
            plain = value.get(key, ABSENT)
            extra = value.get(f"_{key}", ABSENT) if code in PRIMITIVES and code != "xhtml" else ABSENT
            if plain is ABSENT and extra is ABSENT:
                continue
            if field.array:
                for index, one, below in self.listed(plain, extra, place, strict):
                    yield Item(one, below, self.actual(code, one), f"{place}[{index}]", field, owner)
                continue
            for side in (plain, extra):
                if strict and (side is None or isinstance(side, list)):
                    message = f"`{key}` holds one value here, not {wording.kind(side)}."
                    self.error("structure", place, message)
            one = None if isinstance(plain, list) or plain is ABSENT else plain
            below = None if isinstance(extra, list) or extra is ABSENT else extra
            if one is not None or below is not None:
                yield Item(one, below, self.actual(code, one), place, field, owner)

    def listed(
        self, plain: object, extra: object, place: str, strict: bool
    ) -> Iterator[tuple[int, object, object]]:
        """(index, value, its object under `_name`) for a member that JSON writes as a list."""
        for side in (plain, extra):
            if side is not ABSENT and not isinstance(side, list):
                if strict:
                    message = f"A list is needed here, not {wording.kind(side)}; put it in [ ]."
                    self.error("structure", place, message)
                return
            if side is not ABSENT and not side and strict:
                self.error("structure", place, "An empty list is not allowed; leave the element out.")
        values = plain if isinstance(plain, list) else []
        belows = extra if isinstance(extra, list) else []
        if belows and values and len(values) != len(belows) and strict:
            message = "The lists with and without _ should be equally long; fill up with null."
            self.report("warning", "structure", place, message)
        for index in range(max(len(values), len(belows))):
            one = values[index] if index < len(values) else None
            below = belows[index] if index < len(belows) else None
            if one is not None or below is not None:
                yield index, one, below
            elif strict:
                message = "null stands only where the list with _ has something in its place."
                self.error("structure", f"{place}[{index}]", message)

    def actual(self, code: str, value: object) -> str:
        """The type of a value; a resource names its own."""
        if code in RESOURCE and isinstance(value, dict):
            named = value.get("resourceType")
            if isinstance(named, str) and self.library.is_resource(named):
                return named
        return code

    def field(self, field: Field, items: list[Item], owner: Item, scope: Scope, strict: bool) -> None:
        self.count(field, len(items), owner, wording.member(field))
        for item in items:
            if self.is_full:
                return
            self.typed(field, item, scope, strict)
        if field.slices:
            explain_slices(self, field, items, owner, scope)

    def count(self, field: Field, number: int, owner: Item, what: str) -> None:
        asked = f"{field.path} has cardinality {wording.cardinality(field)}."
        if number < field.min:
            need = "is missing" if number == 0 else f"stands {number} times only"
            self.error("required", owner.at, f"{what} {need}; {asked}")
        elif number > field.max:
            too_many = "is not allowed here" if field.max == 0 else f"stands {number} times"
            self.error("structure", f"{owner.at}.{field.name}", f"{what} {too_many}; {asked}")

    def typed(self, field: Field, item: Item, scope: Scope, strict: bool) -> None:
        """Check one value of a member, by its type."""
        if field.allowed is not None and item.type not in field.allowed:
            allowed = wording.choice(sorted(field.allowed))
            self.error("structure", item.at, f"A {item.type} is not allowed here; give {allowed}.")
            return
        content = field.by_type.get(item.type) or field.by_type.get("Resource")
        if content is None or (strict and self.is_clean(content, item, scope)):
            return
        self.content(content, item, scope, strict=strict)

    def is_clean(self, content: Content, item: Item, scope: Scope) -> bool:
        """Whether the fast tier finds nothing to report about a data type or backbone element.

        Extensions depend on where they are, and resources bring their own scope.
        """
        return (
            self._asked_first is not None
            and item.type not in PRIMITIVES
            and item.type != "Extension"
            and not self.library.is_resource(item.type)
            and item.type not in RESOURCE
            and self._asked_first(content, item.type, item.value, None, scope)
        )


def conforms(library: Library, value: object, profile: str, scope: Scope) -> bool:
    """Whether a value that already fits its type also satisfies a profile."""
    model = library.profile_model(profile)
    if model is None:
        return library.is_of_type(value, profile)
    named = value.get("resourceType", model.type) if isinstance(value, dict) else model.type
    if named != model.type:
        return False
    known = scope.conforming
    key = (id(value), id(scope.resource), model.url)
    if key in known:
        return known[key][1]
    # What refers to itself, perhaps by way of others, satisfies the profile unless something else breaks it.
    known[key] = (value, True)
    size = len(known)
    quiet = Explainer(library)
    quiet.content(model.content, Item(value, None, model.type, model.type), scope, strict=False)
    answer = not any(issue.is_error for issue in quiet.issues)
    if not answer:
        # Whatever was found meanwhile may rest on the opposite.
        while len(known) > size:
            known.popitem()
    known[key] = (value, answer)
    return answer


def is_empty(value: Json) -> bool:
    """ele-1: whether an element has nothing but an id."""
    return not value.keys() - {"id"}


def _less(one: object, other: object) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one < other
    return isinstance(one, str) and isinstance(other, str) and one < other
