"""Validates many resources on several cores, in the order of the input and with little memory."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fhir_coprod import definitions, jsontext, stopping
from fhir_coprod.errors import NotJson, Overloaded
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.validation import validator
from fhir_coprod.validation.inputs import Input
from fhir_coprod.validation.strict import stricter

if TYPE_CHECKING:
    from concurrent.futures import Future

CHUNK = 200
"""Resources sent to a process at once."""
CHUNK_BYTES = 2_000_000
"""Bytes of them; a single one may be longer."""
WAITING_BYTES = 32_000_000
"""Bytes of resources that may wait for their verdicts."""
ALONE = 1.0
"""Seconds of processor time spent in this process before others are started; it takes them a third of that to
begin."""
LOOK = 100_000
"""Bytes of resources between two looks at that clock."""


class Checked(NamedTuple):
    """The outcome for one resource.

    source: where it came from; its bytes are not kept
    name:   `CarePlan/example`, or as much of that as is known
    """

    source: Input
    name: str
    outcome: Outcome


def check(
    sources: Iterable[Input],
    profile: str | None,
    packages: Sequence[Path],
    *,
    strict: bool = False,
    alone: float = ALONE,
) -> Iterator[Checked]:
    """Validate each of the sources: the first ones here, and what is left after a while in several processes.

    strict: see `validate`
    alone:  seconds of processor time after which that is
    """
    sources = iter(sources)
    workers = os.cpu_count() or 1
    until = time.thread_time() + alone
    read = 0
    for source in sources:
        yield _check(source, profile, strict)
        read += len(source.raw)
        if read > LOOK and workers > 1:
            read = 0
            if time.thread_time() > until:
                yield from _in_parallel(sources, profile, packages, strict, workers)


def _in_parallel(
    sources: Iterator[Input], profile: str | None, packages: Sequence[Path], strict: bool, workers: int
) -> Iterator[Checked]:
    # Imported here: few inputs need several processes.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # Not by fork: the caller may have threads.
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    context.set_forkserver_preload(["__main__", __name__])
    with ProcessPoolExecutor(workers, context, _prepare, (list(packages),)) as pool:
        waiting: deque[tuple[Future[list[Checked]], int]] = deque()
        held = 0
        try:
            for chunk, size in _chunks(sources):
                waiting.append((pool.submit(_check_all, chunk, profile, strict), size))
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


def _check_all(sources: Sequence[Input], profile: str | None, strict: bool) -> list[Checked]:
    return [_check(source, profile, strict) for source in sources]


def _check(source: Input, profile: str | None, strict: bool) -> Checked:
    where = Input(source.file, b"", source.line, source.wrong, source.taken)
    if source.wrong is not None:
        return Checked(where, "", Outcome((source.wrong,)))
    try:
        document = jsontext.parse(source.raw)
    except NotJson as error:
        return Checked(where, "", Outcome((Issue("fatal", error.code, error.message),)))
    identity = document.data.get("id")
    name = f"{document.type}/{identity}" if isinstance(identity, str) and identity else document.type
    outcome = validator.default().check(document.data, profile, decoded=True)
    return Checked(where, name, stricter(document.data, outcome) if strict else outcome)
