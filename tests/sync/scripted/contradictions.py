"""What servers do that contradicts what they say of themselves, or the standard; each with a public source.

A contradiction answers in place of the script and may ask it for the honest answer. `ends` says what has to
hold: "equal", the store ends as with an honest server; "told", the fault is told, and nothing is claimed. The
cases themselves are in `hospitals` and `servers`, which register them in ALL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.sync.scripted.ehr import Answer, Ask, Reply, ScriptedEhr


@dataclass(frozen=True)
class Contradiction:
    """One case.

    vendor_file: the text of a vendor file of the site's own, if it needs one
    told:        what a report says of it
    averted:     we ask so that the server does not do it
    """

    vendor: str
    name: str
    source: str
    ends: Literal["equal", "told"]
    make: Callable[[], Answer]
    signed_in: bool = False
    vendor_file: str = ""
    told: str = ""
    averted: bool = False


ALL: list[Contradiction] = []


def contradicts(
    vendor: str, source: str, ends: Literal["equal", "told"], **more: Any
) -> Callable[[Callable[[], Answer]], Callable[[], Answer]]:
    """Register a function that makes the answers of one server; its name is the name of the case."""

    def register(make: Callable[[], Answer]) -> Callable[[], Answer]:
        name = make.__name__.replace("_", "-")
        ALL.append(Contradiction(vendor, name, source, ends, make, **more))
        return make

    return register


@dataclass
class Times:
    """Says True the first so many times, for each key by itself."""

    limit: int
    seen: Counter[str] = field(default_factory=Counter)

    def __call__(self, key: str = "") -> bool:
        self.seen[key] += 1
        return self.seen[key] <= self.limit


def entries(reply: Reply) -> list[dict[str, Any]]:
    return list(reply.data.get("entry", [])) if reply.data else []


def is_search(ask: Ask) -> bool:
    return bool(ask.type) and not ask.id and not ask.is_history


def without_total(where: Callable[[Ask], bool]) -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if entries(reply) and where(ask):
            del reply.data["total"]
        return reply

    return answer


def refused(type: str, reply: Reply) -> Answer:
    return lambda ehr, ask: reply if is_search(ask) and ask.type == type else ehr.honest(ask)


def without_next(reply: Reply) -> Reply:
    reply.data["link"] = [link for link in reply.data["link"] if link["relation"] != "next"]
    return reply


def has_next(reply: Reply) -> bool:
    return any(link["relation"] == "next" for link in reply.data.get("link", []))
