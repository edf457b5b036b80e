"""The explaining tier: walks the model and a resource side by side and reports everything that is wrong.

It is the reference: the fast tier may only say yes where this one finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import Issue, Severity
from fhir_coprod.validation import formats
from fhir_coprod.validation.model import Bound, Content, Field, Model, Rule, Slice
from fhir_coprod.validation.scope import Scope
from fhir_coprod.validation.shapes import ABSENT, MANY, PRIMITIVES, Constraint
from fhir_coprod.validation.values import equal, has_pattern, is_member

if TYPE_CHECKING:
    from fhir_coprod.validation.library import Library

RESOURCE_TYPES = ("Resource", "DomainResource")


@dataclass(slots=True)
class Item:
    """One value of a member."""

    value: object
    """None where only an extension stands."""
    below: object
    """For a primitive: the object under `_name`, else None."""
    type: str
    at: str


class Explainer:
    """One pass over one resource, nested resources included."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.issues: dict[Issue, None] = {}

    def report(self, severity: Severity, code: str, at: str, message: str) -> None:
        self.issues[Issue(severity, code, message, at)] = None

    def error(self, code: str, at: str, message: str) -> None:
        self.report("error", code, at, message)

    # ------------------------------------------------------------------ resources

    def resource(self, value: object, at: str, scope: Scope, wanted: str = "", profile: str = "") -> None:
        """A whole resource: its type, the profiles it claims, and `profile`."""
        if not isinstance(value, dict):
            self.error("structure", at, "A resource is a JSON object.")
            return
        name = value.get("resourceType")
        if not isinstance(name, str) or not name:
            self.error("structure", at, "`resourceType` is missing; name the type of the resource.")
            return
        model = self.library.resource_model(name)
        if model is None:
            self.error(
                "structure", at, f"{_short(name)} is no resource type of FHIR R4; correct `resourceType`."
            )
            return
        at = at or name
        self.content(model.content, Item(value, None, name, at), scope, strict=True)
        for url in self.claimed(value, at):
            self.profile(url, value, at, scope)
        if profile:
            self.profile(profile, value, at, scope)

    def claimed(self, resource: Json, at: str) -> Iterator[str]:
        """The profiles in meta.profile that are known here; the others are mentioned."""
        meta = resource.get("meta")
        profiles = meta.get("profile") if isinstance(meta, dict) else None
        for index, url in enumerate(profiles if isinstance(profiles, list) else ()):
            if not isinstance(url, str):
                continue
            if self.library.profile_model(url) is not None:
                yield url
            elif not self.library.is_base(url):
                self.report(
                    "warning",
                    "not-found",
                    f"{at}.meta.profile[{index}]",
                    f"The profile {_short(url)} is not known here and was not checked; load its package to check it.",
                )

    def profile(self, url: str, value: Json, at: str, scope: Scope) -> None:
        model = self.library.profile_model(url)
        if model is None:
            return
        name = value.get("resourceType")
        if model.type != name:
            self.error(
                "structure", at, f"The profile {model.title} is for {model.type}, but this is a {name}."
            )
            return
        self.content(model.content, Item(value, None, str(name), at), scope, strict=False, model=model)

    # ------------------------------------------------------------------ one value

    def content(
        self, content: Content, item: Item, scope: Scope, *, strict: bool, model: Model | None = None
    ) -> None:
        """One value against what is asked of it; `strict` for the definition of a type, not for an overlay."""
        if item.type in PRIMITIVES:
            self.primitive(content, item, scope, strict)
        elif not isinstance(item.value, dict):
            if strict:
                self.error("structure", item.at, f"A {item.type} is a JSON object, not {_kind(item.value)}.")
            return
        elif (
            strict
            and not item.value.keys() - {"id", "resourceType"}
            and item.type != "Parameters"
            and ("resourceType" not in item.value)
        ):
            self.error(
                "invariant",
                item.at,
                "An element has a value, children or extensions; remove the empty one. (ele-1)",
            )
            return
        self.stated(content, item)
        if content.bound is not None:
            self.binding(content.bound, item)
        if content.targets or content.aggregation:
            self.reference(content, item, scope, strict)
        for rule in content.rules:
            self.rule(rule, item, scope)
        for constraint in content.unchecked:
            self.unchecked(constraint, item.at)
        if strict and content.datatype and item.type not in PRIMITIVES:
            self.datatype(item, scope)
        elif isinstance(item.value, dict):
            self.members(content, item.value, item.at, scope, strict)
        elif content.fields and isinstance(item.below, dict):
            self.members(content, item.below, item.at, scope, strict=False)
        if content.profiles:
            self.one_of(content.profiles, item, scope)

    def datatype(self, item: Item, scope: Scope) -> None:
        """The definition of the value's own type."""
        if item.type in RESOURCE_TYPES or self.library.is_resource(item.type):
            contained = _last_name(item.at) == "contained"
            if isinstance(item.value, dict):
                self.resource(item.value, item.at, scope.within(item.value, contained=contained))
            return
        model = self.library.type_model(item.type)
        if model is not None:
            self.content(model.content, item, scope, strict=True)
        if item.type == "Extension" and isinstance(item.value, dict):
            self.extension(item.value, item.at, scope)

    def primitive(self, content: Content, item: Item, scope: Scope, strict: bool) -> None:
        value = item.value
        if strict:
            if value is not None and not formats.ACCEPTS[item.type](value):
                self.error(
                    "value",
                    item.at,
                    f"{_show(value)} is not a valid {item.type}; give {formats.EXPECTED[item.type]}.",
                )
                return
            if item.below is not None:
                self.below(item, scope)
        if isinstance(value, str) and len(value) > content.max_length:
            self.error(
                "too-long", item.at, f"The text is longer than {content.max_length} characters; shorten it."
            )
        if content.min_value is not ABSENT and _less(value, content.min_value):
            self.error("value", item.at, f"The value is below the smallest allowed, {content.min_value}.")
        if content.max_value is not ABSENT and _less(content.max_value, value):
            self.error("value", item.at, f"The value is above the largest allowed, {content.max_value}.")

    def below(self, item: Item, scope: Scope) -> None:
        """The id and extensions of a primitive, under `_name`."""
        if not isinstance(item.below, dict):
            self.error(
                "structure",
                item.at,
                "The member with _ before its name holds an object with id or extension.",
            )
            return
        if item.value is None and "extension" not in item.below:
            self.error("invariant", item.at, "There is neither a value nor an extension; remove it. (ele-1)")
        element = self.library.type_model("Element")
        if element is not None:
            self.members(element.content, item.below, item.at, scope, strict=True)

    def stated(self, content: Content, item: Item) -> None:
        if content.fixed is not ABSENT and not equal(item.value, content.fixed):
            self.error("value", item.at, f"The value must be exactly {_show(content.fixed)}.")
        if content.pattern is not ABSENT and not has_pattern(item.value, content.pattern):
            self.error("value", item.at, f"The value must contain {_show(content.pattern)}.")

    def binding(self, bound: Bound, item: Item) -> None:
        if item.value is None:
            return
        if not bound.codes.known and bound.strength == "required":
            self.report(
                "information",
                "not-supported",
                item.at,
                f"Codes could not be checked: the value set {bound.value_set} is not held here.",
            )
        member = is_member(item.value, item.type, bound.codes)
        if member is not False:
            return
        if bound.strength == "required":
            self.error(
                "code-invalid",
                item.at,
                f"{_code(item.value)} is not in the required value set {bound.value_set}; use a code from it.",
            )
        elif bound.largest is not None and is_member(item.value, item.type, bound.largest) is False:
            self.error(
                "code-invalid",
                item.at,
                f"{_code(item.value)} is outside the largest value set allowed for {bound.value_set}; use a code from it.",
            )
        else:
            self.report(
                "warning",
                "code-invalid",
                item.at,
                f"{_code(item.value)} is not in the value set {bound.value_set}; use one of its codes if one fits.",
            )

    def reference(self, content: Content, item: Item, scope: Scope, strict: bool) -> None:
        value = item.value
        if item.type != "Reference" or not isinstance(value, dict):
            return
        named = scope.target_type(value)
        allowed = content.target_types
        if allowed and named and named not in allowed:
            self.error(
                "value",
                item.at,
                f"The reference points to a {_short(named)}; it may point to {_list(sorted(allowed))}.",
            )
            return
        literal = value.get("reference")
        if not isinstance(literal, str):
            return
        target = scope.resolve(literal)
        if content.aggregation:
            self.aggregation(content.aggregation, literal, target is not None, item.at)
        if target is None or not named:
            return
        profiles = [t for t in content.targets if self.library.resource_type_of(t) == named]
        if profiles and not any(self.library.is_base(t) for t in profiles):
            inner = scope.within(target, contained=literal.startswith("#"))
            if not any(conforms(self.library, target, profile, inner) for profile in profiles):
                self.error(
                    "value",
                    item.at,
                    f"The referenced {named} does not satisfy {_list([self.library.title(p) for p in profiles])}; "
                    "correct it or refer to another.",
                )

    def aggregation(self, ways: tuple[str, ...], literal: str, resolved: bool, at: str) -> None:
        way = "contained" if literal.startswith("#") else "bundled" if resolved else "referenced"
        if way not in ways and not (way == "bundled" and "referenced" in ways):
            self.error("value", at, f"The reference must be {_list(list(ways))}, but it is {way}.")

    def rule(self, rule: Rule, item: Item, scope: Scope) -> None:
        if holds(rule, item.value, scope):
            return
        constraint = rule.constraint
        severity: Severity = "error" if constraint.severity == "error" else "warning"
        text = constraint.human.rstrip(". ")
        self.report(severity, "invariant", item.at, f"{text}. ({constraint.key})")

    def unchecked(self, constraint: Constraint, at: str) -> None:
        self.report(
            "information",
            "not-supported",
            at,
            f"The rule {constraint.key} cannot be checked here: {constraint.human}",
        )

    def one_of(self, profiles: tuple[str, ...], item: Item, scope: Scope) -> None:
        """The value satisfies one of the profiles on its type; with only one, its problems are told."""
        known = [p for p in profiles if self.library.profile_model(p) is not None]
        if not known or len(known) < len(profiles):
            return
        if len(known) == 1:
            model = self.library.profile_model(known[0])
            if model is not None:
                self.content(model.content, item, scope, strict=False)
        elif not any(conforms(self.library, item.value, p, scope) for p in known):
            self.error(
                "structure",
                item.at,
                f"The value satisfies none of {_list([self.library.title(p) for p in known])}.",
            )

    # ------------------------------------------------------------------ extensions

    def extension(self, value: Json, at: str, scope: Scope) -> None:
        """An extension against the definition that its url names."""
        url = value.get("url")
        if not isinstance(url, str):
            return
        modifier = _last_name(at) == "modifierExtension"
        model = self.library.profile_model(url)
        if model is None or model.type != "Extension":
            if "://" not in url and not url.startswith("urn:"):
                return
            if modifier:
                self.error(
                    "extension",
                    at,
                    f"The modifier extension {_short(url)} is not known here, so the record may not be understood; "
                    "remove it or load its definition.",
                )
            else:
                self.report("information", "extension", at, f"The extension {_short(url)} is not known here.")
            return
        if modifier and not model.modifier:
            self.error("extension", at, f"{model.title} does not modify meaning; move it to `extension`.")
        elif model.modifier and not modifier:
            self.error("extension", at, f"{model.title} modifies meaning; move it to `modifierExtension`.")
        self.content(model.content, Item(value, None, "Extension", at), scope, strict=False)

    # ------------------------------------------------------------------ members

    def members(self, content: Content, value: Json, at: str, scope: Scope, strict: bool) -> None:
        if strict:
            self.unknown(content, value, at)
        for field in content.fields.values():
            items = self.items(field, value, at, strict)
            self.field(field, items, at, scope, strict)

    def unknown(self, content: Content, value: Json, at: str) -> None:
        for key in value:
            if key in content.keys or (
                key == "resourceType" and "." not in content.path and content.type[:1].isupper()
            ):
                continue
            if key[:1] == "_" and key[1:] in content.keys:
                if content.keys[key[1:]][1] in PRIMITIVES:
                    continue
                self.error("structure", at, f"`{_short(key)}` is only for primitive values; remove it.")
                continue
            self.error(
                "structure",
                at,
                f"FHIR R4 has no element `{_short(key)}` here; remove it or correct its name.",
            )

    def items(self, field: Field, value: Json, at: str, strict: bool) -> list[Item]:
        """The values of a member; with `strict`, what is wrong with their JSON form is told."""
        found: list[Item] = []
        for key, code in field.keys:
            plain, extra = value.get(key, ABSENT), value.get(f"_{key}", ABSENT)
            if code not in PRIMITIVES or code == "xhtml":
                extra = ABSENT
            if plain is ABSENT and extra is ABSENT:
                continue
            place = f"{at}.{field.name}"
            if field.array:
                found += self.listed(plain, extra, code, place, strict)
            else:
                for side in (plain, extra):
                    if strict and (side is None or isinstance(side, list)):
                        self.error("structure", place, f"`{key}` holds one value here, not {_kind(side)}.")
                if isinstance(plain, list) or isinstance(extra, list):
                    continue
                one = None if plain is ABSENT else plain
                below = None if extra is ABSENT else extra
                if one is not None or below is not None:
                    found.append(Item(one, below, self.actual(code, one), place))
        return found

    def listed(self, plain: object, extra: object, code: str, place: str, strict: bool) -> Iterator[Item]:
        for side in (plain, extra):
            if side is not ABSENT and not isinstance(side, list):
                if strict:
                    self.error(
                        "structure", place, f"A list is needed here, not {_kind(side)}; put it in [ ]."
                    )
                return
            if side is not ABSENT and not side and strict:
                self.error("structure", place, "An empty list is not allowed; leave the element out.")
        values = plain if isinstance(plain, list) else []
        belows = extra if isinstance(extra, list) else []
        if belows and values and len(values) != len(belows) and strict:
            self.error(
                "structure", place, "The lists with and without _ must be equally long; fill with null."
            )
        for index in range(max(len(values), len(belows))):
            one = values[index] if index < len(values) else None
            below = belows[index] if index < len(belows) else None
            if one is None and below is None:
                if strict:
                    self.error(
                        "structure",
                        f"{place}[{index}]",
                        "null stands only where _ has something in its place.",
                    )
                continue
            yield Item(one, below, self.actual(code, one), f"{place}[{index}]")

    def actual(self, code: str, value: object) -> str:
        """The type of a value; a resource tells its own."""
        if code in RESOURCE_TYPES and isinstance(value, dict):
            named = value.get("resourceType")
            if isinstance(named, str) and self.library.is_resource(named):
                return named
        return code

    def field(self, field: Field, items: list[Item], at: str, scope: Scope, strict: bool) -> None:
        self.count(field, len(items), f"{at}.{field.name}", f"`{field.name}`")
        if strict and field.choice and len({item.type for item in items}) > 1:
            self.error(
                "structure", f"{at}.{field.name}", f"`{field.name}[x]` is given in two types; keep one."
            )
        for item in items:
            self.typed(field, item, scope, strict)
        if field.slices:
            self.sliced(field, items, at, scope)

    def count(self, field: Field, number: int, at: str, what: str) -> None:
        if number < field.min:
            need = "is missing" if number == 0 else f"stands {number} times, {field.min} are needed"
            owner = at.rpartition(".")[0]
            self.error("required", owner, f"{what} {need}; {field.path} has cardinality {_range(field)}.")
        if number > field.max:
            if field.max == 0:
                self.error(
                    "structure",
                    at,
                    f"{what} is not allowed here; {field.path} has cardinality {_range(field)}.",
                )
            else:
                self.error(
                    "structure",
                    at,
                    f"{what} stands {number} times; {field.path} has cardinality {_range(field)}.",
                )

    def typed(self, field: Field, item: Item, scope: Scope, strict: bool) -> None:
        """One value of a member, by its type."""
        if field.allowed is not None and item.type not in field.allowed:
            self.error(
                "structure",
                item.at,
                f"A {item.type} is not allowed here; give {_list(sorted(field.allowed))}.",
            )
            return
        content = field.by_type.get(item.type)
        if content is None:
            content = field.by_type.get("Resource")
        if content is not None:
            self.content(content, item, scope, strict=strict)

    def sliced(self, field: Field, items: list[Item], at: str, scope: Scope) -> None:
        members: dict[str, list[Item]] = {part.name: [] for part in field.slices}
        last = -1
        for item in items:
            position, part = self.slice_of(field, item, scope)
            if part is None:
                if field.rules == "closed":
                    self.error(
                        "structure",
                        item.at,
                        f"The value fits none of the slices {_list(list(members))} of {field.path}, and no other is allowed.",
                    )
                elif field.rules == "openAtEnd":
                    last = len(field.slices)
                continue
            if position < last and (field.ordered or field.rules == "openAtEnd"):
                self.error(
                    "structure",
                    item.at,
                    f"The slice {part.name} of {field.path} stands too late; order the list.",
                )
            last = max(last, position)
            members[part.name].append(item)
        for part in field.slices:
            mine = members[part.name]
            if part.matches is None:
                self.report(
                    "information",
                    "not-supported",
                    f"{at}.{field.name}",
                    f"The slice {part.name} of {field.path} cannot be told apart, so it was not checked.",
                )
                continue
            self.count(part.field, len(mine), f"{at}.{field.name}", f"The slice `{part.name}`")
            for item in mine:
                self.typed(part.field, item, scope, strict=False)
            if part.field.slices:
                self.sliced(part.field, mine, at, scope)

    def slice_of(self, field: Field, item: Item, scope: Scope) -> tuple[int, Slice | None]:
        for position, part in enumerate(field.slices):
            if part.matches is not None and part.matches(item.value, item.type, scope):
                return position, part
        return -1, None


