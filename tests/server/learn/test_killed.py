"""A night killed anywhere comes to the same version and bytes as one that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.learn.killed import run_driver

KINDS = (
    "replace in move_aside < remove_trees < on_save", "replace in writing < write_bytes < write_bundle < re",
    "before _insert", "replace in writing < write_bytes < write_json < retrain",
)  # fmt: skip
"""Of the kinds of steps that the driver finds, what is tried in every run of the tests: while it trains, exports,
registers, and carries its verdict out. `make soak` tries all."""
SYNCED = ("fsync in seal",)
"""Before which the disk holds what it does not after any rename."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kinds", [KINDS, pytest.param(SYNCED, marks=pytest.mark.soak)], ids=["some", "synced"])
def test_a_night_killed_at_any_kind_of_step_comes_to_the_same_version_and_bytes(
    tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    run_driver(tmp_path, *kinds)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_night_that_goes_on_from_the_last_one_comes_to_the_same_bytes_after_a_kill(tmp_path: Path) -> None:
    run_driver(tmp_path, "--going-on", *KINDS, *SYNCED)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_night_killed_at_every_kind_of_step_comes_to_the_same_version_and_bytes(tmp_path: Path) -> None:
    run_driver(tmp_path)
