"""A second implementation of who sees what and what a search finds: it loads all and filters, from the JSON
alone. It is slow and obvious, and knows nothing of the store's index, SQL or FHIRPath."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fhir_coprod.access.rights import Rights
from fhir_coprod.jsontext import Json
from tests.access.hospital import ACT, CONFIDENTIALITY, DELETED

PATHS = {
    ("Patient", "gender"): "gender",
    ("Patient", "family"): "name.family",
    ("Patient", "link"): "link.other",
    ("Patient", "organization"): "managingOrganization",
    ("Patient", "general-practitioner"): "generalPractitioner",
    ("Organization", "name"): "name",
    ("Organization", "partof"): "partOf",
    ("PractitionerRole", "organization"): "organization",
    ("HealthcareService", "organization"): "providedBy",
    ("Location", "organization"): "managingOrganization",
    ("Group", "member"): "member.entity",
    ("Group", "type"): "type",
    ("Person", "patient"): "link.target",
    ("RelatedPerson", "patient"): "patient",
    ("RelatedPerson", "gender"): "gender",
    ("Device", "patient"): "patient",
    ("Device", "status"): "status",
    ("ServiceRequest", "status"): "status",
    ("ServiceRequest", "subject"): "subject",
    ("ServiceRequest", "patient"): "subject",
    ("ServiceRequest", "requester"): "requester",
    ("ServiceRequest", "performer"): "performer",
    ("Task", "status"): "status",
    ("Task", "focus"): "focus",
    ("Task", "subject"): "for",
    ("Task", "patient"): "for",
    ("Task", "owner"): "owner",
    ("Task", "requester"): "requester",
    ("Consent", "patient"): "patient",
    ("DetectedIssue", "patient"): "patient",
    ("DetectedIssue", "implicated"): "implicated",
    ("Observation", "code"): "code.coding.code",
    ("Observation", "status"): "status",
    ("Observation", "subject"): "subject",
    ("Observation", "patient"): "subject",
    ("Observation", "performer"): "performer",
    ("Condition", "subject"): "subject",
    ("Condition", "patient"): "subject",
    ("Condition", "code"): "code.coding.code",
    ("Condition", "asserter"): "asserter",
    ("Encounter", "status"): "status",
    ("Encounter", "patient"): "subject",
    ("Encounter", "subject"): "subject",
    ("Encounter", "based-on"): "basedOn",
    ("Appointment", "actor"): "participant.actor",
    ("Appointment", "status"): "status",
    ("List", "subject"): "subject",
    ("List", "item"): "entry.item",
    ("List", "status"): "status",
    ("Questionnaire", "title"): "title",
    ("Questionnaire", "status"): "status",
    ("QuestionnaireResponse", "subject"): "subject",
    ("QuestionnaireResponse", "author"): "author",
    ("QuestionnaireResponse", "questionnaire"): "questionnaire",
    ("QuestionnaireResponse", "status"): "status",
}
STRINGS = {("Patient", "family"), ("Organization", "name"), ("Questionnaire", "title")}
TARGETS = {
    ("Observation", "subject"): ("Patient", "Group", "Device", "Location"),
    ("ServiceRequest", "subject"): ("Patient", "Group", "Device", "Location"),
    ("ServiceRequest", "requester"): (
        *("Practitioner", "Organization", "Device", "Patient", "PractitionerRole", "RelatedPerson"),
    ),
    ("Group", "member"): (
        *("Practitioner", "Group", "Device", "Medication", "Patient", "Substance", "PractitionerRole"),
    ),
}
"""Where a bare id may be of several types."""
COMPARTMENT = {
    "Observation": ("subject", "performer"),
    "Condition": ("subject", "asserter"),
    "Encounter": ("subject",),
    "Appointment": ("actor",),
    "List": ("subject",),
    "Consent": ("patient",),
    "DetectedIssue": ("patient",),
    "ServiceRequest": ("subject", "performer"),
    "Task": ("subject",),
    "RelatedPerson": ("patient",),
    "Device": ("patient",),
    "QuestionnaireResponse": ("subject", "author"),
}
OPEN = {
    *("Organization", "Practitioner", "PractitionerRole", "HealthcareService", "Location"),
    "Questionnaire",
}
FAMILY = {"MST": "SEX", "SUD": "ETH", "TBOO": "NOPAT"}
HIDDEN_FROM = {
    "patient": {"NOPAT", "NOAUTH"},
    "proxy": {"NOPAT", "NOAUTH", "R", "V", "SEX", "PSY", "SDV", "HIV", "ETH"},
    "person": {"V", "NOAUTH"},
}


@dataclass(frozen=True)
class Resource:
    """One resource as it is now; `order` is that of its creation."""

    type: str
    id: str
    data: Json
    order: int

    @property
    def name(self) -> str:
        return f"{self.type}/{self.id}"


class Ambiguous(Exception):
    """A bare id that several resources have."""


@dataclass
class Oracle:
    """The whole hospital in memory.

    versions: Type/id → its versions, the first first
    """

    versions: dict[str, list[Json]]
    _seen: dict[tuple[Rights, str], frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, history: Iterable[tuple[str, Json]]) -> Oracle:
        versions: dict[str, list[Json]] = {}
        for name, data in history:
            versions.setdefault(name, []).append(data)
        return cls(versions)

    @cached_property
    def present(self) -> dict[str, Resource]:
        found = {}
        for order, (name, versions) in enumerate(self.versions.items()):
            if versions[-1] is not DELETED:
                type, _, id = name.partition("/")
                found[name] = Resource(type, id, versions[-1], order)
        return found

    # ----------------------------------------------------------------------------------------- who sees

    def seen(self, rights: Rights, letter: str = "s") -> frozenset[str]:
        """All that this caller sees."""
        key = (rights, letter)
        if key not in self._seen:
            self._seen[key] = frozenset(
                one.name for one in self.present.values() if self.sees(rights, letter, one)
            )
        return self._seen[key]

    def sees(self, rights: Rights, letter: str, one: Resource) -> bool:
        scopes = [
            scope for scope in rights.scopes if scope.type in ("*", one.type) and letter in scope.actions
        ]
        if not any(all(self.meets(one, *pair, None) for pair in scope.criteria) for scope in scopes):
            return False
        return self._reaches(rights, one) and not self._is_withheld(rights, one)

    def _is_withheld(self, rights: Rights, one: Resource) -> bool:
        context = rights.scopes[0].context
        if rights.kind == "local" or (rights.kind == "program" and context == "system"):
            return False
        kind = rights.kind if rights.kind in HIDDEN_FROM else "patient" if context == "patient" else "person"
        found = _labels(one.data)
        return found is None or bool(found & (HIDDEN_FROM[kind] - rights.cleared))

    def _reaches(self, rights: Rights, one: Resource) -> bool:
        context = rights.scopes[0].context
        if context == "system" or (context == "user" and "*" in rights.departments):
            return True
        if one.type in OPEN:
            return True
        if context == "patient":
            return self._is_of(one, {f"Patient/{rights.patient}"})
        own = set(rights.departments)
        if not own:
            return False
        if one.type == "ServiceRequest":
            return bool(self._parties_of_order(one) & own)
        if one.type == "Task":
            return self._sees_task(one, own)
        known = self._patients(own)
        if one.type == "DetectedIssue":
            named = self.named(one, "implicated")
            if any("ServiceRequest" in name or "Task" in name for name in named):
                return any(
                    self._sees_task(it, own) if it.type == "Task" else bool(self._parties_of_order(it) & own)
                    for name in named
                    if (it := self.present.get(name)) and it.type in ("Task", "ServiceRequest")
                )
        return self._is_of(one, known)

    def _is_of(self, one: Resource, patients: set[str]) -> bool:
        if one.type == "Patient":
            return one.name in patients
        names = (name for code in COMPARTMENT.get(one.type, ()) for name in self.named(one, code))
        return any(_unversioned(name) in patients for name in names)

    def _organizations(self, name: str) -> set[str]:
        if name.startswith("Organization/"):
            return {name}
        one = self.present.get(name)
        if one is None or one.type not in ("PractitionerRole", "HealthcareService", "Location"):
            return set()
        return {each for each in self.named(one, "organization") if each.startswith("Organization/")}

    def _own_parties(self, one: Resource) -> set[str]:
        codes = ("requester", "performer") if one.type == "ServiceRequest" else ("requester", "owner")
        return {
            organization
            for code in codes
            for name in self.named(one, code)
            for organization in self._organizations(name)
        }

    def _parties_of_order(self, one: Resource) -> set[str]:
        found = self._own_parties(one)
        for other in self.present.values():
            if other.type == "Task" and one.name in self.named(other, "focus"):
                found |= self._own_parties(other)
        return found

    def _sees_task(self, one: Resource, own: set[str]) -> bool:
        if self._own_parties(one) & own:
            return True
        orders = (self.present.get(name) for name in self.named(one, "focus"))
        return any(
            order and order.type == "ServiceRequest" and self._parties_of_order(order) & own
            for order in orders
        )

    def _patients(self, own: set[str]) -> set[str]:
        found: set[str] = set()
        for one in self.present.values():
            if one.type == "ServiceRequest" and self._parties_of_order(one) & own:
                found |= set(self.named(one, "subject"))
            if one.type == "Task" and self._own_parties(one) & own:
                found |= set(self.named(one, "subject"))
        return {name for name in map(_unversioned, found) if name.startswith("Patient/")}

    def shown(self, rights: Rights, name: str, number: int) -> bool:
        """Whether version `number` is shown to who is limited."""
        if name not in self.seen(rights, "r"):
            return False
        versions = self.versions[name]
        old, new = versions[number - 1], versions[-1]
        if old is DELETED:
            return False
        if number == len(versions):
            return True
        type, _, id = name.partition("/")
        one, other = (Resource(type, id, data, 0) for data in (old, new))
        limited = rights.scopes[0].context != "system" and "*" not in rights.departments
        codes: set[str] = set()
        if limited:
            codes |= set(COMPARTMENT.get(type, ()))
            if rights.scopes[0].context == "user" and type in ("ServiceRequest", "Task"):
                codes = (
                    {"requester", "performer", "subject"}
                    if type == "ServiceRequest"
                    else ({"requester", "owner", "focus", "subject"})
                )
        for scope in rights.scopes:
            if scope.type in ("*", type) and "r" in scope.actions:
                if any("." in name or "_has" in name for name, _ in scope.criteria):
                    return False
                codes |= {name for name, _ in scope.criteria}
        if any(_walk(old, PATHS[type, code]) != _walk(new, PATHS[type, code]) for code in codes):
            return False
        before, now = _labels(one.data), _labels(other.data)
        return before is not None and (now is None or before <= now)

    # ----------------------------------------------------------------------------------- what is found

    def named(self, one: Resource, code: str) -> list[str]:
        """What a reference parameter of a resource names, as it is written."""
        values = _walk(one.data, PATHS[one.type, code])
        texts = [value.get("reference", "") if isinstance(value, dict) else value for value in values]
        only = (
            "Patient/" if code == "patient" and one.type not in ("Device", "RelatedPerson", "Person") else ""
        )
        return [text for text in texts if text and text.startswith(only)]

    def led(self, one: Resource, code: str, sight: frozenset[str] | None) -> Iterator[Resource]:
        """The resources in sight that a reference leads to; what is contained is seen with what holds it."""
        for text in self.named(one, code):
            if text.startswith("#"):
                for held in one.data.get("contained", ()):
                    if held.get("id") == text[1:]:
                        yield Resource(held["resourceType"], held["id"], held, 0)
            elif text.startswith("urn:"):
                url, _, version = text.partition("|")
                for other in self.present.values():
                    own = other.data.get("version", version)
                    is_meant = other.data.get("url") == url and own == (version or own)
                    if is_meant and (sight is None or other.name in sight):
                        yield other
            else:
                found = self.present.get(_unversioned(text))
                if found and (sight is None or found.name in sight):
                    yield found

    def meets(self, one: Resource, name: str, value: str, sight: frozenset[str] | None) -> bool:
        """Whether a resource meets one parameter, for somebody of this sight (None: all)."""
        if name.startswith("_has:"):
            _, type, code, rest = name.split(":", 3)
            return any(
                other.type == type
                and (sight is None or other.name in sight)
                and any(led is one for led in self.led(other, code, None))
                and self.meets(other, rest, value, sight)
                for other in self.present.values()
            )
        head, _, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        if rest:
            return any(
                led.type == (modifier or led.type)
                and (rest[:1] == "_" or (led.type, rest.partition(".")[0].partition(":")[0]) in PATHS)
                and self.meets(led, rest, value, sight)
                for led in self.led(one, code, sight)
            )
        return self._meets(one, code, modifier, value, sight)

    def _meets(
        self, one: Resource, code: str, modifier: str, value: str, sight: frozenset[str] | None
    ) -> bool:
        wanted = value.split(",")
        if code == "_id":
            return (one.id in wanted) != (modifier == "not")
        values = _walk(one.data, PATHS[one.type, code])
        if modifier == "missing":
            # What is there and cannot be searched for is there all the same.
            return (not values) == (value == "true")
        if any(isinstance(each, dict) or "urn:" in str(each) for each in values) or "/" in value:
            names = [_unversioned(name) for name in self.named(one, code)]
            if modifier:
                return any(name == f"{modifier}/{id}" for name in names for id in wanted)
            for id in wanted:
                targets = TARGETS.get((one.type, code), ())
                here = [
                    t
                    for t in targets
                    if (it := f"{t}/{id}") in self.present and (sight is None or it in sight)
                ]
                if "/" not in id and len(here) > 1:
                    raise Ambiguous
            return any(
                name == id or ("/" not in id and name.partition("/")[2] == id and "://" not in name)
                for name in names
                for id in wanted
            )
        if (one.type, code) in STRINGS:
            return any(str(each).lower().startswith(text.lower()) for each in values for text in wanted)
        found = any(each in wanted for each in values)
        return not found if modifier == "not" else found

    def search(
        self, rights: Rights, types: Sequence[str], criteria: Sequence[tuple[str, str]]
    ) -> list[Resource]:
        """The matches in the order of creation."""
        sight = self.seen(rights)
        self._refuse_ambiguous(types, criteria, sight)
        return [
            one
            for one in sorted(self.present.values(), key=lambda each: each.order)
            if one.type in types
            and one.name in sight
            and all(self.meets(one, name, value, sight) for name, value in criteria)
        ]

    def _refuse_ambiguous(
        self, types: Sequence[str], criteria: Sequence[tuple[str, str]], sight: frozenset[str]
    ) -> None:
        for name, value in criteria:
            for type in types:
                for id in value.split(",") if (type, name) in TARGETS else ():
                    here = [t for t in TARGETS[type, name] if f"{t}/{id}" in self.present]
                    if len([t for t in here if f"{t}/{id}" in sight]) > 1:
                        raise Ambiguous

    def included(
        self,
        rights: Rights,
        matches: Sequence[Resource],
        includes: Sequence[tuple[str, str, bool]],
        revincludes: Sequence[tuple[str, str, bool]],
    ) -> set[str]:
        """The names of what comes along; each include is type, code and whether it iterates."""
        sight = self.seen(rights)
        done = {one.name for one in matches}
        newest = list(matches)
        for round in range(8):
            following: list[Resource] = []
            for type, code, iterate in includes:
                if round and not iterate:
                    continue
                for one in newest:
                    if one.type == type:
                        following += (
                            led
                            for led in self.led(one, code, sight)
                            if led.name in self.present
                            and led.order == self.present[led.name].order
                            and not any(
                                text.startswith("#") and led.id == text[1:] for text in self.named(one, code)
                            )
                        )
            for type, code, iterate in revincludes:
                if round and not iterate:
                    continue
                names = {one.name for one in newest}
                for other in self.present.values():
                    if (
                        other.type == type
                        and other.name in sight
                        and any(
                            led.name in names and not any(t.startswith("#") for t in self.named(other, code))
                            for led in self.led(other, code, None)
                        )
                    ):
                        following.append(other)
            newest = [one for one in {one.name: one for one in following}.values() if one.name not in done]
            done |= {one.name for one in newest}
            if not newest:
                break
        return done - {one.name for one in matches}


def _unversioned(name: str) -> str:
    return name.partition("/_history/")[0]


def _walk(data: Any, path: str) -> list[Any]:
    """All values at a path, through lists."""
    if isinstance(data, list):
        return [value for each in data for value in _walk(each, path)]
    if not path:
        return [data]
    head, _, rest = path.partition(".")
    return _walk(data[head], rest) if isinstance(data, dict) and head in data else []


def _labels(data: Json) -> set[str] | None:
    """The labels that somebody may be kept away by; None if there is one that cannot be read."""
    if "meta" not in data:
        return set()
    meta = data["meta"]
    if not isinstance(meta, dict):
        return None
    if "security" not in meta:
        return set()
    found = set()
    if not isinstance(meta["security"], list) or not meta["security"]:
        return None
    for each in meta["security"]:
        if not isinstance(each, dict) or not isinstance(each.get("code", ""), str):
            return None
        if each.get("system", "") in ("", ACT, CONFIDENTIALITY):
            code = each.get("code", "")
            found.add(FAMILY.get(code, code))
    return found
