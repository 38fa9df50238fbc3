"""Runs the crash driver in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT


def run_driver(place: Path, *kinds: str) -> None:
    """Kill nights at the named kinds of steps (every kind where none is named), and judge what the next ones made."""
    command = [sys.executable, "-m", "tests.server.learn.crash_driver", str(place), *kinds]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, *tries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert first["kinds"] >= 40
    assert len(tries) >= (len([kind for kind in kinds if not kind.startswith("--")]) or 20)
    assert [one for one in tries if one["problems"]] == []
