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


@pytest.mark.parametrize(
    "div",
    [
        '<div xmlns="http://www.w3.org/1999/xhtml"><pre xml:space="preserve">a</pre></div>',
        '<div xmlns="http://www.w3.org/1999/xhtml"><p xml:lang="sv">a</p></div>',
        '<div xmlns="http://www.w3.org/1999/xhtml"><p xmlns:x="urn:y">a</p></div>',
        '<div xmlns:x="urn:y" xmlns="http://www.w3.org/1999/xhtml">a</div>',
        '<h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:p>a</h:p></h:div>',
        '<h:div xmlns:h="http://www.w3.org/1999/xhtml"><p xmlns="http://www.w3.org/1999/xhtml">a</p></h:div>',
        '<div xmlns="http://www.w3.org/1999/xhtml">&#160;</div>',
        '<div xmlns="http://www.w3.org/1999/xhtml">\u00a0</div>',
    ],
)
def test_a_narrative_goes_by_names_and_not_by_prefixes(div: str) -> None:
    assert narrative.fault(div) == ""


@pytest.mark.parametrize(
    ("div", "why"),
    [
        ('<div xmlns="http://www.w3.org/1999/xhtml"><p xmlns="urn:other">x</p></div>', "<p> is not allowed"),
        (
            '<div xmlns="http://www.w3.org/1999/xhtml"><x:p xmlns:x="urn:y">a</x:p></div>',
            "<p> is not allowed",
        ),
        ('<div xmlns="http://www.w3.org/1999/xhtml"><p x:id="a" xmlns:x="urn:y">a</p></div>', "attribute id"),
        ('<div xmlns="http://www.w3.org/1999/xhtml"><p xml:id="a">a</p></div>', "attribute id"),
        ('<h:div xmlns:h="urn:y">a</h:div>', "lacks xmlns"),
        ("<div>a</div>", "lacks xmlns"),
        ('<p xmlns="http://www.w3.org/1999/xhtml">a</p>', "instead of <div>"),
        ('<h:div xmlns="http://www.w3.org/1999/xhtml">a</h:div>', "not well-formed"),
        ('<div xmlns="http://www.w3.org/1999/xhtml"> \t\r\n</div>', "no text"),
        ('<div xmlns="http://www.w3.org/1999/xhtml"><br/>&#32;</div>', "no text"),
    ],
)
def test_a_narrative_of_other_names_is_refused(div: str, why: str) -> None:
    assert why in narrative.fault(div)


def test_a_narrative_points_to_what_is_contained() -> None:
    inside = '<a href="#a">x</a><img src="#b" alt="y"/><a href="http://x.org/#c">z</a>'
    whole = f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>'
    assert narrative.local_links(whole) == {"#a", "#b"}
    assert narrative.local_links(whole.replace("</div>", "")) == frozenset()
    assert narrative.local_links(None) == frozenset()


def test_a_narrative_cannot_declare_entities() -> None:
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    assert not narrative.is_allowed(f'{bomb}<div xmlns="http://www.w3.org/1999/xhtml">&b;</div>')


def test_an_image_is_content() -> None:
    assert narrative.is_allowed('<div xmlns="http://www.w3.org/1999/xhtml"><img src="#a" alt="x"/></div>')
