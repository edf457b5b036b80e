"""Which of these resources a caller of the pages may see.

It goes by what each referral names itself, and by the Tasks about it. It is here until the conditions of
searches (`store/search/sight.py`) answer this question, too; then it is replaced by them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from fhir_coprod.access.rights import ALL_DEPARTMENTS, Rights
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Query, Store

WITHHELD = frozenset(("NOPAT", "NOAUTH", "R", "V"))
"""Security labels that keep a record from a patient, and those of the last two from staff as well."""
_AT_ONCE = 50


def visible(store: Store, rights: Rights, references: Iterable[str]) -> set[str]:
    """Those of the references (Type/id) that are there and that the caller may see."""
    wanted = set(references)
    if rights.kind == "local":
        return wanted
    may = {name for name in wanted if any(s.allows("r", name.partition("/")[0]) for s in rights.scopes)}
    if rights.kind == "patient":
        found = _read(store, may)
        return {name for name, data in found.items() if _is_theirs(name, data, rights.patient)}
    found = {name: data for name, data in _read(store, may).items() if not _withheld(data) - rights.cleared}
    if ALL_DEPARTMENTS in rights.departments:
        return set(found)
    tasks = _tasks_about(store, [name for name in found if not name.startswith("Patient/")])
    own = _places(store, rights.departments)
    seen = {name for name, data in found.items() if _parties(data, tasks.get(name, ())) & own}
    for name in found:
        if name.startswith("Patient/") and name not in seen and _has_one(store, name, own):
            seen.add(name)
    return seen


def _withheld(data: Json) -> frozenset[str]:
    labels = (data.get("meta") or {}).get("security") or ()
    return frozenset(str(label.get("code")) for label in labels if isinstance(label, dict)) & WITHHELD


def _is_theirs(name: str, data: Json, patient: str) -> bool:
    if _withheld(data):
        return False
    whose = (data.get("subject") or data.get("for") or {}).get("reference")
    return whose == f"Patient/{patient}" or name == f"Patient/{patient}"


def _read(store: Store, names: Collection[str]) -> dict[str, Json]:
    by_type: dict[str, list[str]] = defaultdict(list)
    for name in names:
        type, _, id = name.partition("/")
        by_type[type].append(id)
    return {
        f"{type}/{id}": version.data
        for type, ids in by_type.items()
        for id, version in store.newest(type, ids).items()
        if not version.deleted
    }


def _tasks_about(store: Store, names: list[str]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = defaultdict(list)
    for start in range(0, len(names), _AT_ONCE):
        some = ",".join(names[start : start + _AT_ONCE])
        for task in _all(store, "Task", ("focus", some)):
            found[str((task.get("focus") or {}).get("reference"))].append(task)
    return found


def _places(store: Store, departments: Iterable[str]) -> set[str]:
    """The departments, with the roles and services that are theirs."""
    named = ",".join(departments)
    own = set(departments)
    for type, parameter in (("PractitionerRole", "organization"), ("HealthcareService", "organization")):
        own |= {f"{type}/{data['id']}" for data in _all(store, type, (parameter, named))} if named else set()
    return own


def _parties(data: Json, tasks: Iterable[Json]) -> set[str]:
    performers = data.get("performer")
    elements = [data.get("requester"), *(performers if isinstance(performers, list) else ())]
    recipients = data.get("recipient")
    elements += recipients if isinstance(recipients, list) else ()
    for task in tasks:
        elements += [task.get("requester"), task.get("owner")]
    return {str(each.get("reference")) for each in elements if isinstance(each, dict)}


def _has_one(store: Store, patient: str, own: set[str]) -> bool:
    """Whether a referral of this patient was sent or received there."""
    orders = {
        f"ServiceRequest/{data['id']}": data for data in _all(store, "ServiceRequest", ("subject", patient))
    }
    tasks = _tasks_about(store, list(orders))
    return any(_parties(data, tasks.get(name, ())) & own for name, data in orders.items())


def _all(store: Store, type: str, *pairs: tuple[str, str]) -> Iterator[Json]:
    page = store.search(Query.parse(type, [*pairs, ("_count", "500")]))
    yield from (version.data for version in page.matches)