def holds(rule: Rule, value: object, scope: Scope) -> bool:
    """Whether the invariant holds; data that the rule cannot digest breaks it."""
    if value is None:
        return True
    return rule.test(value, scope)


def conforms(library: Library, value: object, profile: str, scope: Scope) -> bool:
    """Whether a value, already of its type, satisfies a profile too."""
    model = library.profile_model(profile)
    if model is None:
        return False
    named = value.get("resourceType", model.type) if isinstance(value, dict) else model.type
    if named != model.type:
        return False
    quiet = Explainer(library)
    quiet.content(model.content, Item(value, None, model.type, model.type), scope, strict=False)
    return not any(issue.is_error for issue in quiet.issues)


def _less(one: object, other: object) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one < other
    return isinstance(one, str) and isinstance(other, str) and one < other


def _last_name(at: str) -> str:
    return at.rpartition(".")[2].partition("[")[0]


def _range(field: Field) -> str:
    return f"{field.min}..{'*' if field.max == MANY else field.max}"


def _short(text: str) -> str:
    """A name or URL as a message may show it."""
    cleaned = "".join(c if c.isprintable() else "?" for c in text[:120])
    return cleaned + ("…" if len(text) > 120 else "")


def _show(value: object) -> str:
    """A value of the definition, or the shape of one that came: never personal data."""
    if isinstance(value, (dict, list)):
        from fhir_coprod.jsontext import encode

        return _short(encode(value).decode())
    return _kind(value) if value is None else "The value"


def _code(value: object) -> str:
    """A coded value as system and code."""
    if isinstance(value, str):
        return f"The code {_short(value)!r}"
    if isinstance(value, dict):
        codings = value.get("coding", [value])
        for coding in codings if isinstance(codings, list) else ():
            if isinstance(coding, dict) and isinstance(coding.get("code"), str):
                system = coding.get("system")
                where = f" of {_short(system)}" if isinstance(system, str) else " without a system"
                return f"The code {_short(coding['code'])!r}{where}"
        return "A text without a code"
    return "The value"


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "this")


def _list(names: list[str]) -> str:
    shown = [_short(name) for name in names[:8]]
    if len(names) > 8:
        shown.append(f"{len(names) - 8} others")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}" if shown else "nothing"
