"""Validates many resources on several cores, in the order of the input and with little memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from fhir_coprod import definitions, jsontext, stopping
from fhir_coprod.errors import NotJson, Overloaded
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.validation import validator
from fhir_coprod.validation.inputs import Input

CHUNK = 200
"""Resources sent to a process at once."""
CHUNK_BYTES = 2_000_000
"""Bytes of them; a single one may be longer."""
WAITING_BYTES = 32_000_000
"""Bytes of resources that may wait for their verdicts."""
WORTHWHILE = 4_000_000
"""Bytes of input above which it pays to start processes."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome for one resource.

    source: where it came from; its bytes are not kept
    name:   `CarePlan/example`, or as much of that as is known
    """

    source: Input
    name: str
    outcome: Outcome


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
        waiting: deque[tuple[Future[list[Checked]], int]] = deque()
        held = 0
        try:
            for chunk, size in _chunks(sources):
                waiting.append((pool.submit(_check_all, chunk, profile), size))
                held += size
                while len(waiting) > 2 * workers or (held > WAITING_BYTES and len(waiting) > 1):
                    done, size = waiting.popleft()
                    held -= size
                    yield from done.result()
            while waiting:
                yield from waiting.popleft()[0].result()
        except BrokenProcessPool:
            raise Overloaded(
                "A process that checked resources was killed, perhaps because memory ran out; what is "
                "printed so far is right, but not all. Try again with more memory, or with smaller files."
            ) from None
        except BaseException:
            # Somebody wants to stop: nobody waits for what is under work.
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _chunks(sources: Iterator[Input]) -> Iterator[tuple[list[Input], int]]:
    """The sources in portions, and the bytes of each."""
    chunk: list[Input] = []
    size = 0
    for source in sources:
        chunk.append(source)
        size += len(source.raw)
        if len(chunk) == CHUNK or size >= CHUNK_BYTES:
            yield chunk, size
            chunk, size = [], 0
    if chunk:
        yield chunk, size


def _prepare(packages: Sequence[Path]) -> None:
    # Ctrl-C reaches every process of a terminal, and the one in front ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopping.end_with_parent()
    for package in packages:
        definitions.load_package(package)


def _check_all(sources: Sequence[Input], profile: str | None) -> list[Checked]:
    return [_check(source, profile) for source in sources]


def _check(source: Input, profile: str | None) -> Checked:
    where = replace(source, raw=b"")
    if source.wrong is not None:
        return Checked(where, "", Outcome((source.wrong,)))
    try:
        document = jsontext.parse(source.raw)
    except NotJson as error:
        return Checked(where, "", Outcome((Issue("fatal", error.code, error.message),)))
    identity = document.data.get("id")
    name = f"{document.type}/{identity}" if isinstance(identity, str) and identity else document.type
    return Checked(where, name, validator.validate_document(document, profile))
