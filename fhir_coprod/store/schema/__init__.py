"""Defines every database table, on one MetaData: the store's own (`core`), and those of other floors.

The store creates and migrates all of them. The tables of `sync` and `watch` are read and written only there,
those of `programs` and `sign_in` in `fhir_coprod.access`, those of `audit` in `fhir_coprod.audit`. Those of
`erased` are written by `fhir_coprod.store.erasing` and `fhir_coprod.sync.staging.erased`.
"""

from typing import Final

from fhir_coprod.store.schema import audit, core, erased, programs, sign_in, sync, watch
from fhir_coprod.store.schema.columns import metadata

REVISION: Final = "0022"
"""The newest migration; a database made from scratch is stamped with it (a test checks that they match)."""

__all__ = ["REVISION", "audit", "core", "erased", "metadata", "programs", "sign_in", "sync", "watch"]
