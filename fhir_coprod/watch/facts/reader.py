"""Facts from the store: around one referral, or around all of them in few queries.

Referrals are read a portion at a time. From a portion's ServiceRequests the search index leads to what names
them, from there to what names that (a Communication about an Appointment, a document of an Encounter), and so
on: a fixed number of queries a portion, whatever its size. Every referral is read, not those of some list of
open statuses: whether one is closed is for `assess` to say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Select, exists, select

from fhir_coprod import jsontext
from fhir_coprod.errors import NotFound
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, index
from fhir_coprod.store.schema import core
from fhir_coprod.store.versions import from_milliseconds
from fhir_coprod.watch.facts import queries
from fhir_coprod.watch.facts.referrals import roots_from
from fhir_coprod.watch.facts.visibility import blind_feeds, unread_records
from fhir_coprod.watch.record.compose import Held, Surroundings, compose
from fhir_coprod.watch.record.fhir import (
    batches,
    is_asking,
    is_followup,
    is_referral_task,
    split,
    target,
    targets,
)
from fhir_coprod.watch.record.model import Blind, Facts

PORTION: Final = 400
"""Referrals read at a time: large enough that queries do not matter, small enough for memory and SQL."""

LINKS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "ServiceRequest": (
        ("Task", "focus"),
        ("Task", "based-on"),
        ("Appointment", "based-on"),
        ("Encounter", "based-on"),
        ("DiagnosticReport", "based-on"),
        ("DocumentReference", "related"),
        ("Communication", "about"),
        ("Communication", "based-on"),
        ("CommunicationRequest", "based-on"),
    ),
    "Task": (
        ("Task", "focus"),
        ("Task", "based-on"),
        ("Task", "part-of"),
        ("DocumentReference", "related"),
        ("Communication", "about"),
        ("Communication", "based-on"),
    ),
    "Appointment": (
        ("Encounter", "appointment"),
        ("DocumentReference", "related"),
        ("Communication", "about"),
    ),
    "Encounter": (("DocumentReference", "encounter"), ("Communication", "about")),
    "DiagnosticReport": (("Communication", "about"), ("Task", "focus")),
    "DocumentReference": (("Communication", "about"), ("Task", "focus")),
    "Communication": (("Communication", "about"), ("Task", "focus"), ("Task", "based-on")),
}
"""From a type to the (type, search parameter) by which other resources name it."""

_STAFF: Final[Mapping[str, tuple[str, ...]]] = {
    "PractitionerRole": ("practitioner", "organization"),
    "HealthcareService": ("providedBy",),
    "Location": ("managingOrganization",),
}
"""Who stands behind a role, a service or a place."""
_STAFF_TYPES: Final = tuple(f"{type}/" for type in _STAFF)

_PARTIES: Final = (
    "requester",
    "owner",
    "performer",
    "resultsInterpreter",
    "author",
    "custodian",
    "recipient",
)
_HOPS: Final = 4
_AT_ONCE: Final = 5000
"""Values in one statement: databases take some tens of thousands, and one referral may have more letters."""


def gather(
    store: Store, referral_id: str, settings: Settings | None = None, *, pulled_since: datetime | None = None
) -> Facts:
    """Facts about one referral.

    referral_id:  of a ServiceRequest, or `Communication/id` for a patient's request made by message.
    settings:     the site's time zone and its EHRs; without them UTC, and any EHR may hold anybody's records.
    pulled_since: when given, a feed that was last pulled whole before that counts as behind.

    Raises NotFound when there is no such resource, or it is no referral.
    """
    with store.connect() as connection:
        return read_one(Reader(connection, settings or Settings(), pulled_since), referral_id)


def read_one(reader: Reader, referral_id: str) -> Facts:
    """The same by a reader that is there already."""
    name = full_name(referral_id)
    for around in reader.read(reader.by_reference({split(name)}), strict=True):
        if around.facts is not None:
            return around.facts
    raise NotFound(f"There is no referral {name}.")


def full_name(referral_id: str) -> str:
    """A referral's reference, of one that may go without its type."""
    return referral_id if "/" in referral_id else f"ServiceRequest/{referral_id}"


def all_open(
    store: Store, settings: Settings | None = None, *, pulled_since: datetime | None = None
) -> Iterator[Facts]:
    """Facts about every referral and every patient's request, oldest first; see `gather`.

    Those that a fault of ours keeps from being read are left out: `looking.look` tells of them.
    """
    with store.connect() as connection:
        for portion in portions(Reader(connection, settings or Settings(), pulled_since)):
            for found in portion:
                if found.facts is not None:
                    yield found.facts


