"""What a process holds in memory, told by the process itself: Python's objects, the C library's heap, the mappings.

    watch(path)   from then on SIGUSR2 adds a line to the file; after SIGUSR1 it also says what is left once the C
                  library has given back all that is free

Which of them grows tells a leak from a heap with holes: a leak grows `used_mb`, of Python's objects `python_blocks`,
holes grow `free_mb` and are gone once `trimmed`. PYTHONTRACEMALLOC=1 adds the lines that allocated.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import signal
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

from shared.clock import SystemClock

_MB = 1024 * 1024
_CLOCK = SystemClock()
_MOST_KINDS, _MOST_LINES = 25, 60


_NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3), over all heaps."""

    _fields_ = [(name, ctypes.c_size_t) for name in _NAMES]


def c_heap() -> dict[str, float]:
    """In MB: what is handed out of the heaps, what is free in them, what is mapped one by one."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Mallinfo2
    found = libc.mallinfo2()
    figures = {"used_mb": found.uordblks, "free_mb": found.fordblks, "mapped_mb": found.hblkhd}
    return {name: round(value / _MB, 2) for name, value in figures.items()}


def mappings() -> dict[str, float]:
    """Resident MB by kind: [heap], arenas of threads (aligned to 64 MB), other anonymous memory, stacks, files."""
    sizes: Counter[str] = Counter()
    name = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            fields = line.split(maxsplit=5)
            begin, end = (int(word, 16) for word in fields[0].split("-"))
            path = fields[5] if len(fields) > 5 else ""
            name = _kind(path, begin, end)
        elif line.startswith("Rss:"):
            sizes[name] += int(line.split()[1])
    return {name: round(kb / 1024, 2) for name, kb in sorted(sizes.items())}


def _kind(path: str, begin: int, end: int) -> str:
    if path.startswith("/"):
        return "file"
    if path:
        return path
    if begin % (64 * _MB) == 0:
        return "arena"
    size_mb = (end - begin) / _MB
    return "anonymous small" if size_mb < 2 else "anonymous"


def told() -> dict[str, Any]:
    """All of it."""
    gc.collect()
    kinds = Counter(type(one).__name__ for one in gc.get_objects())
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    found = {
        "at_s": round(_CLOCK.monotonic_s(), 1),
        "rss_mb": round(int(status["VmRSS"].split()[0]) / 1024, 2),
        "anon_mb": round(int(status["RssAnon"].split()[0]) / 1024, 2),
        "python_blocks": sys.getallocatedblocks(),
        "objects": sum(kinds.values()),
        "kinds": dict(kinds.most_common(_MOST_KINDS)),
        **c_heap(),
        "mappings": mappings(),
    }
    if tracemalloc.is_tracing():
        found["python_mb"] = round(tracemalloc.get_traced_memory()[0] / _MB, 2)
        lines = tracemalloc.take_snapshot().statistics("lineno")
        found["lines"] = {str(one.traceback): [one.size, one.count] for one in lines[:_MOST_LINES]}
    return found


def watch(path: Path) -> None:
    """See above. Call it in the main thread, which then stands still for a tenth of a second at each signal."""

    def tell(number: int, frame: object) -> None:
        found = told()
        if number == signal.SIGUSR1:
            ctypes.CDLL(None).malloc_trim(0)
            after = told()
            found["trimmed"] = {name: after[name] for name in ("rss_mb", "anon_mb", "free_mb", "mappings")}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")

    signal.signal(signal.SIGUSR1, tell)
    signal.signal(signal.SIGUSR2, tell)
