"""Builds the board of this moment from the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from fhir_coprod.settings import Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.sync import dead_letters, observed
from fhir_coprod.sync.merging.matches import CODES, POSSIBLE
from fhir_coprod.watch.facts.visibility import by_reason
from fhir_coprod.watch.live.present import behind, look
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Standing
from fhir_coprod.watch.worklist.apart import orders_apart
from fhir_coprod.watch.worklist.unwatched import what_cannot_be_watched
from fhir_coprod.web.board import Board, Case, compose
from fhir_coprod.web.visitor import ANYBODY, Visitor


def survey(store: Store, settings: Settings, now: datetime, visitor: Visitor = ANYBODY) -> Board:
    """Where every open referral stands at `now` that the visitor may see, by the site's policy; writes
    nothing."""
    policy = policies.load(settings.watch.policy, settings.site)
    standings = look(store, policy, now, settings)
    if visitor.session is not None:
        standings = shown(store, visitor, standings)
    if not visitor.is_everywhere:
        # What else the board tells is counted over all departments.
        return compose(store, settings, standings, now=now, limits=_late(store, policy, now, settings))
    limits = [unseen.sentence for unseen in what_cannot_be_watched(store, policy, settings, standings, now)]
    with store.connect() as connection:
        limits += _left_out(connection)
        limits += _remarked(connection)
    limits += _perhaps_one_person(store)
    limits += _late(store, policy, now, settings)
    apart = [group.sentence for group in orders_apart(store, settings, now)]
    return compose(store, settings, standings, now=now, limits=limits, apart=apart)


def found(store: Store, board: Board, who: str) -> Board:
    """What the board has of people whose name has these words in it, who were born on that day, or who carry
    that number."""
    words = who.casefold().split()
    numbered = _with_number(store, who.strip())

    def fits(case: Case) -> bool:
        said = f"{case.patient} {case.born}".casefold()
        return case.patient_id in numbered or (bool(words) and all(word in said for word in words))

    return replace(
        board,
        stalled=tuple(filter(fits, board.stalled)),
        moving=tuple(filter(fits, board.moving)),
        partly=tuple(filter(fits, board.partly)),
        unclear=(),
        unclear_in_all=0,
    )


def _with_number(store: Store, number: str) -> set[str]:
    if not number or set(number) & set("|,$\\"):
        return set()
    query = Query.parse("Patient", [("identifier", number), ("_count", "100")])
    return {version.id for version in store.search(query).matches}


def shown(store: Store, visitor: Visitor, standings: Sequence[Standing]) -> list[Standing]:
    """Those of which the visitor may see both the referral and its patient."""
    seen = visitor.shown(store, [(each.referral, each.patient) for each in standings])
    return [each for each in standings if each.referral in seen]


def _late(store: Store, policy: Policy, now: datetime, settings: Settings) -> list[str]:
    late = behind(store, policy, now, settings)
    return [f"The list above is of this moment. {late}"] if late else []


def _left_out(connection: Connection) -> Iterator[str]:
    """A line for each EHR with records that could not be taken in."""
    for ehr, count, newest in observed.waiting_dead_letters(connection):
        records = "1 record" if count == 1 else f"{count} records, the last of them a"
        one = dead_letters.read_one(connection, newest)
        kind = f" ({one.type})" if count == 1 else f" {one.type},"
        yield f"{ehr or 'Files'}: {records}{kind} could not be taken in: {one.reason}"


def _remarked(connection: Connection) -> Iterator[str]:
    """A line for each EHR of which the last sync remarked something, although it read everything."""
    by_ehr: dict[str, list[tuple[str, str]]] = {}
    for ehr, type, words in observed.remarks(connection):
        by_ehr.setdefault(ehr, []).append((type, words))
    for ehr, remarks in by_ehr.items():
        yield f"{ehr}: read whole; remarked: {by_reason(remarks)}."


def _perhaps_one_person(store: Store) -> list[str]:
    """A line if records wait for somebody to decide whether they belong to the same person."""
    open_questions = Query.parse(
        "Task",
        [
            ("code", f"{CODES}|{POSSIBLE}"),
            ("status:not", "completed,rejected,cancelled"),
            ("_total", "accurate"),
        ],
    )
    count = store.search(open_questions).total or 0
    if not count:
        return []
    pairs = "1 pair of records" if count == 1 else f"{count} pairs of records"
    return [f"{pairs} may be of one person; a person has to decide: `fhir-coprod people list`, page /people"]
