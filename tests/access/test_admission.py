"""Each interaction says which scope it takes; what says nothing is nobody's."""

from __future__ import annotations

import pytest

from fhir_coprod.access.admission import LETTERS, OTHERWISE, demand
from fhir_coprod.access.rights import Rights
from fhir_coprod.access.scopes import Scope
from fhir_coprod.api.table import TABLE
from fhir_coprod.errors import NotAllowed

WHOLE = Rights("program", "night", (Scope("system", "*", "cruds"),))


def test_it_is_said_of_each_interaction_what_it_takes() -> None:
    assert {row.name for row in TABLE} | {"unknown"} == {*LETTERS} | OTHERWISE


def test_an_interaction_of_which_nothing_is_said_is_refused_to_everybody_who_is_limited() -> None:
    with pytest.raises(NotAllowed):
        demand(WHOLE, "$something-new", "Patient")
