"""A dead letter that a person puts aside is no fault of later runs; what it holds is still not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import respx
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.errors import Conflict, NotAllowed, NotFound
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Issue, Outcome
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import dead_letters, observed
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.report import EhrReport
from tests.sync.departments import QUICK
from tests.sync.records import Json, patient
from tests.sync.test_dead_letters import states
from tests.sync.test_pages import BASE, answers, offers, page

CARE = Settings(
    ehr=(
        EhrSettings(name="care", url=BASE, types=("Patient",), requests_per_second=1000, on_invalid="refuse"),
    )
)


def strict(document: Document) -> Outcome:
    is_bad = document.data.get("gender") in ("male", "other")
    return Outcome((Issue("error", "invariant", "made up"),)) if is_bad else OK


def ran(store: Store, **more: Any) -> EhrReport:
    answers(page({"resource": patient("p", **more)}))
    (report,) = run(store, CARE, politeness=QUICK, validate=strict)
    return report


def unread(store: Store) -> int:
    with store.connect() as connection:
        return len(list(observed.unread_records(connection)))


@respx.mock
def test_what_is_put_aside_is_no_fault_any_more_and_still_not_seen(store: Store) -> None:
    offers()
    ran(store)
    assert not ran(store, gender="male").ok
    (one,) = dead_letters.dismiss(store, [1], " Eva Öst ", "the vendor mends it in May")
    assert (one.state, one.dismissed_by, one.dismissed_because) == (
        "dismissed", "Eva Öst", "the vendor mends it in May",
    )  # fmt: skip
    again = ran(store, gender="male")
    assert again.ok
    assert (again.counts["Patient"].dead, again.counts["Patient"].dismissed) == (0, 1)
    assert states(store) == [("p", "dismissed")]
    assert unread(store) == 1


@respx.mock
def test_errors_come_first_in_a_dead_letter(store: Store) -> None:
    offers()
    answers(page({"resource": patient("p", gender="no such code")}))
    run(store, CARE, politeness=QUICK)
    with store.connect() as connection:
        letter = dead_letters.read_one(connection, 1).to_json()
    assert [issue["severity"] for issue in letter["outcome"]["issue"]] == ["error", "warning"]


@respx.mock
def test_other_content_of_the_same_record_is_a_new_dead_letter(store: Store) -> None:
    offers()
    ran(store, gender="male")
    dead_letters.dismiss(store, [1], "Eva", "known")
    assert not ran(store, gender="other").ok
    assert states(store) == [("p", "superseded"), ("p", "open")]


@respx.mock
def test_a_sound_version_resolves_it_and_a_replay_takes_it_in(store: Store) -> None:
    offers()
    ran(store)
    ran(store, gender="male")
    dead_letters.dismiss(store, [1], "Eva", "known")
    ran(store, gender="female")
    assert states(store) == [("p", "resolved")]
    assert unread(store) == 0
    ran(store, gender="other")
    dead_letters.dismiss(store, [2], "Eva", "known")
    (found,) = dead_letters.replay(store, CARE, [2], validate=lambda document: OK)
    assert found.state == "resolved"


@respx.mock
@pytest.mark.parametrize(("by", "because"), [("", "known"), ("Eva", " ")])
def test_it_takes_a_name_and_a_reason(store: Store, by: str, because: str) -> None:
    offers()
    ran(store, gender="male")
    with pytest.raises(NotAllowed, match="Say who puts it aside"):
        dead_letters.dismiss(store, [1], by, because)
    with pytest.raises(NotFound):
        dead_letters.dismiss(store, [1, 7], "Eva", "known")
    assert states(store) == [("p", "open")], "all or none"


@respx.mock
def test_what_is_over_cannot_be_put_aside(store: Store) -> None:
    offers()
    ran(store, gender="male")
    ran(store, gender="female")
    with pytest.raises(Conflict, match="Dead letter 1 is resolved"):
        dead_letters.dismiss(store, [1], "Eva", "known")


@respx.mock
def test_the_command_prints_it_and_lists_who_did_it(store: Store, store_path: str, tmp_path: Path) -> None:
    offers()
    ran(store, gender="male")
    config = tmp_path / "coprod.toml"
    config.write_text(f'[store]\nurl = "{store_path}"\n')

    def coprod(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["--config", str(config), "dead-letters", *arguments])

    assert coprod("dismiss", "1", "--by", "Eva").exit_code == 2, "no reason"
    done = coprod("dismiss", "1", "--by", "Eva", "--because", "known", "--json")
    assert done.exit_code == 0, done.output
    told: Json = json.loads(done.stdout)[0]
    assert (told["state"], told["dismissed"]["by"], told["dismissed"]["because"]) == (
        "dismissed",
        "Eva",
        "known",
    )
    assert coprod("list").stdout.strip() == "no dead letters"
    assert "dismissed by Eva" in " ".join(coprod("list", "--all").stdout.split())
