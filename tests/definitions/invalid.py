"""The named invalid examples of profiles/input/invalid: each a valid example with one thing made wrong.

A file is named after the profile it is about; in it, by name, the reason, the example it starts from, a patch
(add, replace, remove at a JSON pointer; `extension[url=…]` picks the first extension of that url), the
FHIRPath place where the error is expected, and the key of the invariant where it is one.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fhir_coprod import definitions

FOLDER = Path(__file__).resolve().parents[2] / "profiles" / "input" / "invalid"
_PART = re.compile(r"/((?:[^/\[]|\[(?!url=))*)(?:\[url=([^\]]*)\])?")


@dataclass(frozen=True)
class Invalid:
    """One invalid resource: why, against which profile, and where the error is expected."""

    name: str
    profile: str
    reason: str
    expression: str
    key: str | None
    resource: dict[str, Any]


@cache
def cases() -> tuple[Invalid, ...]:
    return tuple(_cases())


def _cases() -> Iterator[Invalid]:
    examples = {f"{e['resourceType']}/{e['id']}": e for e in definitions.examples()}
    for file in sorted(FOLDER.glob("*.json")):
        for name, case in json.loads(file.read_text(encoding="utf-8")).items():
            resource = copy.deepcopy(examples[case["example"]])
            for step in case["patch"]:
                apply(resource, **step)
            yield Invalid(
                name=f"{file.stem}/{name}",
                profile=definitions.PROFILE + file.stem,
                reason=case["reason"],
                expression=case["expression"],
                key=case.get("key"),
                resource=resource,
            )


def apply(resource: dict[str, Any], op: str, path: str, value: Any = None) -> None:
    """One step of a patch, in place. Empty lists and objects that it leaves behind go too."""
    steps = list(_steps(path))
    at: Any = resource
    trail: list[tuple[Any, Any]] = []
    for step in steps[:-1]:
        key = _key(at, step)
        trail.append((at, key))
        at = at[key]
    last = _key(at, steps[-1])
    if op == "remove":
        del at[last]
        for parent, key in reversed(trail):
            if parent[key]:
                break
            del parent[key]
    elif isinstance(at, list) and last == len(at):
        at.append(value)
    elif op == "replace":
        at[last] = value
    else:
        assert op == "add"
        assert last not in at, f"{path} is there already"
        at[last] = value


def _steps(path: str) -> Iterator[str | tuple[str]]:
    position = 0
    while position < len(path):
        match = _PART.match(path, position)
        assert match, path
        if match[1]:
            yield match[1]
        if match[2]:
            yield (match[2],)
        position = match.end()


def _key(at: Any, step: str | tuple[str]) -> Any:
    if isinstance(step, tuple):
        return next(index for index, item in enumerate(at) if item["url"] == step[0])
    if isinstance(at, list):
        return len(at) if step == "-" else int(step)
    return step
