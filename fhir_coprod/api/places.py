"""How much the server takes on at once: who comes when there is no room waits, and not too many wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fhir_coprod.errors import Overloaded


class Places:
    """Room for so much at once, given in the order of asking; for one event loop.

    size: in whatever is counted: bytes, elements, requests
    line: how many may wait
    """

    def __init__(self, size: int, line: int) -> None:
        self._size = self._free = size
        self._most = line
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, amount: int) -> int:
        """Wait for room; what was taken, at most all there is, and has to be given back.

        Raises Overloaded when the line is full.
        """
        amount = min(amount, self._size)
        if not self._line and amount <= self._free:
            self._free -= amount
            return amount
        if len(self._line) >= self._most:
            raise Overloaded(
                "The server has as many large requests as it takes at once; nothing was done. Try again in a "
                "few seconds."
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._let_in()  # perhaps this one stood in the way of smaller ones
            else:
                self.give(amount)
            raise
        return amount

    @property
    def is_empty(self) -> bool:
        """Whether nobody has any of the room."""
        return self._free == self._size

    def give(self, amount: int) -> None:
        """Give room back."""
        self._free += amount
        self._let_in()

    def _let_in(self) -> None:
        while self._line:
            amount, turn = self._line[0]
            if turn.cancelled():
                self._line.popleft()
            elif amount <= self._free:
                self._line.popleft()
                self._free -= amount
                turn.set_result(None)
            else:
                return

    @asynccontextmanager
    async def of(self, amount: int) -> AsyncIterator[None]:
        """Have so much room inside."""
        taken = await self.take(amount)
        try:
            yield
        finally:
            self.give(taken)
