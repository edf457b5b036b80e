"""Turns FHIR resources, with all the versions we hold of them, into the `Facts` of a referral. Pure.

Times follow one rule: take the event's own time (Task.lastModified, Appointment.created, Encounter.period,
issued, sent) from the first version that shows it, never the time of a later edit. If the event carries no
time, take the time at which we first stored it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Final

import msgspec

from fhir_coprod.jsontext import Json
from fhir_coprod.watch.record.around import Held, Surroundings, staff
from fhir_coprod.watch.record.fhir import (
    is_followup,
    is_modified,
    message_about,
    moment,
    names,
    own_names,
    target,
    targets,
    task_request,
)
from fhir_coprod.watch.record.kin import may_matter
from fhir_coprod.watch.record.model import (
    Appointment,
    Blind,
    Facts,
    Message,
    Result,
    SideTask,
    Task,
    Visit,
)
from fhir_coprod.watch.record.parts import parted
from fhir_coprod.watch.record.requests import read_asking, read_request, read_sibling
from fhir_coprod.watch.record.results import (
    FINAL_DOCUMENT,
    FINAL_REPORT,
    bound_by,
    document_about,
    objects,
    read_message,
    read_result,
    refusal,
)
from fhir_coprod.watch.record.tasks import asks, carried_out, read_side_task, read_task
from fhir_coprod.watch.record.visits import read_appointment, read_visit

_STATES: Final = {
    "ServiceRequest": frozenset(
        {"draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"}
    ),
    "Task": frozenset(
        {"draft", "requested", "received", "accepted", "rejected", "ready", "cancelled", "in-progress"}
        | {"on-hold", "failed", "completed", "entered-in-error"}
    ),
    "Appointment": frozenset(
        {"proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "entered-in-error"}
        | {"checked-in", "waitlist"}
    ),
    "Encounter": frozenset(
        {"planned", "arrived", "triaged", "in-progress", "onleave", "finished", "cancelled"}
        | {"entered-in-error", "unknown"}
    ),
}
"""The statuses that R4 has."""
_PROVING: Final = {
    "Encounter": {"status": _STATES["Encounter"]},
    "DiagnosticReport": {
        "status": FINAL_REPORT
        | {"registered", "partial", "preliminary", "cancelled", "entered-in-error", "unknown"}
    },
    "DocumentReference": {
        "status": frozenset({"current", "superseded", "entered-in-error"}),
        "docStatus": FINAL_DOCUMENT | {"preliminary", "entered-in-error"},
    },
    "Communication": {
        "status": frozenset(
            {"preparation", "in-progress", "not-done", "on-hold", "stopped", "completed"}
            | {"entered-in-error", "unknown"}
        )
    },
}
"""The statuses without which a record proves nothing, by type and element."""


def compose(
    request: Held,
    related: Iterable[Held],
    siblings: Iterable[tuple[Held, tuple[str, ...]]] = (),
    proxies: tuple[str, ...] = (),
    blind: tuple[Blind, ...] = (),
    around: Surroundings | None = None,
    *,
    patient: Held | None = None,
    ordered_for: tuple[str, ...] = (),
) -> Facts:
    """All facts about one referral, from the resources found around it.

    request:  the ServiceRequest, or the Communication by which a patient asks.
    related:  Tasks, Appointments, Encounters, reports, documents, Communications, CommunicationRequests that
              may belong to it, and the ServiceRequests based on it with all that belongs to those; those that
              turn out not to are left out.
    siblings: other ServiceRequests of the patient that may matter to it, each with the departments that its
              Tasks ask; those that do not are left out.
    proxies:  active RelatedPersons of the patient.
    patient:  the Patient.
    ordered_for: see `Request.ordered_for`.
    """
    around = around or Surroundings()
    facts = _with_children_read(request, list(related), around)
    others = (read_sibling(held, around, departments) for held, departments in siblings)
    return msgspec.structs.replace(
        facts,
        request=msgspec.structs.replace(facts.request, ordered_for=ordered_for),
        tasks=tuple(_below(task, facts) for task in facts.tasks),
        siblings=tuple(other for other in others if may_matter(other, facts.request)),
        proxies=proxies,
        silent=tuple(name for name in facts.silent if name in proxies),
        blind=(*blind, *facts.blind),
        born=_born(patient),
        deceased=_died(patient, around),
    )


def _born(patient: Held | None) -> date | None:
    """The birth date, if it is known to the day."""
    text = patient.data.get("birthDate") if patient else None
    try:
        return date.fromisoformat(text) if isinstance(text, str) and len(text) == 10 else None
    except ValueError:
        return None


def _died(patient: Held | None, around: Surroundings) -> datetime | None:
    if patient is None:
        return None
    if isinstance(patient.data.get("deceasedDateTime"), str):
        at = moment(patient.data["deceasedDateTime"], around.zone)
        return at or patient.versions[0][0]
    return patient.versions[0][0] if patient.data.get("deceasedBoolean") is True else None


def _with_children_read(request: Held, related: Sequence[Held], around: Surroundings) -> Facts:
    """What a referral's own resources say, and those of the referrals that carry it out."""
    own, children = parted(request, related)
    facts = _Composition(request, own, around).facts()
    below = [_with_children_read(child, held, around) for child, held in children]
    return _with_children(facts, [one for one in below if one.tasks])


