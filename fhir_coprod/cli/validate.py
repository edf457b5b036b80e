"""`fhir-coprod validate`: check resources in files against FHIR R4 and profiles."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fhir_coprod.cli.common import limits, settings, standard_input, stderr, stdout, tell_twice
from fhir_coprod.cli.options import ConfigOption
from fhir_coprod.errors import ConfigError, UnknownDefinition, plain, readable
from fhir_coprod.outcome import Issue

if TYPE_CHECKING:
    from fhir_coprod.validation.bulk import Checked

_FILE = "http://hl7.org/fhir/StructureDefinition/operationoutcome-file"
_LINE = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-line"
_ALWAYS_TOLD = ("not-supported", "too-long")
_STYLES = {"fatal": "bold red", "error": "red", "warning": "yellow", "information": "dim"}
_PATIENCE = 0.1
"""Seconds for which what was found may wait to be printed with more, unless each resource is waited for."""

Piece = tuple[str, str]
"""A text and its style."""


class Format(StrEnum):
    text = "text"
    json = "json"


def validate(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="JSON, NDJSON or Bundle files, also as .gz, folders of them, or - for standard input.",
        ),
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Check against this profile too, whether it is claimed or not; of ours the id is enough.",
        ),
    ] = None,
    package: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TGZ", help="A FHIR package with definitions to check against; give it again for more."
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="For what you send: extensions and profiles that are not known here, and tags of HTML in "
            "texts, are errors too.",
        ),
    ] = False,
    format: Annotated[
        Format,
        typer.Option(help="text for people; json: an array of OperationOutcomes, each with file and line."),
    ] = Format.text,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    config: ConfigOption = None,
) -> None:
    """Check resources against FHIR R4, the profiles that they claim, and a profile of your choice.

    Ends with 1 if a resource is not valid. The array of OperationOutcomes keeps the order of the input.
    """
    chosen = settings(context, config)
    format = Format.json if as_json else format
    from fhir_coprod import definitions
    from fhir_coprod.files import finding
    from fhir_coprod.validation import bulk, inputs, validator

    for one in package or ():
        definitions.load_package(one)
    if profile:
        profile = definitions.profile_url(profile)
        try:
            validator.default().require(profile)
        except UnknownDefinition as error:
            raise ConfigError(error.message) from None
    found = finding.find(files)
    size = finding.size(found)
    tell_twice(found)
    sources = inputs.sources(found, standard_input(), limits(chosen))
    checked = bulk.check(sources, profile, package or (), strict=strict)
    if size is not None:
        checked = _progress(checked, size, format)
    patience = 0 if size is None else _PATIENCE
    number, invalid = _as_json(checked) if format is Format.json else _as_text(checked, patience)
    if not number:
        raise ConfigError("There is no resource in what was given, so nothing was checked; name a file.")
    if invalid:
        raise typer.Exit(1)


def _progress(checked: Iterator[Checked], total: int, format: Format) -> Iterator[Checked]:
    """The same items, with a bar on the terminal, if there is one, below what is printed there.

    JSON on a terminal stays alone, and a terminal that cannot erase a line gets no bar.
    """
    console = stdout if stdout.is_terminal else stderr
    is_json_there = format is Format.json and console is stdout
    if not console.is_terminal or console.is_dumb_terminal or is_json_there:
        yield from checked
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("validating"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        read = 0
        for one in checked:
            read += one.source.taken
            if read > total / 500:
                bar.advance(task, read)
                read = 0
            yield one


def _as_json(checked: Iterator[Checked]) -> tuple[int, int]:
    """Write an array of OperationOutcomes as they come; returns how many, and how many are not valid."""
    from fhir_coprod import jsontext

    number = invalid = 0
    out = sys.stdout.buffer
    before = b"["
    for one in checked:
        number += 1
        invalid += not one.outcome
        out.write(before + b"\n" + jsontext.encode(_located(one)))
        before = b","
    out.write(b"[]\n" if before == b"[" else b"\n]\n")
    out.flush()
    return number, invalid


def _located(checked: Checked) -> dict[str, Any]:
    """The OperationOutcome with file and line, as HL7's validator writes them."""
    made = checked.outcome.to_fhir()
    outcome = {
        "resourceType": made["resourceType"],
        "extension": [{"url": _FILE, "valueString": readable(checked.source.file)}],
        "issue": made["issue"],
    }
    if checked.source.line is not None:
        line = {"url": _LINE, "valueInteger": checked.source.line}
        outcome["issue"] = [{"extension": [line], **issue} for issue in made["issue"]]
    return outcome


def _as_text(checked: Iterator[Checked], patience: float) -> tuple[int, int]:
    """Print the issues of each resource, then the counts; returns how many, and how many are not valid.

    patience: seconds for which something may wait to be printed with more
    """
    number = invalid = warned = 0
    waiting: list[Piece] = []
    due = 0.0
    for one in checked:
        number += 1
        is_valid = bool(one.outcome)
        invalid += not is_valid
        # Hide merely informational issues, except those that say what was not checked.
        told = [i for i in one.outcome.issues if i.severity != "information" or i.code in _ALWAYS_TOLD]
        if not told:
            continue
        warned += is_valid and any(issue.severity == "warning" for issue in told)
        waiting.append((plain(f"{one.source.place}  {one.name}".rstrip()), "bold"))
        for issue in told:
            waiting += _line(issue)
        waiting.append(("\n", ""))
        if (now := time.monotonic()) >= due:
            _print(waiting)
            waiting = []
            due = now + patience
    counts = [f"{number - invalid} valid"]
    if warned:
        counts[0] += f" ({warned} with warnings)"
    if invalid:
        counts.append(f"{invalid} not valid")
    waiting.append((f"{number} resource{'' if number == 1 else 's'}: {', '.join(counts)}\n", ""))
    _print(waiting)
    return number, invalid


@lru_cache(maxsize=1000)
def _line(issue: Issue) -> tuple[Piece, ...]:
    """The line about an issue, after the end of the line before. Many resources have the same issues."""
    shown = "unchecked" if issue.code == "not-supported" else issue.severity
    place = f"{issue.expression}: " if issue.expression else ""
    return ("\n  ", ""), (f"{shown:<8}", _STYLES[issue.severity]), (plain(f" {place}{issue.message}"), "")


def _print(pieces: list[Piece]) -> None:
    if stdout.is_terminal:
        from rich.text import Text

        stdout.print(Text.assemble(*pieces), soft_wrap=True, end="")
    else:
        # Rich would take ten times as long as the validation.
        stdout.file.write("".join([text for text, _ in pieces]))
        stdout.file.flush()
