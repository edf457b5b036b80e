"""Codes that have a grammar instead of a list."""

from __future__ import annotations

import pytest

from fhir_coprod.validation import narrative
from fhir_coprod.validation.model.codes import is_defined, is_language
from fhir_coprod.validation.model.ucum import is_unit


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "mg",
        "mg/dL",
        "10*3/uL",
        "{score}",
        "kg/m2",
        "m/s2",
        "/min",
        "mm[Hg]",
        "(8.h)",
        "g/(8.h)",
        "%",
        "cm[H2O]",
        "umol{x}/L",
        "a",
        "mo",
        "[iU]/mL",
        "{beats}/min",
        "10*-6.m",
        "Cel",
        "m-1",
    ],
)
def test_units_of_ucum_are_known(unit: str) -> None:
    assert is_unit(unit)


@pytest.mark.parametrize(
    "unit", ["", "metres", "mg/", "µg", "mg dL", "(mg", "mg)", "kmg", "{a", "2mg", "*", "." * 200]
)
def test_what_is_no_unit_of_ucum_is_told(unit: str) -> None:
    assert not is_unit(unit)


@pytest.mark.parametrize("tag", ["sv", "sv-SE", "ckb", "zh-Hans-CN", "es-419", "en-US-x-twain", "x-private"])
def test_languages_are_known(tag: str) -> None:
    assert is_language(tag)


@pytest.mark.parametrize("tag", ["", "xx", "Swedish", "sv-XX", "sv_SE", "s", "sv-"])
def test_what_is_no_language_is_told(tag: str) -> None:
    assert not is_language(tag)


def test_a_system_that_nobody_holds_is_undecided() -> None:
    assert is_defined("http://snomed.info/sct", "1") is None
    assert is_defined("http://hl7.org/fhir/administrative-gender", "male") is True
    assert is_defined("http://hl7.org/fhir/administrative-gender", "m") is False


@pytest.mark.parametrize(
    "inside",
    [
        '<a onclick="x">x</a>',
        '<a href=" JavaScript:x">x</a>',
        "<iframe>x</iframe>",
        "<x:y>x</x:y>",
        "&nbsp;x",
        "<p>x",
        "",
    ],
)
def test_a_narrative_that_is_not_allowed_is_told(inside: str) -> None:
    assert not narrative.is_allowed(f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>')


def test_a_narrative_cannot_declare_entities() -> None:
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    assert not narrative.is_allowed(f'{bomb}<div xmlns="http://www.w3.org/1999/xhtml">&b;</div>')


def test_an_image_is_content() -> None:
    assert narrative.is_allowed('<div xmlns="http://www.w3.org/1999/xhtml"><img src="#a" alt="x"/></div>')
