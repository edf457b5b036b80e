"""The log of what runs by itself: one line an event on stderr, without personal data."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog

Format = Literal["text", "json"]


def _stamped() -> list[Any]:
    return [structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.add_log_level]


def _json() -> Any:
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def logger(format: Format = "text") -> Any:
    """A logger whose lines are `timestamp=… level=… event=…`, or JSON objects with the same keys."""
    in_text = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    structlog.configure(
        processors=[*_stamped(), _json() if format == "json" else in_text],
        # Looked up for each line: the stderr of the time when the logger was made may be closed by now.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    return structlog.get_logger("fhir_coprod")


def adopt(format: Format) -> None:
    """Make JSON objects of the endpoint's own lines, too, which are plain sentences as text."""
    if format == "text":
        return
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_stamped(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _json()],
        )
    )
    logging.getLogger("fhir_coprod").handlers = [handler]
