"""`and`, `or`, `xor` and `implies` (FHIRPath 2.0 §6.5)."""

from __future__ import annotations

from fhir_coprod.validation.fhirpath.nodes import EMPTY, FALSE, TRUE, Compiled, Nodes, Scope, as_truth, truth


def operation(operator: str, left: Compiled, right: Compiled) -> Compiled:
    """Three-valued logic; the right side is only evaluated when the left does not decide."""

    def and_(scope: Scope) -> Nodes:
        first = as_truth(left(scope))
        if first is False:
            return FALSE
        second = as_truth(right(scope))
        if second is False:
            return FALSE
        return TRUE if first and second else EMPTY

    def or_(scope: Scope) -> Nodes:
        first = as_truth(left(scope))
        if first:
            return TRUE
        second = as_truth(right(scope))
        if second:
            return TRUE
        return EMPTY if first is None or second is None else FALSE

    def implies(scope: Scope) -> Nodes:
        first = as_truth(left(scope))
        if first is False:
            return TRUE
        second = as_truth(right(scope))
        if second:
            return TRUE
        return EMPTY if first is None or second is None else FALSE

    def xor(scope: Scope) -> Nodes:
        first, second = as_truth(left(scope)), as_truth(right(scope))
        return EMPTY if first is None or second is None else truth(first != second)

    return {"and": and_, "or": or_, "implies": implies, "xor": xor}[operator]
