"""Shares, numbers and tables as the page writes them."""

from __future__ import annotations

from collections.abc import Sequence


def share(interval: Sequence[float]) -> str:
    """A share with its confidence interval, in percent."""
    found, low, high = interval
    if found != found:
        return "–"
    return f"{100 * found:.1f} % ({100 * low:.1f}–{100 * high:.1f})"


def number(count: int) -> str:
    return f"{count:,}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
