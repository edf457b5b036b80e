"""The commands `watch` and `alerts`, as people and scripts use them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from fhir_coprod import validate
from fhir_coprod.cli import app
from fhir_coprod.cli.common import short_ids
from fhir_coprod.errors import CoprodError
from fhir_coprod.store import Store
from tests.watch.hospital import DAY, MONDAY, Hospital


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "coprod.toml"
    path.write_text(
        f'[store]\nurl = "sqlite:///{tmp_path / "store.db"}"\n[site]\ntimezone = "Europe/Stockholm"\n'
    )
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        hospital = Hospital(store)
        hospital.refer("late", authored=MONDAY)
        hospital.refer("fresh", authored=MONDAY + 8 * DAY)
        hospital.put(
            {"resourceType": "Patient", "id": "of-late", "name": [{"given": ["Anna"], "family": "Berg"}]},
            {"resourceType": "Organization", "id": "ortho", "name": "Orthopaedics"},
        )
    return path


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(config)])


HOSTILE = "Eve\x1b[31m\x9b2J\u202e\x07 [bold]Berg[/bold]"
"""What a name can hold that an EHR never checked: orders to a terminal, and Rich's own markup."""


def steers(text: str) -> set[str]:
    """Characters by which a text steers a terminal or a page; a new line does not."""
    return {character for character in text if character != "\n" and not character.isprintable()}


