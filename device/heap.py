"""How the C library keeps memory, set for a process that runs for hours on a small board.

What it does by itself fits short programs: each thread may get a heap of its own, and once a large block was freed,
blocks of that size come out of the heaps, too. A walk allocates large blocks all the time, pictures and the buffers of
an encoder for each chunk, from a dozen threads; between them lie small ones that stay. The heaps had holes of 18 MB
after two minutes and of 28 MB after ten, with four times the usual moments. Mapped one by one, large blocks go back
when they are freed: 4 to 7 MB are left.
"""

from __future__ import annotations

import ctypes
import logging

LARGE_BYTES = 128 * 1024  # where glibc begins, before it adapts
HEAPS = 2
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h

logger = logging.getLogger(__name__)


def settle() -> bool:
    """Before threads are started. Whether the C library knows these settings: glibc does, musl does not."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        logger.info("The C library has no mallopt: how memory is kept stays as it is.")
        return False
    return all(mallopt(name, value) == 1 for name, value in ((_M_ARENA_MAX, HEAPS), (_M_MMAP_THRESHOLD, LARGE_BYTES)))
