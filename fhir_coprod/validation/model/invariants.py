"""Invariants: turns a definition's FHIRPath rules into tests, with a few tests written by hand."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator

from fhir_coprod.definitions import is_resource_type
from fhir_coprod.validation import narrative
from fhir_coprod.validation.fhirpath import FhirPathError, UnsupportedFhirPath, compile_invariant
from fhir_coprod.validation.model import answers, artefacts, bundles, formats, guards
from fhir_coprod.validation.model.content import Content, Rule
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import Constraint

Test = Callable[[object, Scope], bool]

STRUCTURAL = frozenset({"ele-1", "ext-1"})
"""Empty elements, and extensions with both or neither of value and extensions: checked on the spot."""


def _not_nested(resource: object, scope: Scope) -> bool:
    """dom-2: a contained resource contains no resources itself."""
    return not any("contained" in inner for inner in _contained(resource))


def _contained_is_used(resource: object, scope: Scope) -> bool:
    """dom-3: each contained resource is referred to from the resource, or refers to it.

    The narrative refers, too, by a link or a picture: the rule's text counts that, its expression does not.
    """
    waiting = list(_contained(resource))
    if not waiting or not isinstance(resource, dict):
        return True
    used = set(_local_references(resource))
    unused = [
        inner
        for inner in waiting
        if f"#{inner.get('id')}" not in used and "#" not in set(_local_references(inner))
    ]
    if not unused:
        return True
    shown = {link for div in _narratives(resource) for link in narrative.local_links(div)}
    return all(f"#{inner.get('id')}" in shown for inner in unused)


def _narratives(resource: dict[str, object]) -> Iterator[object]:
    """The narratives of a resource: its own, and those of a Composition's sections."""
    waiting: list[object] = [resource]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            if "div" in value:
                yield value["div"]
        elif isinstance(value, list):
            waiting += value


def _contained_without_version(resource: object, scope: Scope) -> bool:
    """dom-4: a contained resource has neither meta.versionId nor meta.lastUpdated."""
    return not any(key in meta for meta in _contained_meta(resource) for key in ("versionId", "lastUpdated"))


def _contained_without_label(resource: object, scope: Scope) -> bool:
    """dom-5: a contained resource has no security label."""
    return not any("security" in meta for meta in _contained_meta(resource))


def _has_narrative(resource: object, scope: Scope) -> bool:
    """dom-6: a resource should have narrative; a contained one has its container's."""
    if not isinstance(resource, dict) or scope.container is not scope.resource:
        return True
    text = resource.get("text")
    return isinstance(text, dict) and "div" in text


def _reference_is_contained(reference: object, scope: Scope) -> bool:
    """ref-1: a local reference names a contained resource, or, from inside one, the container."""
    literal = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(literal, str) or not literal.startswith("#"):
        return True
    if literal == "#":
        return scope.container is not scope.resource
    return literal[1:] in scope.contained


def _allowed_narrative(div: object, scope: Scope) -> bool:
    """txt-1 and txt-2: only basic XHTML, and some content."""
    return narrative.is_allowed(div)


def _contained(resource: object) -> Iterator[dict[str, object]]:
    contained = resource.get("contained") if isinstance(resource, dict) else None
    for inner in contained if isinstance(contained, list) else ():
        if isinstance(inner, dict):
            yield inner


def _contained_meta(resource: object) -> Iterator[dict[str, object]]:
    for inner in _contained(resource):
        meta = inner.get("meta")
        if isinstance(meta, dict):
            yield meta


def _local_references(resource: dict[str, object]) -> Iterator[str]:
    """Every text below that starts with #: references and canonicals."""
    waiting: list[object] = [resource]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and value.startswith("#"):
            yield value


NATIVE: dict[str, tuple[Test, frozenset[str]]] = {
    "dom-2": (_not_nested, frozenset({"contained"})),
    "dom-3": (_contained_is_used, frozenset({"contained"})),
    "dom-4": (_contained_without_version, frozenset({"contained"})),
    "dom-5": (_contained_without_label, frozenset({"contained"})),
    "dom-6": (_has_narrative, frozenset()),
    "ref-1": (_reference_is_contained, frozenset({"reference"})),
    "txt-1": (_allowed_narrative, frozenset()),
}
"""Rules of the base definitions that are written by hand: (test, members; with none of them it holds)."""


