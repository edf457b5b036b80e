"""A crowd of connections, as a process of its own: `python -m tests.api.crowd PORT KIND NUMBER BEGIN MORE`.

    silent   each says BEGIN and nothing more
    endless  each says BEGIN and then MORE for ever
    unread   each says BEGIN, MORE times over, and reads nothing

Who is closed comes again after half a second.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress


async def one(port: int, kind: str, begin: bytes, more: bytes) -> None:
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(begin * int(more) if kind == "unread" else begin)
                if kind == "unread":
                    await writer.drain()
                    await asyncio.Event().wait()
                while kind == "endless":
                    writer.write(more * (20_000 // len(more)))
                    await writer.drain()
                await reader.read(1)
            finally:
                writer.close()
        await asyncio.sleep(0.5)


async def main() -> None:
    port, kind, number, begin, more = sys.argv[1:]
    spoken = [text.encode().decode("unicode_escape").encode("latin-1") for text in (begin, more)]
    await asyncio.gather(*(one(int(port), kind, spoken[0], spoken[1]) for _ in range(int(number))))


if __name__ == "__main__":
    asyncio.run(main())