def _with_children(facts: Facts, below: Sequence[Facts]) -> Facts:
    """The facts of a referral together with those of the referrals that somebody in between wrote to carry it
    out: their Tasks, and what happened in them."""
    if not below:
        return facts
    tasks, appointments, visits = [*facts.tasks], [*facts.appointments], [*facts.visits]
    results, messages = [*facts.results], [*facts.messages]
    for child in below:
        first = child.tasks[0].id
        requesters = child.request.requesters
        tasks += [
            msgspec.structs.replace(
                task if task.request else carried_out(task, facts.tasks, requesters),
                request=task.request or child.request.id,
            )
            for task in child.tasks
        ]
        appointments += [msgspec.structs.replace(one, task=one.task or first) for one in child.appointments]
        visits += [msgspec.structs.replace(one, task=one.task or first) for one in child.visits]
        results += [msgspec.structs.replace(one, task=one.task or first) for one in child.results]
        messages += child.messages
    return msgspec.structs.replace(
        facts,
        tasks=tuple(tasks),
        appointments=tuple(appointments),
        visits=tuple(visits),
        results=tuple(results),
        messages=tuple(messages),
        pending=(*facts.pending, *(name for child in below for name in child.pending)),
        unknown=tuple(dict.fromkeys([*facts.unknown, *(code for child in below for code in child.unknown)])),
    )


def _below(task: Task, facts: Facts) -> Task:
    """The same Task; `part_of` keeps only Tasks of this referral, not a group that it belongs to."""
    return carried_out(task, [one for one in facts.tasks if one.id != task.id], ()) if task.part_of else task


