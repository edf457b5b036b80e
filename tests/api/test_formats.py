"""Header values, by themselves."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.api.formats import (
    Preferences,
    body_type,
    entity_tags,
    negotiated,
    preferences,
    takes_gzip,
    time_parameter,
    without_async,
)
from fhir_coprod.errors import BadRequest, MissingVersion, NotAcceptable, UnsupportedMediaType


@pytest.mark.parametrize(
    ("accept", "format", "answer"),
    [
        ("", "", "application/fhir+json"),
        ("*/*", "", "application/fhir+json"),
        ("application/fhir+json", "", "application/fhir+json"),
        ("application/fhir+json; fhirVersion=4.0", "", "application/fhir+json"),
        ("application/fhir+json;q=0.5, application/json", "", "application/json"),
        ("application/fhir+xml;q=1.0, application/fhir+json;q=0.9", "", "application/fhir+json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "", "application/fhir+json"),
        ("text/json", "", "text/json"),
        ("application/fhir+xml", "json", "application/fhir+json"),
        ("", "application/fhir json", "application/fhir+json"),
        ("", "application/json", "application/json"),
    ],
)
def test_json_is_found_where_it_is_accepted(accept: str, format: str, answer: str) -> None:
    assert negotiated(accept, format) == answer


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("application/fhir+xml", ""),
        ("application/json;q=0", ""),
        ("application/json;q=x", ""),
        ("application/fhir+json; fhirVersion=3.0", ""),
        ("*/*", "xml"),
        ("*/*", "text/turtle"),
    ],
)
def test_anything_else_is_not_acceptable(accept: str, format: str) -> None:
    with pytest.raises(NotAcceptable):
        negotiated(accept, format)


def test_body_types() -> None:
    assert body_type("application/json; charset=UTF-8") == "application/fhir+json"
    assert body_type("Application/FHIR+JSON") == "application/fhir+json"
    assert body_type("application/json-patch+json") == "application/json-patch+json"
    with pytest.raises(UnsupportedMediaType):
        body_type("application/json; charset=utf-16")


def test_preferences_are_read_and_unknown_ones_ignored() -> None:
    assert preferences("return=minimal; handling=strict").returning == "minimal"
    assert preferences("respond-async, handling=strict") == Preferences(strict=True, is_async=True)
    assert without_async("Respond-Async, handling=strict") == "handling=strict"
    assert preferences("return=everything").returning == ""
    assert preferences("return=minimal, return=representation").returning == "minimal"
    assert not preferences("handling=lenient, handling=strict").strict


def test_gzip_is_sent_only_to_who_takes_it() -> None:
    assert all(takes_gzip(header) for header in ("gzip", "deflate, gzip;q=0.5", "br, GZIP"))
    assert not any(takes_gzip(header) for header in ("", "identity", "gzip;q=0", "deflate, gzip;q=0.0", "br"))


@given(st.text(max_size=40))
def test_headers_are_read_or_refused_but_never_fail(text: str) -> None:
    for read in (
        lambda: negotiated(text, ""),
        lambda: negotiated("", text),
        lambda: body_type(text),
        lambda: preferences(text),
        lambda: entity_tags(text, "If-Match"),
        lambda: time_parameter(text, "_since"),
    ):
        with suppress(BadRequest, NotAcceptable, UnsupportedMediaType):
            read()


def test_entity_tags() -> None:
    assert entity_tags('W/"1", "2"', "If-Match") == {"1", "2"}
    assert entity_tags("*", "If-Match") is None
    with pytest.raises(MissingVersion):
        entity_tags("1", "If-Match")


def test_moments() -> None:
    assert time_parameter("2026-03-02", "_since").isoformat() == "2026-03-02T00:00:00+00:00"
    assert time_parameter("2026-03-02T10:00:00 01:00", "_since").isoformat() == "2026-03-02T09:00:00+00:00"
    with pytest.raises(BadRequest):
        time_parameter("soon", "_since")
