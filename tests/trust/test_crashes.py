"""Power gone at every durable step of signing (keys, releases, rotations) and of checking."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from device.updates import tuf_client
from server.releases import signing


def killed_at_each(place: Path, *flags: str) -> int:
    """How often each side was killed; asserts that it always came to its end."""
    command = [sys.executable, "-m", "tests.trust.crash_driver", str(place), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    tries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one for one in tries if one["problems"]] == [], done.stderr
    for work, steps in (("sign", signing.CRASH_POINTS), ("follow", tuf_client.CRASH_POINTS)):
        assert set(steps) <= {one["at"] for one in tries if one["work"] == work}
    return len(tries)


def test_killed_at_any_named_step_and_before_any_rename_both_sides_go_on(tmp_path: Path) -> None:
    assert killed_at_each(tmp_path) > 60


@pytest.mark.soak
def test_killed_before_every_sync_rename_and_removal_both_sides_go_on(tmp_path: Path) -> None:
    assert killed_at_each(tmp_path, "--every") > 140
