"""The page that a person reads of a patient's copy: what there is, and in which file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from fhir_coprod.jsontext import Json

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}"
)


class Look(NamedTuple):
    """One look at the record: when, by which unit or program, and what it did."""

    at: str
    who: str
    did: str


class Entry(NamedTuple):
    """One resource in a line: when, of what type, about what, and its status; each may be empty."""

    at: str
    type: str
    what: str
    status: str


_WHEN = (
    *("authoredOn", "effectiveDateTime", "sent", "recordedDate", "date", "issued", "start", "created"),
    *("onsetDateTime", "performedDateTime", "occurrenceDateTime", "identifiedDateTime"),
)
_WHAT = ("code", "vaccineCode", "medicationCodeableConcept", "category", "type")


def entry(data: Json) -> Entry:
    """A resource in a line, as far as it says so where most do."""
    at = next((value for name in _WHEN if isinstance(value := data.get(name), str)), "")
    told = [value for name in ("title", "description") if isinstance(value := data.get(name), str)]
    told += [text for name in _WHAT if (text := _words(data.get(name)))]
    status = data.get("status")
    return Entry(at, str(data.get("resourceType", "")), told[0] if told else "", _words(status))


def _words(value: Any) -> str:
    """The words of a text, a CodeableConcept, or a list of them; "" if there are none."""
    if isinstance(value, list):
        return _words(value[0]) if value else ""
    if isinstance(value, dict):
        codings = value.get("coding")
        return _words(value.get("text")) or _words(value.get("display")) or _words(codings)
    return value if isinstance(value, str) else ""


class Contents(NamedTuple):
    """What the page tells.

    resources: type → how many, and how many versions of them
    first:     references of what a person has to look at before the copy is handed over
    shared:    references of what is about others too, and is left out
    held:      table of the sync → how many rows
    entries:   the resources as they are now
    """

    name: str
    made: str
    resources: Mapping[str, tuple[int, int]]
    first: Sequence[str]
    shared: Sequence[str]
    held: Mapping[str, int]
    entries: Sequence[Entry]
    looks: Sequence[Look]


def page(told: Contents) -> str:
    """The page, in HTML without scripts or addresses elsewhere."""
    kinds = [
        (f'<a href="resources/{type}.ndjson">{type}</a>', str(count), str(versions))
        for type, (count, versions) in sorted(told.resources.items())
    ]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Copy of a record</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>Everything that is held about {escape(told.name)}</h1>",
        f"<p>Made {escape(told.made)}. The files hold one FHIR R4 resource (JSON) on each line.</p>",
    ]
    if told.first or told.shared:
        parts += [
            "<h2>Before it is handed over</h2>",
            "<p>Somebody of the staff looks at these: they have a label that keeps them from the patient, or"
            " from everybody but a few, or they are about others too and are not in the copy.</p>",
            _list([*told.first, *(f"{one} (left out)" for one in told.shared)]),
        ]
    parts += [
        "<h2>The record</h2>",
        "<p>Referrals, alerts (Task, DetectedIssue), letters (Communication), and the rest. In the folder"
        " <code>resources</code> as they are now, in <code>history</code> each version, in"
        " <code>received</code> as they came.</p>",
        _table(("type", "now", "versions"), kinds),
        "<h3>In short</h3>",
        _table(("when", "type", "what", "status"), [tuple(map(escape, one)) for one in sorted(told.entries)]),
        "<h2>What the sync holds</h2>",
        "<p>In <code>sync.ndjson</code>: each record as it came from its EHR, by what it is recognized, and"
        " what could not be taken in. In <code>standings.ndjson</code>: where each referral stands.</p>",
        _table(("table", "rows"), [(escape(name), str(count)) for name, count in sorted(told.held.items())]),
        "<h2>Who has read it</h2>",
        "<p>The newest 1,000; all are in <code>audit.ndjson</code>.</p>",
        _table(("when", "from", "what"), [tuple(map(escape, look)) for look in told.looks]),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are HTML already."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{name}</th>" for name in heads)
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else "<p>Nothing.</p>"
    )
