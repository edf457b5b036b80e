"""Reads the part of a policy that tells referrals from other orders (`[[scope]]` and `[orders]`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from fhir_coprod.errors import ConfigError
from fhir_coprod.watch.record.parties import Between
from fhir_coprod.watch.record.words import Word

CODE_LISTS = ("referral", "consultation", "laboratory", "examination")
"""Lists of codes that rows of the table of scopes name."""
_SCOPES = ("referral", "diagnostic", "out", "unclear")
_KNOWN = ("by_patient", "asked", "visit")
ROW_KEYS = frozenset({"scope", "reason", "intents", "codes", "says", "profiles", "parties", *_KNOWN})
ALERT_KEYS = frozenset({"diagnostic_alerts_for", "jump", "least"})


@dataclass(frozen=True)
class ScopeRow:
    """One row of the table that tells referrals from other orders; all that it names must be so."""

    scope: str
    """referral, diagnostic, out or unclear."""
    reason: str
    """In words that can follow "because"."""
    intents: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    """Codes of the order, its category or its performerType; one of them, of what it says or of the profiles
    is enough."""
    says: frozenset[str] = frozenset()
    """What its code or category means, in the words of the mapping files (`record/words.py`)."""
    profiles: frozenset[str] = frozenset()
    parties: frozenset[str] = frozenset()
    """What requester and performer are to each other: `record/parties.py`."""
    known: tuple[tuple[str, bool], ...] = ()
    """by_patient: a patient or relative asks. asked: a Task asks somebody of another department, or
    anybody. visit: an Appointment or an Encounter belongs to it."""


@dataclass(frozen=True)
class ScopeAlerts:
    """When somebody is alerted about orders that are no referrals."""

    diagnostic_for: frozenset[str]
    """Departments that want alerts about results that are missing or not reviewed; "*": all."""
    jump: float
    """An alert if the share of orders that are not watched as referrals grows by this much in a week."""
    least: int
    """Fewer orders than this say nothing about a share."""


def scope_row(row: Mapping[str, Any], codes: Mapping[str, Sequence[str]]) -> ScopeRow:
    """A row of the table; `codes` are the lists that it may name. Raises ConfigError."""
    lists = [one_of(name, *CODE_LISTS) for name in row.get("codes", ()) if name in CODE_LISTS]
    single = [name for name in row.get("codes", ()) if name not in CODE_LISTS]
    known = tuple((name, row[name]) for name in _KNOWN if name in row)
    if any(not isinstance(wanted, bool) for _, wanted in known):
        raise ConfigError(f"{', '.join(_KNOWN)} of a scope are true or false, without quotes.")
    return ScopeRow(
        scope=one_of(row["scope"], *_SCOPES),
        reason=str(row["reason"]),
        intents=frozenset(row.get("intents", ())),
        codes=frozenset(single).union(*(codes[name] for name in lists)),
        says=frozenset(one_of(word, *get_args(Word)) for word in row.get("says", ())),
        profiles=frozenset(row.get("profiles", ())),
        parties=frozenset(one_of(name, *Between) for name in row.get("parties", ())),
        known=known,
    )


def scope_alerts(table: Mapping[str, Any]) -> ScopeAlerts:
    """The table `[orders]`. Raises ConfigError."""
    jump = share_of(table["jump"], "orders.jump")
    return ScopeAlerts(frozenset(table["diagnostic_alerts_for"]), jump, int(table["least"]))


def share_of(value: Any, name: str) -> float:
    """A share above 0 and at most 1. Raises ConfigError."""
    share = float(value)
    if not 0 < share <= 1:
        raise ConfigError(f"{name} = {share:g} is not a share above 0 and at most 1; write 0.2.")
    return share


def one_of(value: str, *allowed: str) -> Any:
    """The value if it is allowed. Raises ConfigError."""
    if value not in allowed:
        raise ConfigError(f"{value!r} is not one of {', '.join(allowed)}.")
    return value
