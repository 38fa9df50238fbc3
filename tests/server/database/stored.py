"""What the bytes of a file say to whoever looks for words in them: as they are, and inflated where they are bodies or
compressed lines of a log."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from server.database import bodies

_STREAMS: tuple[tuple[bytes, Callable[[], zlib._Decompress]], ...] = (
    (bodies.pack("")[:6], lambda: zlib.decompressobj(zdict=bodies.DICTIONARY)),  # zlib's, and which dictionary
    (b"\x1f\x8b\x08", lambda: zlib.decompressobj(wbits=31)),
)
"""How streams begin, and what reads them."""
_LONGEST = 256 * 1024


def readable(path: Path) -> bytes:
    """All bytes of a file, and behind them what streams in it say: of rows, of free pages, and of those cut off."""
    data = path.read_bytes()
    found = [data]
    for header, opened in _STREAMS:
        at = data.find(header)
        while at >= 0:
            found.append(_inflated(data[at : at + _LONGEST], opened))
            at = data.find(header, at + 1)
    return b"\n".join(found)


def _inflated(data: bytes, opened: Callable[[], zlib._Decompress]) -> bytes:
    """As much as there is of a stream that something else follows, or that is damaged behind its beginning."""
    for step in (len(data), 1):
        stream = opened()
        text = b""
        try:
            for at in range(0, len(data), step):
                text += stream.decompress(data[at : at + step])
                if stream.eof:
                    return text
        except zlib.error:
            if step == 1:
                return text
    return text
