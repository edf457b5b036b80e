"""Makes other people's text safe to print in a terminal."""

from __future__ import annotations

from rich.markup import escape

from fhir_coprod.errors import plain


def shown(text: str) -> str:
    """A text for Rich: its markup is escaped and control characters are removed."""
    return escape(plain(text))
