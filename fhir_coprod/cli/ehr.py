"""`fhir-coprod ehr`: what the EHRs of the settings can do, pauses, and the keys by which we sign in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import (
    ehrs,
    existing_store,
    is_missing,
    print_json,
    say,
    settings,
    stderr,
    stdout,
)
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.errors import ConfigError, EhrError, plain
from fhir_coprod.terminal import shown

if TYPE_CHECKING:  # loading the store and the HTTP stack takes time that other commands need not spend
    from fhir_coprod.settings import EhrSettings, Settings
    from fhir_coprod.sync.ehr.keys import Key
    from fhir_coprod.sync.ehr.plan import EhrPlan
    from fhir_coprod.sync.pauses import Pause
    from fhir_coprod.watch.facts.habits import Habit

app = new_app("The EHRs in the settings.")


# --- check ----------------------------------------------------------------------------------------


@app.command("check")
def check_command(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="One EHR; all when none is named.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask the EHRs what they can do; show how each type will be read, and what is known of it so far.

    Exit code 1: one of them cannot be read, or the settings name what it does not have.
    """
    from fhir_coprod.sync.engine import check

    plans: list[EhrPlan | EhrError | ConfigError] = []
    site = settings(context, config)
    chosen = ehrs(site, name)
    known, paused = _known(site)
    learned = _learned(site)
    for ehr in chosen:
        try:
            plans.append(check(ehr))
        except (EhrError, ConfigError) as error:
            plans.append(error)
    if as_json:
        print_json(
            [
                {"ehr": ehr.name, "url": ehr.url, "error": plan.message}
                if isinstance(plan, EhrError | ConfigError)
                else {**plan.to_json(), "feeds": known.get(ehr.name, {})}
                | _paused(paused.get(ehr.name))
                | _practice(learned.get(ehr.name, ()))
                for ehr, plan in zip(chosen, plans, strict=True)
            ]
        )
    else:
        for ehr, plan in zip(chosen, plans, strict=True):
            if isinstance(plan, EhrError | ConfigError):
                stderr.print(shown(plan.message), style="red", soft_wrap=True, highlight=False)
            else:
                _print_plan(plan, known.get(ehr.name, {}))
            if ehr.name in paused:
                words = paused[ehr.name].words(site.site.zone)
                say(f"{ehr.name}: {words}; sync leaves it out", style="yellow")
            if not isinstance(plan, EhrError | ConfigError):
                for each in learned.get(plan.ehr, ()):
                    stdout.print(shown(f"{each.use}: {each.sentence}"), highlight=False)
    if any(isinstance(plan, EhrError | ConfigError) or plan.wrong for plan in plans):
        raise typer.Exit(1)


def _known(site: Settings) -> tuple[dict[str, dict[str, str]], Mapping[str, Pause]]:
    """EHR → type → what the last sync could see of it, in words; and the EHRs that are paused. Empty if there
    has been no sync."""
    from fhir_coprod.instants import now
    from fhir_coprod.store import Store
    from fhir_coprod.sync.pauses import pauses
    from fhir_coprod.sync.staging.feed import feeds

    if is_missing(site):
        return {}, {}
    found: dict[str, dict[str, str]] = {}
    with Store.open(site.store.url) as store, store.connect() as connection:
        for row in feeds(connection):
            found.setdefault(row.ehr, {})[row.type] = row.words
        return found, pauses(connection, now())


def _paused(pause: Pause | None) -> dict[str, object]:
    return {"paused": pause.to_json()} if pause else {}


def _practice(learned: Sequence[Habit]) -> dict[str, object]:
    return {"practice": [each.to_json() for each in learned]} if learned else {}


def _learned(site: Settings) -> dict[str, list[Habit]]:
    """What the watch has learned of each EHR: which steps of referrals are recorded there."""
    from fhir_coprod.watch.facts.habits import habits

    found: dict[str, list[Habit]] = {}
    if not is_missing(site):
        with existing_store(site) as store, store.connect() as connection:
            for each in habits(connection):
                found.setdefault(each.ehr, []).append(each)
    return found


