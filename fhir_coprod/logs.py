"""The log of what runs by itself: one line an event on stderr, without personal data."""

from __future__ import annotations

import sys
from typing import Any, Literal

import structlog

Format = Literal["text", "json"]


def logger(format: Format = "text") -> Any:
    """A logger whose lines are `timestamp=… level=… event=…`, or JSON objects with the same keys."""
    rendered: Any = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    if format == "json":
        rendered = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            rendered,
        ],
        # Looked up for each line: the stderr of the time when the logger was made may be closed by now.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    return structlog.get_logger("fhir_coprod")
