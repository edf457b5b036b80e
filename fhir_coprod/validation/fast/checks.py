"""Small checks for the fast tier: each returns when a value is right and raises when it is not.

A check is a plain function. The checks that matter for speed can also write themselves into a larger function
(see `Writer`), so that the plan for a common shape of object becomes one piece of Python without inner calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from fhir_coprod.outcome import MOST_ISSUES, Issue
from fhir_coprod.remembering import TEXTS
from fhir_coprod.validation import generated
from fhir_coprod.validation.explain.coding import explain_binding, explain_code, explain_missing_code
from fhir_coprod.validation.explain.findings import Findings
from fhir_coprod.validation.explain.item import Item
from fhir_coprod.validation.fast.remarks import Remark, Told
from fhir_coprod.validation.fhirpath import Undecided
from fhir_coprod.validation.model import formats
from fhir_coprod.validation.model.codes import lacks_code
from fhir_coprod.validation.model.content import Bound, Field, Rule
from fhir_coprod.validation.model.scope import Scope

MAX_REMEMBERED = 20_000
"""How many texts of one format, or codes of one binding, are remembered as good."""
LONG = 200
"""Longer texts are not remembered."""


class No(Exception):
    """Something is wrong, or the fast tier cannot decide it.

    Always raised as the class, never as one shared instance: an instance would collect the frames of every
    raise, and with them every document that was refused.
    """


FALTERS = (No, TypeError, KeyError, AttributeError, ValueError, IndexError, RecursionError, Undecided)
"""What a check may raise on a wrong value: checks are written for right values and do not look first."""


class Pass:
    """One fast pass over one resource."""

    __slots__ = ("bare", "has_ids", "remarks", "scope", "soft")

    def __init__(self, scope: Scope, remarks: list[Remark] | None = None) -> None:
        """remarks: those of the resource that holds this one"""
        self.scope = scope
        self.bare = False
        """The resource has no narrative."""
        self.remarks: list[Remark] = [] if remarks is None else remarks
        """What else there is to report that is not an error, as far as it can be told at once."""
        self.soft = False
        """There is more of that, which only the explaining tier can tell."""
        self.has_ids = False
        """Elements of the resource have ids, which have to be unique."""

    def note(self, value: Any, issues: Iterable[Issue]) -> None:
        """Remark something about an object: no errors, and their expressions are paths below it."""
        if len(self.remarks) > MOST_ISSUES:
            self.soft = True  # the explaining tier decides which to list
        else:
            self.remarks += [(value, issue) for issue in issues]


_Good = TypeVar("_Good")
Check = Callable[[Any, Any, Pass], None]
"""(value, its owner, pass)"""

Emit = Callable[["Writer", str, Any], None]
"""Writes the check of the value in that variable; an example of such a value shows what to expect."""

_good: WeakKeyDictionary[Check, set[tuple[Any, ...]]] = WeakKeyDictionary()
_written: WeakKeyDictionary[Check, Emit] = WeakKeyDictionary()


def written(emit: Emit) -> Callable[[Check], Check]:
    """A decorator that gives a check its way to write itself."""

    def attach(check: Check) -> Check:
        _written[check] = emit
        return check

    return attach


class Writer:
    """Source of one function (v, owner, state), and the objects it refers to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bound: dict[str, object] = {"No": No}
        self.depth = 1
        self.owner = "v"
        """The variable that holds the object whose members are being checked."""
        self._names: dict[int, str] = {}
        self._variables = 0

    def name(self, thing: object) -> str:
        """The name under which the source can use an object."""
        found = self._names.get(id(thing))
        if found is None:
            found = self._names[id(thing)] = f"g{len(self._names)}"
            self.bound[found] = thing
        return found

    def variables(self, number: int) -> list[str]:
        """Variables that nothing else uses."""
        start = self._variables
        self._variables += number
        return [f"x{index}" for index in range(start, start + number)]

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def call(self, check: Check, variable: str) -> str:
        return f"{self.name(check)}({variable}, {self.owner}, state)"

    def check(self, check: Check, variable: str, example: Any) -> None:
        """Add the check of the value in a variable, written out if possible."""
        emit = _written.get(check)
        if emit is None:
            self.line(self.call(check, variable))
        else:
            emit(self, variable, example)

    def block(self, head: str, write: Callable[[], None]) -> None:
        """Add an indented block; `pass` if nothing is written in it."""
        self.line(head)
        self.depth += 1
        before = len(self.lines)
        write()
        if len(self.lines) == before:
            self.line("pass")
        self.depth -= 1

    def function(self) -> Check:
        """The finished function. The source holds only names made here, never text from a definition."""
        source = "def check(v, owner, state):\n" + "\n".join(self.lines)
        return generated.load(source, "check", "check", self.bound)


# ---------------------------------------------------------------------- constant answers


@written(lambda writer, x, example: None)
def passes(value: Any, owner: Any, state: Pass) -> None:
    """Nothing is required."""


