"""However many requests have been answered, the server holds no more than before."""

from __future__ import annotations

import gc
import gzip
import sys
import urllib.parse
from collections.abc import Iterator
from itertools import pairwise

import pytest

from fhir_coprod.jsontext import encode
from fhir_coprod.remembering import TEXTS
from tests.api.conftest import FHIR, Api, patient

ROUND = 12
"""Requests in a round."""


def ask(api: Api, words: Iterator[int]) -> None:
    """A round of all kinds of requests, each with texts that nobody has sent before."""
    word = f"w{next(words)}"
    id = api.create(patient(name=[{"family": word}], meta={"tag": [{"system": "urn:level", "code": word}]}))[
        "id"
    ]
    at = f"Patient/{id}"
    seen = [
        api.get(at, if_none_match='W/"1"'),
        api.put(at, patient(id=id, name=[{"family": f"{word} again"}])),
        api.patch(at, [{"op": "add", "path": "/name/0/given", "value": [word]}]),
        api.get(f"Patient?family={word}&birthdate=lt1990-01-01T00:00:00.{next(words) % 1000:03}Z"),
        api.get(f"Patient?no{word}=1", prefer="handling=strict"),
        api.get(f"{at}/_history"),
        api.get(f"{at}/$everything"),
        api.post("Patient", {"resourceType": "Patient", "birthDate": word, f"x{word}": 1}),
        api.post("Patient/$validate", patient(gender=word)),
        api.put(at, gzip.compress(encode(patient(id=id, language="de"))), **FHIR, content_encoding="gzip"),
        api.delete(at),
    ]
    assert [answer.status_code for answer in seen] == [304, 200, 200, 200, 400, 200, 200, 422, 200, 200, 204]


def held(api: Api, words: Iterator[int], rounds: int) -> int:
    """Live blocks after so many rounds, without what is remembered of texts, which has its own limit."""
    for _ in range(rounds):
        ask(api, words)
    TEXTS.clear()
    urllib.parse.clear_cache()  # of the client
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.parametrize(
    "module_store",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.proof)],
    indirect=True,
    scope="module",
)
def test_hundreds_of_requests_of_all_kinds_leave_nothing_in_memory(api: Api) -> None:
    words = iter(range(10**6))
    rounds = 8
    sizes = [held(api, words, 12)]  # by then all shapes are known, and connections have their statements
    sizes += [held(api, words, rounds) for _ in range(3)]
    # What fills up once does so in one of the three; what is left behind is left behind in all.
    grown = min(after - before for before, after in pairwise(sizes))
    assert grown < rounds * ROUND, f"{grown / (rounds * ROUND):.2f} blocks a request stay: {sizes}"
