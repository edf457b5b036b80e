"""Fills a store with many open referrals in minutes: writes and watches a hundred of them, then copies.

The copies are made row by row beneath the store: every row of the log, of the resources, of the index rows
that the watch needs, and of the standings with their facts. Rows that only searching needs are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, Table, insert, select

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Document
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction, index
from fhir_coprod.store.prepared import is_name
from fhir_coprod.store.schema import core
from fhir_coprod.store.schema import watch as watch_tables
from fhir_coprod.watch import Policy
from fhir_coprod.watch.facts.rows import FOLLOWER
from fhir_coprod.watch.live.loop import Watch
from fhir_coprod.watch.record import followup

Row = dict[str, Any]

TEMPLATE: Final = 100
_MARK: Final = "c0000000"
"""Part of every id in the template, and as long as its replacement."""
_FOUND_BY: Final = (("Task", "code"), ("Task", "status"))
_LOOK_BACK: Final = timedelta(days=12)


def filled(url: str, referrals: int, policy: Policy, now: datetime) -> Store:
    """An empty store, filled with so many referrals (a multiple of TEMPLATE); one in five is stalled."""
    store = Store.open(url)
    store.write(lambda t: _put(t, now))
    Watch(store, policy, Settings()).catch_up(now)
    engine = store._writer._engine
    with engine.connect() as connection:
        _copy(connection, referrals // TEMPLATE)
        connection.commit()
        connection.exec_driver_sql("ANALYZE")
        connection.commit()
    # The copies have the standing of their originals: there is nothing for the watch to follow.
    head = store.head()
    store.write(lambda transaction: transaction.set_cursor(FOLLOWER, head))
    return store


def id_of(number: int) -> str:
    """The part shared by ids about one referral of a filled store: s- itself, t- its Task, m- a message."""
    copy, place = divmod(number, TEMPLATE)
    return f"c{copy:07d}-{place}"


def _put(transaction: Transaction, now: datetime) -> None:
    for number in range(TEMPLATE):
        for resource in referral(f"{_MARK}-{number}", now, late=number % 5 == 0):
            transaction.put(jsontext.from_data(resource), resource["id"])


def referral(id: str, now: datetime, *, late: bool) -> Iterator[dict[str, Any]]:
    """A referral, its Task, and a message to the patient; `late`: the department has not answered in time."""
    sent = now - (_LOOK_BACK if late else timedelta(hours=20))
    told = now - timedelta(hours=1)
    patient = {"reference": f"Patient/p-{id}"}
    yield {
        "resourceType": "ServiceRequest",
        "id": f"s-{id}",
        "status": "active",
        "intent": "order",
        "priority": "routine",
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}],
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "183545006"}], "text": "Back"},
        "subject": patient,
        "requester": {"reference": "Organization/gp"},
        "performer": [{"reference": "Organization/ortho"}],
        "authoredOn": sent.isoformat(),
        "reasonCode": [{"text": "Pain in the lower back since autumn, worse on standing; no red flags."}],
        "note": [{"text": "Please see within the time that the guarantee allows."}],
    }
    yield {
        "resourceType": "Task",
        "id": f"t-{id}",
        "status": "requested",
        "intent": "order",
        "focus": {"reference": f"ServiceRequest/s-{id}"},
        "for": patient,
        "owner": {"reference": "Organization/ortho"},
        "authoredOn": sent.isoformat(),
        "lastModified": sent.isoformat(),
    }
    yield {
        "resourceType": "Communication",
        "id": f"m-{id}",
        "status": "completed",
        "subject": patient,
        "about": [{"reference": f"ServiceRequest/s-{id}"}],
        "recipient": [patient],
        "sent": told.isoformat(),
    }


def _copy(connection: Connection, times: int) -> None:
    """Copy every row of the template, under other ids and later positions."""
    alerts = _alerts(connection)
    resources = [row for row in _rows(connection, core.resource) if _MARK in row["id"] or row["id"] in alerts]
    keys = {row["key"] for row in resources}
    names = {row["id"] for row in resources}
    found_by = {index.number(type, code) for type, code in _FOUND_BY}
    template: dict[Table, list[Row]] = {
        core.resource: resources,
        core.version: [row for row in _rows(connection, core.version) if row["id"] in names],
        core.reference: [row for row in _rows(connection, core.reference) if row["key"] in keys],
        core.token: [
            row for row in _rows(connection, core.token) if row["key"] in keys and row["param"] in found_by
        ],
        watch_tables.standing: _rows(connection, watch_tables.standing),
    }
    step = max(connection.execute(select(core.version.c.position)).scalars()) + 1
    for table, rows in template.items():
        copied = [_Copied(row, alerts) for row in rows]
        copies = (one.copy(f"c{number:07d}", number * step) for number in range(1, times) for one in copied)
        while portion := list(islice(copies, 20_000)):
            connection.execute(insert(table), portion)
        connection.commit()


class _Copied:
    """A row of the template: what a copy keeps, and what holds the mark, an alert's id or a position."""

    def __init__(self, row: Row, alerts: dict[str, tuple[str, str]]) -> None:
        self._row = row
        self._named = {id: made for id, made in alerts.items() if any(id in str(v) for v in row.values())}
        wanted = (_MARK, *self._named)
        self._texts = {
            name: value if isinstance(value, str) else value.decode("latin-1")
            for name, value in row.items()
            if isinstance(value, str | bytes) and any(one in str(value) for one in wanted)
        }
        self._binary = {name for name in self._texts if isinstance(row[name], bytes)}
        self._places = [name for name in ("position", "key") if name in row]

    def copy(self, mark: str, shift: int) -> Row:
        made = self._row.copy()
        for name, value in self._texts.items():
            value = value.replace(_MARK, mark)
            for id, (system, name_of) in self._named.items():
                value = value.replace(
                    id, str(uuid5(NAMESPACE_URL, f"{system}|{name_of.replace(_MARK, mark)}"))
                )
            made[name] = value.encode("latin-1") if name in self._binary else value
        for name in self._places:
            made[name] += shift
        if "seal" in made:
            made["seal"] = None  # it would be that of the template
        if made.get("hash") and "method" in made and not is_name(made["hash"]):
            made["hash"] = jsontext.content_hash(Document(made["body"], {}))
        return made


def _alerts(connection: Connection) -> dict[str, tuple[str, str]]:
    """Ids of alerts, with the system and value that each id is made from."""
    found: dict[str, tuple[str, str]] = {}
    for row in _rows(connection, core.version):
        if row["source"] == followup.SOURCE:
            for identifier in jsontext.decode(row["body"]).get("identifier", ()):
                found[row["id"]] = (identifier["system"], identifier["value"])
    return found


def _rows(connection: Connection, table: Table) -> list[Row]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]