@pytest.fixture
def hostile(config: Path, tmp_path: Path) -> Path:
    """The same hospital, where somebody has typed orders to terminals into every name."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        Hospital(store).put(
            {"resourceType": "Patient", "id": "of-late", "name": [{"text": HOSTILE, "family": HOSTILE}]},
            {"resourceType": "Organization", "id": "ortho", "name": HOSTILE},
        )
    blind(tmp_path, {"ehr": "ortho", "type": "Encounter", "reason": HOSTILE})
    assert run(config, "watch").exit_code == 0
    return config


@pytest.mark.parametrize(
    "words",
    [
        ("watch",),
        ("watch", "--all", "--now", "2026-03-20"),
        ("alerts", "list"),
        ("alerts", "show", "late"),
        ("alerts", "letter", "late"),
        ("alerts", "letter", "late", "--format", "html"),
        ("alerts", "ack", "late", "--by", HOSTILE, "--note", HOSTILE),
        ("alerts", "release", "late", "--by", HOSTILE),
    ],
)
def test_what_records_say_never_steers_the_terminal(hostile: Path, words: tuple[str, ...]) -> None:
    said = run(hostile, *words)
    assert said.exit_code == 0, said.output
    assert steers(said.output) == set()
    if words[1:2] not in (("letter",), ("release",), ("ack",)):
        assert "[bold]Berg[/bold]" in "".join(said.output.split()).replace("Eve", "")


def test_notes_by_somebody_with_orders_in_their_name_are_shown_without_them(hostile: Path) -> None:
    run(hostile, "alerts", "ack", "late", "--by", HOSTILE, "--note", HOSTILE)
    said = run(hostile, "alerts", "show", "late").stdout
    assert "Eve" in said
    assert steers(said) == set()


def test_json_is_one_document_in_the_promised_shape(config: Path) -> None:
    result = run(config, "watch", "--now", "2026-03-10T12:00:00Z", "--json")
    assert result.exit_code == 0
    (row,) = json.loads(result.stdout)
    assert row["referral"] == "ServiceRequest/late"
    assert row["patient"] == "Patient/of-late"
    assert row["stage"] == "sent"
    assert row["since"] == "2026-03-02T09:00:00Z"
    assert row["due"] == "2026-03-09T23:00:00Z"
    assert row["not_observable"] == []
    assert row["patient_informed"] is False
    (stall,) = row["stalls"]
    assert stall["rule"] == "unacknowledged"
    assert stall["since"] == "2026-03-02T09:00:00Z"
    assert stall["due"] == "2026-03-09T23:00:00Z"
    assert stall["owner"] == "Organization/ortho"


def test_all_shows_every_open_referral(config: Path) -> None:
    result = run(config, "watch", "--now", "2026-03-11", "--all", "--json")
    assert {row["referral"] for row in json.loads(result.stdout)} == {
        "ServiceRequest/late",
        "ServiceRequest/fresh",
    }


def test_a_question_about_another_time_writes_nothing(config: Path, tmp_path: Path) -> None:
    run(config, "watch", "--now", "2026-04-11")
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        assert Hospital(store).all("DetectedIssue") == []


def test_a_time_without_zone_is_the_site_s(config: Path) -> None:
    before = run(config, "watch", "--now", "2026-03-09T23:59", "--json")
    after = run(config, "watch", "--now", "2026-03-10T00:00", "--json")
    assert json.loads(before.stdout) == []
    assert len(json.loads(after.stdout)) == 1


def test_wrong_use_ends_with_2(config: Path) -> None:
    assert run(config, "watch", "--now", "yesterday").exit_code == 2


def test_the_table_names_who_and_what_and_no_more_of_the_patient_than_initials(config: Path) -> None:
    result = run(config, "watch", "--now", "2026-03-10T12:00:00Z")
    for words in ("A.B.", "sent", "Orthopaedics", "due 03-09", "2 open, 1 stalled"):
        assert words in result.stdout, words
    assert "Anna" not in result.stdout
    assert "Berg" not in result.stdout


def test_nothing_stalled_is_said_kindly(config: Path) -> None:
    result = run(config, "watch", "--now", "2026-03-03")
    assert result.exit_code == 0
    assert "No referral is stalled" in result.stdout


def blind(folder: Path, *feeds: dict[str, object]) -> None:
    """Feeds that show nothing."""
    from sqlalchemy import insert

    from fhir_coprod.store.schema import sync as sync_tables

    usual = {"state": "not-observable", "since": 0, "watermark": "", "first_success": 0, "last_success": 0}
    with Store.open(f"sqlite:///{folder / 'store.db'}") as store:
        for feed in feeds:
            row = usual | feed
            store.write(
                lambda t, row=row: t.connection.execute(insert(sync_tables.feed).values(**row)) and None
            )


def test_what_cannot_be_watched_is_always_said(config: Path, tmp_path: Path) -> None:
    blind(tmp_path, {"ehr": "ortho", "type": "Appointment", "reason": "not shown"})
    result = run(config, "watch", "--now", "2026-03-03")
    assert (
        "Cannot be watched: ortho: Appointment (not shown); no open referral waits for it now."
        in " ".join(result.stdout.split())
    )


def test_watch_writes_alerts_and_alerts_are_handled(config: Path) -> None:
    assert run(config, "watch").exit_code == 0
    listed = json.loads(run(config, "alerts", "list", "--json").stdout)
    assert {row["referral"] for row in listed} == {"ServiceRequest/late", "ServiceRequest/fresh"}
    assert "Orthopaedics" in run(config, "alerts", "list").stdout.replace("\n", "") or listed[0]["owner"]
    shown = json.loads(run(config, "alerts", "show", "late", "--json").stdout)
    assert shown["issues"][0]["rule"] == "unacknowledged"
    assert "Missing:" in run(config, "alerts", "show", "late").stdout
    taken = json.loads(run(config, "alerts", "ack", "late", "--by", "Eva Lind", "--json").stdout)
    assert taken["status"] == "accepted"
    today = datetime.now(UTC)
    aside = run(
        config, "alerts", "snooze", "fresh", "--by", "Eva", "--until", (today + DAY).date().isoformat()
    )
    assert aside.exit_code == 0
    too_far = run(config, "alerts", "snooze", "fresh", "--by", "Eva", "--until", "2099-01-01")
    assert too_far.exit_code == 1


def test_a_letter_is_a_draft_and_changes_nothing(config: Path, tmp_path: Path) -> None:
    run(config, "watch")
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        head = store.head()
    assert "Din remiss" in run(config, "alerts", "letter", "late", "--language", "sv").stdout
    draft = json.loads(run(config, "alerts", "letter", "late", "--json").stdout)
    assert draft["status"] == "preparation"
    assert run(config, "alerts", "letter", "late", "--language", "fi").exit_code == 1
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        assert store.head() == head


@pytest.mark.parametrize("verb", [("show",), ("ack", "--by", "Eva"), ("letter",)])
def test_an_alert_that_is_not_there_is_wrong_use(config: Path, verb: tuple[str, ...]) -> None:
    result = run(config, "alerts", verb[0], "nope", *verb[1:])
    assert isinstance(result.exception, CoprodError)
    assert result.exception.exit_code == 2
    assert str(result.exception) == "There is no open alert nope; see fhir-coprod alerts list."


def test_times_are_told_as_the_clinic_reads_them(config: Path) -> None:
    """JSON keeps instants."""
    run(config, "watch")
    day = (datetime.now(UTC) + 3 * DAY).date()
    said = run(config, "alerts", "snooze", "late", "--by", "Eva Lind", "--until", day.isoformat())
    assert f"is put aside until {day.day} {day:%B %Y}." in said.stderr
    shown = run(config, "alerts", "show", "late").stdout
    assert f"put aside until {day.day} {day:%B %Y}" in " ".join(shown.split())
    assert not re.search(r"\d\dT\d\d:\d\d", shown)
    kept = json.loads(run(config, "alerts", "show", "late", "--json").stdout)
    assert re.fullmatch(r"\S+T2[12]:59:59Z", kept["act_by"]), "the end of that day in Stockholm"
    yours = run(config, "alerts", "ack", "fresh", "--by", "Eva Lind").stderr
    assert re.search(r"is yours until \d+ \w+ 2\d{3}\.", yours)


def test_a_refused_snooze_says_a_day_of_the_site(config: Path) -> None:
    run(config, "watch")
    refused = run(config, "alerts", "snooze", "late", "--by", "Eva", "--until", "2126-01-01")
    assert re.search(r"until \d+ \w+ 2\d{3} at the latest", str(refused.exception))


def test_each_due_date_says_what_it_is_about(config: Path) -> None:
    """A stall is due when the wait for it is over; the stage's own next step is told apart from it."""
    (row,) = json.loads(run(config, "watch", "--now", "2026-03-10T12:00:00Z", "--json").stdout)
    assert "no word from the department since, due 9 March 2026" in row["explanation"]
    assert row["explanation"].count("due ") == 1


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_tables_keep_rules_and_ids_whole_at_any_width(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    long = "5eff3b71-1370-5839-a358-3c1875c6bae1"
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        Hospital(store).refer(long, authored=MONDAY)
        Hospital(store).put(
            {
                "resourceType": "Task",
                "id": f"task-{long}",
                "status": "rejected",
                "intent": "order",
                "focus": {"reference": f"ServiceRequest/{long}"},
                "owner": {"reference": "Organization/ortho"},
                "lastModified": (MONDAY + DAY).isoformat(),
            }
        )
    for module in ("watch", "alerts"):
        monkeypatch.setattr(f"fhir_coprod.cli.{module}.stdout", Console(width=columns))
    assert "5eff3b71" in run(config, "watch").stdout
    listed = run(config, "alerts", "list").stdout
    assert "rejected-not-rerouted" in listed
    assert "patient-not-informed" in listed
    assert "…" not in listed
    assert max(map(len, listed.splitlines())) <= columns
    for shown in re.findall(r"^ ([0-9a-f]{8})  (\S+)", listed, re.MULTILINE):
        for name in shown:
            assert run(config, "alerts", "show", name).exit_code == 0, (
                "an id as shown serves the next command"
            )


def test_an_ehr_that_is_down_has_its_row_and_waits_for_nobody_by_name(config: Path, tmp_path: Path) -> None:
    stale_feed(tmp_path)
    run(config, "watch")
    listed = run(config, "alerts", "list").stdout
    assert "cannot be seen: ortho" in listed
    assert "look with fhir-coprod ehr check" in listed
    assert "nobody is named" not in listed


def test_ids_that_begin_alike_are_told_apart() -> None:
    ids = ["5eff3b71-1370-aaaa", "5eff3b71-1370-aabb", "0c0c0c0c-1111-2222", "late"]
    assert list(short_ids(ids).values()) == ["0c0c0c0c", "5eff3b71-1370-aaa", "5eff3b71-1370-aab", "late"]


def test_no_alert_is_said_kindly(config: Path) -> None:
    assert "No alert is open" in run(config, "alerts", "list").stdout


def test_an_ehr_that_cannot_be_seen_is_one_line_however_many_types(config: Path, tmp_path: Path) -> None:
    types = ("Appointment", "Communication", "DiagnosticReport", "Encounter", "ServiceRequest", "Task")
    blind(
        tmp_path,
        *({"ehr": "ortho", "type": type, "reason": "ortho: the server does not answer"} for type in types),
        {"ehr": "ortho", "type": "DocumentReference", "reason": "not shown"},
    )
    comes_from_ortho(tmp_path, "late", "fresh")
    said = run(config, "watch", "--now", "2026-03-20", "--json").stderr
    lines = " ".join(said.split()).split("Cannot be watched: ")[1:]
    assert len(lines) == 1
    assert lines[0].startswith(
        f"ortho: {', '.join(types)} (the server does not answer); DocumentReference (not shown); 2 open"
    )


def comes_from_ortho(folder: Path, *referrals: str) -> None:
    from fhir_coprod import jsontext

    with Store.open(f"sqlite:///{folder / 'store.db'}") as store:
        for id in referrals:
            data = store.read("ServiceRequest", id).data | {"priority": "urgent"}
            store.write(lambda t, d=data: t.put(jsontext.from_data(d), d["id"], source="ehr:ortho"))


def stale_feed(folder: Path) -> None:
    """Every Task was last pulled on the Monday; the referrals come from that EHR."""
    from sqlalchemy import insert

    from fhir_coprod.store.schema import sync as sync_tables

    last = int(MONDAY.timestamp() * 1000)
    row = {"ehr": "ortho", "type": "Task", "state": "observable", "since": last, "reason": ""}
    row |= {"watermark": "", "first_success": last, "last_success": last}
    with Store.open(f"sqlite:///{folder / 'store.db'}") as store:
        store.write(lambda t: t.connection.execute(insert(sync_tables.feed).values(**row)) and None)
    comes_from_ortho(folder, "late")


def test_a_feed_that_is_behind_claims_no_stall_on_any_way_of_asking(config: Path, tmp_path: Path) -> None:
    from fhir_coprod.api.interactions.standing import _assessed
    from fhir_coprod.settings import Settings
    from fhir_coprod.web.survey import survey

    stale_feed(tmp_path)
    at = MONDAY + 30 * DAY
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        asked = _assessed(store, Settings(), "late", "default", at, 0)
        board = survey(store, Settings(), at)
    (case,) = [case for case in (*board.stalled, *board.partly) if case.id == "late"]
    printed = run(config, "watch", "--now", at.isoformat(), "--all", "--json")
    (row,) = [row for row in json.loads(printed.stdout) if row["referral"] == "ServiceRequest/late"]
    assert asked.not_observable == case.unseen == tuple(row["not_observable"]) == ("Task",)
    assert [stall["rule"] for stall in row["stalls"]] == []
    assert "unacknowledged" not in [stall.rule for stall in asked.stalls]
    assert any("ortho: Task (not pulled for too long)" in limit for limit in board.limits)
    said = " ".join(printed.stderr.split())
    assert "Cannot be watched: ortho: Task (not pulled for too long); 1 open referral waits for" in said


def test_an_ehr_that_could_not_be_read_just_now_is_said_and_hides_nothing(
    config: Path, tmp_path: Path
) -> None:
    from sqlalchemy import insert

    from fhir_coprod.store.schema import sync as sync_tables

    at = MONDAY + 30 * DAY
    row = {"ehr": "ortho", "type": "Task", "state": "failed", "since": 0, "watermark": "", "first_success": 1}
    row |= {"reason": "ortho: no answer.", "last_success": int((at - timedelta(hours=1)).timestamp() * 1000)}
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        store.write(lambda t: t.connection.execute(insert(sync_tables.feed).values(**row)) and None)
    printed = run(config, "watch", "--now", at.isoformat(), "--json")
    assert "ServiceRequest/late" in [row["referral"] for row in json.loads(printed.stdout)]
    said = " ".join(printed.stderr.split())
    assert "anything new at ortho since 2026-04-01 10:00: the last sync failed (no answer)." in said


def test_another_policy_only_prints(config: Path, tmp_path: Path) -> None:
    assert run(config, "watch", "--policy", "eng-rtt").exit_code == 0
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        assert Hospital(store).all("DetectedIssue") == []
    assert run(config, "watch", "--policy", "default").exit_code == 0
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        assert Hospital(store).all("DetectedIssue") != []


@pytest.mark.parametrize("now", ["9999-12-31", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59", "0001-01-01"])
def test_a_time_out_of_reach_is_no_fault(config: Path, now: str) -> None:
    assert run(config, "watch", "--now", now).exit_code == 0


def test_a_letter_can_be_a_page_of_its_own(config: Path) -> None:
    run(config, "watch")
    page = run(config, "alerts", "letter", "late", "--language", "sv", "--format", "html")
    assert page.exit_code == 0
    assert page.stdout.startswith('<!doctype html>\n<html lang="sv">')
    assert "Anna Berg" in page.stdout
    assert "@page { size: A4" in page.stdout
    assert "<form" not in page.stdout
    assert "href=" not in page.stdout, "it needs nothing else"


def test_a_letter_is_a_page_or_json_not_both(config: Path) -> None:
    run(config, "watch")
    both = run(config, "alerts", "letter", "late", "--format", "html", "--json")
    assert both.exit_code == 2
    assert "--format html a page" in both.stderr
    assert both.stdout == ""


def test_a_letter_about_one_thing(config: Path) -> None:
    run(config, "watch")
    one = run(config, "alerts", "letter", "late", "--about", "unacknowledged")
    assert "we have not been told that it has arrived" in one.stdout
    none = run(config, "alerts", "letter", "late", "--about", "no-show-open")
    assert none.exit_code != 0


def test_releasing_a_letter_is_telling_the_patient(config: Path) -> None:
    run(config, "watch")
    nobody = run(config, "alerts", "release", "late", "--by", " ")
    assert nobody.exit_code != 0
    done = run(config, "alerts", "release", "late", "--by", "Kim Ek", "--json")
    assert done.exit_code == 0
    sent = json.loads(done.stdout)
    assert sent["status"] == "completed"
    assert sent["note"][0]["authorString"] == "Kim Ek"
    assert validate(sent)
    rows = json.loads(run(config, "watch", "--json").stdout)
    told = next(row for row in rows if row["referral"] == "ServiceRequest/late")
    assert told["patient_informed"] is True
    shown = json.loads(run(config, "alerts", "show", "late", "--json").stdout)
    assert "Released a letter" in shown["notes"][-1]["text"]


def test_a_relative_gets_a_letter_only_when_they_are_on_record(config: Path) -> None:
    run(config, "watch")
    stranger = run(config, "alerts", "release", "late", "--by", "Kim", "--to", "RelatedPerson/nobody")
    assert stranger.exit_code != 0
    assert "no active relative" in str(stranger.exception)


def test_a_patient_whose_language_has_no_words_is_told_so(config: Path, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        Hospital(store).put(
            {
                "resourceType": "Patient",
                "id": "of-late",
                "communication": [{"language": {"coding": [{"code": "ar"}]}, "preferred": True}],
            }
        )
    run(config, "watch")
    answer = run(config, "alerts", "letter", "late")
    assert answer.exit_code != 0
    assert "no words in that language: an interpreter is needed" in str(answer.exception)
    assert "interpreter" in str(answer.exception)


def test_a_relative_on_record_can_be_told_in_the_patients_place(config: Path, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        Hospital(store).put(
            {"resourceType": "RelatedPerson", "id": "son", "patient": {"reference": "Patient/of-late"}}
        )
    run(config, "watch")
    done = run(config, "alerts", "release", "late", "--by", "Kim", "--to", "RelatedPerson/son", "--json")
    assert json.loads(done.stdout)["recipient"] == [{"reference": "RelatedPerson/son"}]
