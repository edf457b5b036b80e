"""The server with limits of its own: python -m tests.api.limited {"limits": {…}, "files": 99, "grace": 1}."""

from __future__ import annotations

import json
import resource
import sys

from fhir_coprod import stopping
from fhir_coprod.api import server
from fhir_coprod.api.connections import ConnectionLimits
from fhir_coprod.settings import Settings


def main() -> None:
    asked = json.loads(sys.argv[1])
    if asked["grace"]:
        stopping.GRACE_SECONDS, server.CLOSING_SECONDS = asked["grace"], asked["grace"] / 3
    if asked["files"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (asked["files"], asked["files"]))
    with server.listen("127.0.0.1", 0) as listener:
        server.run(
            Settings.load(),
            listener,
            1,
            lambda: print(f"listening on {server.address(listener)}/fhir", flush=True),
            limits=ConnectionLimits(**asked["limits"]),
        )


if __name__ == "__main__":
    main()
