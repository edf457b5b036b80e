"""QuestionnaireResponses beside their Questionnaire, contained, in the same Bundle, or not known."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from fhir_coprod.jsontext import Json
from fhir_coprod.validation.model import answers
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.validator import default
from tests.validation.fast.test_tiers import agree
from tests.validation.small import NARRATIVE

URL = "https://a.example/Questionnaire/q"
CORE = "http://hl7.org/fhir/"
TEXT = {"status": "generated", "div": NARRATIVE}
ASKED: list[Json] = [
    {"linkId": "smokes", "type": "boolean", "required": True},
    {
        "linkId": "daily",
        "type": "integer",
        "required": True,
        "enableWhen": [{"question": "smokes", "operator": "=", "answerBoolean": True}],
    },
    {"linkId": "name", "type": "string", "maxLength": 4},
    {
        "linkId": "kind",
        "type": "choice",
        "repeats": True,
        "answerOption": [{"valueCoding": {"code": "a"}}, {"valueCoding": {"code": "b"}}],
    },
    {"linkId": "free", "type": "open-choice", "answerOption": [{"valueCoding": {"code": "a"}}]},
    {"linkId": "words", "type": "choice", "answerOption": [{"valueCoding": {"display": "Often"}}]},
    {"linkId": "sex", "type": "choice", "answerValueSet": f"{CORE}ValueSet/administrative-gender"},
    {"linkId": "other", "type": "choice", "answerValueSet": "https://a.example/ValueSet/none"},
    {"linkId": "more", "type": "group", "item": [{"linkId": "deep", "type": "date", "required": True}]},
]


def answered(*items: Json, status: str = "completed", **members: Any) -> Json:
    questionnaire = {"resourceType": "Questionnaire", "id": "q", "url": URL, "status": "draft", "item": ASKED}
    return {
        "resourceType": "QuestionnaireResponse",
        "text": TEXT,
        "contained": [questionnaire],
        "questionnaire": "#q",
        "status": status,
        **({"item": list(items)} if items else {}),
        **members,
    }


def answer(link: str, *answers: Json, **members: Any) -> Json:
    return {"linkId": link, **({"answer": list(answers)} if answers else {}), **members}


GENDER = {"system": f"{CORE}administrative-gender", "code": "female"}
NO = answer("smokes", {"valueBoolean": False})
YES = answer("smokes", {"valueBoolean": True})
FIVE = answer("daily", {"valueInteger": 5})

VALID = {
    "everything that is required": answered(NO),
    "what was to be asked": answered(YES, FIVE),
    "not finished": answered(status="in-progress"),
    "two answers where they repeat": answered(
        NO, answer("kind", {"valueCoding": {"code": "a"}}, {"valueCoding": {"code": "b", "display": "B"}})
    ),
    "text to an open choice": answered(NO, answer("free", {"valueString": "other"})),
    "an option of an open choice": answered(NO, answer("free", {"valueCoding": {"code": "a"}})),
    "an option that has only words": answered(NO, answer("words", {"valueCoding": {"display": "Often"}})),
    "a code of the value set": answered(NO, answer("sex", {"valueCoding": GENDER})),
    "a group": answered(NO, answer("more", item=[answer("deep", {"valueDate": "2026"})])),
}
WRONG = {
    "a required answer": (answered(), "QuestionnaireResponse"),
    "a required answer once it is to be asked": (answered(YES), "QuestionnaireResponse"),
    "an answer that was not to be asked": (answered(NO, FIVE), "QuestionnaireResponse.item[1]"),
    "an unknown linkId": (answered(NO, answer("nowhere")), "QuestionnaireResponse.item[1]"),
    "a linkId in another place": (
        answered(NO, answer("deep", {"valueDate": "2026"})),
        "QuestionnaireResponse.item[1]",
    ),
    "an answer of another type": (
        answered(answer("smokes", {"valueString": "no"})),
        "QuestionnaireResponse.item[0].answer[0]",
    ),
    "a longer answer": (
        answered(NO, answer("name", {"valueString": "Georg"})),
        "QuestionnaireResponse.item[1].answer[0]",
    ),
    "none of the options": (
        answered(NO, answer("kind", {"valueCoding": {"code": "c"}})),
        "QuestionnaireResponse.item[1].answer[0]",
    ),
    "another code to an open choice": (
        answered(NO, answer("free", {"valueCoding": {"code": "c"}})),
        "QuestionnaireResponse.item[1].answer[0]",
    ),
    "other words than those of the options": (
        answered(NO, answer("words", {"valueCoding": {"display": "Never"}})),
        "QuestionnaireResponse.item[1].answer[0]",
    ),
    "a code that the value set lacks": (
        answered(NO, answer("sex", {"valueCoding": {**GENDER, "code": "x"}})),
        "QuestionnaireResponse.item[1].answer[0]",
    ),
    "text where options are codes": (
        answered(NO, answer("kind", {"valueString": "a"})),
        "QuestionnaireResponse.item[1].answer[0]",
    ),
    "two answers": (
        answered(NO, answer("name", {"valueString": "a"}, {"valueString": "b"})),
        "QuestionnaireResponse",
    ),
    "a required answer in a group": (
        answered(NO, answer("more")),
        "QuestionnaireResponse.item[1]",
    ),
    "an answer to a group": (
        answered(NO, answer("more", {"valueDate": "2026"}, item=[answer("deep", {"valueDate": "2026"})])),
        "QuestionnaireResponse.item[1]",
    ),
}


@pytest.mark.parametrize("response", VALID.values(), ids=VALID.keys())
def test_answers_that_fit_pass(response: Json) -> None:
    outcome = default().explain(response)
    assert not outcome.errors, str(outcome)
    agree(default(), response)


@pytest.mark.parametrize(("response", "at"), WRONG.values(), ids=WRONG.keys())
def test_answers_that_do_not_fit_are_told_at_their_place(response: Json, at: str) -> None:
    outcome = default().explain(response)
    assert at in {issue.expression for issue in outcome.errors}, str(outcome)
    assert agree(default(), response) == "no"


def beside_its_questionnaire(canonical: str) -> Json:
    response = answered(NO, FIVE, questionnaire=canonical)
    questionnaire = {**response.pop("contained")[0], "text": TEXT, "version": "2"}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": "https://a.example/QuestionnaireResponse/r", "resource": response},
            {"fullUrl": URL, "resource": questionnaire},
        ],
    }


@pytest.mark.parametrize("canonical", [URL, f"{URL}|2"])
def test_the_questionnaire_may_be_in_the_same_bundle(canonical: str) -> None:
    both = beside_its_questionnaire(canonical)
    assert [i.expression for i in default().explain(both).errors] == ["Bundle.entry[0].resource.item[1]"]
    assert agree(default(), both) == "no"


def test_answers_to_another_version_are_named_as_unchecked() -> None:
    """It may have asked something else."""
    both = beside_its_questionnaire(f"{URL}|1")
    outcome = default().explain(both)
    assert [issue.code for issue in outcome] == ["not-supported"]
    agree(default(), both)


def test_an_answer_out_of_an_unknown_value_set_is_named_as_unchecked() -> None:
    response = answered(NO, answer("other", {"valueCoding": {"code": "a"}}))
    outcome = default().explain(response)
    assert [issue.code for issue in outcome] == ["not-supported"]
    assert "https://a.example/ValueSet/none" in outcome.issues[0].message
    agree(default(), response)


def test_work_grows_with_the_answers_and_not_with_their_square() -> None:
    """Each question asks about the one before it."""

    def calls(number: int) -> int:
        asked: list[Json] = [{"linkId": "0", "type": "boolean"}]
        for at in range(1, number):
            when = {"question": str(at - 1), "operator": "=", "answerBoolean": True}
            asked.append({"linkId": str(at), "type": "boolean", "enableWhen": [when]})
        given = [answer(str(at), {"valueBoolean": True}) for at in range(number)]
        response = answered(*given)
        response["contained"][0]["item"] = asked
        scope = Scope(response)
        seen = 0

        def see(*_: object) -> None:
            nonlocal seen
            seen += 1

        sys.setprofile(see)
        try:
            found = list(answers.faults(response, scope))
        finally:
            sys.setprofile(None)
        assert not found
        return seen

    assert calls(900) < 3.5 * calls(300)


def test_answers_to_an_unknown_questionnaire_are_named_as_unchecked() -> None:
    response = answered(answer("x"), questionnaire="https://a.example/Questionnaire/none")
    del response["contained"]
    outcome = default().explain(response)
    assert [issue.code for issue in outcome] == ["not-supported"]
    assert "the Questionnaire is not known here" in outcome.issues[0].message
    agree(default(), response)