def portions(reader: Reader) -> Iterator[list[Found]]:
    """Every referral and every patient's request, a portion at a time, whatever is written meanwhile."""
    start = 0
    while roots := roots_from(reader.connection, start, PORTION):
        yield list(reader.read(reader.by_key(root.key for root in roots)))
        start = roots[-1].key + 1


@dataclass(slots=True)
class _Row:
    """The newest version of a resource."""

    key: int
    type: str
    id: str
    version: int
    updated: datetime
    source: str
    data: Json
    roots: set[int] = field(default_factory=set)
    """Keys of the referrals it may belong to."""

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"

    @property
    def is_referral(self) -> bool:
        """A ServiceRequest, or a message by which a patient asks for one."""
        return self.type == "ServiceRequest" or is_asking(self.data)


@dataclass(frozen=True, slots=True)
class Found:
    """One referral as found in the store."""

    referral: str
    facts: Facts | None
    """None when a fault of ours kept them from being read."""
    followups: tuple[Json, ...] = ()
    """The watch's own Tasks about it, open or not."""
    fault: str = ""
    """The kind of that fault."""
    ehr: str = ""
    """The EHR that its newest version came from; "" where it came from none."""
    from_ehr: bool = False
    """An EHR had a part in it."""


class Reader:
    """Reads portions; remembers who stands behind roles, and which feeds are blind."""

    def __init__(
        self, connection: Connection, settings: Settings, pulled_since: datetime | None = None
    ) -> None:
        self.connection = connection
        self.zone = settings.site.zone
        self._behind: dict[str, tuple[str, ...]] = {}
        self._around = Surroundings(self.zone, self._behind)
        self.blind = blind_feeds(connection, settings, pulled_since)
        self.unread = unread_records(connection)

    def read(self, roots: Collection[_Row], *, strict: bool = False) -> Iterator[Found]:
        """The facts of each root that is a referral.

        strict: a fault with one is raised; else it is noted there, and the others are read.
        """
        roots = [root for root in roots if root.is_referral]
        if not roots:
            return
        for root in roots:
            root.roots = {root.key}
        found = self._follow(roots)
        patients = {target(root.data.get("subject")) or target(root.data.get("sender")) for root in roots}
        of_patient = self._by_patient(patients)
        siblings = of_patient["ServiceRequest"]
        departments = self._departments_asked(siblings)
        self._learn_staff([*found.values(), *siblings])
        older = self._earlier_versions([*found.values(), *siblings])
        related: dict[int, list[_Row]] = {root.key: [] for root in roots}
        for row in found.values():
            for key in row.roots:
                if key != row.key:
                    related[key].append(row)
        wishes = _by(of_patient["CommunicationRequest"], lambda row: target(row.data.get("subject")))
        proxies = _by(of_patient["RelatedPerson"], lambda row: target(row.data.get("patient")))
        families = _by(siblings, lambda row: target(row.data.get("subject")))
        for root in roots:
            patient = target(root.data.get("subject")) or target(root.data.get("sender"))
            rows = {row.key: row for row in (*related[root.key], *wishes.get(patient, ()))}
            from_ehr = bool(_ehr_of(root)) or any(_ehr_of(row) for row in rows.values())
            try:
                facts = compose(
                    _held(root, older),
                    [_held(row, older) for row in rows.values()],
                    [
                        (_held(row, older), self._around.parties(*departments.get(row.reference, ())))
                        for row in families.get(patient, ())
                        if row.key != root.key
                    ],
                    tuple(
                        row.reference
                        for row in proxies.get(patient, ())
                        if row.data.get("active") is not False
                    ),
                    self._blind_at(root, rows.values(), from_ehr=from_ehr),
                    self._around,
                )
            except Exception as error:
                if strict:
                    raise
                yield Found(root.reference, None, fault=type(error).__name__)
                continue
            followups = tuple(
                row.data
                for row in rows.values()
                # A message that belongs to it may ask for another referral, and have follow-ups of its own.
                if is_followup(row.data) and target(row.data.get("focus")) == root.reference
            )
            yield Found(root.reference, facts, followups, ehr=_ehr_of(root), from_ehr=from_ehr)

    # -- finding ---------------------------------------------------------------------------------------

    def by_key(self, keys: Iterable[int]) -> list[_Row]:
        """The newest versions of resources, those deleted left out."""
        return [
            row
            for some in batches(sorted(keys), _AT_ONCE)
            for row in self._rows(queries.BY_KEY, {"keys": some})
        ]

    def by_reference(self, references: Collection[tuple[str, str]]) -> list[_Row]:
        """The same by (type, id)."""
        by_type: dict[str, list[str]] = {}
        for type, id in references:
            by_type.setdefault(type, []).append(id)
        rows = [
            row
            for type, ids in by_type.items()
            for some in batches(ids, _AT_ONCE)
            for row in self._rows(queries.BY_NAME, {"type": type, "ids": some})
        ]
        return sorted(rows, key=lambda row: row.key)

    def referrals_among(self, references: Iterable[str]) -> set[str]:
        """Those of these that are referrals at present."""
        rows = self.by_reference({split(name) for name in references})
        return {row.reference for row in rows if row.is_referral}

    def followups_of(self, referral: str) -> tuple[Json, ...]:
        """The watch's own Tasks about a referral, which need not exist any more."""
        return self.followups((referral,)).get(referral, ())

    def followups(self, referrals: Collection[str]) -> dict[str, tuple[Json, ...]]:
        """The watch's own Tasks about each that has any."""
        found: dict[str, tuple[Json, ...]] = {}
        reference, token = core.reference.c, core.token.c
        ours = exists().where(
            token.key == reference.key,
            token.param == index.number("Task", "code"),
            token.code == "stall-followup",
        )
        for some in batches(referrals, PORTION):
            ids = [name.partition("/")[2] for name in some]
            keys = select(reference.key).where(
                reference.param == index.number("Task", "focus"), reference.target_id.in_(ids), ours
            )
            for row in self.by_key(self.connection.execute(keys).scalars()):
                about = target(row.data.get("focus"))
                if is_followup(row.data):
                    found[about] = (*found.get(about, ()), row.data)
        return found

    def _rows(self, statement: Select[Any], values: Mapping[str, Any]) -> list[_Row]:
        return [
            _Row(key, type, id, number, from_milliseconds(updated), source, jsontext.decode(body))
            for key, type, id, number, updated, source, body in self.connection.execute(statement, values)
        ]

    def _naming(
        self, links: Iterable[tuple[int, str, str]], types: Collection[str]
    ) -> list[tuple[int, str, str]]:
        """Who names these: (key of the resource that names, type and id that it names)."""
        names: dict[int, set[str]] = {}
        for param, _type, id in links:
            names.setdefault(param, set()).add(id)
        found: list[tuple[int, str, str]] = []
        groups: dict[frozenset[str], list[int]] = {}
        for param, ids in names.items():
            groups.setdefault(frozenset(ids), []).append(param)
        for wanted, params in groups.items():
            for some in batches(wanted, _AT_ONCE):
                values = {"params": params, "ids": some, "types": list(types)}
                found += [
                    (key, type, id) for key, type, id in self.connection.execute(queries.NAMING, values)
                ]
        return found

    def _follow(self, roots: Collection[_Row]) -> dict[int, _Row]:
        """All that names the roots, or names what names them, each with the roots it leads to."""
        found = {root.key: root for root in roots}
        at = {(root.type, root.id): root for root in roots}
        edge: list[_Row] = list(roots)
        for _ in range(_HOPS):
            links = [
                (index.number(type, parameter), row.type, row.id)
                for row in edge
                for type, parameter in LINKS.get(row.type, ())
            ]
            naming = self._naming(links, {row.type for row in edge}) if links else []
            new = {row.key: row for row in self.by_key({key for key, _, _ in naming} - found.keys())}
            outputs = self._outputs(edge, at)
            found |= new
            reached: dict[int, _Row] = {}
            for key, type, id in naming:
                source = at.get((type, id))
                row = found.get(key)
                if source and row and not source.roots <= row.roots:
                    row.roots |= source.roots
                    reached[row.key] = row
            for row in outputs:
                if row.key not in found:
                    found[row.key] = row
                reached[row.key] = row
            for row in reached.values():
                at[row.type, row.id] = row
            edge = list(reached.values())
            if not edge:
                break
        return found

    def _outputs(self, edge: Iterable[_Row], at: Mapping[tuple[str, str], _Row]) -> list[_Row]:
        """Reports and documents that a Task's output names."""
        wanted: dict[tuple[str, str], set[int]] = {}
        for row in edge:
            if row.type != "Task" or not row.data.get("output"):
                continue
            for name in targets(output.get("valueReference") for output in row.data["output"]):
                type, _, id = name.partition("/")
                if type in ("DiagnosticReport", "DocumentReference"):
                    wanted.setdefault((type, id), set()).update(row.roots)
        reached = [at[name] for name in wanted if name in at and not wanted[name] <= at[name].roots]
        reached += self.by_reference([name for name in wanted if name not in at])
        for row in reached:
            row.roots |= wanted[row.type, row.id]
        return reached

    def _by_patient(self, patients: Iterable[str]) -> dict[str, list[_Row]]:
        """What belongs to the patients as such: their other referrals, wishes and relatives."""
        kinds = {
            index.number("ServiceRequest", "subject"): "ServiceRequest",
            index.number("CommunicationRequest", "subject"): "CommunicationRequest",
            index.number("RelatedPerson", "patient"): "RelatedPerson",
        }
        ids = {name.partition("/")[2] for name in patients if name.startswith("Patient/")}
        links = [(param, "Patient", id) for param in kinds for id in ids]
        keys = {key for key, _, _ in self._naming(links, {"Patient"})} if links else set()
        rows: dict[str, list[_Row]] = {type: [] for type in kinds.values()}
        for row in self.by_key(keys):
            rows[row.type].append(row)
        return rows

    def _departments_asked(self, siblings: Collection[_Row]) -> dict[str, list[Json]]:
        """Owners of the Tasks of each sibling."""
        focus = index.number("Task", "focus")
        links = [(focus, row.type, row.id) for row in siblings]
        keys = {key for key, _, _ in self._naming(links, {"ServiceRequest"})} if links else set()
        owners: dict[str, list[Json]] = {}
        for row in self.by_key(keys):
            dead = row.data.get("status") in ("rejected", "cancelled", "failed", "entered-in-error", "draft")
            if is_referral_task(row.data) and not dead and isinstance(row.data.get("owner"), dict):
                owners.setdefault(target(row.data.get("focus")), []).append(row.data["owner"])
        return owners

    def _learn_staff(self, rows: Iterable[_Row]) -> None:
        """Remember who stands behind the roles, services and places that these resources name."""
        wanted: set[tuple[str, str]] = set()
        for row in rows:
            for name in _parties(row.data):
                if name.startswith(_STAFF_TYPES) and name not in self._behind:
                    type, _, id = name.partition("/")
                    wanted.add((type, id))
                    self._behind[name] = ()
        for staff in self.by_reference(wanted):
            self._behind[staff.reference] = targets(staff.data.get(key) or {} for key in _STAFF[staff.type])

    def _earlier_versions(self, rows: Iterable[_Row]) -> dict[str, list[tuple[datetime, Json]]]:
        """Every version before the newest, since the last deletion, of those that have any."""
        by_type: dict[str, set[str]] = {}
        for row in rows:
            if row.version > 1 and row.type not in ("Communication", "RelatedPerson", "CommunicationRequest"):
                by_type.setdefault(row.type, set()).add(row.id)
        found: dict[str, list[tuple[datetime, Json]]] = {}
        portions = ((type, some) for type, ids in by_type.items() for some in batches(ids, _AT_ONCE))
        for type, some in portions:
            known = self.connection.execute(queries.VERSIONS, {"type": type, "ids": some})
            for id, updated, method, body in known:
                versions = found.setdefault(f"{type}/{id}", [])
                if method == "delete":
                    versions.clear()
                else:
                    versions.append((from_milliseconds(updated), jsontext.decode(body)))
        return found

    # -- what cannot be seen ---------------------------------------------------------------------------

    def _blind_at(self, root: _Row, rows: Iterable[_Row], *, from_ehr: bool) -> tuple[Blind, ...]:
        if not self.blind and not self.unread:
            return ()
        unread = [self.unread[row.reference] for row in (root, *rows) if row.reference in self.unread]
        requesters = self._around.parties(root.data.get("requester"))
        return (*unread, *self.blind_for(_ehr_of(root), requesters, from_ehr=from_ehr))

    def blind_for(self, ehr: str, requesters: tuple[str, ...], *, from_ehr: bool) -> tuple[Blind, ...]:
        """Which blind feeds matter to a referral, and for which of its parties.

        The requester's records are at the EHR that the referral came from (`ehr`); a department's at the EHR
        that the settings name for it. An EHR of unnamed department may hold anybody's, unless no EHR had a
        part in this referral (`from_ehr`). A record of this very referral whose newest word could not be
        taken in always matters, and is not among these.
        """
        matters = []
        for blind in self.blind:
            own = requesters if ehr == blind.ehr else ()
            if blind.departments:
                matters.append(msgspec.structs.replace(blind, departments=(*blind.departments, *own)))
            elif from_ehr:
                matters.append(blind)
        return tuple(matters)


def _ehr_of(row: _Row) -> str:
    return row.source.removeprefix("ehr:") if row.source.startswith("ehr:") else ""


def _held(row: _Row, older: Mapping[str, list[tuple[datetime, Json]]]) -> Held:
    versions = older.get(row.reference)
    return Held(row.reference, tuple(versions) if versions else ((row.updated, row.data),))


def _parties(data: Json) -> Iterator[str]:
    """Every reference of a resource to somebody who may be a role, a service or a place."""
    for key in _PARTIES:
        held = data.get(key)
        if held is None:
            continue
        for reference in held if isinstance(held, list) else (held,):
            yield target(reference)
    for participant in data.get("participant") or ():
        yield target(participant.get("actor") or participant.get("individual"))


def _by(rows: Iterable[_Row], name: Any) -> dict[str, list[_Row]]:
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return groups
