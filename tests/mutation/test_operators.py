"""Each operator on a line or two, and what is left alone."""

from __future__ import annotations

from textwrap import indent

import pytest

from mutation.operators import apply, edits


def mutated(source: str, operator: str = "") -> set[str]:
    text = source.encode()
    return {apply(text, edit).decode() for edit in edits(text) if operator in ("", edit.operator)}


def in_function(*lines: str) -> str:
    return "def f(a, b, c):\n" + indent("\n".join(lines), "    ") + "\n"


MEMORY = "x = a.get(b)\nif x is None:\n    x = a[b] = c"
OTHER = MEMORY.replace("a[b]", "a[c]")


@pytest.mark.parametrize(
    ("operator", "before", "after"),
    [
        ("boundary", "x = a < b", {"x = a <= b"}),
        ("boundary", "x = (a) >= (b)", {"x = (a) > (b)"}),
        ("compare", "x = a == b", {"x = a != b"}),
        ("compare", "x = a < b", {"x = a >= b"}),
        ("compare", "x = a is not None", {"x = a is None"}),
        ("compare", "x = a not in b", {"x = a in b"}),
        ("compare", "x = a == b == c", {"x = a != b == c", "x = a == b != c"}),
        ("and/or", "x = a and (b or c)", {"x = a or (b or c)", "x = a and (b and c)"}),
        ("not", "x = not (a or b)", {"x =  (a or b)"}),
        ("fallback", "x = a or b", {"x = (a)"}),
        ("fallback", "if a or b:\n    c()", set()),
        ("default", "x = a.get(b, c)", {"x = a.get(b)"}),
        ("arithmetic", "x = a + b", {"x = a - b"}),
        ("arithmetic", "a -= b", {"a += b"}),
        ("arithmetic", "x = a // b * c", {"x = a * b * c", "x = a // b / c"}),
        ("arithmetic", "x = a + 'text'", set()),
        ("constant", "x = a[0]", {"x = a[1]"}),
        ("constant", "x = a(b=True)", {"x = a(b=False)"}),
        ("constant", "x = zip(a, b, strict=True)", set()),
        ("function", "x = min(a, b)", {"x = max(a, b)"}),
        ("return", "return a", {"return None"}),
        ("return", "return []", set()),
        ("statement", "a(b)", {"pass"}),
        ("statement", "log.info(a)", set()),
        ("statement", "raise ValueError(f'{a + 1}')", {"pass"}),
        ("statement", "for x in a:\n    if x:\n        break", {"for x in a:\n    if x:\n        pass"}),
        ("statement", "for x in a:\n    if x:\n        continue", set()),
        ("statement", "if a:\n    return\nb = a", {"if a:\n    pass\nb = a"}),
        ("condition", "if a:\n    b = c", {"if True:\n    b = c", "if False:\n    b = c"}),
        ("condition", MEMORY, {MEMORY.replace("x is None", "False")}),
        ("condition", OTHER, {OTHER.replace("x is None", value) for value in ("True", "False")}),
        ("condition", "while a:\n    b = c", {"while False:\n    b = c"}),
        ("condition", "if (x := a):\n    b = x", set()),
        ("condition", "x = b if a else c", {"x = b if True else c", "x = b if False else c"}),
        ("condition", "x = [y for y in a if y]", {"x = [y for y in a if True]"}),
    ],
)  # fmt: skip
def test_each_operator_changes_what_it_is_for(operator: str, before: str, after: set[str]) -> None:
    expected = {in_function(*lines.split("\n")) for lines in after}
    assert mutated(in_function(*before.split("\n")), operator) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A text with 1 and 2."""\n',
        "def f(a: Literal[1] | None = None) -> Literal[2]:\n    ...\n",
        '__all__ = ["a" + "b"]\n',
        "if TYPE_CHECKING:\n    a(1)\n",
        "class A:\n    def __repr__(self):\n        return a + 1\n",
        "BATCH = 500\n",
        "LONGEST: Final = 365 * 24 * 3600\n",
        "Names = str | None\n",
        "@lru_cache(10)\ndef f():\n    ...\n",
        "import a\n",
        "def f(a):\n    assert a > 1\n",
    ],
)
def test_what_no_test_should_care_for_is_left_alone(source: str) -> None:
    assert mutated(source) == set()


def test_places_are_right_behind_other_letters_and_comments() -> None:
    source = in_function("x = 'åäö', a == b", "y = (a  # and so on", "    and b)")
    assert mutated(source, "compare") == {source.replace("==", "!=")}
    assert mutated(source, "and/or") == {source.replace("    and b", "    or b")}


def test_an_edit_knows_the_lines_that_show_it() -> None:
    source = b"FEW = 3\ndef f(a=1):\n    'Text.'\n    return (a\n        + 2)\n"
    by_text = {source[edit.start : edit.end]: edit for edit in edits(source)}
    assert by_text[b"3"].names == ("FEW",)
    assert by_text[b"1"].body == (4, 5)
    assert by_text[b"2"].lines == (5,)
    assert by_text[b"2"].within == (4, 5)
