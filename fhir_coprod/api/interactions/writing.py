"""Interactions that change one resource: create, update, patch and delete, plain and conditional.

Each is done in steps, so that a transaction can do many at once: `prepare` reads and validates the request,
`get_ready` and `try_patch` do what else needs no lock, `resolve` finds the resource that a conditional
request means, `apply` writes. The last two run inside one write transaction, so two identical conditional
creates at once store one resource; all other writes wait for them, so they do as little as they can.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from fhir_coprod import jsontext
from fhir_coprod.access.rights import EVERYTHING, Rights
from fhir_coprod.access.sight import sight
from fhir_coprod.api.answer import Answer, outcome_answer
from fhir_coprod.api.auditing import Written
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import INLINE_BYTES, Endpoint, Lane
from fhir_coprod.api.formats import entity_tags
from fhir_coprod.api.interactions import allowed, patching, rightful, subset
from fhir_coprod.deadline import OutOfTime
from fhir_coprod.errors import (
    BadRequest,
    Conflict,
    CoprodError,
    Gone,
    InvalidResource,
    NotFound,
    PreconditionFailed,
)
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.store import Store, Transaction, Version
from fhir_coprod.store.entering import is_astray, judge, refuse_unserved
from fhir_coprod.store.links import Addresses, Pairs, Settled, named, settled
from fhir_coprod.store.matching import NO_CRITERIA, matching, pairs
from fhir_coprod.store.prepared import Prepared, kept_meta
from fhir_coprod.store.prepared import prepare as prepared
from fhir_coprod.store.quality import Marks, added, marks, told_by
from fhir_coprod.store.search.query import demands
from fhir_coprod.store.unpacking import unpack
from fhir_coprod.store.versions import Method
from fhir_coprod.validation import is_part

_ID = re.compile(jsontext.ID_PATTERN)
Settle = Callable[[Document], Settled]


@dataclass(slots=True)
class PlannedWrite:
    """One write that has been parsed and checked but not yet done.

    id: "" until it is decided; `resolve` fills it in if a conditional request finds its resource
    base: the address that the caller knows this server by
    settle: gives a document the links that it is stored with
    criteria: of a conditional interaction; None for a plain one
    versions: what If-Match allows; None: anything; empty: any version, as long as there is one
    found: the resource that makes a conditional create unnecessary
    ready: the document as it will be stored, if that is known already
    tried: the patch, applied to the version that was the newest before the transaction
    rights: of the caller
    is_hidden: whether what it would change is not in their sight, and so as if it were not there
    """

    kind: Literal["create", "update", "patch", "delete"]
    type: str
    id: str = ""
    document: Document | None = None
    patch: patching.Patch | None = None
    base: str = ""
    settle: Settle = Settled
    criteria: Pairs | None = None
    versions: frozenset[str] | None = None
    must_be_new: bool = False
    outcome: Outcome = OK
    found: Version | None = None
    ready: Prepared | None = None
    tried: _Tried | None = None
    rights: Rights = EVERYTHING
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class _Tried:
    """What a patch makes of the version at a position of the log."""

    position: int
    document: Document | None = None
    outcome: Outcome = OK
    error: CoprodError | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a change; version None: there was nothing to delete.

    outcome: warnings of the validator about what was stored
    """

    version: Version | None
    change: Literal["created", "updated", "unchanged", "deleted", "found"]
    outcome: Outcome = OK

    @property
    def written(self) -> Written:
        """What the audit remembers of it."""
        statuses = {"created": 201, "deleted": 204}
        return self.version, statuses.get(self.change, 200)


async def write(call: Call, endpoint: Endpoint) -> Answer:
    """POST [type], PUT/PATCH/DELETE [type]/[id], and the conditional forms on [type]?criteria."""
    current = await _to_patch(call, endpoint) if call.method == "PATCH" else None
    size = max(len(call.body), len(current.body) if current else 0)
    async with endpoint.bodies(size):
        change = await endpoint.check(size, prepare, call)
        if current:
            await endpoint.in_thread(try_patch, change, current, lane=lane(size))
        done = await endpoint.write(
            lambda transaction: perform(transaction, endpoint.store, change),
            [call],
            lambda done: [done.written],
        )
        if call.query:
            answered = await endpoint.check(size, answer, call, change, done)
        else:
            answered = answer(call, change, done)
        answered.is_recorded = endpoint.auditing.minds(call)
        return answered


