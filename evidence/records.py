"""The records of one simulated patient as they reached us, and the facts of each referral in them.

The store's reader finds what belongs to a referral by its index; here the same is found in memory. What the
watch itself knows how to do (compose facts, leave out what cannot be read) is the watch's own code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from fhir_coprod import validate, watched
from fhir_coprod.alike import is_proposal, thing
from fhir_coprod.jsontext import Json
from fhir_coprod.simulate.hospital import ALL, BY_NAME
from fhir_coprod.simulate.noise import Delivery, Feeds
from fhir_coprod.store import index
from fhir_coprod.watch.facts.newest import Row, as_read, lost
from fhir_coprod.watch.facts.visibility import NOT_TAKEN_IN, unreadable_around
from fhir_coprod.watch.record.around import Held, Surroundings
from fhir_coprod.watch.record.compose import compose
from fhir_coprod.watch.record.fhir import is_asking, target, targets
from fhir_coprod.watch.record.model import Blind, Facts
from fhir_coprod.watch.record.tasks import asks
from fhir_coprod.watch.rules.codes import NEEDED

_DEAD: Final = frozenset({"rejected", "cancelled", "failed", "entered-in-error", "draft"})
_STRAYS: Final = frozenset(index.number(*pair) for pair in watched.STRAYS)
_OF_PATIENT: Final = frozenset({"Patient", "RelatedPerson", "CommunicationRequest"})


class Patient:
    """What has reached us about one patient so far."""

    def __init__(
        self, feeds: Feeds, around: Surroundings, behind_after: timedelta, *, refuse: bool = False
    ) -> None:
        """refuse: take in no invalid record (`on_invalid = "refuse"`)."""
        self.feeds = feeds
        self.around = around
        self.behind_after = behind_after
        self.refuse = refuse
        self.held: dict[str, Held] = {}
        self.ehr: dict[str, str] = {}
        self._home: dict[str, str] = {}
        self._at_home: defaultdict[str, list[str]] = defaultdict(list)
        """The records of each referral, without ServiceRequests."""
        self._links: dict[str, set[str]] = {}
        self._kin: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """ServiceRequests by what they ask for, and by what they name."""
        self._lost: dict[str, tuple[str, ...]] = {}
        """What cannot be read of the newest version of a record, if anything."""
        self._strays: dict[str, None] = {}
        """Records that name what they belong to in a form that cannot be read."""
        self._unread: dict[str, Blind] = {}
        """Records whose newest version could not be taken in."""
        self._roots: defaultdict[str, list[str]] = defaultdict(list)
        """The referrals of each home: two, where one was registered twice."""

    @property
    def referrals(self) -> Iterator[str]:
        """Every ServiceRequest, and every message by which the patient asks for one."""
        for names in self._roots.values():
            yield from names

    # -- what arrives ----------------------------------------------------------------------------------

    def take(self, delivery: Delivery) -> Iterable[str]:
        """Take in what arrived; returns the referrals that it may concern."""
        name = f"{delivery.data['resourceType']}/{delivery.data['id']}"
        if delivery.fault and not self._is_taken(delivery):
            if name not in self.held:
                return ()  # nobody here knows that there is such a record
            self._unread[name] = Blind(
                delivery.data["resourceType"],
                delivery.ehr,
                since=delivery.at,
                reason=NOT_TAKEN_IN,
                record=name,
            )
            return self._concerned(name)
        self._unread.pop(name, None)
        data: Json = delivery.data
        gone: tuple[str, ...] = ()
        self._strays.pop(name, None)
        if delivery.fault:
            type = data["resourceType"]
            data, unreadable = as_read(data)
            gone = lost(type, data, unreadable)
            if any(row[0] in _STRAYS for row in index.unreadable_links(type, data, unreadable)):
                self._strays[name] = None
        was_lost = name in self._lost
        self._keep(name, delivery, data, gone)
        return self._concerned(name, was_lost=was_lost)

    def _is_taken(self, delivery: Delivery) -> bool:
        """Whether a record with a fault is taken in."""
        return delivery.fault != "unreadable" and not (self.refuse and not validate(delivery.data))

    def _keep(self, name: str, delivery: Delivery, data: Json, gone: tuple[str, ...]) -> None:
        versions: tuple[tuple[datetime, Json], ...] = ()
        was = self.held.get(name)
        if was is None:
            self._home[name], self.ehr[name] = delivery.referral, delivery.ehr
            if data["resourceType"] != "ServiceRequest":
                self._at_home[delivery.referral].append(name)
            if data["resourceType"] == "ServiceRequest" or is_asking(data):
                self._roots[delivery.referral].append(name)
        else:
            # An earlier version in which something cannot be read is left out, as the reader does.
            versions = was.versions[:-1] if name in self._lost else was.versions
        self._lost.pop(name, None)
        if gone:
            self._lost[name] = gone
        self.held[name] = Held(name, (*versions, (delivery.at, data)))
        self._links[name] = _names(data)
        if data["resourceType"] == "ServiceRequest":
            for mark in _marks(data):
                self._kin[mark][name] = None

    def _concerned(self, name: str, *, was_lost: bool = False) -> Iterable[str]:
        type = name.partition("/")[0]
        if type in _OF_PATIENT:
            return list(self.referrals)
        home = self._home[name]
        found = dict.fromkeys(self._roots.get(home, ()))
        if was_lost or name in self._lost:
            found |= dict.fromkeys(self.referrals)
        if type in ("ServiceRequest", "Task"):
            for root in list(found):
                found |= dict.fromkeys(self._depending_on(root))
        return found

    def _depending_on(self, root: str) -> Iterator[str]:
        """The referrals for which this one may matter: younger ones for the same thing, and what it names."""
        data = self.held[root].data
        written = data.get("authoredOn")
        for mark in _marks(data):
            if mark in self.held:
                yield mark
            for other in self._kin[mark]:
                its = self.held[other].data
                when = its.get("authoredOn")
                if written is None or when is None or when >= written or is_proposal(its):
                    yield other

    # -- what is known ---------------------------------------------------------------------------------

    def facts(self, root: str, at: datetime) -> Facts:
        """The facts of one referral, from what has arrived."""
        one = self.held[root]
        # A referral registered twice has one number twice, but Tasks name only one of the two.
        own = [
            self.held[name]
            for name in self._at_home[self._home[root]]
            if name != root and self._leads_to(name, root)
        ]
        common = self._at_home[""]
        wishes = [self.held[name] for name in common if name.startswith("CommunicationRequest/")]
        related = [*own, *wishes]
        siblings = [self.held[name] for name in self._siblings(root)]
        patient = target(one.data.get("subject"))
        return compose(
            one,
            related,
            [(sibling, self.around.parties(*self._asked(sibling.reference))) for sibling in siblings],
            tuple(name for name in common if name.startswith("RelatedPerson/")),
            (*self._blind(root, at), *self._blind_records(one, related, siblings, patient)),
            self.around,
            patient=self.held.get(patient),
        )

    def _siblings(self, root: str) -> Iterable[str]:
        data = self.held[root].data
        found = dict(self._kin[root]) if root in self._kin else {}
        for mark in thing(data.get("code")):
            found |= self._kin[mark]
        found.pop(root, None)
        return found

    def _asked(self, request: str) -> list[Json]:
        """The owners of the Tasks of a referral, without dead Tasks."""
        return [
            data["owner"]
            for name in self._at_home[self._home[request]]
            if name.startswith("Task/")
            and "owner" in (data := self.held[name].data)
            and target(data.get("focus")) == request
            and data.get("status") not in _DEAD
            and asks(data, (), self.around)
        ]

    def _leads_to(self, name: str, root: str) -> bool:
        """Whether a record leads to the referral by its references, as the store's reader follows them."""
        names = self._links[name]
        return root in names or any(
            root in self._links[other] for other in names if other in self.held and other != name
        )

    # -- what cannot be seen ---------------------------------------------------------------------------

    def _blind(self, root: str, at: datetime) -> tuple[Blind, ...]:
        """Which feeds cannot be seen, and for whom, as the store's reader works it out from settings and
        feeds."""
        requesters = self.around.parties(self.held[root].data.get("requester"))
        ehr = self.ehr[root]
        found: list[Blind] = []
        for department in ALL:
            hidden = self.feeds.hidden[department.name]
            since = self.feeds.behind(department.name, at, self.behind_after)
            if not hidden and since is None:
                continue
            whose = (department.organization, *(requesters if department.name == ehr else ()))
            found += [Blind(type, department.name, whose) for type in sorted(hidden)]
            if since is not None:
                found += [Blind(type, department.name, whose, since, down=True) for type in sorted(NEEDED)]
        return tuple(found)

    def _blind_records(
        self, root: Held, related: Sequence[Held], siblings: Sequence[Held], patient: str
    ) -> Iterator[Blind]:
        names = [root.reference, *(one.reference for one in related), patient]
        yield from (self._unread[name] for name in names if name in self._unread)
        if self._lost:
            strays = [self._row(self.held[name]) for name in self._strays]
            family = [self._row(one) for one in siblings]
            rows = [self._row(one) for one in related]
            yield from unreadable_around(self._row(root), rows, family, strays, self.around.zone)

    def _row(self, one: Held) -> Row:
        type, _, id = one.reference.partition("/")
        stored, data = one.versions[-1]
        key = hash(one.reference)
        source = f"ehr:{self.ehr[one.reference]}"
        return Row(key, type, id, len(one.versions), stored, source, data, self._lost.get(one.reference, ()))

    def turns(self) -> Iterator[datetime]:
        """The times when an EHR that has records of this patient, or could, falls behind or is back."""
        named = {
            target(performer).partition("/")[2]
            for names in self._roots.values()
            for name in names
            for performer in self.held[name].data.get("performer") or ()
        }
        for ehr in {*self.ehr.values(), *(named & BY_NAME.keys())}:
            for begin, over in self.feeds.outages[ehr]:
                if over - begin > self.behind_after:
                    yield begin + self.behind_after
                    yield over


def _names(data: Json) -> set[str]:
    elements = [data.get("focus"), *(data.get("basedOn") or ()), *(data.get("about") or ())]
    elements += [*(data.get("appointment") or ()), *((data.get("context") or {}).get("related") or ())]
    elements += (data.get("context") or {}).get("encounter") or ()
    return {target(element) for element in elements if element}


def _marks(data: Json) -> tuple[str, ...]:
    """By what other referrals may find this one: what it asks for, and what it names."""
    named = (data.get("basedOn"), data.get("replaces"), data.get("supportingInfo"))
    return (*thing(data.get("code")), *(name for some in named for name in targets(some)))
