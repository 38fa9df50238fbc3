"""An attack on a page, as a process of its own: python -m benchmarks._attack HOST PORT. Prints a line of JSON when it
is under way, and what it did, as JSON, once its stdin ends.

CONNECTIONS clients at once: a third send half a request's head and then a byte now and then, a third the head of a
form and its body byte by byte, a third say nothing. Where a connection is ended, its client comes again after AGAIN_S.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
from dataclasses import asdict, dataclass

CONNECTIONS = 200
EVERY_S, AGAIN_S = 0.5, 0.25
_HEAD = b"Host: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\n"
_HALF = b"GET /moments HTTP/1.1\r\n" + _HEAD + b"X-Slow: "
_BODY = b"POST /login HTTP/1.1\r\n" + _HEAD
_BODY += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9000\r\n\r\nname="
FIRST = (_HALF, _BODY, b"")


@dataclass
class AttackDone:
    """What was done."""

    connected: int = 0
    ended: int = 0
    """By the server."""
    refused: int = 0
    cpu_s: float = 0.0


async def _client(host: str, port: int, first: bytes, done: AttackDone) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            done.refused += 1
        else:
            done.connected += 1
            with contextlib.suppress(OSError):
                await _slowly(reader, writer, first)
            done.ended += 1
            writer.close()
        await asyncio.sleep(AGAIN_S)


async def _slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
    """Until the server ends it. Raises: OSError."""
    writer.write(first)
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY_S):
                if not await reader.read(4096):
                    return
        if first:
            writer.write(b"a")


async def _attack(host: str, port: int) -> AttackDone:
    done = AttackDone()
    clients = [asyncio.create_task(_client(host, port, FIRST[n % len(FIRST)], done)) for n in range(CONNECTIONS)]
    await asyncio.sleep(2 * EVERY_S)
    print(json.dumps(asdict(done)), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    used = resource.getrusage(resource.RUSAGE_SELF)
    done.cpu_s = used.ru_utime + used.ru_stime
    return done


def main() -> None:
    done = asyncio.run(_attack(sys.argv[1], int(sys.argv[2])))
    print(json.dumps(asdict(done)), flush=True)


if __name__ == "__main__":
    main()
