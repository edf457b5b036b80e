"""Sorts records as they arrive into what is taken, what is unchanged, and what is refused.

Of a record that comes more than once in a run, only its newest version counts. A record that comes only in
part (tag SUBSETTED) is put aside: it never replaces a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from fhir_coprod.sync.ehr import paging
from fhir_coprod.sync.spilled import SpilledDict
from fhir_coprod.sync.staging import stage
from fhir_coprod.sync.staging.letters import Refused
from fhir_coprod.sync.staging.order import Order, stamps
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.sinks import StoreSink
from fhir_coprod.sync.staging.stage import Batch, Known, Received, Taken, Unchanged


def _packed(order: Order | None) -> str:
    return "" if order is None else order.packed()


def _unpacked(text: str) -> Order | None:
    return Order.unpacked(text) if text else None


@dataclass
class Seen:
    """What a pull of one type has seen so far."""

    orders: SpilledDict[Order | None] = field(default_factory=lambda: SpilledDict(_packed, _unpacked))
    """id → the newest version with that id; None: before this run took up an earlier one."""
    deleted: set[str] = field(default_factory=set)
    newest: str = ""
    """The latest meta.lastUpdated."""
    complaints: set[str] = field(default_factory=set)
    """Codes of errors among the matches: the server could not give everything."""
    partial: dict[str, Received] = field(default_factory=dict)
    """Records that came only in part, by id."""
    late: set[str] = field(default_factory=set)
    """Records that only another look showed, although they are older than the first one."""
    looks: int = 1
    pages: int = 0
    read: int = 0


@dataclass(frozen=True)
class Taking:
    """How the records of one type of one EHR are taken.

    accept_older: also take a record that is older than what we have (a full run, a restored server)
    by_content:   what is listed is how things stand: a stamp alone makes nothing older
    in_history:   what comes first is the newest, where version numbers do not say otherwise
    """

    ehr: str
    type: str
    sink: StoreSink
    bases: Bases
    validate: stage.Validate
    accept_older: bool = False
    by_content: bool = False
    in_history: bool = False
    keep_invalid: bool = True
    """Also take what breaks a rule."""

    def sort(self, received: Sequence[Received], batch: Batch, seen: Seen, *, since: str = "") -> None:
        """Sort the records into the batch; takes long, so it runs in a thread.

        since: when the first look began, for `Seen.late`
        """
        known = self.sink.known(self.ehr, self.type, [id for id in map(_id, received) if id])
        for one in received:
            if _is_partial(one) and (id := _id(one)):
                seen.partial[id] = one
                seen.orders.setdefault(id, None)
                continue
            self._sort_one(one, known, batch, seen, since)

    def _sort_one(self, one: Received, known: dict[str, Known], batch: Batch, seen: Seen, since: str) -> None:
        result = stage.prepare(
            self.ehr,
            self.type,
            one,
            known.get,
            self.bases,
            self.validate,
            accept_older=self.accept_older,
            by_content=self.by_content,
            keep_invalid=self.keep_invalid,
        )
        if isinstance(result, Refused):
            id, order = result.foreign_id or paging.peek_id(result.raw), Order(None, "")
        else:
            id, order = result.record.id, Order.of(result.version, result.updated)
            seen.newest = max(seen.newest, result.updated)
        came = id in seen.orders
        if id in seen.deleted or (came and not self._replaces(result, order, seen.orders[id], seen.looks)):
            return  # some servers show a record on two pages, and a history shows its past
        if came:
            batch.drop(id)
        else:
            seen.read += 1
            if seen.looks > 1 and order.updated < since:
                seen.late.add(id)
        if id:
            seen.orders[id] = order
        if isinstance(result, Refused):
            batch.refused.append(result)
        elif isinstance(result, Unchanged):
            batch.unchanged.append(result.record)
        else:
            batch.taken.append(result)

    def _replaces(
        self, result: Taken | Refused | Unchanged, order: Order, before: Order | None, looks: int
    ) -> bool:
        """Whether a record that has come already in this run comes in a newer version now."""
        if before is None:
            return not isinstance(result, Unchanged)
        if isinstance(result, Taken) and looks > 1 and order == before:
            return True  # without any stamps; the other look shows how it is now
        if order.number is not None and before.number is not None and order.number != before.number:
            return order.number > before.number
        return not self.in_history and order.updated > before.updated

    def complete(self, seen: Seen, whole: Iterable[Received], batch: Batch) -> tuple[int, int]:
        """Take the records that came in part as they were read by themselves, `whole` or in part again.

        Returns how many of them are kept as they were before, although there is a newer version, and how many
        are taken in part, since there was nothing more before.
        """
        found = {_id(one): one for one in whole}
        known = self.sink.known(self.ehr, self.type, sorted(seen.partial))
        in_part = self.sink.in_part(self.ehr, self.type, sorted(known))
        again = replace(self, accept_older=False)
        kept = taken = 0
        for id, one in sorted(seen.partial.items()):
            better, held = found.get(id), known.get(id)
            if better is not None and not _is_partial(better):
                again._sort_one(better, known, batch, seen, "")
            elif held is None or held.deleted or id in in_part:
                taken += 1
                again._sort_one(one, known, batch, seen, "")
            elif _is_version(one, held):
                batch.unchanged.append(Record(self.ehr, self.type, id))
            else:
                kept += 1
        return kept, taken

    def outdated(self, seen: Seen) -> list[str]:
        """Ids of the records that came in part, and whose version is not the one that we have."""
        known = self.sink.known(self.ehr, self.type, sorted(seen.partial))
        return [
            id
            for id, one in sorted(seen.partial.items())
            if id not in known or known[id].deleted or not _is_version(one, known[id])
        ]


def _id(received: Received) -> str:
    """The id in the record; "" if it cannot be read."""
    id = received.document.data.get("id") if received.document is not None else ""
    return id if isinstance(id, str) else ""


def _is_version(one: Received, known: Known) -> bool:
    version, updated = stamps(one.document.data) if one.document is not None else ("", "")
    return bool(version and updated) and (version, updated) == (known.version, known.updated)


def _is_partial(received: Received) -> bool:
    """Whether the record says that it is only a part of itself (R4 search, `_summary` and `_elements`)."""
    if b"SUBSETTED" not in received.raw or received.document is None:
        return False
    meta = received.document.data.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return any(
        isinstance(tag, dict) and tag.get("code") == "SUBSETTED"
        for tag in (tags if isinstance(tags, list) else ())
    )
