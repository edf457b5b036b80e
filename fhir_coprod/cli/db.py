"""`fhir-coprod db`: bring the store's schema up to date, or check that it is."""

from __future__ import annotations

from collections import Counter

import typer

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import print_json, settings, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption

app = new_app("The schema of the store: bring it up to date, or check that it is.")


@app.command()
def upgrade(context: typer.Context, config: ConfigOption = None) -> None:
    """Bring the store's schema and search index up to date; changes nothing if they are."""
    from fhir_coprod.store import Store, opening
    from fhir_coprod.store.recheck import recheck_by_newer_rules

    base = opening.connect(settings(context, config).store.url)
    before = opening.check(base)
    opening.prepare(base)
    after = opening.check(base)
    done = "is current" if before == after else f"was {before or 'empty'}, is now current"
    stdout.print(f"schema {after}: {done}", highlight=False)
    indexed: Counter[str] = Counter()
    with Store(base) as store:
        store.reindex(lambda type, count: indexed.update({type: count}))
        rechecked = recheck_by_newer_rules(store)
    for type, count in indexed.items():
        stdout.print(f"search index of {type}: made anew for {count} resources", highlight=False)
    if rechecked.judged:
        stdout.print(
            f"not valid so far: {rechecked.judged} judged again, {rechecked.sound} sound now", highlight=False
        )


@app.command()
def check(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check that the schema is current and the database intact. Ends with 1 if something has to be done."""
    from fhir_coprod.store import opening, schema

    base = opening.connect(settings(context, config).store.url)
    found = opening.check(base)
    faults = opening.damage(base) if found == schema.REVISION else []
    current = found == schema.REVISION
    if json:
        print_json({"schema": found, "expected": schema.REVISION, "current": current, "faults": faults})
    else:
        stdout.print(f"schema {found or 'none'}: {_state(found)}", highlight=False)
        for fault in faults:
            stdout.print(fault, markup=False, highlight=False)
    if not current or faults:
        raise typer.Exit(1)


def _state(found: str) -> str:
    from fhir_coprod.store import opening, schema

    if found == schema.REVISION:
        return "current"
    if opening.is_newer(found):
        return f"made by a newer fhir-coprod than this one ({schema.REVISION}); install that version"
    return f"not current ({schema.REVISION}); run fhir-coprod db upgrade"
