"""One of each thing that the profile classes build, for the tests."""

from __future__ import annotations

from decimal import Decimal

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.period import Period
from fhir.resources.R4B.quantity import Quantity

from fhir_coprod import profiles
from fhir_coprod.profiles import (
    Accommodation,
    Agency,
    Barrier,
    CoproductionAppointment,
    CoproductionCarePlan,
    CoproductionCareTeam,
    CoproductionCommunication,
    CoproductionEpisode,
    CoproductionGoal,
    CoproductionPatient,
    CoproductionServiceRequest,
    DecisionOption,
    DoNotContact,
    EverydayLife,
    FamilyMember,
    GoalAcceptance,
    LifeStory,
    NetworkPerson,
    PatientConcern,
    PatientProblemList,
    PatientTask,
    PlanAgreement,
    PlanTask,
    PrivateMoment,
    PrivateMomentTask,
    Profiled,
    Readiness,
    ReferralTask,
    RespectAndTrustResponse,
    TeachBack,
    TeamMember,
    WrittenInformation,
)

CLASSES: list[type[Profiled]] = [
    found
    for found in (getattr(profiles, name) for name in profiles.__all__)
    if isinstance(found, type) and issubclass(found, Profiled) and found is not Profiled
]
WITHOUT_CLASS = {"coproduction-measurereport"}
"""A program computes it; nobody builds one."""
WRITTEN_BY_THE_WATCH = {"stalled-referral", "stall-followup"}

