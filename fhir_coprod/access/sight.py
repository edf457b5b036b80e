"""What a caller may see and change: `Rights` as the conditions that every query takes along.

Programs with `system/` scopes reach what these name, whatever its labels. Everybody else is limited by
compartment or department as well, and by security labels; see docs/access.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Literal

from fhir_coprod.access.rights import ALL_DEPARTMENTS, EVERYTHING, Rights
from fhir_coprod.errors import BadRequest
from fhir_coprod.store import Store, index, labels, relations
from fhir_coprod.store.search import compartments, parameters
from fhir_coprod.store.search.conditions import (
    Any_,
    Both,
    Chained,
    ChainedByUrl,
    Condition,
    Has,
    HasByUrl,
    Indexed,
    Not,
    Own,
    Sql,
)
from fhir_coprod.store.search.sight import (
    APART,
    Known,
    Nothing,
    Of,
    OfKnown,
    Sent,
    Sight,
    Unmoved,
    Unrefused,
    Without,
    condition_on,
    either,
    together,
)
from fhir_coprod.store.search.sight import parameters as looked_at_by
from fhir_coprod.store.search.standpoint import MAX_DEPTH, Standpoint
from fhir_coprod.store.values import cut

OPEN: Final = frozenset(
    {
        # Who works where, and how to reach them: every referral names them.
        *("Endpoint", "HealthcareService", "Location", "Organization", "OrganizationAffiliation"),
        *("Practitioner", "PractitionerRole"),
        # What medicines and materials are, not who takes them.
        *("DeviceDefinition", "Medication", "MedicationKnowledge", "Substance", "SubstanceSpecification"),
        # Terminology, profiles and knowledge; they are about nobody.
        *("ActivityDefinition", "CapabilityStatement", "ChargeItemDefinition", "CodeSystem"),
        *("CompartmentDefinition", "ConceptMap", "EventDefinition", "GraphDefinition", "ImplementationGuide"),
        *("Library", "Measure", "MessageDefinition", "NamingSystem", "ObservationDefinition"),
        *("OperationDefinition", "PlanDefinition", "Questionnaire", "SearchParameter"),
        *("SpecimenDefinition", "StructureDefinition", "StructureMap", "TerminologyCapabilities", "ValueSet"),
    }
)
"""Types that departments and patients read whole, since no patient is in them; they change none of them.

What is neither here nor in a Patient compartment is nothing to them: a Bundle, a Binary, a Linkage or a
MessageHeader may hold anybody's record, and nobody can tell whose.
"""
CLOSED: Final = frozenset({"Group", "Person"})
"""Types in the Patient compartment that name several people: each of them would learn of the others."""
_NOT_OF_DEPARTMENTS: Final = frozenset({"AuditEvent"})
"""A patient may know who has read a record; a department does not watch the others."""
_BESIDE: Final = {"Task": ("patient",), "Device": ("patient",)}
"""Types that R4 has in no compartment, and that are a patient's all the same."""
_WRITING: Final = frozenset("cud")

Reach = Literal["all", "open", "patient", "compartment", "referral", "alert", "nothing"]


def sight(rights: Rights, letters: str) -> Sight | None:
    """What these rights let one do; None: everything. It holds every one of the letters out of `cruds`."""
    if rights is EVERYTHING:
        return None
    # Who it is matters only where a patient may refuse something to a person.
    name = rights.name if _is_refusable(rights) else ""
    return _sight(replace(rights, name=name, session=""), letters)


def sight_on(rights: Rights, letters: str, type: str) -> Sight | None:
    """The same for what is about one type: None if everything of it is in sight, deletions as well."""
    limit = sight(rights, letters)
    return None if limit is None or condition_on(limit, (type,)) is None else limit


def _is_refusable(rights: Rights) -> bool:
    """Whether what patients refuse counts for this caller: for the staff, and whatever acts for them. A
    program with `system/` scopes carries records between systems, each of which has to obey the patient."""
    return rights.kind in ("person", "program") and any(scope.context == "user" for scope in rights.scopes)


@lru_cache(4096)
def _sight(rights: Rights, letters: str) -> Sight | None:
    found = _OfRights(rights, letters)
    if rights.kind in ("local", "program") and all(
        any(
            scope.type == "*" and letter in scope.actions and not scope.criteria and scope.context == "system"
            for scope in rights.scopes
        )
        for letter in letters
    ):
        return None
    return found


def seen(store: Store, rights: Rights, references: Iterable[str]) -> frozenset[str]:
    """Which of these references (`ServiceRequest/1`) lead to what this caller may see, found by one query
    for each type; for pages that list many."""
    return store.seen(sight(rights, "r"), references)


