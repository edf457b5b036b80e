"""The FHIR endpoint over HTTP: `create_app(store, settings)`."""

from __future__ import annotations

from fhir_coprod.api.app import create_app

__all__ = ["create_app"]
