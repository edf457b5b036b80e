"""Plans: what remains to be checked in an object once its keys are known.

Objects of one type come in few shapes; a shape is the tuple of an object's keys. Whatever the keys alone
decide (unknown members, cardinality, choices, rules about presence) is decided once per shape. A shape that
is used often gets its plan written out as one Python function.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fhir_coprod.remembering import Account
from fhir_coprod.validation.explain.extensions import has_value
from fhir_coprod.validation.explain.item import Item
from fhir_coprod.validation.explain.walk import Explainer
from fhir_coprod.validation.fast import checks
from fhir_coprod.validation.fast.checks import Check, No, Pass, Writer, written
from fhir_coprod.validation.fast.places import Places
from fhir_coprod.validation.model.codes import missing
from fhir_coprod.validation.model.content import Content, Field, Rule
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import MANY, PRIMITIVES

HOT = 12
"""Uses of a shape before its check is written out."""
MAX_LINES = 300
"""Lines of a function after which children are called instead of written out."""
MAX_NESTING = 15
"""Indentation after which children are called; Python allows 100, and 20 nested blocks."""
MAX_SHAPES = 4096
"""Shapes kept per type; real data has a few dozen."""
PLANS = Account(48_000_000)
"""What the plans of all types take up. Keys in another order are another shape: a sender that shuffles
them, as some languages do, would make new ones with each record."""
_PLAN, _MEMBER, _PER_CHARACTER = 500, 100, 8
"""Bytes of a plan, of each of its members, and of each character of one that is written out; measured."""


class Lacks(NamedTuple):
    key: str
    character: str


class Has(NamedTuple):
    key: str
    character: str


Whole = tuple[Check, tuple[str, ...] | Lacks | Has]
"""A check of the whole object. With member names, it only looks at those simple values, and remembers the
good ones; with a sign, it holds when that member lacks, or has, that character."""


def object_check(places: Places, content: Content) -> Check:
    """The check of a complex value whose members `content` lists completely."""
    by_shape: dict[tuple[str, ...], Check] = {}
    maker = _Maker(places, content, by_shape)
    known, make = by_shape.get, maker.make

    def emit(writer: Writer, x: str, example: Any) -> None:
        def unexpected() -> None:
            # Takes half as long as a call of plans.get.
            writer.line(f"try: p = {writer.name(by_shape)}[(*{x},)]")
            writer.line(f"except KeyError: p = {writer.name(make)}({x})")
            writer.line(f"p({x}, {writer.owner}, state)")

        if type(example) is dict and example and len(writer.lines) < MAX_LINES and writer.depth < MAX_NESTING:
            keys = tuple(example)
            expected = f"if (*{x},) == {writer.name(keys)}:"
            writer.block(expected, lambda: maker.write(writer, x, keys, example))
            writer.block("else:", unexpected)
        else:
            unexpected()

    @written(emit)
    def check(value: Any, owner: Any, state: Pass) -> None:
        (known(tuple(value)) or make(value))(value, owner, state)

    return check


class _Maker:
    """Makes the checks of one kind of object, shape by shape."""

    def __init__(self, places: Places, content: Content, by_shape: dict[tuple[str, ...], Check]) -> None:
        self.places = places
        self.content = content
        self.by_shape = by_shape
        self.members: dict[str, Check] = {}
        PLANS.add(self)

    def clear(self) -> None:
        """Forget all plans."""
        self.by_shape.clear()

    def make(self, value: Any) -> Check:
        """The plan for the shape of `value`, kept for the next one with that shape. Raises No when the keys
        are wrong.
        """
        if type(value) is not dict or not value:
            raise No
        keys = tuple(value)
        if keys == ("id",):
            raise No
        inner, whole = self.parts(keys, value)
        made = self.interpreted(keys, inner, whole)
        if len(self.by_shape) < MAX_SHAPES:
            PLANS.take(_PLAN + _MEMBER * len(keys))
            self.by_shape[keys] = made
        return made

    def interpreted(self, keys: tuple[str, ...], inner: list[Check], whole: list[Whole]) -> Check:
        """The plan as a loop, for the first uses of a shape."""
        uses = 0
        rules = [part for part, _ in whole]

        def check(value: Any, owner: Any, state: Pass) -> None:
            nonlocal uses
            for part, member in zip(inner, value.values()):  # noqa: B905 (equal by construction)
                part(member, value, state)
            for part in rules:
                part(value, owner, state)
            uses += 1
            if uses == HOT and keys in self.by_shape:
                writer = Writer()
                self.write(writer, "v", keys, value)
                PLANS.take(_PER_CHARACTER * sum(map(len, writer.lines)))
                self.by_shape[keys] = writer.function()

        return check

    def write(self, writer: Writer, x: str, keys: tuple[str, ...], example: Any) -> None:
        """The same plan as source: members are unpacked into variables; small checks and the usual children
        are written out.
        """
        inner, whole = self.parts(keys, example)
        names = writer.variables(len(keys))
        variables = dict(zip(keys, names, strict=True))
        outer, writer.owner = writer.owner, x
        writer.line(f"{', '.join(names)}, = {x}.values()")
        for part, name, held in zip(inner, names, example.values(), strict=True):
            writer.check(part, name, held)
        for part, looked_at in whole:
            if isinstance(looked_at, Lacks):
                member = variables[looked_at.key]
                writer.line(f"if {looked_at.character!r} in {member}: {writer.call(part, x)}")
            elif isinstance(looked_at, Has):
                member = variables[looked_at.key]
                writer.line(f"if {looked_at.character!r} not in {member}: {writer.call(part, x)}")
            elif looked_at:
                values = "".join(f"{variables.get(key, 'None')}, " for key in looked_at)
                good = writer.name(checks.remembered(part))
                writer.line(f"if ({values}) not in {good}: {writer.call(part, x)}")
            else:
                writer.check(part, x, example)
        writer.owner = outer

    # ------------------------------------------------------------------ what a shape asks

    def parts(self, keys: tuple[str, ...], value: Any) -> tuple[list[Check], list[Whole]]:
        """Checks for the values in order and for the whole object. Raises No when the keys are wrong."""
        content = self.content
        whole: list[Whole] = []
        inner = [self.member(key, keys, whole) for key in keys]
        present: dict[str, int] = {}
        for key in keys:
            known = content.keys.get(key) or content.keys.get(key[1:])
            if known is not None and not (key[0] == "_" and key[1:] in keys):
                present[known[0].name] = present.get(known[0].name, 0) + 1
        for field in content.fields.values():
            number = present.get(field.name, 0)
            if (field.min > 0 and number == 0) or (number > 1 and field.choice):
                raise No
            if field.min > 1 or (field.array and field.max != MANY):
                whole.append((checks.count(field), ()))
        if content.type == "Extension" and has_value(value) == ("extension" in value):
            raise No
        if content.coded and "system" in keys and "code" in keys:
            looked_at = ("system", "code", "version") if "version" in keys else ("system", "code")
            whole.append((checks.remembering(_is_defined, looked_at, checks.telling_code()), looked_at))
        for rule in content.rules:
            self.rule(rule, keys, present, whole)
        if "id" in keys and not content.resource:
            whole.append((checks.has_id, ()))
        if content.unchecked:
            whole.append((checks.mentions, ()))
        return inner, whole

    def member(self, key: str, keys: tuple[str, ...], whole: list[Whole]) -> Check:
        """The check of the value under one key."""
        content = self.content
        known = content.keys.get(key)
        if known is not None:
            field, code = known
            if field.array and f"_{key}" in keys:
                whole.append((self._listed(field), ()))
                return checks.passes
            if key not in self.members:
                self.members[key] = self.places.field_check(field, code, content)
            return self.members[key]
        if key == "resourceType" and content.resource:
            return checks.passes
        known = content.keys.get(key[1:]) if key[:1] == "_" else None
        if known is None or known[1] not in PRIMITIVES or known[1] == "xhtml":
            raise No
        field, code = known
        if field.array:
            if key[1:] not in keys:
                whole.append((self._listed(field), ()))
            return checks.passes
        if key not in self.members:
            self.members[key] = self.places.beneath(field, key[1:], code)
        return self.members[key]

    def _listed(self, field: Field) -> Check:
        """A list of primitives with a second list under `_name`: left to the explaining tier."""
        library, content = self.places.library, self.content

        def check(value: Any, owner: Any, state: Pass) -> None:
            explainer = Explainer(library)
            here = Item(value, None, content.type, "")
            explainer.field(field, list(explainer.items(field, here, True)), here, state.scope, True)
            state.has_ids = True  # perhaps: this does not look
            checks.settle(explainer, state)

        return check

    def rule(self, rule: Rule, keys: tuple[str, ...], present: dict[str, int], whole: list[Whole]) -> None:
        if rule.constraint.key == "dom-6":
            if "text" not in present:
                whole.append((checks.is_bare, ()))
            return
        if rule.names and rule.names.isdisjoint(present):
            return
        if rule.presence:
            if not rule.test(self._stand_in(present), Scope({})):
                whole.append((checks.refuses if rule.constraint.severity == "error" else checks.mentions, ()))
            return
        if rule.signs[0] in keys:
            whole.append((checks.rule(rule), Lacks(*rule.signs)))
            return
        if rule.frees[0] in keys:
            whole.append((checks.rule(rule), Has(*rule.frees)))
            return
        simple = self._simple_keys(rule, keys)
        if simple:
            whole.append((checks.remembering_rule(rule, simple), simple))
        else:
            whole.append((checks.rule(rule), ()))

    def _stand_in(self, present: dict[str, int]) -> dict[str, object]:
        """An object with a value in each of the members that are present."""
        made: dict[str, object] = {}
        for name, field in self.content.fields.items():
            if name in present:
                key, code = field.keys[0]
                one: object = "x" if code in PRIMITIVES else {"id": "x"}
                made[key] = [one] if field.array else one
        return made

    def _simple_keys(self, rule: Rule, keys: tuple[str, ...]) -> tuple[str, ...]:
        """The keys that alone decide a rule, if each of them holds a single primitive value."""
        if not rule.remember or rule.constraint.severity != "error":
            return ()
        simple: list[str] = []
        for name in sorted(rule.names):
            field = self.content.fields.get(name)
            if field is None or field.array or field.choice or field.keys[0][1] not in PRIMITIVES:
                return ()
            if f"_{field.name}" in keys:
                return ()
            simple.append(field.name)
        return tuple(simple)


def _is_defined(coding: Any, scope: Scope) -> bool | None:
    """Whether its code system has the code: None when the version held here lacks it and another may not."""
    lacking = missing(coding)
    return True if lacking is None else False if lacking.named else None