def lane(size: int) -> Lane:
    """The threads in which what so many bytes ask for is prepared."""
    return "body" if size > INLINE_BYTES else "search"


async def _to_patch(call: Call, endpoint: Endpoint) -> Version | None:
    """The version that a patch by id is for; None if there is none."""
    try:
        return await endpoint.read(call.type, call.id, call.caller.rights) if call.id else None
    except (NotFound, Gone):
        return None  # a precondition may have more to say about that


def perform(transaction: Transaction, store: Store, change: PlannedWrite) -> Done:
    """Resolve and apply a single change, within the rights of its caller."""
    # The store may run this again: each run starts from what the request said.
    attempt = replace(change)
    resolve(transaction, attempt, Addresses({}, base=change.base))
    if attempt.rights is EVERYTHING:
        return apply(transaction, attempt)
    rightful.before(transaction, (attempt,))
    done = apply(transaction, attempt)
    rightful.after(transaction, store, ((attempt, done),))
    return done


def prepare(call: Call) -> PlannedWrite:
    """Parse and check a request of its own; raises BadRequest, UnsupportedMediaType or InvalidResource."""
    change = parse(call)
    change.settle = partial(settled, addresses=Addresses({}, base=call.base))
    if settle(change) and call.parsed is None and change.document and len(change.document.raw) > INLINE_BYTES:
        get_ready(change)
    return change


def parse(call: Call) -> PlannedWrite:
    """What a request asks for, not yet judged; raises BadRequest or UnsupportedMediaType."""
    match call.method:
        case "POST":
            change = PlannedWrite(
                "create", call.type, document=_document(call), criteria=_if_none_exist(call)
            )
        case "PUT":
            document = _document(call)
            change = PlannedWrite("update", call.type, call.id, document, criteria=_criteria(call))
            _check_id(change, document)
        case "PATCH":
            change = PlannedWrite(
                "patch", call.type, call.id, patch=patching.parse(call), criteria=_criteria(call)
            )
        case _:
            change = PlannedWrite("delete", call.type, call.id, criteria=_criteria(call))
    if change.criteria is not None and not change.criteria:
        raise PreconditionFailed(NO_CRITERIA)
    change.base = call.base
    change.rights = call.caller.rights
    allowed.protect(change.type, change.id)
    _read_preconditions(call, change)
    if change.document is not None:
        refuse_unserved(change.document)
    return change


def settle(change: PlannedWrite) -> bool:
    """Give a document the links that it is stored with, judge the result, and say whether it is final.

    If it is not, the change keeps the document as it came, to be settled again; the verdict is the same.
    """
    if change.document is None:
        return False
    document, is_final = change.settle(change.document)
    change.outcome = judge(document)
    if not may_correct(change):
        check(change.outcome, document)
    if is_final:
        change.document = document
    return is_final


def get_ready(change: PlannedWrite) -> None:
    """Prepare the document of a valid create, or update by id, before its transaction."""
    document = change.document
    if document is not None and change.outcome and (change.id or change.kind == "create"):
        change.ready = prepared(document, change.id or str(uuid.uuid4()), kept_meta(document.data))


def try_patch(change: PlannedWrite, current: Version) -> None:
    """Apply a patch before its transaction, which only has to see that the version is still the newest."""
    try:
        document, is_final = _patched(change, current)
        if not is_final:
            return
        outcome = _judged(document)
    except OutOfTime:
        raise
    except CoprodError as error:
        change.tried = _Tried(current.position, error=error)
    else:
        change.tried = _Tried(current.position, document, outcome)
        if outcome:
            change.ready = prepared(document, current.id, kept_meta(document.data))


def may_correct(change: PlannedWrite) -> bool:
    """Whether it may replace a record that is kept although it is not valid; only the store can tell."""
    document = change.document
    return change.kind == "update" and document is not None and not is_part(document)


