"""Translates the codes of guides and sites into the words of the watch: booked, no-show, cancelled by whom.

The files are mappings/words/GUIDE.toml; a site adds its own, named in `watch.words`. Each says, by code
system, what a code means:

    title = "Our booking system"

    [systems."https://hospital.example/booking-state"]
    B = "booked"
    W = "waiting-list"

    [texts]                       # for concepts that have no code; case and spaces do not matter
    "on the waiting list" = "waiting-list"

    [openings]                    # for orders: how a text, or the display of a code, begins
    "wound care referral" = "referral"

A code that no file knows means nothing: it is shown as an unknown state, and nothing is guessed from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from fhir_coprod import mappings
from fhir_coprod.errors import ConfigError
from fhir_coprod.jsontext import Json
from fhir_coprod.mappings import Finding

Word = Literal[
    # what became of a Task
    "known",
    "booked",
    "waiting-list",
    "awaiting-booking",
    "no-show",
    "visit-cancelled",
    "seen",
    "done",
    "interim",
    "advice",
    "forwarded",
    "awaiting-information",
    "cancellation-requested",
    "cancelled-by-patient",
    "cancelled-by-requester",
    "cancelled-by-department",
    "no-choice",
    # what a Task asks for
    "asks",
    "asks-to-cancel",
    "asks-otherwise",
    "tells-patient",
    # what a message or a document is
    "result",
    "receipt",
    "question",
    "answer",
    "referral-note",
    # what an order is
    "referral",
    # what was agreed
    "do-not-contact",
]
"""What a code can mean to the watch; docs/watch.md says what follows from each."""

BARE: Final[Mapping[str, Word]] = {
    "fulfill": "asks",
    "process-request": "asks",
    "perform-request": "asks",
    "abort": "asks-to-cancel",
    "approve": "asks-otherwise",
    "replace": "asks-otherwise",
    "suspend": "asks-otherwise",
    "resume": "asks-otherwise",
    "advice": "advice",
    "do-not-contact": "do-not-contact",
    "contacting-subject-prohibited": "do-not-contact",
}
"""Codes that mean the same in whatever system they are written, since many records leave the system out or
name one of their own."""


class Guide(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of one file."""

    title: str = ""
    systems: dict[str, dict[str, Word]] = {}
    texts: dict[str, Word] = {}
    openings: dict[str, Word] = {}


@dataclass(frozen=True)
class Words:
    """What codes mean, at one site."""

    codes: Mapping[str, Word] = field(default_factory=dict)
    """By `system|code`."""
    texts: Mapping[str, Word] = field(default_factory=dict)
    """By `folded` text."""
    openings: Mapping[str, Word] = field(default_factory=dict)
    """By the `folded` words with which the name of an order begins."""

    @cached_property
    def _openings(self) -> tuple[str, ...]:
        return tuple(self.openings)

    @cached_property
    def fingerprint(self) -> bytes:
        """A hash that changes with any meaning: facts that were read with others have to be read again."""
        known = (self.codes, self.texts, self.openings)
        told = repr([sorted(meanings.items()) for meanings in known])
        return blake2b(told.encode(), digest_size=8).digest()

    def of(self, *concepts: Json | None) -> tuple[Word, ...]:
        """What these CodeableConcepts mean, once each, in order; empty if no file knows them."""
        found: dict[Word, None] = {}
        for concept in concepts:
            if not isinstance(concept, dict):
                continue
            codings = concept.get("coding")
            for code in _codes(codings):
                word = self.codes.get(code) or BARE.get(code.rpartition("|")[2])
                if word:
                    found[word] = None
            if not codings and self.texts and isinstance(concept.get("text"), str):
                word = self.texts.get(folded(concept["text"]))
                if word:
                    found[word] = None
        return tuple(found)

    def of_order(self, *concepts: Json | None) -> tuple[Word, ...]:
        """What the code and the categories of an order mean, also by the words with which their texts and
        displays begin: few EHRs code more of an order than its name."""
        found = dict.fromkeys(self.of(*concepts))
        for concept in concepts:
            for name in _named(concept):
                begun = folded(name)
                if not begun.startswith(self._openings):
                    continue
                for opening, word in self.openings.items():
                    if begun.startswith(opening) and not begun[len(opening) : len(opening) + 1].isalnum():
                        found[word] = None
        return tuple(found)

    def unknown(self, concept: Json | None) -> tuple[str, ...]:
        """The codes of a CodeableConcept, if none of them has a meaning."""
        codings = concept.get("coding") if isinstance(concept, dict) else None
        return () if not codings or self.of(concept) else tuple(_codes(codings))


def _codes(codings: Any) -> Iterator[str]:
    for coding in codings if isinstance(codings, list) else ():
        if isinstance(coding, dict) and coding.get("code"):
            yield f"{coding.get('system', '')}|{coding['code']}"


def _named(concept: Any) -> Iterator[str]:
    """The text of a CodeableConcept, and the displays of its codes."""
    if not isinstance(concept, dict):
        return
    codings = concept.get("coding")
    displays = [one.get("display") for one in codings if isinstance(one, dict)] if codings else []
    for name in (concept.get("text"), *displays):
        if isinstance(name, str):
            yield name


def folded(text: str) -> str:
    """A text without regard to case and space."""
    return " ".join(text.casefold().split())


def read(text: bytes, file: str) -> Guide:
    """The content of a file. Raises Mistakes, a ConfigError, with every mistake in it."""
    return mappings.read(text, file, Guide, mistakes)


def mistakes(guide: Guide) -> Iterator[Finding]:
    """Code systems that are no URIs, systems without codes, texts and openings that say the same twice."""
    for system, codes in guide.systems.items():
        if ":" not in system:
            yield ("systems", system), "a code system is named by its URI, such as https://… or urn:oid:…"
        if not codes:
            yield ("systems", system), 'has no code; write code = "booked", or remove it.'
    for table, texts in (("texts", guide.texts), ("openings", guide.openings)):
        seen: set[str] = set()
        for text in texts:
            if not folded(text):
                yield (table, text), "is empty; write the words, or remove it."
            if folded(text) in seen:
                yield (table, text), "says the same as another one but for case and space; keep one."
            seen.add(folded(text))


def names() -> tuple[str, ...]:
    """The guides that come with the package, sorted."""
    return tuple(sorted(_bundled()))


@cache
def load(files: tuple[Path, ...] = ()) -> Words:
    """What the codes of all guides mean, and those of a site's own files, which win over ours.

    Raises ConfigError if a file cannot be read or is not such a file.
    """
    codes: dict[str, Word] = {}
    texts: dict[str, Word] = {}
    openings: dict[str, Word] = {}
    for guide in (*_bundled().values(), *(_own(file) for file in files)):
        for system, held in guide.systems.items():
            codes |= {f"{system}|{code}": word for code, word in held.items()}
        texts |= {folded(text): word for text, word in guide.texts.items()}
        openings |= {folded(text): word for text, word in guide.openings.items()}
    return Words(codes, texts, openings)


def _own(file: Path) -> Guide:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"watch.words {file}: cannot be read ({error.strerror}).") from None
    return read(content, str(file))


@cache
def _bundled() -> Mapping[str, Guide]:
    return mappings.compiled("words", dict[str, Guide])


def claimed(guides: Mapping[str, Guide]) -> Collection[tuple[str, str]]:
    """Each (guide, code system) that an earlier guide claims, too: nobody could say which one is used."""
    seen: set[str] = set()
    twice = []
    for name, guide in guides.items():
        twice += [(name, system) for system in guide.systems if system in seen]
        seen |= guide.systems.keys()
    return twice
