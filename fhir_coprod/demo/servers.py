"""One FHIR server process per department, as the layer finds them in a hospital."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fhir_coprod import jsontext
from fhir_coprod.errors import ConfigError
from fhir_coprod.store import Store, Transaction

_START_SECONDS = 60.0


@contextmanager
def serving(folder: Path, records: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, str]]:
    """Runs department servers holding `records` until the block ends; yields the base URL of each by name."""
    with ExitStack() as stack:
        starting = {}
        for name, resources in records.items():
            url = f"sqlite:///{folder / name}.db"
            _fill(url, resources)
            starting[name] = stack.enter_context(_process(url))
        yield {name: _address(name, process) for name, process in starting.items()}


def _fill(url: str, resources: list[dict[str, Any]]) -> None:
    """Put the records in unchecked: an EHR does not ask our validator what it may hold."""
    documents = [jsontext.from_data(resource) for resource in resources]

    def put_all(transaction: Transaction) -> None:
        for document in documents:
            transaction.put(document, document.data["id"])

    with Store.open(url) as store:
        store.write(put_all)


@contextmanager
def _process(store_url: str) -> Iterator[subprocess.Popen[str]]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COPROD_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "fhir_coprod", "serve", "--port", "0", "--no-jobs"],
        env=environment | {"COPROD_STORE__URL": store_url},
        cwd=Path(store_url.removeprefix("sqlite:///")).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(name: str, process: subprocess.Popen[str]) -> str:
    """Waits for the server's own line that names its address; afterwards its output is read and dropped."""
    output = process.stdout
    assert output is not None
    timer = threading.Timer(_START_SECONDS, process.kill)
    timer.start()
    said: list[str] = []
    try:
        for line in output:
            if "listening on " in line:
                threading.Thread(target=output.read, daemon=True).start()
                return line.split("listening on ", 1)[1].split()[0]
            said.append(line.strip())
    finally:
        timer.cancel()
    last = said[-1] if said else f"no answer within {_START_SECONDS:.0f} s"
    raise ConfigError(f"The demo's server of {name} did not start: {last}")
