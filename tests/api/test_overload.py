"""One caller must not take the server from all others; the attacks and the measuring are in `overload.py`."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fhir_coprod.outcome import MOST_ISSUES
from fhir_coprod.settings import LimitSettings
from tests.api import overload
from tests.api.conftest import Api, outcome, patient
from tests.peers.fixtures import NewStore

SMALL = os.environ.get("PROOF_SIZE") == "ci"
OF_CI = (
    "8 × 20 kB of gzip, 20 MB of {}",
    "12 × a definition of 6,000 elements",
    "a transaction of 5,000 entries",
)


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("name", OF_CI if SMALL else overload.ATTACKS)
def test_beside_an_attack_others_are_served_and_afterwards_nothing_goes_on(
    new_store: NewStore, name: str, kind: str
) -> None:
    requests = overload.ATTACKS[name]()
    with new_store(kind) as url:
        harm = overload.beside(
            url,
            lambda root: overload.sent_at_once(root, requests),
            stored=overload.population() if name in overload.POPULATED else (),
        )
    print(harm.row(f"{name}, {kind}"))
    assert set(harm.statuses) <= {200, 201, 400, 413, 422, 503}
    assert harm.refused == 0
    assert overload.p99(harm.reads) < harm.slowness
    assert harm.memory < 500_000_000
    assert harm.after < harm.slowness
    assert harm.ending < 9 + harm.slowness


def test_what_is_over_its_time_ends_and_says_when_to_come_again(sqlite_api: Callable[..., Api]) -> None:
    api = sqlite_api(limits=LimitSettings(seconds=0.2))
    answer = api.post("Patient", overload.extensions(30_000))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "stored" not in outcome(answer)["diagnostics"]
    until = time.monotonic() + 20
    while (busy := _busy()) and time.monotonic() < until:
        time.sleep(0.02)
    assert not busy
    assert api.get("Patient?_summary=count").json()["total"] == 0


def _busy() -> list[str]:
    """What the threads for long bodies are doing."""
    frames = sys._current_frames()
    found = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0) if thread.name.startswith("body") else None
        while frame is not None:
            if "validation" in frame.f_code.co_filename:
                found.append(frame.f_code.co_qualname)
            frame = frame.f_back
    return found


def test_a_write_that_waits_behind_another_until_its_time_is_over_is_dropped(
    sqlite_api: Callable[..., Api],
) -> None:
    api = sqlite_api(limits=LimitSettings(seconds=0.3))
    blocked = api.store.submit(lambda transaction: time.sleep(0.8))
    answer = api.post("Patient", patient())
    assert answer.status_code == 503
    assert "stored" not in outcome(answer)["diagnostics"]
    blocked.result()
    before = api.store.head()
    time.sleep(0.1)
    assert api.store.head() == before


def test_a_large_body_waits_for_its_place_and_small_requests_do_not(sqlite_api: Callable[..., Api]) -> None:
    api = sqlite_api()
    large = overload.questionnaire(3_000)
    headers = {"content-type": "application/fhir+json"}
    sent: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "Questionnaire", {"content": large, "headers": headers}) for _ in range(6)
    ]
    sent.append(("GET", "Questionnaire?_summary=count", {}))
    sent.append(("POST", "Patient", {"content": overload.encode(patient()), "headers": headers}))
    answers = api.together(*sent)
    assert [answer.status_code for answer in answers] == [201] * 6 + [200, 201]
    assert answers[6].json()["total"] < 6


def test_a_refused_body_goes_with_its_answer(sqlite_api: Callable[..., Api]) -> None:
    """Not when the garbage collector comes, which runs rarely while large bodies are worked on."""
    api = sqlite_api()
    wrong = overload.deep_objects(200_000)
    assert api.post("Basic", wrong).status_code == 422
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        assert api.post("Basic", wrong).status_code == 422
        assert len(gc.get_objects()) - before < 10_000
    finally:
        gc.enable()


def test_the_garbage_collector_looks_at_everything_again_after_a_large_body(
    sqlite_api: Callable[..., Api],
) -> None:
    assert sqlite_api().post("Basic", overload.deep_objects(1_100_000)).status_code == 422
    assert gc.get_freeze_count() == 0


def test_patches_that_come_at_once_are_all_applied(api: Api) -> None:
    id = api.create(patient())["id"]
    sent = [
        (
            "PATCH",
            f"Patient/{id}",
            {
                "json": [{"op": "add", "path": "/identifier/-", "value": {"value": f"{n}"}}],
                "headers": {"content-type": "application/json-patch+json"},
            },
        )
        for n in range(8)
    ]
    assert [answer.status_code for answer in api.together(*sent)] == [200] * 8
    values = {each["value"] for each in api.get(f"Patient/{id}").json()["identifier"]}
    assert {f"{n}" for n in range(8)} <= values


class TestFindings:
    """A list of findings that nobody would read is not whole, and says so; the verdict is."""

    def test_of_a_transaction(self, api: Api) -> None:
        answer = api.post("", overload.wrong("transaction", 200))
        assert answer.status_code == 422
        issues = answer.json()["issue"]
        assert len(issues) <= 2 * MOST_ISSUES + 1
        assert sum(issue["severity"] == "error" for issue in issues) == MOST_ISSUES
        assert issues[-1]["code"] == "too-long"
        assert "first 1,000" in issues[-1]["diagnostics"]

    def test_of_a_batch_each_entry_keeps_its_status_and_its_first_error(self, api: Api) -> None:
        answer = api.post("", overload.wrong("batch", 200))
        entries = answer.json()["entry"]
        assert [entry["response"]["status"][:3] for entry in entries] == ["422"] * 200
        found = [entry["response"]["outcome"]["issue"] for entry in entries]
        assert all(issues[0]["severity"] == "error" for issues in found)
        assert sum(map(len, found)) < MOST_ISSUES + 3 * 200
        assert len(found[0]) > 20
        assert [issue["code"] for issue in found[-1]][-1] == "too-long"

    def test_of_one_resource(self, api: Api) -> None:
        wrong = {"resourceType": "Patient", "name": [{}] * 1_500}
        for url, status in (("Patient", 422), ("Patient/$validate", 200)):
            answer = api.post(url, wrong)
            assert answer.status_code == status
            issues = answer.json()["issue"]
            assert sum(issue["severity"] == "error" for issue in issues) == MOST_ISSUES
            assert issues[-1]["code"] == "too-long"
