"""Defines every database table, on one MetaData: the store's own (`core`), and those of `sync`, `watch` and
`programs` (`fhir_coprod.access`).

The store creates and migrates all of them. The tables of the others are read and written only there.
"""

from typing import Final

from fhir_coprod.store.schema import core, programs, sync, watch
from fhir_coprod.store.schema.columns import metadata

REVISION: Final = "0017"
"""The newest migration; a database made from scratch is stamped with it (a test checks that they match)."""

__all__ = ["REVISION", "core", "metadata", "programs", "sync", "watch"]
