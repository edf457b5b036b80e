"""What is read together around a portion of referrals, before each of them is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fhir_coprod.jsontext import Json
from fhir_coprod.watch.facts.newest import Row


@dataclass(frozen=True, slots=True)
class Portion:
    """What was found around the referrals that are read together."""

    related: Mapping[int, list[Row]]
    """By the referral's key: what may belong to it."""
    families: Mapping[int, list[Row]]
    """By the referral's key: the other orders of its patient that it may depend on."""
    above: Mapping[int, list[Row]]
    """By the referral's key: the referrals that it is based on, with what belongs to them."""
    people: Mapping[str, Row]
    wishes: Mapping[str, list[Row]]
    """By patient, as the two below: what they and others asked for about messages."""
    proxies: Mapping[str, list[str]]
    """Their active relatives."""
    strays: Mapping[str, list[Row]]
    """Records that name what they belong to in a form that cannot be read."""
    asked: Mapping[str, list[Json]]
    """By an order of a family: the owners of its Tasks."""
    older: Mapping[str, list[tuple[datetime, Json]]]
    """Every version of what has more than one."""
