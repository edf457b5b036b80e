"""Decides which EHR's record leads a merged resource; the order of arrival makes no difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_coprod.instants import sortable
from fhir_coprod.sync.merging import merge
from fhir_coprod.sync.merging.sources import Context, Source, Targets
from fhir_coprod.sync.staging import references
from fhir_coprod.sync.staging.references import Holder


def ordered(type: str, sources: Sequence[Source], targets: Targets, context: Context) -> list[Source]:
    """The records of one resource, the leading one first, by the type's rule in merge.toml."""
    if len(sources) == 1:
        return list(sources)
    rule = merge.rules()[type]

    def owns(source: Source) -> bool:
        return _names_own_department(source, rule.owner, targets, context)

    def rank(source: Source) -> tuple[Any, ...]:
        receives = _names_own_department(source, rule.receiver, targets, context)
        return (_is_given_up(source), not owns(source), receives, *by_settings(source))

    def by_settings(source: Source) -> tuple[Any, ...]:
        order, ehr = context.order, source.record.ehr
        return (order.index(ehr) if ehr in order else len(order), source.record)

    ranked = sorted(sources, key=rank)
    if rule.newest and not owns(ranked[0]):  # nobody owns it: the latest word counts
        ranked.sort(key=_changed, reverse=True)
    return ranked


def _changed(source: Source) -> str:
    return sortable(source.data.get("lastModified")) or source.updated


def _is_given_up(source: Source) -> bool:
    """Whether the EHR itself says that this record was replaced by another one, or is not active."""
    links = source.data.get("link")
    replaced = isinstance(links, list) and any(
        isinstance(link, dict) and link.get("type") == "replaced-by" for link in links
    )
    return replaced or source.data.get("active") is False


def _names_own_department(source: Source, element: str, targets: Targets, context: Context) -> bool:
    """Whether `element` names the department that the record's EHR belongs to."""
    own = context.departments.get(source.record.ehr)
    department = targets.ids.get(own) if own is not None else None
    return department is not None and department in _organizations(source, element, targets, context)


def _organizations(source: Source, element: str, targets: Targets, context: Context) -> set[str]:
    """Our ids of the Organizations that an element names, directly or through a PractitionerRole."""
    value = source.data.get(element) if element else None
    found: set[str] = set()
    for reference in value if isinstance(value, list) else [value]:
        if not isinstance(reference, dict):
            continue
        text = reference.get("reference")
        target = context.bases.target(text, source.record.ehr) if isinstance(text, str) else None
        if target is not None:
            found |= {targets.ids.get(target, "")} | targets.workplaces.get(target, frozenset())
        else:
            key = references.identifier_key(reference.get("identifier"))
            holder = targets.holders.get(Holder(str(reference.get("type", "")), key), "")
            found.add(holder.rpartition("/")[2])
    return found - {""}