def refuses(value: Any, owner: Any, state: Pass) -> None:
    """Always wrong, or always left to the explaining tier."""
    raise No


@written(lambda writer, x, example: writer.line("state.soft = True"))
def mentions(value: Any, owner: Any, state: Pass) -> None:
    """Right, but there is something to report."""
    state.soft = True


@written(lambda writer, x, example: writer.line("state.bare = True"))
def is_bare(value: Any, owner: Any, state: Pass) -> None:
    """A resource without a narrative."""
    state.bare = True


@written(lambda writer, x, example: writer.line("state.has_ids = True"))
def has_id(value: Any, owner: Any, state: Pass) -> None:
    """An element with an id."""
    state.has_ids = True


def settle(found: Findings, state: Pass) -> None:
    """Turn the explaining tier's findings into this tier's answer."""
    for issue in found.issues:
        if issue.is_error:
            raise No
        state.soft = True


# ---------------------------------------------------------------------- combinations


def all_of(checks: list[Check]) -> Check:
    """Run the checks one after the other."""
    if len(checks) == 1:
        return checks[0]

    def emit(writer: Writer, x: str, example: Any) -> None:
        for part in checks:
            writer.check(part, x, example)

    @written(emit)
    def check(value: Any, owner: Any, state: Pass) -> None:
        for part in checks:
            part(value, owner, state)

    return check


def later(make: Callable[[], Check]) -> Check:
    """A check made on first use: types contain each other."""
    ready = cache(make)

    @written(lambda writer, x, example: writer.check(ready(), x, example))
    def check(value: Any, owner: Any, state: Pass) -> None:
        ready()(value, owner, state)

    return check


def list_of(one: Check) -> Check:
    """A list that is not empty, each item checked."""

    def emit(writer: Writer, x: str, example: Any) -> None:
        (item,) = writer.variables(1)
        first = example[0] if example.__class__ is list and example else None
        writer.line(f"if {x}.__class__ is not list or not {x}: raise No")
        writer.block(f"for {item} in {x}:", lambda: writer.check(one, item, first))

    @written(emit)
    def check(value: Any, owner: Any, state: Pass) -> None:
        if type(value) is not list or not value:
            raise No
        for item in value:
            one(item, owner, state)

    return check


def count(field: Field) -> Check:
    """How often a member occurs in this object, for limits other than 0, 1 and unlimited."""
    keys = [key for key, _ in field.keys]

    def check(value: Any, owner: Any, state: Pass) -> None:
        for key in keys:
            held = value.get(key)
            if isinstance(held, list) and not field.min <= len(held) <= field.max:
                raise No

    return check


def _good_values() -> set[Any]:
    """A set for values that are found good."""
    good: set[Any] = set()
    TEXTS.add(good)
    return good


def _remember(good: set[_Good], value: _Good) -> None:
    """Keep a value that was found good, among the last so many."""
    if len(good) >= MAX_REMEMBERED:
        good.clear()
    if isinstance(value, tuple):
        TEXTS.keep(value, *value)
    else:
        TEXTS.keep(value)
    good.add(value)


# ---------------------------------------------------------------------- primitives


def one_of(codes: frozenset[str]) -> Check:
    """One of the codes of a required value set, and therefore a valid code."""

    @written(lambda writer, x, example: writer.line(f"if {x} not in {writer.name(codes)}: raise No"))
    def check(value: Any, owner: Any, state: Pass) -> None:
        if value not in codes:
            raise No

    return check


@written(lambda writer, x, example: writer.line(f"if {x} is not True and {x} is not False: raise No"))
def _boolean(value: Any, owner: Any, state: Pass) -> None:
    if value is not True and value is not False:
        raise No


@written(
    lambda writer, x, example: writer.line(
        f"if {x}.__class__ is not int and {x}.__class__ is not float: raise No"
    )
)
def _decimal(value: Any, owner: Any, state: Pass) -> None:
    if not formats.is_decimal(value):
        raise No


def _emit_text(writer: Writer, x: str, example: Any) -> None:
    # Printable text, not empty and without a leading space ("!" follows the space), is the usual case;
    # anything else goes to the function.
    usual = f'{x} >= "!" and {x}.isprintable() and len({x}) <= {formats.MAX_STRING}'
    writer.line(f"if not ({usual}): {writer.call(_text, x)}")


@written(_emit_text)
def _text(value: Any, owner: Any, state: Pass) -> None:
    if not formats.is_string(value):
        raise No
    if formats.is_doubtful(value):
        state.soft = True


