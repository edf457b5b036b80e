"""The search index follows its definitions, while everybody goes on working."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fhir_coprod import definitions, jsontext
from fhir_coprod.cli import app
from fhir_coprod.jsontext import from_data
from fhir_coprod.store import Query, Store, Transaction, index, opening, reindex
from fhir_coprod.store.soundness import check
from tests.store.test_concurrency import said, start

COUNT = 450


def patient(number: int) -> jsontext.Document:
    return jsontext.from_data(
        {"resourceType": "Patient", "name": [{"family": f"Family{number}"}], "active": True}
    )


@pytest.fixture
def outdated(store_url: str) -> str:
    """A store whose index says it was made by other definitions, and indeed lacks rows and has false ones."""
    with Store.open(store_url) as store:

        def fill(transaction: object) -> None:
            for number in range(COUNT):
                transaction.put(patient(number), f"p{number}")  # type: ignore[attr-defined]

        store.write(fill)
        store.write(
            lambda transaction: transaction.put(
                jsontext.from_data({"resourceType": "Basic", "code": {"text": "x"}}), "b"
            )
        )

        def spoil(transaction: object) -> None:
            connection = transaction.connection  # type: ignore[attr-defined]
            connection.exec_driver_sql("UPDATE setting SET value = 'older' WHERE name = 'index:Patient'")
            connection.exec_driver_sql("DELETE FROM token WHERE key < 400")
            connection.exec_driver_sql("UPDATE string SET value = 'false' WHERE key < 300")

        store.write(spoil)
    return store_url


def check_whole(store: Store, url: str) -> None:
    assert (
        store.search(Query.parse("Patient", [("active", "true"), ("_summary", "count")])).total == COUNT + 1
    )
    assert [v.id for v in store.search(Query.parse("Patient", [("family:exact", "Family7")])).matches] == [
        "p7"
    ]
    assert store.search(Query.parse("Patient", [("family", "false")])).matches == []
    assert check.damage(opening.connect(url)) == []


def test_opening_makes_a_stale_index_anew_beside_reads_and_writes(outdated: str) -> None:
    base = opening.connect(outdated)
    assert reindex.stale(base) == ["Patient"]
    with Store.open(outdated) as store:
        store.write(lambda transaction: transaction.put(patient(1000), "new"))
        store.write(lambda transaction: transaction.put(patient(7), "p6"))
        store.write(lambda transaction: transaction.put(patient(6), "p6"))
        assert store.read("Patient", "p7").version == 1
        deadline = time.monotonic() + 60
        while reindex.stale(base) and time.monotonic() < deadline:
            time.sleep(0.01)
        check_whole(store, outdated)
    base.close()


def test_what_processes_write_meanwhile_is_found_afterwards(outdated: str) -> None:
    """Three processes find the index stale, one of them makes it anew, and all of them write."""
    writers = [start("pairs", outdated, f"w{number}", 60) for number in range(2)]
    with Store.open(outdated) as store:
        store.reindex()
        acknowledged = [name for writer in writers for name in said(writer)]
        assert len(acknowledged) == 120
        for name in acknowledged:
            assert len(store.search(Query.parse("Task", [("identifier", name)])).matches) == 2
        store.write(lambda transaction: transaction.put(patient(1000), "new"))
        check_whole(store, outdated)


def test_a_broken_off_pass_is_taken_up_again(outdated: str) -> None:
    Store.open(outdated).close()
    with Store.open(outdated) as store:
        store.write(lambda transaction: transaction.put(patient(1000), "new"))
        store.reindex()
        check_whole(store, outdated)


def test_definitions_that_come_back_make_it_anew_from_the_beginning(outdated: str) -> None:
    def spoil(transaction: Transaction) -> None:
        transaction.set_setting(f"{reindex.PREFIX}Patient", "other")
        transaction.connection.exec_driver_sql(
            "DELETE FROM token WHERE key IN (SELECT key FROM resource WHERE type = 'Patient')"
        )

    with Store.open(outdated) as store:
        store.reindex()
        store.write(lambda transaction: transaction.put(patient(1000), "new"))
        store.write(spoil)
        store.reindex()
        check_whole(store, outdated)


def test_while_one_makes_it_anew_others_wait(store: Store) -> None:
    class Stop(threading.Event):
        """Set by the first wait."""

        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            return True

    done: list[str] = []
    store.write(lambda transaction: transaction.put(patient(1), "a"))
    store.write(lambda transaction: transaction.set_setting(f"{reindex.PREFIX}Patient", "other"))
    store.write(lambda transaction: transaction.take_lease(reindex.LEASE, "another process", 60))
    reindex.run(store._writer, store._database, lambda type, count: done.append(type), Stop())
    assert (done, reindex.stale(store._database)) == ([], ["Patient"])
    store.write(lambda transaction: transaction.give_up_lease(reindex.LEASE, "another process"))
    store.reindex()
    assert reindex.stale(store._database) == []
    assert store.write(lambda transaction: transaction.take_lease(reindex.LEASE, "the next", 60))


def test_a_write_does_not_make_a_stale_index_current(store: Store) -> None:
    store.write(lambda transaction: transaction.put(patient(1), "a"))
    store.write(lambda transaction: transaction.set_setting(f"{reindex.PREFIX}Patient", "other"))
    store._writer._known_types.clear()  # as in a process that has not written yet
    store.write(lambda transaction: transaction.put(patient(2), "b"))
    assert reindex.stale(store._database) == ["Patient"]


def test_db_upgrade_makes_it_anew_and_db_check_asks_for_it(
    outdated: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPROD_STORE__URL", outdated)
    checked = CliRunner().invoke(app, ["db", "check"])
    assert checked.exit_code == 1
    assert "search index was made by other definitions: Patient" in checked.output
    upgraded = CliRunner().invoke(app, ["db", "upgrade"])
    assert upgraded.exit_code == 0
    assert f"made anew for {COUNT} resources" in upgraded.output
    assert CliRunner().invoke(app, ["db", "check"]).exit_code == 0


def test_no_two_search_parameters_share_a_number() -> None:
    numbers: dict[int, tuple[str, str]] = {}
    for type in definitions.resource_types():
        for code in definitions.search_parameters(type):
            for suffix in ("", ":text", ":identifier", ":of-type"):
                number = index.number(type, code + suffix)
                assert numbers.setdefault(number, (type, code + suffix)) == (type, code + suffix)
    assert len(numbers) > 5000


def test_a_type_whose_first_work_failed_is_known_by_its_definitions_all_the_same(store_url: str) -> None:
    """Or nobody would notice that its index is stale after an upgrade."""
    basic = from_data({"resourceType": "Basic", "code": {"text": "x"}})

    def fails(transaction: Transaction) -> None:
        transaction.put(basic, "a")
        transaction.search(Query.parse("Basic", [("_id", "a")]))
        raise LookupError

    with Store.open(store_url) as store:
        with pytest.raises(LookupError):
            store.write(fails)
        store.write(lambda transaction: transaction.put(basic, "a"))
        with store.connect() as connection:
            found = connection.exec_driver_sql("SELECT count(*) FROM setting WHERE name = 'index:Basic'")
            assert found.scalar() == 1
