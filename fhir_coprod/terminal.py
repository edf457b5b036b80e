"""What somebody else said, as a terminal can bear it."""

from __future__ import annotations

from rich.markup import escape

from fhir_coprod.errors import plain


def shown(text: str) -> str:
    """For a place where Rich's own markup is understood: no markup, and no control characters."""
    return escape(plain(text))
