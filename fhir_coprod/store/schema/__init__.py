"""Defines every database table, on one MetaData: the store's own (`core`), of `sync`, `watch`, `sign_in`.

The store creates and migrates all of them. The tables of `sync` and `watch` are read and written only there,
those of `sign_in` in `fhir_coprod.access`.
"""

from typing import Final

from fhir_coprod.store.schema import core, sign_in, sync, watch
from fhir_coprod.store.schema.columns import metadata

REVISION: Final = "0021"
"""The newest migration; a database made from scratch is stamped with it (a test checks that they match)."""

__all__ = ["REVISION", "core", "metadata", "sign_in", "sync", "watch"]
