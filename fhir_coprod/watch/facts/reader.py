"""Reads the facts about referrals from the store: about one, or about all of them in few queries.

Referrals are read a portion at a time. From a portion's ServiceRequests the search index leads to the
resources that name them, then to those that name these (a Communication about an Appointment, a document of
an Encounter), and so on: a fixed number of queries for a portion of any size. Every referral is read, not
only those with some open status, because `assess` decides whether one is closed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import msgspec
from sqlalchemy import Connection, exists, select
from sqlalchemy.exc import SQLAlchemyError

from fhir_coprod import watched
from fhir_coprod.errors import CoprodError, NotFound
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, index
from fhir_coprod.store.schema import core
from fhir_coprod.watch.facts import identifiers, queries
from fhir_coprod.watch.facts.above import ordered_for, orders_above
from fhir_coprod.watch.facts.habits import Practices
from fhir_coprod.watch.facts.newest import Newest, Row, Texts
from fhir_coprod.watch.facts.portion import Portion
from fhir_coprod.watch.facts.referrals import roots_from
from fhir_coprod.watch.facts.siblings import how_indexed, siblings_of
from fhir_coprod.watch.facts.staff import Staff
from fhir_coprod.watch.facts.visibility import (
    blind_feeds,
    may_concern,
    unread_records,
    unreadable_around,
)
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.record.around import Held
from fhir_coprod.watch.record.compose import compose
from fhir_coprod.watch.record.fhir import batches, is_followup, moment, split, target, targets, task_request
from fhir_coprod.watch.record.model import Blind, Facts
from fhir_coprod.watch.record.results import patients_named
from fhir_coprod.watch.record.tasks import asks
from fhir_coprod.watch.rules.task import ABSENT, DEAD

PORTION: Final = 400
"""Referrals read at a time: enough that the number of queries does not matter, few enough for memory and
SQL."""

_HOPS: Final = 4
_NOT_ASKED: Final = DEAD | ABSENT
"""Statuses of a Task that asks its owner no longer, or not yet."""


def gather(
    store: Store, referral_id: str, settings: Settings | None = None, *, pulled_since: datetime | None = None
) -> Facts:
    """Facts about one referral.

    referral_id:  id of a ServiceRequest, or `Communication/id` for a patient's request made by message.
    settings:     the site's time zone and its EHRs; without them UTC, and any EHR may hold anybody's records.
    pulled_since: if given, a feed whose last complete pull was before that counts as behind.

    Raises NotFound if there is no such resource, or it is not a referral.
    """
    with store.connect() as connection:
        return read_one(Reader(connection, settings or Settings(), pulled_since), referral_id)


def read_one(reader: Reader, referral_id: str) -> Facts:
    """Facts about one referral by an existing reader; see `gather`."""
    name = full_name(referral_id)
    for around in reader.read(reader.by_reference({split(name)}), strict=True):
        if around.facts is not None:
            return around.facts
    raise NotFound(f"There is no referral {name}.")


def full_name(referral_id: str) -> str:
    """A referral's reference, from an id or a reference."""
    return referral_id if "/" in referral_id else f"ServiceRequest/{referral_id}"


def all_open(
    store: Store, settings: Settings | None = None, *, pulled_since: datetime | None = None
) -> Iterator[Facts]:
    """Facts about every referral and every patient's request, oldest first; see `gather`.

    Referrals that cannot be read because of a fault in our code are left out; `present.look` reports them.
    """
    with store.connect() as connection:
        for portion in portions(Reader(connection, settings or Settings(), pulled_since)):
            for found in portion:
                if found.facts is not None:
                    yield found.facts


def portions(reader: Reader) -> Iterator[list[Found]]:
    """Every referral and every patient's request, a portion at a time, even while others write."""
    start = 0
    while roots := roots_from(reader.connection, start, PORTION):
        reader.forget()
        yield list(reader.read(reader.by_key(root.key for root in roots)))
        start = roots[-1].key + 1


