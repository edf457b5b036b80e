"""Answers of the writer thread on their way to the event loop.

Works that were committed together are done at the same moment. Waking the loop for each of them would cost
more than writing some of them did, so it is woken once and deals with all that have come by then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Landing:
    """Where the works of one event loop come down."""

    def __init__(self) -> None:
        self._landed: deque[tuple[asyncio.Future[object], Future[object]]] = deque()

    async def wait(self, work: Future[T]) -> T:
        """What the work comes to. A caller that goes away takes nothing back: the work may be half done."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def land(done: Future[T]) -> None:
            # In the writer's thread. Where another one stands before it, the loop has been woken for that one
            # and has yet to look behind it.
            self._landed.append((waiting, done))  # type: ignore[arg-type]
            if len(self._landed) == 1:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._deliver)

        work.add_done_callback(land)
        return await waiting

    def _deliver(self) -> None:
        while self._landed:
            # Left in its place until it is dealt with: what comes meanwhile need not wake the loop.
            waiting, done = self._landed[0]
            if not waiting.done():  # else its caller has gone
                error = done.exception()
                if error is not None:
                    waiting.set_exception(error)
                else:
                    waiting.set_result(done.result())
            self._landed.popleft()
