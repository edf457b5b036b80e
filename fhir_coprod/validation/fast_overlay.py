"""The fast tier for profiles: what one adds to its type, for values that passed the check of that type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fhir_coprod.validation.checks import NO, Check, Pass, refuses
from fhir_coprod.validation.model import Content, Field, Model
from fhir_coprod.validation.shapes import ABSENT, MANY, PRIMITIVES
from fhir_coprod.validation.values import equal, has_pattern

if TYPE_CHECKING:
    from fhir_coprod.validation.fast import Fast


def overlay(fast: Fast, model: Model) -> Check:
    """The check of a profile."""
    name = model.type
    inner = _Overlay(fast).content(model.content, name)
    if model.kind != "resource":
        return inner

    def check(value: Any, owner: Any, state: Pass) -> None:
        if value["resourceType"] != name:
            raise NO
        inner(value, owner, state)

    return check


class _Overlay:
    def __init__(self, fast: Fast) -> None:
        self.fast = fast
        self.made: dict[int, Check] = {}

    def content(self, content: Content, code: str) -> Check:
        """One value; the same content, met again by a content reference, is made once."""
        ready = self.made.get(id(content))
        if ready is not None:
            return ready
        checks: list[Check] = []

        def check(value: Any, owner: Any, state: Pass) -> None:
            for test in checks:
                test(value, owner, state)

        self.made[id(content)] = check
        checks += self._stated(content)
        plain = Content(
            content.type,
            content.path,
            bound=content.bound,
            rules=content.rules,
            unchecked=content.unchecked,
            max_length=content.max_length,
            min_value=content.min_value,
            max_value=content.max_value,
            targets=content.targets,
            target_types=content.target_types,
            aggregation=content.aggregation,
            profiles=content.profiles,
        )
        checks += self.fast.extras(plain, code, strict=False)
        if code in PRIMITIVES:
            if content.fields:
                checks.append(refuses)
        else:
            checks += [self.field(field) for field in content.fields.values()]
        return check

    def _stated(self, content: Content) -> list[Check]:
        checks: list[Check] = []
        if content.fixed is not ABSENT:
            fixed = content.fixed

            def is_fixed(value: Any, owner: Any, state: Pass) -> None:
                if not equal(value, fixed):
                    raise NO

            checks.append(is_fixed)
        if content.pattern is not ABSENT:
            pattern = content.pattern

            def is_pattern(value: Any, owner: Any, state: Pass) -> None:
                if not has_pattern(value, pattern):
                    raise NO

            checks.append(is_pattern)
        return checks

    # ------------------------------------------------------------------ members

    def field(self, field: Field) -> Check:
        """A member of an object, counted and checked."""
        items = _reader(field)
        inner = self.items(field)

        def check(value: Any, owner: Any, state: Pass) -> None:
            inner(items(value), value, state)

        return check

    def items(self, field: Field) -> Check:
        """The values of a member, given as a list of (value, type)."""
        low, high, allowed = field.min, field.max, field.allowed
        by_type = {code: self.content(content, code) for code, content in field.by_type.items()}
        slices = [(part.matches, self.items(part.field)) for part in field.slices]
        closed = field.rules == "closed"
        at_end = field.rules == "openAtEnd"
        in_order = field.ordered or at_end
        parts_only = field.path.endswith("Extension.extension")
        unclear = any(part.matches is None for part in field.slices)

        def check(found: Any, owner: Any, state: Pass) -> None:
            if not low <= len(found) <= high:
                raise NO
            for value, code in found:
                if allowed is not None and code not in allowed:
                    raise NO
                test = by_type.get(code)
                if test is not None:
                    if value is None:
                        raise NO
                    test(value, owner, state)
            if slices:
                divide(found, owner, state)

        def divide(found: Any, owner: Any, state: Pass) -> None:
            if unclear:
                state.soft = True
            shares: list[list[Any]] = [[] for _ in slices]
            last = 0
            for item in found:
                for position, (matches, _) in enumerate(slices):
                    if matches is not None and matches(item[0], item[1], state.scope):
                        if in_order and position < last:
                            raise NO
                        last = position
                        shares[position].append(item)
                        break
                else:
                    if closed or (parts_only and ":" not in item[0]["url"]):
                        raise NO
                    if at_end:
                        last = len(slices)
            for share, (matches, test) in zip(shares, slices, strict=True):
                if matches is not None:
                    test(share, owner, state)

        if low == 0 and high == MANY and allowed is None and not by_type and not slices:
            return lambda found, owner, state: None
        return check


def _reader(field: Field) -> Any:
    """From an object to the member's values as (value, type); a value with extensions only is None."""
    keys = field.keys
    plain = (
        len(keys) == 1 and keys[0][1] not in ("Resource", "DomainResource") and keys[0][1] not in PRIMITIVES
    )
    if plain:
        key, code = keys[0]
        if field.array:
            return lambda value: [(item, code) for item in value.get(key, ())]
        return lambda value: [(value[key], code)] if key in value else []

    def read(value: Any) -> list[tuple[Any, str]]:
        found: list[tuple[Any, str]] = []
        for key, code in keys:
            held = value.get(key)
            if code in PRIMITIVES and f"_{key}" in value:
                beside = value[f"_{key}"]
                number = max(len(held or ()), len(beside)) if field.array else 1
                if field.array:
                    values = [*(held or ()), *[None] * (number - len(held or ()))]
                    found += [(item, code) for item in values]
                else:
                    found.append((held, code))
            elif held is not None:
                for item in held if field.array else (held,):
                    if (
                        type(item) is dict
                        and "resourceType" in item
                        and code in ("Resource", "DomainResource")
                    ):
                        found.append((item, item["resourceType"]))
                    else:
                        found.append((item, code))
        return found

    return read
