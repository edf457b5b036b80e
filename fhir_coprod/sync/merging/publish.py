"""Writing staged and linked records into the store, each resource once, in batches of one transaction.

A resource of one record is that record's text with references rewritten; of several, their merge. What is
written depends on what is staged and linked alone: a run killed here goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import select, update

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store import Transaction, Written
from fhir_coprod.store.schema.sync import crosswalk, retired
from fhir_coprod.sync.merging import merge, three_way
from fhir_coprod.sync.merging.change import Change
from fhir_coprod.sync.merging.leading import ordered
from fhir_coprod.sync.merging.merge import Part
from fhir_coprod.sync.merging.sources import Context, Source, Targets, read_sources, read_targets
from fhir_coprod.sync.staging import references
from fhir_coprod.sync.staging.stage import TO_WRITE, WRITTEN, Validate

BATCH = 200
"""Resources written in one transaction."""


@dataclass(slots=True)
class Published:
    """What one batch came to."""

    resources: int = 0
    changes: list[Change] = field(default_factory=list)
    conflicts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(EHR, type) → resources of which somebody here and the EHR changed the same element."""


def publish(
    transaction: Transaction, type: str, context: Context, validate: Validate, *, keep: bool = False
) -> Published:
    """Writes one batch of resources of `type`; `resources` is 0 when none is left.

    validate: what a merged resource has to pass; a single record passed it before it was staged
    keep:     hand out what stood there before, too
    """
    connection = transaction.connection
    c = crosswalk.c
    ids = [
        row[0]
        for row in connection.execute(
            select(c.id)
            .where(c.state == TO_WRITE, c.type == type, c.id != "")
            .distinct()
            .order_by(c.id)
            .limit(BATCH)
        )
    ]
    if not ids:
        return Published()
    published = Published(len(ids))
    sources = read_sources(connection, type, ids)
    targets = read_targets(connection, [s.record for group in sources.values() for s in group], context)
    bases = three_way.bases(connection, type, ids)
    transaction.fetch([(type, id) for id in ids])
    for id in ids:
        _write(transaction, type, id, sources.get(id, []), targets, context, validate, bases, published, keep)
    connection.execute(update(crosswalk).where(c.type == type, c.id.in_(ids)).values(state=WRITTEN))
    return published


def _write(
    transaction: Transaction,
    type: str,
    id: str,
    sources: Sequence[Source],
    targets: Targets,
    context: Context,
    validate: Validate,
    bases: Mapping[str, bytes],
    published: Published,
    keep: bool,
) -> None:
    before = transaction.get(type, id)
    if not sources or (before is not None and before.deleted):
        # It holds nothing entered here any more; a base kept longer would empty what is made again.
        three_way.forget(transaction.connection, type, id)
    if not sources:
        gone = transaction.delete(type, id, source=before.source if before is not None else "")
        if gone is not None and before is not None:
            ehr = before.source.removeprefix("ehr:")
            published.changes.append(Change(ehr, gone, before.data if keep else {}))
        return
    leading, *others = ordered(type, sources, targets, context)
    ehr = leading.record.ehr
    document, rewrites = _render(type, id, [leading, *others], targets, context)
    meta = _meta([leading, *others], context)
    asked: tuple[Written, ...] = ()
    in_conflict = False
    if others and not _is_valid(document, meta, validate):
        document, rewrites = _render(type, id, [leading], targets, context)
        asked, in_conflict = three_way.ask(transaction, f"{type}/{id}", ()), True
    if before is not None and not before.deleted and (id in bases or three_way.is_ours(before)):
        merged = three_way.three_way(
            transaction,
            before,
            document,
            rewrites,
            meta,
            bases.get(id),
            lambda content, its_meta: _is_valid(content, its_meta, validate),
        )
        document, meta, rewrites = merged.document, merged.meta, {}
        asked, in_conflict = asked + merged.asked, in_conflict or bool(merged.conflicts)
    published.changes += [Change(ehr, task, {}) for task in asked]
    if in_conflict:
        published.conflicts[ehr, type] = published.conflicts.get((ehr, type), 0) + 1
    written = transaction.put(document, id, references=rewrites, meta=meta, source=f"ehr:{ehr}")
    if written.change != "unchanged":
        old = before.data if keep and before is not None and not before.deleted else {}
        published.changes.append(Change(ehr, written, old))


