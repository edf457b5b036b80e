"""`fhir-coprod serve`: the FHIR endpoint and the pages, with the jobs beside them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

import typer

from fhir_coprod.cli.common import settings, stderr
from fhir_coprod.cli.options import ConfigOption


def serve(
    context: typer.Context,
    config: ConfigOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback once callers need tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    workers: Annotated[
        int, typer.Option(help="Processes; more than one needs PostgreSQL.", min=1, max=64)
    ] = 1,
    with_jobs: Annotated[
        bool,
        typer.Option("--jobs/--no-jobs", help="Watch and sync too, in a process beside it; or do not."),
    ] = True,
) -> None:
    """Serve the FHIR endpoint under /fhir and the pages at /; watch and sync meanwhile."""
    chosen = settings(context, config)  # what is wrong with them is said before the web stack is loaded
    from fhir_coprod import jobs, trimming
    from fhir_coprod.api import server

    trimming.share_heaps()
    server.require_safe(host, chosen)
    jobs.require_files(chosen)
    with server.listen(host, port) as listener:
        address = server.address(listener, "https" if chosen.tls.certificate_file else "http")

        def announce() -> None:
            # The first line is read by programs that start this one: a plain line, never wrapped or coloured.
            typer.echo(f"listening on {address}/fhir")
            is_required = server.is_required(chosen)
            who = "callers need a token" if is_required else "loopback only: nobody has to say who they are"
            stderr.print(
                f"pages on {address}/ · {who} · Ctrl-C stops",
                soft_wrap=True,
            )

        with jobs.beside(chosen) if with_jobs else nullcontext(lambda: None) as end_jobs:
            server.run(chosen, listener, workers, announce, on_stop=end_jobs)
