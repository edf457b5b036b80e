"""How safe and how complete the rules are, on people drawn as registers have them (see population.py)."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from fhir_coprod.sync.staging.names import PersonName
from tests.sync.merging.outcomes import NOTHING, outcome
from tests.sync.population import ERRORS, UNNAMED, population

PROOFS = {"ci": 1_000}.get(os.environ.get("PROOF_SIZE", ""), 10_000)


def test_nobody_is_joined_wrongly_and_almost_all_that_belongs_together_is_joined() -> None:
    found = outcome(range(60))
    assert found.share("joined") >= 0.94, "of so few; the proof asks for 95 %"
    assert found.share("missed") <= 0.015
    assert found.share("joined", NOTHING) >= 0.998


def test_nobody_is_joined_wrongly_where_ten_times_as_much_is_wrong() -> None:
    found = outcome(range(20), errors=10)
    assert found.share("joined") >= 0.6
    assert {kind for kind, *_ in found.pairs} >= {*ERRORS, UNNAMED}


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_ten_thousand_populations() -> None:
    found = outcome(range(PROOFS))
    print(found)
    assert found.share("joined") >= 0.95
    assert 1000 * found.questions <= 5 * found.people


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_ten_thousand_populations_in_which_ten_times_as_much_is_wrong() -> None:
    print(outcome(range(PROOFS), errors=10))


def test_the_generator_draws_what_it_says() -> None:
    people = [person for seed in range(40) for person in population(seed).people]
    share = sum(person.born.endswith("-01-01") for person in people) / len(people)
    assert 0.2 < share < 0.4
    assert any(person.is_baby for person in people)
    assert any(person.is_multiple for person in people)
    assert any(person.is_twin and not person.is_multiple for person in people), "nothing says that they are"
    names_of = Counter((person.given, person.family) for person in people)
    assert names_of.most_common(1)[0][1] > 1, "a father and his son"
    assert any(person.is_namesake for person in people)
    assert PersonName.of_key("a b|c d") == PersonName("a b", ("c", "d"))