def _absolute_system(identifier: object, scope: Scope) -> bool:
    """The system of an identifier is an absolute URI."""
    system = identifier.get("system") if isinstance(identifier, dict) else None
    return not isinstance(system, str) or formats.is_absolute(system)


def _absolute_coded(coded: object, scope: Scope) -> bool:
    """The system of a code, if it has one, is an absolute URI."""
    return not isinstance(coded, dict) or "code" not in coded or _absolute_system(coded, scope)


def _absolute_url(resource: object, scope: Scope) -> bool:
    """A definition's own url is an absolute URI."""
    url = resource.get("url") if isinstance(resource, dict) else None
    return not isinstance(url, str) or formats.is_absolute(url)


def _without_spaces(reference: object, scope: Scope) -> bool:
    """A literal reference is a URI."""
    literal = reference.get("reference") if isinstance(reference, dict) else None
    return not isinstance(literal, str) or " " not in literal


def _names_a_type(reference: object, scope: Scope) -> bool:
    """A literal reference is more than an id, by which nothing is found."""
    literal = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(literal, str) or "/" in literal or literal.startswith("#"):
        return True
    return formats.is_absolute(literal) or is_resource_type(literal.partition("?")[0])


def _type_fits(reference: object, scope: Scope) -> Iterator[tuple[str, str]]:
    """Reference.type is a type of R4, or an absolute URL, and that of the target, as far as it is known."""
    named = reference.get("type") if isinstance(reference, dict) else None
    if not isinstance(reference, dict) or not isinstance(named, str):
        return
    if not is_resource_type(named) and not formats.is_absolute(named):
        yield ".type", "This is no resource type of FHIR R4, and no absolute URL of another; correct it."
        return
    name = named.removeprefix("http://hl7.org/fhir/StructureDefinition/")
    actual = scope.target_types({"reference": reference.get("reference")})
    if actual and is_resource_type(name) and name != actual[0]:
        yield ".type", f"The reference leads to a {actual[0]}, not to a {name}; correct one of them."


def _right_size(attachment: object, scope: Scope) -> bool:
    """Attachment.size and hash match the data."""
    if not isinstance(attachment, dict) or not isinstance(attachment.get("data"), str):
        return True
    try:
        data = base64.b64decode(attachment["data"])
    except ValueError:
        return True
    size, digest = attachment.get("size"), attachment.get("hash")
    if isinstance(size, int) and size != len(data):
        return False
    # FHIR prescribes SHA-1 here: https://hl7.org/fhir/R4/datatypes.html#Attachment
    stated = hashlib.sha1(data, usedforsecurity=False).digest()
    return not isinstance(digest, str) or digest == base64.b64encode(stated).decode()


def _rule(
    human: str, test: Test, *names: str, signs: tuple[str, str] = ("", ""), remember: bool = False
) -> Rule:
    return Rule(Constraint("", "error", human, ""), test, frozenset(names), signs=signs, remember=remember)


def _told(faults: Callable[[object, Scope], Iterator[tuple[str, str]]], *names: str) -> Rule:
    """A rule that tells each fault at its place."""
    human = (faults.__doc__ or "").partition("\n")[0]
    return Rule(
        Constraint("", "error", human, ""),
        lambda value, scope: next(faults(value, scope), None) is None,
        frozenset(names),
        faults=faults,
    )


ABSOLUTE_CODED = _rule(
    "The system of a code must be an absolute URI", _absolute_coded, "code", "system", remember=True
)
"""For quantities, and for a Coding without a binding; HL7's validator lets others pass."""