def _document(call: Call) -> Document:
    document = call.document()
    if document.type != call.type:
        raise BadRequest(
            f"The body says resourceType {document.type[:64]!r}, the URL {call.type}; make them the same."
        )
    return document


def _criteria(call: Call) -> Pairs | None:
    if call.id:
        return None
    return demands(call.query)


def _if_none_exist(call: Call) -> Pairs | None:
    """Criteria from the If-None-Exist header, or from the URL, where some clients put them."""
    header = call.headers.get("if-none-exist")
    if header is None:
        return _criteria(call) or None
    before, _, after = header.partition("?")
    if "=" in before:
        return demands(pairs(header))
    if before not in ("", call.type, f"{call.base}/{call.type}"):
        raise BadRequest(f"If-None-Exist asks for another type than {call.type}; write its criteria alone.")
    return demands(pairs(after))


def _check_id(change: PlannedWrite, document: Document) -> None:
    own = document.data.get("id")
    if change.id and own != change.id:
        raise BadRequest("The id in the body must be there and equal the id in the URL.")
    if own is not None and not (isinstance(own, str) and _ID.fullmatch(own)):
        raise BadRequest("An id is 1 to 64 letters, digits, - or . and nothing else.")


def _read_preconditions(call: Call, change: PlannedWrite) -> None:
    match, none_match = call.headers.get("if-match"), call.headers.get("if-none-match")
    if match is not None:
        change.versions = entity_tags(match, "If-Match") or frozenset()
    if none_match is not None:
        if entity_tags(none_match, "If-None-Match") is not None:
            raise BadRequest(
                "A write takes If-None-Match: * only; to name the version that is replaced use If-Match."
            )
        change.must_be_new = True


def check(outcome: Outcome, document: Document) -> None:
    """Raises InvalidResource, or BadRequest if all is about references, with every problem that there is."""
    if not outcome:
        if all(map(is_astray, outcome.errors)):
            raise BadRequest("A reference leads nowhere.", outcome=outcome)
        raise InvalidResource(
            f"The {document.type} breaks {len(outcome.errors)} rule(s) of FHIR R4 or its profile.",
            outcome=outcome,
        )


def _remaining(
    transaction: Transaction, document: Document, outcome: Outcome, living: Version | None
) -> Marks:
    """What stays wrong when this replaces a record that is kept although it is not valid.

    Whoever corrects one fault of such a record need not correct them all. Raises InvalidResource if there is
    a fault that the record did not have.
    """
    if outcome:
        return ()
    kept = transaction.marks(living.type, living.id) if living else ()
    if living is None or not (kept or any(map(is_astray, outcome.errors))):
        check(outcome, document)
    else:
        stored = judge(Document(living.body, living.data))
        check(added(outcome, stored), document)
    return told_by(marks(outcome), kept)


def resolve(transaction: Transaction, change: PlannedWrite, addresses: Addresses) -> None:
    """Find the resource that a conditional request means, by R4's rules for none, one and several matches."""
    if change.criteria is None:
        return
    change.criteria = named(change.type, change.criteria, addresses)
    limit = sight(change.rights, "s")
    found = matching(transaction, change.type, change.criteria, change.base, limit)
    if change.kind == "create":
        change.found = found
        change.id = found.id if found else ""
    elif found:
        own = change.document.data.get("id") if change.document else None
        if own is not None and own != found.id:
            raise BadRequest(
                "The criteria find another resource than the id in the body names; leave the id out."
            )
        change.id = found.id
    elif change.kind == "update" and change.document:
        change.id = change.document.data.get("id") or ""
        if change.id:
            rightful.refuse_new(change)
        current = transaction.get(change.type, change.id) if change.id else None
        if current and not current.deleted:
            raise Conflict(
                "The criteria find nothing, yet a resource of the body's id is here; update it by its id."
            )
    elif change.kind == "patch":
        raise NotFound(f"The criteria find no {change.type} to patch.")


