"""Reads a TOML file that a person wrote into a Struct, and reports each mistake with line, key and remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from fhir_coprod.errors import ConfigError, plain

T = TypeVar("T")

Key = tuple[str, ...]
"""Names of tables, and at the end of a key: ("types", "Task", "find")."""

Finding = tuple[Key, str]
"""Where something is wrong; and what is wrong there, with what to write instead."""


class Mistakes(ConfigError):
    """A mapping file that cannot be used. The message is the first mistake; `all` holds every one."""

    def __init__(self, all: tuple[str, ...]) -> None:
        more = f" ({len(all) - 1} more mistakes in this file.)" if len(all) > 1 else ""
        super().__init__(all[0] + more)
        self.all = all


def read(text: bytes, file: str, form: type[T], mistakes: Callable[[T], Iterable[Finding]]) -> T:
    """The file's content as `form`. Raises Mistakes with everything that `form` and `mistakes` find wrong.

    file: its name for messages. Every field of `form` must have a default.
    """
    try:
        content = tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise Mistakes((f"{file}: not UTF-8; save it as UTF-8.",)) from None
    except tomllib.TOMLDecodeError as error:
        raise Mistakes((f"{file}: not valid TOML: {error}.",)) from None
    except (RecursionError, ValueError):
        raise Mistakes((f"{file}: not valid TOML: too deep, or a number out of reach.",)) from None
    try:
        value = msgspec.convert(content, form)
    except msgspec.ValidationError:
        found = list(dict.fromkeys(_misfits(content, form)))
    else:
        found = list(mistakes(value))
        if not found:
            return value
    lines = _lines(text.decode())
    raise Mistakes(tuple(_sentence(file, lines, key, said) for key, said in found))


def _sentence(file: str, lines: Mapping[Key, int], key: Key, said: str) -> str:
    nearest = next((key[:length] for length in range(len(key), 0, -1) if key[:length] in lines), ())
    line = f":{lines[nearest]}" if nearest else ""
    return plain(f"{file}{line}: {'.'.join(key)}: {said}")


# --- what does not fit the form -------------------------------------------------------------------


def _misfits(content: Mapping[str, Any], form: Any) -> Iterator[Finding]:
    """Every entry that does not fit its type; msgspec names only the first, and not its full place."""
    for key, value in _entries(content):
        unknown = _unknown(form, key)
        if unknown is not None:
            yield unknown
            continue
        alone: Any = value
        for part in reversed(key):
            alone = {part: alone}
        try:
            msgspec.convert(alone, form)
        except msgspec.ValidationError as error:
            yield key, _said(str(error), value, _form_at(form, key))


def _entries(table: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _entries(value, (*above, name))
        else:
            yield (*above, name), value


def _unknown(form: Any, key: Key) -> Finding | None:
    """Find the first name of the key that the form does not have."""
    for depth, name in enumerate(key):
        inner = _inner(form, name)
        if inner is None and _is_struct(form):
            known = ", ".join(field.name for field in msgspec.structs.fields(form))
            return key[: depth + 1], f"unknown key; known keys here: {known}."
        form = inner
    return None


def _form_at(form: Any, key: Key) -> Any:
    for name in key:
        form = _inner(form, name)
    return form


def _inner(form: Any, name: str) -> Any:
    """The type that the form gives to a name; None where it allows none."""
    if _is_struct(form):
        return next((field.type for field in msgspec.structs.fields(form) if field.name == name), None)
    return get_args(form)[1] if get_origin(form) is dict else None


def _is_struct(form: Any) -> bool:
    return isinstance(form, type) and issubclass(form, msgspec.Struct)


def _said(error: str, value: Any, form: Any) -> str:
    """msgspec's complaint in words for somebody who writes TOML."""
    choices = _choices(form)
    if choices and isinstance(value, str):
        return f"{value!r} is not known here; write one of {', '.join(choices)}."
    objection, _, place = error.partition(" - at ")
    within = re.search(r"((?:\[\d+\])+)`$", place)
    words = re.sub(r"`(\w+)( \| null)?`", lambda named: _KINDS.get(named[1], named[1]), objection)
    words = words.replace("Expected", "write", 1)
    return f"{words}{f' at {within[1]}, counted from 0' if within else ''}."


def _choices(form: Any) -> tuple[str, ...]:
    if get_origin(form) is Literal:
        return tuple(map(str, get_args(form)))
    if get_origin(form) in (Union, UnionType):
        return tuple(choice for part in get_args(form) for choice in _choices(part))
    return ()


_KINDS = {
    "array": "a list in [ ]",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "text in quotes",
}


# --- lines ----------------------------------------------------------------------------------------


def _lines(text: str) -> dict[Key, int]:
    """Table or key → the first line that names it, in text that is valid TOML.

    tomllib gives no line numbers. But a header, or a key with its value, is valid TOML by itself, and no
    beginning of either is.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    statement, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        statement += f"{line}\n"
        try:
            said = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _deepest(said)
            for length in range(1, len(table) + 1):
                found.setdefault(table[:length], start)
        else:
            for key, _ in _entries(said):
                for length in range(1, len(key) + 1):
                    found.setdefault((*table, *key[:length]), start)
        statement, start = "", number + 1
    return found


def _deepest(header: Mapping[str, Any]) -> Key:
    """("types", "Task") from the parsed header [types.Task]."""
    key: Key = ()
    inner: Any = header
    while isinstance(inner, dict) and inner:
        name, inner = next(iter(inner.items()))
        key = (*key, name)
    return key
