"""Corrections of R4 rules that are wrong as published, in the form that HL7 has given them since.

HL7's own validator checks the corrected rules (org.hl7.fhir.validation, FHIRPathExpressionFixer); so do we.
"""

from __future__ import annotations

_CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_LOCAL_REFERENCE = (
    "reference.exists() implies (reference = '#' or (reference.startsWith('#').not() or "
    "(reference.substring(1).trace('url') in %rootResource.contained.id.trace('ids'))))"
)

_BY_EXPRESSION = {
    # Names of conformance resources (adf-0 and similar): optional, and the pattern must match the whole.
    "name.matches('[A-Z]([A-Za-z0-9_]){0,254}')": (
        "name.exists() implies name.matches('^[A-Z]([A-Za-z0-9_]){0,254}$')"
    ),
    # bdl-8: a full URL is optional.
    "fullUrl.contains('/_history/').not()": "fullUrl.exists() implies fullUrl.contains('/_history/').not()",
    # con-3: compared a concept with a text.
    (
        "clinicalStatus.exists() or verificationStatus.coding.where("
        f"system='{_CONDITION_VERIFICATION}' and code = 'entered-in-error').exists() or "
        "category.select($this='problem-list-item').empty()"
    ): (
        f"(verificationStatus.coding.where(system='{_CONDITION_VERIFICATION}' and "
        "code = 'entered-in-error').exists() and category.coding.exists("
        "system='http://terminology.hl7.org/CodeSystem/condition-category' and "
        "code ='problem-list-item').empty()) implies (clinicalStatus.exists())"
    ),
    # que-12: the wording says "more than one".
    "enableWhen.count() > 2 implies enableBehavior.exists()": (
        "enableWhen.count() >= 2 implies enableBehavior.exists()"
    ),
    # ras-2: a probability is optional and may be a range.
    "probability is decimal implies (probability as decimal) <= 100": (
        "(probability.exists() and (probability is decimal)) implies ((probability as decimal) <= 100)"
    ),
    # ref-1: a reference may have no literal and may name its container.
    (
        "reference.startsWith('#').not() or "
        "(reference.substring(1).trace('url') in %rootResource.contained.id.trace('ids'))"
    ): _LOCAL_REFERENCE,
    (
        "reference.startsWith('#').not() or "
        "(reference.substring(1).trace('url') in %resource.contained.id.trace('ids'))"
    ): _LOCAL_REFERENCE,
    "isModifier implies isModifierReason.exists()": (
        "(isModifier.exists() and isModifier) implies isModifierReason.exists()"
    ),
    # vs-2 of the vital signs, mqty-1, age-1, sdf-3, sdf-16, sdf-17, opd-2: tested truth instead of existence.
    "(component.empty() and hasMember.empty()) implies (dataAbsentReason or value)": (
        "(component.empty() and hasMember.empty()) implies (dataAbsentReason.exists() or value.exists())"
    ),
    "(code or value.empty()) and (system.empty() or system = 'urn:iso:std:iso:4217')": (
        "(code.exists() or value.empty()) and (system.empty() or system = 'urn:iso:std:iso:4217')"
    ),
    "(code or value.empty()) and (system.empty() or system = %ucum) and (value.empty() or value > 0)": (
        "(code.exists() or value.empty()) and (system.empty() or system = %ucum) and "
        "(value.empty() or value > 0)"
    ),
    "element.all(definition and min and max)": (
        "element.all(definition.exists() and min.exists() and max.exists())"
    ),
    "differential.element.all(id) and differential.element.id.trace('ids').isDistinct()": (
        "differential.element.all(id.exists()) and differential.element.id.trace('ids').isDistinct()"
    ),
    "snapshot.element.all(id) and snapshot.element.id.trace('ids').isDistinct()": (
        "snapshot.element.all(id.exists()) and snapshot.element.id.trace('ids').isDistinct()"
    ),
    "telecom or endpoint": "telecom.exists() or endpoint.exists()",
    "searchType implies type = 'string'": "searchType.exists() implies type = 'string'",
}

_BY_KEY = {
    # dom-6: a contained resource needs no narrative of its own.
    "dom-6": "(%rootResource != $this) or text.`div`.exists()",
    # eld-19, eld-20: the pattern was meant for the whole path.
    "eld-19": (
        r"path.matches('^[^\\s\\.,:;\\\'\"\\/|?!@#$%&*()\\[\\]{}]{1,64}"
        r"(\\.[^\\s\\.,:;\\\'\"\\/|?!@#$%&*()\\[\\]{}]{1,64}(\\[x\\])?(\\:[^\\s\\.]+)?)*$')"
    ),
    "eld-20": r"path.matches('^[A-Za-z][A-Za-z0-9]*(\\.[a-z][A-Za-z0-9]*(\\[x])?)*$')",
}


def corrected(expression: str, key: str = "") -> str:
    """The expression that was meant."""
    if key == "txt-2" and expression == "htmlChecks()":
        return "htmlChecks2()"
    if key in _BY_KEY and expression.partition("(")[0] in ("path.matches", "text.`div`.exists"):
        return _BY_KEY[key]
    return _BY_EXPRESSION.get(expression, expression)