class _Composition:
    """Reads one referral's own resources, one type after the other; each adds names by which the next may
    belong to it."""

    def __init__(self, request: Held, related: Iterable[Held], around: Surroundings) -> None:
        self.request = request
        self.around = around
        self.blind: list[Blind] = []
        self.unknown: dict[str, None] = {}
        self.by_type: dict[str, list[Held]] = {}
        for held in related:
            if self._proves_something(held):
                self._doubt_status(held)
                self.by_type.setdefault(held.type, []).append(held)
        self.read = (read_asking if request.type == "Communication" else read_request)(request, around)
        self._proves_something(request)
        self.names = {*own_names(request.data, request.reference)}
        self.foreign: set[str] = set()
        """Names of what only mentions the referral: what follows from it does not belong here either."""
        asked = [
            held
            for held in self.by_type.get("Task", ())
            if not self.names.isdisjoint(task_request(held.data))
            and asks(held.data, self.read.departments, around)
            and not _of_another(held.data, self.read.patient)
        ]
        self.asked = {held.reference for held in asked}
        self.tasks = tuple(read_task(held, around, request.data) for held in asked)
        for held in asked:
            self.names.update(own_names(held.data, held.reference))
            self._note_state(held)
        self.outputs = {
            output: task.id for task in self.tasks for state in task.states for output in state.outputs
        }
        self.departments = {*self.read.departments}
        for task in self.tasks:
            for state in task.states:
                self.departments.update(state.departments)

    def _proves_something(self, held: Held) -> bool:
        """Whether nothing in it may turn its meaning around; if something may, note that it cannot be
        seen."""
        if not is_modified(held.data):
            return True
        self.blind.append(
            Blind(
                held.type,
                "",
                reason="it carries a modifierExtension or implicitRules that nobody here knows",
                record=held.reference,
                is_own=True,
            )
        )
        return False

    def _doubt_status(self, held: Held) -> None:
        """Note that it cannot be seen what a record proves whose status is none of R4's."""
        for element, known in _PROVING.get(held.type, {}).items():
            said = held.data.get(element)
            if isinstance(said, str) and said not in known:
                reason = f"its {element} is none that R4 has"
                self.blind.append(Blind(held.type, "", reason=reason, record=held.reference, is_own=True))

    def _note_state(self, held: Held) -> None:
        """Note a state that nobody knows."""
        status = held.data.get("status")
        if isinstance(status, str) and status not in _STATES[held.type]:
            self.unknown[f"{held.type} {status[:40]}"] = None
        if held.type == "Task":
            for code in self.around.words.unknown(held.data.get("businessStatus")):
                self.unknown[code] = None

    def facts(self) -> Facts:
        """What its own resources say, without siblings and relatives."""
        if self.request.type == "ServiceRequest":
            self._note_state(self.request)
        appointments = tuple(self._appointments())
        visits = tuple(self._visits(appointments))
        results, pending = self._results()
        side_tasks = tuple(self._side_tasks())
        related = frozenset(self.names)
        refused: list[datetime] = []
        bound = [self.read.patient] if objects(self.request.data, self.around) else []
        for held in (*self.by_type.get("CommunicationRequest", ()), *self.by_type.get("Communication", ())):
            if held.type == "CommunicationRequest":
                bound += bound_by(held, related, self.read.patient)
            elif not related.isdisjoint(message_about(held.data)) and (at := refusal(held, self.around)):
                refused.append(at)
        return Facts(
            request=self.read,
            tasks=self.tasks,
            appointments=appointments,
            visits=visits,
            results=results,
            messages=tuple(self._messages(related, {*pending, *(result.id for result in results)})),
            side_tasks=side_tasks,
            do_not_contact=self.read.patient in bound,
            blind=tuple(self.blind),
            silent=tuple(dict.fromkeys(bound)),
            refused=tuple(refused),
            pending=pending,
            unknown=tuple(self.unknown),
        )

    def _appointments(self) -> Iterator[Appointment]:
        for held in self.by_type.get("Appointment", ()):
            data = held.data
            based = targets(data.get("basedOn"))
            said = names([*(data.get("basedOn") or ()), *(data.get("supportingInformation") or ())])
            is_named = not self.names.isdisjoint(said) and not self._is_for_others(data)
            if self.request.reference not in based and not is_named:
                self.foreign.update(own_names(data, held.reference))
                continue
            self._note_state(held)
            task = next((name for name in said if name in self.names and name.startswith("Task/")), "")
            yield read_appointment(held, self.around, task)
            self.names.update(own_names(data, held.reference))

    def _is_foreign(self, held: Held, own: Iterable[Json], through: Iterable[Json]) -> bool:
        """Whether it is here only through something that does not belong to the referral.

        own: the references by which it would name the referral itself; through: those to what is in between.
        """
        between = names(through)
        if not between or not self.foreign.issuperset(between) or not self.names.isdisjoint(names(own)):
            return False
        self.foreign.update(own_names(held.data, held.reference))
        return True

    def _is_for_others(self, appointment: Json) -> bool:
        """Whether only others than the departments that were asked take part in it, as far as is known: of
        somebody without a role nobody knows where they work, and if nobody is named as asked, anybody may
        be."""
        actors = [participant.get("actor") for participant in appointment.get("participant") or ()]
        there = staff(self.around.parties(*actors))
        if not there or not self.departments.isdisjoint(there):
            return False
        known = [name for name in there if not name.startswith("Practitioner/")]
        return bool(known) and bool(self.departments)

    def _visits(self, appointments: Sequence[Appointment]) -> Iterator[Visit]:
        for held in self.by_type.get("Encounter", ()):
            if self._is_foreign(held, held.data.get("basedOn") or (), held.data.get("appointment") or ()):
                continue
            self.names.add(held.reference)
            self._note_state(held)
            if visit := read_visit(held, self.around, _task_of_visit(held, appointments)):
                yield visit

    def _results(self) -> tuple[tuple[Result, ...], tuple[str, ...]]:
        """The results, and the reports and documents that are none, or not yet."""
        results: list[Result] = []
        pending: list[str] = []
        for held in (*self.by_type.get("DiagnosticReport", ()), *self.by_type.get("DocumentReference", ())):
            if held.type == "DocumentReference" and self._is_foreign_document(held):
                continue
            self.names.add(held.reference)
            result = read_result(
                held,
                self.around,
                self.outputs.get(held.reference, ""),
                self.departments,
                self.read.authored,
                named=held.reference in self.outputs,
            )
            if result:
                results.append(result)
            else:
                pending.append(held.reference)
        return tuple(results), tuple(pending)

    def _is_foreign_document(self, held: Held) -> bool:
        context = held.data.get("context") or {}
        own = (*(context.get("related") or ()), *document_about(held.data))
        named = held.reference in self.outputs
        return not named and self._is_foreign(held, own, context.get("encounter") or ())

    def _side_tasks(self) -> Iterator[SideTask]:
        for held in self.by_type.get("Task", ()):
            if held.reference in self.asked or is_followup(held.data):
                continue
            side = read_side_task(held, self.around)
            if not self.names.isdisjoint(side.about):
                yield side

    def _messages(self, related: frozenset[str], results: Collection[str]) -> Iterator[Message]:
        for held in self.by_type.get("Communication", ()):
            if held.reference == self.request.reference or related.isdisjoint(message_about(held.data)):
                continue
            if message := read_message(held, self.around, results):
                yield message


def _of_another(data: Json, patient: str) -> bool:
    """Whether a Task is for another patient than the referral: then the number by which it names that one
    is not the same one."""
    whose = target(data.get("for"))
    return whose != patient and whose.startswith("Patient/") and patient.startswith("Patient/")


def _task_of_visit(held: Held, appointments: Sequence[Appointment]) -> str:
    booked = targets(held.data.get("appointment"))
    return next((a.task for a in appointments if a.id in booked and a.task), "")
