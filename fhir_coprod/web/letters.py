"""Letters to patients as HTML: for a page, or as a file of its own that prints on A4."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from fhir_coprod.errors import plain
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.letters.drafts import Draft
from fhir_coprod.web.dates import clock, day
from fhir_coprod.web.visitor import ANYBODY, Visitor

STYLE = resources.files("fhir_coprod.web").joinpath("static", "letter.css")


@dataclass(frozen=True, slots=True)
class DeskSide:
    """What staff see above a letter; it is not printed."""

    here: str
    back: str
    subjects: tuple[tuple[str, str], ...]
    """Each thing to tell the patient: its code, and words for staff."""
    languages: tuple[str, ...]
    notice: str = ""
    """About the patient's language."""
    silent: bool = False
    sent: str = ""
    """When the same letter went out already, and who released it."""
    refused: str = ""
    """The day on which a message was last not sent because the patient objected to it."""
    problem: str = ""
    visitor: Visitor = ANYBODY
    recent: bool = True
    """Whether the visitor proved who they are just now: else they have to before they release it."""


@cache
def environment() -> jinja2.Environment:
    """The templates of the pages."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("fhir_coprod.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_controls,
    )
    templates.filters |= {"day": day, "moment": clock, "commands": _commands}
    return templates


def _commands(text: str) -> Markup:
    """Our own sentences put what a reader has to type between backticks; show it as code."""
    parts = _TYPED.split(text)
    words = (
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)
    )
    return Markup("").join(words)


_TYPED = re.compile("`([^`]+)`")


def _without_controls(value: object) -> object:
    """Text from records without control characters; lines of an address stay lines."""
    if type(value) is not str:
        return value
    return "\n".join(plain(line, "") for line in value.split("\n"))


def letter(draft: Draft, to: str, referral: str, desk: DeskSide | None = None) -> str:
    """The letter as HTML; without `desk` a complete file that needs nothing else.

    to:       the patient's name, as written on the envelope.
    referral: ServiceRequest/id; the beginning of the id is printed as the letter's reference.
    """
    style = "" if desk else STYLE.read_text()
    return (
        environment()
        .get_template("letter.html")
        .render(letter=draft, to=to, reference=referral.partition("/")[2][:8], desk=desk, style=style)
    )


def addressee(patient: Json) -> str:
    """A patient's name in full: the official one if there are several; "" when there is none."""
    names = patient.get("name") or []
    for name in sorted(names, key=lambda name: name.get("use") != "official"):
        text = name.get("text") or " ".join([*name.get("given", []), name.get("family", "")]).strip()
        if text:
            return str(text)
    return ""
