"""Docstrings, comments and pages say things as people speak.

A machine cannot judge prose, but it can find clauses that nobody says aloud. After rewriting another folder,
add it to CHECKED; a path there may be a folder, a Python file or a page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CHECKED = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "benchmarks",
    "docs",
    "evidence",
    "fhir_coprod",
    "mappings",
    "mutation",
    "scripts",
)

_SUBJECT = (
    r"(?:it|one|there|they|he|she|we|nobody|somebody|nothing|something|none|neither|both|either|no|a|an|the|this"
    r"|that|these|those|its|their|our)"
)
STIFF = {
    # Each pattern is looked for in one clause, which a full stop, colon or semicolon ends.
    rf"^(?:is|are|was|were|has|have|had|should) {_SUBJECT}\b[^?]*,(?!.*\?$)": "If …, …",
    r"^(?:does|did) (?:it|he|she|they|one|nobody|nothing|not)\b[^?]*,(?!.*\?$)": "If …, …",
    r"^who(?:ever)? (?:asks|calls|reads|writes|waits|wants|gets|needs|is one)\b(?!.*\?$)": "name who that is",
    r"\b(?:is|are|was|were|be|been) at it\b": "in progress",
    r"\bas (?:it is|they are)[.,;:)]": "unchanged, in its present form",
    r"\b(?:that|which) (?:is|are) there[.,;:)]": "present; or leave it out",
    r"\bat hand\b": "given, or: if we have it",
    r"\b(?:is|are|was|were|be) asked of\b": "must, requires",
    r"\bthe one (?:is|are|has|was|does|stands)\b": "the first …, the second …",
    r"\bstands? (?:beside|under|there|here)\b": "is",
    r"\b(?:is|are|was|were|be|been) said (?:of|so)\b": "reported, found",
}
FRAGMENT = re.compile(r"Of (?:the|a|an|each|its|what|those) ")
"""How a docstring may not begin: with what it belongs to, and no word for what it is."""


def clauses(text: str) -> Iterator[str]:
    """The clauses of a text; names and code in backticks count as one word."""
    plain = re.sub(r"\s+", " ", re.sub(r"`+[^`]*`+", "X", text)).strip()
    yield from re.split(r"(?<=[.!?:;]) +", plain)


_ANY = re.compile("|".join(STIFF), re.IGNORECASE)


def stiff(text: str) -> Iterator[str]:
    """The clauses that nobody would say aloud, each with what people say."""
    for clause in clauses(text):
        if not _ANY.search(clause):
            continue
        for pattern, instead in STIFF.items():
            if re.search(pattern, clause, re.IGNORECASE):
                yield f"{clause!r}: {instead}"


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring (also those below an attribute) and each block of comments."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                yield node.lineno, text
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            below = getattr(node, part, [])
            waiting += below if isinstance(below, list) else []
    yield from comments(source)


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each block of comments, in Python or TOML."""
    block: list[str] = []
    for number, line in enumerate([*source.split("\n"), ""], start=1):
        before, _, comment = line.partition("# ")
        is_comment = bool(comment) and (not before.strip() or before.endswith("  "))
        if block and (not is_comment or before.strip()):
            yield number - len(block), " ".join(block)
            block = []
        if is_comment and before.strip():
            yield number, comment
        elif is_comment:
            block.append(comment)


def checked() -> Iterator[Path]:
    for name in CHECKED:
        path = ROOT / name
        found = (
            [path] if path.is_file() else sorted(file for kind in READERS for file in path.rglob(f"*{kind}"))
        )
        assert found, f"{name} holds no prose: correct CHECKED"
        yield from (file for file in found if not _is_installed(file.relative_to(ROOT)))


def _is_installed(file: Path) -> bool:
    """Whether it is not ours: in a hidden folder, or one of npm's."""
    return any(part.startswith(".") or part == "node_modules" for part in file.parts)


def paragraphs(page: str) -> Iterator[tuple[int, str]]:
    line = 1
    for part in page.split("\n\n"):
        yield line, part
        line += part.count("\n") + 2


READERS = {".py": prose, ".toml": comments, ".md": paragraphs}


def test_docstrings_comments_and_pages_say_nothing_that_nobody_says_aloud() -> None:
    faults = []
    for file in checked():
        text = file.read_text()
        parts = READERS[file.suffix](text)
        for line, part in parts:
            place = f"{file.relative_to(ROOT)}:{line}"
            faults += [f"{place}: {fault}" for fault in stiff(part)]
            if file.suffix == ".py" and FRAGMENT.match(part):
                faults.append(f"{place}: {part!r}: say what it is")
    assert faults == [], "\n".join(faults)


@pytest.mark.parametrize(
    "text",
    [
        "Each condition is counted. Is one rare, its keys are listed.",
        "Is there\n    no index, all is walked.",
        "It is read; has it no id, it gets one.",
        "Does it not fill, conditions are counted.",
        "Nothing to do: another run is at it.",
        "Who asks for changes gets the oldest first.",
        "A target that is at hand.",
        "Written as it is.",
        "Only what is asked of it.",
        "What stands under a key.",
    ],
)
def test_an_inverted_or_clipped_clause_is_found(text: str) -> None:
    assert list(stiff(text))


@pytest.mark.parametrize(
    "text",
    [
        "If one is rare, list its keys and probe the others.",
        "Is it rare, or is it not?",
        "Has one name: `is it, then` in code.",
        "Whether there is an item, and which.",
        "Look at it again, as it is needed.",
        "Who leads, who judged that, and what the patient says.",
        "The thing it stands for.",
    ],
)
def test_plain_english_passes(text: str) -> None:
    assert list(stiff(text)) == []


def test_comments_and_attribute_docstrings_are_read() -> None:
    source = 'x = 1\n"""One."""\n\n# Two\n# three.\ny = 2  # four\n\n\ndef f():\n    """Five."""\n'
    assert sorted(prose(source)) == [(2, "One."), (4, "Two three."), (6, "four"), (10, "Five.")]