def primitive(code: str) -> Check:
    """The format of a primitive type."""
    simple = {"boolean": _boolean, "decimal": _decimal, "string": _text, "markdown": _text, "xhtml": _text}
    if code in simple:
        return simple[code]
    accepts = formats.ACCEPTS[code]
    if code in ("integer", "positiveInt", "unsignedInt", "base64Binary"):
        bounds = formats.BOUNDS.get(code)

        def emit_number(writer: Writer, x: str, example: Any) -> None:
            if bounds is None:
                writer.line(writer.call(plain, x))
            else:
                low, high = bounds
                writer.line(f"if {x}.__class__ is not int or not {low} <= {x} <= {high}: raise No")

        @written(emit_number)
        def plain(value: Any, owner: Any, state: Pass) -> None:
            if not accepts(value):
                raise No

        return plain
    good: set[str] = _good_values()

    def emit(writer: Writer, x: str, example: Any) -> None:
        writer.line(f"if {x} not in {writer.name(good)}: {writer.call(check, x)}")

    @written(emit)
    def check(value: Any, owner: Any, state: Pass) -> None:
        if value in good:
            return
        if not accepts(value):
            raise No
        if len(value) < LONG:
            _remember(good, value)

    return check


# ---------------------------------------------------------------------- codes and rules


def binding(bound: Bound, code: str) -> Check:
    """A coded value; what was found about a code is remembered."""
    good: set[object] = _good_values()
    told = Told()
    announced = not bound.codes.known and bound.strength == "required"

    def remark(value: Any) -> tuple[Issue, ...]:
        found = Findings()
        explain_binding(found, bound, Item(value, None, code, ""))
        return tuple(found.issues)

    def check(value: Any, owner: Any, state: Pass) -> None:
        key: object = value
        if type(value) is dict:
            codings = value.get("coding")
            single = value if codings is None else codings[0] if len(codings) == 1 else None
            key = (single.get("system"), single.get("code")) if single is not None else None
        if key is not None and key in good:
            return
        issues = told.get(key)
        if issues is None:
            answer = bound.allows(value, code)
            if answer is False:
                raise No
            if answer and not announced:
                if key is not None:
                    _remember(good, key)
                return
            issues = remark(value)
            if type(key) is tuple:
                told.keep(key, *key, issues=issues)
        if type(value) is dict:
            state.note(value, issues)
        else:
            state.soft = True  # it may stand at many places: a text has no identity

    return check


def _emit_names_code(writer: Writer, x: str, example: Any) -> None:
    writer.line(f'if "code" not in {x}: {writer.call(names_code, x)}')


@written(_emit_names_code)
def names_code(value: Any, owner: Any, state: Pass) -> None:
    """A coding should name a code if its code system is held in full."""
    if lacks_code(value):
        found = Findings()
        explain_missing_code(found, Item(value, None, "Coding", ""))
        state.note(value, found.issues)


def telling_code() -> Callable[[Any, Pass], None]:
    """Remarks on a code that its code system may have got since."""
    told = Told()

    def remark(value: Any, state: Pass) -> None:
        key = (value["system"], value["code"], value.get("version"))
        issues = told.get(key)
        if issues is None:
            found = Findings()
            explain_code(found, Item(value, None, "Coding", ""))
            issues = tuple(found.issues)
            told.keep(key, *key, issues=issues)
        state.note(value, issues)

    return remark


def rule(rule: Rule) -> Check:
    """An invariant."""
    test = rule.test
    if rule.faults is not None:

        def told(value: Any, owner: Any, state: Pass) -> None:
            try:
                if not test(value, state.scope):
                    raise No
            except Undecided:
                state.soft = True  # there is only to tell that it was not checked

        return told
    if rule.constraint.severity == "error":

        @written(
            lambda writer, x, example: writer.line(f"if not {writer.name(test)}({x}, state.scope): raise No")
        )
        def check(value: Any, owner: Any, state: Pass) -> None:
            if not test(value, state.scope):
                raise No

        return check

    def advise(value: Any, owner: Any, state: Pass) -> None:
        if not test(value, state.scope):
            state.soft = True

    return advise


def remembering(
    holds: Callable[[Any, Scope], bool | None],
    keys: tuple[str, ...],
    remark: Callable[[Any, Pass], None] | None = None,
) -> Check:
    """A test that only looks at the simple values under `keys`; good values are remembered.

    holds:  None for values that are right but about which there is something to tell
    remark: tells it
    """
    good: set[tuple[Any, ...]] = _good_values()

    def check(value: Any, owner: Any, state: Pass) -> None:
        looked_at = tuple([value.get(key) for key in keys])
        if looked_at in good:
            return
        held = holds(value, state.scope)
        if held is None:
            if remark is None:
                state.soft = True
            else:
                remark(value, state)
            return
        if not held:
            raise No
        if any(type(part) is str and len(part) >= LONG for part in looked_at):
            return
        _remember(good, looked_at)

    _good[check] = good
    return check


def remembering_rule(rule: Rule, keys: tuple[str, ...]) -> Check:
    """The same for an invariant."""
    return remembering(rule.test, keys)


def remembered(check: Check) -> set[tuple[Any, ...]]:
    """The values that a `remembering` check has found good so far (the live set)."""
    return _good[check]
