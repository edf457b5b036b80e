"""Remembers which numbers and systems the data have shown to name nobody."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Connection, func, select, tuple_, update

from fhir_coprod.jsontext import Json
from fhir_coprod.store import guarded
from fhir_coprod.store.schema.many import among, array, listed
from fhir_coprod.store.schema.sync import crosswalk, numbering, odd_number, sync_key
from fhir_coprod.sync.merging.people import STRANGERS, People
from fhir_coprod.sync.staging.numbers import system_of
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import TO_LINK, chunks

ODD_VALUES, ODD_SHARE = 3, 0.01
"""A system names nobody if at least so many of its values, and this share of those that several records
carry, are carried by different people."""
_TYPE = "Patient"

# These run for every few records, so they are built once.
_DISTRUSTED = select(numbering.c.system).where(numbering.c.trusted.is_(False))
_ODD = select(odd_number.c.number, odd_number.c.people).where(listed(odd_number.c.number, "numbers"))


def is_trusted(shared: int, odd: int) -> bool:
    """Whether a system still names people, of whose numbers several records carry so many, and different
    people so many."""
    return odd < ODD_VALUES or odd < ODD_SHARE * shared


@dataclass(frozen=True, slots=True)
class SeenSystem:
    """What was seen of the numbers of one system at one EHR.

    values:    different values
    shared:    of these, also in another record, at this EHR or elsewhere
    different: of these, in records of clearly different people
    trusted:   whether the system is still taken to name people
    """

    system: str
    values: int
    shared: int
    different: int
    trusted: bool

    def to_json(self) -> Json:
        """As `sync --json` prints it."""
        return asdict(self)


def seen(connection: Connection, ehr: str) -> list[SeenSystem]:
    """What the numbers of one EHR's patients are like, by system. Costs as much as the EHR has patients."""
    k, o = sync_key.c, odd_number.c
    named = (k.type == _TYPE) & (k.kind == "number")
    own = select(k.key).where(named, k.ehr == ehr).distinct().subquery()
    counted = connection.execute(
        select(k.key, func.count()).join(own, own.c.key == k.key).where(named).group_by(k.key)
    )
    odd = set(connection.execute(select(o.number)).scalars())
    found: dict[str, list[int]] = {}
    for key, number in counted:
        numbers = found.setdefault(system_of(key), [0, 0, 0])
        numbers[0] += 1
        numbers[1] += number > 1
        numbers[2] += number > 1 and key in odd
    bad = distrusted(connection)
    return [
        SeenSystem(system, values, shared, different, system not in bad)
        for system, (values, shared, different) in sorted(found.items())
    ]


def distrusted(connection: Connection) -> frozenset[str]:
    """The systems whose numbers name nobody."""
    return frozenset(connection.execute(_DISTRUSTED).scalars())


def nobody(connection: Connection, numbers: Iterable[str]) -> set[str]:
    """Those of the numbers that name nobody."""
    found: set[str] = set()
    for chunk in chunks(numbers):
        rows = connection.execute(_ODD, {"numbers": array(chunk)})
        found |= {number for number, count in rows if count >= STRANGERS}
    return found


def note(
    connection: Connection, carriers: Mapping[str, set[Record]], crowded: Collection[str], people: People
) -> None:
    """Write down how many different people carry each number, if more than one does.

    carriers: number → all living records that carry it, unless it is among `crowded`
    """
    o = odd_number.c
    before: dict[str, int] = {}
    for chunk in chunks(carriers):
        rows = connection.execute(_ODD, {"numbers": array(chunk)})
        before |= {row.number: row.people for row in rows}
    now = {
        number: STRANGERS if number in crowded else people.how_many(records)
        for number, records in carriers.items()
        if len(records) > 1 or number in crowded
    }
    now = {number: count for number, count in now.items() if count > 1}
    changed = {number for number in before.keys() | now.keys() if before.get(number) != now.get(number)}
    if not changed:
        return
    for chunk in chunks(changed):
        guarded.take(connection, odd_number, among(o.number, chunk))
    new = [(number, system_of(number), now[number]) for number in sorted(changed & now.keys())]
    guarded.put(connection, odd_number, new)
    _look_at(connection, {system_of(number) for number in changed})
    turned = {n for n in changed if (before.get(n, 0) >= STRANGERS) != (now.get(n, 0) >= STRANGERS)}
    for chunk in chunks(turned - set(crowded)):
        _wake(connection, among(sync_key.c.key, chunk))


def _look_at(connection: Connection, systems: Collection[str]) -> None:
    n = numbering.c
    known: set[str] = set()
    for chunk in chunks(systems):
        known |= set(connection.execute(select(n.system).where(among(n.system, chunk))).scalars())
        guarded.change(connection, numbering, among(n.system, chunk), look=True)
    new = sorted(set(systems) - known)
    guarded.put(connection, numbering, [(system, 0, 0, True, True) for system in new])


def judge(connection: Connection) -> int:
    """Decide anew about systems whose odd numbers have changed; returns how many records that wakes."""
    n, o = numbering.c, odd_number.c
    woken = 0
    rows = connection.execute(select(n.system, n.shared, n.trusted).where(n.look.is_(True))).all()
    for system, shared, trusted in rows:
        odd = connection.execute(
            select(func.count()).select_from(odd_number).where(o.system == system)
        ).scalar_one()
        # Counted again only if what was counted last would change the verdict: counting takes long.
        if odd >= ODD_VALUES and is_trusted(shared, odd) != trusted:
            shared = _shared(connection, system)
        now = is_trusted(shared, odd)
        found = {"shared": shared, "odd": odd, "trusted": now, "look": False}
        guarded.change(connection, numbering, n.system == system, **found)
        if now != trusted:
            woken += _wake(connection, _of_system(system))
    return woken


def _of_system(system: str) -> ColumnElement[bool]:
    k = sync_key.c
    return (k.key >= f"{system}|") & (k.key < f"{system}}}")


def _shared(connection: Connection, system: str) -> int:
    """How many numbers of the system several records carry."""
    k = sync_key.c
    several = (
        select(k.key)
        .where(k.type == _TYPE, k.kind == "number", _of_system(system))
        .group_by(k.key)
        .having(func.count() > 1)
        .subquery()
    )
    return int(connection.execute(select(func.count()).select_from(several)).scalar_one())


def _wake(connection: Connection, which: ColumnElement[bool]) -> int:
    k, c = sync_key.c, crosswalk.c
    carriers = select(k.ehr, k.type, k.foreign_id).where(k.type == _TYPE, k.kind == "number", which)
    result = connection.execute(
        update(crosswalk)
        .where(tuple_(c.ehr, c.type, c.foreign_id).in_(carriers), c.deleted.is_(False), c.state < TO_LINK)
        .values(state=TO_LINK)
    )
    return result.rowcount
