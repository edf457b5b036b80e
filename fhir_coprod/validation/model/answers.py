"""Compares a QuestionnaireResponse with its Questionnaire (https://hl7.org/fhir/R4/questionnaireresponse.html).

Looked at: link ids and their places, types of answers, required and repeated answers, options, and whether
a question was to be asked at all (enableWhen).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath import Undecided
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.values import has_pattern, is_member

Fault = tuple[str, str]
"""Where, within the response, and what is wrong."""

_VALUES: dict[str, tuple[str, ...]] = {
    "boolean": ("valueBoolean",),
    "decimal": ("valueDecimal",),
    "integer": ("valueInteger",),
    "date": ("valueDate",),
    "dateTime": ("valueDateTime",),
    "time": ("valueTime",),
    "string": ("valueString",),
    "text": ("valueString",),
    "url": ("valueUri",),
    "choice": ("valueCoding", "valueInteger", "valueDate", "valueTime", "valueString", "valueReference"),
    "open-choice": ("valueCoding", "valueInteger", "valueDate", "valueTime", "valueString", "valueReference"),
    "attachment": ("valueAttachment",),
    "reference": ("valueReference",),
    "quantity": ("valueQuantity",),
}
"""Item type → the members that may hold its answers."""
_FINISHED = frozenset({"completed", "amended"})
_ORDERED = {">": (1,), "<": (-1,), ">=": (0, 1), "<=": (-1, 0)}


class NotHeld(Undecided):
    """Nobody can tell whether the answers fit, since their Questionnaire is not held."""

    code = "not-supported"


def faults(response: object, scope: Scope) -> Iterator[Fault]:
    """What does not fit the Questionnaire. Raises NotHeld when that is not known."""
    if not isinstance(response, dict) or not isinstance(url := response.get("questionnaire"), str):
        return
    questionnaire = _questionnaire(url, scope)
    if questionnaire is None:
        raise NotHeld("the Questionnaire is not known here; load its package to check the answers")
    unknown: list[str] = []
    finished = response.get("status") in _FINISHED
    yield from _Level(questionnaire, response, None, finished, unknown).faults("")
    if unknown:
        raise NotHeld(f"the value set {unknown[0][:120]} of a question is not known here")


def _questionnaire(url: str, scope: Scope) -> Json | None:
    """The Questionnaire, contained, in a Bundle around, or in a package; in the version that is named."""
    if url.startswith("#"):
        found = scope.resolve(url)
        return found if found is not None and found.get("resourceType") == "Questionnaire" else None
    outer = scope.outer
    while outer is not None:
        if (found := outer.defined.get(("Questionnaire", url))) is not None:
            return found
        outer = outer.outer
    held, version = definitions.resource("Questionnaire", url), url.partition("|")[2]
    # Another version than the one that was answered may ask something else.
    return None if held is None or (version and held.get("version") != version) else held


class _Level:
    """The items of one group, or of one answer, beside the questions for that place."""

    def __init__(
        self, asked: Json, given: Json, around: _Level | None, finished: bool, unknown: list[str]
    ) -> None:
        """unknown: takes the value sets that are not held"""
        self.asked = {item.get("linkId"): item for item in _items(asked)}
        self.given = _items(given)
        self.around = around
        self.finished = finished
        self.unknown = unknown

    def faults(self, at: str) -> Iterator[Fault]:
        answers: dict[object, int] = {}
        for number, item in enumerate(self.given):
            place, link = f"{at}.item[{number}]", item.get("linkId")
            question = self.asked.get(link)
            if question is None:
                yield place, "The Questionnaire has no such linkId here; correct it or move the item."
                continue
            given = max(1, len(_answers(item))) if _has_answers(item) else 0
            answers[link] = answers.get(link, 0) + given
            if link in self.enabled:
                yield from self.item(question, item, place)
            elif given:
                yield place, "This was not to be asked, by what else was answered (enableWhen)."
        for link, question in self.asked.items():
            yield from self.counted(question, link, answers.get(link, 0), at)

    def counted(self, question: Json, link: object, answers: int, at: str) -> Iterator[Fault]:
        """How often a question is answered here."""
        named = f"linkId {str(link)[:80]}"
        if question.get("required") is True and not answers and self.finished and link in self.enabled:
            yield at, f"A required item is not answered: {named}."
        if answers > 1 and not question.get("repeats"):
            yield at, f"An item that does not repeat stands twice: {named}."

    def item(self, question: Json, item: Json, at: str) -> Iterator[Fault]:
        kind, answers = question.get("type"), _answers(item)
        if kind in ("group", "display"):
            if answers:
                yield at, f"The Questionnaire has a {kind} here, which takes no answer."
            if kind == "group":
                yield from self.below(question, item).faults(at)
            return
        for number, answer in enumerate(answers):
            place = f"{at}.answer[{number}]"
            yield from _answer_faults(question, answer, place, self.unknown)
            if question.get("item") or "item" in answer:
                yield from self.below(question, answer).faults(place)

    def below(self, question: Json, given: Json) -> _Level:
        """The items of a group, or of an answer, at this level."""
        return _Level(question, given, self, self.finished, self.unknown)

    @cached_property
    def enabled(self) -> frozenset[object]:
        """The link ids of the questions that were to be asked."""
        return frozenset(link for link, question in self.asked.items() if self.is_enabled(question))

    def is_enabled(self, question: Json) -> bool:
        conditions = _objects(question.get("enableWhen"))
        if not conditions:
            return True
        met = (self.is_met(condition) for condition in conditions)
        return any(met) if question.get("enableBehavior") == "any" else all(met)

    def is_met(self, condition: Json) -> bool:
        values = [value for answer in self.answers_to(condition.get("question")) for value in _held(answer)]
        wanted = next((v for key, v in condition.items() if key.startswith("answer")), None)
        operator = condition.get("operator")
        if operator == "exists":
            return bool(values) is (wanted is True)
        if operator == "!=":
            return bool(values) and not any(_same(value, wanted) for value in values)
        if operator in _ORDERED:
            return any(_order(value, wanted) in _ORDERED[operator] for value in values)
        return any(_same(value, wanted) for value in values)

    def answers_to(self, link: object) -> list[Json]:
        """The answers to a question, of those nearest to this place."""
        found = self.answered.get(link)
        if found or self.around is None:
            return found or []
        return self.around.answers_to(link)

    @cached_property
    def answered(self) -> dict[object, list[Json]]:
        """Every answer at and below this place, by link id."""
        found: dict[object, list[Json]] = {}
        for item in _below(self.given):
            found.setdefault(item.get("linkId"), []).extend(_answers(item))
        return found


def _answer_faults(question: Json, answer: Json, at: str, unknown: list[str]) -> Iterator[Fault]:
    kind = str(question.get("type"))
    key = next((key for key in answer if key.startswith("value")), None)
    if key is None:
        return
    if key not in _VALUES.get(kind, (key,)):
        yield at, f"The answer to a question of type {kind} is given as {_VALUES[kind][0]}, not as {key}."
        return
    value = answer[key]
    longest = question.get("maxLength")
    if isinstance(value, str) and isinstance(longest, int) and len(value) > longest:
        yield at, f"The answer is longer than {longest} characters; shorten it."
    if kind == "choice" or (kind == "open-choice" and key == "valueCoding" and "answerOption" in question):
        # Another answer to an open choice is given in words.
        yield from _option_faults(question, key, value, at)
    listed = question.get("answerValueSet")
    if kind == "choice" and isinstance(listed, str):
        held = None if listed.startswith("#") else definitions.value_set_content(listed)
        member = None if held is None else is_member(value, "Coding", held)
        if member is False:
            yield at, f"The answer is not in the value set {listed[:120]}; choose one of its codes."
        elif member is None:
            unknown.append(listed)


def _option_faults(question: Json, key: str, value: object, at: str) -> Iterator[Fault]:
    """An answer that is none of the options."""
    options = _objects(question.get("answerOption"))
    if not options:
        return
    keys = {k for option in options for k in option if k.startswith("value")}
    if key not in keys:
        yield at, f"The options are given as {', '.join(sorted(keys))[:80]}, not as {key}."
    elif not any(key in option and _same(value, option[key]) for option in options):
        yield at, "The answer is none of the options; choose one."


def _same(value: object, wanted: object) -> bool:
    """Whether an answer is the one that is named; codings by system and code, quantities by what is named."""
    if isinstance(value, dict) and isinstance(wanted, dict):
        names = [name for name in ("system", "code", "value", "reference") if name in wanted] or ["display"]
        return all(name in wanted and value.get(name) == wanted[name] for name in names)
    return has_pattern(value, wanted)


def _order(value: object, wanted: object) -> int | None:
    if isinstance(value, dict) and isinstance(wanted, dict):
        return _order(value.get("value"), wanted.get("value"))
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return (value > wanted) - (value < wanted)
    if isinstance(value, str) and isinstance(wanted, str):
        return (value > wanted) - (value < wanted)
    return None


def _held(answer: Json) -> list[object]:
    return [value for key, value in answer.items() if key.startswith("value")]


def _has_answers(item: Json) -> bool:
    return bool(_answers(item)) or any(map(_has_answers, _items(item)))


def _below(items: Sequence[Json]) -> Iterator[Json]:
    """Items with everything below them, below their answers too."""
    for item in items:
        yield item
        yield from _below(_items(item))
        for answer in _answers(item):
            yield from _below(_items(answer))


def _answers(item: Json) -> list[Json]:
    return _objects(item.get("answer"))


def _items(owner: Json) -> list[Json]:
    return _objects(owner.get("item"))


def _objects(held: object) -> list[Json]:
    return [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []
