"""The power may go at any moment of a deletion or a blur: the next start finishes it, or it never began."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def tries(place: Path, chosen: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.server.privacy.crash_driver", str(place), chosen],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_killed_at_the_last_step_of_each_kind_it_is_finished_or_never_began(tmp_path: Path) -> None:
    made = tries(tmp_path, "last")
    labels = [str(one["label"]) for one in made]
    for call in ("commit in ", "unlink in ", "replace in ", "fsync in "):
        assert any(label.startswith(call) for label in labels), call
    assert [one for one in made if one["faults"]] == []


@pytest.mark.soak
def test_killed_at_every_step_it_is_finished_or_never_began(tmp_path: Path) -> None:
    assert [one for one in tries(tmp_path, "all") if one["faults"]] == []
