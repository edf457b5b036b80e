"""Defines the database tables of people who sign in to the pages.

    session     a browser in which somebody is signed in; a row may be lost at any time: they sign in again
    glass       for which patient somebody broke the glass, why, and who has looked at it since
    user_grant  who was given which role, in which department, by `fhir-coprod users grant`

Only `fhir_coprod.access` reads and writes them.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Table

from fhir_coprod.store.schema.columns import Long, Name, column, metadata

session = Table(
    "session",
    metadata,
    Column("hash", Name, primary_key=True),  # of what the cookie holds; that itself is nowhere here
    column("name", Name),  # issuer|subject
    column("shown", Name),  # what the pages call the person
    column("claimed", Name),  # roles, departments and patient by the provider's claims, in JSON
    column("began", Long),  # milliseconds
    column("proven", Long),  # when the person last proved who they are; 0: the provider does not say
    column("acr", Name),  # how they did
    column("used", Long),  # when a page was last asked for, to the minute
    column("ends", Long),  # when it ends unless a page is asked for
    column("acting", Name),  # which of several ways to act was chosen
    column("seal", Long),  # of all other columns but used, ends and acting
    Index(None, "name"),
    Index(None, "ends"),
)

user_grant = Table(
    "user_grant",
    metadata,
    Column("name", Name, primary_key=True),  # issuer|subject
    Column("role", Name, primary_key=True),
    Column("department", Name, primary_key=True),  # Organization/ID, or * for all
    column("since", Long),
    column("until", Long),  # 0: until it is taken back
)

glass = Table(
    "glass",
    metadata,
    Column("id", Name, primary_key=True),
    column("name", Name),  # issuer|subject
    column("shown", Name),  # what the pages call the person
    column("session", Name),  # the hash of the sign-in for which it holds
    column("patient", Name),
    column("reason", Name),  # a code of ActReason
    column("note", Name),  # in the person's words; never for a proxy
    column("began", Long),  # milliseconds
    column("ends", Long),
    column("reviewer", Name),  # "" while nobody has looked at it
    column("reviewed", Long),
    Index("glass_session_idx", "session"),
)
