"""The page of one referral: what is missing, who can move it, the alert, and the letters to the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fhir_coprod.access.sight import barring
from fhir_coprod.errors import BadRequest, CoprodError, NotFound
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.alerts.reconcile import SNOOZED, TAKEN, UNSNOOZABLE
from fhir_coprod.watch.facts.names import read_names
from fhir_coprod.watch.facts.reader import Reader
from fhir_coprod.watch.letters import drafts
from fhir_coprod.watch.letters.sender import particulars
from fhir_coprod.watch.live.look import look_at
from fhir_coprod.watch.record.fhir import moment, split
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.codes import ABOUT, Rule
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Stall, Standing, explain, just_before, spoken_time
from fhir_coprod.watch.worklist import desk
from fhir_coprod.watch.worklist.release import (
    FALLBACK,
    chosen_language,
    language_of,
    letters_sent,
    release,
    take_back,
)
from fhir_coprod.web.board import Case, compose
from fhir_coprod.web.letters import DeskSide, addressee, environment, letter
from fhir_coprod.web.visitor import ANYBODY, SignInAgain, Visitor

_EVENTS = {
    "accepted": "the referral was accepted",
    "booked": "a visit was booked",
    "changed": "the plan changed",
    "cancelled": "something was cancelled",
    "rejected": "the referral was rejected",
    "advice": "the clinic gave advice",
    "result": "a result came",
}
_KINDS = ("ServiceRequest", "Communication")


@dataclass(frozen=True, slots=True)
class Note:
    """A note on an alert: what somebody did or said."""

    at: datetime
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Alert:
    """The open follow-up of a referral."""

    id: str
    state: str
    until: str
    act_by: datetime | None
    step: str
    snoozable: bool
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Place:
    """What a page is about: the referral, with its store and settings, and who looks at it."""

    store: Store
    settings: Settings
    referral: str
    """ServiceRequest/id, or Communication/id where a patient asked by message."""
    visitor: Visitor = ANYBODY

    @property
    def policy(self) -> Policy:
        return policies.load(self.settings.watch.policy, self.settings.site)

    @property
    def path(self) -> str:
        return f"/referral/{self.referral}"

    def standing(self, now: datetime) -> Standing:
        """Raises NotFound where there is no such referral for the visitor."""
        self.visitor.look(self.store, self.referral)
        hidden = barring(self.visitor.rights)
        standing = look_at(self.store, self.referral, self.policy, now, self.settings, hidden)
        self.visitor.look(self.store, self.referral, standing.patient)
        return standing


def place(store: Store, settings: Settings, visitor: Visitor, kind: str, id: str) -> Place:
    """The place that a path names; raises NotFound if `kind` is not a type of referral."""
    if kind not in _KINDS or visitor.is_patient:
        raise NotFound(f"There is no referral {kind}/{id}.")
    return Place(store, settings, f"{kind}/{id}", visitor)


def referral_page(at: Place, now: datetime, problem: str = "", open: str = "") -> str:
    """The page. Raises NotFound when there is no such referral.

    open: the id of a letter of which to show how to take it back
    """
    standing = at.standing(now)
    if standing.stage is None:
        raise NotFound(
            f"{at.referral} is no referral any more: it was entered in error, or is not to be done."
        )
    case = _case(at, standing, now)
    templates = environment()
    with at.store.connect() as connection:
        reader = Reader(connection, at.settings)
        tasks = [task for task in reader.followups_of(at.referral) if resources.is_open(task)]
        words = explain(standing, read_names(reader, [standing]))
    return templates.get_template("referral.html").render(
        case=case,
        reference=at.referral,
        here=at.path,
        explanation=words[:1].upper() + words[1:],
        silent=standing.do_not_contact,
        letters=_subjects(standing),
        went_out=_went_out(at),
        alert=_alert(tasks[0], at) if tasks else None,
        problem=problem,
        visitor=at.visitor,
        open=open,
    )


def letter_page(at: Place, now: datetime, about: str, language: str, problem: str = "") -> str:
    """A draft letter to the patient, and the form by which a person releases it."""
    standing = at.standing(now)
    notice = drafts.needs_interpreter(language_of(at.store, at.settings, standing))
    try:
        chosen = chosen_language(at.store, at.settings, standing, language)
    except NotFound:
        if language:
            raise
        chosen = FALLBACK
    draft = drafts.draft(
        standing,
        chosen,
        now.astimezone(at.settings.site.zone).date(),
        about,
        particulars(at.store, at.settings, standing, now),
    )
    side = DeskSide(
        here=f"{at.path}/letter",
        back=at.path,
        subjects=_subjects(standing),
        languages=drafts.languages(),
        notice=notice,
        silent=standing.do_not_contact,
        problem=problem,
        sent=next((words for _, about, words in _went_out(at) if about == draft.about), ""),
        refused=standing.local_day(standing.refused) if standing.refused else "",
        visitor=at.visitor,
        recent=at.visitor.is_recent(at.settings, now),
    )
    return letter(draft, _name(at, standing), at.referral, side)


def letter_file(
    store: Store, settings: Settings, standing: Standing, language: str, about: str, now: datetime
) -> str:
    """The same letter as a file of its own."""
    known_of = particulars(store, settings, standing, now)
    draft = drafts.draft(standing, language, now.astimezone(settings.site.zone).date(), about, known_of)
    return letter(draft, _name(Place(store, settings, standing.referral), standing), standing.referral)


def acknowledge(at: Place, form: dict[str, str], now: datetime) -> None:
    """Record that somebody takes the alert."""
    _check(at, now, "u", "Task")
    desk.acknowledge(
        at.store, at.settings, at.policy, _followup(at), _by(at, form), now, form.get("note", "")
    )


def snooze(at: Place, form: dict[str, str], now: datetime) -> None:
    """Put the alert aside until the end of a day."""
    _check(at, now, "u", "Task")
    until = end_of(form.get("until", ""), at.settings.site.zone)
    desk.snooze(
        at.store, at.settings, at.policy, _followup(at), _by(at, form), until, now, form.get("note", "")
    )


def send(at: Place, form: dict[str, str], now: datetime) -> None:
    """Release a letter in somebody's name, or take it back.

    Raises SignInAgain unless they proved who they are just now; NotFound for another referral's letter.
    """
    _check(at, now, "c", "Communication")
    back = {name: form[name] for name in ("about", "language", "take_back") if form.get(name)}
    if not at.visitor.is_recent(at.settings, now):
        page = at.path if "take_back" in back else f"{at.path}/letter"
        raise SignInAgain("A letter goes out, or is taken back, in your name.", f"{page}?{urlencode(back)}")
    if "take_back" in back:
        if back["take_back"] not in {sent.data["id"] for sent in letters_sent(at.store, at.referral)}:
            raise NotFound("No such letter is on record as sent.")
        take_back(at.store, back["take_back"], _by(at, form), now)
        return
    release(
        at.store,
        at.settings,
        at.policy,
        at.referral,
        _by(at, form),
        now,
        language=form.get("language", ""),
        about=form.get("about", ""),
    )


def _check(at: Place, now: datetime, action: str, type: str) -> None:
    """Raise NotFound if there is no such referral for the visitor, NotAllowed if they may not do this."""
    if at.visitor.session is not None:
        at.standing(now)
    at.visitor.need(action, type)


def _by(at: Place, form: dict[str, str]) -> str:
    """Who does it: whoever is signed in, else the name that was typed."""
    return at.visitor.name or form.get("by", "")


def end_of(text: str, zone: ZoneInfo) -> datetime:
    """The end of a day as a form sends it. Raises BadRequest if it is not a day."""
    try:
        return desk.end_of_day(date.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        raise BadRequest("Until when? Write a day such as 2026-03-20.") from None


def _followup(at: Place) -> str:
    with at.store.connect() as connection:
        tasks = Reader(connection, at.settings).followups_of(at.referral)
    open_ones = [str(task["id"]) for task in tasks if resources.is_open(task)]
    if not open_ones:
        raise NotFound("No alert is open for this referral any more.")
    return open_ones[0]


def _case(at: Place, standing: Standing, now: datetime) -> Case:
    board = compose(at.store, at.settings, [standing], now=now)
    cases = [*board.stalled, *board.moving, *board.partly]
    if not cases:
        raise ReferralClosed(f"{at.referral} is closed: both sides have ended it and the patient was told.")
    return cases[0]


class ReferralClosed(CoprodError):
    """The referral is closed, so nothing is left to do."""

    status = 404
    code = "not-found"


def _subjects(standing: Standing) -> tuple[tuple[str, str], ...]:
    """Each thing to tell the patient: its code, and words that say what it is and since when."""
    stalls = {str(stall.rule): stall for stall in standing.stalls}
    return tuple((about, _subject(standing, about, stalls.get(about))) for about in drafts.subjects(standing))


def _went_out(at: Place) -> list[tuple[str, str, str]]:
    """Each letter that went out: its id, what it was about, and when and by whom it was released."""
    zone = at.settings.site.zone
    return [
        (
            str(sent.data["id"]),
            sent.about,
            f"{_EVENTS.get(sent.about) or _overdue(sent.about)}: "
            f"went out on {spoken_time(sent.at, zone)}, released by {sent.by or 'somebody'}",
        )
        for sent in letters_sent(at.store, at.referral)
    ]


def _subject(standing: Standing, about: str, stall: Stall | None) -> str:
    since = stall.since if stall else standing.untold_since
    words = f"still missing: {stall.missing}" if stall else _EVENTS.get(about) or _overdue(about)
    on = "since" if stall else "on"
    return f"{words} ({on} {standing.local_day(since)})" if since else words


def _overdue(rule: str) -> str:
    """Words for a stall that is over but of which the patient was never told."""
    return f"it took too long: {ABOUT[Rule(rule)].missing}"


def _name(at: Place, standing: Standing) -> str:
    with at.store.connect() as connection:
        rows = Reader(connection, at.settings).by_reference({split(standing.patient)})
    return next((addressee(row.data) for row in rows), "")


def _alert(task: Json, at: Place) -> Alert:
    zone = at.settings.site.zone
    status = task.get("status")
    act_by = resources.act_by(task)
    ladder = at.policy.alerts.ladder
    step = resources.ladder_step(task)
    state, until = "Asked for", "to be acted on by"
    if status in TAKEN:
        state, until = "Somebody has it", "asks again after"
    elif status == SNOOZED:
        state, until = "Put aside", "until"
    return Alert(
        id=task["id"],
        state=state,
        until=until,
        act_by=just_before(act_by).astimezone(zone) if act_by else None,
        step=ladder[min(step, len(ladder) - 1)] if step else "",
        snoozable=task.get("priority") not in UNSNOOZABLE,
        notes=tuple(_notes(task.get("note") or (), zone)),
    )


def _notes(notes: Sequence[Json], zone: ZoneInfo) -> list[Note]:
    found = []
    for note in notes:
        at = moment(note.get("time"), zone)
        if at is not None:
            found.append(Note(at.astimezone(zone), note.get("authorString", ""), note.get("text", "")))
    return found