def apply(transaction: Transaction, change: PlannedWrite) -> Done:
    """Write the change, whose document is settled."""
    if change.found:
        return Done(change.found, "found")
    is_named = change.id and change.kind != "create" and not change.is_hidden
    current = transaction.get(change.type, change.id) if is_named else None
    living = current if current and not current.deleted else None
    allowed.protect(change.type, change.id)
    expected = _expected_version(change, living)
    if change.kind == "delete":
        return _deleted(transaction, change, living, expected)
    if change.kind == "update" and living is None:
        rightful.refuse_new(change)
    if change.tried and (current is None or current.position != change.tried.position):
        change.tried = change.ready = None  # somebody else was faster
    document, outcome = (
        _tried(change, current) if change.kind == "patch" else (change.document, change.outcome)
    )
    if document is None:
        raise AssertionError("a create or update is prepared with its document")
    wrong = _remaining(transaction, document, outcome, living)
    allowed.check_transition(transaction, living, document)
    if change.ready is not None:
        method: Method = "create" if change.kind == "create" else "update"
        written = transaction.put_prepared(change.ready, method=method, if_match=expected)
    elif change.kind == "create":
        written = transaction.create(document, id=change.id or None, marks=wrong)
    else:
        written = transaction.put(document, change.id or str(uuid.uuid4()), if_match=expected, marks=wrong)
    rightful.refuse_unpacking(change, document)
    unpack(transaction, document, written.change, is_sound=not wrong)
    return Done(written.version, written.change, outcome)


def _expected_version(change: PlannedWrite, living: Version | None) -> int | None:
    """The version that the write must find; raises PreconditionFailed if it is no longer the current one."""
    if change.must_be_new and living:
        raise PreconditionFailed(
            "It is here already; without If-None-Match: * the same request would replace it."
        )
    if change.versions is None:
        return None
    if living is None or (change.versions and str(living.version) not in change.versions):
        raise PreconditionFailed(
            "It was changed or deleted since the version that If-Match names; read it again, apply your "
            "change to what you get, and send it with the new ETag."
        )
    return living.version


def _deleted(
    transaction: Transaction, change: PlannedWrite, living: Version | None, expected: int | None
) -> Done:
    if living is None:
        return Done(None, "deleted")
    written = transaction.delete(change.type, change.id, if_match=expected)
    return Done(written.version if written else None, "deleted")


def _tried(change: PlannedWrite, current: Version | None) -> tuple[Document, Outcome]:
    """What a patch makes of the current version, as it is stored."""
    if change.tried is None:
        document = _patched(change, current).document
        return document, _judged(document)
    if change.tried.document is None:
        raise change.tried.error or AssertionError("a patch has a result")
    return change.tried.document, change.tried.outcome


def _patched(change: PlannedWrite, current: Version | None) -> Settled:
    if current is None or change.patch is None:
        raise NotFound(f"There is no {change.type}/{change.id} to patch.")
    return change.settle(patching.applied(change.patch, current))


def _judged(document: Document) -> Outcome:
    refuse_unserved(document)
    outcome = judge(document)
    if is_part(document):
        check(outcome, document)
    return outcome


def answer(call: Call, change: PlannedWrite, done: Done) -> Answer:
    """The answer to a write, as `Prefer: return` asks; without it the whole representation."""
    version, returning = done.version, call.preferences.returning
    if done.change == "deleted":
        sentence = "Deleted." if version else "There was nothing to delete."
        if returning in ("OperationOutcome", "representation"):
            told = outcome_answer(Outcome((Issue("information", "informational", sentence),)))
            return replace(told, version=version)
        return Answer(204, version=version)
    if version is None:
        raise AssertionError("a write that stores something gives its version")
    status = 201 if done.change == "created" else 200
    place = f"{call.base}/{version.type}/{version.id}/_history/{version.version}"
    headers = {"location" if change.kind == "create" or status == 201 else "content-location": place}
    if returning == "minimal":
        return Answer(status, b"", version, headers)
    if returning == "OperationOutcome":
        said = Issue("information", "informational", f"The resource is {done.change}.")
        told = outcome_answer(Outcome((said, *done.outcome.issues)), status)
        return replace(told, version=version, headers=headers)
    return Answer(status, subset.cut(version.body, call.query), version, headers)
