"""Every table, on one MetaData: the store's own (`core`), and those of `sync` and `watch`, each in its file.

The store makes and migrates all of them. The rows of a floor's tables are that floor's own affair.
"""

from typing import Final

from fhir_coprod.store.schema import core, sync, watch
from fhir_coprod.store.schema.columns import metadata

REVISION: Final = "0003"
"""The newest migration; a database made from scratch is stamped with it (a test keeps both the same)."""

__all__ = ["REVISION", "core", "metadata", "sync", "watch"]
