"""Reads all records of some types with fhirpy, as its documentation shows, into NDJSON files.

`python -m benchmarks.fhirpy_loop BASE FOLDER TYPE...`
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from fhirpy import AsyncFHIRClient

from benchmarks.pages import PAGE


async def _read(base: str, folder: Path, types: list[str]) -> None:
    client = AsyncFHIRClient(base)
    for type in types:
        with (folder / f"{type}.ndjson").open("w") as file:
            async for resource in client.resources(type).limit(PAGE):
                file.write(json.dumps(resource.serialize()) + "\n")


if __name__ == "__main__":
    asyncio.run(_read(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
