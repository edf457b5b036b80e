"""`fhir-coprod worker`: watch and sync without the endpoint."""

from __future__ import annotations

import typer

from fhir_coprod.cli.common import settings
from fhir_coprod.cli.options import ConfigOption


def worker(context: typer.Context, config: ConfigOption = None) -> None:
    """Watch the referrals and sync the EHRs, until it is stopped (SIGTERM, Ctrl-C).

    Any number of workers may share a store, on one machine (SQLite) or many (PostgreSQL): one works, and
    another takes over when it is gone. Each event is one line on stderr.
    """
    from fhir_coprod import jobs

    jobs.work(settings(context, config))
