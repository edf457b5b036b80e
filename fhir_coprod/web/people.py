"""The page of patients that may be the same person, with both records side by side."""

from __future__ import annotations

from fhir_coprod.errors import BadRequest
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import people
from fhir_coprod.web.letters import environment

MOST = 200
"""Pairs on one page; the rest is told by its number and shown by the command."""


def page(store: Store, problem: str = "") -> str:
    with store.connect() as connection:
        found = people.in_doubt(connection, most=MOST)
        more = people.how_many(connection) - len(found)
    return environment().get_template("people.html").render(pairs=found, more=more, problem=problem)


def decide(store: Store, settings: Settings, form: dict[str, str]) -> None:
    """What the form of one pair says. Raises what `people.decide` does."""
    word = form.get("word", "")
    if word not in ("same", "different"):
        raise BadRequest("Say whether they are the same person, or different ones.")
    people.decide(
        store, settings, [form.get("pair", "")], "same" if word == "same" else "different", form.get("by", "")
    )
