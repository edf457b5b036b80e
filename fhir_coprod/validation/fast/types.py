"""The fast tier for types: compiles models into functions that only answer yes or no.

A yes may come with two remarks: that the resource has no narrative, or that there is something else to
report. A no is an exception, and the caller then asks the explaining tier. If the fast tier cannot decide, it
also says no.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fhir_coprod import deadline
from fhir_coprod.outcome import Issue
from fhir_coprod.remembering import TEXTS
from fhir_coprod.validation.explain.extensions import (
    context_rule_holds,
    explain_extension,
    is_in_context,
)
from fhir_coprod.validation.explain.item import Item
from fhir_coprod.validation.explain.walk import RESOURCE, Explainer
from fhir_coprod.validation.fast import checks
from fhir_coprod.validation.fast.by_shape import object_check
from fhir_coprod.validation.fast.checks import FALTERS, Check, No, Pass, Writer, written
from fhir_coprod.validation.fast.profiles import overlay
from fhir_coprod.validation.fast.remarks import NARRATIVE, Told
from fhir_coprod.validation.model.content import Bound, Content, Field, Model
from fhir_coprod.validation.model.element_ids import repeated_ids
from fhir_coprod.validation.model.library import FHIR, Library
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import ABSENT, MANY, PRIMITIVES

MAX_URLS = 20_000
"""Extension urls whose definition is remembered per place."""
_BARE = (NARRATIVE,)


class _ByUrl(dict[str, Check]):
    """The check of an extension, by its url."""


class Fast:
    """Compiles checks from the models of a library, each one once."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._types: dict[str, Check] = {}
        self._resources: dict[str, Check] = {}
        """Those of `_types` that are concrete resource types."""
        self._profiles: dict[str, Check] = {}
        self._own: dict[Content, Check] = {}
        """Backbone elements, which content references point back to."""
        self._places: dict[Content, Check] = {}
        self._claims = Told()
        """What there is to tell about profiles that are not known here."""
        self._formats: dict[str, Check] = {code: checks.primitive(code) for code in PRIMITIVES}

    # ------------------------------------------------------------------ resources

    def resource(self, value: Any, owner: Any, state: Pass) -> None:
        """A whole resource with the profiles it claims."""
        if (time := deadline.current()) is not None:
            time.check()
        name = value["resourceType"]
        check = self._resources.get(name)
        if check is None:
            if self.library.resource_model(name) is None:
                raise No
            check = self._resources[name] = self.type_check(name)
        check(value, owner, state)
        if (state.has_ids or len(value.get("contained", ())) > 1) and repeated_ids(value):
            raise No
        meta = value.get("meta")
        if meta is not None and "profile" in meta:
            seen: set[str] = set()
            for index, url in enumerate(meta["profile"]):
                if url in seen:
                    continue
                seen.add(url)
                if url in self._claims:
                    state.note(value, self._unknown_profile(url, index))
                elif self.library.profile_model(url) is not None:
                    self.profile_check(url)(value, owner, state)
                elif not self.library.is_base(url):
                    state.note(value, self._unknown_profile(url, index))
                elif not self.library.is_of_type(value, url):
                    raise No

    def _unknown_profile(self, url: str, index: int) -> tuple[Issue, ...]:
        issues = self._claims.get(url)
        if issues is None:
            explainer = Explainer(self.library)
            list(explainer.claimed({"meta": {"profile": [url]}}, ""))
            issues = tuple(explainer.issues)
            self._claims.keep(url, url, issues=issues)
        return (
            issues
            if index == 0
            else tuple([replace(i, expression=f".meta.profile[{index}]") for i in issues])
        )

    def _contained(self, value: Any, owner: Any, state: Pass) -> None:
        inner = Pass(state.scope.within(value, contained=True), state.remarks)
        self.resource(value, owner, inner)
        state.soft |= inner.soft

    def _carried(self, value: Any, owner: Any, state: Pass) -> None:
        inner = Pass(state.scope.within(value, contained=False), state.remarks)
        self.resource(value, owner, inner)
        state.soft |= inner.soft
        if inner.bare:
            state.note(value, _BARE)

    # ------------------------------------------------------------------ types

    def type_check(self, code: str) -> Check:
        """The check of a resource or data type by name."""
        found = self._types.get(code)
        if found is None:
            if code in PRIMITIVES:
                found = self._formats[code]
            else:
                model = self.library.type_model(code)
                if model is None:
                    raise No
                found = object_check(self, model.content)
            self._types[code] = found
        return found

    def _late(self, code: str) -> Check:
        """The check of a type, made on first use: types contain each other."""
        return self._types.get(code) or checks.later(lambda: self.type_check(code))

    # ------------------------------------------------------------------ values at their place

    def field_check(self, field: Field, code: str, owner: Content) -> Check:
        """What a member may hold, list or single."""
        content = field.by_type.get(code) or field.by_type.get("Resource")
        if content is None:
            raise No
        if code == "Extension":
            one = self._extension(owner, modifier=field.name == "modifierExtension")
        elif code in RESOURCE:
            one = self._contained if field.name == "contained" else self._carried
        else:
            one = self.value_check(content, code)
        return checks.list_of(one) if field.array else one

    def value_check(self, content: Content, code: str) -> Check:
        """One value at its place: its type, and what the place adds."""
        if code in PRIMITIVES:
            inner = self._formats[code]
            if content.bound is not None and _lists_codes(content.bound, code):
                # One of the listed codes is also a valid code.
                inner = checks.one_of(frozenset().union(*content.bound.codes.codes.values()))
        elif content.datatype:
            inner = self._late(code)
        else:
            inner = self._own.get(content) or self._own.setdefault(
                content, checks.later(lambda: self._own_object(content))
            )
        extras = self.extras(content, code, strict=True)
        return checks.all_of([inner, *extras])

    def _own_object(self, content: Content) -> Check:
        made = self._own[content] = object_check(self, content)
        return made

    def extras(self, content: Content, code: str, *, strict: bool) -> list[Check]:
        """What a place requires of a value beyond its type."""
        found: list[Check] = []
        if (
            content.fixed is not ABSENT
            or content.pattern is not ABSENT
            or content.max_length != MANY
            or content.min_value is not ABSENT
            or content.max_value is not ABSENT
            or content.aggregation
            or len(content.profiles) > 1
        ):
            found.append(self._explained(content, code))
        if content.bound is not None and not (strict and _lists_codes(content.bound, code)):
            found.append(checks.binding(content.bound, code))
        if content.needs_code:
            found.append(checks.names_code)
        if content.targets and code == "Reference":
            found.append(self._targets(content, code))
        if content.datatype or not strict:
            found += [checks.rule(rule) for rule in content.rules]
        if content.unchecked:
            found.append(checks.mentions)
        if len(content.profiles) == 1:
            found.append(self._single_profile(content.profiles[0], code))
        return found

    def _explained(self, content: Content, code: str) -> Check:
        """Rare requirements: the explaining tier checks them, for this value only."""
        shallow = Content(
            code,
            content.path,
            fixed=content.fixed,
            pattern=content.pattern,
            max_length=content.max_length,
            min_value=content.min_value,
            max_value=content.max_value,
            aggregation=content.aggregation,
            targets=content.targets if content.aggregation else (),
            profiles=content.profiles if len(content.profiles) > 1 else (),
        )

        def check(value: Any, owner: Any, state: Pass) -> None:
            explainer = Explainer(self.library)
            explainer.content(shallow, Item(value, None, code, ""), state.scope, strict=False)
            checks.settle(explainer, state)

        return check

    def _single_profile(self, url: str, code: str) -> Check:
        is_resource = code in RESOURCE or self.library.is_resource(code)

        def check(value: Any, owner: Any, state: Pass) -> None:
            model = self.library.profile_model(url)
            if model is not None:
                if model.kind != "resource" and model.type != code:
                    raise No
                self.profile_check(url)(value, owner, state)
            elif not self.library.is_base(url):
                state.soft = True
            elif is_resource and not self.library.is_of_type(value, url):
                raise No

        return check

    def _targets(self, content: Content, code: str) -> Check:
        allowed = content.target_types
        profiled = not all(self.library.is_base(target) for target in content.targets)
        shallow = Content(code, content.path, targets=content.targets, target_types=allowed)

        usual = tuple(f"{name}/" for name in sorted(allowed))

        def emit(writer: Writer, x: str, example: Any) -> None:
            seen = f'{x}.get("reference", "#").startswith({writer.name(usual)})'
            writer.line(f'if not {seen} or "type" in {x} or state.scope.outer is not None:')
            writer.line(f"    {writer.call(check, x)}")

        @written(emit)
        def check(value: Any, owner: Any, state: Pass) -> None:
            literal = value.get("reference")
            scope = state.scope
            if (
                literal is not None
                and literal.startswith(usual)
                and scope.outer is None
                and "type" not in value
            ):
                return
            if allowed and not allowed.issuperset(scope.target_types(value)):
                raise No
            if profiled and literal is not None and scope.resolve(literal) is not None:
                explainer = Explainer(self.library)
                explainer.reference(shallow, Item(value, None, code, ""), scope)
                checks.settle(explainer, state)

        return check

    def is_clean(self, content: Content, code: str, value: Any, owner: Any, scope: Scope) -> bool:
        """Whether there is nothing at all to report about a complex value at its place, extensions aside."""
        check = self._places.get(content)
        if check is None:
            check = self._places[content] = self.value_check(content, code)
        state = Pass(scope)
        try:
            check(value, owner, state)
        except FALTERS:
            return False
        return not state.soft and not state.remarks

    # ------------------------------------------------------------------ extensions

    def _extension(self, owner: Content, *, modifier: bool) -> Check:
        """Extensions on one kind of owner: each in itself, and by the definition that its url names."""
        plain = self._late("Extension")
        known = _ByUrl()
        TEXTS.add(known)

        def check(value: Any, holder: Any, state: Pass) -> None:
            plain(value, holder, state)
            url = value["url"]
            defined = known.get(url)
            if defined is None:
                defined = self._defined(url, owner, modifier)
                if len(known) < MAX_URLS and len(url) < checks.LONG:
                    known[url] = defined
                    TEXTS.keep(url)
            defined(value, holder, state)

        return check

    def _defined(self, url: str, owner: Content, modifier: bool) -> Check:
        if ":" not in url:
            return checks.passes if owner.type == "Extension" else checks.refuses
        model = self.library.profile_model(url)
        if model is None or model.type != "Extension":
            return checks.refuses if modifier else self._unknown(url)
        if modifier != model.modifier:
            return checks.refuses
        head, dot, rest = owner.path.partition(".")
        inherited = {f"{type_}{dot}{rest}" for type_ in self.library.ancestors(head)}
        names = {owner.path, *inherited, *self.library.ancestors(owner.type), "Element", "*"}
        settled = not model.contexts or any(
            kind == "element" and where.rpartition("#")[2].removeprefix(FHIR).replace("[x]", "") in names
            for kind, where in model.contexts
        )
        # Other elements depend on the path through the resource, which only the explaining tier knows.
        others = () if settled else tuple(c for c in model.contexts if c[0] != "element")
        if settled and not model.context_rules:
            return self.profile_check(url)
        if not settled and not others:
            return checks.refuses
        return self._in_context(model, owner, others)

    def _unknown(self, url: str) -> Check:
        """An extension whose definition is not held: what there is to tell is the same for all of them."""
        explainer = Explainer(self.library)
        one = Item({"url": url, "valueBoolean": True}, None, "Extension", "")
        explain_extension(explainer, one, Scope({}))
        issues = tuple(explainer.issues)

        def check(value: Any, holder: Any, state: Pass) -> None:
            state.note(value, issues)

        return check

    def _in_context(self, model: Model, owner: Content, others: tuple[tuple[str, str], ...]) -> Check:
        """An extension that may stand on an owner only in one of those contexts, if there are any, and where
        the rules of its definition about its owner hold.
        """
        library, rules, defined = self.library, model.context_rules, self.profile_check(model.url)

        def check(value: Any, holder: Any, state: Pass) -> None:
            field = Field("", owner.path, (), False)
            here = Item(holder, None, owner.type, "", field)
            places = {is_in_context(library, *one, here, state.scope) for one in others}
            held = {context_rule_holds(rule, here, state.scope) for rule in rules}
            if False in held or (others and not places & {True, None}):
                raise No
            if None in held or (others and True not in places):
                state.soft = True  # nobody can tell
            defined(value, holder, state)

        return check

    # ------------------------------------------------------------------ profiles

    def profile_check(self, url: str) -> Check:
        """What a profile adds, for values that passed the check of their type."""
        found = self._profiles.get(url)
        if found is None:
            model = self.library.profile_model(url)
            if model is None:
                raise No
            found = self._profiles[url] = overlay(self, model)
        return found

    def beneath(self, field: Field, key: str, code: str) -> Check:
        """The object under `_key`: extensions or the id of a primitive, whose value may be under `key`."""

        def check(value: Any, owner: Any, state: Pass) -> None:
            # An extension's definition may allow it on this very element only: the walk knows the path.
            explainer = Explainer(self.library)
            here = Item(owner.get(key), value, code, field.path, field, Item(owner, None, field.path, ""))
            explainer.below(here, state.scope)
            state.has_ids |= "id" in value
            checks.settle(explainer, state)

        return check


def _lists_codes(bound: Bound, code: str) -> bool:
    """Whether an element of type code has a required binding to a list."""
    return code == "code" and bound.strength == "required" and bound.codes.enumerable