_OF_TYPE: dict[str, list[Rule]] = {
    "Questionnaire": [
        _rule("enableWhen.question must be the linkId of an item", artefacts.questions_exist, "item")
    ],
    "CodeSystem": [
        _rule(
            "The count of a complete code system must be the number of its concepts",
            artefacts.count_is_true,
            "count",
        ),
        _rule(
            "A code system that supplements another has the content `supplement`, and only such a one",
            artefacts.supplement_says_so,
            "content",
        ),
        _rule(
            "A code system whose content is not present lists no concepts",
            artefacts.absent_is_absent,
            "concept",
        ),
        _told(artefacts.properties_name_concepts, "concept"),
    ],
    "SearchParameter": [
        _rule("A composite search parameter has at least two components", artefacts.composite_has_parts)
    ],
    "ValueSet": [
        _rule(
            "The systems of a value set must be absolute URIs",
            artefacts.systems_are_absolute,
            "compose",
        ),
        _told(artefacts.filters_name_concepts, "compose"),
    ],
    "ConceptMap": [_told(artefacts.maps_what_its_source_has, "group")],
    "CapabilityStatement": [_told(artefacts.search_types_are_right, "rest")],
    "StructureDefinition": [_told(artefacts.fits_its_base, "differential")],
    "StructureMap": [
        _rule("Groups and inputs need names of letters, digits and _", artefacts.groups_are_named, "group")
    ],
    "Identifier": [
        _rule("Identifier.system must be an absolute URI", _absolute_system, "system", remember=True)
    ],
    "Quantity": [ABSOLUTE_CODED],
    "Reference": [
        _rule(
            "A reference is a URI and holds no spaces", _without_spaces, "reference", signs=("reference", " ")
        ),
        Rule(
            Constraint(
                "", "error", "A literal reference is a type and an id, an absolute URL, or # and an id", ""
            ),
            _names_a_type,
            frozenset({"reference"}),
            frees=("reference", "/"),
        ),
        _told(_type_fits, "type"),
    ],
    "Attachment": [_rule("Attachment.size and hash must be those of the data", _right_size, "data")],
    "Bundle": [
        _told(bundles.full_urls, "entry"),
        _told(bundles.search_results, "type"),
        _told(bundles.documents_are_whole, "entry"),
        _told(bundles.messages_are_whole, "entry"),
    ],
    "QuestionnaireResponse": [_told(answers.faults, "questionnaire")],
}
"""Rules that R4 only states in words."""


_CANONICAL = _rule("The url of a definition must be absolute", _absolute_url, "url")


def of_type(code: str, *, canonical: bool) -> list[Rule]:
    """The rules of a type that its definition only states in words.

    canonical: whether it is a resource that others refer to by its `url`
    """
    return [*_OF_TYPE.get(code, []), *([_CANONICAL] if canonical else [])]


SAID_ELSEWHERE = frozenset({"txt-2"})
"""Rules that another rule in NATIVE covers."""


_NOWHERE = Scope({})


def add(content: Content, constraint: Constraint) -> None:
    """Make `content` check the rule, or report that nobody can."""
    if constraint.key in STRUCTURAL or constraint.key in SAID_ELSEWHERE:
        return
    native = NATIVE.get(constraint.key)
    if native is not None:
        signs = ("reference", "#") if constraint.key == "ref-1" else ("", "")
        content.rules.append(Rule(constraint, *native, signs=signs))
        return
    try:
        test = _translated(constraint, content)
    except UnsupportedFhirPath:
        content.unchecked.append(constraint)
        return
    names = guards.members(constraint.expression) or frozenset()
    if not names or not test({}, _NOWHERE):
        names = frozenset()
    expression = constraint.expression
    # 1 and 1.0 are equal as numbers, but not as text.
    remember = bool(names) and "toString" not in expression
    presence = guards.is_presence(expression)
    content.rules.append(Rule(constraint, test, names, presence=presence, remember=remember))


def _translated(constraint: Constraint, content: Content) -> Test:
    """The rule's FHIRPath as a test. Raises UnsupportedFhirPath."""
    if not constraint.expression:
        raise UnsupportedFhirPath(f"The rule {constraint.key} is stated in words only.")
    base = content.path if content.type in ("BackboneElement", "Element") else content.type
    holds = compile_invariant(constraint.expression, base, constraint.key)

    def test(value: object, scope: Scope) -> bool:
        try:
            return holds(value, scope.environment)
        except FhirPathError:
            return False

    return test
