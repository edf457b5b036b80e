"""Regular expressions mean what they mean elsewhere, and take no more time on a text made to be slow."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_coprod.validation.fhirpath import (
    Env,
    FhirPathError,
    Undecided,
    UnsupportedFhirPath,
    compile_invariant,
)
from fhir_coprod.validation.fhirpath.patterns import found, matcher, replaced

_PIECES = [
    "a",
    "b",
    "\\n",
    ".",
    "[ab]",
    "[^a]",
    "[$^]",
    "\\$",
    "$",
    "^",
    "(a|b)",
    "(?:ab)",
    "a?",
    "b*",
    "[a]+",
    "a{1,2}",
    "\\d",
    "\\w",
]
_PATTERNS = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=4).map("".join)
_TEXTS = st.text(alphabet="ab\n$^1é", max_size=6)
_NESTED = (
    "(a+)+$",
    "(a|a)+$",
    "(a|aa)+$",
    "(.*a){20}$",
    "([a-z]+)*!",
    "(x+x+)+y",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
)
"""Patterns on which engines that go back take exponential time."""


@settings(max_examples=100, deadline=None)
@given(_PATTERNS, _TEXTS)
def test_a_pattern_finds_what_it_finds_elsewhere(source: str, text: str) -> None:
    # After a `$` that stands inside of a pattern only the newline itself could follow.
    if "$" in source.replace("\\$", "").replace("[$^]", "")[:-1]:
        return
    assert found(source, text) is (re.search(source, text, re.DOTALL | re.ASCII) is not None)


@settings(max_examples=100, deadline=None)
@given(_PATTERNS.filter(lambda source: "$" not in source), st.text(alphabet="ab1é", max_size=6))
def test_a_pattern_matches_the_whole_and_replaces_as_elsewhere(source: str, text: str) -> None:
    meant = re.compile(source, re.DOTALL | re.ASCII)
    assert found(source, text, whole=True) is (meant.fullmatch(text) is not None)
    if all(match.group() for match in meant.finditer(text)):
        assert replaced(source, text, "<$0>") == meant.sub(r"<\g<0>>", text)


@pytest.mark.parametrize(
    ("source", "text", "holds", "is_whole"),
    [
        ("a$", "a\n", True, False),
        ("a\\Z", "a\n", True, False),
        ("(?m)^a$", "b\na\nb", True, False),
        ("a$", "a", True, True),
        ("[$]$", "$", True, True),
    ],
)
def test_an_end_is_what_it_is_in_java(source: str, text: str, holds: bool, is_whole: bool) -> None:
    assert (found(source, text), found(source, text, whole=True)) == (holds, is_whole)


@pytest.mark.parametrize("source", _NESTED)
def test_no_pattern_goes_back(source: str) -> None:
    matches = matcher(source)
    begin = time.process_time()
    for size in (30, 3_000, 100_000):
        matches("a" * size + "\x00")
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("source", _NESTED)
def test_a_verdict_is_the_same_for_a_short_text_and_a_long_one(source: str) -> None:
    rule = compile_invariant(f"family.matches('{source}')", "HumanName")
    answers = {rule({"family": "a" * size + "\x00"}, Env({})) for size in (30, 100_001, 200_000)}
    assert answers == {False}
    assert compile_invariant("family.matches('^[^x]*$')", "HumanName")({"family": "a" * 200_000}, Env({}))


_CPR = (
    "^(?:(?:31(?:0[13578]|1[02])|(?:30|29)(?:0[13-9]|1[0-2])|(?:0[1-9]|1[0-9]|2[0-8])(?:0[1-9]|1[0-2]))"
    "[0-9]{2}[0-9]|290200[4-9]|2902(?:(?!00)[02468][048]|[13579][26])[0-3])[0-9]{3}$"
)
"""Danish person numbers: the 29th of February in leap years only."""


@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [
        (_CPR, "2902040123", "2902030123"),
        (r"^(?!(\d)\1{10})\d{11}$", "12345678909", "11111111111"),
        ("^(?=.*[A-Z])(?=.*[0-9]).{8,}$", "abcdeF12", "abcdef12"),
        ("(?<!a)b", "cb", "ab"),
        ("^a{0,5000}$", "a" * 5000, "a" * 5001),
        ("a++b|(?>c)", "aab", "aa"),
    ],
)
def test_look_ahead_and_the_like_are_for_short_texts(source: str, right: str, wrong: str) -> None:
    rule = compile_invariant("family.matches('{}')".format(source.replace("\\", "\\\\")), "HumanName")
    assert rule({"family": right}, Env({}))
    assert not rule({"family": wrong}, Env({}))
    with pytest.raises(Undecided):
        rule({"family": "a" * 200_000}, Env({}))


@pytest.mark.parametrize("source", [*_NESTED, "(a|ab|b)*c", "a*a*a*c", "(?:a?){50}b", "(ab|(?:a|b)b)+c"])
def test_no_text_takes_longer_than_was_counted(source: str) -> None:
    matches = matcher(f"(?!z){source}")
    for size in (10, 12, 14, 16, 18, 20, 25, 40, 100, 1_000, 10_000):
        begin = time.process_time()
        try:
            matches("a" * size)
        except Undecided:
            break
        assert time.process_time() - begin < 1
    else:
        pytest.fail("not even 10,000 characters are too many for a pattern that goes back")


@pytest.mark.parametrize("source", ["(", "(?=a)[[a]]", r"(?=a)\p{L}", "(?=a"])
def test_a_malformed_pattern_leaves_its_rule_unchecked(source: str) -> None:
    with pytest.raises(UnsupportedFhirPath):
        compile_invariant("family.matches('{}')".format(source.replace("\\", "\\\\")), "HumanName")


def test_a_text_too_long_for_its_pattern_is_undecided_and_breaks_no_rule() -> None:
    with pytest.raises(Undecided):
        found("([a-z]{1,500}[0-9]){2}", "a" * 10_000_000)
    with pytest.raises(Undecided):
        replaced("a(.*b)?", "a" * 100_000, "")


def test_groups_are_put_into_what_replaces() -> None:
    assert replaced(r"(\w+) (?P<last>\w+)", "Ada Lovelace", "${last}, $1") == "Lovelace, Ada"
    assert replaced("é|(x)", "café", r"\n$1") == r"caf\n"
    assert replaced("x*", "aéb", "-") == "-a-é-b-"
    with pytest.raises(FhirPathError):
        replaced("a", "a", "$1")
