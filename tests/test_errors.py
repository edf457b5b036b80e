"""Errors and outcomes: the drawn tree is the real one, and each error knows its OperationOutcome."""

from __future__ import annotations

import inspect
import re

import pytest

from fhir_coprod import errors
from fhir_coprod.errors import CoprodError, Overloaded, said
from fhir_coprod.outcome import OK, Issue, Outcome

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, CoprodError)]
DRAWN = {
    name: (int(status), code, int(exit_code))
    for name, status, code, exit_code in re.findall(
        r"([A-Z]\w+) +(\d{3}) +([a-z-]+|\(its own\)) +(\d) ", errors.__doc__ or ""
    )
}


@pytest.mark.parametrize("error", CLASSES, ids=lambda c: c.__name__)
def test_drawn_tree_tells_the_truth(error: type[CoprodError]) -> None:
    if error is CoprodError:
        return
    status, code, exit_code = DRAWN[error.__name__]
    assert (error.status, error.exit_code) == (status, exit_code)
    assert code in (error.code, "(its own)")


def test_nothing_is_drawn_that_does_not_exist() -> None:
    assert set(DRAWN) == {c.__name__ for c in CLASSES} - {"CoprodError"}


def test_error_carries_an_operation_outcome() -> None:
    fhir = errors.NotFound("Patient/1 is not here.").outcome.to_fhir()
    assert fhir["issue"] == [
        {"severity": "error", "code": "not-found", "diagnostics": "Patient/1 is not here."}
    ]


def test_outcome_is_true_without_errors_and_false_with_one() -> None:
    assert OK
    assert Outcome((Issue("warning", "informational", "fine"),))
    assert not Outcome(
        (Issue("warning", "informational", "fine"), Issue("error", "value", "bad", "Patient.x"))
    )


def test_clean_outcome_is_still_a_valid_operation_outcome() -> None:
    assert OK.to_fhir()["issue"][0]["severity"] == "information"


def test_our_own_errors_are_said_in_their_words_and_faults_without_theirs() -> None:
    assert said(Overloaded("The store is busy; try again.")) == "The store is busy; try again."
    assert said(ValueError("Eva Öst")) == "a fault in the program itself (ValueError); please report it."
