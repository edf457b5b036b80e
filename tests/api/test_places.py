"""Places: so much at once, in the order of asking, and not too many in line."""

from __future__ import annotations

import asyncio

import pytest

from fhir_coprod.api.places import Places
from fhir_coprod.errors import Overloaded


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_finds_no_room_waits_and_the_first_comes_first() -> None:
    async def story() -> list[str]:
        places, order = Places(10, 5), []

        async def work(name: str, size: int) -> None:
            async with places.of(size):
                order.append(name)
                await asyncio.sleep(0.01)

        await asyncio.gather(work("a", 6), work("b", 6), work("c", 2), work("d", 99))
        return order

    # c would fit beside a, but b came first; more than all there is takes all there is.
    assert asyncio.run(story()) == ["a", "b", "c", "d"]


def test_when_the_line_is_full_the_next_is_refused() -> None:
    async def story() -> None:
        places = Places(1, 2)
        await places.take(1)
        waiting = [asyncio.create_task(places.take(1)) for _ in range(2)]
        await settle()
        with pytest.raises(Overloaded, match="few seconds"):
            await places.take(1)
        for each in waiting:
            places.give(1)
            await each
        places.give(1)
        assert await places.take(1) == 1

    asyncio.run(story())


@pytest.mark.parametrize("is_let_in", [False, True])
def test_who_gives_up_waiting_takes_nothing_along(is_let_in: bool) -> None:
    async def story() -> None:
        places = Places(2, 9)
        await places.take(1)
        large, small = asyncio.create_task(places.take(2)), asyncio.create_task(places.take(1))
        await settle()
        if is_let_in:
            places.give(1)
        large.cancel()
        await settle()
        assert await asyncio.wait_for(small, 1) == 1
        places.give(1)
        if not is_let_in:
            places.give(1)
        assert await asyncio.wait_for(places.take(2), 1) == 2

    asyncio.run(story())
