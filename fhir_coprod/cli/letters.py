"""`fhir-coprod alerts letter` and `alerts release`: draft letters to patients, record that they went out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fhir_coprod.cli.common import existing_store, print_json, settings, stderr
from fhir_coprod.cli.options import AlertArgument, ByOption, ConfigOption, JsonOption
from fhir_coprod.errors import plain

if TYPE_CHECKING:  # the watch takes a second to load, which a command's help need not spend
    from fhir_coprod.settings import Settings
    from fhir_coprod.store import Store

AboutOption = Annotated[
    str, typer.Option(help="Which stall or event, such as unscheduled; without it the gravest.")
]
LanguageOption = Annotated[
    str, typer.Option(help="Such as sv; without it the one that the patient prefers, else English.")
]


def _referral_of(store: Store, site: Settings, alert: str) -> str:
    """The referral that an alert is about."""
    from fhir_coprod.watch.worklist import desk

    task, _ = desk.find(store, site, alert)
    row = desk.as_json(task)
    if row["ehr_down"]:
        raise typer.BadParameter("this alert is about an EHR: there is no patient to write to.")
    return str(row["referral"])


def _printable(text: str) -> str:
    return "\n".join(plain(line) for line in text.split("\n"))


def letter(
    context: typer.Context,
    alert: AlertArgument,
    config: ConfigOption = None,
    language: LanguageOption = "",
    about: AboutOption = "",
    format: Annotated[
        Literal["text", "html"], typer.Option(help="html: a page of its own that prints on A4.")
    ] = "text",
    json: JsonOption = False,
) -> None:
    """A draft to the patient in plain words, for a person to read and send; sends and stores nothing.

    --json prints it as a Communication in preparation.
    """
    if json and format == "html":
        raise typer.BadParameter("--json prints a Communication, --format html a page; choose one of them.")
    from fhir_coprod.watch.letters import drafts, sender
    from fhir_coprod.watch.live.look import look_at
    from fhir_coprod.watch.rules import policies
    from fhir_coprod.watch.worklist import release
    from fhir_coprod.web.referral import letter_file

    site = settings(context, config)
    policy = policies.load(site.watch.policy, site.site)
    now = datetime.now(UTC)
    with existing_store(site) as store:
        standing = look_at(store, _referral_of(store, site, alert), policy, now, site)
        chosen = release.chosen_language(store, site, standing, language)
        known_of = sender.particulars(store, site, standing, now)
        page = letter_file(store, site, standing, chosen, about, now) if format == "html" else ""
    if standing.do_not_contact:
        stderr.print(
            "The patient asked not to be contacted: talk it over before anything is sent.", style="yellow"
        )
    if json:
        print_json(drafts.communication(standing, chosen, about, known_of=known_of))
    else:
        typer.echo(page or _printable(drafts.signed(standing, chosen, about, known_of)))


def release_letter(
    context: typer.Context,
    alert: AlertArgument,
    by: ByOption,
    config: ConfigOption = None,
    language: LanguageOption = "",
    about: AboutOption = "",
    to: Annotated[
        str, typer.Option(help="A relative in the patient's place, such as RelatedPerson/123.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Say that you have read the letter and that it goes to the patient now; recorded under your name.

    Nothing is sent from here: you print it, post it or hand it over.
    """
    from fhir_coprod.watch.live.look import look_at
    from fhir_coprod.watch.rules import policies
    from fhir_coprod.watch.worklist import release

    site = settings(context, config)
    policy = policies.load(site.watch.policy, site.site)
    now = datetime.now(UTC)
    with existing_store(site) as store:
        referral = _referral_of(store, site, alert)
        standing = look_at(store, referral, policy, now, site)
        chosen = release.chosen_language(store, site, standing, language)
        sent = release.release(store, site, policy, referral, by, now, language=chosen, about=about, to=to)
    if json:
        print_json(sent)
    else:
        stderr.print(f"Recorded as told: Communication/{plain(sent['id'])}.", highlight=False, soft_wrap=True)
