"""A store against a model of it: whatever is done in whatever order, both say the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import Conflict, Gone, NotFound, PreconditionFailed
from fhir_coprod.store import Query, Store, Transaction, Version, index

pytestmark = pytest.mark.long

IDS = ("a", "b", "c")
STATUSES = ("requested", "accepted", "completed")

ids = st.sampled_from(IDS)
statuses = st.sampled_from(STATUSES)
match = st.one_of(st.none(), st.integers(1, 4))

Step = tuple[Any, ...]
steps = st.one_of(
    st.tuples(st.just("put"), ids, statuses, match),
    st.tuples(st.just("create"), ids, statuses, st.none()),
    st.tuples(st.just("delete"), ids, st.just(""), match),
    st.tuples(st.just("search"), ids, statuses, st.none()),
)


class Broken(Exception):
    """A work that changes its mind."""


class Model:
    """The truth, told simply: per resource the list of its versions, "" for a deletion."""

    def __init__(self) -> None:
        self.versions: dict[str, list[str]] = {}
        self.log: list[tuple[str, int]] = []

    def copy(self) -> Model:
        other = Model()
        other.versions = {id: list(versions) for id, versions in self.versions.items()}
        other.log = list(self.log)
        return other

    def newest(self, id: str) -> str:
        return self.versions.get(id, [""])[-1]

    def add(self, id: str, status: str) -> None:
        self.versions.setdefault(id, []).append(status)
        self.log.append((id, len(self.versions[id])))

    def apply(self, kind: str, id: str, status: str, if_match: int | None) -> Any:
        """What the step comes to: a change, a list of ids, or the class of its error."""
        current = self.newest(id)
        if if_match is not None and (not current or if_match != len(self.versions[id])):
            return PreconditionFailed
        if kind == "search":
            return {other for other in self.versions if self.newest(other) == status}
        if kind == "delete":
            if current:
                self.add(id, "")
            return "deleted" if current else None
        if kind == "create" and current:
            return Conflict
        if current == status:
            return "unchanged"
        self.add(id, status)
        return "updated" if current else "created"


class StoreMachine(RuleBasedStateMachine):
    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.prefix = uuid4().hex[:12]
        self.start = self.store.head()
        self.model = Model()

    def name(self, id: str) -> str:
        return f"{self.prefix}-{id}"

    def do(self, transaction: Transaction, kind: str, id: str, status: str, if_match: int | None) -> Any:
        document = jsontext.from_data(
            {"resourceType": "Task", "status": status, "identifier": [{"value": self.prefix}]}
        )
        if kind == "put":
            return transaction.put(document, self.name(id), if_match=if_match).change
        if kind == "create":
            return transaction.create(document, id=self.name(id)).change
        if kind == "delete":
            written = transaction.delete("Task", self.name(id), if_match=if_match)
            return written and written.change
        query = Query.parse("Task", [("identifier", self.prefix), ("status", status)])
        return {version.id.removeprefix(f"{self.prefix}-") for version in transaction.search(query).matches}

    @rule(step=steps)
    def one(self, step: Step) -> None:
        expected = self.model.apply(*step)
        if isinstance(expected, type):
            with pytest.raises(expected):
                self.store.write(lambda transaction: self.do(transaction, *step))
        else:
            assert self.store.write(lambda transaction: self.do(transaction, *step)) == expected

    @rule(together=st.lists(st.tuples(st.lists(steps, max_size=4), st.booleans()), max_size=4))
    def many(self, together: list[tuple[list[Step], bool]]) -> None:
        """Several works queued at once, each of several steps; some break off at their end."""

        def work(own: list[Step], breaks: bool) -> Callable[[Transaction], list[Any]]:
            def run(transaction: Transaction) -> list[Any]:
                results = [self.do(transaction, *step) for step in own]
                if breaks:
                    raise Broken
                return results

            return run

        futures = [self.store.submit(work(own, breaks)) for own, breaks in together]
        for (own, breaks), future in zip(together, futures, strict=True):
            trial = self.model.copy()
            expected = [trial.apply(*step) for step in own]
            error = next((result for result in expected if isinstance(result, type)), None)
            if error or breaks:
                with pytest.raises(error or Broken):
                    future.result()
            else:
                assert future.result() == expected
                self.model = trial

    @invariant()
    def reads_agree(self) -> None:
        for id in IDS:
            versions = self.model.versions.get(id)
            if not versions:
                with pytest.raises(NotFound):
                    self.store.read("Task", self.name(id))
                continue
            history = self.store.history("Task", self.name(id))
            assert [self.status(version) for version in reversed(history)] == versions
            assert [version.version for version in history] == list(range(len(versions), 0, -1))
            times = [version.updated for version in history]
            assert times == sorted(set(times), reverse=True)
            if versions[-1]:
                assert self.status(self.store.read("Task", self.name(id))) == versions[-1]
            else:
                with pytest.raises(Gone):
                    self.store.read("Task", self.name(id))

    @invariant()
    def log_agrees(self) -> None:
        log = self.store.changes(self.start)
        assert [v.position for v in log] == list(range(self.start + 1, self.start + 1 + len(log)))
        assert [(v.id.removeprefix(f"{self.prefix}-"), v.version) for v in log] == self.model.log

    @invariant()
    def search_agrees(self) -> None:
        for status in STATUSES:
            query = Query.parse("Task", [("identifier", self.prefix), ("status", status)])
            found = {
                version.id.removeprefix(f"{self.prefix}-") for version in self.store.search(query).matches
            }
            assert found == self.model.apply("search", "a", status, None)

    def status(self, version: Version) -> str:
        return str(version.data.get("status", ""))


@pytest.mark.parametrize("examples", [10, pytest.param(60, marks=pytest.mark.proof)])
def test_store_does_what_the_model_does(store: Store, examples: int) -> None:
    machine = type("Machine", (StoreMachine,), {"store": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_a_parameter_that_is_passed_over_would_have_found_nothing() -> None:
    """What a resource lacks altogether is not looked for in it; some expressions answer nevertheless."""
    passed = answered = 0
    for type in definitions.resource_types():
        empty = {"resourceType": type}
        kept = index._parameters_in(type, tuple(empty))
        passed_over = [parameter for parameter in index._parameters(type) if parameter not in kept]
        assert not any(parameter.values(empty) for parameter in passed_over)
        passed += len(passed_over)
        answered += any(parameter.values(empty) for parameter in index._parameters(type))
    assert passed > 2000
    assert answered