def barring(rights: Rights) -> int:
    """The labels of which one keeps a record from this caller, as bits (`store.labels`); 0: none does."""
    return _OfRights(rights, "r").barred


@dataclass(frozen=True, slots=True)
class _OfRights(Sight):
    """What the scopes, compartments, departments and labels of some rights leave."""

    rights: Rights
    letters: str

    @property
    def name(self) -> str:
        own = self.rights
        asked = repr(
            (
                *(own.kind, own.name, own.scopes, own.patient, own.departments, sorted(own.cleared)),
                *(own.glass, own.practitioner, self.letters),
            )
        )
        return blake2b(asked.encode(), digest_size=12).hexdigest()

    def over(self, types: tuple[str, ...]) -> Condition | None:
        groups: dict[tuple[object, ...], list[str]] = {}
        for type in types:
            criteria = self._criteria(type)
            reach = self._reach(type)
            if criteria is not None and (reach != "nothing" or self._through_glass((type,)) is not None):
                # Criteria are read for a type, so each type with some is by itself.
                alone = type if criteria else ""
                groups.setdefault((reach, alone), []).append(type)
        parts = [(tuple(some), self._limit(tuple(some))) for some in groups.values()]
        if not parts:
            return Nothing()
        if len(parts) == 1 and parts[0][0] == types:
            return parts[0][1]
        if sum(len(some) for some, _ in parts) == len(types) and not any(limit for _, limit in parts):
            return None
        return either(Of(some, limit) for some, limit in parts)

    def looked_at(self, type: str) -> frozenset[int] | None:
        reach = self._reach(type)
        own: frozenset[int]
        if reach == "referral":
            own = relations.looked_at(type)
        elif reach == "alert":
            own = frozenset((*_leading(type), index.number(type, "implicated")))
        elif reach == "compartment":
            own = frozenset(_leading(type))
        else:
            own = frozenset()
        more = looked_at_by(together(self._by_criteria(type)))
        return None if more is None else own | more

    def _limit(self, types: tuple[str, ...]) -> Condition | None:
        """The condition on types that are reached in the same way."""
        mask = self.barred
        criteria = self._by_criteria(types[0])
        reached = together((self._reached(types), self._unrefused(types)))
        broken = self._through_glass(types)
        if broken is not None and reached is not None:
            reached = either((reached, broken))
        return together((reached, *criteria, Without(mask) if mask else None))

    def _unrefused(self, types: tuple[str, ...]) -> Condition | None:
        """What no patient refuses to this caller."""
        if not _is_refusable(self.rights) or self._reach(types[0]) == "open":
            return None
        departments = None if ALL_DEPARTMENTS in self.rights.departments else self._departments()
        return Unrefused(types, departments, cut(self.rights.practitioner), self.rights.name)

    def _through_glass(self, types: tuple[str, ...]) -> Condition | None:
        """The record of the one patient for whom the glass was broken: to be read, and never what is kept
        for a private moment."""
        id = self.rights.glass
        if not id or self.rights.kind != "person" or _WRITING & set(self.letters):
            return None
        if types[0] in _NOT_OF_DEPARTMENTS:
            return None
        own = self._of_patient(types, id)
        return None if own is None else _both(own, Without(labels.mask(("NOAUTH",)) | labels.UNREADABLE))

    @staticmethod
    def _of_patient(types: tuple[str, ...], id: str) -> Condition | None:
        """What is in the compartment of one patient; None if no such type is."""
        if types[0] == "Patient":
            return Own(("Patient",), Sql("{row}.id = ? AND {row}.type = ?", (id, "Patient")))
        params = tuple(param for type in types for param in _leading(type))
        if not params:
            return None
        test = Sql("target_id = ? AND target_type = ?", (cut(id), "Patient"))
        return Indexed("reference", params[0], (test,), equal=True, more=params[1:])

    # ------------------------------------------------------------------------------------------- scopes

    def _criteria(self, type: str) -> tuple[frozenset[tuple[tuple[str, str], ...]], ...] | None:
        """For each letter with criteria, those of which one has to hold; None if some letter is not there."""
        found = []
        for letter in self.letters:
            of_letter = {scope.criteria for scope in self.rights.scopes if scope.allows(letter, type)}
            if not of_letter:
                return None
            if () not in of_letter:
                found.append(frozenset(of_letter))
        return tuple(dict.fromkeys(found))

    def _by_criteria(self, type: str) -> list[Condition]:
        return [
            either(_parsed(type, criteria) for criteria in sorted(some))
            for some in self._criteria(type) or ()
        ]

    # --------------------------------------------------------------------- compartments and departments

    def _reach(self, type: str) -> Reach:
        """How it is decided which resources of a type these rights reach."""
        context = self.rights.scopes[0].context if self.rights.scopes else ""
        if context == "system" or (context == "user" and ALL_DEPARTMENTS in self.rights.departments):
            return "all"
        if type in OPEN:
            return "nothing" if _WRITING & set(self.letters) else "open"
        if context == "patient":
            if not self.rights.patient:
                return "nothing"
            return "patient" if type == "Patient" else "compartment" if _leading(type) else "nothing"
        if context != "user" or not self.rights.departments or type in _NOT_OF_DEPARTMENTS:
            return "nothing"
        if type in relations.KEPT:
            return "referral"
        if type == "DetectedIssue":
            return "alert"
        return "patient" if type == "Patient" else "compartment" if _leading(type) else "nothing"

    def _reached(self, types: tuple[str, ...]) -> Condition | None:
        reach = self._reach(types[0])
        if reach in ("all", "open"):
            return None
        if reach == "nothing":
            return Nothing()
        params = tuple(param for type in types for param in _leading(type))
        if self.rights.scopes[0].context == "patient":
            id = self.rights.patient
            return together((self._of_patient(types, id) or Nothing(), Unmoved(id)))
        parties = self._departments()
        if not parties:
            return Nothing()
        if reach == "patient":
            return Known(parties)
        if reach == "compartment":
            return OfKnown(params, parties)
        return _alerts(params, parties) if reach == "alert" else _referrals(types, parties)

    def _departments(self) -> tuple[str, ...]:
        parts = (reference.rpartition("/") for reference in self.rights.departments)
        return tuple(dict.fromkeys(cut(id) for type, _, id in parts if type in ("Organization", "") and id))

    # ------------------------------------------------------------------------------------------- labels

    @property
    def barred(self) -> int:
        """The labels of which one keeps a resource from this caller."""
        kind = self.rights.kind
        context = self.rights.scopes[0].context if self.rights.scopes else ""
        if kind == "local" or (kind == "program" and context == "system"):
            return 0
        if kind == "proxy":
            mask = labels.NOT_FOR_PROXIES
        elif kind == "patient" or context == "patient":
            mask = labels.NOT_FOR_PATIENTS
        else:
            mask = labels.NOT_FOR_STAFF
        return mask & ~labels.mask(name for name in self.rights.cleared if name in labels.BITS)


