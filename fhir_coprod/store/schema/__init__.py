"""Defines every database table, on one MetaData: the store's own (`core`), and those of `audit`, `sync` and
`watch`.

The store creates and migrates all of them. Those of the others are read and written only by their owners.
"""

from typing import Final

from fhir_coprod.store.schema import audit, core, sync, watch
from fhir_coprod.store.schema.columns import metadata

REVISION: Final = "0019"
"""The newest migration; a database made from scratch is stamped with it (a test checks that they match)."""

__all__ = ["REVISION", "audit", "core", "metadata", "sync", "watch"]
