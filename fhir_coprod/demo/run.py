"""Runs the demo from beginning to end: sync, watch, print, serve."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from rich.console import Console

from fhir_coprod.api import server
from fhir_coprod.demo.hospital import DEPARTMENTS, ZONE, departments
from fhir_coprod.demo.servers import serving
from fhir_coprod.demo.staff import signing_in
from fhir_coprod.demo.table import print_board
from fhir_coprod.errors import CoprodError
from fhir_coprod.settings import EhrSettings, Settings, SiteSettings, StoreSettings, WatchSettings
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run as sync
from fhir_coprod.watch import sweep
from fhir_coprod.watch.rules import policies
from fhir_coprod.web.survey import survey

_REPEAT_SECONDS = 10.0


def run(*, once: bool, port: int, stdout: Console, stderr: Console) -> None:
    """Prints the stalled referrals of the invented hospital; then serves until Ctrl-C, unless `once`."""
    with ExitStack() as stack:
        # If the port is in use, say so before any work is done.
        listener = None if once else stack.enter_context(server.listen("127.0.0.1", port))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fhir-coprod-demo-")))
        with _step(stderr, f"starting {len(DEPARTMENTS)} departments, each behind its own FHIR server"):
            addresses = stack.enter_context(serving(folder, departments(datetime.now(UTC))))
        settings = _settings(folder, addresses)
        store = stack.enter_context(Store.open(settings.store.url))
        with _step(stderr, "bringing their records together"):
            sync(store, settings)
        with _step(stderr, "watching the referrals between them"):
            now = datetime.now(UTC)
            sweep(store, policies.load(settings.watch.policy, settings.site), now, settings)
        print_board(stdout, survey(store, settings, now))
        if listener is None:
            return
        settings = stack.enter_context(signing_in(store, settings, server.address(listener)))
        stopped = threading.Event()
        again = threading.Thread(target=_repeat, args=(store, settings, stopped, stderr), daemon=True)
        again.start()
        stack.callback(again.join, _REPEAT_SECONDS)
        stack.callback(stopped.set)
        server.run(settings, listener, 1, lambda: _announce(stderr, server.address(listener), addresses))


def _settings(folder: Path, addresses: dict[str, str]) -> Settings:
    return Settings(
        store=StoreSettings(url=f"sqlite:///{folder / 'coprod.db'}"),
        site=SiteSettings(timezone=ZONE.key, country="SE"),
        watch=WatchSettings(policy="se-vardgaranti"),
        ehr=tuple(
            EhrSettings(
                name=name,
                url=url,
                department=f"Organization/{name[:2]}-org-{name}",
                requests_per_second=1000,
            )
            for name, url in addresses.items()
        ),
    )


def _repeat(store: Store, settings: Settings, stopped: threading.Event, stderr: Console) -> None:
    """Syncs and watches again and again, so that a change at a department shows on the page."""
    policy = policies.load(settings.watch.policy, settings.site)
    while not stopped.wait(_REPEAT_SECONDS):
        try:
            sync(store, settings)
            sweep(store, policy, datetime.now(UTC), settings)
        except CoprodError as error:
            stderr.print(f"This round failed, the next one tries again: {error}", markup=False)


def _announce(stderr: Console, address: str, departments: dict[str, str]) -> None:
    stderr.print(f"\nThe board:      {address}/", highlight=False)
    stderr.print("  Be a coordinator, a physician or a patient there, by one click.", highlight=False)
    stderr.print(f"FHIR endpoint:  {address}/fhir", highlight=False)
    for name, url in departments.items():
        stderr.print(f"  {name + ':':<14}{url}", highlight=False)
    stderr.print(
        f"\nChange a record at a department (PUT): within {_REPEAT_SECONDS:.0f} s the board follows. "
        "Ctrl-C ends all of it.",
        highlight=False,
    )


@contextmanager
def _step(stderr: Console, what: str) -> Iterator[None]:
    """Shows what is being done while it runs, then how long it took."""
    began = perf_counter()
    with stderr.status(f"{what} …"):
        yield
    stderr.print(f"  {what}: {perf_counter() - began:.1f} s", style="dim", highlight=False)
