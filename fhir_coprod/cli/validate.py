"""`fhir-coprod validate`: check resources in files against FHIR R4 and profiles."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

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
    format: Annotated[
        Format,
        typer.Option(help="text for people; json: an array of OperationOutcomes, each with file and line."),
    ] = Format.text,
    config: ConfigOption = None,
) -> None:
    """Check resources against FHIR R4, the profiles that they claim, and a profile of your choice.

    Ends with 1 if a resource is not valid. The array of OperationOutcomes keeps the order of the input.
    """
    chosen = settings(context, config)
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
    counted = _progress(bulk.check(sources, profile, package or (), size=size), size)
    number, invalid = _as_json(counted) if format is Format.json else _as_text(counted)
    if not number:
        raise ConfigError("There is no resource in what was given, so nothing was checked; name a file.")
    if invalid:
        raise typer.Exit(1)


def _progress(checked: Iterator[Checked], total: int | None) -> Iterator[Checked]:
    """The same items, with a bar on stderr when that is a terminal and the size is known."""
    bar = Progress(
        TextColumn("validating"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=total is None or not stderr.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=total)
        for one in checked:
            bar.advance(task, one.source.taken)
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


def _as_text(checked: Iterator[Checked]) -> tuple[int, int]:
    """Print the issues of each resource, then the counts; returns how many, and how many are not valid."""
    number = invalid = warned = 0
    for one in checked:
        number += 1
        invalid += not one.outcome
        # Hide merely informational issues, except those that say what was not checked.
        told = [i for i in one.outcome if i.severity != "information" or i.code in _ALWAYS_TOLD]
        warned += bool(one.outcome) and any(issue.severity == "warning" for issue in told)
        if told:
            head = plain(f"{one.source.place}  {one.name}".rstrip())
            stdout.print(Text(head, style="bold"), soft_wrap=True)
            for issue in told:
                stdout.print(_line(issue), soft_wrap=True)
    counts = [f"{number - invalid} valid"]
    if warned:
        counts[0] += f" ({warned} with warnings)"
    if invalid:
        counts.append(f"{invalid} not valid")
    stdout.print(Text(f"{number} resource{'' if number == 1 else 's'}: {', '.join(counts)}"))
    return number, invalid


def _line(issue: Issue) -> Text:
    line = Text("  ")
    shown = "unchecked" if issue.code == "not-supported" else issue.severity
    line.append(f"{shown:<8}", style=_STYLES[issue.severity])
    line.append(plain(f" {issue.expression}: " if issue.expression else " "))
    line.append(plain(issue.message))
    return line
