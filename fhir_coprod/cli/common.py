"""What every command shares: settings, the store, JSON on stdout, words on stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer
from rich.console import Console
from rich.text import Text

from fhir_coprod.errors import ConfigError, plain

# Settings take a tenth of a second, the store half a second: a command's help needs neither.
if TYPE_CHECKING:
    from fhir_coprod.files.finding import Found
    from fhir_coprod.files.reading import Limits
    from fhir_coprod.settings import EhrSettings, Settings
    from fhir_coprod.store import Store


# Without emoji=False, Rich prints the identifier system "urn:x:dept" as "urn❌dept".
class Terminal(Console):
    """A console that nobody else's text can control: whatever is printed keeps only its line ends.

    Markup in such a text is a matter of the one who prints it: `terminal.shown`, or markup=False.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str("\n".join(map(plain, text.split("\n"))), **options)


stdout = Terminal(emoji=False)
"""Results for a person."""
stderr = Terminal(stderr=True, emoji=False)
"""Logs, progress and errors; never results."""


def settings(context: typer.Context, config: Path | None) -> Settings:
    """The settings; --config may come before or after the command."""
    from fhir_coprod.settings import Settings

    return Settings.load(config or (context.find_root().obj or {}).get("config"))


def ehrs(settings: Settings, name: str | None = None) -> list[EhrSettings]:
    """The EHRs of the settings, or the one of this name. Raises ConfigError if there is none."""
    if not settings.ehr:
        raise ConfigError("No EHR is set up; add an [[ehr]] section with name and url to coprod.toml.")
    found = [ehr for ehr in settings.ehr if name in (None, ehr.name)]
    if not found:
        known = ", ".join(ehr.name for ehr in settings.ehr)
        raise ConfigError(f"There is no EHR named {name!r}; known: {known}.")
    return found


def existing_store(settings: Settings) -> Store:
    """The store, which must exist: with a new, empty one, silence would be taken for good news."""
    from fhir_coprod.store import Store

    if is_missing(settings):
        raise ConfigError(
            f"There is no store at {_file(settings)}. Name your settings with --config, or bring records in "
            "first with `fhir-coprod sync` or `fhir-coprod load`."
        )
    return Store.open(settings.store.url)


def is_missing(settings: Settings) -> bool:
    """Whether the store is a file that does not exist."""
    file = _file(settings)
    return file is not None and not file.exists()


def _file(settings: Settings) -> Path | None:
    from fhir_coprod.store import opening
    from fhir_coprod.store.sqlite import SqliteDatabase

    chosen = opening.connect(settings.store.url)
    return chosen.path if isinstance(chosen, SqliteDatabase) else None


def standard_input() -> BinaryIO:
    """Standard input as bytes; empty if whoever started us has closed it."""
    return sys.stdin.buffer if sys.stdin is not None else io.BytesIO()


def limits(settings: Settings) -> Limits:
    """What one record of a file may have at most."""
    from fhir_coprod.files.reading import Limits

    return Limits(settings.limits.record_bytes, settings.limits.elements)


def tell_twice(found: Iterable[Found]) -> None:
    """Say which files are named more than once, by links or by their paths: each is read once."""
    for one in found:
        if one.same_as:
            say(f"{one.name}: the same file as {one.same_as}, which is read once.")


def say(sentence: str, style: str = "") -> None:
    """A sentence on stderr that may contain words of others: their names of files, their records."""
    stderr.print(Text(plain(sentence), style=style), soft_wrap=True)


def kept(records: int) -> str:
    """How many records were kept although they break a rule, in words."""
    if records == 1:
        return "1 record breaks a rule and was kept"
    return f"{records} records break a rule and were kept"


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Each id as a table shows it: a long one is cut to a beginning that is unique and that commands take."""
    names = sorted(set(ids))
    shortest = {}
    for place, name in enumerate(names):
        beside = [names[near] for near in (place - 1, place + 1) if 0 <= near < len(names)]
        alike = max((_alike(name, other) for other in beside), default=0)
        shortest[name] = name if len(name) <= _FITS else name[: max(_SHORT, alike + 1)]
    return shortest


def _alike(one: str, other: str) -> int:
    """Length of the beginning that both have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


_SHORT = 8
_FITS = 16
"""Characters of an id: the fewest that a long one is cut to, and the most that are never cut."""


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    from fhir_coprod import jsontext

    write_out(jsontext.encode(document) + b"\n")


def write_out(text: bytes) -> None:
    """Write bytes to stdout."""
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_output()
        raise ConfigError(f"The output cannot be written ({error.strerror}).") from None


def check_output(file: Path | None) -> None:
    """Raise ConfigError if `--output` names what cannot be written, before any work is done."""
    from fhir_coprod.files.placing import try_place

    if file is not None:
        with _written(file):
            try_place(file)


def put_json(document: Any, file: Path) -> None:
    """Put one JSON document in the place of a file."""
    from fhir_coprod import jsontext
    from fhir_coprod.files.placing import place

    with _written(file):
        place(file, jsontext.encode(document) + b"\n")


@contextmanager
def _written(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written ({error.strerror}); name another with --output."
        ) from None


def abandon_output() -> None:
    """Drop output that nobody can read any more, so that the interpreter does not try to print it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
