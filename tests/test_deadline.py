"""What is over its time ends, and what nobody waits for is not begun."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import suppress

import pytest

from fhir_coprod import deadline, jsontext
from fhir_coprod.deadline import Deadline, OutOfTime
from fhir_coprod.errors import Overloaded
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store import Query, Store, Transaction
from fhir_coprod.validation import validate_document


def over() -> Deadline:
    ended = Deadline(60)
    ended.end()
    return ended


def document(data: Json) -> Document:
    return Document(jsontext.encode(data), data)


def test_without_a_deadline_nothing_ends() -> None:
    deadline.check()


@pytest.mark.parametrize("ended", [over(), Deadline(-1)], ids=["nobody waits", "late"])
@pytest.mark.parametrize(
    "data",
    [
        {"resourceType": "Patient", "active": True},
        {"resourceType": "Patient", "active": 5, "name": [{"family": "A"}]},
        {"resourceType": "Nonsense"},
    ],
    ids=["valid", "wrong", "unknown"],
)
def test_validation_ends_without_a_verdict(ended: Deadline, data: Json) -> None:
    with deadline.within(ended), pytest.raises(OutOfTime):
        validate_document(document(data))


def test_the_same_body_has_the_same_verdict_as_soon_as_there_is_time_again() -> None:
    data = {"resourceType": "Patient", "active": 5, "name": [{"family": "A"}, {}]}
    before = validate_document(document(data))
    for _ in range(3):
        with deadline.within(over()), suppress(OutOfTime):
            validate_document(document(data))
    assert validate_document(document(data)) == before


class TestInTheStore:
    @pytest.fixture
    def store(self, store_url: str) -> Store:
        with Store.open(store_url) as opened:
            yield opened  # type: ignore[misc]

    def create(self, transaction: Transaction) -> None:
        transaction.create(document({"resourceType": "Basic", "code": {"text": "x"}}), id="a")

    def test_a_write_whose_caller_is_gone_is_dropped(self, store: Store) -> None:
        ended = over()
        with deadline.within(ended):
            dropped = store.submit(self.create)
        with pytest.raises(OutOfTime):
            dropped.result(30)
        assert store.head() == 0

    def test_a_write_that_runs_out_of_time_leaves_nothing_and_harms_no_other(self, store: Store) -> None:
        own, begun, others = Deadline(60), threading.Event(), []

        def long(transaction: Transaction) -> None:
            self.create(transaction)
            begun.set()
            while True:
                deadline.check()
                time.sleep(0.001)

        with deadline.within(own):
            waiting: Future[None] = store.submit(long)
        assert begun.wait(30)
        for number in range(5):
            text = {"resourceType": "Basic", "code": {"text": "x"}, "id": f"n{number}"}
            others.append(store.submit(lambda each, t=text: each.put(document(t), t["id"])))
        assert own.has_begun_to_write
        own.end()
        with pytest.raises(OutOfTime):
            waiting.result(30)
        assert [other.result(30).change for other in others] == ["created"] * 5
        assert store.head() == 5

    def test_a_statement_is_stopped_in_reading_and_in_writing(self, store: Store) -> None:
        endless = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n WHERE i < 0"
        )

        def read() -> None:
            store._database.read(endless)

        def write() -> None:
            store.write(lambda transaction: transaction._batch.session.rows(endless))

        for work in (read, write):
            own = Deadline(60)
            found: list[BaseException] = []

            def run(work=work, own=own, found=found) -> None:  # type: ignore[no-untyped-def]
                try:
                    with deadline.within(own):
                        work()
                except BaseException as error:  # noqa: BLE001
                    found.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            time.sleep(0.2)
            own.end()
            thread.join(30)
            assert not thread.is_alive()
            assert isinstance(found[0], Overloaded)
            # The connection, or a new one, serves the next.
            assert store.head() >= 0
            store.write(lambda transaction: None)

    def test_a_search_asks_before_each_step(self, store: Store) -> None:
        query = Query.parse("Patient", (("_include", "Patient:*"),))
        with deadline.within(Deadline(-1)), pytest.raises(OutOfTime):
            store.search(query)
        assert store.search(query).matches == []
