"""Writes staged and linked records into the store as resources, each resource once.

A resource made from one record is that record's text with its references rewritten; a resource made from
several is their merge. The result depends only on what is staged and linked, so after a kill the next run
continues where this one stopped.

The work is done before anything is locked: `draft` reads, merges, validates, hashes and indexes; `commit`
only writes. If somebody else has written the resource meanwhile, its draft is discarded and made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.outcome import Outcome
from fhir_coprod.store import Prepared, Transaction, Version, Written, guarded, joins
from fhir_coprod.store.prepared import named, prepare
from fhir_coprod.store.quality import Marks, added, marks, told_by
from fhir_coprod.store.schema.many import among, array, listed
from fhir_coprod.store.schema.sync import crosswalk, retired
from fhir_coprod.sync.merging import entered, matches, merge, three_way
from fhir_coprod.sync.merging.change import Change
from fhir_coprod.sync.merging.leading import ordered
from fhir_coprod.sync.merging.merge import Part
from fhir_coprod.sync.merging.sources import Context, Source, Targets, read_sources, read_targets
from fhir_coprod.sync.staging import references
from fhir_coprod.sync.staging.stage import OPEN, Validate
from fhir_coprod.sync.staging.waking import TO_WRITE, WRITTEN

DRAFTED = 200
"""Resources drafted together, outside of any transaction."""

# These run for every few resources, so they are built once.
_WAITING = (
    select(crosswalk.c.id)
    .where(OPEN, crosswalk.c.state == TO_WRITE, crosswalk.c.type == bindparam("type"), crosswalk.c.id != "")
    .limit(bindparam("most"))
)
_MARK_WRITTEN = (
    update(crosswalk)
    .where(crosswalk.c.type == bindparam("own"), listed(crosswalk.c.id, "ids"), crosswalk.c.state == TO_WRITE)
    .values(state=WRITTEN)
)


class View(NamedTuple):
    """What a draft is made from: the store in its committed state, or as one transaction sees it."""

    connection: Connection
    newest: Callable[[str, Sequence[str]], dict[str, Version]]


@dataclass(frozen=True, slots=True)
class Draft:
    """The next version of one resource, and the version `before` that it is based on.

    content:      None if no record of it is left
    asks:         questions for a person, each listing the elements that both sides changed; an empty one
                  says that the two sides do not fit together
    is_kept:      whether to replace the merge base with `base` (None: with nothing)
    is_forgotten: whether to delete the merge base, because somebody here deleted what was entered
    """

    id: str
    before: Version | None
    ehr: str
    content: Prepared | None = None
    asks: tuple[tuple[str, ...], ...] = ()
    in_conflict: bool = False
    is_kept: bool = False
    is_forgotten: bool = False
    base: bytes | None = None


@dataclass(slots=True)
class Published:
    """The result of one batch."""

    resources: int = 0
    stale: list[str] = field(default_factory=list)
    """Ids of resources that somebody else wrote after they were drafted."""
    changes: list[Change] = field(default_factory=list)
    conflicts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(EHR, type) → number of resources in which somebody here and the EHR changed the same element."""


def waiting(connection: Connection, type: str) -> list[str]:
    """The ids of the next resources of `type` to draft; empty if none is left."""
    rows = connection.execute(_WAITING, {"type": type, "most": DRAFTED})
    return sorted({row[0] for row in rows})


def draft(view: View, type: str, ids: Sequence[str], context: Context, validate: Validate) -> list[Draft]:
    """Make the next versions of these resources. Nothing is written.

    validate: judges merged resources; what it says of single records was staged with them
    """
    sources = read_sources(view.connection, type, ids)
    targets = read_targets(view.connection, [s.record for group in sources.values() for s in group], context)
    bases = three_way.bases(view.connection, type, ids)
    newest = view.newest(type, ids)
    from_others = entered.parts(view.connection, view.newest, type, sources)

    def one(id: str) -> Draft:
        before, base = newest.get(id), bases.get(id)
        own = sources.get(id, [])
        if not own:
            return Draft(id, before, before.source.removeprefix("ehr:") if before is not None else "")
        # Where somebody here deleted it, nothing entered here is left: an old base would delete its content.
        is_gone = before is not None and before.deleted and not before.source.startswith(three_way.RETIRED)
        is_forgotten = base is not None and is_gone
        if is_forgotten:
            base = None
        more = from_others.get(id, ())
        return _draft(
            view.connection, type, id, own, more, targets, context, validate, before, base, is_forgotten
        )

    return [one(id) for id in ids]