@lru_cache(256)
def _leading(type: str) -> tuple[int, ...]:
    """The parameters by which a resource of a type is in the compartment of a Patient; never that of another
    Patient, by Patient.link."""
    if type in CLOSED or type == "Patient":
        return ()
    codes = compartments.members("Patient").get(type, _BESIDE.get(type, ()))
    return tuple(index.number(type, code) for code in codes)


def _referrals(types: tuple[str, ...], parties: tuple[str, ...]) -> Condition:
    sent = Sent(parties)
    if "Task" not in types:
        return sent
    return either((sent, Chained(index.number("Task", "focus"), "ServiceRequest", sent, APART)))


def _alerts(params: tuple[int, ...], parties: tuple[str, ...]) -> Condition:
    """What implicates a referral is seen with it; any other DetectedIssue as all that is about a patient."""
    implicated = index.number("DetectedIssue", "implicated")
    return either(
        (
            Chained(implicated, "ServiceRequest", Sent(parties), APART + 1),
            Chained(implicated, "Task", _referrals(("Task",), parties), APART + 1),
            _both(OfKnown(params, parties), Without(labels.OF_REFERRAL)),
        )
    )


def _both(one: Condition, other: Condition) -> Condition:
    return together((one, other)) or Nothing()


@lru_cache(1024)
def _parsed(type: str, criteria: tuple[tuple[str, str], ...]) -> Condition:
    """The conditions of the criteria of a scope. What cannot be read opens nothing."""
    try:
        return together(read_criteria(type, criteria)) or Nothing()
    except BadRequest:
        return Nothing()


def read_criteria(type: str, criteria: tuple[tuple[str, str], ...]) -> list[Condition]:
    """The conditions that the criteria of a scope put on its type; for whoever grants scopes, too.

    Raises BadRequest if they are no search of this type, or say what is not there: such a scope would open
    what has lost a row of the index.
    """
    scope = Standpoint((type,), depth=2 * APART, now=datetime.now(UTC), most=2 * APART + MAX_DEPTH)
    found = [parameters.condition(scope, name, value) for name, value in criteria]
    if any(map(_denies, found)):
        raise BadRequest(f"The criteria of a scope on {type} say what is not there; say what is.")
    return found


def _denies(condition: Condition) -> bool:
    match condition:
        case Not():
            return True
        case Both(one, other):
            return _denies(one) or _denies(other)
        case Any_(conditions):
            return any(map(_denies, conditions))
        case Chained() | ChainedByUrl() | Has() | HasByUrl():
            return _denies(condition.inner)
    return False