_LeadsTo = defaultdict[int, set[int]]
"""From the key of a resource to the keys of the referrals that it may belong to."""


@dataclass(frozen=True, slots=True)
class Found:
    """One referral as found in the store."""

    referral: str
    facts: Facts | None
    """None if a fault in our code kept them from being read."""
    followups: tuple[Json, ...] = ()
    """The watch's own Tasks about it, open or not."""
    fault: str = ""
    """The kind of that fault."""
    ehr: str = ""
    """The EHR that its newest version came from; "" if it did not come from one."""
    from_ehr: bool = False
    """Whether it or anything that belongs to it came from an EHR."""


class Reader:
    """Reads portions of referrals; remembers who is behind each role, and which feeds are blind."""

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        pulled_since: datetime | None = None,
        parsed: Texts | None = None,
        hidden: int = 0,
    ) -> None:
        self.connection, self._newest = connection, Newest(connection, parsed, hidden)
        self.zone = settings.site.zone
        self._staff = Staff(connection, self._newest, settings)
        self._around = self._staff.around(self.zone)
        self.surroundings = " ".join(
            (
                self.zone.key,
                how_indexed(connection),
                self._staff.words.fingerprint.hex(),
                *self._staff.named,
            )
        )
        """What facts depend on beside the record."""
        self._settings, self._pulled_since = settings, pulled_since

    # Those who only look something up need none of these, and they grow with what could not be taken in.

    @cached_property
    def practices(self) -> Practices:
        """Which steps are in use."""
        return Practices.known(self.connection, self._settings)

    @cached_property
    def blind(self) -> tuple[Blind, ...]:
        """The feeds that cannot be seen."""
        return blind_feeds(self.connection, self._settings, self._pulled_since)

    @cached_property
    def unread(self) -> Mapping[str, tuple[Blind, ...]]:
        """What is not seen of single records, by reference."""
        return unread_records(self.connection)

    def read(self, roots: Collection[Row], *, strict: bool = False) -> Iterator[Found]:
        """The facts of each root that is a referral.

        strict: raise a fault in our code; otherwise note it in `Found.fault` and go on with the others.
        """
        roots = [root for root in roots if root.is_referral]
        if not roots:
            return
        try:
            portion: Portion | None = self._around_all(roots)
        except (SQLAlchemyError, CoprodError):
            raise
        except Exception:
            if strict:
                raise
            portion = None  # one of them holds up no other: each is read by itself
        for root in roots:
            try:
                found = self._found(root, portion or self._around_all([root]))
            except (SQLAlchemyError, CoprodError):
                raise
            except Exception as error:
                if strict:
                    raise
                found = Found(root.reference, None, fault=type(error).__name__)
            yield found

    def _around_all(self, roots: Collection[Row]) -> Portion:
        """All that is needed to read these referrals."""
        found, leads_to = self._follow(roots)
        patients = {_patient_of(root) for root in roots}
        people = {row.reference: row for row in self.by_reference({split(name) for name in patients})}
        of_patient = self._by_patient(patients)
        strays = self._strays(patients)
        older = self._earlier_versions(found.values())
        families = siblings_of(self.connection, self._newest, roots, lambda root: self._written(root, older))
        siblings = list({row.key: row for rows in families.values() for row in rows}.values())
        asked = self._departments_asked(siblings)
        above = orders_above(self.connection, self._newest, roots)
        self._staff.learn([*found.values(), *siblings, *(row for rows in above.values() for row in rows)])
        older |= self._earlier_versions([row for row in siblings if row.key not in found])
        related: dict[int, list[Row]] = {root.key: [] for root in roots}
        for row in found.values():
            for key in leads_to[row.key]:
                if key != row.key:
                    related[key].append(row)
        wishes: dict[str, list[Row]] = {}
        for row in of_patient["CommunicationRequest"]:
            for patient in patients_named(row.data):
                wishes.setdefault(patient, []).append(row)
        proxies: dict[str, list[str]] = {}
        for row in of_patient["RelatedPerson"]:
            if row.data.get("active") is not False:
                proxies.setdefault(target(row.data.get("patient")), []).append(row.reference)
        return Portion(related, families, above, people, wishes, proxies, strays, asked, older)

    def _found(self, root: Row, portion: Portion) -> Found:
        """One referral with its facts and its follow-ups."""
        patient, ehr = _patient_of(root), _ehr_of(root)
        related = {row.key: row for row in (*portion.related[root.key], *portion.wishes.get(patient, ()))}
        rows = related.values()
        family, above = portion.families.get(root.key, ()), portion.above.get(root.key, ())
        from_ehr = bool(ehr) or any(_ehr_of(row) for row in rows)
        older = portion.older
        facts = compose(
            _held(root, older),
            [_held(row, older) for row in rows],
            [
                (_held(row, older), self._around.parties(*portion.asked.get(row.reference, ())))
                for row in family
            ],
            tuple(portion.proxies.get(patient, ())),
            (
                *self._blind_at(root, rows, from_ehr=from_ehr),
                *unreadable_around(root, rows, family, portion.strays[patient], self.zone),
            ),
            self._around,
            patient=_held(portion.people[patient], {}) if patient in portion.people else None,
            ordered_for=ordered_for(root, rows, above, self._around),
        )
        followups = tuple(
            row.data
            for row in rows
            # A message that belongs to it may itself ask for a referral, and have its own follow-ups.
            if is_followup(row.data) and target(row.data.get("focus")) == root.reference
        )
        facts = self.practices.applied(facts, ehr)
        return Found(root.reference, facts, followups, ehr=ehr, from_ehr=from_ehr)

    # -- finding ---------------------------------------------------------------------------------------

    @property
    def texts(self) -> Texts:
        """The parsed versions that were read since `forget`."""
        return self._newest.texts

    def forget(self) -> None:
        """Drop all that was read; call it before each portion, so that only one is in memory."""
        self._newest.forget()

    def by_key(self, keys: Iterable[int]) -> list[Row]:
        """The newest versions of resources, without those deleted; each is read once until `forget`."""
        return self._newest.by_key(keys)

    def by_reference(self, references: Collection[tuple[str, str]]) -> list[Row]:
        """The same by (type, id)."""
        return self._newest.by_name(references)

    def referrals_among(self, references: Iterable[str]) -> set[str]:
        """Those of the references that are referrals at present."""
        rows = self.by_reference({split(name) for name in references})
        return {row.reference for row in rows if row.is_referral}

    def open_tasks(self, *kinds: str) -> list[Json]:
        """The watch's own Tasks of these kinds that ask somebody to act; those that wait as drafts do not."""
        token = core.token.c
        ours = select(token.key).where(token.param == index.number("Task", "code"), token.code.in_(kinds))
        statement = select(token.key).where(
            token.param == index.number("Task", "status"), token.code.in_(followup.OPEN), token.key.in_(ours)
        )
        keys = list(self.connection.execute(statement).scalars())
        return [
            row.data
            for some in batches(keys, PORTION)
            for row in self.by_key(some)
            if followup.is_kind(row.data, *kinds)
        ]

    def followups_of(self, referral: str) -> tuple[Json, ...]:
        """The watch's own Tasks about a referral, which may no longer exist itself."""
        return self.followups((referral,)).get(referral, ())

    def followups(self, referrals: Collection[str]) -> dict[str, tuple[Json, ...]]:
        """The watch's own Tasks about each referral that has any."""
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

    def _naming(
        self, links: Iterable[tuple[int, str, str]], types: Collection[str]
    ) -> list[tuple[int, str, str]]:
        """The resources that name these: (key of the one that names, type and id that it names)."""
        names: dict[int, set[str]] = {}
        for param, _type, id in links:
            names.setdefault(param, set()).add(id)
        found: list[tuple[int, str, str]] = []
        groups: dict[frozenset[str], list[int]] = {}
        for param, ids in names.items():
            groups.setdefault(frozenset(ids), []).append(param)
        for wanted, params in groups.items():
            for some in batches(wanted, queries.AT_ONCE):
                values = {"params": params, "ids": some, "types": list(types)}
                found += [
                    (key, type, id) for key, type, id in self.connection.execute(queries.NAMING, values)
                ]
        return found

    def _follow(self, roots: Collection[Row]) -> tuple[dict[int, Row], _LeadsTo]:
        """All that name the roots directly or through others, by key, and the roots that each leads to."""
        found = {root.key: root for root in roots}
        leads_to: _LeadsTo = defaultdict(set, {root.key: {root.key} for root in roots})
        at = {(root.type, root.id): root.key for root in roots}
        edge: list[Row] = list(roots)
        for _ in range(_HOPS):
            links = [
                (index.number(type, parameter), row.type, row.id)
                for row in edge
                for type, parameter in watched.LINKS.get(row.type, ())
            ]
            naming = self._naming(links, {row.type for row in edge}) if links else []
            naming += identifiers.naming(self.connection, edge)
            new = {row.key: row for row in self.by_key({key for key, _, _ in naming} - found.keys())}
            outputs = self._outputs(edge, at, leads_to)
            found |= new
            reached: dict[int, Row] = {}
            for key, type, id in naming:
                source = at.get((type, id))
                row = found.get(key)
                if source is not None and row and not leads_to[source] <= leads_to[key]:
                    leads_to[key] |= leads_to[source]
                    reached[key] = row
            for row in outputs:
                found[row.key] = reached[row.key] = row
            for row in reached.values():
                at[row.type, row.id] = row.key
            edge = list(reached.values())
            if not edge:
                break
        return found, leads_to

    def _outputs(
        self, edge: Iterable[Row], at: Mapping[tuple[str, str], int], leads_to: _LeadsTo
    ) -> list[Row]:
        """Reports and documents that the output of a Task names, if they lead to roots not known yet."""
        wanted: dict[tuple[str, str], set[int]] = {}
        for row in edge:
            if row.type != "Task" or not row.data.get("output"):
                continue
            for name in targets(output.get("valueReference") for output in row.data["output"]):
                type, _, id = name.partition("/")
                if type in watched.OUTPUTS:
                    wanted.setdefault((type, id), set()).update(leads_to[row.key])
        news = [name for name in wanted if name not in at or not wanted[name] <= leads_to[at[name]]]
        reached = self.by_reference(news)
        for row in reached:
            leads_to[row.key] |= wanted[row.type, row.id]
        return reached

    def _by_patient(self, patients: Iterable[str]) -> dict[str, list[Row]]:
        """What belongs to the patients themselves: their wishes and relatives."""
        kinds = {index.number(type, parameter): type for type, parameter in watched.OF_PATIENT}
        ids = {name.partition("/")[2] for name in patients if name.startswith("Patient/")}
        links = [(param, "Patient", id) for param in kinds for id in ids]
        keys = {key for key, _, _ in self._naming(links, {"Patient"})} if links else set()
        rows: dict[str, list[Row]] = {type: [] for type in kinds.values()}
        for row in self.by_key(keys):
            rows[row.type].append(row)
        return rows

    def _written(self, root: Row, older: Mapping[str, list[tuple[datetime, Json]]]) -> datetime:
        """When a referral was written; when it was first stored if it does not say."""
        versions = older.get(root.reference)
        first = versions[0][0] if versions else root.updated
        return moment(root.data.get("authoredOn"), self.zone) or first

    def _strays(self, patients: Iterable[str]) -> dict[str, list[Row]]:
        """By patient, records that name what they belong to in a form that cannot be read."""
        ids = {name.partition("/")[2] for name in patients if name.startswith("Patient/")}
        links = [(index.number(*pair), "Patient", id) for pair in watched.STRAYS for id in ids]
        keys: dict[int, set[str]] = {}
        for key, _, id in self._naming(links, {"Patient"}) if links else ():
            keys.setdefault(key, set()).add(f"Patient/{id}")
        found = defaultdict[str, list[Row]](list)
        for row in self.by_key(keys):
            for patient in keys[row.key]:
                found[patient].append(row)
        return found

    def _departments_asked(self, siblings: Collection[Row]) -> dict[str, list[Json]]:
        """The owners of each sibling's Tasks."""
        focus = index.number("Task", "focus")
        links = [(focus, row.type, row.id) for row in siblings]
        keys = {key for key, _, _ in self._naming(links, {"ServiceRequest"})} if links else set()
        owners: dict[str, list[Json]] = {}
        for row in self.by_key(keys):
            if (
                row.data.get("status") not in _NOT_ASKED
                and isinstance(row.data.get("owner"), dict)
                and asks(row.data, (), self._around)
            ):
                for name in task_request(row.data):
                    owners.setdefault(name, []).append(row.data["owner"])
        return owners

    def _earlier_versions(self, rows: Iterable[Row]) -> dict[str, list[tuple[datetime, Json]]]:
        """Every version since the last deletion, for resources with more than one version."""
        by_type: dict[str, set[str]] = {}
        for row in rows:
            if row.version > 1 and watched.WATCHED[row.type].is_history:
                by_type.setdefault(row.type, set()).add(row.id)
        found: dict[str, list[tuple[datetime, Json]]] = {}
        for type, ids in by_type.items():
            found |= self._newest.versions(type, ids)
        return found

    # -- what cannot be seen ---------------------------------------------------------------------------

    def _blind_at(self, root: Row, rows: Iterable[Row], *, from_ehr: bool) -> tuple[Blind, ...]:
        if not self.blind and not self.unread:
            return ()
        patient = target(root.data.get("subject")) or target(root.data.get("sender"))
        names = (*(row.reference for row in (root, *rows)), patient)
        unread = [
            blind
            for name in dict.fromkeys(names)
            for blind in self.unread.get(name, ())
            if may_concern(root, blind.made, self.zone)
        ]
        requesters = self._around.parties(root.data.get("requester"))
        return (*unread, *self.blind_for(_ehr_of(root), requesters, from_ehr=from_ehr))

    def blind_for(self, ehr: str, requesters: tuple[str, ...], *, from_ehr: bool) -> tuple[Blind, ...]:
        """Which blind feeds matter to a referral, and for which of its parties.

        The requester's records are at the EHR that the referral came from (`ehr`); a department's records are
        at the EHR that the settings name for it. An EHR without a named department may hold anybody's
        records, unless nothing of this referral came from an EHR (`from_ehr`). A record of this very referral
        whose newest version could not be taken in always matters, and is not included here.
        """
        matters = []
        for blind in self.blind:
            own = requesters if ehr == blind.ehr else ()
            if blind.departments:
                matters.append(msgspec.structs.replace(blind, departments=(*blind.departments, *own)))
            elif from_ehr:
                matters.append(blind)
        return tuple(matters)


def _patient_of(root: Row) -> str:
    """The patient of a referral, or of a message by which one asks for it."""
    return target(root.data.get("subject")) or target(root.data.get("sender"))


def _ehr_of(row: Row) -> str:
    return row.source.removeprefix("ehr:") if row.source.startswith("ehr:") else ""


def _held(row: Row, older: Mapping[str, list[tuple[datetime, Json]]]) -> Held:
    versions = older.get(row.reference)
    return Held(row.reference, tuple(versions) if versions else ((row.updated, row.data),))
