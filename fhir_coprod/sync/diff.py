"""Shows line by line what a write would change in a resource, for the dry run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhir_coprod.jsontext import Json
from fhir_coprod.sync.merging.change import Change

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Line:
    """One element whose value would change. `before` or `after` is None if the element is absent there."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One resource that would be created, updated or deleted."""

    resource: str
    change: str
    lines: tuple[Line, ...]

    def to_json(self) -> Json:
        return {
            "resource": self.resource,
            "change": self.change,
            "diff": [{"path": line.path, "before": line.before, "after": line.after} for line in self.lines],
        }


def difference(change: Change) -> Difference:
    """The difference between a resource now and what would be written, without version and time stamps."""
    version = change.written.version
    before, after = _leaves(change.before), _leaves(version.data)
    lines = tuple(
        Line(path, _shown(before.get(path, _ABSENT)), _shown(after.get(path, _ABSENT)))
        for path in dict.fromkeys([*before, *after])
        if before.get(path, _ABSENT) != after.get(path, _ABSENT)
    )
    return Difference(version.reference, change.written.change, lines)


def _shown(value: Any) -> Any:
    return None if value is _ABSENT else value


def _leaves(resource: Json) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{path}.{key}" if path else key, inner)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                walk(f"{path}[{number}]", inner)
        else:
            found[path] = value

    walk("", resource)
    for stamp in ("meta.versionId", "meta.lastUpdated"):
        found.pop(stamp, None)
    return found
