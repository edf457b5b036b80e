"""An error that nobody foresaw is told by class and place, and nothing of its text gets out."""

from __future__ import annotations

import json

import pytest

from fhir_coprod import faults, jsontext


def _fails_in_our_code() -> Exception:
    with pytest.raises(TypeError) as caught:
        jsontext.encode(object())
    return caught.value


def test_the_sentence_has_the_class_and_the_line_of_ours() -> None:
    said = faults.said(_fails_in_our_code())
    assert said.startswith("a fault in the program itself (TypeError at fhir_coprod/jsontext")


def test_a_place_outside_the_package_is_left_out_of_the_sentence() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("Anna Berg")
    assert faults.said(caught.value) == "a fault in the program itself (JSONDecodeError); please report it."


def test_no_word_of_the_text_gets_out() -> None:
    error = KeyError("Anna Berg")
    assert "Anna" not in faults.said(error) + faults.traced(error)


def test_the_trace_begins_where_it_happened_and_ends_where_it_was_called() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("Anna Berg")
    first, *_, last = faults.traced(caught.value).split(" < ")
    assert first.startswith("JSONDecodeError at ")
    assert "json/decoder.py:" in first
    assert "test_faults.py:" in last
