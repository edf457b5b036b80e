"""The page of patients that may be the same person, with both records side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from fhir_coprod.errors import BadRequest, NotFound
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import people
from fhir_coprod.sync.people import InDoubt
from fhir_coprod.web.letters import environment
from fhir_coprod.web.visitor import ANYBODY, SignInAgain, Visitor

MOST = 200
"""Pairs on one page; the rest is told by its number and shown by the command."""


def page(
    store: Store, visitor: Visitor = ANYBODY, problem: str = "", said: tuple[str, str] = ("", "")
) -> str:
    """The pairs of which the visitor may see both records.

    said: a pair and a word on it that were chosen before, to be confirmed
    """
    _only_staff(visitor)
    with store.connect() as connection:
        found = people.in_doubt(connection, most=MOST)
        more = people.how_many(connection) - len(found)
    if visitor.session is not None:
        found, more = shown(store, visitor, found), more if visitor.is_everywhere else 0
    return (
        environment()
        .get_template("people.html")
        .render(pairs=found, more=more, problem=problem, visitor=visitor, said=said)
    )


def shown(store: Store, visitor: Visitor, pairs: Sequence[InDoubt]) -> list[InDoubt]:
    """Those of the pairs of which the visitor may see both patients."""
    both = {pair.id: {f"Patient/{side.patient}" for side in pair.sides if side.patient} for pair in pairs}
    seen = visitor.sees(store, {name for names in both.values() for name in names})
    return [pair for pair in pairs if both[pair.id] and both[pair.id] <= seen]


def decide(store: Store, settings: Settings, form: dict[str, str], visitor: Visitor, now: datetime) -> None:
    """What the form of one pair says. Raises what `people.decide` does, and SignInAgain unless the visitor
    proved who they are just now."""
    _only_staff(visitor)
    visitor.need("u", "Patient")
    pair, word = form.get("pair", ""), form.get("word", "")
    if word not in ("same", "different"):
        raise BadRequest("Say whether they are the same person, or different ones.")
    if visitor.session is not None:
        with store.connect() as connection:
            named = [each for each in people.in_doubt(connection, most=MOST) if each.id == pair]
        if not shown(store, visitor, named):
            raise NotFound(f"There is no pair {pair[:40]}.")
    if not visitor.is_recent(settings, now):
        raise SignInAgain(
            "Patients are joined, or kept apart, in your name.",
            f"/people?{urlencode({'pair': pair, 'word': word})}#pair-{pair}",
        )
    by = visitor.name or form.get("by", "")
    people.decide(store, settings, [pair], "same" if word == "same" else "different", by)


def _only_staff(visitor: Visitor) -> None:
    if visitor.is_patient:
        raise NotFound("There is no such page.")
