"""Profile classes for the people around the patient: the network, the care team, the one to turn to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from fhir.resources.R4B.careteam import CareTeam
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.episodeofcare import EpisodeOfCare
from fhir.resources.R4B.relatedperson import RelatedPerson

from fhir_coprod.profiles.elements import coded, concept, languages, period, reference, references
from fhir_coprod.profiles.model import Profiled

NetworkRole = Literal[
    "patient", "relative", "coordinator", "interpreter", "caseworker", "treating-professional", "peer"
]
"""CodeSystem network-role: who somebody is to the patient and the plan."""


@dataclass(frozen=True, slots=True)
class TeamMember:
    """One member of a care team: CareTeam.participant."""

    member: str
    """Reference to Patient, RelatedPerson, Practitioner, PractitionerRole, Organization or CareTeam."""
    role: NetworkRole | CodeableConcept
    """1..*, extensible binding: a code of CodeSystem network-role, or a concept."""
    since: str | None = None
    """From when; it shows who has stayed."""
    until: str | None = None
    on_behalf_of: str | None = None
    """Reference to the organisation, for a professional (Practitioner) only."""

    def to_participant(self) -> dict[str, Any]:
        """As CareTeam.participant."""
        return {
            "role": [coded("network-role", self.role)],
            "member": reference(self.member),
            "period": period(self.since, self.until),
            "onBehalfOf": reference(self.on_behalf_of) if self.on_behalf_of else None,
        }


class CoproductionCareTeam(Profiled, CareTeam):
    """Everybody with a part in the plan, on both sides, the interpreter as a colleague.

    Profile coproduction-careteam on CareTeam. Source: a team effort of sense-making (migrant clinic).
    """

    profile_id: ClassVar[str] = "coproduction-careteam"

    @classmethod
    def build(
        cls,
        *,
        patient: str,
        members: Sequence[TeamMember] = (),
        name: str | None = None,
        since: str | None = None,
        status: Literal["proposed", "active", "suspended", "inactive", "entered-in-error"] = "active",
    ) -> Self:
        """Build a team.

        patient: CareTeam.subject, 1..1, Patient, who is also its first member
        members: CareTeam.participant: all others; the patient may be among them
        name:    CareTeam.name
        since:   CareTeam.period.start
        """
        first = [] if any(each.member == patient for each in members) else [TeamMember(patient, "patient")]
        return cls.model_validate(
            {
                "status": status,
                "name": name,
                "subject": reference(patient),
                "period": period(since, None),
                "participant": [each.to_participant() for each in (*first, *members)],
            }
        )


class CoproductionEpisode(Profiled, EpisodeOfCare):
    """The time for which one professional keeps the whole together for the patient.

    Profile coproduction-episode on EpisodeOfCare. Source: relational continuity (migrant clinic).
    """

    profile_id: ClassVar[str] = "coproduction-episode"

    @classmethod
    def build(
        cls,
        *,
        patient: str,
        care_manager: str,
        since: str,
        until: str | None = None,
        organization: str | None = None,
        referrals: Sequence[str] = (),
        teams: Sequence[str] = (),
        status: Literal["planned", "waitlist", "active", "onhold", "finished", "cancelled"] = "active",
    ) -> Self:
        """Build an episode.

        patient:      EpisodeOfCare.patient, 1..1, Patient
        care_manager: EpisodeOfCare.careManager, 1..1: the one person to turn to
        since, until: EpisodeOfCare.period, 1..1
        organization: EpisodeOfCare.managingOrganization
        referrals:    EpisodeOfCare.referralRequest, ServiceRequest
        teams:        EpisodeOfCare.team, CareTeam
        """
        return cls.model_validate(
            {
                "status": status,
                "patient": reference(patient),
                "managingOrganization": reference(organization) if organization else None,
                "period": period(since, until),
                "referralRequest": references(referrals),
                "careManager": reference(care_manager),
                "team": references(teams),
            }
        )


class NetworkPerson(Profiled, RelatedPerson):
    """A relative or friend whom the patient has named, and from when to when they may be told things.

    Profile network-person on RelatedPerson. `active` false ends it; the patient says so.
    """

    profile_id: ClassVar[str] = "network-person"

    @classmethod
    def build(
        cls,
        relationship: str | CodeableConcept,
        *,
        patient: str,
        family: str | None = None,
        given: Sequence[str] = (),
        phone: str | None = None,
        speaks: Sequence[str] = (),
        since: str | None = None,
        until: str | None = None,
        active: bool = True,
    ) -> Self:
        """Build a person of the patient's network.

        relationship: RelatedPerson.relationship, 1..*: who they are to the patient; words become its text
        patient:      RelatedPerson.patient, 1..1, Patient
        phone:        RelatedPerson.telecom
        speaks:       RelatedPerson.communication.language (BCP 47), the preferred one first
        since, until: RelatedPerson.period: for how long they may be told things
        """
        name = {"family": family, "given": list(given) or None} if family or given else None
        return cls.model_validate(
            {
                "active": active,
                "patient": reference(patient),
                "relationship": [concept(relationship)],
                "name": [name] if name else None,
                "telecom": [{"system": "phone", "value": phone}] if phone else None,
                "period": period(since, until),
                "communication": languages(speaks),
            }
        )
