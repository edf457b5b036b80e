"""The page on which somebody of the staff breaks the glass for one patient, and closes it again."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fhir_coprod.access import glass
from fhir_coprod.errors import BadRequest, NotFound
from fhir_coprod.settings import Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.web.letters import environment
from fhir_coprod.web.visitor import ANYBODY, SignInAgain, Visitor

PATH: Final = "/glass"
MOST: Final = 50
"""Referrals of the patient that are listed."""


def page(store: Store, visitor: Visitor = ANYBODY, problem: str = "") -> str:
    """The form; while the glass is broken, the referrals of the patient, and how to close it."""
    _only_staff(visitor)
    return (
        environment()
        .get_template("glass.html")
        .render(
            visitor=visitor,
            problem=problem,
            reasons=glass.REASONS,
            minutes=glass.MINUTES,
            referrals=_referrals(store, visitor) if visitor.rights.glass else [],
        )
    )


def act(store: Store, settings: Settings, form: dict[str, str], visitor: Visitor, now: datetime) -> None:
    """What the form says. Raises what `glass.begin` does, and SignInAgain unless the visitor proved who they
    are just now."""
    _only_staff(visitor)
    assert visitor.session is not None
    if form.get("close"):
        glass.end(store, visitor.session, now)
        return
    if form.get("sure") != "yes":
        raise BadRequest("Confirm that you need this record now, and that it will be reviewed.")
    if not visitor.is_recent(settings, now):
        raise SignInAgain("The glass is broken in your name.", PATH)
    patient = glass.find(store, form.get("system", "").strip(), form.get("value", "").strip())
    reason, note = form.get("reason", ""), form.get("note", "")
    glass.begin(store, visitor.rights, visitor.session, patient, reason, note, now)


def _referrals(store: Store, visitor: Visitor) -> list[str]:
    pairs = [("subject", f"Patient/{visitor.rights.glass}"), ("_count", str(MOST))]
    found = [version.reference for version in store.search(Query.parse("ServiceRequest", pairs)).matches]
    seen = visitor.sees(store, found)
    return [name for name in found if name in seen]


def _only_staff(visitor: Visitor) -> None:
    if visitor.session is None or visitor.rights.kind != "person":
        raise NotFound("There is no such page.")
