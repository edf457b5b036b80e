"""`fhir-coprod objections`: what patients refuse to whom, and what of it counts for more than it says."""

from __future__ import annotations

import typer

from fhir_coprod.cli.common import existing_store, print_json, settings, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.terminal import shown


def objections(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """What patients refuse to whom, by their Consents, and what of it counts for more than it says."""
    from fhir_coprod.store import objections

    with existing_store(settings(context, config)) as store:
        found = store.write(lambda t: objections.told(t.session))
    if as_json:
        print_json(found)
        return
    for one in found:
        against = ", ".join(one["against"])
        stdout.print(
            f"Consent/{one['consent']}: Patient/{one['patient']} refuses {shown(against)}",
            highlight=False,
            soft_wrap=True,
        )
        for note in one["notes"]:
            stdout.print(f"  [yellow]{note}[/]", highlight=False, soft_wrap=True)
    stdout.print(f"{len(found)} objections", highlight=False)
