"""Remarks are put into words when somebody asks: nobody sees a difference but in the time that it takes."""

from __future__ import annotations

import pickle
from typing import Any

from fhir_coprod import validate
from fhir_coprod.jsontext import encode
from fhir_coprod.outcome import Outcome, Remarks

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "extension": [{"url": "http://a.example/one", "valueString": "x"}],
    "name": [{"family": "A", "extension": [{"url": "http://a.example/two", "valueString": "x"}]}],
}


def test_remarks_of_a_text_are_those_of_its_values_in_their_order() -> None:
    later, at_once = validate(encode(PATIENT)), validate(PATIENT)
    assert isinstance(later, Remarks)
    assert type(at_once) is Outcome
    assert later
    assert [issue.expression for issue in later] == [
        "Patient",
        "Patient.extension[0]",
        "Patient.name[0].extension[0]",
    ]
    assert later == at_once
    assert hash(later) == hash(at_once)
    assert later.to_fhir() == at_once.to_fhir()
    assert (str(later), later.errors) == (str(at_once), ())


def test_remarks_travel_to_another_process() -> None:
    travelled = pickle.loads(pickle.dumps(validate(encode(PATIENT))))
    assert travelled == validate(PATIENT)


def test_what_is_done_to_values_afterwards_changes_no_outcome() -> None:
    held = {**PATIENT, "extension": list(PATIENT["extension"])}
    outcome = validate(held)
    held["extension"].clear()
    assert outcome == validate(PATIENT)


def test_an_outcome_is_not_equal_to_anything_else() -> None:
    assert validate(encode(PATIENT)) != ()
