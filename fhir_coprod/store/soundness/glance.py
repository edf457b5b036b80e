"""The little that every start has time for, whatever the size of the store."""

from __future__ import annotations

from fhir_coprod.errors import Damaged
from fhir_coprod.store.database import RESTORE, Database, Session, last_given
from fhir_coprod.store.soundness.database import FOLLOWERS, behind, beyond, counted
from fhir_coprod.store.soundness.log import Row, what_is_wrong

_HEAD = (
    "SELECT v.position, v.type, v.id, v.version, v.updated, v.method, v.hash, v.source, v.body, v.seal,"
    " r.version FROM version v LEFT JOIN resource r ON r.type = v.type AND r.id = v.id"
    " ORDER BY v.position DESC LIMIT 1"
)


def glance(database: Database) -> None:
    """Raise Damaged if the end of the log is not whole, or if a reader or a counter does not fit it."""
    wrong = database.ask(lambda session: _wrong(database, session))
    if wrong:
        database.is_damaged = True
        raise Damaged(
            f"The database is damaged: {wrong}. fhir-coprod db check says what else is, and --repair puts"
            f" right what can be made anew. {RESTORE}"
        )


def _wrong(database: Database, session: Session) -> str:
    rows = session.rows(_HEAD)
    head = 0
    if rows:
        row, seal, newest = Row(*rows[0][:9]), rows[0][9], rows[0][10]
        head = row.position
        if why := what_is_wrong(row, seal):
            return f"at the end of the log {why}"
        if newest != row.version:
            return "the newest version in the log is not that of its resource"
    if faults := beyond(session, max(head, last_given(session)), FOLLOWERS):
        return f"a reader of the log is beyond its end ({faults[0].at} is {faults[0].why})"
    if database.url.get_backend_name() != "sqlite":
        for table in counted():
            if behind(session, table):
                return f"the counter of {table.name} is behind the numbers that it has given"
    return ""
