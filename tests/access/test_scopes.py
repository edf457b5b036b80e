"""What a scope of SMART says, in both versions, and what is none."""

from __future__ import annotations

import pytest

from fhir_coprod.access.scopes import Scope, read_scopes
from fhir_coprod.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("system/*.cruds", Scope("system", "*", "cruds")),
        ("user/Task.cu", Scope("user", "Task", "cu")),
        (
            "patient/Observation.rs?category=http%3A%2F%2Fx%7Claboratory",
            Scope("patient", "Observation", "rs", (("category", "http://x|laboratory"),)),
        ),
        ("user/*.read", Scope("user", "*", "rs")),
        ("user/Task.write", Scope("user", "Task", "cud")),
        ("system/*.*", Scope("system", "*", "cruds")),
    ],
)
def test_a_scope_is_read_as_smart_writes_it(text: str, scope: Scope) -> None:
    assert Scope.read(text) == scope
    assert Scope.read(str(scope)) == scope


@pytest.mark.parametrize(
    "text",
    ["", "openid", "system/*", "system/*.", "system/*.sr", "system/*.rr", "system/*.x", "admin/*.rs",
     "system/patient.rs", "system/Patientx.rs", "patient/Task.rs?", "patient/Task.rs?status", "system/*.rs ",
     "SYSTEM/*.rs", "system/*.rs\n"],
)  # fmt: skip
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        Scope.read(text)


def test_contexts_are_not_mixed() -> None:
    assert len(read_scopes(["user/Task.rs", "user/*.rs", "user/Task.rs"])) == 2
    with pytest.raises(BadRequest, match="mixed"):
        read_scopes(["user/Task.rs", "system/*.rs"])


def test_a_scope_is_about_its_actions_and_types_only() -> None:
    scope = Scope("user", "Task", "rs")
    assert scope.allows("r", "Task")
    assert not scope.allows("u", "Task")
    assert not scope.allows("r", "Patient")
    assert Scope("user", "*", "r").allows("r", "Patient")
