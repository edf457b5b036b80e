"""Keeps what the last runs of the sync did with each EHR: for whoever is called when one failed.

A run writes a row for each EHR when it begins, and again when it ends. One that was killed has a row that
never ended; the next run, which holds the lease alone, calls it cut off.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, func, select

from fhir_coprod.instants import from_milliseconds, instant, to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import guarded
from fhir_coprod.store.schema.sync import sync_run as table
from fhir_coprod.sync.report import EhrReport

Result = Literal["running", "ok", "faults", "failed", "cut-off"]
"""ok: everything was read; faults: not everything, or dead letters are open; failed: the EHR could not be
read at all; cut-off: killed, or stopped before it was done."""

KEPT: Final = 200
"""Runs that are kept of each EHR."""


class Run(NamedTuple):
    """What one run did with one EHR. Times are aware UTC."""

    ehr: str
    run: str
    began: datetime
    ended: datetime | None
    result: Result
    words: str
    """What could not be read, and why, without ids of records; "" if nothing was wrong but dead letters."""
    read: int
    changed: int
    """Records that were created, updated or deleted."""
    dead: int
    """Dead letters that were open at its end."""

    @property
    def wrong(self) -> str:
        """Everything that was wrong, in words; "" if nothing was."""
        records = "1 record" if self.dead == 1 else f"{self.dead} records"
        letters = f"{records} not taken in." if self.dead else ""
        return f"{self.words} {letters}".strip()

    @property
    def took(self) -> timedelta | None:
        return self.ended - self.began if self.ended else None

    def to_json(self) -> Json:
        return {
            **self._asdict(),
            "began": instant(self.began),
            "ended": instant(self.ended),
        }


def new_id(now: datetime) -> str:
    """What names a run in logs, reports and tables: the second it began, in UTC, and some luck."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def begin(connection: Connection, run: str, ehrs: Iterable[str], now: datetime) -> None:
    """Note that a run has begun, and that those that have not ended were cut off."""
    guarded.change(connection, table, table.c.result == "running", result="cut-off")
    at = to_milliseconds(now)
    guarded.put(connection, table, [(ehr, run, at, 0, "running", "", 0, 0, 0) for ehr in ehrs])


def end(connection: Connection, run: str, reports: Iterable[EhrReport], now: datetime) -> None:
    """Note how a run has ended; forget the oldest ones."""
    for report in reports:
        counts = report.counts.values()
        guarded.change(
            connection,
            table,
            (table.c.ehr == report.ehr) & (table.c.run == run),
            ended=to_milliseconds(now),
            result=_result(report),
            words=" ".join(said.removeprefix(f"{report.ehr}: ") for said in report.not_read),
            read=sum(each.read for each in counts),
            changed=sum(each.created + each.updated + each.deleted for each in counts),
            dead=report.dead_letters,
        )
        _forget_oldest(connection, report.ehr)


def _forget_oldest(connection: Connection, ehr: str) -> None:
    newest = select(table.c.began, table.c.run).where(table.c.ehr == ehr).order_by(table.c.began.desc())
    first = connection.execute(newest.offset(KEPT).limit(1)).first()
    if first is not None:
        guarded.take(connection, table, (table.c.ehr == ehr) & (table.c.began <= first.began))
        guarded.forget_lost(connection, table, ehr, which=lambda key: str(key[1]) <= first.run)


def _result(report: EhrReport) -> Result:
    return "failed" if report.error else "ok" if report.ok else "faults"


def last(connection: Connection, ehrs: Sequence[str], limit: int = 1) -> dict[str, list[Run]]:
    """The last runs of each of these EHRs, the newest first."""
    return {ehr: _of(connection, ehr, limit) for ehr in ehrs}


def _of(connection: Connection, ehr: str, limit: int) -> list[Run]:
    statement = select(table).where(table.c.ehr == ehr).order_by(table.c.began.desc()).limit(limit)
    return [
        Run(
            row.ehr,
            row.run,
            from_milliseconds(row.began),
            from_milliseconds(row.ended) if row.ended else None,
            row.result,
            row.words,
            row.read,
            row.changed,
            row.dead,
        )
        for row in connection.execute(statement)
    ]


def last_good(connection: Connection, ehrs: Sequence[str]) -> dict[str, datetime]:
    """When a run that read everything last ended, for each EHR that had one."""
    statement = (
        select(table.c.ehr, func.max(table.c.ended))
        .where(table.c.ehr.in_(ehrs), table.c.result == "ok")
        .group_by(table.c.ehr)
    )
    return {ehr: from_milliseconds(ended) for ehr, ended in connection.execute(statement)}
