"""Reads and replays dead letters: records that sync or load could not take in, with bytes and the reason.

A dead letter is open until its record arrives in good order (resolved), until other bytes of the same record
arrive (superseded), or until a replay succeeds (resolved), for instance after we corrected our validator. A
person can put one aside (dismissed): then it is no fault of later runs, but what it holds is still not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, select

from fhir_coprod import jsontext
from fhir_coprod.errors import Conflict, NotAllowed, NotFound
from fhir_coprod.instants import from_milliseconds, instant, to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction, guarded, taking
from fhir_coprod.store.schema.sync import dead_letter
from fhir_coprod.sync import alone, engine
from fhir_coprod.sync.staging import again, stage
from fhir_coprod.sync.staging.letters import STANDING
from fhir_coprod.sync.staging.references import Bases

PORTION = 20
"""Dead letters read at once: each may hold a record of many megabytes."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `foreign_id` is "" if not even the id could be read, `ehr` if it came from a file."""

    id: int
    ehr: str
    type: str
    foreign_id: str
    position: str
    received: datetime
    state: str
    outcome: Json
    """OperationOutcome."""
    body: bytes
    dismissed_by: str = ""
    dismissed_because: str = ""
    dismissed_at: datetime | None = None

    @property
    def reason(self) -> str:
        """The first problem in one sentence, and how many more there are."""
        issues = [issue for issue in self.outcome["issue"] if issue["severity"] in ("fatal", "error")]
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        place = f"{issues[0]['expression'][0]}: " if issues[0].get("expression") else ""
        return f"{place}{issues[0]['diagnostics']}{more}"

    def to_json(self, *, body: bool = False) -> Json:
        """As `dead-letters list --json` and, with the body as text, `show --json` print it."""
        found: Json = {
            "id": self.id,
            "ehr": self.ehr,
            "type": self.type,
            "foreignId": self.foreign_id or None,
            "position": self.position,
            "received": instant(self.received),
            "state": self.state,
            "outcome": self.outcome,
        }
        if self.dismissed_at is not None:
            found["dismissed"] = {
                "by": self.dismissed_by,
                "because": self.dismissed_because,
                "at": instant(self.dismissed_at),
            }
        if body:
            found["body"] = self.body.decode(errors="replace")
        return found


def read(connection: Connection, *, all: bool = False) -> Iterator[DeadLetter]:
    """The open dead letters, or all there ever were, in the order received; read as they are asked for."""
    statement = select(dead_letter).order_by(dead_letter.c.id).limit(PORTION)
    if not all:
        statement = statement.where(dead_letter.c.state == "open")
    last = 0
    while found := connection.execute(statement.where(dead_letter.c.id > last)).mappings().all():
        yield from map(_from_row, found)
        last = found[-1]["id"]


def read_one(connection: Connection, id: int) -> DeadLetter:
    """The dead letter with this id. Raises NotFound."""
    row = connection.execute(select(dead_letter).where(dead_letter.c.id == id)).mappings().first()
    if row is None:
        raise NotFound(f"There is no dead letter {id}; `dead-letters list --all` shows them.")
    return _from_row(row)


def _from_row(row: Any) -> DeadLetter:
    return DeadLetter(
        row["id"],
        row["ehr"],
        row["type"],
        row["foreign_id"],
        row["position"],
        from_milliseconds(row["received"]),
        row["state"],
        jsontext.decode(row["outcome"]),
        bytes(row["body"]),
        row["dismissed_by"],
        row["dismissed_because"],
        from_milliseconds(row["dismissed_at"]) if row["dismissed_at"] else None,
    )


def dismiss(store: Store, ids: Sequence[int], by: str, because: str) -> list[DeadLetter]:
    """Put open dead letters aside; returns them in their new state.

    Raises NotAllowed unless somebody says by name why, NotFound for an unknown id, Conflict for one that is
    not open. Then none is put aside.
    """
    by, because = by.strip(), because.strip()
    if not by or not because:
        raise NotAllowed("Say who puts it aside (--by) and why (--because): both are written down.")

    def work(transaction: Transaction) -> None:
        connection = transaction.connection
        for one in [read_one(connection, id) for id in ids]:
            if one.state not in STANDING:
                raise Conflict(f"Dead letter {one.id} is {one.state}: there is nothing to put aside.")
        at = to_milliseconds(transaction.now)
        said = {"dismissed_by": by, "dismissed_because": because, "dismissed_at": at}
        chosen = dead_letter.c.id.in_(list(ids))
        guarded.change(connection, dead_letter, chosen, state="dismissed", **said)

    store.write(work)
    with store.connect() as connection:
        return [read_one(connection, id) for id in ids]


def replay(
    store: Store, settings: Settings, ids: Sequence[int] = (), *, validate: stage.Validate | None = None
) -> list[DeadLetter]:
    """Try the open ones (or those in `ids`, also if they are dismissed) again, in the order received; returns
    them in their new state.

    If a newer form of the record has been taken since, the dead letter is superseded, not taken. Raises
    NotFound for an unknown id, Conflict if a sync is running.
    """
    context = engine.context_of(settings)
    check = validate or engine.default_validator()
    refusing = {ehr.name for ehr in settings.ehr if ehr.on_invalid == "refuse"}
    with store.connect() as connection:
        wanted = [read_one(connection, id) for id in ids] if ids else list(read(connection))
    with alone.alone(store) as beat:
        for one in sorted(wanted, key=lambda found: found.id):
            if one.state in STANDING:
                keep = one.ehr not in refusing
                store.write(partial(_try, one=one, bases=context.bases, check=check, keep_invalid=keep))
        engine.settle(store, context, check, beat)
    with store.connect() as connection:
        return [read_one(connection, one.id) for one in wanted]


def _try(
    transaction: Transaction, one: DeadLetter, bases: Bases, check: stage.Validate, *, keep_invalid: bool
) -> None:
    """Stage the record of an EHR, or store that of a file, if that succeeds now."""
    if one.ehr:
        held = again.Waiting(one.id, one.ehr, one.type, one.foreign_id, one.body, one.position)
        again.retake(transaction, held, bases, check, keep_invalid=keep_invalid)
    elif taking.take(transaction, one.body, check):
        again.close(transaction.connection, one.id, "resolved")
