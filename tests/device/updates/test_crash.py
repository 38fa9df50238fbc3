"""The power may go at any moment: there is always a whole model in use, and the update comes to its end."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from device.updates.state import CRASH_POINTS
from tests.crash import HALF_WRITTEN
from tests.device.updates.house import QUICK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "at_least"),
    [((), 70), pytest.param(("--first-too",), 90, marks=pytest.mark.soak)],
    ids=["last", "first and last"],
)
def test_killed_at_every_kind_of_durable_step_a_model_is_always_loadable_and_the_update_ends(
    tmp_path: Path, flags: tuple[str, ...], at_least: int
) -> None:
    shm = Path("/dev/shm")  # a SIGKILL leaves the same there, and its fsync takes no time
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else tmp_path) as place:
        done = subprocess.run(
            [sys.executable, "-m", "tests.device.updates.crash_driver", place, *flags],
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    tries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one for one in tries if one["problems"]] == []
    assert max(one["twice_bytes"] for one in tries) <= QUICK.window_bytes
    labels = {one["at"] for one in tries}
    assert labels >= {*CRASH_POINTS, "timestamp_kept", "snapshot_kept", "targets_kept", HALF_WRITTEN}
    assert len(tries) >= at_least
