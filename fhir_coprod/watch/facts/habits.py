"""Learns which steps of referrals are in use at an EHR, in a department, for a code; settings come first.

Learning never turns off a step that was in use: if far fewer referrals show it, a person is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from fhir_coprod.instants import to_milliseconds
from fhir_coprod.settings import PracticeSettings, Settings
from fhir_coprod.store import Transaction, guarded
from fhir_coprod.store.schema import core
from fhir_coprod.store.schema.watch import habit, standing
from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.steps import LEAST, WORDS, Step, Use, use_of

_LATELY: Final = timedelta(days=365)
_OLD_ENOUGH: Final = timedelta(days=30)
"""More than any deadline of the steps: before that, something missing is only not there yet."""
_Group = tuple[str, str, str]
"""EHR, department and code; "" for all."""


class Habit(NamedTuple):
    """What the referrals of one group tell of one step."""

    ehr: str
    asked: str
    thing: str
    step: str
    referrals: int
    shown: int
    use: str
    was_used: bool

    @property
    def has_fallen(self) -> bool:
        """Whether the step was in use and is shown far less often now."""
        return self.was_used and self.use != Use.USED

    @property
    def sentence(self) -> str:
        """What has been learned, in words that can follow a colon."""
        who = f" of {self.asked}" if self.asked else ""
        what = f" for {self.thing}" if self.thing else ""
        return f"{self.shown} of {self.referrals} referrals{who}{what} {WORDS[Step(self.step)]}"

    def to_json(self) -> dict[str, str | int | None]:
        """As `fhir-coprod ehr check --json` prints it."""
        return {
            "step": self.step,
            "department": self.asked or None,
            "code": self.thing or None,
            "referrals": self.referrals,
            "shown": self.shown,
            "use": self.use,
            "was_used": self.was_used,
        }


LEARNED: Final = "watch:learned"
"""The name of the setting with a hash of the use of each step in each group: who has read the habits that it
names need not read them again. They change once a day, and are needed for every look."""


class Practices:
    """Whether each step is in use, by what the settings say, and what has been learned."""

    def __init__(self, learned: _Uses, said: Sequence[PracticeSettings] = (), name: str = "") -> None:
        """name: `_name_of(learned)`, if the caller has it."""
        self._said = said
        self._learned, self._name = learned, name or _name_of(learned)

    @classmethod
    def learned(cls, habits: Iterable[Habit], said: Sequence[PracticeSettings] = ()) -> Practices:
        """What these habits and the settings say."""
        return cls(_uses(habits), said)

    @classmethod
    def known(cls, connection: Connection, settings: Settings) -> Practices:
        """What a store has learned, and what the settings say."""
        name = str(connection.execute(_NAME).scalar() or "")
        uses = _RECENT.get(name)
        if uses is None:
            uses = _uses(habits(connection))
            # The habits of an earlier program have no name, and may have been learned again in between.
            name = _name_of(uses)
            _RECENT.clear()
            _RECENT[name] = uses
        return cls(uses, settings.watch.practice, name)

    @property
    def fingerprint(self) -> list[str]:
        """Changes with anything that a judgement depends on."""
        return [self._name, *(repr(one) for one in self._said)]

    def applied(self, facts: Facts, ehr: str) -> Facts:
        """The facts with the steps that are not surely in use where the referral comes from."""
        request = facts.request
        owners = (state.owner for task in facts.tasks for state in task.states[:1])
        asked = tuple(name for name in (*request.departments, *owners) if name)
        practice = self.of(ehr, asked, next(iter(request.codes), ""))
        return msgspec.structs.replace(facts, practice=practice) if practice != facts.practice else facts

    def of(self, ehr: str, asked: tuple[str, ...], thing: str) -> tuple[tuple[str, str], ...]:
        """The steps that are not surely in use for a referral, each with its use.

        asked: the departments that were asked, the first of which was learned by.
        thing: the code of what is asked for.
        """
        if not self._said and not self._learned:
            return ()
        found = ((step, self._of(step, ehr, asked, thing)) for step in Step)
        return tuple((step.value, use) for step, use in found if use != Use.USED)

    def _of(self, step: Step, ehr: str, asked: tuple[str, ...], thing: str) -> str:
        for said in self._said:
            if _fits(said, step, ehr, asked, thing):
                return Use.USED if said.used else Use.NOT_USED
        if not ehr:
            return Use.USED  # files and the demo always use every step
        first = next(iter(asked), "")
        for group in ((ehr, first, thing), (ehr, first, ""), (ehr, "", "")):
            if use := self._learned.get((group, step)):
                return use
        return Use.USED


_Uses = Mapping[tuple[_Group, str], str]
"""By group and step, whether it is in use; what was in use counts as such."""
_NAME: Final = select(core.setting.c.value).where(core.setting.c.name == LEARNED)
_RECENT: dict[str, _Uses] = {}
"""The habits that were read last, by the hash of what they say, which is the same in any store."""


def _uses(learned: Iterable[Habit]) -> _Uses:
    return {(found[:3], found.step): Use.USED if found.was_used else found.use for found in learned}


def _name_of(uses: _Uses) -> str:
    told = sorted((*group, step, str(use)) for (group, step), use in uses.items())
    return blake2b(repr(told).encode(), digest_size=12).hexdigest()


def _fits(said: PracticeSettings, step: str, ehr: str, asked: tuple[str, ...], thing: str) -> bool:
    return (
        said.step == step
        and said.ehr in ("", ehr)
        and (not said.department or said.department in asked)
        and said.code in ("", thing)
    )


def settles(said: Iterable[PracticeSettings], found: Habit) -> bool:
    """Whether the settings say how it is done there, so that nobody need be asked."""
    return any(_fits(one, found.step, found.ehr, (found.asked,), found.thing) for one in said)


_ALL: Final = select(*habit.c).order_by(*habit.primary_key.columns)


def habits(connection: Connection) -> Iterator[Habit]:
    """Everything that has been learned."""
    for row in connection.execute(_ALL):
        yield Habit(*row)


def learned(connection: Connection, now: datetime, limit: float) -> list[Habit]:
    """What the referrals of the last twelve months tell; a group of too few is left to a wider one."""
    return list(learned_from(_told(connection, now), list(habits(connection)), limit))


def keep(transaction: Transaction, learned: Sequence[Habit]) -> None:
    """Store what has been learned in place of what was known."""
    connection = transaction.connection
    guarded.take_all(connection, habit)
    guarded.put(connection, habit, learned)
    transaction.set_setting(LEARNED, _name_of(_uses(learned)))


def name_again(transaction: Transaction) -> None:
    """Store the name of what is known once more."""
    known = list(habits(transaction.connection))
    transaction.set_setting(LEARNED, _name_of(_uses(known)))


class Told(NamedTuple):
    """What referrals tell that have everything in common."""

    ehr: str
    asked: str
    thing: str
    steps: str
    """`steps.shown` of each, with spaces between."""
    referrals: int


def is_telling(written: datetime, now: datetime) -> bool:
    """Whether a referral of that age says how steps are recorded now."""
    return now - _LATELY <= written <= now - _OLD_ENOUGH


def _told(connection: Connection, now: datetime) -> Iterator[Told]:
    column = standing.c
    keys = (column.ehr, column.asked, column.thing, column.steps)
    statement = (
        select(*keys, func.count())
        .where(
            column.written >= to_milliseconds(now - _LATELY),
            column.written <= to_milliseconds(now - _OLD_ENOUGH),
            column.steps != "",
            column.ehr != "",
        )
        .group_by(*keys)
    )
    for row in connection.execute(statement):
        yield Told(*row)


def learned_from(told: Iterable[Told], before: Iterable[Habit], limit: float) -> Iterator[Habit]:
    """What referrals tell, each counted in its group and in the wider ones; pure.

    before: what was learned last
    limit:  the policy's
    """
    was = {(found[:3], found.step): found for found in before}
    of: Counter[tuple[_Group, str]] = Counter()
    shown: Counter[tuple[_Group, str]] = Counter()
    for ehr, asked, thing, steps, count in told:
        for said in steps.split():
            step = said[:-1]
            for group in {(ehr, asked, thing), (ehr, asked, ""), (ehr, "", "")}:
                of[group, step] += count
                shown[group, step] += count if said.endswith("+") else 0
    for key in sorted(of.keys() | was.keys()):
        (group, step), known = key, was.get(key)
        if of[key] >= LEAST:
            use = use_of(shown[key], of[key], limit)
            used = use is Use.USED or (known is not None and known.was_used)
            yield Habit(*group, step, of[key], shown[key], use.value, used)
        elif known is not None and known.was_used:
            yield known  # too few say nothing, and do not undo what was known
