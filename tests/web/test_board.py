"""The board: every stalled referral in words a clinic knows, and nothing a browser could run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from fhir_coprod import jsontext
from fhir_coprod.demo.hospital import departments
from fhir_coprod.settings import Settings, SiteSettings, StoreSettings, WatchSettings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.web import answering, pages, routes
from fhir_coprod.web.board import Board
from fhir_coprod.web.survey import survey

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store=StoreSettings(url=f"sqlite:///{tmp_path / 'coprod.db'}"),
        site=SiteSettings(timezone="Europe/Stockholm", country="SE"),
        watch=WatchSettings(policy="se-vardgaranti"),
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings.store.url) as opened:
        yield opened


def hold(store: Store, resources: list[dict[str, Any]]) -> None:
    def put_all(transaction: Transaction) -> None:
        for resource in resources:
            transaction.put(jsontext.from_data(resource), resource["id"])

    store.write(put_all)


def told(who: str, number: str) -> dict[str, Any]:
    """What the referring clinic has said to the patient, which imaging's own records do not hold."""
    return {
        "resourceType": "Communication",
        "id": f"told-{number}",
        "status": "completed",
        "recipient": [{"reference": f"Patient/im-{who}"}],
        "about": [{"reference": f"ServiceRequest/im-order-{number}"}],
        "sent": "2026-11-20T15:00:00+01:00",
    }


@pytest.fixture
def imaging(store: Store, settings: Settings) -> Board:
    hold(store, [*departments(NOW)["imaging"], told("johan", "2005"), told("karin", "2006")])
    return survey(store, settings, NOW)


def page(store: Store, settings: Settings, path: str = "/") -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=routes(store, settings)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    return anyio.run(get)


def test_each_stalled_referral_says_who_what_and_who_can_move_it(imaging: Board) -> None:
    david = next(case for case in imaging.stalled if case.patient == "David Nyström")
    assert david.born == "1984-01-30"
    assert david.what == "MRI of the lumbar spine"
    assert david.why == "Pain at night, on sick leave again"
    assert (david.sender, david.receiver) == ("Linden Health Centre", "Imaging, County Hospital")
    assert david.stage == "seen"
    [missing] = david.stalls
    assert missing.words == "a final report or document in answer"
    assert missing.owner == "Imaging, County Hospital"
    assert missing.since < missing.due < imaging.now


def test_a_referral_that_moves_as_planned_is_not_among_the_stalled(imaging: Board) -> None:
    assert "Johan Vik" in {case.patient for case in imaging.moving}
    assert "Johan Vik" not in {case.patient for case in imaging.stalled}


def test_a_closed_referral_is_not_on_the_board(imaging: Board) -> None:
    assert "Karin Holm" not in {case.patient for case in (*imaging.stalled, *imaging.moving)}


def test_departments_are_counted_by_what_they_can_move(imaging: Board) -> None:
    counted = dict(imaging.departments)
    assert counted["Imaging, County Hospital"] == sum(
        "Imaging, County Hospital" in case.owners for case in imaging.stalled
    )


def test_page_shows_stalled_and_moving_referrals(imaging: Board, store: Store, settings: Settings) -> None:
    answer = page(store, settings)
    assert answer.status_code == 200
    for case in (*imaging.stalled, *imaging.moving):
        assert case.patient in answer.text


def test_page_can_be_narrowed_to_one_department(imaging: Board, store: Store, settings: Settings) -> None:
    answer = page(store, settings, "/?department=Linden+Health+Centre")
    mine = [c for c in imaging.stalled if "Linden Health Centre" in c.owners]
    others = [c for c in imaging.stalled if "Linden Health Centre" not in c.owners]
    assert others
    assert all(f'id="{case.id}"' in answer.text for case in mine)
    assert not any(f'id="{case.id}"' in answer.text for case in others)


def test_an_empty_board_says_so(store: Store, settings: Settings) -> None:
    answer = page(store, settings)
    assert "No referral is stalled" in answer.text


def test_what_people_typed_into_an_ehr_is_shown_and_never_run(store: Store, settings: Settings) -> None:
    resources = departments(NOW)["imaging"]
    patient = next(r for r in resources if r["id"] == "im-david")
    patient["name"] = [{"text": "<script>alert(1)</script>"}]
    hold(store, resources)
    answer = page(store, settings)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_page_with_patients_is_kept_by_no_cache(store: Store, settings: Settings) -> None:
    assert page(store, settings).headers["cache-control"] == "no-store"


def hide(store: Store, *types: str) -> None:
    """Let imaging's EHR be one that does not show these types."""
    from sqlalchemy import insert

    from fhir_coprod.store.schema import sync as sync_tables

    row = {"ehr": "imaging", "state": "not-observable", "since": 0, "reason": "not shown"}
    row |= {"watermark": "", "first_success": 0, "last_success": 0}

    def blind(transaction: Transaction) -> None:
        for type in types:
            transaction.connection.execute(insert(sync_tables.feed).values(type=type, **row))
        for referral in departments(NOW)["imaging"]:
            if referral["resourceType"] == "ServiceRequest":
                told_anew = jsontext.from_data(referral | {"note": [{"text": "again"}]})
                transaction.put(told_anew, referral["id"], source="ehr:imaging")

    store.write(blind)


