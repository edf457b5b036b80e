"""Every search parameter type of R4 with every modifier and prefix: taken as R4 says, or refused by name.

The table is whole: a combination without an expectation is a failure. Sources:
https://hl7.org/fhir/R4/search.html#modifiers and #prefix.
"""

from __future__ import annotations

from itertools import product

import pytest

from fhir_coprod.errors import BadRequest, CoprodError, Unsupported
from fhir_coprod.store import Store
from tests.store.library import UCUM, V2, ids, search

GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"

# A parameter of each type with a value.
PARAMETERS = {
    "string": ("Patient", "family", "Åkesson"),
    "token": ("Patient", "identifier", "urn:mrn|b2"),
    "reference": ("Patient", "organization", "Organization/clinic"),
    "uri": ("ValueSet", "url", "http://x.example/vs/a"),
    "date": ("Patient", "birthdate", "1970-05-31"),
    "number": ("RiskAssessment", "probability", "0.80"),
    "quantity": ("Observation", "value-quantity", f"5.4|{UCUM}|g"),
    "special": ("Location", "near", "59.35|18.03|1|km"),
    "composite": ("Observation", "code-value-quantity", "urn:x|y$5"),
}
MODIFIERS = (
    *("missing", "exact", "contains", "text", "not", "in", "not-in"),
    *("above", "below", "of-type", "identifier", "Organization", "nonsense"),
)
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

TAKEN = {
    # type, modifier: (value, what it finds)
    ("string", "missing"): ("true", "cy"),
    ("string", "exact"): ("ÅKESSON", "bo"),
    ("string", "contains"): ("son", "anna bo"),
    ("token", "missing"): ("true", "cy"),
    ("token", "not"): ("urn:mrn|b2", "anna cy"),
    ("token", "text"): ("medical", "anna"),
    ("token", "of-type"): (rf"{V2}|MR|A\,1\|x", "anna"),
    ("token", "in"): (GENDERS, ""),
    ("token", "not-in"): (GENDERS, "anna bo cy"),
    ("token", "above"): (f"{V2}|MR", ""),
    ("token", "below"): (f"{V2}|MR", ""),
    ("reference", "missing"): ("true", "cy"),
    ("reference", "identifier"): ("urn:org|42", "bo"),
    ("reference", "Organization"): ("clinic", "anna"),
    ("uri", "missing"): ("false", "v"),
    ("uri", "above"): ("http://x.example/vs/a/b", "v"),
    ("uri", "below"): ("http://x.example/", "v"),
    ("date", "missing"): ("true", "cy"),
    ("number", "missing"): ("false", "r1 r2"),
    ("quantity", "missing"): ("false", "q100 q99.6 q5.4 qnone"),
    ("special", "missing"): ("true", "nowhere"),
}

ORDERED = {
    # type, prefix: what it finds of its own value
    ("date", "eq"): "anna",
    ("date", "ne"): "bo",
    ("date", "gt"): "bo",
    ("date", "lt"): "bo",
    ("date", "ge"): "anna bo",
    ("date", "le"): "anna bo",
    ("date", "sa"): "",
    ("date", "eb"): "",
    ("date", "ap"): "anna bo",
    ("number", "eq"): "r1",
    ("number", "ne"): "r2",
    ("number", "gt"): "",
    ("number", "lt"): "r2",
    ("number", "ge"): "r1",
    ("number", "le"): "r1 r2",
    ("number", "sa"): "",
    ("number", "eb"): "r2",
    ("number", "ap"): "r1 r2",
    ("quantity", "eq"): "q5.4",
    ("quantity", "ne"): "",
    ("quantity", "gt"): "",
    ("quantity", "lt"): "",
    ("quantity", "ge"): "q5.4",
    ("quantity", "le"): "q5.4",
    ("quantity", "sa"): "",
    ("quantity", "eb"): "",
    ("quantity", "ap"): "q5.4",
}

NO_PREFIX: dict[str, type[CoprodError] | None] = {
    # There a prefix is two letters of the value: it finds nothing, or the value cannot be read.
    "string": None,
    "token": None,
    "reference": None,
    "uri": None,
    "special": BadRequest,
    "composite": None,
}


@pytest.mark.parametrize(("kind", "modifier"), [*product(PARAMETERS, MODIFIERS)], ids="-".join)
def test_every_modifier_is_taken_or_refused_by_name(library: Store, kind: str, modifier: str) -> None:
    type, code, value = PARAMETERS[kind]
    if (kind, modifier) in TAKEN:
        value, expected = TAKEN[kind, modifier]
        assert ids(search(library, f"{type}?{code}:{modifier}={value}")) == expected
    else:
        with pytest.raises(Unsupported, match="not supported") as refused:
            search(library, f"{type}?{code}:{modifier}={value}")
        assert code in refused.value.message


@pytest.mark.parametrize(("kind", "prefix"), [*product(PARAMETERS, PREFIXES)], ids="-".join)
def test_every_prefix_is_taken_where_values_have_an_order(library: Store, kind: str, prefix: str) -> None:
    type, code, value = PARAMETERS[kind]
    asked = f"{type}?{code}={prefix}{value}"
    if (kind, prefix) in ORDERED:
        assert ids(search(library, asked)) == ORDERED[kind, prefix]
    elif (error := NO_PREFIX[kind]) is None:
        assert ids(search(library, asked)) == ""
    else:
        with pytest.raises(error):
            search(library, asked)


@pytest.mark.parametrize("kind", PARAMETERS)
def test_the_plain_value_finds_its_own(library: Store, kind: str) -> None:
    type, code, value = PARAMETERS[kind]
    if kind == "composite":
        assert ids(search(library, f"{type}?{code}={value}")) == ""  # found in test_values.py
    else:
        assert ids(search(library, f"{type}?{code}={value}"))


@pytest.mark.parametrize("kind", ["string", "token", "reference", "uri", "date", "number", "quantity"])
def test_missing_takes_no_prefix(library: Store, kind: str) -> None:
    type, code, _ = PARAMETERS[kind]
    with pytest.raises(BadRequest, match="true or false"):
        search(library, f"{type}?{code}:missing=netrue")
