"""The log: one line an event, as text or as JSON, from the jobs and from the endpoint alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from fhir_coprod import logs


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    ours = logging.getLogger("fhir_coprod")
    before = list(ours.handlers)
    yield
    ours.handlers = before
    logs.logger("text")


def test_an_event_is_one_line_with_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    logs.logger("text").bind(run="20260302-010000-3fa9").info("synced", ehr="care", created=3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("timestamp='20")
    assert "level='info' event='synced' run='20260302-010000-3fa9' ehr='care' created=3" in line


def test_as_json_it_is_one_object_with_the_same_keys(capsys: pytest.CaptureFixture[str]) -> None:
    logs.logger("json").bind(run="20260302-010000-3fa9").warning("synced", faults={"Task": "längst\nweg"})
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "level": "warning",
        "event": "synced",
        "run": "20260302-010000-3fa9",
        "faults": {"Task": "längst\nweg"},
    }


def test_lines_of_the_endpoint_become_objects_too_and_stay_sentences_as_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("fhir_coprod.api")
    logs.adopt("text")
    log.warning("%d connections are open", 7)
    logs.adopt("json")
    log.warning("%d connections are open", 8)
    *_, line = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["event"]) == ("warning", "8 connections are open")