def test_nobody_says_that_a_patient_was_not_told_where_messages_cannot_be_seen(
    store: Store, settings: Settings
) -> None:
    hold(store, departments(NOW)["imaging"])
    before = survey(store, settings, NOW)
    assert before.untold
    assert "has not been told" in page(store, settings).text
    hide(store, "Communication")
    board = survey(store, settings, NOW)
    unseen = [case for case in board.stalled if case.telling_unseen]
    assert unseen
    assert board.untold == 0
    shown = page(store, settings).text
    assert "has not been told" not in shown
    assert shown.count("Whether the patient has been told cannot be seen.") == len(unseen)
    [case, *_] = unseen
    one = page(store, settings, f"/referral/{case.referral}").text
    assert "may have been told: that cannot be seen" in one
    assert "whether the patient has been told anything cannot be seen" in one


def test_what_cannot_be_seen_is_not_said_to_move_as_planned(store: Store, settings: Settings) -> None:
    hold(store, [*departments(NOW)["imaging"], told("johan", "2005"), told("karin", "2006")])
    whole = survey(store, settings, NOW)
    hide(store, "Appointment", "Encounter", "Task")
    board = survey(store, settings, NOW)
    assert not whole.partly
    assert board.partly
    assert not any(case.unseen for case in board.moving)
    assert board.open == len(board.stalled) + len(board.moving) + len(board.partly)
    shown = page(store, settings).text
    assert f"{len(board.partly)} open referral" in shown
    assert "not stalled as far as can be seen" in shown


def test_a_record_that_was_not_taken_in_is_told_with_its_reason_and_counted(
    store: Store, settings: Settings
) -> None:
    from sqlalchemy import insert

    from fhir_coprod.store.schema import sync as sync_tables

    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "invalid", "diagnostics": "`status` is missing <b>"}],
    }
    row = {"ehr": "imaging", "type": "Task", "foreign_id": "1", "hash": "", "position": "", "body": b"{}"}
    row |= {"outcome": jsontext.encode(outcome).decode(), "received": 0, "state": "open"}
    store.write(lambda t: t.connection.execute(insert(sync_tables.dead_letter).values(**row)) and None)
    shown = page(store, settings).text
    assert "imaging: 1 record (Task) could not be taken in: <code>status</code> is missing &lt;b&gt;" in shown
    nobody = "records cannot be read and name no patient; see <code>fhir-coprod dead-letters list</code>"
    assert nobody in shown
    assert '<a href="#limits">limits to what is seen</a></dt><dd>2</dd>' in shown


def test_what_the_last_sync_remarked_of_a_feed_is_told(store: Store, settings: Settings) -> None:
    from sqlalchemy import insert

    from fhir_coprod.store.schema import sync as sync_tables

    counts = "the server counts 12 records, and 10 came, as before: it counts in its own way"
    row = {"ehr": "imaging", "state": "observable", "since": 0, "first_success": 1, "reason": counts}
    row |= {"watermark": "", "last_success": round(NOW.timestamp() * 1000)}

    def remark(transaction: Transaction) -> None:
        for type in ("Task", "Encounter"):
            transaction.connection.execute(insert(sync_tables.feed).values(type=type, **row))

    store.write(remark)
    shown = page(store, settings).text
    assert f"imaging: read whole; remarked: Encounter, Task ({counts})." in shown


def test_a_request_that_nobody_answered_shows_its_stage(store: Store, settings: Settings) -> None:
    asked = {
        "resourceType": "ServiceRequest",
        "id": "asked",
        "status": "active",
        "intent": "proposal",
        "subject": {"reference": "Patient/p"},
        "requester": {"reference": "Patient/p"},
        "authoredOn": "2026-10-01T09:00:00+02:00",
    }
    hold(store, [asked])
    shown = page(store, settings).text
    assert '<ol class="stages" aria-label="Stage: asked">' in shown
    assert '<li class="now" title="asked"><span>asked</span></li>' in shown


def test_a_patient_who_orders_a_page_about_changes_nothing(store: Store, settings: Settings) -> None:
    resources = departments(NOW)["imaging"]
    patient = next(r for r in resources if r["id"] == "im-david")
    patient["name"] = [{"text": "Da\u202e\x9bvid\x1b \u200cNyström"}]
    hold(store, resources)
    answer = page(store, settings)
    assert "David \u200cNyström" in answer.text
    assert not {"\x1b", "\x9b", "\u202e"} & set(answer.text)


def test_stylesheet_is_served_from_the_package(store: Store, settings: Settings) -> None:
    answer = page(store, settings, "/static/board.css")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/css")


def test_pages_are_made_a_few_at_a_time_and_a_long_line_is_refused(
    monkeypatch: pytest.MonkeyPatch, store: Store, settings: Settings
) -> None:
    at_once: list[int] = []
    begun: list[None] = []

    def counted(*given: Any) -> Board:
        begun.append(None)
        at_once.append(len(begun))
        try:
            return survey(*given)
        finally:
            begun.pop()

    monkeypatch.setattr(pages, "survey", counted)
    monkeypatch.setattr(answering, "LINE", 10)

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(Starlette(routes=routes(store, settings)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = await asyncio.gather(*(client.get("/") for _ in range(20)))
            later = await client.get("/")
        return sorted([answer.status_code for answer in answers] + [later.status_code])

    statuses = anyio.run(ask)
    assert max(at_once) <= answering.AT_ONCE
    assert set(statuses) == {200, 503}
    assert statuses.count(200) > 10