BUILT: list[Profiled] = [
    CoproductionGoal.in_own_words(
        "Gå till brevlådan igen",
        patient="Patient/1",
        lifecycle_status="active",
        acceptances=[GoalAcceptance("Patient/1", "agree"), GoalAcceptance("Practitioner/2", "pending")],
    ),
    CoproductionCarePlan.build(
        patient="Patient/1",
        goals=["Goal/1"],
        activities=["Task/1", "ServiceRequest/1"],
        status="active",
        contributors=["Patient/1", "Practitioner/2"],
        phase="co-design",
        agreements=[PlanAgreement("Patient/1", "agreed", "2026-03-02", reason="It fits my work")],
    ),
    CoproductionCommunication.said(
        "Your scan is booked",
        patient="Patient/1",
        sender="Organization/1",
        recipients=["Patient/1"],
        sent="2026-03-02T10:00:00+01:00",
        about=["ServiceRequest/1"],
        topic="appointment-booked",
        why="To see whether a nerve is pinched",
        phase="co-deliver",
    ),
    CoproductionServiceRequest.refer(
        "MRI of the lumbar spine",
        patient="Patient/1",
        requester="Organization/1",
        authored_on="2026-03-02T10:00:00+01:00",
        to=["Organization/2"],
        why="Numb foot",
        priority="urgent",
        goals=["Goal/1"],
        accommodations=[
            Accommodation("More time", why="Afraid of the tube", extra_time=20, agreed_by=("Patient/1",))
        ],
        for_patient="The pictures show where the nerve is pinched.",
    ),
    CoproductionServiceRequest.ask("An X-ray of my back", patient="Patient/1", authored_on="2026-03-02"),
    ReferralTask.build(
        referral="ServiceRequest/1",
        patient="Patient/1",
        requester="Organization/1",
        owner="Organization/2",
        authored_on="2026-03-02T10:00:00+01:00",
        status="accepted",
    ),
    PatientTask.build(
        "Walk ten minutes a day",
        patient="Patient/1",
        agreed="2026-03-02",
        by_when="2026-04-01",
        plan="CarePlan/1",
        goals=["Goal/1"],
        agency=Agency("patient-led", "Practitioner/2", patient_confirmed=True),
    ),
    PlanTask.build(
        "Lisa shows the exercises the day after the operation",
        patient="Patient/1",
        owner="PractitionerRole/2",
        requester="PractitionerRole/3",
        agreed="2026-03-16",
        by_when="2026-04-16",
        status="accepted",
        plan="CarePlan/1",
        goals=["Goal/1"],
        agency=Agency("shared", "PractitionerRole/2"),
    ),
    PlanTask.build("Call the bakery", patient="Patient/1", owner="CareTeam/1"),
    DoNotContact.build(
        patient="Patient/1", asked="2026-05-30", start="2026-06-01", end="2026-06-30", about=["CarePlan/1"]
    ),
    DoNotContact.build(patient="Patient/1", asked="2026-05-30", asked_by="RelatedPerson/1", why="Exams"),
    WrittenInformation.build(
        "Din magnetröntgen",
        "Röret knackar. Du kan avbryta när du vill.",
        language="sv",
        description="What happens in the tube",
        patient="Patient/1",
        author="PractitionerRole/2",
        date="2026-03-02T14:30:00+01:00",
        kind="instructions",
        about=["Appointment/1"],
    ),
    WrittenInformation.build("Exercises", "Bend.", language="en", description="For everybody"),
    DecisionOption.build(
        "Waiting",
        "No risk of an operation.",
        language="en",
        description="Another look in six months",
        patient="Patient/1",
        author="PractitionerRole/2",
        date="2026-03-02T14:30:00+01:00",
    ),
    LifeStory.told("Jag har bakat sedan jag var tolv.", patient="Patient/1", language="sv"),
    TeachBack.build(
        "understood-in-part",
        patient="Patient/1",
        about=["Communication/1"],
        when="2026-02-12T10:25:00+01:00",
        explained_by="PractitionerRole/2",
        words="The pipe is too tight.",
    ),
    EverydayLife.build("work", "Baker, from three in the morning", patient="Patient/1", when="2026-01-13"),
    EverydayLife.build(
        "sick-leave",
        Period.model_validate({"start": "2026-04-14", "end": "2026-05-26"}),
        patient="Patient/1",
        when="2026-04-14",
        told_by="PractitionerRole/2",
    ),
    EverydayLife.build(
        CodeableConcept(text="Hours of child care a day"),
        Quantity(value=Decimal("3.50"), unit="h", system="http://unitsofmeasure.org", code="h"),
        patient="Patient/1",
        when="2026-01-13",
    ),
    EverydayLife.build("home", CodeableConcept(text="Alone"), patient="Patient/1", when="2026-01-13"),
    Readiness.said(
        "confidence", 7, patient="Patient/1", about=["Task/1"], when="2026-01-13", words="If it is not icy."
    ),
    Readiness.said(
        "capability",
        "The stairs, once a day",
        patient="Patient/1",
        about=["Goal/1"],
        when="2026-01-13",
        said_by="RelatedPerson/1",
    ),
    Barrier.build(
        "fear", patient="Patient/1", goals=["Goal/1"], when="2026-01-13", words="I cannot lie in the tube."
    ),
    Barrier.build(
        CodeableConcept(text="The dog"),
        patient="Patient/1",
        goals=["Goal/1"],
        when="2026-01-13",
        status="cancelled",
    ),
    CoproductionAppointment.book(
        patient="Patient/1",
        start="2026-02-05T13:00:00+01:00",
        end="2026-02-05T14:00:00+01:00",
        others=["HealthcareService/2", "PractitionerRole/3"],
        referral="ServiceRequest/1",
        description="MRI",
        for_patient="Eat as usual.",
        accommodations=[Accommodation("A bell in the hand")],
        created="2026-01-22T15:00:00+01:00",
    ),
    PrivateMomentTask.build(
        PrivateMoment(True, asked="2026-01-22", without=("Practitioner/4",)),
        patient="Patient/1",
        authored_on="2026-01-22T15:20:00+01:00",
        owner="PractitionerRole/5",
        visit="Appointment/1",
    ),
    CoproductionCareTeam.build(
        patient="Patient/1",
        members=[
            TeamMember("PractitionerRole/3", "coordinator", since="2026-01-13"),
            TeamMember("Practitioner/6", "caseworker", on_behalf_of="Organization/7"),
            TeamMember("RelatedPerson/1", CodeableConcept(text="The one who translates at night")),
        ],
        name="The people around",
        since="2026-01-13",
    ),
    CoproductionCareTeam.build(patient="Patient/1", members=[TeamMember("Patient/1", "patient")]),
    CoproductionEpisode.build(
        patient="Patient/1",
        care_manager="PractitionerRole/3",
        since="2026-01-13",
        organization="Organization/1",
        referrals=["ServiceRequest/1"],
        teams=["CareTeam/1"],
    ),
    NetworkPerson.build(
        "sister",
        patient="Patient/1",
        family="Testperson",
        given=["Rita"],
        phone="+46 555 010 21",
        speaks=["sv", "ar"],
        since="2026-01-13",
    ),
    CoproductionPatient.build(
        family="Testperson",
        given=["Anna"],
        birth_date="1979",
        gender="female",
        identifiers={"https://example.org/person": "19790402-0000"},
        phone="+46 555 010 20",
        speaks=["ar", "sv"],
        interpreter=True,
    ),
    CoproductionPatient.build(family="Testperson"),
    PatientConcern.in_own_words(
        "I am afraid of lying in that tube.",
        patient="Patient/1",
        recorded="2026-01-13",
        recorder="PractitionerRole/3",
    ),
    PatientProblemList.ranked(
        ["Condition/1", "Condition/2"], patient="Patient/1", date="2026-01-13", title="What troubles me"
    ),
    FamilyMember.build(
        "father",
        patient="Patient/1",
        deceased=True,
        conditions=["Died during an examination"],
        meaning="This is why she fears examinations.",
        noted_by="Practitioner/3",
        date="2026-01-13",
    ),
    RespectAndTrustResponse.answered(
        {"heard": "completely", "kept": "half"},
        patient="Patient/1",
        authored="2026-05-28T20:00:00+02:00",
        words="They called before I had to.",
    ),
]
