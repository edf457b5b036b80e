"""Drafts to patients: complete in every language, plain, valid, and never proof of having told."""

from __future__ import annotations

import re
from datetime import date

import pytest

from fhir_coprod import validate
from fhir_coprod.errors import NotFound
from fhir_coprod.watch import assess
from fhir_coprod.watch.letters import drafts
from fhir_coprod.watch.rules.codes import STAFF_ONLY, Rule
from fhir_coprod.watch.rules.standing import Standing
from tests.watch.stored import all_stories

EVENTS = ("accepted", "booked", "changed", "cancelled", "rejected", "advice", "result")
FRAME = (
    "greeting",
    "since",
    "visit",
    "appointment",
    "place",
    "guarantee",
    "question",
    "worse",
    "time-follows",
    "heading",
    "reference",
    "regards",
    "sender",
    "telephone",
)
TOLD = {*EVENTS, *FRAME, *(set(Rule) - STAFF_ONLY - {Rule.PATIENT_NOT_INFORMED})}
LIX_LIMIT = 35
"""LIX below 35 reads as easily as fiction; official Swedish is about 55."""
GRADE_LIMIT = 7
"""Flesch–Kincaid grade; health leaflets should stay below 8."""


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"[.!?]+", text) if part.strip()]


def words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text)


def text(standing: Standing, language: str, about: str = "") -> str:
    """The words of a letter alone."""
    return "\n\n".join(drafts.draft(standing, language, date.min, about).paragraphs)


def lix(text: str) -> float:
    found = words(text)
    long = sum(len(word) > 6 for word in found)
    return len(found) / len(sentences(text)) + 100 * long / len(found)


def syllables(word: str) -> int:
    groups = len(re.findall(r"[aeiouy]+", word.lower()))
    return max(1, groups - (word.lower().endswith("e") and not word.lower().endswith("le")))


def grade(text: str) -> float:
    found = words(text)
    return 0.39 * len(found) / len(sentences(text)) + 11.8 * sum(map(syllables, found)) / len(found) - 15.59


@pytest.mark.parametrize("language", drafts.languages())
def test_every_language_has_words_for_everything(language: str) -> None:
    assert set(drafts._catalogue(language)) == {str(key) for key in TOLD}
    assert all(drafts._catalogue(language).values())


def test_swedish_and_english_are_there() -> None:
    assert {"en", "sv"} <= set(drafts.languages())


@pytest.mark.parametrize("about", sorted(str(key) for key in TOLD if key not in FRAME))
def test_the_words_are_plain(about: str) -> None:
    assert lix(drafts._catalogue("sv")[about]) < LIX_LIMIT
    assert grade(drafts._catalogue("en")[about]) < GRADE_LIMIT


def test_whole_letters_are_plain() -> None:
    """As the patient reads them: greeting, dates and all."""
    measured = 0
    for story in [*all_stories()][::2]:
        assert story.now is not None
        standing = assess(story.facts(), story.policy(), story.now)
        for about in drafts.subjects(standing):
            assert lix(text(standing, "sv", about)) < LIX_LIMIT, about
            assert grade(text(standing, "en", about)) < GRADE_LIMIT, about
            measured += 1
    assert measured > 75


@pytest.mark.parametrize("language", drafts.languages())
def test_no_letter_blames_or_names_a_specialty(language: str) -> None:
    """A missed visit is a question. And whoever opens the envelope learns nothing of the illness."""
    told = " ".join(drafts._catalogue(language).values()).lower()
    for word in ("uteblev", "missade", "orsak", "failed", "missed", "did not come", "röntgen", "kirurg"):
        assert word not in told
    for word in ("orthopaed", "surg", "psych", "cancer", "onkolog", "clinic of"):
        assert word not in told


def test_one_letter_for_each_thing_there_is_to_tell() -> None:
    story = next(
        story
        for story in all_stories()
        if len({rule for rule, _ in story.expected.stalls} - STAFF_ONLY - {"patient-not-informed"}) > 1
    )
    assert story.now is not None
    standing = assess(story.facts(), story.policy(), story.now)
    abouts = drafts.subjects(standing)
    assert len(abouts) > 1
    assert len({text(standing, "en", about) for about in abouts}) == len(abouts)
    with pytest.raises(NotFound, match="nothing to tell"):
        text(standing, "en", "duplicate")


@pytest.mark.parametrize(
    ("communication", "language"),
    [
        ([], ""),
        ([{"language": {"coding": [{"code": "sv"}]}}], "sv"),
        (
            [
                {"language": {"coding": [{"code": "en"}]}},
                {"language": {"coding": [{"code": "ar"}]}, "preferred": True},
            ],
            "ar",
        ),
        ([{"language": {"text": "Finnish"}}], ""),
    ],
)
def test_the_patients_language_is_the_preferred_one(communication: list[object], language: str) -> None:
    assert drafts.preferred({"communication": communication}) == language


def test_a_region_does_not_matter() -> None:
    assert drafts.known("sv-FI") == "sv"


def test_every_stalled_story_has_a_valid_draft_in_each_language() -> None:
    drafted = 0
    for story in all_stories():
        assert story.now is not None
        standing = assess(story.facts(), story.policy(), story.now)
        if not drafts.subjects(standing):
            continue
        drafted += 1
        for language in drafts.languages():
            draft = drafts.communication(standing, language)
            assert draft["status"] == "preparation"
            assert "sent" not in draft
            if drafted % 10 == 1:
                outcome = validate(draft)
                assert outcome, [str(issue) for issue in outcome.issues]
    assert drafted > 100


def test_a_missing_language_says_so() -> None:
    story = next(story for story in all_stories() if story.expected.stalls)
    assert story.now is not None
    standing = assess(story.facts(), story.policy(), story.now)
    with pytest.raises(NotFound, match=r"there are en, sv"):
        text(standing, "fi")
