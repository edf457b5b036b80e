"""Names of R4's elements, as mappings write them."""

from __future__ import annotations

import pytest

from fhir_coprod.mappings import r4


@pytest.mark.parametrize(
    ("type", "path", "max"),
    [
        ("Patient", "name", "*"),
        ("Patient", "deceased[x]", "1"),
        ("Patient", "contact.name.given", "*"),
        ("Patient", "contact.telecom.system", "1"),
        ("Task", "input.value[x]", "1"),
        ("Questionnaire", "item.item.item.linkId", "1"),
        ("Bundle", "entry.resource", "1"),
    ],
)
def test_an_element_is_found_however_deep_it_lies(type: str, path: str, max: str) -> None:
    found = r4.element(type, path)
    assert found is not None
    assert found["max"] == max


@pytest.mark.parametrize(
    ("type", "path"),
    [
        ("Patient", "deceasedBoolean"),
        ("Patient", "deceased[x].value"),
        ("Patient", "birthDate.year"),
        ("Patient", "id.value"),
        ("Patient", "contact.nickname"),
        ("Patient", ""),
    ],
)
def test_what_r4_does_not_have_is_not_found(type: str, path: str) -> None:
    assert r4.element(type, path) is None
    assert r4.element_mistake(type, path)
