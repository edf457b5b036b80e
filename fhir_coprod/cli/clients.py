"""`fhir-coprod clients`: the programs that may call, by SMART Backend Services."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fhir_coprod.cli.commands import new_app
from fhir_coprod.cli.common import existing_store, print_json, settings, stderr, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.errors import BadRequest, ConfigError
from fhir_coprod.terminal import shown

app = new_app("Programs that may call: each signs in with its own key and gets tokens of five minutes.")

NameArgument = Annotated[str, typer.Argument(help="The client_id that the program says it is.")]


@app.command("add")
def add(
    context: typer.Context,
    name: NameArgument,
    jwks: Annotated[
        str,
        typer.Option(
            "--jwks",
            metavar="URL|FILE",
            help="Its public keys (JWK Set): a file, which is copied, or the https address where they are.",
        ),
    ],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope", help="What it may ask for, such as system/ServiceRequest.rs; several are fine."
        ),
    ],
    per_minute: Annotated[
        int,
        typer.Option(
            help="Requests that it may send in a minute; 0: as the settings say.", min=0, max=10_000_000
        ),
    ] = 0,
    config: ConfigOption = None,
) -> None:
    """Let a program call. From the first one on, everybody has to say who they are."""
    from fhir_coprod.access import clients
    from fhir_coprod.instants import now
    from fhir_coprod.store import Store

    chosen = settings(context, config)
    scopes = [one for text in scope for one in text.split()]
    url, kept = _keys(jwks)
    with Store.open(chosen.store.url) as store:
        is_first = not store.setting(clients.CHANGED)
        clients.add(store, name, scopes, jwks_url=url, jwks=kept, per_minute=per_minute, now=now())
    stdout.print(f"{shown(name)} may call now.", highlight=False, soft_wrap=True)
    if is_first and chosen.access.required is None:
        stderr.print(
            "From now on every caller needs a token, also on this machine (access.required).",
            highlight=False,
            soft_wrap=True,
        )


def _keys(jwks: str) -> tuple[str, str]:
    """The address of a JWK Set, or its text if it is a file; the other is "". Raises CoprodError."""
    from fhir_coprod.access import fetched
    from fhir_coprod.access.public_keys import as_text, read_keys

    if "://" in jwks:
        fetched.require(jwks, f"--jwks {jwks}")
        return jwks, ""
    try:
        text = Path(jwks).read_bytes()
    except OSError as error:
        raise ConfigError(f"--jwks {jwks}: the file cannot be read ({error.strerror}).") from None
    read_keys(text, f"--jwks {jwks}")
    return "", as_text(text)


@app.command("list")
def list_(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """The programs that may call, with what each may ask for.

    Exit code 1: a row of the store is not as it was written; that client may do nothing.
    """
    from fhir_coprod.access import clients

    with existing_store(settings(context, config)) as store, store.connect() as connection:
        found = clients.clients(connection)
        damaged = clients.damaged(connection)
    if as_json:
        print_json([one.to_json() for one in found.values()])
    else:
        table = Table(box=None, pad_edge=False)
        for title in ("client", "keys", "scopes", "since"):
            table.add_column(title, overflow="fold")
        for one in found.values():
            row = one.to_json()
            keys = one.jwks_url or ", ".join(row["keys"])
            table.add_row(shown(one.name), shown(keys), shown("\n".join(row["scopes"])), row["since"][:10])
        stdout.print(table if found else "no program may call")
    for name in damaged:
        stderr.print(
            f"The row of {shown(name)} is not as it was written: remove it, and add it again.",
            style="red",
            soft_wrap=True,
        )
    if damaged:
        raise typer.Exit(1)


@app.command("remove")
def remove(context: typer.Context, name: NameArgument, config: ConfigOption = None) -> None:
    """No longer let a program call; the tokens that it has end within seconds."""
    from fhir_coprod.access import clients

    if not name:
        raise BadRequest("Name the client; see fhir-coprod clients list.")
    with existing_store(settings(context, config)) as store:
        clients.remove(store, name)
    stdout.print(f"{shown(name)} may not call any more.", highlight=False, soft_wrap=True)
