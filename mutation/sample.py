"""Samples mutants of some areas, in an order that depends only on the seed and the source."""

from __future__ import annotations

import ast
import difflib
import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mutation.areas import ROOT, Area, files
from mutation.operators import Edit, apply, edits


@dataclass(frozen=True)
class Mutant:
    """One edit of one file. Its id stays the same as long as the changed line does."""

    id: str
    area: str
    path: Path
    line: int
    edit: Edit
    source: bytes

    @property
    def mutated(self) -> bytes:
        """The text of the module with the fault in it."""
        return apply(self.source, self.edit)

    def where(self, root: Path = ROOT) -> str:
        """file:line, from the root of the repository."""
        return f"{self.path.relative_to(root)}:{self.line}"

    def change(self) -> str:
        """The change, as lines with - and +."""
        old, new = self.source.decode().splitlines(), self.mutated.decode().splitlines()
        told = difflib.unified_diff(old, new, lineterm="", n=0)
        return "\n".join(line for line in told if not line.startswith(("---", "+++", "@@")))


def mutants(areas: Mapping[str, Area], root: Path = ROOT) -> list[Mutant]:
    """All mutants of these areas, ordered by place."""
    return [
        mutant
        for name, area in areas.items()
        for path in files(area, root)
        for mutant in of(name, path, root)
    ]


def of(area: str, path: Path, root: Path = ROOT) -> Iterator[Mutant]:
    """The mutants of one file."""
    source = path.read_bytes()
    lines = source.splitlines()
    seen: Counter[str] = Counter()
    for edit in edits(source):
        line = source.count(b"\n", 0, edit.start) + 1
        old = source[edit.start : edit.end].decode()
        key = "\0".join(
            (str(path.relative_to(root)), lines[line - 1].decode().strip(), edit.operator, old, edit.new)
        )
        seen[key] += 1
        id = hashlib.sha256(f"{key}\0{seen[key]}".encode()).hexdigest()[:8]
        yield Mutant(id, area, path, line, edit, source)


def sample(all: list[Mutant], seed: int, count: int) -> list[Mutant]:
    """The first `count` of a shuffled list: a larger sample contains the smaller one."""
    order = sorted(all, key=lambda mutant: mutant.id)
    random.Random(seed).shuffle(order)
    chosen: list[Mutant] = []
    for mutant in order:
        if len(chosen) == count:
            break
        if _is_python(mutant.mutated):
            chosen.append(mutant)
    return chosen


def _is_python(source: bytes) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True
