"""The fast tier for profiles: checks what a profile adds, on values that passed the check of their type.

As with types, everything that the keys of an object decide is decided once per shape. Of a profile, only the
members that are present remain to be checked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fhir_coprod.validation.explain.walk import RESOURCE
from fhir_coprod.validation.fast import checks
from fhir_coprod.validation.fast.by_shape import MAX_SHAPES
from fhir_coprod.validation.fast.checks import Check, No, Pass, refuses
from fhir_coprod.validation.fast.places import Places
from fhir_coprod.validation.model.content import Content, Field, Model, Rule
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import ABSENT, PRIMITIVES
from fhir_coprod.validation.model.values import equal, has_pattern

Found = list[tuple[Any, str]]
"""The values of a member with their types; a value that has only extensions is None."""


def overlay(places: Places, model: Model) -> Check:
    """The check of a profile."""
    name = model.type
    inner = _Overlay(places, model.content).content(model.content, name)
    if model.kind != "resource":
        return inner

    def check(value: Any, owner: Any, state: Pass) -> None:
        if value["resourceType"] != name:
            raise No
        inner(value, owner, state)

    return check


class _Overlay:
    def __init__(self, places: Places, root: Content) -> None:
        self.places = places
        self.root = root
        self.made: dict[Content, Check] = {}
        self._making: set[Content] = set()
        self._lock = threading.RLock()

    # ------------------------------------------------------------------ one value

    def content(self, content: Content, code: str) -> Check:
        """The check of one value; made once per content, also when content references repeat it."""
        made = self.made.get(content)
        if made is not None:
            return made
        with self._lock:
            if content in self._making:
                # It contains itself and this thread is making it; other threads wait until it is done.
                return checks.later(lambda: self.made[content])
            made = self.made.get(content)
            if made is None:
                self._making.add(content)
                try:
                    made = self.made[content] = self._make(content, code)
                finally:
                    self._making.discard(content)
            return made

    def _make(self, content: Content, code: str) -> Check:
        if code in PRIMITIVES:
            return self._primitive(content, code)
        if content is not self.root and (code in RESOURCE or self.places.library.is_resource(code)):
            return self._nested(content, code)
        return self._object(content, code)

    def _nested(self, content: Content, code: str) -> Check:
        """A resource inside another: the rules of its place are about the outer one, all else about it."""
        outer = checks.all_of([checks.rule(rule) for rule in content.rules])
        inner = self._object(replace(content, rules=[]), code)

        def check(value: Any, owner: Any, state: Pass) -> None:
            outer(value, owner, state)
            here = Pass(state.scope.of(value))
            inner(value, owner, here)
            state.soft |= here.soft

        return check

    def _primitive(self, content: Content, code: str) -> Check:
        found = [*_stated(content), *self._extras(content, code)]
        found += [checks.rule(rule) for rule in content.rules]
        if content.fields:
            # If a profile requires extensions on a primitive, the explaining tier checks that.
            found.append(refuses)
        return checks.all_of(found)

    def _object(self, content: Content, code: str) -> Check:
        always = [*_stated(content), *self._extras(content, code)]
        fields = [field for field in content.fields.values() if not _is_known_url(content, field)]
        by_shape: dict[tuple[str, ...], tuple[Check, ...]] = {}

        def make(keys: tuple[str, ...], value: Any) -> tuple[Check, ...]:
            found = list(always)
            for rule in content.rules:
                found += _ruled(rule, keys, value)
            for field in fields:
                if any(key in keys or f"_{key}" in keys for key, _ in field.keys):
                    test = self.member(field, keys)
                    if test is not checks.passes:
                        found.append(test)
                elif _is_needed(field):
                    found.append(refuses)
            made = tuple(found)
            if len(by_shape) < MAX_SHAPES:
                by_shape[keys] = made
            return made

        def check(value: Any, owner: Any, state: Pass) -> None:
            keys = (*value,)
            tests = by_shape.get(keys)
            for test in make(keys, value) if tests is None else tests:
                test(value, owner, state)

        return check

    def _extras(self, content: Content, code: str) -> list[Check]:
        """The other checks of a place; fixed values, patterns and rules are done here."""
        plain = Content(
            content.type,
            content.path,
            bound=content.bound,
            unchecked=content.unchecked,
            max_length=content.max_length,
            min_value=content.min_value,
            max_value=content.max_value,
            targets=content.targets,
            target_types=content.target_types,
            aggregation=content.aggregation,
            profiles=content.profiles,
        )
        return self.places.extras(plain, code, strict=False)

    # ------------------------------------------------------------------ members

    def member(self, field: Field, keys: tuple[str, ...]) -> Check:
        """A member of objects with those keys: its count and its values."""
        there = [(key, code) for key, code in field.keys if key in keys]
        if len(there) != 1 or there[0][1] in RESOURCE or any(f"_{key}" in keys for key, _ in field.keys):
            read, inner = _reader(field), self.items(field)

            def check(value: Any, owner: Any, state: Pass) -> None:
                inner(read(value), value, state)

            return check
        key, code = there[0]
        if field.slices:
            return self._sliced(field, key, code)
        if field.allowed is not None and code not in field.allowed:
            return refuses
        content = field.by_type.get(code)
        test = checks.passes if content is None else self.content(content, code)
        return _repeated(field, key, test) if field.array else _single(field, key, test)

    def _sliced(self, field: Field, key: str, code: str) -> Check:
        inner, array = self.items(field), field.array

        def check(value: Any, owner: Any, state: Pass) -> None:
            held = value[key]
            inner([(item, code) for item in held] if array else [(held, code)], value, state)

        return check

    def items(self, field: Field) -> Check:
        """The values of a member, given as `Found`."""
        low, high, allowed = field.min, field.max, field.allowed
        by_type = {code: self.content(content, code) for code, content in field.by_type.items()}
        any_resource = by_type.get("Resource")
        divide = self._slices(field) if field.slices else None

        def check(found: Any, owner: Any, state: Pass) -> None:
            if not low <= len(found) <= high:
                raise No
            for value, code in found:
                if allowed is not None and code not in allowed:
                    raise No
                test = by_type.get(code) or any_resource
                if test is not None:
                    if value is None:
                        raise No
                    test(value, owner, state)
            if divide is not None:
                divide(found, owner, state)

        return check

    def _slices(self, field: Field) -> Check:
        """The values of a member, each checked against the slice it belongs to."""
        parts = [(part.matches, self.items(part.field)) for part in field.slices]
        # An optional slice without values has nothing to check.
        always = [part.matches is not None and _is_needed(part.field) for part in field.slices]
        by_url = {part.url: position for position, part in enumerate(field.slices) if part.url}
        closed = field.rules == "closed"
        at_end = field.rules == "openAtEnd"
        in_order = field.ordered or at_end
        parts_only = field.path.endswith("Extension.extension")
        unclear = any(part.matches is None for part in field.slices)

        certain = [part.certain for part in field.slices]

        def position_of(value: Any, code: str, scope: Scope) -> int | None:
            first = None
            for position, (matches, _) in enumerate(parts):
                if matches is None or (first is not None and not (certain[first] and certain[position])):
                    continue
                if matches(value, code, scope):
                    if first is not None:
                        raise No  # it fits two slices
                    first = position
            return first

        def position_by_url(value: Any, code: str, scope: Scope) -> int | None:
            return by_url.get(value["url"])

        place = position_by_url if len(by_url) == len(parts) else position_of

        def divide(found: Any, owner: Any, state: Pass) -> None:
            if unclear:
                state.soft = True
            shares: list[Found] = [[] for _ in parts]
            last = 0
            for item in found:
                position = place(item[0], item[1], state.scope)
                if position is None:
                    if not unclear and (closed or (parts_only and ":" not in item[0]["url"])):
                        raise No
                    if at_end:
                        last = len(parts)
                    continue
                if in_order and position < last:
                    raise No
                last = position
                shares[position].append(item)
            for share, needed, (_, test) in zip(shares, always, parts, strict=True):
                if share or needed:
                    test(share, owner, state)

        return divide


def _single(field: Field, key: str, test: Check) -> Check:
    """A member with one value and no slices."""
    if not field.min <= 1 <= field.max:
        return refuses
    if test is checks.passes:
        return test

    def check(value: Any, owner: Any, state: Pass) -> None:
        test(value[key], value, state)

    return check


def _repeated(field: Field, key: str, test: Check) -> Check:
    """A member with a list of values and no slices."""
    low, high = field.min, field.max

    def check(value: Any, owner: Any, state: Pass) -> None:
        held = value[key]
        if not low <= len(held) <= high:
            raise No
        for item in held:
            test(item, value, state)

    return check


def _stated(content: Content) -> list[Check]:
    """Fixed value and pattern."""
    found: list[Check] = []
    if content.fixed is not ABSENT:
        fixed = content.fixed

        def is_fixed(value: Any, owner: Any, state: Pass) -> None:
            if not equal(value, fixed):
                raise No

        found.append(is_fixed)
    if content.pattern is not ABSENT:
        pattern = content.pattern

        def is_pattern(value: Any, owner: Any, state: Pass) -> None:
            if not has_pattern(value, pattern):
                raise No

        found.append(is_pattern)
    return found


def _ruled(rule: Rule, keys: tuple[str, ...], value: Any) -> list[Check]:
    """What remains of a rule for objects with those keys; `value` is an example."""
    stems = [key.lstrip("_") for key in keys]
    if rule.names and not any(stem.startswith(name) for name in rule.names for stem in stems):
        return []
    if rule.presence:
        # The value passed the check of its type, so no member is empty.
        if rule.test(value, Scope({})):
            return []
        return [refuses if rule.constraint.severity == "error" else checks.mentions]
    return [checks.rule(rule)]


def _is_needed(field: Field) -> bool:
    """Whether a member is required."""
    return field.min > 0 or any(part.matches is not None and _is_needed(part.field) for part in field.slices)


def _is_known_url(content: Content, field: Field) -> bool:
    """Whether this is the fixed url of an extension, by which the check was chosen."""
    return content.type == "Extension" and field.name == "url"


def _reader(field: Field) -> Callable[[Any], Found]:
    """From an object to the values of a member."""
    keys = field.keys
    table = {key: (key, code) for key, code in keys}
    table |= {f"_{key}": (key, code) for key, code in keys}

    def read(value: Any) -> Found:
        # By the keys that are present: a choice has up to fifty others.
        found: Found = []
        for present in value:
            known = table.get(present)
            if known is None or (present != known[0] and known[0] in value):
                continue
            key, code = known
            held, beside = value.get(key), value.get(f"_{key}")
            if not field.array:
                found.append((held, _actual(held, code)))
                continue
            values = held or []
            found += [(item, _actual(item, code)) for item in values]
            found += [(None, code)] * (len(beside or ()) - len(values))
        return found

    return read


def _actual(value: Any, code: str) -> str:
    """The type of a value; a resource names its own."""
    if code in RESOURCE:
        named: str = value["resourceType"]
        return named
    return code