def _print_plan(plan: EhrPlan, known: Mapping[str, str]) -> None:
    vendor = f" · deviations of {plan.vendor_name}" if plan.vendor_name else ""
    title = shown(f"{plan.ehr}: {plan.software}, FHIR {plan.fhir_version}{vendor}")
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("type", "changes found by", "offers to take", "why", *(["known so far"] if known else [])):
        table.add_column(column)
    for row in plan.types:
        found = shown(row.find) if row.observable else "[red]cannot be seen[/red]"
        so_far = [shown(known.get(row.type, "") if row.observable else "")] if known else []
        table.add_row(row.type, found, ", ".join(row.write) or "·", shown(row.reason), *so_far)
    stdout.print(table)
    if plan.access:
        stdout.print(shown(f"signed in by {plan.access}"), highlight=False, soft_wrap=True)
    if plan.about_exports:
        stdout.print(shown(plan.about_exports), highlight=False, soft_wrap=True)
    for sentence in plan.wrong:
        stderr.print(f"{plan.ehr}: {plain(sentence)}", style="red", markup=False, soft_wrap=True)


# --- pause and resume -----------------------------------------------------------------------------


@app.command("pause")
def pause_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The EHR, by its name in the settings.")],
    until: Annotated[
        str, typer.Option(metavar="TIME", help="When it ends by itself: 2026-03-02, or with 09:00.")
    ] = "",
    because: Annotated[str, typer.Option(metavar="WORDS", help="Why: shown wherever it is left out.")] = "",
    config: ConfigOption = None,
) -> None:
    """Leave an EHR alone until it is resumed: no sync reads it, and none fails because of it.

    The watch goes by what it saw last for two days, and then claims nothing about that EHR. A sync that is
    reading it just now reads on to its end.
    """
    from fhir_coprod.cli.times import time_of
    from fhir_coprod.instants import now
    from fhir_coprod.store import Store
    from fhir_coprod.sync import pauses

    site = settings(context, config)
    (ehr,) = ehrs(site, name)
    at = now()
    end = time_of(until, site.site.zone) if until else None
    if end is not None and end <= at:
        raise ConfigError(f"{until!r} is over; name a time to come, or leave --until away.")
    with Store.open(site.store.url) as store:
        made = pauses.pause(store, ehr.name, end, plain(because), at)
    stdout.print(shown(f"{ehr.name}: {made.words(site.site.zone)}"), highlight=False, soft_wrap=True)


@app.command("resume")
def resume_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The EHR, by its name in the settings.")],
    config: ConfigOption = None,
) -> None:
    """Read a paused EHR again, from the next sync on."""
    from fhir_coprod.instants import now
    from fhir_coprod.sync import pauses

    site = settings(context, config)
    (ehr,) = ehrs(site, name)
    with existing_store(site) as store:
        ended = pauses.resume(store, ehr.name, now())
    words = f"was {ended.words(site.site.zone)}; the next sync reads it" if ended else "was not paused"
    stdout.print(shown(f"{ehr.name}: {words}"), highlight=False, soft_wrap=True)


# --- keys -----------------------------------------------------------------------------------------


