"""Defines the database tables of fhir_coprod.sync.

    crosswalk       each record taken from an EHR: the hash of what we took last, and the resource it is in
    received_base   its bytes as received, from which resources are made, and what is wrong in them
    sync_key        what records are compared by: business identifiers, birth date, names, …
    sync_reference  what a record refers to, so that it can be written again when the target arrives
    feed            per EHR and type: what we can see of it, since when, and the watermark
    unfinished      per EHR and type: how far a pull came that was cut off
    unread          what one EHR did not give us, although it gave us the rest of the type
    ehr_base        per EHR: other base addresses by which records name it
    bulk_job        per EHR: the bulk export that is under way, or the last one
    bulk_file       what is left to do of it: types, and files of records
    dead_letter     records that could not be taken in, with their bytes and the reason
    letter_patient  the patients that such a record names
    retired         resources of ours that were merged into another
    person_word     what a person said of two records: that they are the same person, or are not
    doubt           two records that may be the same person, and why; a person is asked where it matters
    odd_number      a number that names people and that different people carry
    numbering       per system of such numbers: how many are shared, how many are odd, whether it is trusted
    merge_base      the EHR's version of a resource that somebody here changed too: base of the next merge
    pause           EHRs that a person has told us to leave alone, and until when
    sync_run        what the last runs did with each EHR

Only `fhir_coprod.sync` reads them; other packages ask it for what they need.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Table, UniqueConstraint

from fhir_coprod.store.schema.columns import Long, Name, column, metadata, partial_index

crosswalk = Table(
    "crosswalk",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    Column("foreign_id", Name, primary_key=True),
    column("id", Name),  # the id of our resource; empty until it is linked
    column("version", Name),  # meta.versionId at the EHR
    column("updated", Name),  # meta.lastUpdated at the EHR, UTC, sortable; empty if it has none
    column("hash", Name),
    column("deleted", Boolean()),
    column("state", Integer()),  # 0 written, 1 to be written, 2 to be linked and written
    Column("seal", Long),  # of all other columns but id, state and linked; NULL: before there were any
    Column("linked", Long),  # the seal of its key and `id`
    Index("crosswalk_resource_idx", "type", "id"),
)
Index(
    "crosswalk_open_idx",
    crosswalk.c.state,
    crosswalk.c.type,
    sqlite_where=crosswalk.c.state > 0,
    postgresql_where=crosswalk.c.state > 0,
)

received_base = Table(
    "received_base",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    Column("foreign_id", Name, primary_key=True),
    column("body", LargeBinary()),
    Column("marks", LargeBinary()),  # what is wrong in it, in MessagePack; NULL: nothing
    Column("seal", Long),  # of all other columns; NULL: before there were any
)

sync_key = Table(
    "sync_key",
    metadata,
    Column("type", Name, primary_key=True),
    Column("kind", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("ehr", Name, primary_key=True),
    Column("foreign_id", Name, primary_key=True),
    Index("sync_key_record_idx", "ehr", "type", "foreign_id"),
    Index("sync_key_value_idx", "kind", "key"),
)

sync_reference = Table(
    "sync_reference",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    Column("foreign_id", Name, primary_key=True),
    Column("target_ehr", Name, primary_key=True),  # empty: `target` is a business identifier
    Column("target_type", Name, primary_key=True),
    Column("target", Name, primary_key=True),
    Index("sync_reference_target_idx", "target_ehr", "target_type", "target"),
)

feed = Table(
    "feed",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    column("state", Name),
    column("since", Long),
    column("reason", Name),
    column("watermark", Name),
    column("first_success", Long),  # 0: never
    column("last_success", Long),
    # When the last pull that listed everything ended; 0: never.
    column("last_full", Long, server_default="0"),
    # How many of these in a row saw fewer records than the EHR counts.
    column("short_looks", Integer(), server_default="0"),
)

unfinished = Table(
    "unfinished",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    column("body", LargeBinary()),
)

unread = Table(
    "unread",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    Column("what", Name, primary_key=True),  # Patient/id there, or the record itself
    column("reason", Name),
    column("since", Long),
)

ehr_base = Table(
    "ehr_base",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("base", Name, primary_key=True),
)

bulk_job = Table(
    "bulk_job",
    metadata,
    Column("ehr", Name, primary_key=True),
    column("body", LargeBinary()),
)

bulk_file = Table(
    "bulk_file",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),  # empty: it is about several
    Column("number", Integer(), primary_key=True),  # 0: no file, but the type itself
    column("kind", Name),  # type, output, deleted, outcome
    column("url", Name),
    column("count", Long),  # of its records, as the EHR says; -1: it does not
    column("here", Boolean()),  # it is in our folder, whole
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", Long, primary_key=True, autoincrement=True),
    column("ehr", Name),
    column("type", Name),
    column("foreign_id", Name),
    column("hash", Name),  # SHA-256 of the bytes
    column("position", Name),
    column("body", LargeBinary()),
    column("outcome", Name),
    column("received", Long),
    column("state", Name),  # open, dismissed, resolved, superseded
    column("dismissed_by", Name, server_default=""),  # who put it aside; empty if nobody did
    column("dismissed_because", Name, server_default=""),
    column("dismissed_at", Long, server_default="0"),  # 0: never
    column("seen", Long, server_default="0"),  # when it last came
    UniqueConstraint("ehr", "type", "foreign_id", "hash"),
)
partial_index("dead_letter_standing_idx", "state IN ('open', 'dismissed')", dead_letter.c.type)
partial_index("dead_letter_open_idx", "state = 'open'", dead_letter.c.ehr)

letter_patient = Table(
    "letter_patient",
    metadata,
    Column("letter", Long, primary_key=True),
    Column("ehr", Name, primary_key=True),  # empty: the patient's id is ours, in a file
    Column("foreign_id", Name, primary_key=True),
    column("made", Name),  # when the record says that it was made, as it says it; empty: unknown
)

merge_base = Table(
    "merge_base",
    metadata,
    Column("type", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    column("body", LargeBinary()),
)

retired = Table(
    "retired",
    metadata,
    Column("type", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    column("successor", Name),
    column("written", Boolean()),
)


def _pair() -> list[Column[str]]:
    """The columns that name two records of people."""
    return [Column(name, Name, primary_key=True) for name in ("ehr_a", "id_a", "ehr_b", "id_b")]


person_word = Table(
    "person_word",
    metadata,
    *_pair(),
    column("word", Name),  # same, different
    column("who", Name),  # the person's name
    column("said", Long),
    Index("person_word_other_idx", "ehr_b", "id_b"),
)

doubt = Table(
    "doubt",
    metadata,
    *_pair(),
    column("why", Name),  # empty: there is no doubt any more, and the question is to be withdrawn
    column("since", Long),
    column("asked", Boolean()),  # whether a Task asks about it
    column("look", Boolean()),  # whether to look again if a person has to be asked
    Index("doubt_other_idx", "ehr_b", "id_b"),
)
partial_index("doubt_look_idx", "look", doubt.c.ehr_a)
partial_index("doubt_asked_idx", "asked", doubt.c.ehr_a)

odd_number = Table(
    "odd_number",
    metadata,
    Column("number", Name, primary_key=True),  # system|value
    column("system", Name),
    column("people", Integer()),  # how many different people, counted up to 3
    Index("odd_number_system_idx", "system"),
)

numbering = Table(
    "numbering",
    metadata,
    Column("system", Name, primary_key=True),
    column("shared", Long),  # as last counted
    column("odd", Long),  # as last counted
    column("trusted", Boolean()),
    column("look", Boolean()),  # whether odd numbers have come or gone since it was counted
)

pause = Table(
    "pause",
    metadata,
    Column("ehr", Name, primary_key=True),
    column("since", Long),
    column("until", Long),  # 0: until a person says so
    column("because", Name),
)

sync_run = Table(
    "sync_run",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("run", Name, primary_key=True),
    column("began", Long),
    column("ended", Long),  # 0: it has not, or it was cut off
    column("result", Name),  # running, ok, faults, failed, cut-off
    column("words", Name),  # what was wrong, without ids; empty if nothing was
    column("read", Long),
    column("changed", Long),  # created, updated and deleted records
    column("dead", Long),
    Index("sync_run_began_idx", "ehr", "began"),
)
