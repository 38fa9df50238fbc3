"""Durable files are written by shared/atomic.py; other places that open a file to write are listed with a reason."""

from __future__ import annotations

import re

from tests.house.tree import CODE, python_files
from tests.paths import ROOT

WRITES = re.compile(r"""\.write_(?:text|bytes)\((?!.*atomic)|\b(?:wave|av|io)?\.?open\([^)\n]*["'][wax]b?["']""")
ELSEWHERE = {
    "device/voice/phrases.py": "a phrase in memory",
    "device/voice/sinks.py": "the WAV file of a walk that is replayed",
    "device/health/walk_report.py": "captions, for whoever watches",
    "device/transcription/child.py": "its own place in the kernel's order of killing",
    "device/outbox/": "the append-only list of what was lost",
    "device/capture/clip.py": "a clip and a sound in memory",
    "server/labelling/": "an append-only log; a sound in memory",
    "server/broker/child.py": "the log of a child process",
    "server/learn/lora.py": "a folder under construction",
    "server/review/nameless.py": "media for an export under construction",
    "server/privacy/anonymous.py": "media for an export under construction",
    "server/privacy/blurring.py": "a clip in memory",
    "server/dataset/folder.py": "the append-only logs",
    "server/walks/": "videos for people to look at",
    "shared/child_process.py": "its own place in the kernel's order of killing",
    "shared/file_lock.py": "an empty file to lock",
    "shared/wav.py": "a sound in memory",
    "exporters/": "a folder under construction",
}


def test_only_listed_places_open_a_file_to_write() -> None:
    writers = {
        path.relative_to(ROOT).as_posix()
        for path in python_files(*CODE)
        for line in path.read_text(encoding="utf-8").splitlines()
        if WRITES.search(line) and "atomic." not in line
    }
    assert sorted(name for name in writers if not name.startswith(("shared/atomic.py", *ELSEWHERE))) == []
