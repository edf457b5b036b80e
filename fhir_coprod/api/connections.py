"""All open connections of one process: how many there may be, and how long each may wait for its client.

A connection costs a file descriptor, and the store, the log and `/health` need descriptors too. So there are
fewer connections than descriptors, and when all are taken, the one that has waited longest for its client has
to go: whoever says something is served, whoever says nothing makes room.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from heapq import nsmallest
from typing import Protocol

from fhir_coprod.errors import CoprodError, Overloaded

log = logging.getLogger("fhir_coprod.api")

RESERVED_DESCRIPTORS = 200
"""Descriptors that connections leave to the store, the log and other processes."""
MOST_CONNECTIONS = 2_000
"""Connections at once, however many descriptors there are: each also takes some memory."""
FEW_DESCRIPTORS = 50
"""As many left are worth a line in the log."""
LOG_SECONDS = 60.0
"""Pause before the same line is written again."""


def room() -> int:
    """How many connections this process may have, by its limit of open files."""
    files = _most_files()
    return max(8, min(MOST_CONNECTIONS, files - RESERVED_DESCRIPTORS))


def _most_files() -> int:
    """How many files and connections this process may have open."""
    if sys.platform == "win32":
        return 8_192
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**31 if most == resource.RLIM_INFINITY else most


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may take. Sizes in bytes, times in seconds.

    head_bytes:     the URL and headers of a request; also what stands between two pieces of a body
    head_seconds:   from the first byte of a request to the end of its headers, and from the connection's
                    beginning to its first request
    body_seconds:   from there to the end of its body
    idle_seconds:   between two requests
    answer_seconds: in which the client has to take an answer, and one more for each `answer_pace` bytes
    linger_seconds: for which a refused client may go on sending, so that it gets to read why
    bodies, answers: what all bodies on their way in, and all answers on their way out, may take together
    most:           connections at once
    """

    head_bytes: int = 64_000
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    answer_seconds: float = 30.0
    answer_pace: int = 100_000
    linger_seconds: float = 2.0
    bodies: int = 128_000_000
    answers: int = 64_000_000
    most: int = field(default_factory=room)


class Stage(Enum):
    """Where a connection is between two requests."""

    NEW = auto()
    """Nothing has come yet."""
    HEAD = auto()
    """A request has begun, and its headers have not ended."""
    BODY = auto()
    """The headers are there, and the body is coming."""
    BUSY = auto()
    """A whole request is here, and its answer is not ready yet."""
    IDLE = auto()
    """Everything is answered."""
    OVER = auto()
    """Nothing more is read; what was written still has to be sent."""


class Connection(Protocol):
    """What `Connections` knows of each."""

    stage: Stage
    since: float
    """When the stage began, by `Connections.now`."""
    stuck_since: float
    """When the client left more of an answer unread than the system buffers; 0: it has not."""
    body_bytes: int
    """How much of a body has come that is not all here yet."""

    def unsent(self) -> int:
        """Bytes of answers that the client has not taken yet."""

    def expire(self) -> None:
        """Its time is over."""

    def refuse(self, error: CoprodError) -> None:
        """Answer with an error, and close."""

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""


class Connections:
    """The open connections of one event loop. `now` is brought up to date at each `look`."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.now = time.monotonic()
        self.open: set[Connection] = set()
        self.body_bytes = 0
        self._told: dict[str, float] = {}
        self._most_files = _most_files()

    def add(self, connection: Connection) -> bool:
        """Take in a new connection; False if there is no room and none that could make room."""
        self.now = connection.since = time.monotonic()
        if len(self.open) >= self.limits.most:
            self._tell(
                "full",
                f"{len(self.open)} connections are open, as many as this process takes: those that have "
                "waited longest for their clients are closed for new ones. If your clients need more, raise "
                "the limit of open files (ulimit -n) before the start.",
            )
            # Some at a time: each search goes through all of them, and where one comes many come.
            longest = self._longest_waiting(max(1, self.limits.most // 50))
            if not longest:
                return False
            for one in longest:
                one.abort()
                self.open.discard(one)
        self.open.add(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """It is closed."""
        self.open.discard(connection)
        self.body_came(connection, -connection.body_bytes)

    def body_came(self, connection: Connection, size: int) -> None:
        """So many bytes of a body have come; less than nothing: so many are no longer on their way."""
        connection.body_bytes += size
        self.body_bytes += size
        if self.body_bytes > self.limits.bodies:
            self._make_room_for_bodies()

    def look(self) -> None:
        """End every connection whose time is over, and see how many descriptors are left."""
        self.now = time.monotonic()
        for connection in list(self.open):
            if self._is_over(connection):
                connection.expire()
        self._look_at_descriptors()

    def bound_answers(self) -> None:
        """If answers that nobody takes fill too much memory, drop those that have waited longest."""
        stuck = [one for one in self.open if one.stuck_since]
        unsent = sum(one.unsent() for one in stuck)
        for connection in sorted(stuck, key=lambda one: one.stuck_since):
            if unsent <= self.limits.answers:
                break
            unsent -= connection.unsent()
            connection.abort()

    def _is_over(self, connection: Connection) -> bool:
        limits = self.limits
        if connection.stuck_since:
            allowed = limits.answer_seconds + connection.unsent() / limits.answer_pace
            if self.now - connection.stuck_since > allowed:
                return True
        waited = self.now - connection.since
        match connection.stage:
            case Stage.NEW | Stage.HEAD:
                return waited > limits.head_seconds
            case Stage.BODY:
                return waited > limits.body_seconds
            case Stage.IDLE:
                return waited > limits.idle_seconds and not connection.stuck_since
            case Stage.OVER:
                return waited > (limits.answer_seconds if connection.unsent() else limits.linger_seconds)
            case Stage.BUSY:
                return False  # the endpoint ends it

    def _longest_waiting(self, number: int) -> list[Connection]:
        """The connections that have waited longest for their clients; those at work are not among them."""
        waiting = [one for one in self.open if one.stage is not Stage.BUSY or one.stuck_since]
        return nsmallest(number, waiting, key=lambda one: one.stuck_since or one.since)

    def _make_room_for_bodies(self) -> None:
        self._tell(
            "bodies",
            f"the bodies of requests on their way in have more than {self.limits.bodies:,} bytes together: "
            "the one that has taken longest is refused.",
        )
        coming = [one for one in self.open if one.body_bytes]
        for connection in sorted(coming, key=lambda one: one.since):
            if self.body_bytes <= self.limits.bodies:
                return
            connection.refuse(Overloaded("Too many requests are on their way in; send it again in a moment."))
            self.body_bytes -= connection.body_bytes
            connection.body_bytes = 0

    def _look_at_descriptors(self) -> None:
        """A new descriptor gets the lowest number that is free, which tells how many are left."""
        try:
            lowest = os.dup(2)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._tell(
                    "none",
                    "no file descriptor is left: new connections are refused, and the store may fail. Raise "
                    "the limit of open files (ulimit -n), or find out who opens so many.",
                )
            return
        os.close(lowest)
        if lowest >= self._most_files - FEW_DESCRIPTORS:
            self._tell(
                "few",
                f"fewer than {FEW_DESCRIPTORS} of {self._most_files} file descriptors are left, with "
                f"{len(self.open)} connections open: raise the limit of open files (ulimit -n).",
            )

    def _tell(self, what: str, sentence: str) -> None:
        """Log it, but not again and again."""
        now = time.monotonic()
        if now - self._told.get(what, -LOG_SECONDS) >= LOG_SECONDS:
            self._told[what] = now
            log.warning(sentence)