@app.command("keys")
def keys_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The EHR, by its name in the settings.")],
    algorithm: Annotated[
        str, typer.Option(help="RS384 (RSA) or ES384 (elliptic curve), for a new key.", metavar="ALG")
    ] = "RS384",
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help="Add a new key. The old one is used until the EHR knows the new one."),
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Keep only the newest key, once the EHR knows it.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make the key pair by which an EHR knows us (SMART Backend Services); print what its registration asks.

    If there is one, nothing is made, and the same is printed again.
    """
    from fhir_coprod.accounts import SmartBackendAuth
    from fhir_coprod.sync.ehr import keys

    (ehr,) = ehrs(settings(context, config), name)
    if algorithm not in ("RS384", "ES384"):
        raise ConfigError(f"{algorithm!r} is no algorithm of SMART Backend Services; write RS384 or ES384.")
    if rotate and drop_old:
        raise ConfigError("--drop-old comes after --rotate, as soon as the EHR has registered the new key.")
    auth = ehr.auth if isinstance(ehr.auth, SmartBackendAuth) else None
    if auth and auth.key_env and not auth.key_file:
        raise ConfigError(f"ehr {name}: its key is in {auth.key_env}; name a key_file to have one made.")
    file = (auth.key_file if auth else None) or keys.default_file(name)
    try:
        text = file.read_text() if file.exists() else ""
        held = keys.read(text, f"ehr {name}: the key file {file}") if text else []
        if rotate and len(held) > 1:
            raise ConfigError(
                f"ehr {name}: {file} holds a new key and an old one already. Once the EHR knows the new one, "
                "say --drop-old; then rotate again."
            )
        wanted = held[:1] if drop_old else held
        if rotate or not held:
            wanted = [keys.new("RS384" if algorithm == "RS384" else "ES384"), *held]
        if wanted != held:
            keys.write(file, wanted, as_jwks=text.lstrip().startswith("{"))
        public = keys.publish(file, wanted)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "") or "it is no text"
        raise ConfigError(f"{file} cannot be read or written ({reason}); name another key_file.") from None
    registration = _registration(ehr, file, public, wanted)
    if as_json:
        print_json(registration)
    else:
        _print_registration(ehr, registration, is_new=wanted[:1] != held[:1])


def _registration(ehr: EhrSettings, file: Path, public: Path, held: Sequence[Key]) -> dict[str, object]:
    """What an EHR asks for when a program is registered."""
    from fhir_coprod.accounts import SmartBackendAuth
    from fhir_coprod.sync.ehr import keys, oauth
    from fhir_coprod.watched import PULLED

    said = ehr.auth.scope if isinstance(ehr.auth, SmartBackendAuth) else None
    scope = oauth.scope(oauth.Server(""), ehr.types or PULLED) if said is None else said
    return {
        "ehr": ehr.name,
        "privateKeys": str(file),
        "jwkSet": str(public),
        "keyIds": [keys.key_id(key) for key in held],
        "algorithms": [keys.algorithm(key) for key in held],
        "application": "backend system, without a user and without a redirect URI",
        "grantType": "client_credentials",
        "clientAuthentication": "private_key_jwt",
        "scopes": scope.split(),
    }


_WORDS = {
    "privateKeys": "private key",
    "jwkSet": "public key (JWK Set)",
    "keyIds": "key id",
    "algorithms": "algorithm",
    "application": "kind of application",
    "grantType": "grant type",
    "clientAuthentication": "client authentication",
    "scopes": "scopes",
}


def _print_registration(ehr: EhrSettings, registration: Mapping[str, object], *, is_new: bool) -> None:
    title = f"{ehr.name}: {'a new key' if is_new else 'its key'}, and what the EHR's registration asks for"
    table = Table(title=shown(title), title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, words in _WORDS.items():
        value = registration[key]
        table.add_row(words, shown(" ".join(value) if isinstance(value, list) else str(value)))
    stdout.print(table)
    key_file = registration["privateKeys"]
    for line in (
        "Keep the private key to yourself; the JWK Set is public. Upload it, or put it on a web server where",
        "the EHR can fetch it, and give its address (Epic: JWK Set URL). Then, with the client id you get:",
        f'  auth = {{ type = "smart-backend", client_id = "…", key_file = "{key_file}" }}',
        f"and see what the EHR says: fhir-coprod ehr check {ehr.name}",
    ):
        stdout.print(shown(line), highlight=False, soft_wrap=True)
