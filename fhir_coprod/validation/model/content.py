"""The compiled model of a type or profile: what each value in a resource must satisfy.

A `Content` says what one value must be; a `Field` says which values a member may hold. The definition of a
type compiles to a complete model: it lists every allowed member, and any other is unknown. A profile compiles
to an overlay: only what it adds to the definition of its type, so that a resource is checked once against its
type and then against the little that each profile adds. Both tiers of the validator walk exactly this model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fhir_coprod.definitions.terminology import ValueSet
from fhir_coprod.validation.model.structure import ABSENT, MANY, Constraint, TypeRef
from fhir_coprod.validation.model.values import has_code, is_member

if TYPE_CHECKING:
    from fhir_coprod.validation.model.scope import Scope


@dataclass(slots=True, eq=False)
class Bound:
    """A binding with its codes."""

    strength: str
    """required | extensible | preferred"""
    value_set: str
    codes: ValueSet
    largest: ValueSet | None = None
    """For a binding that is not required: its maximum value set, which is."""

    def allows(self, value: object, type_: str) -> bool | None:
        """Whether a coded value is allowed here; None when it is, but the binding prefers another.

        What cannot be decided offline is allowed.
        """
        if self.strength == "preferred" or is_member(value, type_, self.codes) is False:
            if self.strength == "required":
                return False
            if (
                self.largest is not None
                and has_code(value)
                and is_member(value, type_, self.largest) is False
            ):
                return False
            return True if self.strength == "preferred" else None
        return True


@dataclass(slots=True, eq=False)
class Rule:
    """An invariant that can be run."""

    constraint: Constraint
    test: Callable[[object, Scope], bool]
    """False or an exception means the value breaks the rule."""
    names: frozenset[str] = frozenset()
    """The only members that the rule looks at; without any of them it holds. Empty = always run it."""
    presence: bool = False
    """Whether the rule depends only on which of `names` are present, not on what they hold."""

    signs: tuple[str, str] = ("", "")
    """(member, character): the rule holds when the member's text lacks the character."""
    frees: tuple[str, str] = ("", "")
    """(member, character): the rule holds when the member's text has the character."""
    remember: bool = False
    """Whether equal values always get the same answer, so that the answer can be remembered."""
    faults: Callable[[object, Scope], Iterator[tuple[str, str]]] | None = None
    """What is wrong and where, within the value, for a rule that can tell more than yes or no."""

    def holds(self, value: object, scope: Scope) -> bool:
        """Whether a value keeps the rule. A value that only has extensions cannot break it."""
        return value is None or self.test(value, scope)


@dataclass(slots=True, eq=False)
class Content:
    """What one value must satisfy."""

    type: str
    """FHIR type: CarePlan, BackboneElement, string …"""
    path: str
    """The element's path, for messages and extension contexts."""
    resource: bool = False
    """The root of a resource, which holds `resourceType`."""
    datatype: bool = False
    """The details are in the type's own definition (the walker looks it up by `type`)."""
    fields: dict[str, Field] = field(default_factory=dict)
    keys: dict[str, tuple[Field, str]] = field(default_factory=dict)
    """JSON key → its field and the type it is written with; `_x` keys are not listed."""
    fixed: object = ABSENT
    pattern: object = ABSENT
    bound: Bound | None = None
    coded: bool = False
    """Whether to look the code up in its code system."""
    needs_code: bool = False
    """Whether a coding should name a code, when its code system is held in full."""
    rules: list[Rule] = field(default_factory=list)
    unchecked: list[Constraint] = field(default_factory=list)
    """Invariants that cannot be decided here; each is reported once."""
    max_length: int = MANY
    min_value: object = ABSENT
    max_value: object = ABSENT
    targets: tuple[str, ...] = ()
    """Canonicals that a reference may point to; empty = anything."""
    target_types: frozenset[str] = frozenset()
    """The resource types of `targets`; empty = anything."""
    aggregation: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    """The value must satisfy one of these."""

    @property
    def trivial(self) -> bool:
        """True when there is nothing to check; an overlay leaves such contents out."""
        return (
            not self.fields
            and self.fixed is ABSENT
            and self.pattern is ABSENT
            and self.bound is None
            and not self.rules
            and not self.unchecked
            and self.max_length == MANY
            and self.min_value is ABSENT
            and self.max_value is ABSENT
            and not self.targets
            and not self.aggregation
            and not self.profiles
        )


@dataclass(slots=True, eq=False)
class Slice:
    """One named part of a list."""

    name: str
    matches: Callable[[object, str, Scope], bool] | None
    """Whether a value of some type belongs to the slice; None when that cannot be decided."""
    field: Field
    url: str = ""
    """The url, for an extension that only its url tells apart from others."""
    certain: bool = True
    """Whether a value that matches surely belongs to it: a code in a value set that is not held may not."""


@dataclass(slots=True, eq=False)
class Field:
    """Which values a member may hold."""

    name: str
    path: str
    keys: tuple[tuple[str, str], ...]
    """(JSON key, type): one pair, or one for each type of a choice."""
    array: bool
    min: int = 0
    max: int = MANY
    allowed: frozenset[str] | None = None
    """Type codes that may be used; None = all of `keys`."""
    by_type: dict[str, Content] = field(default_factory=dict)
    """What each value must satisfy, by type."""
    slices: tuple[Slice, ...] = ()
    rules: str = "open"
    """open | closed | openAtEnd"""
    ordered: bool = False
    choice: bool = False
    modifier: bool = False
    stated: tuple[int, int] | None = None
    """min and max as the profile states them, for messages; None: as they are above."""

    @property
    def trivial(self) -> bool:
        return (
            self.min == 0
            and self.max == MANY
            and self.allowed is None
            and not self.by_type
            and not self.slices
        )


@dataclass(slots=True, eq=False)
class Model:
    """One compiled definition."""

    url: str
    title: str
    type: str
    kind: str
    abstract: bool
    content: Content
    contexts: tuple[tuple[str, str], ...] = ()
    context_rules: tuple[str, ...] = ()
    modifier: bool = False
    """For an extension: whether it is only allowed in modifierExtension."""


__all__ = ["Bound", "Content", "Field", "Model", "Rule", "Slice", "TypeRef"]
