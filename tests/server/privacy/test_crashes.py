"""The power may go at any moment of a deletion or a blur: the next start finishes it, or it never began."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def killed(driver: str, place: Path) -> list[dict[str, Any]]:
    """What each try came to."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.server.privacy.{driver}", str(place)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_killed_at_every_durable_step_it_is_finished_or_never_began(memory_path: Path) -> None:
    made = killed("crash_driver", memory_path)
    labels = [str(one["label"]) for one in made]
    for call in ("commit in ", "unlink in ", "replace in ", "fsync in "):
        assert any(label.startswith(call) for label in labels), call
    assert len(made) > 30
    assert [one for one in made if one["faults"]] == []


def test_a_round_that_makes_room_is_killed_anywhere_and_the_next_one_goes_on(memory_path: Path) -> None:
    made = killed("room_driver", memory_path)
    assert len(made) > 15
    assert [one for one in made if one["faults"]] == []
