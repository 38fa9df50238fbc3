"""The power may go at any moment of a deletion or a blur: the next start finishes it, or it never began."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_killed_at_every_durable_step_it_is_finished_or_never_began(memory_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.server.privacy.crash_driver", str(memory_path)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = [json.loads(line) for line in done.stdout.splitlines()]
    labels = [str(one["label"]) for one in made]
    for call in ("commit in ", "unlink in ", "replace in ", "fsync in "):
        assert any(label.startswith(call) for label in labels), call
    assert len(made) > 30
    assert [one for one in made if one["faults"]] == []
