"""How long a piece of work may take. What is over its time ends, and not only its answer.

Nobody can end a thread in Python, so who works through something long asks now and then: `deadline.check()`
raises OutOfTime once the time is over, or once nobody waits for the result any more. A statement in the
database is stopped from outside (`stopping`). The deadline of a request goes wherever its context goes;
without one, as in the commands, nothing ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

from fhir_coprod.errors import Overloaded


class OutOfTime(Overloaded):
    """The work was not done in its time. It says nothing about what was asked."""


class Deadline:
    """The time of one piece of work."""

    __slots__ = ("_lock", "_stops", "_until", "has_begun_to_write", "is_over")

    def __init__(self, seconds: float) -> None:
        self._until = monotonic() + seconds
        self._lock = threading.Lock()
        self._stops: list[Callable[[], None]] = []
        self.is_over = False
        """Nobody waits for it any more."""
        self.has_begun_to_write = False
        """Whether a write of it may have been stored; without one, nothing was."""

    def check(self) -> None:
        """Raise OutOfTime if the work has to end."""
        if self.is_over or monotonic() > self._until:
            raise OutOfTime("This took longer than it may; ask for less at once, or try again later.")

    def begin_to_write(self) -> None:
        """From now on it may have been stored. Raises OutOfTime if the time is over before that."""
        # In this order: whoever ends it looks afterwards whether it has begun.
        self.has_begun_to_write = True
        self.check()

    @property
    def is_waiting(self) -> bool:
        """Whether something from outside has to be stopped, which may take a moment."""
        return bool(self._stops)

    def end(self) -> None:
        """Nobody waits any more: stop what can be stopped."""
        self.is_over = True
        with self._lock:
            for stop in self._stops:
                stop()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have `stop` called, in another thread, if the work ends while it is inside."""
        with self._lock:
            self._stops.append(stop)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)
current = _current.get
"""The deadline of the work that is being done here; None: it may take as long as it takes."""


def check() -> None:
    """Raise OutOfTime if the work that is being done here has to end."""
    deadline = _current.get()
    if deadline is not None:
        deadline.check()


@contextmanager
def within(deadline: Deadline | None) -> Iterator[None]:
    """Do the work inside in that time."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)
