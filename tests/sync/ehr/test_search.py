"""Searches read side by side: what becomes of a fault, and of searches that there are none of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.search import Search, Unit
from fhir_coprod.sync.ehr.vendor import Vendor
from tests.sync.ehr.asking import BASE, Clock, ehr

EMPTY = {"resourceType": "Bundle", "type": "searchset", "total": 0}


async def in_place(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


async def at_fault(work: Callable[..., Any], *arguments: Any) -> Any:
    raise TypeError("made up")


def read(threaded: Callable[..., Any], searches: int) -> int:
    """How many pages that many searches give."""

    async def story() -> int:
        async with EhrClient(ehr(), politeness=Clock().politeness()) as client:
            search = Search(client, Vendor(), "Task", threaded)
            units = [Unit(f"{BASE}/Task?n={number}") for number in range(searches)]
            pages = search.pages(units, each_for_itself=True)
            return len([turned async for turned in pages])

    return asyncio.run(asyncio.wait_for(story(), 20))


@respx.mock
def test_the_pages_of_all_searches_come_however_many_there_are() -> None:
    respx.get(url__startswith=f"{BASE}/Task").mock(return_value=httpx.Response(200, json=EMPTY))
    assert [read(in_place, searches) for searches in (0, 1, 9)] == [0, 1, 9]


@respx.mock
def test_a_fault_of_ours_reaches_whoever_reads_the_pages() -> None:
    respx.get(url__startswith=f"{BASE}/Task").mock(return_value=httpx.Response(200, json=EMPTY))
    with pytest.raises(TypeError, match="made up"):
        read(at_fault, 9)
