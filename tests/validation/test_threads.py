"""One validator serves many threads, also while it compiles what they ask for first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from fhir_coprod import definitions
from fhir_coprod.outcome import Outcome
from fhir_coprod.validation.validator import Validator

THREADS = 8


@pytest.mark.usefixtures("eager_switching")
def test_a_profile_met_first_by_many_threads_at_once_is_judged_alike_by_all() -> None:
    examples = [e for e in definitions.examples() if e["resourceType"] in ("CarePlan", "Goal", "Task")]
    validator, barrier = Validator(), Barrier(THREADS)

    def judge(_: int) -> list[Outcome]:
        found = []
        for example in examples:
            barrier.wait(timeout=60)
            found.append(validator.check(example))
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        judged = list(pool.map(judge, range(THREADS)))
    assert all(outcome for outcomes in judged for outcome in outcomes)
    assert all(outcomes == judged[0] for outcomes in judged)
