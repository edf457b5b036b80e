"""The kinds of damage that a check can find, and what helps against each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from fhir_coprod.store.database import Session
from fhir_coprod.store.transaction import Transaction

REPAIR = "fhir-coprod db check --repair puts it right"
RESTORE = "it cannot be made anew: restore the backup (docs/operations.md#restore)"
UPGRADE = "run fhir-coprod db upgrade"


class Kind(NamedTuple):
    """one, many: the sentence about one of them, and about more, without the number; cure: what helps."""

    one: str
    many: str
    cure: str


_OR_RESTORE = "or restore the backup (docs/operations.md#restore)"
_GUARDED = {
    "cursor": RESTORE,
    "setting": f"fhir-coprod db upgrade writes it anew, {_OR_RESTORE}",
    "export_job": f"nobody misses it but who asked for it, who may ask again; {_OR_RESTORE}",
    "import_job": f"nobody misses it but who asked for it, who may send it again; {_OR_RESTORE}",
    "feed": (
        "the next fhir-coprod sync reads everything of that type again, but since when it could be seen is"
        f" lost; {_OR_RESTORE}"
    ),
    "unfinished": f"the next fhir-coprod sync of that EHR does without it; {_OR_RESTORE}",
    "unread": f"fhir-coprod sync --full notes anew what it is not given; {_OR_RESTORE}",
    "ehr_base": RESTORE,
    "bulk_job": f"the next fhir-coprod sync of that EHR begins its export again; {_OR_RESTORE}",
    "bulk_file": f"fhir-coprod sync --full begins that export again; {_OR_RESTORE}",
    "dead_letter": (
        "restore the backup (docs/operations.md#restore); one that is gone comes again by fhir-coprod sync"
        " --full, or if its file is loaded again"
    ),
    "letter_patient": f"fhir-coprod dead-letters replay writes it anew; {_OR_RESTORE}",
    "retired": RESTORE,
    "person_word": f"say it again (fhir-coprod people same, or different), {_OR_RESTORE}",
    "doubt": RESTORE,
    "odd_number": RESTORE,
    "numbering": RESTORE,
    "merge_base": RESTORE,
    "pause": f"say it again (fhir-coprod ehr pause, or resume), {_OR_RESTORE}",
    "sync_run": f"nothing depends on it, and it is forgotten after 200 runs; {_OR_RESTORE}",
    "joined": f"confirm it again (fhir-coprod people confirm), {_OR_RESTORE}",
    "glass": RESTORE,
    "user_grant": f"say it again (fhir-coprod users revoke, and grant), {_OR_RESTORE}",
    "client": f"the program may do nothing until then: clients remove, and clients add again, {_OR_RESTORE}",
    "signing_key": f"nothing is needed: its machine makes another within minutes; {_OR_RESTORE}",
    "erased_range": f"the versions that were erased there are told as missing; {_OR_RESTORE}",
    "erased_record": f"the next sync may take the record again, so erase it again then; {_OR_RESTORE}",
    "audit_checkpoint": (f"fhir-coprod audit verify misses what was before it in that month; {_OR_RESTORE}"),
    "share": f"nobody uses it after eight days, and then it is forgotten; {_OR_RESTORE}",
    "habit": f"the watch learns it again, but what was in use before is lost; {_OR_RESTORE}",
}
"""What helps if a row of a guarded table is altered, gone or not ours."""


def _of(place: str, cure: str) -> Kind:
    return Kind(
        f"row of table {place} is not as it was written",
        f"rows of table {place} are not as they were written",
        cure,
    )


KINDS = {
    "file": Kind("fault in the database itself", "faults in the database itself", RESTORE),
    "index-page": Kind(
        "index of the database does not fit its table",
        "indexes of the database do not fit their tables",
        REPAIR,
    ),
    "index-missing": Kind("index of the database is missing", "indexes of the database are missing", REPAIR),
    "schema": Kind("part of the schema is missing", "parts of the schema are missing", RESTORE),
    "gap": Kind("gap in the log", "gaps in the log", RESTORE),
    "version": Kind(
        "version is not as it was stored",
        "versions are not as they were stored",
        RESTORE,
    ),
    "rebuildable": Kind(
        "version is not as it was stored, and can be made anew",
        "versions are not as they were stored, and can be made anew",
        REPAIR,
    ),
    "version-missing": Kind("version is missing", "versions are missing", RESTORE),
    "order": Kind(
        "version is older than the one it follows", "versions are older than those they follow", RESTORE
    ),
    "received": Kind(
        "version whose received bytes are missing or altered",
        "versions whose received bytes are missing or altered",
        RESTORE,
    ),
    "received-orphan": Kind(
        "row of received bytes belongs to no version", "rows of received bytes belong to no version", RESTORE
    ),
    "resource": Kind(
        "resource is missing or does not point to its newest version",
        "resources are missing or do not point to their newest version",
        REPAIR,
    ),
    "resource-lost": Kind(
        "resource whose newest version is missing from the log",
        "resources whose newest version is missing from the log",
        RESTORE,
    ),
    "index": Kind(
        "resource has not the rows in the search index that it should have",
        "resources have not the rows in the search index that they should have",
        REPAIR,
    ),
    "index-orphan": Kind(
        "key whose rows in the search index belong to no living resource",
        "keys whose rows in the search index belong to no living resource",
        REPAIR,
    ),
    "relation": Kind(
        "referral of which not the departments know that should",
        "referrals of which not the departments know that should",
        REPAIR,
    ),
    "objection": Kind(
        "patient whose objections are not those of their Consents; no department sees their record",
        "patients whose objections are not those of their Consents; no department sees their records",
        REPAIR,
    ),
    "index-stale": Kind(
        "type whose search index was made by other definitions",
        "types whose search index was made by other definitions",
        UPGRADE,
    ),
    "marks": Kind(
        "resource whose marks are missing or altered", "resources whose marks are missing or altered", REPAIR
    ),
    "marks-lost": Kind(
        "resource whose marks are missing or altered, and do not come out the same",
        "resources whose marks are missing or altered, and do not come out the same",
        "fhir-coprod quality --check-again judges it again, but since when it is so is lost; or restore the"
        " backup (docs/operations.md#restore)",
    ),
    "marks-orphan": Kind(
        "key whose marks belong to no living resource",
        "keys whose marks belong to no living resource",
        REPAIR,
    ),
    "record": Kind(
        "record of an EHR is not as it was taken",
        "records of EHRs are not as they were taken",
        RESTORE,
    ),
    "record-key": Kind(
        "record of an EHR has not the keys and references that it should have",
        "records of EHRs have not the keys and references that they should have",
        REPAIR,
    ),
    "record-orphan": Kind(
        "record of an EHR is no longer known, though its bytes or keys are there",
        "records of EHRs are no longer known, though their bytes or keys are there",
        RESTORE,
    ),
    "letter": Kind(
        "dead letter is not as it was received", "dead letters are not as they were received", RESTORE
    ),
    "feed": Kind(
        "type of an EHR about which nothing is known, or what cannot be",
        "types of EHRs about which nothing is known, or what cannot be",
        "The next fhir-coprod sync --full puts it right, but since when it is so is lost; or restore the"
        " backup (docs/operations.md#restore)",
    ),
    "letter-orphan": Kind(
        "dead letter is gone whose patients are still noted",
        "dead letters are gone whose patients are still noted",
        "fhir-coprod db check --repair takes the notes away; the letter itself is told of apart",
    ),
    "orphan": Kind(
        "row belongs to something that is not there", "rows belong to something that is not there", RESTORE
    ),
    "standing": Kind(
        "referral whose standing is missing or altered",
        "referrals whose standing is missing or altered",
        "fhir-coprod db check --repair has the watch judge it anew",
    ),
    "standing-orphan": Kind(
        "standing of a referral that is not there", "standings of referrals that are not there", REPAIR
    ),
    "cursor": Kind(
        "reader of the log is beyond its end",
        "readers of the log are beyond its end",
        RESTORE,
    ),
    "sequence": Kind(
        "counter is behind the numbers that it has given",
        "counters are behind the numbers that they have given",
        REPAIR,
    ),
    "checksum": Kind("checksum of a row was altered", "checksums of rows were altered", REPAIR),
    "recoverable": Kind(
        "row of a small table is altered, gone or not ours, and can be made anew",
        "rows of small tables are altered, gone or not ours, and can be made anew",
        "fhir-coprod db check --repair makes it anew, or has the watch do so when it next runs",
    ),
    **{f"{place.replace('_', '-')}-row": _of(place, cure) for place, cure in _GUARDED.items()},
    "lease": Kind("lease that does not end", "leases that do not end", REPAIR),
    "setting": Kind(
        "setting of the store is missing or cannot be read",
        "settings of the store are missing or cannot be read",
        REPAIR,
    ),
}


class Fault(NamedTuple):
    """One thing that is wrong.

    at:  what it is about, such as `Patient/1/_history/2`, or a place in the log; no personal data
    why: more about it in a few words; may be empty
    is_stuck: whether a repair was tried, and it is still there
    """

    kind: str
    at: str
    why: str = ""
    is_stuck: bool = False

    @property
    def cure(self) -> str:
        """What helps."""
        cure = KINDS[self.kind].cure
        return RESTORE if self.is_stuck and cure == REPAIR else cure

    def to_json(self) -> dict[str, str]:
        """As `fhir-coprod db check --json` prints it."""
        return {"kind": self.kind, "at": self.at, "why": self.why, "cure": self.cure}


Mend = Callable[[Transaction], None]
"""Repairs something, with the log locked. May be done again."""


@dataclass(frozen=True, slots=True)
class Portion:
    """The result of looking at one portion of the store.

    faults: what is wrong in it
    mends:  what repairs it, as far as that is possible
    last:   where the next portion begins; None after the last one
    done:   how much of the whole has been looked at
    """

    faults: list[Fault]
    mends: list[Mend]
    last: Any
    done: float = 0.0


class Part(Protocol):
    """A part of the check, done in portions."""

    name: str

    def portion(self, session: Session, after: Any) -> Portion:
        """Look at what comes after a place; the first is before everything."""


FIRST = -(2**63)


def cut(sizes: list[tuple[int, int]], most_bytes: int) -> Iterator[int]:
    """The places of a portion, out of (place, bytes), that fit into so many bytes; the first always fits."""
    left = most_bytes
    for number, (place, size) in enumerate(sizes):
        left -= size
        if left < 0 and number:
            return
        yield place
