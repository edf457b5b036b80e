"""Work that goes on after its request has been answered; for one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context

Work = Callable[[], Coroutine[object, object, None]]


class Background:
    """Pieces of work, each with a name, a few at a time in the order of asking."""

    def __init__(self, at_once: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Work) -> None:
        """Begin when there is room, with a deadline of its own: that of the request ends with its answer."""
        task = asyncio.get_running_loop().create_task(self._do(work), context=Context())
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._forget(name, done))

    async def _do(self, work: Work) -> None:
        async with self._room:
            await work()

    def _forget(self, name: str, done: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is done:
            del self._tasks[name]

    def has(self, name: str) -> bool:
        """Whether it is under way here, or waits for room."""
        return name in self._tasks

    def cancel(self, name: str) -> None:
        """End it, if it is under way here."""
        if task := self._tasks.pop(name, None):
            task.cancel()

    async def close(self) -> None:
        """End all of it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
