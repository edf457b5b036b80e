"""Searches for two servers at once: each type of parameter, its modifiers and prefixes, alone and combined.

The same seed gives the same searches. Values come from the pools that the records are made of, and some from
nowhere, so that most searches find something and some nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tests.api import twin_records as pool
from tests.api.twin_values import (
    CHAINS,
    DATES,
    HAS,
    INCLUDES,
    NUMBERS,
    PAIRS,
    PREFIXES,
    PROBABILITIES,
    REFERENCES,
    SORTS,
    STRINGS,
    TEXTS,
    TOKENS,
    URIS,
    WHEN,
)


@dataclass(frozen=True)
class TwinQuery:
    """One search. family: what it is a case of, such as "token:not" or "date ge"."""

    family: str
    type: str
    pairs: tuple[tuple[str, str], ...]

    @property
    def url(self) -> str:
        return f"{self.type}?{urlencode(self.pairs, quote_via=quote)}"

    @property
    def counts_only(self) -> bool:
        return ("_summary", "count") in self.pairs

    @property
    def wants_total(self) -> bool:
        return self.counts_only or ("_total", "accurate") in self.pairs

    def in_full(self) -> TwinQuery:
        """The same search for the resources themselves."""
        pairs = tuple(pair for pair in self.pairs if pair != ("_summary", "count"))
        return TwinQuery(self.family, self.type, pairs)

    def on_large_pages(self) -> TwinQuery:
        """The same search without a size of pages that it asks for."""
        return TwinQuery(self.family, self.type, tuple(pair for pair in self.pairs if pair[0] != "_count"))


def queries(size: int, seed: int = 1) -> list[TwinQuery]:
    """`size` searches, no two alike."""
    made: dict[str, TwinQuery] = {}
    chance = random.Random(seed)
    makers = _Maker(chance)
    while len(made) < size:
        query = makers.one()
        made.setdefault(query.url, query)
    return list(made.values())


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.kinds: tuple[tuple[Callable[[str | None], TwinQuery], int], ...] = (
            (self._token, 5),
            (self._string, 4),
            (self._date, 5),
            (self._number, 1),
            (self._quantity, 4),
            (self._reference, 4),
            (self._uri, 1),
            (self._near, 1),
            (self._pair, 1),
            (self._chain, 4),
            (self._has, 3),
        )

    def one(self) -> TwinQuery:
        draw = self.chance.random()
        if draw < 0.3:
            return self._plain(None)
        if draw < 0.75:
            return self._both()
        if draw < 0.85:
            return self._included()
        return self._cut()

    def _plain(self, type: str | None) -> TwinQuery:
        makers, weights = zip(*self.kinds, strict=True)
        while True:
            query: TwinQuery = self.chance.choices(makers, weights)[0](type)
            if query.pairs:
                return query

    def _of(self, table: Mapping[str, object], type: str | None) -> str:
        """A type of the table, or the one wanted if the table has it; "" otherwise."""
        if type is None:
            return self.chance.choice(sorted(table))
        return type if type in table else ""

    def _values(self, values: tuple[str, ...]) -> str:
        """One value, or several after commas."""
        most = 1 if self.chance.random() < 0.75 else min(3, len(values))
        return ",".join(self.chance.sample(values, self.chance.randint(1, most)))

    def _missing(self, type: str, code: str) -> TwinQuery:
        return TwinQuery(":missing", type, ((f"{code}:missing", self.chance.choice(("true", "false"))),))

    # ------------------------------------------------------------------------------- one of each type

    def _token(self, type: str | None) -> TwinQuery:
        type = self._of(TOKENS, type)
        if not type:
            return TwinQuery("", "", ())
        draw = self.chance.random()
        if draw < 0.12 and type in TEXTS:
            text = self.chance.choice(("heart", "Pulse", "referral", "said", "only words", "magnetic"))
            return TwinQuery("token:text", type, ((f"{TEXTS[type]}:text", text),))
        if draw < 0.18 and type == "Patient":
            value = self.chance.choice((f"{pool.V2}|MR|7", rf"{pool.V2}|SS|A\,1\|x", f"{pool.V2}|MR|nobody"))
            return TwinQuery("token:of-type", type, (("identifier:of-type", value),))
        code = self.chance.choice(sorted(TOKENS[type]))
        if draw < 0.28 and not code.startswith("_"):
            return self._missing(type, code)
        value = self._values(TOKENS[type][code])
        if draw < 0.45 and code != "_id":
            return TwinQuery("token:not", type, ((f"{code}:not", value),))
        return TwinQuery("token", type, ((code, value),))

    def _string(self, type: str | None) -> TwinQuery:
        type = self._of(STRINGS, type)
        if not type:
            return TwinQuery("", "", ())
        code = self.chance.choice(sorted(STRINGS[type]))
        values = tuple(value.replace(",", "\\,") for value in STRINGS[type][code])
        modifier = self.chance.choice(("", "", "", ":exact", ":contains", ":missing"))
        if modifier == ":missing":
            return self._missing(type, code)
        return TwinQuery(f"string{modifier}", type, ((f"{code}{modifier}", self._values(values)),))

    def _date(self, type: str | None) -> TwinQuery:
        type = self._of(DATES, type)
        if not type:
            return TwinQuery("", "", ())
        code = self.chance.choice(DATES[type])
        if self.chance.random() < 0.06:
            return self._missing(type, code)
        prefix = self.chance.choice(PREFIXES)
        if self.chance.random() < 0.15:
            pairs = ((code, f"ge{self.chance.choice(WHEN)}"), (code, f"lt{self.chance.choice(WHEN)}"))
            return TwinQuery("date from-until", type, pairs)
        # HAPI takes no two dates after a comma, and no ap: seldom, since nothing is compared then.
        if prefix == "ap" and self.chance.random() < 0.7:
            prefix = "ge"
        most = 2 if self.chance.random() < 0.05 else 1
        value = ",".join(prefix + when for when in self.chance.sample(WHEN, most))
        return TwinQuery(f"date {prefix}".strip(), type, ((code, value),))

    def _prefix(self) -> str:
        """Of a number. HAPI has no sa and eb there: seldom, since nothing is compared then."""
        prefix = self.chance.choice(PREFIXES)
        return "ge" if prefix in ("sa", "eb") and self.chance.random() < 0.8 else prefix

    def _number(self, type: str | None) -> TwinQuery:
        if type not in (None, "RiskAssessment"):
            return TwinQuery("", "", ())
        prefix = self._prefix()
        value = prefix + self.chance.choice(PROBABILITIES)
        return TwinQuery(f"number {prefix}".strip(), "RiskAssessment", (("probability", value),))

    def _quantity(self, type: str | None) -> TwinQuery:
        if type not in (None, "Observation"):
            return TwinQuery("", "", ())
        prefix = self._prefix()
        unit = self.chance.choice(
            ("", "", f"|{pool.UCUM}|mg", "||mg", f"|{pool.UCUM}|g", "||tablets", f"|{pool.UCUM}|")
        )
        code = self.chance.choice(
            ("value-quantity", "value-quantity", "component-value-quantity", "combo-value-quantity")
        )
        value = f"{prefix}{self.chance.choice(NUMBERS)}{unit}"
        return TwinQuery(f"quantity {prefix}".strip(), "Observation", ((code, value),))

    def _reference(self, type: str | None) -> TwinQuery:
        type = self._of(REFERENCES, type)
        if not type:
            return TwinQuery("", "", ())
        code = self.chance.choice(sorted(REFERENCES[type]))
        draw = self.chance.random()
        if draw < 0.1:
            return self._missing(type, code)
        if draw < 0.13 and code in ("subject", "patient"):
            value = f"urn:mrn|{self.chance.randrange(60)}"
            return TwinQuery("reference:identifier", type, ((f"{code}:identifier", value),))
        if draw < 0.35 and code == "subject":
            value = self.chance.choice(("pati-1", "pati-2", "pati-5"))
            return TwinQuery("reference:Type", type, (("subject:Patient", value),))
        return TwinQuery("reference", type, ((code, self._values(REFERENCES[type][code])),))

    def _uri(self, type: str | None) -> TwinQuery:
        type = self._of(URIS, type)
        if not type:
            return TwinQuery("", "", ())
        return TwinQuery("uri", type, ((URIS[type], self._values((*pool.URIS, "http://x.example/vs"))),))

    def _near(self, type: str | None) -> TwinQuery:
        if type not in (None, "Location"):
            return TwinQuery("", "", ())
        where = self.chance.choice(("59.35|18.03|5|km", "59.35|18.03|0.5|km", "57.7|18.03|10|km", "0|0|1|km"))
        return TwinQuery("special near", "Location", (("near", where),))

    def _pair(self, type: str | None) -> TwinQuery:
        if type not in (None, "Observation"):
            return TwinQuery("", "", ())
        code = self.chance.choice(sorted(PAIRS))
        return TwinQuery("composite", "Observation", ((code, self.chance.choice(PAIRS[code])),))

    def _chain(self, type: str | None) -> TwinQuery:
        type = self._of(CHAINS, type)
        return (
            TwinQuery("chain", type, (self.chance.choice(CHAINS[type]),)) if type else TwinQuery("", "", ())
        )

    def _has(self, type: str | None) -> TwinQuery:
        type = self._of(HAS, type)
        return TwinQuery("_has", type, (self.chance.choice(HAS[type]),)) if type else TwinQuery("", "", ())

    # ------------------------------------------------------------------------------------- combinations

    def _both(self) -> TwinQuery:
        first = self._plain(None)
        second = self._plain(first.type)
        while any(kind in first.family and kind in second.family for kind in ("date", "quantity")):
            # HAPI takes no two free conditions on one date, and for two quantities it looks for minutes.
            second = self._plain(first.type)
        return TwinQuery(f"{first.family} & {second.family}", first.type, (*first.pairs, *second.pairs))

    def _included(self) -> TwinQuery:
        type = self.chance.choice(sorted(INCLUDES))
        base = self._plain(type)
        includes = self.chance.sample(INCLUDES[type], self.chance.choice((1, 1, 2)))
        return TwinQuery(f"{base.family} & include", type, (*base.pairs, *includes))

    def _cut(self) -> TwinQuery:
        """Sorted, paged, counted."""
        type = self.chance.choice(sorted(SORTS))
        base = self._plain(type)
        draw = self.chance.random()
        if draw < 0.6:
            pairs: tuple[tuple[str, str], ...] = (*base.pairs, ("_sort", self.chance.choice(SORTS[type])))
            pairs += (("_count", self.chance.choice(("60", "170"))),) if self.chance.random() < 0.4 else ()
            return TwinQuery(f"{base.family} & sort", type, pairs)
        if draw < 0.75:
            return TwinQuery(
                f"{base.family} & total", type, (*base.pairs, ("_total", "accurate"), ("_count", "50"))
            )
        if draw < 0.9:
            return TwinQuery(f"{base.family} & count", type, (*base.pairs, ("_summary", "count")))
        return TwinQuery(f"{base.family} & pages", type, (*base.pairs, ("_count", "80")))
