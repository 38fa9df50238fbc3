"""A night killed while it trains or exports comes to the same version and bytes as one that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.learn.killed import run_driver

KINDS = (
    "fsync in seal", "replace in remove_trees < on_save", "replace in move < save_adapter",
    "replace in writing < write_bytes < write_bundle < re",
)  # fmt: skip
"""Of the kinds of steps that the driver finds, what is tried in every run of the tests; `make soak` tries all."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_night_killed_at_any_kind_of_step_comes_to_the_same_version_and_bytes(tmp_path: Path) -> None:
    run_driver(tmp_path, *KINDS)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_night_killed_at_every_kind_of_step_comes_to_the_same_version_and_bytes(tmp_path: Path) -> None:
    run_driver(tmp_path)