def _draft(
    connection: Connection,
    type: str,
    id: str,
    sources: Sequence[Source],
    more: Sequence[Part],
    targets: Targets,
    context: Context,
    validate: Validate,
    before: Version | None,
    base: bytes | None,
    is_forgotten: bool,
) -> Draft:
    leading, *others = ordered(type, sources, targets, context)
    parts = [*(_part(source, targets, context) for source in others), *more]
    document, name = _render(type, id, leading, parts, targets, context)
    meta = _meta([leading, *others], document, context, [label for part in more for label in part.labels])
    asks: list[tuple[str, ...]] = []
    judge = _Judge(validate, [leading, *others])
    if parts and judge.adds(document, meta):
        document, name = _fitting(type, id, leading, parts, targets, context, meta, judge)
        asks.append(())
    is_kept, kept = False, None
    ours = three_way.before_retiring(connection, before) if before is not None else None
    if ours is not None and not ours.deleted and (base is not None or three_way.is_ours(ours)):
        merged = three_way.three_way(
            connection,
            ours,
            document,
            meta,
            base,
            lambda content, its_meta: not judge.adds(content, its_meta, ours=before),
        )
        document, meta, name = merged.document, merged.meta, ""
        is_kept, kept = True, merged.base
        if merged.conflicts:
            asks.append(tuple(element for element in merged.conflicts if element))
    wrong = judge.marks(document, meta) if parts or is_kept else leading.marks
    content = prepare(document, id, meta, hash=name, marks=wrong)
    return Draft(
        id, before, leading.record.ehr, content, tuple(asks), bool(asks), is_kept, is_forgotten, kept
    )


def commit(transaction: Transaction, type: str, drafts: Sequence[Draft], *, keep: bool = False) -> Published:
    """Write the drafts, except those based on a version that is no longer the newest.

    keep: also return the content before each change
    """
    connection = transaction.connection
    newest = transaction.newest(type, [draft.id for draft in drafts])
    valid = [draft for draft in drafts if _number(newest.get(draft.id)) == _number(draft.before)]
    kept = {draft.id for draft in valid}
    published = Published(len(valid), [draft.id for draft in drafts if draft.id not in kept])
    for draft in valid:
        if draft.is_forgotten:
            three_way.forget(connection, type, draft.id)
        if draft.is_kept:
            three_way.remember(connection, type, draft.id, draft.base)
        if draft.content is None:
            _remove(transaction, type, draft, published, keep)
        else:
            _write(transaction, type, draft, draft.content, published, keep)
    connection.execute(_MARK_WRITTEN, {"own": type, "ids": array(sorted(kept))})
    return published


def _number(version: Version | None) -> int:
    return version.version if version is not None else 0


def _remove(transaction: Transaction, type: str, draft: Draft, published: Published, keep: bool) -> None:
    before = draft.before
    # What was entered here stays known, for the day on which its EHR shows the record again.
    source = three_way.retired(before.source) if before is not None else ""
    gone = transaction.delete(type, draft.id, source=source)
    if gone is not None and before is not None:
        published.changes.append(Change(draft.ehr, gone, before.data if keep else {}))


def _write(
    transaction: Transaction,
    type: str,
    draft: Draft,
    content: Prepared,
    published: Published,
    keep: bool,
) -> None:
    ehr, before = draft.ehr, draft.before
    for elements in draft.asks:
        asked = three_way.ask(transaction, f"{type}/{draft.id}", elements)
        published.changes += [Change(ehr, task, {}) for task in asked]
    if draft.in_conflict:
        published.conflicts[ehr, type] = published.conflicts.get((ehr, type), 0) + 1
    written = transaction.put_prepared(content, source=f"ehr:{ehr}")
    if written.change != "unchanged":
        old = before.data if keep and before is not None and not before.deleted else {}
        published.changes.append(Change(ehr, written, old))


class _Judge:
    """Judges what is made of several records by the faults that none of them has: an EHR's own fault is no
    reason to leave out what others say."""

    def __init__(self, validate: Validate, sources: Sequence[Source]) -> None:
        self._validate = validate
        self._sources = sources
        self._last: tuple[Document, Json, Outcome] | None = None

    def adds(self, document: Document, meta: Json, ours: Version | None = None) -> bool:
        """Whether it breaks a rule of R4, or of a profile that it will claim, that no record in it breaks.

        ours: what somebody here made of it, if that goes into it too
        """
        outcome = self._outcome(document, meta)
        if outcome:
            return False
        here = [self._validate(Document(ours.body, ours.data))] if ours is not None else []
        return not added(outcome, *self._known, *here)

    def marks(self, document: Document, meta: Json) -> Marks:
        """What is wrong in it, each fault with the EHR that it came from."""
        known = tuple(mark for source in reversed(self._sources) for mark in source.marks)
        return told_by(marks(self._outcome(document, meta)), known, f"ehr:{self._sources[0].record.ehr}")

    @cached_property
    def _known(self) -> list[Outcome]:
        """What is wrong in the records."""
        return [self._validate(Document(s.raw, s.data)) for s in self._sources if s.marks]

    def _outcome(self, document: Document, meta: Json) -> Outcome:
        if self._last is None or self._last[0] is not document or self._last[1] != meta:
            data = {**document.data, "meta": meta} if meta else document.data
            self._last = (document, meta, self._validate(jsontext.from_data(data)))
        return self._last[2]


