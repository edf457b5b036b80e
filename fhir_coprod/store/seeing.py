"""Finds single resources and versions for somebody who may not see everything.

Of what is not in sight there is no sign: neither whether it is there nor whether it ever was. Deletions, and
what was deleted, exist for nobody whose sight is limited. An older version is shown only if all that decides
about it is as in the newest one, and it has no label that this lacks: it may have been about somebody else.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_coprod.store import index
from fhir_coprod.store.database import Session
from fhir_coprod.store.search.run import within
from fhir_coprod.store.search.sight import Sight, looked_at_alike
from fhir_coprod.store.versions import COLUMNS, Version, from_row


def newest(session: Session, sight: Sight | None, type: str, ids: Sequence[str]) -> list[Version]:
    """The newest versions of what is there, and in sight, under these ids."""
    if not ids:
        return []
    limit = within(sight, (type,), "r")
    wanted, values = session.of_type(type, ids)
    rows = session.rows(
        f"SELECT {COLUMNS} FROM {wanted} r JOIN version v ON v.position = r.position"
        f" WHERE r.deleted = false{limit.text}",
        [*values, *limit.values],
    )
    return [from_row(row) for row in rows]


def one_query(sight: Sight, type: str) -> tuple[str, tuple[object, ...]]:
    """The query for one resource, whose type and id come before these values."""
    limit = within(sight, (type,), "r")
    return (
        f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.position = r.position"
        f" WHERE r.type = ? AND r.id = ? AND r.deleted = false{limit.text}",
        limit.values,
    )


def references(session: Session, sight: Sight | None, names: Iterable[str]) -> frozenset[str]:
    """Which of these references (`Type/id`) lead to what is in sight."""
    by_type: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        type, slash, id = name.partition("/")
        if slash and id:
            by_type.setdefault(type, []).append(id)
    found: set[str] = set()
    for type, ids in by_type.items():
        limit = within(sight, (type,), "r")
        for start in range(0, len(ids), _AT_ONCE):
            wanted, values = session.of_type(type, ids[start : start + _AT_ONCE])
            rows = session.rows(
                f"SELECT r.id FROM {wanted} r WHERE r.deleted = false{limit.text}", [*values, *limit.values]
            )
            found.update(f"{type}/{row[0]}" for row in rows)
    return frozenset(found)


_AT_ONCE = 400


def shown(session: Session, sight: Sight, versions: Sequence[Version]) -> list[Version]:
    """Those of these versions that may be shown; their resources are in sight as they are now."""
    heads: dict[tuple[str, str], Version] = {}
    for type in {version.type for version in versions}:
        ids = sorted({version.id for version in versions if version.type == type})
        for start in range(0, len(ids), _AT_ONCE):
            for head in newest(session, sight, type, ids[start : start + _AT_ONCE]):
                heads[head.type, head.id] = head
    return [
        version
        for version in versions
        if (own := heads.get((version.type, version.id))) is not None and _is_shown(sight, own, version)
    ]


def _is_shown(sight: Sight, head: Version, version: Version) -> bool:
    if version.version == head.version:
        return True
    if version.deleted or sight.looked_at(version.type) is None:
        return False
    # Read with the same doubt, whatever was known of their form when they were stored.
    rows = [index.rows(each.type, each.data, is_sound=False) for each in (head, version)]
    return looked_at_alike(sight, version.type, rows[0], rows[1])
