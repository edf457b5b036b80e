"""Two FHIR servers asked the same, and what each of them found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from fhir_coprod import jsontext
from tests.api.twin_queries import TwinQuery

Json = dict[str, Any]

MAX_PAGES = 400
NO_ANSWER = "no answer within two minutes"


@dataclass
class Found:
    """What a server answered to one search, all pages of it.

    status: of the first page that was not 200, else 200
    matches, included: Type/id, in the order they came; one that came twice stands twice
    total: of the first page
    """

    status: int = 200
    matches: list[str] = field(default_factory=list)
    included: list[str] = field(default_factory=list)
    total: int | None = None
    said: str = ""


class Twin:
    """One of the two, at its FHIR base address."""

    def __init__(self, base: str) -> None:
        self.base = base
        # HAPI answers from a cache of searches unless it is told not to.
        headers = {"cache-control": "no-cache", "content-type": "application/fhir+json"}
        self.http = httpx.Client(timeout=120, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def load(self, records: Sequence[Json], at_once: int = 250) -> None:
        """Store the records under their own ids."""
        for start in range(0, len(records), at_once):
            entries = [
                {
                    "resource": each,
                    "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"},
                }
                for each in records[start : start + at_once]
            ]
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            answer = self.http.post(self.base, content=jsontext.encode(bundle))
            assert answer.status_code == 200, answer.text[:3000]

    def search(self, query: TwinQuery) -> Found:
        found = Found()
        url: str | None = f"{self.base}/{query.url}"
        if not any(name in ("_count", "_summary") for name, _ in query.pairs):
            url += "&_count=1000"
        for _ in range(MAX_PAGES):
            try:
                answer = self.http.get(url)
            except httpx.ReadTimeout:
                found.status, found.said = 504, NO_ANSWER
                return found
            page = answer.json()
            if answer.status_code != 200:
                found.status, found.said = answer.status_code, page["issue"][0].get("diagnostics", "")
                return found
            if found.total is None:
                found.total = page.get("total")
            for entry in page.get("entry", ()):
                key = f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
                mode = entry["search"]["mode"]
                {"match": found.matches, "include": found.included}.get(mode, []).append(key)
            url = next((link["url"] for link in page.get("link", ()) if link["relation"] == "next"), None)
            if url is None:
                return found
        raise AssertionError(f"{query.url}: more than {MAX_PAGES} pages")
