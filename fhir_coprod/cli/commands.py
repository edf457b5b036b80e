"""The table of commands: what each does and where it is, so that only the one in use is imported."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


class Place(NamedTuple):
    """Where a command is, and the first paragraph of its own help."""

    module: str
    """Below `fhir_coprod.cli`."""
    name: str
    """A function, or a Typer with commands below this one."""
    help: str


COMMANDS = {
    "demo": Place(
        "demo",
        "demo",
        "An invented hospital: three departments synced, watched, printed; then served on port 8000.",
    ),
    "load": Place(
        "load",
        "load",
        "Load NDJSON, Bundles or single resources; each is validated, ids are kept, killed loads can resume.",
    ),
    "serve": Place(
        "serve",
        "serve",
        "Serve the FHIR endpoint under /fhir and the pages at /; watch and sync meanwhile.",
    ),
    "worker": Place(
        "worker",
        "worker",
        "Watch the referrals and sync the EHRs, until it is stopped (SIGTERM, Ctrl-C).",
    ),
    "simulate": Place(
        "simulate",
        "simulate",
        "Make a hospital that never was, whose referrals stall at published rates, and the truth about each.",
    ),
    "validate": Place(
        "validate",
        "validate",
        "Check resources against FHIR R4, the profiles that they claim, and a profile of your choice.",
    ),
    "package": Place(
        "package",
        "package",
        "Write our FHIR package (profiles, codes, search parameters, examples) for other tools.",
    ),
    "sync": Place("sync", "sync", "Take what is new from the EHRs."),
    "watch": Place(
        "watch", "watch", "Find stalled referrals; raise, keep and resolve the alerts about them."
    ),
    "doctor": Place(
        "doctor",
        "doctor",
        "Check what a night operator would: settings, secrets, store, EHRs, sync, watch, service.",
    ),
    "db": Place("db", "app", "The store: bring its schema up to date, or check and repair what is in it."),
    "ehr": Place("ehr", "app", "The EHRs in the settings."),
    "dead-letters": Place("dead_letters", "dead_letters_app", "Records that could not be taken in."),
    "clients": Place(
        "clients",
        "app",
        "Programs that may call: each signs in with its own key and gets tokens of five minutes.",
    ),
    "patient": Place(
        "patient",
        "app",
        "What a patient may ask for: a copy of all that is held about them, and its erasure.",
    ),
    "people": Place("people", "app", "Records that may be the same patient, and a person's word on them."),
    "glass": Place("glass", "app", "Who has broken the glass, for whom and why, and who has looked at it."),
    "objections": Place(
        "objections",
        "objections",
        "What patients refuse to whom, by their Consents, and what of it counts for more than it says.",
    ),
    "users": Place("users", "app", "The people who have a role and a department, or are signed in."),
    "quality": Place(
        "quality",
        "quality",
        "What is wrong in the records of each EHR, by type, rule and element: a list to send to its vendor.",
    ),
    "audit": Place(
        "audit", "app", "Who was shown what: search it, prove that nothing was removed, write it out."
    ),
    "alerts": Place(
        "alerts",
        "app",
        "The follow-ups that the watch asks for: list them, look at one, take it, put it aside.",
    ),
}


class Group(TyperGroup):
    """A command with subcommands; its help shows the first paragraph of each, uncut."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(command)) for name, command in self.commands.items()])


class AllCommands(Group):
    """The commands of `COMMANDS`, each imported when it is run and not when it is listed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, place in COMMANDS.items():
            self.add_command(_Later(name, place))


class _Later(TyperCommand):
    """A placeholder in the list; the command itself takes over as soon as there are arguments to parse."""

    def __init__(self, name: str, place: Place) -> None:
        super().__init__(name, help=place.help)
        self.place = place

    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return whole(self.place).make_context(info_name, args, parent, **extra)


def new_app(help: str, cls: type[Group] = Group) -> Typer:
    """A group of commands. Their help is plain text: loading Rich for it would double the time it takes."""
    return Typer(
        cls=cls,
        help=help,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"max_content_width": 110},
    )


def whole(place: Place) -> TyperCommand | TyperGroup:
    """The command itself, imported."""
    found = getattr(import_module(f"fhir_coprod.cli.{place.module}"), place.name)
    if isinstance(found, Typer):
        return get_group(found)
    alone = new_app("")
    alone.command()(found)
    return get_command(alone)  # type: ignore[return-value]


def summary(command: Any) -> str:
    """The description of a command in the list of all commands: the first paragraph of its help."""
    return " ".join(command.help.split("\n\n")[0].split())
