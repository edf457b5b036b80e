"""Defines the database tables of programs that may call (`fhir_coprod.access`).

client          programs that were registered, and what each may ask for
signing_key     public halves of the keys by which our own access tokens are signed: each machine has a
                private key of its own, and checks the tokens of the others by these
used_assertion  assertions that were taken, so that none is taken twice; a row lives for minutes, until its
                assertion has ended
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Table

from fhir_coprod.store.schema.columns import Long, Name, column, metadata

client = Table(
    "client",
    metadata,
    Column("name", Name, primary_key=True),
    column("scopes", Name),  # with blanks between them
    column("jwks_url", Name),  # empty: `jwks` is what was given
    column("jwks", Name),  # a JWK Set; empty: it is at `jwks_url`
    column("per_minute", Long),  # requests; 0: as the settings say
    column("since", Long),  # when it was registered; milliseconds
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", Name, primary_key=True),
    column("jwk", Name),
    column("until", Long),  # when no token is taken any more that it signed; milliseconds
)

used_assertion = Table(
    "used_assertion",
    metadata,
    Column("hash", Name, primary_key=True),  # SHA-256 of the client's name and the assertion's jti
    column("until", Long),  # milliseconds
    Index("used_assertion_until_idx", "until"),
)
