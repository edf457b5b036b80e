"""Validates many resources on several cores, in the order of the input and with little memory."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from fhir_coprod import definitions, jsontext, stopping
from fhir_coprod.errors import NotJson
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.validation import validator
from fhir_coprod.validation.inputs import Input

CHUNK = 200
"""Resources sent to a process at once."""
WORTHWHILE = 4_000_000
"""Bytes of input above which it pays to start processes."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome for one resource.

    source: where it came from; its bytes are not kept
    name:   `CarePlan/example`, or as much of that as is known
    size:   its bytes
    """

    source: Input
    name: str
    outcome: Outcome
    size: int


def check(
    sources: Iterable[Input], profile: str | None, packages: Sequence[Path], *, size: int | None
) -> Iterator[Checked]:
    """Validate each of the sources.

    size: bytes of the whole input, None when unknown; a small input is checked in this process.
    """
    workers = os.cpu_count() or 1
    if workers == 1 or (size is not None and size < WORTHWHILE):
        for source in sources:
            yield _check(source, profile)
        return
    yield from _in_parallel(iter(sources), profile, packages, workers)


def _in_parallel(
    sources: Iterator[Input], profile: str | None, packages: Sequence[Path], workers: int
) -> Iterator[Checked]:
    # Not by fork: the caller may have threads.
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    with ProcessPoolExecutor(workers, context, _prepare, (list(packages),)) as pool:
        waiting: deque[Future[list[Checked]]] = deque()
        while chunk := list(islice(sources, CHUNK)):
            waiting.append(pool.submit(_check_all, chunk, profile))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _prepare(packages: Sequence[Path]) -> None:
    stopping.end_with_parent()
    for package in packages:
        definitions.load_package(package)


def _check_all(sources: Sequence[Input], profile: str | None) -> list[Checked]:
    return [_check(source, profile) for source in sources]


def _check(source: Input, profile: str | None) -> Checked:
    size, where = len(source.raw), replace(source, raw=b"")
    try:
        document = jsontext.parse(source.raw)
    except NotJson as error:
        outcome = Outcome((Issue("fatal", error.code, error.message),))
        return Checked(where, "", outcome, size)
    identity = document.data.get("id")
    name = f"{document.type}/{identity}" if isinstance(identity, str) and identity else document.type
    return Checked(where, name, validator.validate_document(document, profile), size)
