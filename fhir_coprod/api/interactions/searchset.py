"""Builds response Bundles, such as searchset and history. Resources go in as their stored bytes."""

from __future__ import annotations

from collections.abc import Container, Sequence
from urllib.parse import quote, urlencode

import msgspec

from fhir_coprod import jsontext
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call, Pairs
from fhir_coprod.api.interactions import subset
from fhir_coprod.instants import last_updated
from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Page, Query, Version
from fhir_coprod.store.repository import Past


def link(relation: str, base: str, path: str, query: Pairs) -> Json:
    """A Bundle.link with an absolute URL."""
    address = f"{base}/{path}".rstrip("/")
    return {
        "relation": relation,
        "url": f"{address}?{urlencode(query, quote_via=quote)}" if query else address,
    }


def searchset(call: Call, query: Query, page: Page) -> Answer:
    """A page of a search: matches, then included resources, then what else the caller should know."""
    used = tuple(query.self_pairs())
    wanted = tuple(pair for pair in used if pair[0] in subset.PARAMETERS)
    here = (*used, ("_cursor", query.cursor)) if query.cursor else used
    links = [link("self", call.base, call.path, here)]
    if page.next is not None:
        links.append(link("next", call.base, call.path, (*used, ("_cursor", page.next))))
    entries = [_found(call.base, version, "match", wanted) for version in page.matches]
    # R4 asks so for _elements (3.1.1.5.9); a summary would empty just what was asked for beside it.
    entries += [_found(call.base, version, "include", ()) for version in page.included]
    entries += ignored(query.ignored)
    shown = (*page.matches, *page.included)
    return bundle("searchset", links, entries, total=page.total, shown=shown)


def _found(base: str, version: Version, mode: str, wanted: Pairs) -> Json:
    return {
        "fullUrl": f"{base}/{version.type}/{version.id}",
        "resource": msgspec.Raw(subset.cut(version.body, wanted)),
        "search": {"mode": mode},
    }


def ignored(sentences: Sequence[str]) -> list[Json]:
    """An entry that says which parameters were not used; none if all were."""
    issues = tuple(Issue("warning", "not-supported", f"Ignored: {sentence}") for sentence in sentences)
    told = Outcome(issues).to_fhir()
    return [{"resource": told, "search": {"mode": "outcome"}}] if issues else []


def history(call: Call, used: Pairs, page: Past) -> Answer:
    """Versions with the request that made each, the newest first; `used` is the query of the links."""
    versions = page.versions
    path = f"{call.path}/_history".lstrip("/")
    links = [link("self", call.base, path, used)]
    if page.after is not None:
        following = tuple(pair for pair in used if pair[0] != "_cursor")
        links.append(link("next", call.base, path, (*following, ("_cursor", str(page.after)))))
    entries = [_past(call, version, page.revived) for version in versions]
    return bundle("history", links, entries, shown=versions)


_VERBS = {"create": "POST", "update": "PUT", "delete": "DELETE"}


def _past(call: Call, version: Version, revived: Container[int]) -> Json:
    address = version.type if version.method == "create" else f"{version.type}/{version.id}"
    entry: Json = {"fullUrl": f"{call.base}/{version.type}/{version.id}"}
    if not version.deleted:
        entry["resource"] = msgspec.Raw(subset.cut(version.body, call.query))
    entry["request"] = {"method": _VERBS[version.method], "url": address}
    entry["response"] = {
        "status": _status(version, revived),
        "etag": f'W/"{version.version}"',
        "lastModified": last_updated(version.updated),
    }
    return entry


def _status(version: Version, revived: Container[int]) -> str:
    """That of the answer which the request got: 201 where nothing was before, or only a deletion."""
    if version.deleted:
        return "204 No Content"
    return "201 Created" if version.version == 1 or version.position in revived else "200 OK"


def response_entry(answer: Answer, reason: str, *, with_body: bool) -> Json:
    """One entry of a batch-response or transaction-response."""
    response: Json = {"status": f"{answer.status} {reason}"}
    for name in ("location", "content-location"):
        if name in answer.headers:
            response["location"] = answer.headers[name]
    if answer.version:
        response["etag"] = answer.etag
        response["lastModified"] = last_updated(answer.version.updated)
    entry: Json = {"response": response}
    if answer.outcome is not None:
        response["outcome"] = answer.outcome.to_fhir()
    elif with_body and answer.body:
        entry["resource"] = msgspec.Raw(answer.body)
    return entry


def bundle(
    type: str,
    links: list[Json],
    entries: list[Json],
    *,
    total: int | None = None,
    shown: Sequence[Version] = (),
) -> Answer:
    """A Bundle; without entries the element is left out, as FHIR requires. `shown`: what is in it."""
    resource: Json = {"resourceType": "Bundle", "type": type}
    if total is not None:
        resource["total"] = total
    if links:
        resource["link"] = links
    if entries:
        resource["entry"] = entries
    return Answer(200, jsontext.encode(resource), shown=shown)
