"""Ten thousand chunks wait for a month without a network: that costs disk, not memory, and not a processor."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from device.outbox.outbox import Outbox
from tests.device.outbox.records import chunk
from tests.paths import ROOT

CHUNKS = 10_000
CHILD = """
import json, sys, time
from pathlib import Path
from device.outbox.outbox import Outbox

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

before = megabytes()
box = Outbox(Path(sys.argv[1]))
began = time.process_time()
for _ in range(200):
    box.counts()
    box.release(box.claim(8) + box.claim(2, bulk=True))
print(json.dumps({
    "grown_mb": megabytes() - before, "queued": box.counts().queued, "ms": 5 * (time.process_time() - began)
}))
box.close()
"""


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux' own account of memory")
def test_ten_thousand_waiting_chunks_cost_little_memory_and_little_time(memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    for number in range(CHUNKS):
        box.seal_chunk(chunk(number), {"frame": b"\xff\xd8\xff%d" % number, "audio": b"RIFF", "clip": b"clip"})
    box.close()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(box.folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["queued"] == CHUNKS
    assert found["grown_mb"] < 25  # 9 when this was written
    assert found["ms"] < 20  # to count and to claim; 0.5 when this was written


def test_the_sums_are_right_whatever_happens(memory_path: Path) -> None:
    """Triggers keep them; here they are held against adding up."""
    box = Outbox(memory_path / "outbox")
    for number in range(12):
        box.seal_chunk(chunk(number, flags=("audit",)), {"frame": b"\xff\xd8\xff%d" % number, "clip": b"clip"})
    items = box.claim(100) + box.claim(100, bulk=True)
    box.merged(items[:7])
    for item in items[7:10]:
        box.refused(item, "no")
    box.release(items[10:])
    box.retry(box.failures()[0].record_id) if box.failures() else None
    box.forget_merged()
    box.prune(box.counts().disk_bytes - 10)
    db = sqlite3.connect(box.folder / "index.sqlite")
    by_state = dict(db.execute("SELECT state, COUNT(*) FROM records GROUP BY state").fetchall())
    (todo,) = db.execute("SELECT COALESCE(SUM(size_bytes), 0) FROM items WHERE todo = 1").fetchone()
    (disk,) = db.execute("SELECT COALESCE(SUM(size_bytes), 0) FROM records").fetchone()
    counts = box.counts()
    assert (counts.queued, counts.failed) == (by_state.get("queued", 0), by_state.get("failed", 0))
    assert (counts.queued_bytes, counts.disk_bytes) == (todo, disk)
    db.close()
    box.close()
