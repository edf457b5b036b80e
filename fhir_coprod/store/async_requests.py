"""Keeps the requests that are answered later (`Prefer: respond-async`), and their answers for a while.

They stand in the database, so that any process of the store can go on with them and tell the answer. A row
may be lost at any time: whoever asked has to ask again, and nothing else is missing.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select

from fhir_coprod.errors import Overloaded
from fhir_coprod.instants import now, to_milliseconds
from fhir_coprod.store import seals
from fhir_coprod.store.repository import Store
from fhir_coprod.store.schema import core
from fhir_coprod.store.transaction import Transaction

_c = core.async_request.c
_FIND = select(_c.until, _c.request, _c.answer, _c.seal).where(_c.id == bindparam("id"))


class AsyncRequest(NamedTuple):
    """One request that is answered later.

    until:   when it is forgotten; milliseconds since 1970
    request: as whoever answers it wrote it down
    answer:  empty until it is there
    """

    until: int
    request: bytes
    answer: bytes = b""


def add(transaction: Transaction, *, id: str, request: bytes, seconds: float, most: int) -> None:
    """Keep a request for so many seconds. Raises Overloaded if there are as many as may be."""
    forget_old(transaction)
    transaction.lock()  # else two processes could each add the last one
    held = transaction.session.rows("SELECT count(*) FROM async_request")[0][0]
    if held >= most:
        raise Overloaded(
            f"This server keeps {most:,} requests that are answered later; fetch the answers to yours and"
            " DELETE them, or try again later."
        )
    until = transaction.session.milliseconds() + round(seconds * 1000)
    transaction.session.run(
        "INSERT INTO async_request (id, until, request, answer, seal) VALUES (?, ?, ?, ?, ?)",
        (id, until, request, b"", _seal(id, until, request, b"")),
    )


def find(store: Store, id: str) -> AsyncRequest | None:
    """The request of this id; None if there is none, if it is too old, or not as it was written."""
    with store.connect() as connection:
        row = connection.execute(_FIND, {"id": id}).first()
    if row is None:
        return None
    kept = AsyncRequest(row.until, bytes(row.request), bytes(row.answer))
    is_sound = row.seal == _seal(id, *kept)
    return kept if is_sound and kept.until > to_milliseconds(now()) else None


def answer(transaction: Transaction, *, id: str, kept: AsyncRequest, answer: bytes, seconds: float) -> None:
    """Add the answer, and keep it for so many seconds; nothing is done if nobody waits for it any more."""
    until = transaction.session.milliseconds() + round(seconds * 1000)
    transaction.session.run(
        "UPDATE async_request SET until = ?, answer = ?, seal = ? WHERE id = ?",
        (until, answer, _seal(id, until, kept.request, answer), id),
    )


def is_wanted(transaction: Transaction, id: str) -> bool:
    """Whether it has not been taken back."""
    return bool(transaction.session.rows("SELECT 1 FROM async_request WHERE id = ?", (id,)))


def forget(transaction: Transaction, *, id: str) -> bool:
    """Forget a request and its answer; False if there is none."""
    return bool(transaction.session.run("DELETE FROM async_request WHERE id = ?", (id,)))


def forget_old(transaction: Transaction) -> None:
    """Forget those whose time is over."""
    limit = transaction.session.milliseconds()
    transaction.session.run("DELETE FROM async_request WHERE until <= ?", (limit,))


def _seal(id: str, until: int, request: bytes, answer: bytes) -> int:
    return seals.seal((id, until, request, answer))
