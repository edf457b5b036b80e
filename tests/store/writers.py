"""A process that writes to a store until it is done or killed; run as `python -m tests.store.writers …`.

It prints a line for each thing that the store has acknowledged, so that a test can hold it to its word.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import structlog

from fhir_coprod import jsontext
from fhir_coprod.errors import PreconditionFailed
from fhir_coprod.jsontext import Document
from fhir_coprod.store import Query, Store, Transaction

BY_NUMBER = "urn:number"


def task(number: str) -> Document:
    identifier = [{"system": BY_NUMBER, "value": number}]
    return jsontext.from_data({"resourceType": "Task", "status": "requested", "identifier": identifier})


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def pairs(store: Store, name: str, count: int) -> None:
    """Two tasks and a cursor in each transaction, from four threads."""

    def write(number: int) -> None:
        def work(transaction: Transaction) -> None:
            transaction.put(task(f"{name}-{number}"), f"{name}-{number}-a")
            transaction.put(task(f"{name}-{number}"), f"{name}-{number}-b")
            transaction.set_cursor(f"{name}-{number}", number)

        store.write(work)
        say(f"{name}-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(count)))


def once(store: Store, name: str, count: int) -> None:
    """A conditional create of each number: only where no task has it yet."""

    def write(number: int) -> None:
        def work(transaction: Transaction) -> bool:
            query = Query.parse("Task", [("identifier", f"{BY_NUMBER}|{number}")])
            if transaction.search(query).matches:
                return False
            transaction.create(task(str(number)))
            return True

        if store.write(work):
            say(str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(count)))


def races(store: Store, name: str, count: int) -> None:
    """Four threads try to be the one that writes each version of Task/race after the one they have read."""

    def write(version: int) -> None:
        document = jsontext.from_data({"resourceType": "Task", "description": f"{name} {version}"})
        try:
            store.write(lambda transaction: transaction.put(document, "race", if_match=version))
        except PreconditionFailed:
            return
        say(str(version))

    for version in range(1, count + 1):
        while store.read("Task", "race").version < version:
            pass
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, [version, version]))


def main() -> None:
    mode, url, name, count = sys.argv[1:]
    # A process that finds the index stale makes it anew, and says so.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with Store.open(url) as store:
        say("ready")
        {"pairs": pairs, "once": once, "races": races}[mode](store, name, int(count))


if __name__ == "__main__":
    main()
