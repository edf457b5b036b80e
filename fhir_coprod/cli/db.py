"""`fhir-coprod db`: bring the store's schema up to date, or check everything in it and repair it."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fhir_coprod import jsontext
from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import print_json, settings, stderr, stdout, write_out
from fhir_coprod.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from rich.progress import TaskID

    from fhir_coprod.settings import Settings
    from fhir_coprod.store.database import Database
    from fhir_coprod.store.soundness.check import Tell
    from fhir_coprod.store.soundness.faults import Fault

app = new_app("The store: bring its schema up to date, or check and repair what is in it.")


@app.command()
def upgrade(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Bring the store's schema and search index up to date; changes nothing if they are."""
    from fhir_coprod.store import Store, opening
    from fhir_coprod.store.recheck import recheck_by_newer_rules

    base = opening.connect(settings(context, config).store.url)
    before = opening.check(base)
    opening.prepare(base)
    after = opening.check(base)
    done = "is current" if before == after else f"was {before or 'empty'}, is now current"
    if not json:
        stdout.print(f"schema {after}: {done}", highlight=False)
    indexed: Counter[str] = Counter()
    with Store(base) as store:
        store.reindex(lambda type, count: indexed.update({type: count}))
        rechecked = recheck_by_newer_rules(store)
    if json:
        judged = {"judged": rechecked.judged, "sound": rechecked.sound}
        print_json({"before": before, "schema": after, "indexed": dict(indexed), "rechecked": judged})
        return
    for type, count in indexed.items():
        stdout.print(f"search index of {type}: made anew for {count} resources", highlight=False)
    if rechecked.judged:
        stdout.print(
            f"not valid so far: {rechecked.judged} judged again, {rechecked.sound} sound now", highlight=False
        )


@app.command()
def retain(
    context: typer.Context,
    config: ConfigOption = None,
    json: JsonOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove what is kept no longer: the months of the audit that ended more than audit.keep_years ago.

    What each chain of hashes ended with stays, so that `fhir-coprod audit verify` goes on from there, and the
    removal stands in the audit itself. Versions of records, and the bytes as they were received, are kept.
    """
    from datetime import UTC, datetime

    from fhir_coprod.audit import retention
    from fhir_coprod.audit.trail import Trail, user_here
    from fhir_coprod.cli.common import existing_store

    chosen = settings(context, config)
    now = datetime.now(UTC)
    with existing_store(chosen) as store, Trail(store, chosen.audit) as trail:
        found = retention.past(trail.places, now, chosen.audit.keep_years)
        if found and not dry_run:
            trail.open()
            for month in found:
                retention.remove(store, trail.places, month.month, user_here(), now)
    if json:
        print_json({"dryRun": dry_run, "removed": [each._asdict() for each in found]})
        return
    for each in found:
        done = "would be removed" if dry_run else "removed"
        _say(f"audit of {each.month // 100}-{each.month % 100:02}, {each.calls} calls: {done}")
    if not found:
        _say("nothing is past its time")


@app.command()
def check(
    context: typer.Context,
    config: ConfigOption = None,
    json: JsonOption = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make anew what can be made from the rest, while others work.")
    ] = False,
) -> None:
    """Read the whole store and say what is missing or not as it was stored. Ends with 1 if something is.

    It compares every version, the bytes it was received as and every row of the small tables with their
    checksums, every row of the search index with what the resource makes, and what else belongs together.
    Others may work with the store meanwhile. With --repair the search index and whatever else can be derived
    is made anew, in small steps: stop it at any moment, and start it again. What it repairs is as it was; for
    the rest you need a backup, and it says for what.
    """
    from fhir_coprod.store import opening, schema
    from fhir_coprod.store.soundness.check import Summary

    chosen = settings(context, config)
    base = opening.connect(chosen.store.url)
    found = opening.check(base)
    current = found == schema.REVISION
    wrong, repaired = Summary(), Summary()
    printed = Listing({"schema": found, "expected": schema.REVISION, "current": current}) if json else None

    def tell(fault: Fault) -> None:
        wrong.add(fault)
        if printed is not None:
            printed.add(fault.to_json())

    if current:
        _go_through(base, chosen, repair, tell, repaired.add)
    if printed is not None:
        printed.end({"counts": dict(wrong.counts), "repaired": dict(repaired.counts)})
    else:
        _say(f"schema {found or 'none'}: {_state(found)}")
        for sentence in repaired.sentences(with_cure=False):
            _say(f"repaired: {sentence}")
        for sentence in wrong.sentences():
            _say(sentence)
        if current and not wrong.counts:
            _say("nothing is missing or altered, as far as it can be told (docs/operations.md#is-it-sound)")
    if not current or wrong.counts:
        raise typer.Exit(1)


def _go_through(base: Database, chosen: Settings, repair: bool, tell: Tell, tell_mended: Tell) -> None:
    from contextlib import closing

    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from fhir_coprod.store.soundness import check as checking
    from fhir_coprod.store.writer import Writer
    from fhir_coprod.sync import soundness as synced
    from fhir_coprod.watch import soundness as watched

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
    tasks: dict[str, TaskID] = {}

    def progress(name: str, done: float) -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=1.0)
        bar.update(tasks[name], completed=done)

    with closing(base), bar, closing(Writer(base)) if repair else nullcontext() as writer:
        more = (*synced.parts(chosen), watched.Standings())
        checking.run(
            *(base, tell),
            writer=writer,
            tell_mended=tell_mended,
            progress=progress,
            more=more,
            recover=watched.recovered,
        )


class Listing:
    """Prints one JSON document with a list in it that may be long, item by item."""

    def __init__(self, before: dict[str, Any]) -> None:
        self._separator = b""
        self._write(jsontext.encode(before)[:-1] + b',"faults":[')

    def add(self, item: Any) -> None:
        self._write(self._separator + jsontext.encode(item))
        self._separator = b","

    def end(self, after: dict[str, Any]) -> None:
        self._write(b"]," + jsontext.encode(after)[1:] + b"\n")

    def _write(self, text: bytes) -> None:
        write_out(text)


def _say(sentence: str) -> None:
    stdout.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _state(found: str) -> str:
    from fhir_coprod.store import opening, schema

    if found == schema.REVISION:
        return "current"
    if opening.is_newer(found):
        return f"made by a newer fhir-coprod than this one ({schema.REVISION}); install that version"
    return f"not current ({schema.REVISION}); run fhir-coprod db upgrade"
