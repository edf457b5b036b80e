"""A record that changes is parsed once on its way to an alert, however many parts of the watch ask for it.

Which referrals it concerns, the index knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from fhir_coprod.jsontext import document, values
from fhir_coprod.store import Store
from fhir_coprod.watch.live.loop import Watch
from fhir_coprod.watch.worklist import desk
from tests.watch.hospital import DAY, MONDAY, Hospital

LATE = MONDAY + 9 * DAY
"""The department should have answered by then."""
Text = tuple[str, str]
"""The id of a resource, and its version; "" of one that is about to be written."""


class Read(NamedTuple):
    """How often each text was made values of."""

    parsed: Counter[Text]
    hashed: Counter[Text]
    """To compare its content."""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """Counts where `jsontext` hands texts to the decoder: nothing else parses resources."""
    read = Read(Counter(), Counter())

    def counting(decode: Callable[[Any], Any], counter: Counter[Text]) -> Callable[[Any], Any]:
        def counted(raw: Any) -> Any:
            data = decode(raw)
            if isinstance(data, dict) and "resourceType" in data:
                counter[data["id"], data.get("meta", {}).get("versionId", "")] += 1
            return data

        return counted

    monkeypatch.setattr(values, "decode_valid", counting(values.decode_valid, read.parsed))
    monkeypatch.setattr(document, "_decode_lexemes", counting(document._decode_lexemes, read.hashed))
    return read


@pytest.fixture
def hospital(store: Store) -> Hospital:
    return Hospital(store)


def watching(hospital: Hospital) -> Watch:
    watch = Watch(hospital.store, hospital.policy, hospital.settings)
    watch.catch_up(MONDAY)
    return watch


def look(watch: Watch, read: Read, now: datetime, *, news: bool = True) -> None:
    """The watch follows the log and looks at what that concerns, counted on its own."""
    for counter in read:
        counter.clear()
    assert watch.follow() is news
    assert watch.due(now)


def versions(hospital: Hospital, type: str, status: str) -> set[Text]:
    """The newest ones of those with a status."""
    return {
        (one["id"], one["meta"]["versionId"]) for one in hospital.all(type) if one.get("status") == status
    }


def test_a_changed_task_is_parsed_once_while_an_alert_is_raised_kept_and_resolved(
    hospital: Hospital, read: Read
) -> None:
    """What it names is in the index. Only the version before it is read twice: for what it named, and to be
    judged with all others."""
    hospital.refer()
    watch = watching(hospital)
    moments = (LATE, LATE + DAY, LATE + 2 * DAY)
    changes = (
        ("requested", MONDAY, "raised"),
        ("requested", MONDAY, "kept"),
        ("received", LATE + 2 * DAY, "resolved"),
    )
    for number, (now, (status, at, words)) in enumerate(zip(moments, changes, strict=True), 2):
        hospital.task("r", status, at, description=words)
        look(watch, read, now)
        known = {version: read.parsed["task-r", str(version)] for version in range(1, number + 1)}
        assert known == dict.fromkeys(range(1, number + 1), 1) | {number - 1: 2}
        assert read.parsed["r", "1"] == 1
        assert not [text for text in read.hashed if text[0] in ("task-r", "r")]
        alerts = {status: len(hospital.issues(status)) for status in ("preliminary", "final")}
        assert alerts == {"preliminary": words != "resolved", "final": words == "resolved"}


def test_an_alert_s_own_resources_are_parsed_once_and_hashed_once(hospital: Hospital, read: Read) -> None:
    hospital.refer()
    watch = watching(hospital)
    hospital.task("r", "requested", MONDAY, description="news")
    look(watch, read, LATE)
    written = {(one, "") for one, _ in versions(hospital, "DetectedIssue", "preliminary")}
    written |= {(one["id"], "") for one in hospital.followups()} | {("referral-watch", "")}
    assert read.hashed == Counter(written)
    assert all(count == 1 for (_, version), count in read.parsed.items() if not version)

    issues = versions(hospital, "DetectedIssue", "preliminary")
    (task,) = hospital.followups()
    alerts = {*issues, (task["id"], task["meta"]["versionId"])}
    hospital.task("r", "received", LATE + DAY)
    watch.follow()
    look(watch, read, LATE + DAY, news=False)
    assert {text: read.parsed[text] for text in alerts} == dict.fromkeys(alerts, 1)
    assert {text: read.hashed[text] for text in alerts} == dict.fromkeys(alerts, 1), "as they are written"


def test_what_a_person_does_with_an_alert_is_parsed_once_and_what_the_watch_writes_never_followed(
    hospital: Hospital, read: Read
) -> None:
    hospital.refer()
    watch = watching(hospital)
    hospital.task("r", "requested", MONDAY, description="news")
    look(watch, read, LATE)
    (task,) = hospital.followups()
    read.parsed.clear()
    assert watch.follow()
    assert not read.parsed
    desk.acknowledge(
        hospital.store, hospital.settings, hospital.policy, task["id"], "Eva", LATE + timedelta(hours=1)
    )
    look(watch, read, LATE + timedelta(hours=2))
    assert read.parsed[task["id"], "2"] == 1


def test_a_time_that_comes_parses_the_record_once(hospital: Hospital, read: Read) -> None:
    """Judged first by what its row keeps; for the alert the record itself is read."""
    hospital.refer()
    watch = watching(hospital)
    look(watch, read, LATE, news=False)
    assert hospital.issues()
    assert (read.parsed["task-r", "1"], read.parsed["r", "1"]) == (1, 1)
