"""The heap of a process that allocates large and small blocks from several threads, as an agent does."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

LARGE_BYTES, SMALL_BYTES, ROUNDS, THREADS = 900_000, 3000, 10, 4

CODE = f"""
import json, sys, threading
from device import heap
from tests.faults.memory import c_heap
settled = heap.settle() if sys.argv[1] == "settled" else None
kept, together = [], threading.Barrier({THREADS})
def work():
    bytearray({LARGE_BYTES})  # freed at once: from here on glibc takes such blocks from the heap
    together.wait()  # threads that follow one another would share a heap
    passing = []
    for _ in range({ROUNDS}):
        passing.append(bytearray(b"x") * {LARGE_BYTES})
        kept.append(bytes({SMALL_BYTES}))  # lies behind it, and stays
    passing.clear()
threads = [threading.Thread(target=work) for _ in range({THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({{"settled": settled}} | c_heap()))
"""


def free_mb(how: str) -> float:
    """What such a process has in the holes of its heaps when all large blocks were freed."""
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["settled"] is (True if how == "settled" else None)
    return float(found["free_mb"])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="these settings are glibc's")
def test_large_blocks_that_were_freed_leave_no_holes_between_small_ones_that_stay() -> None:
    assert free_mb("settled") < 2.0
    assert free_mb("as it is") > 10.0
