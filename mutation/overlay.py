"""Imports one module with its text changed, without writing anything. Uses only the standard library.

Processes that tests start learn from the environment which module it is (`start/sitecustomize.py`).
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

VARIABLE = "COPROD_MUTANT"


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self.changed = source

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self.changed, self.path, "exec", dont_inherit=True)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, path: str, source: bytes) -> None:
        self.name = name
        self.loader = _Loader(name, path, source)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        places = [str(Path(self.loader.path).parent)] if self.loader.path.endswith("__init__.py") else None
        spec = importlib.machinery.ModuleSpec(
            fullname, self.loader, origin=self.loader.path, is_package=bool(places)
        )
        spec.has_location = True
        if places:
            spec.submodule_search_locations = places
        return spec


def module_name(path: Path, root: Path) -> str:
    """The module at a path: fhir_coprod/sync/merging/merge.py is fhir_coprod.sync.merging.merge."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def install(name: str, path: Path, source: bytes, note: Path) -> None:
    """From now on, import `name` from this text, here and in processes started from here."""
    assert name not in sys.modules, f"{name} is imported already"
    note.write_text(json.dumps({"name": name, "path": str(path), "source": source.decode()}))
    os.environ[VARIABLE] = str(note)
    sys.meta_path.insert(0, _Finder(name, str(path), source))


def install_from_environment() -> None:
    """The same, in a process that a test started."""
    note = os.environ.get(VARIABLE)
    if note:
        told = json.loads(Path(note).read_text())
        sys.meta_path.insert(0, _Finder(told["name"], told["path"], told["source"].encode()))