def _is_valid(document: Document, meta: Json, validate: Validate) -> bool:
    """Whether a merged resource keeps to R4 and to the profiles it will claim."""
    data = {**document.data, "meta": meta} if meta else document.data
    return bool(validate(jsontext.from_data(data)))


def _render(
    type: str, id: str, sources: Sequence[Source], targets: Targets, context: Context
) -> tuple[Document, dict[str, str]]:
    """The resource's content, and the references that the store has yet to rewrite in it."""
    leading = sources[0]
    rewrites = _rewrites(leading, targets, context)
    base = context.bases.addresses.get(leading.record.ehr, "")
    if len(sources) == 1:
        raw = references.absolute_attachments(leading.raw, base)
        raw = references.add_references(raw, leading.data, targets.holders)
        return Document(raw, leading.data if raw == leading.raw else jsontext.decode(raw)), rewrites
    parts = [_part(source, targets, context) for source in sources]
    raw = merge.merged(type, parts, f"{type}/{id}")
    return Document(raw, jsontext.decode(raw)), {}


def _part(source: Source, targets: Targets, context: Context) -> Part:
    base = context.bases.addresses.get(source.record.ehr, "")
    raw = Document(source.raw, source.data).spliced(None, None, _rewrites(source, targets, context))
    raw = references.absolute_attachments(raw, base)
    return Part(
        references.add_references(raw, source.data, targets.holders), context.bases.address(source.record)
    )


def _rewrites(source: Source, targets: Targets, context: Context) -> dict[str, str]:
    """Each literal reference → how it reads here: our id, or absolute at its EHR when it has not arrived."""
    found: dict[str, str] = {}
    for text in references.named(source.data):
        if text not in found:
            target = context.bases.target(text, source.record.ehr)
            if target is not None:
                id = targets.ids.get(target)
                there = f"{target.type}/{id}" if id else context.bases.address(target)
                if there and there != text:
                    found[text] = there
    return found


def _meta(sources: Sequence[Source], context: Context) -> Json:
    """Profiles and tags of the leading record, security labels of all, and where it came from."""
    own = sources[0].data.get("meta")
    meta: Json = {}
    if isinstance(own, dict):
        meta = {key: own[key] for key in ("profile", "tag", "extension") if own.get(key)}
    labels: list[Any] = []
    for source in sources:
        theirs = source.data.get("meta")
        for label in (theirs.get("security") or []) if isinstance(theirs, dict) else []:
            if label not in labels:
                labels.append(label)
    if labels:
        meta["security"] = labels
    address = context.bases.address(sources[0].record)
    if address:
        meta["source"] = address
    return meta


# --- resources that became one with another -------------------------------------------------------


def write_retired(transaction: Transaction) -> Published:
    """A retired Patient points to its successor; a retired resource of another type is deleted."""
    t = retired.c
    rows = transaction.connection.execute(
        select(t.type, t.id, t.successor).where(t.written.is_(False)).order_by(t.type, t.id).limit(BATCH)
    ).all()
    published = Published(len(rows))
    for type, id, successor in rows:
        before = transaction.get(type, id)
        three_way.forget(transaction.connection, type, id)
        if before is None or before.deleted:
            continue
        if type == "Patient":
            written: Written | None = transaction.put(
                _replaced(before.body, successor), id, source=before.source
            )
        else:
            written = transaction.delete(type, id, source=before.source)
        if written is not None and written.change != "unchanged":
            published.changes.append(Change(before.source.removeprefix("ehr:"), written, before.data))
    transaction.connection.execute(
        update(retired).where(t.written.is_(False), t.id.in_([row[1] for row in rows])).values(written=True)
    )
    return published


def _replaced(body: bytes, successor: str) -> Document:
    """A Patient that is no longer in use, and who it is now."""
    members = {
        key: bytes(value) for key, value in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()
    }
    members["active"] = b"false"
    members["link"] = jsontext.encode(
        [{"other": {"reference": f"Patient/{successor}"}, "type": "replaced-by"}]
    )
    raw = b"{" + b",".join(jsontext.encode(key) + b":" + value for key, value in members.items()) + b"}"
    return Document(raw, jsontext.decode(raw))
