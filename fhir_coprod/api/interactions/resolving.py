"""Decides what the entries of a transaction mean: their ids, what criteria find, and in which turn they come.

Entries name each other by their fullUrl, in references and in criteria.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Interaction
from fhir_coprod.api.interactions import patching, writing
from fhir_coprod.api.interactions.writing import PlannedWrite
from fhir_coprod.errors import BadRequest, CoprodError
from fhir_coprod.outcome import Outcome
from fhir_coprod.store import Transaction, links
from fhir_coprod.store.links import Addresses, folded


@dataclass(slots=True)
class Step:
    """One entry in progress: its call, then the change it makes, then its answer.

    twin: an earlier entry with the same conditional create; this one answers with its result
    """

    index: int
    full_url: str
    method: str
    row: Interaction | None = None
    call: Call | None = None
    change: PlannedWrite | None = None
    twin: Step | None = None
    answer: Answer | None = None


def both(step: Step) -> tuple[Call, PlannedWrite]:
    if step.call is None or step.change is None:
        raise AssertionError("a step that writes has been prepared")
    return step.call, step.change


def located(error: CoprodError, index: int) -> CoprodError:
    """The same error, with the place of its issues within the Bundle."""
    error.outcome = Outcome(
        tuple(replace(issue, expression=_place(issue.expression, index)) for issue in error.outcome.issues)
    )
    return error


def _place(expression: str, index: int) -> str:
    entry = f"Bundle.entry[{index}]"
    return f"{entry}.resource.{expression.partition('.')[2]}".rstrip(".") if expression else entry


def in_turn(steps: list[Step]) -> Iterator[Step]:
    """The steps, each with references by criteria after those that write what they may find.

    Steps that ask for each other's types come in their order, and each sees those before it.
    """
    waiting: list[tuple[Step, set[str]]] = []
    for step in steps:
        asked = _types_asked_for(both(step)[1])
        if asked:
            waiting.append((step, asked))
        else:
            yield step
    while waiting:
        types = Counter(both(step)[1].type for step, _ in waiting)
        free = [step for step, asked in waiting if not _may_change(asked, types, both(step)[1].type)]
        yield from free or [step for step, _ in waiting]
        done = {step.index for step in free}
        waiting = [one for one in waiting if free and one[0].index not in done]


def _types_asked_for(change: PlannedWrite) -> set[str]:
    """The types that a write refers to by criteria that nobody has looked up yet."""
    if change.ready is not None or change.found or change.tried is not None:
        return set()
    if change.patch is not None:
        conditional = (links.by_criteria(text, change.base) for text in patching.texts(change.patch))
        return {found[0] for found in conditional if found}
    return links.criteria_types(change.document, change.base) if change.document else set()


def _may_change(asked: set[str], types: Counter[str], own: str) -> bool:
    """Whether others that wait write what one of type `own` asks for."""
    return any(types[each] > (each == own) for each in asked)


def resolve_all(transaction: Transaction, steps: list[Step]) -> Addresses:
    """Decide every id before the first write, and return what the fullUrls mean; raises BadRequest if two
    entries mean the same resource.

    R4: deletions come first, so that a conditional create no longer finds what they delete.
    """
    resolving = _Resolving(transaction, steps)
    conditional = [step for step in steps if both(step)[1].criteria is not None]
    for step in steps:
        if both(step)[1].criteria is None:
            resolving.decide(step)
    for step in resolving.in_turn(conditional) if conditional else ():
        with _locating(step):
            resolving.find(step)
        resolving.decide(step)
    return resolving.addresses


@contextmanager
def _locating(step: Step) -> Iterator[None]:
    try:
        yield
    except CoprodError as error:
        raise located(error, step.index) from None


class _Resolving:
    """Finds what each conditional entry means; before it, what its own criteria name."""

    def __init__(self, transaction: Transaction, steps: list[Step]) -> None:
        self._transaction = transaction
        self._base = both(steps[0])[1].base if steps else ""
        self._by_url = {
            folded(step.full_url): step for step in steps if step.full_url and both(step)[1].kind != "delete"
        }
        self._here: dict[str, str] = dict.fromkeys(self._by_url, "")
        self._taken: dict[tuple[str, str], Step] = {}
        self._asked: dict[tuple[str, object], Step] = {}

    @property
    def addresses(self) -> Addresses:
        """What the fullUrls mean, as far as that is decided: "" where it is not."""
        return Addresses(self._here, base=self._base)

    def in_turn(self, steps: list[Step]) -> Iterator[Step]:
        """Conditional entries in their order; those whose criteria name others of them come later, each after
        the ones it names."""
        by_index = {step.index: step for step in steps}
        named: dict[int, list[int]] = {}
        for step in steps:
            with _locating(step):
                named[step.index] = [index for index in self._named_by(step) if index in by_index]
        try:
            # By a loop: entries may name each other in a chain that is as long as the Bundle.
            order = list(TopologicalSorter(named).static_order())
        except CycleError as error:
            with _locating(by_index[min(error.args[1])]):
                raise BadRequest(
                    "The criteria of these entries name each other; name one by its id."
                ) from None
        return (by_index[index] for index in order)

    def _named_by(self, step: Step) -> list[int]:
        """The entries that the criteria of one name."""
        change = both(step)[1]
        urls = list(links.entries_in(change.type, change.criteria or (), self.addresses))
        if urls and change.kind == "delete":
            raise BadRequest(
                "Deletions come first, so their criteria cannot name another entry; name its id."
            )
        return [self._by_url[url].index for url in urls]

    def find(self, step: Step) -> None:
        """Find what the criteria of an entry mean; what they name is decided."""
        writing.resolve(self._transaction, both(step)[1], self.addresses)

    def decide(self, step: Step) -> None:
        """Decide the id of an entry, and with it what its fullUrl means."""
        change = both(step)[1]
        if change.kind == "create":
            self._decide_create(step, change)
        else:
            self._decide(step, change)
        if step.full_url and change.kind != "delete":
            self._here[folded(step.full_url)] = f"{change.type}/{change.id}"

    def _decide(self, step: Step, change: PlannedWrite) -> None:
        if change.kind == "update" and not change.id:
            change.id = str(uuid.uuid4())
        earlier = self._taken.setdefault((change.type, change.id), step) if change.id else step
        if change.kind == "update" and change.criteria is not None and earlier is step:
            # If the criteria find nothing, each of two such entries would create a resource.
            earlier = self._asked.setdefault(_question(change), step)
        if earlier is not step:
            first, second = sorted((earlier.index, step.index))
            raise BadRequest(
                f"Entries {first} and {second} are about one resource; keep one.",
                expression=f"Bundle.entry[{second}]",
            )

    def _decide_create(self, step: Step, change: PlannedWrite) -> None:
        if change.found:
            other = self._taken.get((change.type, change.found.id))
            if other is None or both(other)[1].kind != "delete":
                return
            change.found = None
        if change.criteria is not None:
            # The second of two identical conditional creates gets what the first will store.
            first = self._asked.setdefault(_question(change), step)
            step.twin = first if first is not step else None
        if step.twin:
            change.id = both(step.twin)[1].id
        else:
            change.id = change.ready.id if change.ready else change.id or str(uuid.uuid4())


def _question(change: PlannedWrite) -> tuple[str, object]:
    """What the criteria of an entry ask for, in whatever order."""
    return change.type, tuple(sorted(change.criteria or ()))
