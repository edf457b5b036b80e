"""Passes results from the writer thread to the event loop, many at a time.

Writes that are committed together finish at the same moment. Waking the loop for each of them would cost more
than some of the writes did, so it is woken once and delivers every result that has come by then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Landing:
    """The results on their way to one event loop."""

    def __init__(self) -> None:
        self._landed: deque[tuple[asyncio.Future[object], Future[object]]] = deque()

    async def wait(self, work: Future[T]) -> T:
        """The result of the work. If the caller goes away, the work goes on: it may be half done."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def land(done: Future[T]) -> None:
            # In the writer's thread. If another result is queued before it, the loop has been woken for that
            # one and will find this one behind it.
            self._landed.append((waiting, done))  # type: ignore[arg-type]
            if len(self._landed) == 1:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._deliver)

        work.add_done_callback(land)
        return await waiting

    def _deliver(self) -> None:
        while self._landed:
            # Stays queued until it is delivered, so that results that come meanwhile need not wake the loop.
            waiting, done = self._landed[0]
            if not waiting.done():  # else its caller has gone
                error = done.exception()
                if error is not None:
                    waiting.set_exception(error)
                else:
                    waiting.set_result(done.result())
            self._landed.popleft()