def _fitting(
    type: str,
    id: str,
    leading: Source,
    parts: Sequence[Part],
    targets: Targets,
    context: Context,
    meta: Json,
    judge: _Judge,
) -> tuple[Document, str]:
    """The leading record with those parts that add no fault to it."""
    fitting: list[Part] = []
    made = _render(type, id, leading, fitting, targets, context)
    for part in parts:
        tried = _render(type, id, leading, [*fitting, part], targets, context)
        if not judge.adds(tried[0], meta):
            fitting.append(part)
            made = tried
    return made


def _render(
    type: str, id: str, leading: Source, parts: Sequence[Part], targets: Targets, context: Context
) -> tuple[Document, str]:
    """The resource's content with our references, and a name for it if it need not be hashed again.

    parts: what is merged into the leading record
    """
    if parts:
        raw = merge.merged(type, [_part(leading, targets, context), *parts], f"{type}/{id}")
        return Document(raw, jsontext.decode(raw)), ""
    rewrites = _rewrites(leading, targets, context)
    read = references.rewritten(leading.raw, rewrites)
    raw = references.absolute_attachments(read, context.bases.addresses.get(leading.record.ehr, ""))
    data = jsontext.decode(raw)
    full = references.add_references(raw, data, targets.holders)
    if full != raw:
        data = jsontext.decode(full)
    name = named(leading.hash, rewrites) if full == read else ""
    return Document(full, data, leading.raw), name


def _part(source: Source, targets: Targets, context: Context) -> Part:
    base = context.bases.addresses.get(source.record.ehr, "")
    read = references.rewritten(source.raw, _rewrites(source, targets, context))
    raw = Document(read, source.data).spliced(None, None)
    raw = references.absolute_attachments(raw, base)
    return Part(
        references.add_references(raw, source.data, targets.holders), context.bases.address(source.record)
    )


def _rewrites(source: Source, targets: Targets, context: Context) -> dict[str, str]:
    """Literal reference → what to write for it: our id, or its URL at the EHR if it has not arrived."""
    found: dict[str, str] = {}
    for text in references.named(source.raw):
        target = context.bases.target(text, source.record.ehr)
        if target is not None:
            id = targets.ids.get(target)
            there = f"{target.type}/{id}" if id else context.bases.address(target)
            if there and there != text:
                found[text] = there
    return found


def _meta(sources: Sequence[Source], document: Document, context: Context, more: Sequence[Any] = ()) -> Json:
    """Profiles and tags of the leading record, security labels of all records and `more` of them, and the
    leading one's URL."""
    read = [document.data] if len(sources) == 1 else [source.data for source in sources]
    own = read[0].get("meta")
    meta: Json = {}
    if isinstance(own, dict):
        meta = {key: own[key] for key in ("profile", "tag", "extension") if own.get(key)}
    labels: list[Any] = []
    for label in (*(label for data in read for label in _labels(data)), *more):
        if label not in labels:
            labels.append(label)
    if labels:
        meta["security"] = labels
    address = context.bases.address(sources[0].record)
    if address:
        meta["source"] = address
    return meta


def _labels(data: Json) -> list[Any]:
    meta = data.get("meta")
    said = meta.get("security") if isinstance(meta, dict) else None
    return said if isinstance(said, list) else []


# --- resources that were merged into another ------------------------------------------------------


def write_retired(transaction: Transaction, most: int) -> Published:
    """Link retired Patients to their successors, and delete retired resources of other types."""
    t = retired.c
    rows = transaction.connection.execute(
        select(t.type, t.id, t.successor).where(t.written.is_(False)).order_by(t.type, t.id).limit(most)
    ).all()
    published = Published(len(rows))
    for type, id, successor in rows:
        before = transaction.get(type, id)
        # What was entered here stays known (`three_way.before_retiring`), and so does what it was entered
        # into.
        if before is None or before.deleted:
            continue
        source = three_way.retired(before.source)
        if type == "Patient":
            kept = three_way.before_retiring(transaction.connection, before)
            joins.join(transaction, successor, id)
            if matches.is_said_same(transaction.connection, id, successor):
                joins.confirm(transaction, successor, matches.SOURCE, [id])
            written: Written | None = transaction.put(
                _replaced(kept.body, successor), id, source=source, marks=transaction.marks(type, id)
            )
        else:
            written = transaction.delete(type, id, source=source)
        if written is not None and written.change != "unchanged":
            origin = source.removeprefix(three_way.RETIRED).removeprefix("ehr:")
            published.changes.append(Change(origin, written, before.data))
    done = t.written.is_(False) & among(t.id, [row[1] for row in rows])
    guarded.change(transaction.connection, retired, done, written=True)
    return published


def _replaced(body: bytes, successor: str) -> Document:
    """A Patient that is no longer active, with a link to its successor."""
    members = {
        key: bytes(value) for key, value in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()
    }
    members["active"] = b"false"
    members["link"] = jsontext.encode(
        [{"other": {"reference": f"Patient/{successor}"}, "type": "replaced-by"}]
    )
    raw = b"{" + b",".join(jsontext.encode(key) + b":" + value for key, value in members.items()) + b"}"
    return Document(raw, jsontext.decode(raw))
