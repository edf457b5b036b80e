"""Resolves a Reference as far as possible without asking any server."""

from __future__ import annotations

import re
from typing import Any

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath.model import Type, resource_type, type_named
from fhir_coprod.validation.fhirpath.nodes import EMPTY, Compiled, Env, Node, Nodes, Scope, one, truth

_TYPE_AND_ID = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")


def resolved(node: Node, env: Env) -> Node | None:
    """The resource a Reference, canonical or uri points at: contained, or in the surrounding Bundle."""
    target = _address(node)
    if not target:
        return None
    if env.resolve is not None:
        found: Any = env.resolve(target)
    else:
        found = _contained(target, env) if target[0] == "#" else _entry(target, env)
    type_ = resource_type(found)
    return None if type_ is None else Node(found, type_)


def _address(node: Node) -> str:
    value = node.value.get("reference") if isinstance(node.value, dict) else node.value
    return value if isinstance(value, str) else ""


def _contained(target: str, env: Env) -> Any:
    container = env.root_resource or env.resource
    if target == "#":
        return container
    holder = env.container or env
    if holder.contained is None:
        holder.contained = _contained_by_id(container)
    return holder.contained.get(target[1:])


def _contained_by_id(container: Json) -> dict[str, Any]:
    contained = container.get("contained")
    known: dict[str, Any] = {}
    for resource in contained if isinstance(contained, list) else ():
        if isinstance(resource, dict) and isinstance(resource.get("id"), str):
            known.setdefault(resource["id"], resource)
    return known


def _entry(target: str, env: Env) -> Any:
    holder = env.around or env
    if holder.entries is None:
        holder.entries = _entries(holder.resource if env.around else env.bundle or env.resource)
    return holder.entries.get(target.partition("/_history/")[0])


def _entries(bundle: Json) -> dict[str, Any]:
    """The resources of a Bundle by full URL and by "Type/id"."""
    entries = bundle.get("entry") if bundle.get("resourceType") == "Bundle" else None
    known: dict[str, Any] = {}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        url, resource = entry.get("fullUrl"), entry.get("resource")
        if isinstance(url, str):
            known.setdefault(url, resource)
            if relative := _TYPE_AND_ID.search(url):
                known.setdefault(relative[0].lstrip("/"), resource)
        if isinstance(resource, dict):
            known.setdefault(f"{resource.get('resourceType')}/{resource.get('id')}", resource)
    return known


def target_type(node: Node, env: Env) -> Type | None:
    """The resource type a reference points at: from the target if we have it, otherwise from the text."""
    target = resolved(node, env)
    if target is not None:
        return target.type
    match = _TYPE_AND_ID.search(_address(node))
    if match and definitions.is_resource_type(match[1]):
        return type_named(match[1])
    told = node.value.get("type") if isinstance(node.value, dict) else None
    return type_named(told) if isinstance(told, str) and definitions.is_resource_type(told) else None


def target_is(of: Compiled, name: str) -> Compiled:
    """`resolve() is Name`, decided without fetching."""

    def test(scope: Scope) -> Nodes:
        node = one(of(scope))
        type_ = None if node is None else target_type(node, scope.env)
        return EMPTY if type_ is None else truth(name in type_.ancestors)

    return test


def value_target_is(value: Any, env: Env, name: str) -> bool | None:
    """The same, for the JSON of one Reference."""
    type_ = target_type(Node(value, type_named("Reference")), env)
    return None if type_ is None else name in type_.ancestors
