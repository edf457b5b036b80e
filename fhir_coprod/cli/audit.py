"""`fhir-coprod audit`: who was shown what, whether nothing of that is missing, and all of it as a file."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import existing_store, print_json, settings, stderr, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.errors import BadRequest, ConfigError
from fhir_coprod.terminal import shown

if TYPE_CHECKING:  # loading the store takes time that a command's help need not spend
    from fhir_coprod.audit.finding import Wanted
    from fhir_coprod.audit.trail import Trail
    from fhir_coprod.settings import Settings
    from fhir_coprod.store import Store

app = new_app("Who was shown what: search it, prove that nothing was removed, write it out.")

PatientOption = Annotated[str, typer.Option("--patient", metavar="ID", help="Whose record it was about.")]
WhoOption = Annotated[
    str, typer.Option("--who", metavar="NAME", help="Who called: a program's id, or a person's.")
]
SinceOption = Annotated[str, typer.Option("--since", metavar="TIME", help="From then on, as 2026-03-02.")]
UntilOption = Annotated[str, typer.Option("--until", metavar="TIME", help="Before then.")]
SHOWN = 200


@app.command()
def search(
    context: typer.Context,
    patient: PatientOption = "",
    who: WhoOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the calls that were about a patient, or came from somebody, the newest first.

    A person sees the first 200; --json gives all of them. To look is a call of the audit itself.
    """
    from fhir_coprod.audit import finding

    wanted = _wanted(patient, who, since, until)
    with _trail(context, config) as (chosen, store, trail):
        _remember(chosen, store, trail, "audit-search", patient)
        if as_json:
            print_json([found.to_json() for found in finding.every(trail.places, wanted)])
            return
        calls = finding.find(trail.places, wanted, SHOWN + 1)
    table = Table(box=None, pad_edge=False)
    for name in ("when", "who", "from", "did", "about", "answer"):
        table.add_column(name, overflow="fold")
    for found in calls[:SHOWN]:
        event = found.event
        at = datetime.fromtimestamp(found.at / 1000, chosen.site.zone).isoformat(" ", "seconds")
        names = dict.fromkeys(f"{each.type}/{each.id}" for each in event.about)
        told = ", ".join(list(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        caller = event.who or event.kind
        cells = (at, caller, event.address, event.interaction, told, str(event.status))
        table.add_row(*map(shown, cells))
    stdout.print(table)
    if len(calls) > SHOWN:
        stderr.print(f"These are the newest {SHOWN}; narrow it, or take --json for all.", highlight=False)


@app.command()
def verify(
    context: typer.Context,
    heads: Annotated[
        Path | None,
        typer.Option(
            "--heads", help="File with the ends of the chains; else audit.heads_file.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Prove that no row of the audit is missing, added or altered. Ends with 1 if one is.

    What was calculated anew, cut off at the end, or taken away as a whole shows by the ends of the chains
    that are written down outside the database: keep that file where who can write the database cannot.
    """
    from fhir_coprod.audit import heads as outside
    from fhir_coprod.audit.verify import Flaw
    from fhir_coprod.audit.verify import verify as verified

    flaws: list[Flaw] = []
    with _trail(context, config) as (chosen, _, trail):
        file = heads or chosen.audit.heads_file or trail.places.heads_file
        known = list(outside.read(file)) if file is not None and (heads or file.exists()) else []

        def progress(month: int, calls: int) -> None:
            if stderr.is_terminal:
                stderr.print(f"month {month}: {calls:,} calls", end="\r", highlight=False)

        seen = verified(trail.places, known, flaws.append, progress)
    if as_json:
        print_json({**seen._asdict(), "flaws": [flaw._asdict() for flaw in flaws]})
    else:
        for flaw in flaws:
            stdout.print(str(flaw), markup=False, highlight=False, soft_wrap=True)
        stdout.print(
            f"{seen.calls:,} calls in {seen.chains:,} chains and {seen.months} months,"
            f" {seen.heads:,} ends written down outside: {f'{len(flaws)} flaws' if flaws else 'all sound'}",
            highlight=False,
            soft_wrap=True,
        )
    if not known and seen.calls:
        stderr.print(
            "No ends were written down outside the database, so that nobody can tell whether the last rows,"
            " or whole chains, are gone: set audit.heads_file.",
            highlight=False,
            soft_wrap=True,
        )
    if flaws:
        raise typer.Exit(1)


@app.command()
def export(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="File to write, whole or not at all; .gz packs it.")],
    patient: PatientOption = "",
    who: WhoOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    config: ConfigOption = None,
) -> None:
    """Write the audit as AuditEvents (NDJSON), the newest first. That is a call of the audit itself."""
    from fhir_coprod import jsontext
    from fhir_coprod.audit import fhir, finding

    wanted = _wanted(patient, who, since, until)
    count = 0
    with _trail(context, config) as (chosen, store, trail):
        _remember(chosen, store, trail, "audit-export", patient)
        base = chosen.site.base_url.rstrip("/")
        with _placed(out) as file:
            for found in finding.every(trail.places, wanted):
                for made in fhir.resources(found, base):
                    if not patient or _names(made, patient):
                        file.write(jsontext.encode(made) + b"\n")
                        count += 1
    stdout.print(f"{count:,} AuditEvents: {shown(str(out))}", highlight=False, soft_wrap=True)


def _names(made: Any, patient: str) -> bool:
    whole = f"Patient/{patient}"
    return any(entity.get("what", {}).get("reference") == whole for entity in made.get("entity", ()))


@contextmanager
def _placed(out: Path) -> Iterator[Any]:
    """A file that takes the place of `out` once it is whole; for its owner only."""
    import os
    import tempfile

    try:
        number, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.absolute().parent)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}); name another file.") from None
    try:
        with os.fdopen(number, "wb") as plain:
            if out.suffix == ".gz":
                with gzip.GzipFile("", "wb", 6, plain, 0) as packed:
                    yield packed
            else:
                yield plain
            plain.flush()
            os.fsync(plain.fileno())
        Path(name).replace(out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}); name another file.") from None
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _trail(context: typer.Context, config: Path | None) -> Iterator[tuple[Settings, Store, Trail]]:
    from fhir_coprod.audit.trail import Trail

    chosen = settings(context, config)
    with existing_store(chosen) as store, Trail(store, chosen.audit) as trail:
        yield chosen, store, trail


def _remember(chosen: Settings, store: Store, trail: Trail, what: str, patient: str) -> None:
    """Remember this look, unless the audit is off."""
    from fhir_coprod.audit.trail import at_the_machine, is_remembered

    if is_remembered(store, chosen) or (not trail.is_off and trail.places.months()):
        trail.submit([at_the_machine(what, patient)]).result()


def _wanted(patient: str, who: str, since: str, until: str) -> Wanted:
    from fhir_coprod.audit.finding import Wanted

    wanted = Wanted(patient=patient.removeprefix("Patient/"), who=who)
    if since:
        wanted = wanted._replace(since=_milliseconds(since))
    if until:
        wanted = wanted._replace(until=_milliseconds(until))
    return wanted


def _milliseconds(text: str) -> int:
    from fhir_coprod.store.values import time_meant

    meant = time_meant(text)
    if meant is None:
        raise BadRequest(f"{text[:40]!r} is no time; write for instance 2026-03-02 or 2026-03-02T09:00:00Z.")
    return meant.low // 1000
