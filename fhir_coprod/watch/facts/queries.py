"""The questions that a live watch asks the store many times a second: made once, since making them takes
longer than asking.

`ids`, `keys`, `params` and `types` are lists.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BindParameter, and_, bindparam, select

from fhir_coprod.store.schema import core

AT_ONCE: Final = 5000
"""Values in one statement: databases take some tens of thousands, and one referral may have more letters."""

_resource, _version, _reference = core.resource.c, core.version.c, core.reference.c


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
"""The newest versions of resources, those deleted left out."""
BY_NAME: Final = _NEWEST.where(_resource.type == bindparam("type"), _resource.id.in_(_several("ids")))
"""The same, of one type."""
VERSIONS: Final = (
    select(_version.id, _version.position, _version.updated, _version.method, _version.body)
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
"""Versions of resources of one type, by ids and numbers. These go together in pairs, but SQLite would look
through all versions of the type for a list of pairs."""
NAMING: Final = select(_reference.key, _reference.target_type, _reference.target_id).where(
    _reference.param.in_(_several("params")),
    _reference.target_id.in_(_several("ids")),
    _reference.target_type.in_(_several("types")),
)
"""Keys of what names these by some search parameters, with what each names."""
NAMERS: Final = (
    select(_resource.type, _resource.id)
    .join_from(core.reference, core.resource, _reference.key == _resource.key)
    .where(
        _reference.param.in_(_several("params")),
        _reference.target_id.in_(_several("ids")),
        _reference.target_type == bindparam("type"),
    )
)
"""What names resources of one type by some search parameters."""
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
"""The same, each with the version that says so and by which parameter; of one that names nothing, the version
alone."""
NAMING_ONE_OF: Final = (
    select(_resource.type, _resource.id)
    .join_from(core.resource, core.reference, _reference.key == _resource.key)
    .where(*_NAMES, _reference.param.in_(_several("params")), _reference.target_type.in_(_several("types")))
)
"""Which of these resources name something of some types by these search parameters."""
