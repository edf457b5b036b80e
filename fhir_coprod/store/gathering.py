"""Sends reads that arrive at the same time to PostgreSQL together, on the event loop of a server.

A query costs about the same for one resource as for twenty, and a thread to run it in costs more than the
query. So all reads that arrive in one turn of the loop, or while earlier queries are running, go as one, on a
connection that the loop itself waits for. Nothing is cached: each read is queried after it has arrived, and
sees everything that any process had acknowledged by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg

from fhir_coprod.store.batch import Reference
from fhir_coprod.store.database import is_lost
from fhir_coprod.store.postgresql import PostgresqlDatabase, text_array
from fhir_coprod.store.versions import COLUMNS, Version, from_row

UNDER_WAY = 2
"""Queries in flight: while one is answered the next is sent; more would mean fewer reads in each."""
MOST = 100
"""Resources in one query."""

_ASK = (
    f"SELECT {COLUMNS} FROM unnest(%s::text[], %s::text[]) AS asked(type, id)"  # noqa: S608 - our own names
    ' JOIN resource r ON r.type = asked.type COLLATE "C" AND r.id = asked.id COLLATE "C"'
    " JOIN version v ON v.position = r.position"
).encode()

_Waiting = tuple[Reference, "asyncio.Future[Version | None]"]


class Gathering:
    """The reads of one event loop; use it, and close it, on that loop only."""

    def __init__(self, database: PostgresqlDatabase, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._idle: list[psycopg.AsyncCursor[tuple[object, ...]]] = []
        self._waiting: list[_Waiting] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._is_called = False

    async def newest(self, type: str, id: str) -> Version | None:
        """The newest version, deleted or not; None if there never was one.

        Raises Overloaded when the database cannot answer, TimeoutError after `seconds`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Version | None] = loop.create_future()
        self._waiting.append(((type, id), future))
        if not self._is_called and len(self._asking) < UNDER_WAY:
            # Not at once: other reads of this turn of the loop can then join.
            self._is_called = True
            loop.call_soon(self._begin)
        return await future

    async def close(self) -> None:
        """Close the connections once the reads that are running have ended."""
        await asyncio.gather(*self._asking)
        while self._idle:
            await self._idle.pop().connection.close()

    def _begin(self) -> None:
        self._is_called = False
        while self._waiting and len(self._asking) < UNDER_WAY:
            asked, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            task = asyncio.create_task(self._answer(asked))
            self._asking.add(task)
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        self._begin()

    async def _answer(self, asked: Sequence[_Waiting]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._ask([reference for reference, _ in asked])
        except Exception as error:  # noqa: BLE001 - every error goes to those who wait
            said = self._database.unavailable(error) if isinstance(error, psycopg.Error) else error
            for _, future in asked:
                if not future.done():
                    future.set_exception(said)
            return
        for reference, future in asked:
            if not future.done():  # else its caller has gone
                future.set_result(found.get(reference))

    async def _ask(self, references: Sequence[Reference]) -> dict[Reference, Version]:
        """Query; if the connection turns out to be dead, once more on a new one."""
        if self._idle:
            cursor = self._idle.pop()
            try:
                return await self._rows(cursor, references)
            except psycopg.Error as error:
                if not is_lost(error):
                    raise
        return await self._rows(await self._database.connect_async(), references)

    async def _rows(
        self, cursor: psycopg.AsyncCursor[tuple[object, ...]], references: Sequence[Reference]
    ) -> dict[Reference, Version]:
        types, ids = zip(*references, strict=True)
        try:
            await cursor.execute(_ASK, (text_array(types), text_array(ids)))
            versions = [from_row(row) for row in await cursor.fetchall()]
        except BaseException:
            # After a cancellation or failure it may still be in the middle of an answer.
            await cursor.connection.close()
            raise
        self._idle.append(cursor)
        return {(version.type, version.id): version for version in versions}
