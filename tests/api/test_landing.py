"""Answers from the writer's thread: each reaches its caller, and none waits for the next one to come."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fhir_coprod.api.landing import Landing


def test_every_answer_arrives_whenever_it_comes() -> None:
    async def caller(landing: Landing, pool: ThreadPoolExecutor, number: int) -> None:
        for turn in range(400):
            assert await landing.wait(pool.submit(lambda turn=turn: (number, turn))) == (number, turn)

    async def run() -> None:
        landing = Landing()
        with ThreadPoolExecutor(1) as pool:
            await asyncio.wait_for(asyncio.gather(*(caller(landing, pool, n) for n in range(8))), 60)

    asyncio.run(run())


def test_errors_go_to_their_own_caller_and_one_who_left_harms_nobody() -> None:
    async def run() -> None:
        landing = Landing()
        works: list[Future[int]] = [Future() for _ in range(3)]
        good, gone, bad = (asyncio.create_task(landing.wait(work)) for work in works)
        await asyncio.sleep(0)
        gone.cancel()
        works[1].set_result(1)
        works[2].set_exception(ValueError("no"))
        works[0].set_result(0)
        assert await good == 0
        with pytest.raises(ValueError, match="no"):
            await bad
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert not works[1].cancelled()

    asyncio.run(run())
