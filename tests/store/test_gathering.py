"""Reads gathered on an event loop: the same answers as one by one, never older than what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from fhir_coprod.errors import ConfigError
from fhir_coprod.store import Store
from fhir_coprod.store.gathering import MOST, Gathering
from tests.store.writers import task


@asynccontextmanager
async def gathering(store: Store, seconds: float = 20) -> AsyncIterator[Gathering]:
    made = store.gathering(seconds)
    assert made is not None
    try:
        yield made
    finally:
        await made.close()


def put(store: Store, id: str, text: str) -> int:
    return store.write(lambda transaction: transaction.put(task(text), id)).version.version


def test_sqlite_reads_need_no_gathering(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        assert store.gathering(20) is None


def test_each_gets_its_own_answer(postgresql_store: str) -> None:
    count = 3 * MOST

    async def run(store: Store) -> None:
        async with gathering(store) as reads:
            found = await asyncio.gather(*(reads.newest("Task", f"t{n}") for n in range(count)))
            assert [version.id for version in found if version] == [f"t{n}" for n in range(count)]
            again, gone, none, other = await asyncio.gather(
                reads.newest("Task", "t1"),
                reads.newest("Task", "gone"),
                reads.newest("Task", 'no"ne,\\'),
                reads.newest("Patient", "t1"),
            )
            assert again == store.read("Task", "t1")
            assert gone is not None and gone.deleted  # noqa: PT018
            assert (none, other) == (None, None)

    with Store.open(postgresql_store) as store:

        def fill(transaction: object) -> None:
            for number in range(count):
                transaction.put(task(str(number)), f"t{number}")  # type: ignore[attr-defined]
            transaction.put(task("gone"), "gone")  # type: ignore[attr-defined]

        store.write(fill)
        store.write(lambda transaction: transaction.delete("Task", "gone"))
        asyncio.run(run(store))


def test_a_read_sees_what_another_process_has_acknowledged(postgresql_store: str) -> None:
    async def run(here: Store, there: Store) -> None:
        async with gathering(here) as reads:
            noise = asyncio.create_task(keep_reading(reads))
            for number in range(1, 150):
                acknowledged = await asyncio.to_thread(put, there, "t", str(number))
                version = await reads.newest("Task", "t")
                assert version is not None
                assert version.version >= acknowledged
            noise.cancel()

    async def keep_reading(reads: Gathering) -> None:
        while True:
            await asyncio.gather(*(reads.newest("Task", "t") for _ in range(10)))

    with Store.open(postgresql_store) as here, Store.open(postgresql_store) as there:
        asyncio.run(run(here, there))


def test_connections_that_the_server_has_cut_are_replaced(postgresql_store: str) -> None:
    async def run(store: Store) -> None:
        async with gathering(store) as reads:
            assert await reads.newest("Task", "t")
            with psycopg.connect(postgresql_store, autocommit=True) as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            found = await asyncio.gather(*(reads.newest("Task", "t") for _ in range(20)))
            assert all(found)

    with Store.open(postgresql_store) as store:
        put(store, "t", "1")
        asyncio.run(run(store))


def test_a_database_that_does_not_answer_is_given_up_and_asked_again(postgresql_store: str) -> None:
    async def run(store: Store) -> None:
        async with gathering(store, 0.3) as reads:
            with psycopg.connect(postgresql_store) as blocker:
                blocker.execute("LOCK TABLE version IN ACCESS EXCLUSIVE MODE")
                results = await asyncio.gather(
                    *(reads.newest("Task", "t") for _ in range(5)), return_exceptions=True
                )
                assert all(isinstance(result, TimeoutError) for result in results)
                blocker.rollback()
            assert await reads.newest("Task", "t")

    with Store.open(postgresql_store) as store:
        put(store, "t", "1")
        asyncio.run(run(store))


def test_a_server_that_is_gone_fails_each_read(postgresql_store: str) -> None:
    async def run(store: Store) -> None:
        async with gathering(store) as reads:
            store._database.url = store._database.url.set(port=1)
            results = await asyncio.gather(
                *(reads.newest("Task", "t") for _ in range(5)), return_exceptions=True
            )
            assert all(isinstance(result, ConfigError) for result in results)

    with Store.open(postgresql_store) as store:
        asyncio.run(run(store))
