"""What can be read of a record: all of a good one, and of any other what has the form that R4 gives it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from fhir_coprod import definitions, jsontext, validate
from fhir_coprod.readable import concerns, readable
from tests.wrong_shapes import wrong

TASK = {
    "resourceType": "Task",
    "id": "t",
    "status": "accepted",
    "intent": "order",
    "focus": {"reference": "ServiceRequest/s"},
    "code": {"coding": [{"system": "http://a.example", "code": "fulfill"}], "text": "do"},
    "restriction": {"period": {"end": "2026-03-01"}},
    "output": [{"type": {"text": "r"}, "valueReference": {"reference": "DiagnosticReport/r"}}],
}


def read(**more: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    found = readable({**TASK, **more})
    return found.data, found.unreadable


def test_of_every_example_all_can_be_read() -> None:
    for example in definitions.examples():
        found = readable(example)
        assert found.unreadable == ()
        assert found.data is example


@pytest.mark.parametrize(
    ("more", "gone"),
    [
        ({"focus": "ServiceRequest/s"}, "focus"),
        ({"focus": [{"reference": "ServiceRequest/s"}]}, "focus"),
        ({"focus": {}}, "focus"),
        ({"focus": None}, "focus"),
        ({"focus": {"reference": 5}}, "focus.reference"),
        ({"focus": {"reference": "33333333-3333-4333-8333-333333333333"}}, "focus.reference"),
        ({"basedOn": {"reference": "ServiceRequest/s"}}, "basedOn"),
        ({"basedOn": []}, "basedOn"),
        ({"code": {"coding": [{"code": 5}]}}, "code.coding.code"),
        ({"code": {"coding": {"code": "fulfill"}}}, "code.coding"),
        ({"authoredOn": "yesterday"}, "authoredOn"),
        ({"authoredOn": "2026-03-01T10:00:00"}, "authoredOn"),
        ({"authoredOn": "2026-02-29"}, "authoredOn"),
        ({"authoredOn": "2026-04-31T10:00:00Z"}, "authoredOn"),
        ({"authoredOn": "1900-02-29"}, "authoredOn"),
        ({"authoredOn": 2026}, "authoredOn"),
        ({"authoredOn": "2026-02-30"}, "authoredOn"),
        ({"authoredOn": "2026-02-30T10:00:00Z"}, "authoredOn"),
        ({"authoredOn": "2026-01-45T10:00:00Z"}, "authoredOn"),
        ({"authoredOn": "2026-03-01\n"}, "authoredOn"),
        ({"authoredOn": "２０２６"}, "authoredOn"),
        ({"status": ["accepted"]}, "status"),
        ({"output": [{"valueReference": []}]}, "output.valueReference"),
        ({"output": ["x"]}, "output"),
        ({"restriction": {"period": "2026"}}, "restriction.period"),
        ({"restriction": {"repetitions": True}}, "restriction.repetitions"),
    ],
)
def test_a_wrong_shape_is_named_and_left_out(more: dict[str, Any], gone: str) -> None:
    data, unreadable = read(**more)
    assert unreadable == (gone,)
    assert data["intent"] == "order"
    (element,) = more
    assert element not in data or data[element] != more[element]


@pytest.mark.parametrize(
    "more",
    [
        {"status": "no such status"},
        {"colour": {"red": []}},
        {"authoredOn": "2026-03-01"},
        {"authoredOn": "2024-02-29"},
        {"authoredOn": "2000-02-29T10:00:00Z"},
        {"authoredOn": "2026-03-01T23:59:60.1234567890+14:00"},
        {"focus": {"display": "only"}},
        {"focus": {"reference": "urn:uuid:33333333-3333-4333-8333-333333333333"}},
        {"focus": {"identifier": {"value": "1"}}},
        {"_status": {"extension": [{"url": "http://a.example", "valueCode": "x"}]}},
        {"note": [{"text": "use {} here"}]},
    ],
)
def test_what_has_the_right_form_is_a_value_even_if_it_is_not_valid(more: dict[str, Any]) -> None:
    data, unreadable = read(**more)
    assert unreadable == ()
    assert data == {**TASK, **more}


def test_a_null_that_keeps_the_place_of_an_extension_is_no_fault() -> None:
    person = {
        "resourceType": "Patient",
        "name": [{"given": ["A", None], "_given": [None, {"extension": [{"url": "u", "valueCode": "x"}]}]}],
    }
    assert readable(person).unreadable == ()
    assert readable({"resourceType": "Patient", "name": [{"given": ["A", None]}]}).unreadable == (
        "name.given",
    )


@pytest.mark.parametrize("data", [{}, {"resourceType": 5}, {"resourceType": "Nobody", "a": {}}])
def test_what_is_no_resource_is_left_as_it_is(data: dict[str, Any]) -> None:
    assert readable(data) == (data, ())


def test_what_is_left_can_be_read_whatever_the_shape() -> None:
    """And what the validator calls sound is never called unreadable."""
    for changed, place in wrong(TASK):
        found = readable(changed)
        assert readable(found.data) == (found.data, ()), place
        if validate(changed) and place[-1] != "reference":  # R4 leaves room for what a reference may say
            assert found.unreadable == (), place


def test_the_quick_look_and_the_look_at_each_element_say_the_same() -> None:
    for changed, place in wrong(TASK):
        with_empty = {**changed, "notOfR4": {}}  # of an empty object, the quick look says nothing
        assert readable(with_empty).unreadable == readable(changed).unreadable, place


@pytest.mark.parametrize("empty", [b"{}", b"{ }", b"{\r\n\t}"])
def test_an_empty_object_is_seen_in_the_text_of_a_record_however_it_is_written(empty: bytes) -> None:
    text = b'{"resourceType": "Task", "focus": ' + empty + b"}"
    assert readable(jsontext.decode(text), text).unreadable == ("focus",)


def test_a_part_concerns_the_whole_and_the_whole_its_parts() -> None:
    assert concerns("output", "output.valueReference")
    assert concerns("output.valueReference", "output")
    assert concerns("focus", "focus")
    assert not concerns("focus", "focusing")
    assert not concerns("output.type", "output.valueReference")


AT_ONCE = """
import sys, threading
from fhir_coprod.readable import readable

sys.setswitchinterval(1e-6)
kinds = ("Task", "ServiceRequest", "Encounter", "Patient", "Appointment", "Communication")
together = threading.Barrier(12)

def read():
    for kind in kinds:
        together.wait()
        readable({"resourceType": kind, "identifier": [{"value": "x"}]})

threads = [threading.Thread(target=read) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_the_first_records_of_a_process_may_be_read_in_many_threads_at_once() -> None:
    # In a process of its own: here all types have been read before.
    ran = subprocess.run(
        [sys.executable, "-c", AT_ONCE], check=False, capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stderr) == (0, "")
