"""Settings of what is remembered of calls, and for how long; and for how long records are kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fhir_coprod.accounts import Section


class AuditSettings(Section):
    """What is remembered of who was shown what."""

    on: bool | None = None
    """Whether every call is remembered. Left out: the calls of those who had to say who they are."""
    heads_file: Path | None = None
    """File outside the database to which the end of each chain is added, on another disk or machine if
    possible. Left out: beside the SQLite store; none with PostgreSQL."""
    syslog: bool = False
    """Whether the ends of the chains go to the system's log as well."""
    keep_years: int = Field(default=10, ge=5, le=100)
    """Years after which `fhir-coprod db retain` removes a month of the audit. Swedish law asks for five at
    least (HSLF-FS 2016:40, chapter 4, section 9)."""


class RetentionSettings(Section):
    """How long records have to be kept."""

    clinical_years: int = Field(default=10, ge=0, le=150)
    """Years after the last entry about a patient in which `fhir-coprod patient erase` asks for a reason.
    Swedish law has medical records kept for ten at least (Patientdatalagen 2008:355, chapter 3, section
    17)."""
