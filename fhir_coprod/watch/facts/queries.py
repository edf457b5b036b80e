"""The SQL statements that the live watch runs many times a second, built once.

Building one takes longer than running it. `ids`, `keys`, `params` and `types` are lists.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BindParameter, and_, bindparam, select

from fhir_coprod.store.schema import core

AT_ONCE: Final = 5000
"""The most values in one statement: databases take some tens of thousands, and a single referral may have
more letters than that."""

_resource, _version, _reference, _token = core.resource.c, core.version.c, core.reference.c, core.token.c


def _several(name: str) -> BindParameter[Any]:
    return bindparam(name, expanding=True)


_NEWEST: Final = (
    select(
        _resource.key,
        _resource.type,
        _resource.id,
        _resource.version,
        _resource.position,
        _version.updated,
        _version.source,
        _version.body,
    )
    .join(core.version, _version.position == _resource.position)
    .where(_resource.deleted.is_(False))
    .order_by(_resource.key)
)
BY_KEY: Final = _NEWEST.where(_resource.key.in_(_several("keys")))
"""The newest versions of resources, by key, without those that are deleted."""
BY_NAME: Final = _NEWEST.where(_resource.type == bindparam("type"), _resource.id.in_(_several("ids")))
"""The same for resources of one type, by id."""
VERSIONS: Final = (
    select(*(_version[name] for name in ("id", "version", "position", "updated", "method", "body")))
    .where(_version.type == bindparam("type"), _version.id.in_(_several("ids")))
    .order_by(_version.id, _version.version)
)
"""Every version of resources of one type."""
SOME_VERSIONS: Final = select(
    *(_version[name] for name in ("type", "id", "version", "position", "updated", "method", "body", "hash")),
    _version.source,
).where(
    _version.type == bindparam("type"),
    _version.id.in_(_several("ids")),
    _version.version.in_(_several("numbers")),
)
"""Versions of resources of one type, by ids and numbers. They belong together in pairs, but for a list of
pairs SQLite would scan all versions of the type."""
NAMING: Final = select(_reference.key, _reference.target_type, _reference.target_id).where(
    _reference.param.in_(_several("params")),
    _reference.target_id.in_(_several("ids")),
    _reference.target_type.in_(_several("types")),
)
"""The keys of resources that name these by some search parameters, with what each one names."""
NAMING_BY: Final = select(_reference.key, _reference.param, _reference.target_id).where(
    _reference.param.in_(_several("params")),
    _reference.target_id.in_(_several("ids")),
    _reference.target_type.in_(_several("types")),
)
"""The same, with the search parameter by which each names it."""
NAMERS: Final = (
    select(_resource.type, _resource.id)
    .join_from(core.reference, core.resource, _reference.key == _resource.key)
    .where(
        _reference.param.in_(_several("params")),
        _reference.target_id.in_(_several("ids")),
        _reference.target_type == bindparam("type"),
    )
)
"""The resources that name resources of one type by some search parameters."""
_NAMES: Final = (_resource.type == bindparam("type"), _resource.id.in_(_several("ids")))
NAMED: Final = (
    select(_reference.target_type, _reference.target_id)
    .join_from(core.resource, core.reference, _reference.key == _resource.key)
    .where(*_NAMES, _reference.param.in_(_several("params")))
)
"""What resources of one type name by some search parameters."""
AS_INDEXED: Final = (
    select(_resource.id, _resource.version, _reference.param, _reference.target_type, _reference.target_id)
    .join_from(
        core.resource,
        core.reference,
        and_(_reference.key == _resource.key, _reference.param.in_(_several("params"))),
        isouter=True,
    )
    .where(*_NAMES)
)
"""The same, each with the version of the resource that names it and by which parameter; for a resource that
names nothing, only its version."""
NAMING_ONE_OF: Final = (
    select(_resource.type, _resource.id)
    .join_from(core.resource, core.reference, _reference.key == _resource.key)
    .where(*_NAMES, _reference.param.in_(_several("params")), _reference.target_type.in_(_several("types")))
)
"""Those of these resources that name a resource of some types by these search parameters."""
HOLDING: Final = select(_token.key, _token.code, _token.system).where(
    _token.param.in_(_several("params")), _token.code.in_(_several("values"))
)
"""The keys of resources that hold one of these values under some token parameters, with value and system:
those that name another by its business identifier, or have it."""
HOLDERS: Final = (
    select(_resource.type, _resource.id, _token.code, _token.system)
    .join_from(core.token, core.resource, _token.key == _resource.key)
    .where(_token.param.in_(_several("params")), _token.code.in_(_several("values")))
)
"""The same resources by type and id."""
HELD: Final = (
    select(_token.code, _token.system)
    .join_from(core.resource, core.token, _token.key == _resource.key)
    .where(*_NAMES, _token.param.in_(_several("params")))
)
"""The values and systems that resources of one type hold under these parameters."""
WITH_MARK: Final = select(_token.param, _token.code, _token.key).where(
    _token.param.in_(_several("params")), _token.code.in_(_several("marks"))
)
"""The keys of resources that have some of these marks (`alike.py`), by the marks' parameters."""
MARKED: Final = (
    select(_resource.type, _resource.id)
    .join_from(core.token, core.resource, _token.key == _resource.key)
    .where(_token.param == bindparam("param"), _token.code.in_(_several("marks")))
)
"""The resources that have some of these marks."""
_IN_RANGE: Final = (
    _token.param == bindparam("param"),
    _token.code >= bindparam("low"),
    _token.code < bindparam("high"),
)
MARKED_LIKE: Final = (
    select(_resource.type, _resource.id)
    .join_from(core.token, core.resource, _token.key == _resource.key)
    .where(*_IN_RANGE)
)
"""The resources with marks of a range."""
MARKED_FROM: Final = (
    select(_token.code, _token.key)
    .where(*_IN_RANGE)
    .order_by(_token.code, _token.key)
    .limit(bindparam("limit"))
)
"""The keys of resources with marks of a range, in the order of the marks."""
MARKS_OF: Final = (
    select(_resource.id, _token.param, _token.code)
    .join_from(core.resource, core.token, _token.key == _resource.key)
    .where(*_NAMES, _token.param.in_(_several("params")))
)
"""The marks of resources of one type, each with its parameter."""
