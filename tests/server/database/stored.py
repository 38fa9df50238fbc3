"""What the bytes of a file say to whoever looks for words in them: as they are, and inflated where they are bodies."""

from __future__ import annotations

import zlib
from pathlib import Path

from server.database import bodies

_HEADER = bodies.pack("")[:6]
"""Every body begins with it: zlib's, and which dictionary."""
_LONGEST = 256 * 1024


def readable(path: Path) -> bytes:
    """All bytes of a file, and behind them what bodies in it say: of rows, of free pages, and of those cut off."""
    data = path.read_bytes()
    found, at = [data], data.find(_HEADER)
    while at >= 0:
        found.append(_inflated(data[at : at + _LONGEST]))
        at = data.find(_HEADER, at + 1)
    return b"\n".join(found)


def _inflated(data: bytes) -> bytes:
    """As much as there is of a stream that something else follows, or that is damaged behind its beginning."""
    for step in (len(data), 1):
        stream = zlib.decompressobj(zdict=bodies.DICTIONARY)
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
